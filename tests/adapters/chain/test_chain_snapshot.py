"""What a snapshot holds, and everything that keeps it from being built, through the reader and real HTTP."""

from __future__ import annotations

import pytest
from eth_utils.address import is_checksum_address

from dehedge.core.model import HedgeKey, Market, Position
from dehedge.errors import ChainUnavailable
from dehedge.sim.chain import DATA_REGISTRY, USDC, ChainState, Paging
from dehedge.sim.chain.faults import Damage, ErrorReply, PageLimit, build_server_error
from dehedge.sim.chain.model import CONTRACT_ADDRESSES, ZERO_ADDRESS
from dehedge.sim.chain.reverts import build_error

OTHER_ASSET = "0xAbCdEfabcdefABCDEFabcdefABCDEFabCDefabcd"


def get_user(position):
    return int(position.user, 16)


@pytest.fixture
def reader(rpc, open_reader):
    return open_reader(rpc)


async def test_snapshot_holds_everything_in_contract_units(reader, state):
    snapshot = await reader.fetch_snapshot()

    assert (snapshot.block_number, snapshot.block_hash) == (state.head.number, state.head.hash)
    assert snapshot.block_time == state.head.timestamp
    assert (snapshot.vault, snapshot.shield) == (1_000_000_000_000, 5_000_000_000)
    assert snapshot.markets == {
        "BTC-USD": Market("BTC-USD", "e6" * 32, 30, is_live=True, is_reduce_only=False),
        "ETH-USD": Market("ETH-USD", "ff" * 32, 60, is_live=False, is_reduce_only=True),
    }
    assert snapshot.funding == {(USDC, "BTC-USD"): -7 * 10**18, (USDC, "ETH-USD"): 0}
    assert len(snapshot.positions) == 3


async def test_snapshot_holds_a_position_field_by_field(reader, state, a_position):
    state.put(
        a_position(
            9,
            is_long=False,
            size=2_500_000,
            collateral=50_000,
            price=61_000 * 10**18 + 1,
            funding_tracer=-(2**200),
            timestamp=1_700_000_000,
        )
    )
    state.mine()

    snapshot = await reader.fetch_snapshot()

    user = "0x0000000000000000000000000000000000000009"
    position = snapshot.positions[HedgeKey("BTC-USD", f"{user}|{USDC}")]
    assert position == Position(
        user, USDC, "BTC-USD", False, 2_500_000, 50_000, -(2**200), 61_000 * 10**18 + 1, 1_700_000_000
    )


async def test_snapshot_has_checksummed_addresses_when_settings_have_none(rpc, open_reader, state, a_position):
    state.put(a_position(0xABCDEFABCDEF << 100, asset=OTHER_ASSET.lower()))
    state.mine()
    reader = open_reader(rpc, registry=DATA_REGISTRY.lower(), usdc="0x" + USDC[2:].upper())

    snapshot = await reader.fetch_snapshot()

    addresses = [address for position in snapshot.positions.values() for address in (position.user, position.asset)]
    assert all(map(is_checksum_address, [*addresses, *(asset for asset, _ in snapshot.funding)]))
    assert all(key == position.key for key, position in snapshot.positions.items())


async def test_snapshot_shows_positions_in_another_asset_with_their_tracer(reader, state, a_position):
    state.put(a_position(1, asset=OTHER_ASSET, size=3 * 10**18))
    state.set_tracer("BTC-USD", 11, asset=OTHER_ASSET)
    state.mine()

    snapshot = await reader.fetch_snapshot()

    others = [position for position in snapshot.positions.values() if position.asset != USDC]
    assert [(get_user(position), position.size) for position in others] == [(1, 3 * 10**18)]
    assert snapshot.funding[others[0].asset, "BTC-USD"] == 11
    assert snapshot.vault == 1_000_000_000_000


async def test_snapshot_has_the_tracer_of_a_market_that_is_not_listed(reader, state, a_position):
    state.put(a_position(1, market="GONE-USD"))
    state.set_tracer("GONE-USD", 3)
    state.mine()

    snapshot = await reader.fetch_snapshot()

    assert snapshot.funding[USDC, "GONE-USD"] == 3
    assert "GONE-USD" not in snapshot.markets


async def test_snapshot_leaves_out_entries_of_size_zero(reader, state, a_position):
    state.put(a_position(2, is_long=False, size=0))
    state.mine()

    snapshot = await reader.fetch_snapshot()

    assert sorted(map(get_user, snapshot.positions.values())) == [1, 3]


async def test_snapshot_is_complete_when_nothing_is_open(reader, state, a_position):
    for trader, market in ((1, "BTC-USD"), (2, "BTC-USD"), (3, "ETH-USD")):
        state.remove(a_position(trader, market=market).key)
    state.mine()

    snapshot = await reader.fetch_snapshot()

    assert (snapshot.positions, snapshot.funding) == ({}, {})
    assert len(snapshot.markets) == 2


async def test_snapshot_is_complete_when_no_market_is_listed(start_rpc, open_reader, clock):
    empty = ChainState(clock=clock.time)

    snapshot = await open_reader(await start_rpc(empty)).fetch_snapshot()

    assert (snapshot.positions, snapshot.markets, snapshot.vault, snapshot.shield) == ({}, {}, 0, 0)


async def test_snapshot_holds_the_very_same_positions_when_they_did_not_change(reader, state, a_position):
    first = await reader.fetch_snapshot()
    state.set_shield(7)
    state.mine()
    second = await reader.fetch_snapshot()
    state.put(a_position(4))
    state.mine()
    third = await reader.fetch_snapshot()

    assert (first.shield, second.shield) == (5_000_000_000, 7)
    assert second.positions is first.positions
    assert third.positions is not first.positions
    assert len(third.positions) == 4


async def test_snapshot_takes_four_requests_when_one_page_is_enough(reader, rpc):
    await reader.fetch_snapshot()
    before = rpc.http_count

    await reader.fetch_snapshot()

    assert rpc.http_count == before + 4


async def test_snapshot_reads_every_part_at_one_block(reader, rpc, state, a_position):
    async def mine(_methods):
        """The chain goes on between any two requests, and every block changes everything."""
        state.put(a_position(state.count + 1))
        state.set_shield(state.head.number)
        state.mine()

    rpc.faults.latency = mine
    snapshot = await reader.fetch_snapshot()

    block = state.get_block(snapshot.block_number)
    pinned = [request.params[1] for request in rpc.get_requests("eth_call")]
    assert pinned == [{"blockHash": snapshot.block_hash, "requireCanonical": True}] * len(pinned)
    assert len(snapshot.positions) == len(block.contents.positions) < state.count
    assert snapshot.shield == block.contents.shields[USDC.lower()]


@pytest.mark.parametrize("paging", Paging)
@pytest.mark.parametrize("has_multicall", [True, False])
async def test_snapshot_is_the_same_whatever_way_a_deployment_pages(
    paging, has_multicall, reader, rpc, state, a_position
):
    state.put(*(a_position(trader) for trader in range(10, 1_250)))
    state.set_paging(paging)
    state.mine()
    rpc.faults.has_multicall = has_multicall

    snapshot = await reader.fetch_snapshot()

    assert sorted(map(get_user, snapshot.positions.values())) == [1, 2, 3, *range(10, 1_250)]
    assert all(call.page[0] + call.page[1] <= 1_243 for call in rpc.get_calls("getPositions"))


async def test_snapshot_shrinks_its_pages_for_each_endpoint_alone(start_rpc, open_reader, state, a_position, clock):
    state.put(*(a_position(trader) for trader in range(10, 910)))
    state.mine()
    weak, strong = await start_rpc(), await start_rpc()
    weak.faults.page_limit = PageLimit(100, ErrorReply(-32000, "out of gas"))
    reader = open_reader(weak, strong)

    await reader.fetch_snapshot()
    await weak.down()
    await reader.fetch_snapshot()

    assert max(call.page[0] for call in strong.get_calls("getPositions")) == 500
    report = await reader.fetch_endpoint_report(1)
    assert report.page is not None
    assert report.page.answered > 500
    await weak.up()
    clock.now += 60
    state.mine()
    weak.requests.clear()
    await reader.fetch_snapshot()
    assert max(call.page[0] for call in weak.get_calls("getPositions")) <= 100


async def test_snapshot_forgets_what_it_knew_of_paging_when_the_contract_is_another(reader, rpc, state):
    await reader.fetch_snapshot()
    state.set_address("Positions", CONTRACT_ADDRESSES["Vault"])
    state.mine()

    with pytest.raises(ChainUnavailable, match=r"Positions at 0xde\w+02 reverted getPositionCount\(\)"):
        await reader.fetch_snapshot()
    state.set_address("Positions", CONTRACT_ADDRESSES["Positions"])
    state.mine()

    assert len((await reader.fetch_snapshot()).positions) == 3


async def test_snapshot_follows_the_registry_when_it_names_another_contract(reader, rpc, state):
    first = await reader.fetch_snapshot()
    state.set_address("Vault", CONTRACT_ADDRESSES["Token"])
    state.mine()
    with pytest.raises(ChainUnavailable, match=r"Vault at 0x833589\w+ reverted getShieldBalance"):
        await reader.fetch_snapshot()

    assert first.shield == 5_000_000_000
    assert reader.contracts.vault == USDC


@pytest.mark.parametrize("key", ["Positions", "Vault", "VaultUtils", "FundingRate", "TradingMarket"])
@pytest.mark.parametrize("has_multicall", [True, False])
async def test_snapshot_names_the_registry_when_it_answers_zero(key, has_multicall, reader, rpc):
    rpc.faults.has_multicall = has_multicall
    rpc.faults.unregistered.add(key)

    with pytest.raises(ChainUnavailable, match=rf"DATAREGISTRY at {DATA_REGISTRY} has no address for {key}; check"):
        await reader.fetch_snapshot()


async def test_snapshot_names_the_registry_when_a_contract_vanishes_from_it_later(reader, state):
    await reader.fetch_snapshot()
    state.set_address("Vault", ZERO_ADDRESS)
    state.mine()

    with pytest.raises(ChainUnavailable, match="has no address for Vault"):
        await reader.fetch_snapshot()


async def test_snapshot_names_the_registry_when_there_is_no_contract(rpc, open_reader):
    reader = open_reader(rpc, registry="0x" + "11" * 20)

    with pytest.raises(ChainUnavailable, match=r"DATAREGISTRY at 0x1{40} is not a contract .*check DATAREGISTRY and C"):
        await reader.fetch_snapshot()


@pytest.mark.parametrize("key", ["Positions", "Vault", "VaultUtils", "FundingRate", "TradingMarket"])
async def test_snapshot_names_the_contract_when_its_address_has_no_code(key, reader, state):
    state.set_address(key, "0x" + "22" * 20)
    state.mine()

    with pytest.raises(ChainUnavailable, match=rf"{key} at 0x2{{40}} is not a contract on this chain; check DATAREG"):
        await reader.fetch_snapshot()


FUNCTIONS = {
    "getPositionCount": "Positions",
    "getPositions": "Positions",
    "getShieldBalance": "Vault",
    "getVaultAvailable": "VaultUtils",
    "getFundingTracers": "FundingRate",
    "getMarketList": "TradingMarket",
    "getMultipleMarkets": "TradingMarket",
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("has_multicall", [True, False])
async def test_snapshot_is_discarded_whole_when_one_contract_reverts(function, has_multicall, reader, rpc):
    rpc.faults.has_multicall = has_multicall
    rpc.faults.reverting[function] = build_error("paused for a while")

    with pytest.raises(ChainUnavailable, match=f"{FUNCTIONS[function]} at 0x") as caught:
        await reader.fetch_snapshot()

    assert "paused for a while" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("failing", [1, 2, 3])
async def test_snapshot_is_discarded_whole_when_one_request_fails(failing, reader, rpc):
    await reader.fetch_snapshot()
    answered = 0

    async def break_one(methods):
        nonlocal answered
        answered += "eth_call" in methods
        if answered == failing:
            rpc.faults.inject(ErrorReply(-32000, "internal"), method="eth_call")

    rpc.faults.latency = break_one

    with pytest.raises(ChainUnavailable, match="refused: internal"):
        await reader.fetch_snapshot()


async def test_snapshot_survives_failures_that_pass(reader, rpc):
    await reader.fetch_snapshot()
    for fault in (build_server_error(), Damage.RESET, Damage.WRONG_ID, Damage.TRUNCATED):
        rpc.faults.inject(fault, times=2)
        assert len((await reader.fetch_snapshot()).positions) == 3


async def test_snapshot_starts_over_from_a_fresh_head_when_the_block_is_reorganized_away(reader, rpc, state):
    state.mine(3)
    answered = 0

    async def reorganize(methods):
        nonlocal answered
        answered += "eth_call" in methods
        if answered == 2:
            answered += 1
            state.reorg(2)

    rpc.faults.latency = reorganize

    snapshot = await reader.fetch_snapshot()

    assert snapshot.block_hash == state.head.hash
    assert len(rpc.get_requests("eth_getBlockByNumber")) == 2


async def test_snapshot_gives_up_when_every_block_vanishes(reader, rpc):
    rpc.faults.inject(ErrorReply(-32000, "header not found"), times=None, method="eth_call")

    with pytest.raises(ChainUnavailable, match="does not have the block any more"):
        await reader.fetch_snapshot()

    assert len(rpc.get_requests("eth_getBlockByNumber")) == 3


@pytest.mark.parametrize("deployed", [True, False])
@pytest.mark.parametrize("configured", [True, False])
async def test_snapshot_subtracts_the_shield_only_when_told_that_it_is_included(
    configured, deployed, rpc, open_reader, state
):
    state.set_available(includes_shield=deployed)
    state.mine()
    reader = open_reader(rpc, vault_includes_shield=configured)

    snapshot = await reader.fetch_snapshot()

    assert snapshot.vault == 1_000_000_000_000 + 5_000_000_000 * (deployed - configured)
    assert snapshot.shield == 5_000_000_000


async def test_snapshot_names_the_setting_when_the_shield_cannot_be_included(rpc, open_reader, state):
    state.set_vault(4_999_999_999)
    state.mine()
    reader = open_reader(rpc, vault_includes_shield=True)

    with pytest.raises(ChainUnavailable, match="set VAULT_AVAILABLE_INCLUDES_SHIELD=false"):
        await reader.fetch_snapshot()


async def test_snapshot_is_discarded_when_pages_do_not_reach_the_count(start_rpc, open_reader, state, a_position):
    """A node that answers for another block than it was asked for: one position twice, one not at all."""
    rpc = await start_rpc()
    state.put(*(a_position(trader) for trader in range(10, 800)))
    state.mine()
    reader = open_reader(rpc)
    contents = state.head.contents
    torn = (*contents.positions[:-1], contents.positions[0])

    async def tear(methods):
        if "eth_call" in methods and rpc.get_calls("getPositionCount"):
            object.__setattr__(state.head.contents, "positions", torn)

    rpc.faults.latency = tear

    with pytest.raises(ChainUnavailable, match="says 793, but getPositions gave 792 distinct positions"):
        await reader.fetch_snapshot()
