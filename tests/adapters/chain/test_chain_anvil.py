"""The reader on a real EVM: compiled contracts, a real node's errors, real reorganizations."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import aiohttp
import pytest

from dehedge.adapters.chain import codec
from dehedge.adapters.chain.failures import CallTooLarge, build_failure
from dehedge.adapters.chain.heads import HeadWatch, fetch_subscription
from dehedge.errors import ChainUnavailable
from dehedge.sim.chain import CHAIN_ID, AnvilChain, InProcessChain, Paging, SimMarket, find_anvil
from dehedge.sim.chain.model import CONTRACT_ADDRESSES

pytestmark = [
    pytest.mark.anvil,
    pytest.mark.skipif(find_anvil() is None, reason="no anvil binary"),
]


class WallClock:
    def time(self):
        return time.time()


@pytest.fixture
async def anvil():
    chain = AnvilChain()
    await chain.start()
    yield chain
    await chain.stop()


async def prepare(chain, positions):
    await chain.set_vault(1_000_000_000_000)
    await chain.set_shield(5_000_000_000)
    await chain.set_market(SimMarket(market="BTC-USD", pyth_feed="e6" * 32, feed_max_age=30))
    await chain.set_market(SimMarket(market="€TH-USD", pyth_feed="ff" * 32, market_live=False))
    await chain.set_tracer("BTC-USD", -7 * 10**18)
    await chain.put(*positions)


@pytest.fixture
def positions(a_position):
    """2,500 of them, with every odd thing that a page may hold."""
    odd = [
        a_position(1, market="€TH-USD", is_long=False, funding_tracer=-(2**255)),
        a_position(1, asset="0x" + "ab" * 20, size=3 * 10**18),
        a_position(1, market="A-MARKET-WITH-A-NAME-OF-MORE-THAN-ONE-WORD-USD"),
        a_position(2, size=0),
        a_position(3, size=2**256 - 1, price=2**256 - 1),
    ]
    return [*odd, *(a_position(trader) for trader in range(10, 2_505))]


async def test_reader_sees_2500_positions_whatever_way_the_contract_pages(anvil, positions, open_reader):
    await prepare(anvil, positions)
    reader = open_reader(anvil.url, clock=WallClock())

    for paging in Paging:
        await anvil.set_paging(paging)
        snapshot = await reader.fetch_snapshot()

        expected = {(p.user.lower(), p.asset.lower(), p.market) for p in positions if p.size}
        assert len(expected) == 2_499
        assert {(p.user.lower(), p.asset.lower(), p.market) for p in snapshot.positions.values()} == expected


async def test_reader_reads_the_same_from_both_chains(anvil, positions, open_reader):
    plain = InProcessChain()
    await plain.start()
    snapshots = []
    for chain in (anvil, plain):
        await prepare(chain, positions[:40])
        snapshots.append(await open_reader(chain.url, clock=WallClock()).fetch_snapshot())
    await plain.stop()

    on_evm, in_process = (
        replace(snapshot, block_number=0, block_hash="", block_time=0, host="") for snapshot in snapshots
    )
    assert on_evm == in_process
    assert len(on_evm.positions) == 39
    assert len(on_evm.funding) == 4


async def test_reader_follows_a_reorganization(anvil, a_position, open_reader):
    await prepare(anvil, [a_position(1)])
    reader = open_reader(anvil.url, clock=WallClock())
    await anvil.put(a_position(2))
    before = await reader.fetch_snapshot()

    await anvil.reorg(2)
    after = await reader.fetch_snapshot()

    assert before.block_hash != after.block_hash
    assert len(after.positions) <= len(before.positions)


@pytest.mark.parametrize("gas", [25_000_000, 5_000_000])
async def test_anvil_says_that_a_page_is_too_large_in_words_that_are_understood(gas, anvil, positions):
    await prepare(anvil, positions)
    data = "0x" + codec.encode_get_positions(2_500, 0).hex()
    call = {"to": CONTRACT_ADDRESSES["Positions"], "data": data, "gas": hex(gas)}
    request = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [call, "latest"]}

    async with aiohttp.ClientSession() as session, session.post(anvil.url, json=request) as response:
        answer = await response.json()

    assert isinstance(build_failure(answer["error"]), CallTooLarge)


async def test_watch_hears_of_the_blocks_of_a_real_node_and_of_its_logs(anvil, a_position, open_reader):
    await prepare(anvil, [])
    told, reader = asyncio.Queue(), open_reader(anvil.url, clock=WallClock())
    url = anvil.url.replace("http", "ws")
    await fetch_subscription(url, CHAIN_ID)
    watch = HeadWatch(
        [url], chain_id=CHAIN_ID, get_address=lambda: CONTRACT_ADDRESSES["Positions"],
        on_block=lambda *block: told.put_nowait(block),
    )  # fmt: skip
    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(told.get(), 10)

    await anvil.put(a_position(1))
    snapshot = await reader.fetch_snapshot()
    block = (snapshot.block_number, snapshot.block_hash)
    async with asyncio.timeout(10):
        while await told.get() < block:
            pass
    task.cancel()

    assert len(snapshot.positions) == 1


async def test_reader_names_the_contract_that_is_missing(anvil, open_reader):
    await prepare(anvil, [])
    await anvil.set_address("Vault", "0x" + "11" * 20)
    reader = open_reader(anvil.url, clock=WallClock())

    with pytest.raises(ChainUnavailable, match=r"Vault at 0x1{40} is not a contract"):
        await reader.fetch_snapshot()
