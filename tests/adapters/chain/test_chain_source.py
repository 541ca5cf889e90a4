"""Failover: which endpoint answers, when it is passed over, and when it is first again. Real HTTP, a clock by hand."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from dehedge.adapters.chain.node import Head, Limits
from dehedge.adapters.chain.source import AHEAD_MAX_S, DEFAULT_LIMITS, ChainReader
from dehedge.errors import ChainUnavailable, ConfigError
from dehedge.ports import ChainSource
from dehedge.sim.chain import CHAIN_ID, DATA_REGISTRY, USDC, ChainState
from dehedge.sim.chain.faults import (
    Damage,
    ErrorReply,
    PageLimit,
    build_html_page,
    build_rate_limited,
    build_server_error,
)

QUICK = Limits(request_s=0.15, endpoint_s=2.0, snapshot_s=4.0)


@pytest.fixture
async def pair(start_rpc):
    return await start_rpc(), await start_rpc()


async def test_reader_is_a_chain_source(rpc, open_reader):
    source: ChainSource = open_reader(rpc)

    assert (await source.fetch_snapshot()).positions


async def test_reader_asks_the_first_endpoint_alone_when_it_is_well(pair, open_reader):
    first, second = pair
    reader = open_reader(first, second)

    snapshot = await reader.fetch_snapshot()

    assert snapshot.host == first.url
    assert second.http_count == 0


async def test_reader_asks_another_endpoint_than_the_one_to_avoid(pair, open_reader):
    first, second = pair
    reader = open_reader(first.url + "/v2/AbC123secretKEY456", second)

    hosts = [(await reader.fetch_snapshot(avoid=avoid)).host for avoid in (None, first.url, second.url, "elsewhere")]

    assert hosts == [first.url, second.url, first.url, first.url]


async def test_reader_asks_the_endpoint_to_avoid_when_no_other_answers(pair, open_reader):
    first, second = pair
    reader = open_reader(first, second)
    await second.down()

    assert (await reader.fetch_snapshot(avoid=first.url)).host == first.url


async def test_reader_asks_the_only_endpoint_when_it_is_to_be_avoided(rpc, open_reader):
    assert (await open_reader(rpc).fetch_snapshot(avoid=rpc.url)).host == rpc.url


async def test_reader_does_not_ask_one_that_just_failed_before_the_one_to_avoid(pair, open_reader):
    first, second = pair
    reader = open_reader(first, second)
    second.faults.chain_id = 1
    await reader.fetch_snapshot(avoid=first.url)
    before = second.http_count

    await reader.fetch_snapshot(avoid=first.url)

    assert second.http_count == before


async def test_reader_takes_two_urls_of_one_host_for_one_node(rpc, start_rpc, open_reader):
    other = await start_rpc()
    reader = open_reader(rpc.url + "/key-one", rpc.url + "/key-two", other)

    assert (await reader.fetch_snapshot(avoid=rpc.url)).host == other.url


async def test_reader_waits_for_a_second_opinion_that_lags_by_a_block(pair, open_reader, state):
    first, second = pair
    reader = open_reader(first, second)
    state.mine(2)
    await reader.fetch_snapshot()
    second.faults.lag_blocks = 1

    async def catch_up(methods):
        if len(second.get_requests("eth_getBlockByNumber")) == 4:
            second.faults.lag_blocks = 0

    second.faults.latency = catch_up
    snapshot = await reader.fetch_snapshot(avoid=first.url)

    assert (snapshot.host, snapshot.block_number) == (second.url, state.head.number)


def refuse(rpc):
    rpc.faults.inject(build_server_error(), times=None)


def hang(rpc):
    rpc.faults.inject(Damage.HANG, times=None)


def garble(rpc):
    rpc.faults.inject(build_html_page(), times=None)


def misname(rpc):
    rpc.faults.inject(Damage.WRONG_ID, times=None)


def throttle(rpc):
    rpc.faults.inject(build_rate_limited(), times=None)


def be_another_chain(rpc):
    rpc.faults.chain_id = 1


def lose_the_registry(rpc):
    rpc.faults.unregistered.add("Vault")


def fail_late(rpc):
    rpc.faults.reverting["getFundingTracers"] = b""


def hang_late(rpc):
    rpc.faults.inject(Damage.HANG, times=None, method="eth_call")


WAYS_TO_FAIL = [refuse, hang, garble, misname, throttle, be_another_chain, lose_the_registry, fail_late, hang_late]


@pytest.mark.parametrize("fail", WAYS_TO_FAIL)
async def test_reader_fails_over_and_returns_when_the_first_endpoint_is_well_again(fail, pair, open_reader, clock):
    first, second = pair
    reader = open_reader(first, second, limits=QUICK)
    fail(first)

    with structlog.testing.capture_logs() as logs:
        failed_over = await reader.fetch_snapshot()
        first.faults.clear()
        in_penalty = await reader.fetch_snapshot()
        clock.now += 2
        well_again = await reader.fetch_snapshot()

    assert len(failed_over.positions) == 3
    assert (failed_over.host, in_penalty.host, well_again.host) == (second.url, second.url, first.url)
    events = [(log["event"], log.get("endpoint")) for log in logs if log["event"].startswith("endpoint")]
    assert events == [("endpoint_failed", first.url), ("endpoint_recovered", first.url)]


async def test_reader_fails_over_when_nobody_listens(pair, open_reader):
    first, second = pair
    reader = open_reader(first, second)
    await reader.fetch_snapshot()
    await first.down()

    assert (await reader.fetch_snapshot()).host == second.url


async def test_reader_asks_again_for_the_chain_when_an_endpoint_failed(pair, open_reader, clock):
    """Another node may have come up under the same URL."""
    first, second = pair
    reader = open_reader(first, second)
    await reader.fetch_snapshot()
    await first.down()
    await reader.fetch_snapshot()
    first.faults.chain_id = 1
    await first.up()
    clock.now += 2

    assert (await reader.fetch_snapshot()).host == second.url


async def test_reader_passes_a_failing_endpoint_over_for_longer_each_time(pair, open_reader, clock, state):
    first, second = pair
    reader = open_reader(first, second)
    first.faults.chain_id = 1

    asked = []
    for _ in range(31):
        before = first.http_count
        await reader.fetch_snapshot()
        asked.append(first.http_count > before)
        clock.now += 1
        state.mine()

    assert [second for second, is_asked in enumerate(asked) if is_asked] == [0, 2, 6, 14, 30]


async def test_reader_refuses_a_head_that_is_too_old(pair, open_reader, clock, state):
    first, second = pair
    first.freeze_head()
    clock.now += 31
    state.mine()
    reader = open_reader(first, second)

    snapshot = await reader.fetch_snapshot()

    assert snapshot.block_number == state.head.number
    assert snapshot.host == second.url


async def test_reader_accepts_a_head_that_is_just_young_enough(rpc, open_reader, clock):
    clock.now += 30

    assert await open_reader(rpc).fetch_snapshot()


async def test_reader_says_how_old_the_head_is_when_there_is_no_other(rpc, open_reader, clock, state):
    clock.now += 95

    with pytest.raises(ChainUnavailable, match=rf"^{rpc.url} lags: its head {state.head.number} is 95 s old$"):
        await open_reader(rpc).fetch_snapshot()


async def test_reader_refuses_a_head_behind_a_block_that_it_has_seen(pair, open_reader, state):
    first, second = pair
    second.freeze_head()
    state.mine()
    reader = open_reader(first, second)
    await reader.fetch_snapshot()
    await first.down()

    with pytest.raises(ChainUnavailable, match="which was already read"):
        await reader.fetch_snapshot()
    second.faults.clear()

    assert (await reader.fetch_snapshot()).block_number == state.head.number


async def test_reader_drops_an_older_block_and_takes_the_next_fresh_one(rpc, open_reader, state):
    """A balancer in front of several nodes: the head goes back by one and is fresh on the next try."""
    reader = open_reader(rpc)
    state.mine()
    last = await reader.fetch_snapshot()
    rpc.faults.lag_blocks = 1

    async def cure(methods):
        if len(rpc.get_requests("eth_getBlockByNumber")) == 3:
            rpc.faults.lag_blocks = 0

    rpc.faults.latency = cure
    snapshot = await reader.fetch_snapshot()

    assert snapshot.block_number == last.block_number


async def test_reader_never_goes_back_when_every_endpoint_is_behind(pair, open_reader, state):
    first, second = pair
    reader = open_reader(first, second)
    state.mine(2)
    last = await reader.fetch_snapshot()
    first.faults.lag_blocks = second.faults.lag_blocks = 1

    with pytest.raises(ChainUnavailable) as caught:
        await reader.fetch_snapshot()

    behind = f"lags: its head {last.block_number - 1} is behind block {last.block_number}, which was already read"
    assert str(caught.value) == f"{first.url} {behind}; {second.url} {behind}"


async def test_reader_takes_the_same_height_again_after_a_reorganization(rpc, open_reader, state):
    reader = open_reader(rpc)
    state.mine(2)
    before = await reader.fetch_snapshot()
    state.reorg(2)

    after = await reader.fetch_snapshot()

    assert after.block_number == before.block_number
    assert after.block_hash != before.block_hash


async def test_reader_names_every_endpoint_and_only_its_host_when_all_fail(pair, open_reader):
    first, second = pair
    reader = open_reader(first.url + "/v2/AbC123secretKEY456", second.url + "/?key=AbC123secretKEY456")
    first.faults.chain_id = 1
    second.faults.inject(ErrorReply(-32000, "no such key: AbC123secretKEY456"), times=None)

    with pytest.raises(ChainUnavailable) as caught:
        await reader.fetch_snapshot()

    wrong = f"{first.url} is on chain 1, not 8453: check NETWORKS and CHAIN_ID"
    assert str(caught.value) == f"{wrong}; {second.url} refused: no such key: *** (code -32000)"


async def test_reader_still_tries_endpoints_in_penalty_when_all_are(pair, open_reader):
    first, second = pair
    reader = open_reader(first, second)
    await first.down()
    second.faults.chain_id = 1
    with pytest.raises(ChainUnavailable):
        await reader.fetch_snapshot()
    await first.up()

    assert (await reader.fetch_snapshot()).host == first.url


async def test_reader_tries_endpoints_in_penalty_when_the_others_fail_too(pair, open_reader):
    first, second = pair
    reader = open_reader(first, second)
    await first.down()
    await reader.fetch_snapshot()
    await first.up()
    await second.down()

    assert (await reader.fetch_snapshot()).host == first.url


async def test_reader_does_not_ask_a_throttled_endpoint_before_the_time_that_it_named(rpc, open_reader, clock):
    reader = open_reader(rpc)
    rpc.faults.inject(build_rate_limited(20))
    with pytest.raises(ChainUnavailable) as throttled:
        await reader.fetch_snapshot()
    before = rpc.http_count

    clock.now += 15
    with pytest.raises(ChainUnavailable) as waiting:
        await reader.fetch_snapshot()
    asked_early = rpc.http_count - before
    clock.now += 5
    snapshot = await reader.fetch_snapshot()

    assert throttled.value.retry_after_s == 20
    assert waiting.value.retry_after_s == 5
    assert str(waiting.value) == f"{rpc.url} told us to wait 5 s more"
    assert asked_early == 0
    assert snapshot.positions


async def test_reader_asks_the_others_while_one_endpoint_is_throttled(pair, open_reader, clock):
    first, second = pair
    reader = open_reader(first, second)
    first.faults.inject(build_rate_limited(20))

    hosts = []
    for _ in range(3):
        hosts.append((await reader.fetch_snapshot()).host)
        clock.now += 10

    assert hosts == [second.url, second.url, first.url]
    assert [request.method for request in first.requests][0] == "eth_chainId"


async def test_reader_names_no_wait_when_another_endpoint_may_be_asked_sooner(pair, open_reader):
    first, second = pair
    first.faults.inject(build_rate_limited(20))
    second.faults.chain_id = 1

    with pytest.raises(ChainUnavailable) as caught:
        await open_reader(first, second).fetch_snapshot()

    assert caught.value.retry_after_s is None


def test_limits_keep_a_hanging_node_to_seconds():
    assert Limits(request_s=5.0, endpoint_s=10.0, snapshot_s=20.0) == DEFAULT_LIMITS


async def test_reader_bounds_the_whole_when_every_endpoint_hangs(start_rpc, open_reader):
    endpoints = [await start_rpc() for _ in range(5)]
    for endpoint in endpoints:
        hang(endpoint)
    reader = open_reader(*endpoints, limits=Limits(request_s=0.2, endpoint_s=0.3, snapshot_s=0.5))
    loop = asyncio.get_running_loop()
    started = loop.time()

    with pytest.raises(ChainUnavailable) as caught:
        await reader.fetch_snapshot()

    assert loop.time() - started < 2
    assert [endpoint.http_count for endpoint in endpoints] == [1, 1, 1, 0, 0]
    assert str(caught.value).count("http://") == 3


async def test_reader_bounds_an_endpoint_that_is_slow_in_every_request(pair, open_reader):
    first, second = pair
    never = asyncio.Event()

    async def wait(methods):
        if "eth_call" in methods:
            await never.wait()

    first.faults.latency = wait
    reader = open_reader(first, second, limits=Limits(request_s=5.0, endpoint_s=0.3, snapshot_s=5.0))

    snapshot = await reader.fetch_snapshot()
    never.set()

    assert snapshot.host == second.url


async def test_reader_reads_one_snapshot_at_a_time(rpc, open_reader, state):
    reader = open_reader(rpc)

    first, second = await asyncio.gather(reader.fetch_snapshot(), reader.fetch_snapshot())

    assert first.block_number <= second.block_number
    methods = [request.method for request in rpc.requests]
    head = methods.index("eth_getBlockByNumber")
    assert "eth_getBlockByNumber" not in methods[head + 1 : head + 5]


async def test_reader_can_be_canceled_and_used_again(rpc, open_reader):
    reader = open_reader(rpc)
    arrived, release = asyncio.Event(), asyncio.Event()

    async def hold(methods):
        if "eth_call" in methods:
            arrived.set()
            await release.wait()

    rpc.faults.latency = hold
    reading = asyncio.create_task(reader.fetch_snapshot())
    await asyncio.wait_for(arrived.wait(), 5)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    release.set()

    assert (await reader.fetch_snapshot()).positions


async def test_reader_reports_each_endpoint(start_rpc, open_reader, clock, state):
    well, plain, wrong, old, dead = [await start_rpc() for _ in range(5)]
    plain.faults.has_multicall = False
    wrong.faults.chain_id = 10
    old.freeze_head()
    await dead.down()
    clock.now += 40
    state.mine()
    clock.now += 2

    reader = open_reader(well, plain, wrong, old, dead)
    reports = [await reader.fetch_endpoint_report(number) for number in range(5)]

    assert [report.host for report in reports] == [rpc.url for rpc in (well, plain, wrong, old, dead)]
    assert [report.chain_id for report in reports] == [8453, 8453, 10, 8453, None]
    assert [report.has_multicall for report in reports] == [True, False, None, True, None]
    assert [report.head_age_s for report in reports] == [2, 2, None, 42, None]
    assert [report.page for report in reports] == [(3, 3, ""), (3, 3, ""), None, None, None]
    assert reports[0].head_number == state.head.number
    assert 0 < reports[0].latency_s < 5
    assert [report.error for report in reports[:2]] == [None, None]
    assert reports[2].error == "is on chain 10, not 8453: check NETWORKS and CHAIN_ID"
    assert reports[3].error == f"lags: its head {state.head.number - 1} is 42 s old"
    assert reports[4].error.startswith("cannot be reached")


async def test_reader_resolves_the_contracts_even_when_they_do_not_answer(rpc, open_reader):
    rpc.faults.reverting["getPositionCount"] = b""
    reader = open_reader(rpc)

    contracts = {report.name: report for report in await reader.fetch_contract_reports()}

    assert contracts["Positions"].address == "0xdedEdEDeDEDeDeDeDedEDEDEDEDeDEdededeDE01"
    assert list(contracts) == ["DataRegistry", "Positions", "Vault", "VaultUtils", "FundingRate", "TradingMarket", "USDC"]
    assert len({report.address for report in contracts.values()}) == 7
    assert all(report.has_code for report in contracts.values())


async def test_reader_tells_where_no_contract_is(rpc, open_reader, state):
    state.set_address("Vault", "0x" + "99" * 20)
    state.mine()

    reports = await open_reader(rpc).fetch_contract_reports()

    assert [report.name for report in reports if not report.has_code] == ["Vault"]


async def test_reader_gives_the_markets_without_reading_a_position(rpc, open_reader, state):
    markets = await open_reader(rpc).fetch_markets()

    assert sorted(markets) == ["BTC-USD", "ETH-USD"]
    assert rpc.get_calls("getPositions") == []


@pytest.mark.parametrize(
    ("page_max", "page"), [(1000, (903, 500)), (130, (903, 125)), (20, (903, 15)), (3, (903, 0))]
)
async def test_report_tells_how_much_a_node_answers_at_once(rpc, open_reader, state, a_position, page_max, page):
    state.put(*(a_position(trader) for trader in range(10, 910)))
    state.mine()
    rpc.faults.page_limit = PageLimit(page_max, ErrorReply(-32000, "out of gas"))

    report = await open_reader(rpc).fetch_endpoint_report(0)

    assert report.error is None
    assert report.page is not None
    assert report.page[:2] == page
    assert ("out of gas" in report.page.error) is (page_max < 500)


async def test_report_knows_no_page_where_the_registry_knows_nothing(rpc, open_reader, state):
    rpc.faults.unregistered.add("Positions")

    report = await open_reader(rpc).fetch_endpoint_report(0)

    assert (report.error, report.page) == (None, None)


async def test_reader_logs_the_contracts_once_for_each_change(rpc, open_reader, state):
    reader = open_reader(rpc)

    with structlog.testing.capture_logs() as logs:
        await reader.fetch_snapshot()
        await reader.fetch_snapshot()

    assert [log["event"] for log in logs] == ["contracts_resolved"]


@pytest.mark.parametrize("variable", ["registry", "usdc"])
@pytest.mark.parametrize("address", ["", "0x12", "5Dc939df0cf253873cf77B786A24d51BaA72cF75", "0x" + "zz" * 20])
def test_reader_refuses_an_address_that_is_none(variable, address, clock):
    settings = {"registry": DATA_REGISTRY, "usdc": USDC, variable: address}

    with pytest.raises(ConfigError, match={"registry": "DATAREGISTRY", "usdc": "USDC"}[variable]):
        ChainReader(
            ["http://127.0.0.1:1"],
            **settings,
            chain_id=CHAIN_ID,
            head_age_max_s=30,
            vault_includes_shield=False,
            clock=clock,
        )


def test_reader_refuses_to_be_without_an_endpoint(open_reader):
    with pytest.raises(ConfigError, match="NETWORKS"):
        open_reader()


async def test_reader_works_when_it_was_built_outside_of_a_loop(clock, rpc):
    """The daemon builds everything before it starts the loop."""
    reader = await asyncio.to_thread(
        ChainReader,
        [rpc.url],
        registry=DATA_REGISTRY,
        usdc=USDC,
        chain_id=CHAIN_ID,
        head_age_max_s=30,
        vault_includes_shield=False,
        clock=clock,
    )

    assert (await reader.fetch_snapshot()).positions
    await reader.close()


async def test_reader_of_another_state_does_not_mix(start_rpc, open_reader, clock):
    other = ChainState(clock=clock.time)
    reader = open_reader(await start_rpc(other), await start_rpc())

    assert (await reader.fetch_snapshot()).positions == {}


async def test_reader_refuses_a_head_of_a_time_to_come(rpc, state, open_reader, clock):
    reader = open_reader(rpc)
    await reader.fetch_snapshot()
    clock.now -= AHEAD_MAX_S + 5

    told = rf"has a head {state.head.number} of \d+ s in the future: check this machine's clock$"
    with pytest.raises(ChainUnavailable, match=told):
        await reader.fetch_snapshot()


async def test_reader_takes_a_head_that_is_a_little_ahead(rpc, open_reader, clock):
    clock.now -= AHEAD_MAX_S - 5

    assert (await open_reader(rpc).fetch_snapshot()).positions


@pytest.mark.parametrize(
    ("blocks", "seconds", "is_refused"),
    [(100_000, 0, False), (100_001, 0, True), (101_000, 100, False), (10**9, 100, True)],
)
async def test_reader_refuses_a_head_that_no_chain_can_have_reached(rpc, open_reader, blocks, seconds, is_refused):
    reader = open_reader(rpc)
    snapshot = await reader.fetch_snapshot()
    before = snapshot.block_number - blocks
    reader._last_head = Head(before, "0x", snapshot.block_time - seconds)

    if is_refused:
        with pytest.raises(ChainUnavailable, match=rf"which cannot be: block {before} was read a moment ago$"):
            await reader.fetch_snapshot()
    else:
        assert (await reader.fetch_snapshot()).block_number == snapshot.block_number
