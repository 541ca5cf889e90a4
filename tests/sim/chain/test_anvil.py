"""A real EVM and the in-process chain answer the same reads byte for byte."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from random import Random
from typing import Any

import eth_abi
import pytest

from dehedge.sim.chain import (
    USDC,
    AnvilChain,
    AnvilUnavailable,
    InProcessChain,
    Paging,
    PositionKey,
    SimMarket,
    SimPosition,
    UnknownPosition,
    find_anvil,
)
from dehedge.sim.chain.artifacts import read_artifacts
from dehedge.sim.chain.model import (
    CONTRACT_ADDRESSES,
    INT_MAX,
    INT_MIN,
    MULTICALL3,
    REGISTERED,
    UINT_MAX,
    ZERO_ADDRESS,
)
from tests.sim.chain.calls import Call, a_call, an_aggregate

pytestmark = [
    pytest.mark.anvil,
    pytest.mark.skipif(find_anvil() is None, reason="no anvil binary here"),
]

Ask = Callable[..., Awaitable[Any]]
Builder = Callable[..., SimPosition]
Chains = tuple[InProcessChain, AnvilChain]

ASSETS = (USDC, "0x" + "00" * 20, "0x" + "Ab" * 20)
MARKETS = ("BTC-USD", "ETH-USD", "", "a market with a name of more than thirty-two bytes", "ÉUR-USD", "x" * 32)


@pytest.fixture
async def anvil() -> AsyncIterator[AnvilChain]:
    anvil = AnvilChain()
    await anvil.start()
    yield anvil
    await anvil.stop()


@pytest.fixture
def chains(chain: InProcessChain, anvil: AnvilChain) -> Chains:
    return chain, anvil


def a_random_position(random: Random) -> SimPosition:
    return SimPosition(
        user=f"0x{random.randrange(1, 9):040x}",
        asset=random.choice(ASSETS),
        market=random.choice(MARKETS),
        is_long=random.random() < 0.5,
        size=random.choice([0, 1, UINT_MAX, random.getrandbits(256)]),
        collateral=random.getrandbits(60),
        funding_tracer=random.choice([0, -1, INT_MIN, INT_MAX, random.randrange(-(2**90), 2**90)]),
        price=random.getrandbits(80),
        timestamp=random.getrandbits(31),
    )


def a_random_market(random: Random) -> SimMarket:
    return SimMarket(
        market=random.choice(MARKETS),
        name=random.choice(MARKETS),
        category=random.choice(MARKETS),
        de_feed=random.choice(ASSETS),
        max_leverage=random.getrandbits(8),
        funding_factor=random.getrandbits(256),
        pyth_feed=f"{random.getrandbits(256):064x}",
        market_live=random.random() < 0.5,
        is_reduce_only=random.random() < 0.5,
    )


async def change_both(chains: Chains, random: Random) -> None:
    """Some random changes, the same ones to both chains, ending with the removal of every third position."""
    positions = [a_random_position(random) for _ in range(random.randrange(24))]
    amounts = [random.choice([0, random.getrandbits(100), UINT_MAX // 2]) for _ in range(2)]
    markets = [a_random_market(random) for _ in range(4)]
    tracer = (random.choice(MARKETS), random.choice([INT_MIN, INT_MAX, -5]), random.choice(ASSETS))
    includes_shield = random.random() < 0.5
    for chain in chains:
        await chain.put(*positions)
        for key in list({position.key: None for position in positions})[::3]:
            await chain.remove(key)
        await chain.set_vault(amounts[0])
        await chain.set_shield(amounts[1])
        await chain.set_tracer(*tracer)
        await chain.set_available(includes_shield=includes_shield)
        for market in markets:
            await chain.set_market(market)


def list_pages(count: int) -> Iterator[Call]:
    lengths = (0, 1, 2, count - 1, count, count + 3)
    offsets = (0, 1, 2, count - 1, count, count + 1, UINT_MAX)
    for length in lengths:
        for offset in offsets:
            yield a_call("Positions", "getPositions", max(length, 0), max(offset, 0))
    for length in (2**59, 2**64, UINT_MAX):
        yield a_call("Positions", "getPositions", length, 1)


def list_reads() -> Iterator[Call]:
    for key in (*REGISTERED, "Nothing", "", "k" * 90):
        yield a_call("DataRegistry", "getAddress", key)
    yield a_call("Positions", "getPositionCount")
    yield a_call("Positions", "paging")
    for asset in ASSETS:
        yield a_call("Vault", "getShieldBalance", asset)
        yield a_call("Vault", "getBalance", asset)
        yield a_call("VaultUtils", "getVaultAvailable", asset)
    pairs = [(asset, market) for asset in ASSETS for market in (*MARKETS, "unknown")]
    assets, markets = [list(column) for column in zip(*pairs, strict=True)]
    yield a_call("FundingRate", "getFundingTracers", assets, markets)
    yield a_call("FundingRate", "getFundingTracers", assets, markets[:-1])
    yield a_call("FundingRate", "getFundingTracers", assets[:-1], markets)
    yield a_call("FundingRate", "getFundingTracers", [], [])
    yield a_call("TradingMarket", "getMarketList")
    yield a_call("TradingMarket", "getMultipleMarkets", [*MARKETS, "unknown"])
    yield a_call("TradingMarket", "getMultipleMarkets", [])
    for function in ("name", "symbol", "decimals"):
        yield a_call("Token", function)


def list_bad_calls() -> Iterator[Call]:
    dirty = "ff" * 32
    selectors = {name: artifact.selectors for name, artifact in read_artifacts().items()}
    yield {"to": "0x" + "12" * 20, "data": "0xdeadbeef"}
    for name, address in CONTRACT_ADDRESSES.items():
        yield {"to": address, "data": "0xdeadbeef"}
        yield {"to": address, "data": "0x"}
        yield {"to": address, "data": "0x" + next(iter(selectors[name].values())).hex()[:6]}
    yield {"to": CONTRACT_ADDRESSES["Vault"], "data": a_call("Vault", "getShieldBalance", USDC)["data"][:10] + dirty}
    for call in (
        a_call("DataRegistry", "getAddress", "Positions"),
        a_call("Positions", "getPositions", 1, 0),
        a_call("FundingRate", "getFundingTracers", [USDC], ["BTC-USD"]),
        a_call("TradingMarket", "getMultipleMarkets", ["BTC-USD"]),
        an_aggregate(a_call("Positions", "getPositionCount")),
    ):
        for end in range(10, len(call["data"]), 58):
            yield {**call, "data": call["data"][: end - end % 2]}
        yield {**call, "data": call["data"][:10] + dirty + call["data"][74:]}


async def read(ask: Ask, chain: InProcessChain | AnvilChain, call: Call, block: object = "latest") -> object:
    """The result, or the code and the data of a revert."""
    answer = await ask(chain.url, "eth_call", call, block)
    return answer.get("result") or (answer["error"]["code"], answer["error"].get("data"))


async def assert_equal_reads(ask: Ask, chains: Chains, calls: list[Call]) -> None:
    in_process, anvil = chains
    for call in calls:
        assert await read(ask, in_process, call) == await read(ask, anvil, call), call


@pytest.mark.parametrize("seed", range(4))
async def test_both_chains_read_equal_over_random_states(chains: Chains, ask: Ask, seed: int) -> None:
    random = Random(seed)
    for _ in range(2):
        await change_both(chains, random)
        assert await chains[0].count() == await chains[1].count()

        await assert_equal_reads(ask, chains, list(list_reads()))


@pytest.mark.parametrize("paging", Paging)
async def test_both_chains_page_equally(chains: Chains, ask: Ask, paging: Paging) -> None:
    await change_both(chains, Random(10 + paging))
    for chain in chains:
        await chain.set_paging(paging)
    count = await chains[0].count()

    assert count > 3
    await assert_equal_reads(ask, chains, list(list_pages(count)))


@pytest.mark.parametrize("paging", Paging)
async def test_both_chains_page_equally_when_empty(chains: Chains, ask: Ask, paging: Paging) -> None:
    for chain in chains:
        await chain.set_paging(paging)

    await assert_equal_reads(ask, chains, list(list_pages(0)))


async def test_both_chains_batch_equally(chains: Chains, ask: Ask) -> None:
    await change_both(chains, Random(20))
    reads, bad = list(list_reads()), list(list_bad_calls())
    plain = [(call["to"], bytes.fromhex(call["data"][2:])) for call in reads]
    batches = [
        an_aggregate(),
        an_aggregate(*reads, *bad),
        an_aggregate(*reads, an_aggregate(*reads, *bad)),
        an_aggregate(*reads[:2], bad[1], allow_failure=False),
    ]

    await assert_equal_reads(ask, chains, batches)
    for chain in chains:
        call = a_call("Multicall3", "tryBlockAndAggregate", True, plain[:1])
        number = eth_abi.decode(["uint256"], bytes.fromhex(str(await read(ask, chain, call, "0x2"))[2:66]))
        assert number == (2,)
    answers = [await read(ask, chain, a_call("Multicall3", "tryBlockAndAggregate", False, plain)) for chain in chains]
    assert str(answers[0])[66:] == str(answers[1])[66:]
    refusals = [(bad[1]["to"], bytes.fromhex(bad[1]["data"][2:]))]
    await assert_equal_reads(ask, chains, [a_call("Multicall3", "tryBlockAndAggregate", True, refusals)])


async def test_both_chains_refuse_equally(chains: Chains, ask: Ask) -> None:
    await assert_equal_reads(ask, chains, list(list_bad_calls()))


async def test_both_chains_unregister_a_contract(chains: Chains, ask: Ask) -> None:
    for chain in chains:
        await chain.set_address("Vault", ZERO_ADDRESS)
        await chain.set_address("Extra", "0x" + "77" * 20)
    calls = [a_call("DataRegistry", "getAddress", key) for key in ("Vault", "Extra", "Positions")]

    await assert_equal_reads(ask, chains, calls)
    assert await read(ask, chains[1], calls[0]) == "0x" + "00" * 32


async def test_both_chains_have_the_same_code(chains: Chains, ask: Ask) -> None:
    for address in CONTRACT_ADDRESSES.values():
        codes = [(await ask(chain.url, "eth_getCode", address, "latest"))["result"] for chain in chains]

        assert codes[0] == codes[1] != "0x"


async def test_both_chains_tell_the_block_that_was_read(chains: Chains, ask: Ask) -> None:
    calls = [a_call("Multicall3", name) for name in ("getBlockNumber", "getCurrentBlockTimestamp")]
    for chain in chains:
        await chain.mine(3)
        block = (await ask(chain.url, "eth_getBlockByNumber", "latest", False))["result"]
        pin = {"blockHash": block["hash"], "requireCanonical": True}
        await chain.mine(2)
        answers = [str(await read(ask, chain, call, pin)) for call in calls]

        assert [int(answer, 16) for answer in answers] == [int(block["number"], 16), int(block["timestamp"], 16)]


async def test_both_chains_read_old_blocks(chains: Chains, ask: Ask, a_position: Builder) -> None:
    count = a_call("Positions", "getPositionCount")
    for chain in chains:
        await chain.put(a_position(1))
        old = (await ask(chain.url, "eth_blockNumber"))["result"]
        await chain.put(a_position(2))
        await chain.remove(a_position(1).key)
        await chain.put(a_position(3), a_position(4))
        answers = [str(await read(ask, chain, count, block)) for block in (old, "latest")]

        assert [int(answer, 16) for answer in answers] == [1, 3]


async def test_both_chains_undo_changes_by_a_reorg(chains: Chains, ask: Ask, a_position: Builder) -> None:
    for chain in chains:
        await chain.put(a_position(1))
        await chain.mine(2)
        await chain.put(a_position(2))
        orphan = (await ask(chain.url, "eth_getBlockByNumber", "latest", False))["result"]
        await chain.reorg(2)
        block = (await ask(chain.url, "eth_getBlockByNumber", orphan["number"], False))["result"]

        assert await chain.count() == 1
        assert block["hash"] != orphan["hash"]


async def test_both_chains_refuse_to_remove_an_unknown_position(chains: Chains) -> None:
    for chain in chains:
        with pytest.raises(UnknownPosition):
            await chain.remove(PositionKey("0x" + "01" * 20, USDC.lower(), "BTC-USD"))


async def test_anvil_serves_2500_positions_and_runs_out_of_gas_when_told(
    anvil: AnvilChain, ask: Ask, a_position: Builder
) -> None:
    await anvil.put(*(a_position(trader) for trader in range(2_500)))
    call = a_call("Positions", "getPositions", 2_500, 0)

    page = await ask(anvil.url, "eth_call", call, "latest")
    refused = await ask(anvil.url, "eth_call", {**call, "gas": hex(50_000_000)}, "latest")

    assert len(page["result"]) == 2 + 2 * (64 + 2_500 * 384)
    assert refused["error"]["code"] == -32603
    assert refused["error"]["message"] in {"EVM error OutOfGas", "EVM error MemoryOOG"}


async def test_anvil_is_unavailable_when_its_process_has_ended(anvil: AnvilChain) -> None:
    os.kill(anvil.pid, signal.SIGKILL)

    with pytest.raises(AnvilUnavailable, match="does not answer"):
        await anvil.count()


async def test_anvil_logs_a_refreshed_tracer(anvil: AnvilChain, ask: Ask) -> None:
    await anvil.set_tracer("BTC-USD", 7)
    await anvil.set_tracer("BTC-USD", -5)
    criteria = {"address": CONTRACT_ADDRESSES["FundingRate"], "fromBlock": "0x0"}
    logs = (await ask(anvil.url, "eth_getLogs", criteria))["result"]

    values = [eth_abi.decode(["string", "int256", "int256"], bytes.fromhex(log["data"][2:])) for log in logs]
    assert values == [("BTC-USD", 7, 7), ("BTC-USD", -5, -12)]


async def test_anvil_has_the_chain_id_and_the_present_time(anvil: AnvilChain, ask: Ask) -> None:
    await anvil.mine()
    block = (await ask(anvil.url, "eth_getBlockByNumber", "latest", False))["result"]

    assert (await ask(anvil.url, "eth_chainId"))["result"] == "0x2105"
    assert (await ask(anvil.url, "eth_getCode", MULTICALL3, "latest"))["result"] != "0x"
    assert abs(int(block["timestamp"], 16) - time.time()) < 5
