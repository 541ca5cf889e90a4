"""Two whole engines with journals of their own on one account: they notice each other, and the younger stops opening."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from dehedge.core.decisions import Reason
from dehedge.core.model import Leg, Side
from dehedge.core.orders import Action, OrderRequest, client_order_id
from dehedge.core.writers import build_deployment
from dehedge.daemon import AccountEvents
from dehedge.ports import VenueOrder
from tests.kit import EPOCH, Engine, LoopClock, Venue, World, a_policy, a_position
from tests.test_attack_engine import SteppedClock
from tests.test_status import a_view

pytestmark = pytest.mark.looptime

LONG, OTHER, THIRD = a_position(1), a_position(2), a_position(3)
TARGET = Decimal("0.166")
KEY = ("BTCUSDT", Leg.BOTH)
OLDER_NAME, YOUNGER_NAME = build_deployment(EPOCH - 86_400, 46_655), build_deployment(EPOCH - 60, 0)


class Account(Venue):
    """The account that both daemons were given; tells every order to whoever listens on its event stream."""

    def __init__(self) -> None:
        super().__init__()
        self.listeners: list[AccountEvents] = []

    def _execute(self, request: OrderRequest, *, fill_ratio: Decimal | None):
        order = super()._execute(request, fill_ratio=fill_ratio)
        report = self._report(order, price=None)
        told = VenueOrder(order.symbol, Side(order.side), Leg(order.leg), report, order.updated_ms / 1000)
        for listener in self.listeners:
            listener.on_order(told)
        return order


def a_world(account: Account, name: str) -> World:
    world = World(venue=account)
    world.journal.deployment = name
    return world


async def an_engine(world: World, *, listens: bool = True) -> Engine:
    engine = Engine(world)
    await engine.start()
    if listens:
        world.venue.listeners.append(AccountEvents(engine.executor, engine.auditor))
    await engine.run_for(3)
    return engine


def put(engines: list[Engine], *positions) -> None:
    for engine in engines:
        engine.world.put(*positions)


def remove(engines: list[Engine], position) -> None:
    for engine in engines:
        engine.world.remove(position)


async def two_engines(first: str, second: str, *, listens: bool = True) -> list[Engine]:
    """On one account, started in this order."""
    account = Account()
    return [await an_engine(a_world(account, name), listens=listens) for name in (first, second)]


async def hedge_twice(older: Engine, younger: Engine) -> None:
    """The younger one opens while it has not heard of the older."""
    younger.world.put(LONG)
    await asyncio.sleep(2)
    older.world.put(LONG)
    await asyncio.sleep(2)
    assert older.held(LONG) == younger.held(LONG) == TARGET


def pick(engines: list[Engine], name: str) -> Engine:
    return next(engine for engine in engines if engine.ledger.journal.deployment == name)


@pytest.mark.parametrize("listens", [True, False], ids=["from the stream", "from the audit"])
@pytest.mark.parametrize(
    "names", [(OLDER_NAME, YOUNGER_NAME), (YOUNGER_NAME, OLDER_NAME)], ids=["older first", "younger first"]
)
async def test_younger_daemon_refuses_to_open_and_closes_on_when_two_share_an_account(names, listens):
    engines = await two_engines(*names, listens=listens)
    older, younger = pick(engines, OLDER_NAME), pick(engines, YOUNGER_NAME)
    net = older.world.venue.net
    await hedge_twice(older, younger)
    await asyncio.sleep(0 if listens else 130)

    put(engines, OTHER)
    await asyncio.sleep(5)
    assert (older.held(OTHER), younger.held(OTHER)) == (TARGET, 0)
    assert younger.reconciler.decisions[OTHER.key].reason is Reason.SYMBOL_BLOCKED
    put(engines, a_position(1, size_usd=20_000))
    await asyncio.sleep(5)
    assert (older.held(LONG), younger.held(LONG)) == (Decimal("0.333"), TARGET)

    remove(engines, LONG)
    await asyncio.sleep(10)
    assert younger.held(LONG) == 0 == older.held(LONG)
    assert net("BTCUSDT") == older.held(OTHER) == TARGET
    await asyncio.gather(*(engine.die() for engine in engines))


async def test_younger_daemon_lets_no_hedge_grow_whose_market_is_no_longer_mapped(monkeypatch):
    world = a_world(Account(), YOUNGER_NAME)
    world.put(LONG)
    engine = await an_engine(world)
    await asyncio.sleep(5)
    await engine.die()
    engine = Engine(world, a_policy(symbols={"ETH-USD": "ETHUSDT"}))
    await engine.start()
    assert engine.held(LONG) == TARGET

    monkeypatch.setattr(engine.auditor.writers, "find_obstacle", lambda: "an older daemon")
    world.put(a_position(1, size_usd=20_000))
    await asyncio.sleep(10)

    assert engine.held(LONG) == TARGET
    await engine.die()


async def test_younger_daemon_is_not_ready_and_says_what_to_do_while_the_older_one_warns_and_goes_on():
    engines = await two_engines(OLDER_NAME, YOUNGER_NAME)
    await hedge_twice(*engines)
    older, younger = (a_view(engine) for engine in engines)

    (reason,) = younger.find_obstacles()
    assert f"an older daemon ({OLDER_NAME}) trades on this account" in reason
    assert "this one opens nothing meanwhile: stop one of them, or give it an account of its own" in reason
    assert younger.get_status()["other_daemons"][0]["seniority"] == "older"
    assert older.find_obstacles() == []
    (warning,) = older.get_status()["warnings"]
    assert f"a younger daemon ({YOUNGER_NAME}) trades on this account" in warning
    assert "this one goes on" in warning
    await asyncio.gather(*(engine.die() for engine in engines))


async def test_each_daemon_takes_the_orders_of_the_other_for_foreign():
    engines = await two_engines(OLDER_NAME, YOUNGER_NAME)
    await hedge_twice(*engines)
    await asyncio.sleep(15)

    assert [engine.book.foreign.get(KEY) for engine in engines] == [TARGET, TARGET]
    assert [engine.auditor.blocked for engine in engines] == [{}, {}]
    await asyncio.gather(*(engine.die() for engine in engines))


async def test_younger_daemon_opens_nothing_after_a_restart_when_the_older_traded_within_the_hour():
    account = Account()
    first = await an_engine(a_world(account, OLDER_NAME), listens=False)
    world = a_world(account, YOUNGER_NAME)
    put([first], LONG)
    await first.run_for(3_000)
    world.put(LONG)

    second = await an_engine(world)

    assert second.held(LONG) == 0
    assert second.reconciler.decisions[LONG.key].reason is Reason.SYMBOL_BLOCKED
    assert account.net("BTCUSDT") == TARGET
    await asyncio.gather(first.die(), second.die())


async def test_younger_daemon_opens_again_when_the_older_has_been_silent_for_an_hour():
    engines = await two_engines(OLDER_NAME, YOUNGER_NAME)
    older, younger = engines
    put(engines, LONG)
    await asyncio.sleep(5)
    await older.die()
    younger.world.put(OTHER)

    await younger.run_for(3_580)
    assert younger.held(OTHER) == 0
    await younger.run_for(30)

    assert younger.held(OTHER) == TARGET
    assert younger.auditor.writers.get_others() == []
    await younger.die()


async def test_younger_daemon_still_knows_the_older_when_its_clock_was_ahead_for_a_moment():
    engines = await two_engines(OLDER_NAME, YOUNGER_NAME)
    older, younger = engines
    older.world.put(LONG)
    await asyncio.sleep(5)

    clock = SteppedClock()
    younger.auditor.writers._clock = clock
    clock.step_s = 7_200.0
    await asyncio.sleep(5)
    clock.step_s = 0.0
    younger.world.put(OTHER)
    await asyncio.sleep(5)

    assert younger.held(OTHER) == 0
    await asyncio.gather(*(engine.die() for engine in engines))


async def test_daemon_opens_at_once_when_its_journal_was_deleted_a_moment_after_its_predecessor_traded():
    account = Account()
    first = await an_engine(a_world(account, OLDER_NAME))
    put([first], LONG)
    await first.run_for(3)
    await first.die()
    made_anew = a_world(account, build_deployment(LoopClock().time(), 7))
    made_anew.put(LONG)

    second = await an_engine(made_anew)

    assert second.held(LONG) == TARGET
    assert second.auditor.writers.get_others() == []
    await second.die()


async def test_daemon_counts_what_a_predecessor_had_on_the_wire_when_it_died_as_its_past():
    account = Account()
    engine = await an_engine(a_world(account, build_deployment(LoopClock().time(), 7)))
    await account.place_order(an_order_of(OLDER_NAME))
    await engine.run_for(70)

    assert engine.auditor.writers.find_obstacle() is None
    await engine.die()


async def test_daemon_notices_another_when_its_journal_was_made_by_a_clock_that_ran_ahead():
    engines = await two_engines(OLDER_NAME, build_deployment(EPOCH + 86_400, 7))
    await asyncio.sleep(10)
    put(engines[:1], LONG)
    await asyncio.sleep(10)

    assert "an older daemon" in engines[1].auditor.writers.find_obstacle()
    await asyncio.gather(*(engine.die() for engine in engines))


async def test_both_stop_opening_when_a_copy_of_the_journal_trades():
    account = Account()
    world = a_world(account, OLDER_NAME)
    engine = await an_engine(world)
    await engine.run_for(10)
    await account.place_order(an_order_of(OLDER_NAME, sequence=40))
    put([engine], OTHER)
    await engine.run_for(5)

    assert engine.held(OTHER) == 0
    (reason,) = [reason for reason in a_view(engine).find_obstacles() if reason.startswith("one writer")]
    assert "a daemon with a copy of this journal trades on this account" in reason
    await engine.die()


async def test_daemon_goes_on_when_the_ids_of_others_only_look_like_ours():
    account = Account()
    engine = await an_engine(a_world(account, YOUNGER_NAME))
    for text in ("dh-by-hand", "web_1", f"dh-{OLDER_NAME}"):
        await account.place_order(OrderRequest(text, "BTCUSDT", Side.BUY, Leg.BOTH, Decimal("0.1"), reduce_only=False))
    put([engine], OTHER)
    await engine.run_for(70)

    assert engine.held(OTHER) == TARGET
    assert engine.book.foreign[KEY] == Decimal("0.3")
    await engine.die()


def an_order_of(name: str, sequence: int = 9) -> OrderRequest:
    order_id = client_order_id(name, Action.INCREASE, [], sequence)
    return OrderRequest(order_id, "BTCUSDT", Side.BUY, Leg.BOTH, Decimal("0.1"), reduce_only=False)
