"""What the check says of nodes and prices that are not well, and of services that never answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal

import pytest

from dehedge.check.report import Status
from dehedge.check.steps import CLOSE_S, DEFAULT_BUDGET, Budget
from dehedge.sim.chain import InProcessChain, SimMarket
from dehedge.sim.chain.faults import Damage, ErrorReply, PageLimit
from dehedge.sim.hermes import Fault
from dehedge.sim.world import FEEDS, World, build_position
from tests.check.kit import Check, get_endpoint, list_failed

STARTED_S = 2.5
"""What the process takes before and after, on a slow machine."""
HASTE = Budget(*(limit_s / 8 for limit_s in DEFAULT_BUDGET))


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A service that takes every connection and never says a word."""
    taken: list[asyncio.StreamWriter] = []

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    for writer in taken:
        writer.close()
    server.close()
    await server.wait_closed()


def test_check_is_over_in_time_even_when_everything_hangs():
    assert max(DEFAULT_BUDGET) == DEFAULT_BUDGET.margin
    assert DEFAULT_BUDGET.margin + CLOSE_S + STARTED_S < 20


async def test_every_part_is_told_when_every_service_hangs(check: Check, silent_port: int):
    url = f"127.0.0.1:{silent_port}"
    loop = asyncio.get_running_loop()
    began = loop.time()

    lines = await check(
        budget=HASTE, NETWORKS=f"http://{url}", NETWORKS_WS=f"ws://{url}", PYTH_PRICE_SERVICE=f"http://{url}",
        BINANCE_FUTURES_URL=f"http://{url}", BINANCE_FUTURES_WS_URL=f"ws://{url}", HTTP_PORT=str(silent_port),
    )  # fmt: skip

    assert loop.time() - began < max(DEFAULT_BUDGET)
    heads = f"websocket 1 (ws://{url})"
    assert {f"RPC 1 (http://{url})", heads, "Pyth", "exchange", "HTTP port"} <= set(list_failed(lines))
    assert all(lines[name].remedy for name in list_failed(lines))
    assert lines["contracts"].status is not Status.PASS


async def test_node_that_hangs_keeps_nothing_from_a_good_one(check: Check, world: World, silent_port: int):
    lines = await check(
        NETWORKS=f"http://127.0.0.1:{silent_port},{world.chain.url}", budget=DEFAULT_BUDGET._replace(node=3.0)
    )

    assert list_failed(lines) == [f"RPC 1 (http://127.0.0.1:{silent_port})"]
    assert get_endpoint(lines, 1).detail.startswith("no answer within ")
    assert get_endpoint(lines, 2).status is Status.PASS
    assert lines["snapshot"].status is Status.PASS


async def test_node_that_answers_small_pages_only_is_a_warning(check: Check, chain: InProcessChain):
    positions = [
        build_position(user, "BTC-USD", is_long=True, size_usd=1, price=Decimal(60_000)) for user in range(1, 300)
    ]
    await chain.put(*positions)
    chain.faults.page_limit = PageLimit(100, ErrorReply(-32000, "out of gas"))

    line = get_endpoint(await check(), 1)

    assert line.status is Status.WARN
    assert "answers 74 of 299 positions at once" in line.detail
    assert "use a node or a plan that answers larger calls" in line.remedy


async def test_node_that_is_slow_is_a_warning(check: Check, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dehedge.check.chain.LATENCY_WARN_S", 0.0)

    line = get_endpoint(await check(), 1)

    assert line.status is Status.WARN
    assert line.remedy == "it is slow: use a nearer node"


async def test_feeds_are_found_by_name_when_no_node_answers(check: Check, world: World, chain: InProcessChain):
    chain.faults.inject(Damage.RESET, times=None)

    lines = await check(symbols={"BTC-USD": "BTCUSDT", "NOPE-USD": "ETHUSDT"})

    assert lines["Pyth"].detail.endswith("feeds are found by their names, for no node tells them")
    assert lines["price of BTC-USD"].detail.startswith("60000, ")
    assert lines["price of NOPE-USD"].status is Status.WARN


@pytest.mark.parametrize(
    "spoil", [lambda hermes: hermes.fail(Fault.TRUNCATED), lambda hermes: hermes.fail(Fault.EMPTY)]
)
async def test_prices_fail_when_neither_node_nor_list_can_be_read(
    check: Check, world: World, chain: InProcessChain, spoil: Callable[..., None]
):
    chain.faults.inject(Damage.RESET, times=None)
    spoil(world.hermes)

    assert (await check())["Pyth"].status is Status.FAIL


async def test_wrong_key_fails_although_no_node_answers(check: Check, chain: InProcessChain):
    chain.faults.inject(Damage.RESET, times=None)

    line = (await check(PYTH_API_KEY="wrong"))["Pyth"]

    assert line.status is Status.FAIL
    assert "PYTH_API_KEY is wrong or expired" in line.detail


async def test_feed_that_the_plan_does_not_cover_is_told_by_name(check: Check, world: World):
    world.hermes.exclude(FEEDS["ETH-USD"])

    lines = await check()

    assert list_failed(lines) == ["price of ETH-USD"]
    assert "the plan of PYTH_API_KEY does not cover" in lines["price of ETH-USD"].detail
    assert lines["price of BTC-USD"].status is Status.PASS


async def test_only_feed_that_the_plan_does_not_cover_fails(check: Check, world: World):
    await world.chain.set_market(SimMarket(market="BTC-USD", pyth_feed="0" * 64))
    world.hermes.exclude(FEEDS["ETH-USD"])

    assert list_failed(await check()) == ["price of BTC-USD", "price of ETH-USD"]
