"""Attacks on the engine: lagging views, other hands on the account, forced orders, clocks, limits, shutdown.

Each test plays one thing that the world can do, on virtual time against the exchange stand-in's own ledger, and judges by
what the account holds, what was sent, and what an operator is told.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from dehedge.core.book import TradingMode
from dehedge.core.decisions import Reason
from dehedge.core.events import OrderReported
from dehedge.core.guards import GuardLimits
from dehedge.core.model import ChainSnapshot, Leg, Market, Side
from dehedge.core.orders import OrderReport, OrderRequest, OrderStatus
from dehedge.errors import AuthenticationFailed, ConnectorError, RateLimited, VenueUnavailable
from dehedge.ports import MarkPrice, VenueOrder, VenuePosition
from dehedge.recovery import replay
from dehedge.settlement import Refusals
from dehedge.sim.exchange import Ask
from dehedge.status import StatusView
from tests.kit import FEEDS, RULES, SYMBOLS, USDC, Engine, LoopClock, MemoryJournal, Venue, World, a_policy, a_position

pytestmark = pytest.mark.looptime

LONG = a_position(1)
OTHER = a_position(7)
SHORT = a_position(2, is_long=False, size_usd=6_000, entry=63_000)
TARGET = Decimal("0.166")
BTC = ("BTCUSDT", Leg.BOTH)


class LaggingVenue(Venue):
    """The account's positions are told as they were ``lag_s`` ago, as a busy exchange does."""

    lag_s = 0.0

    async def fetch_positions(self) -> Sequence[VenuePosition]:
        await super().fetch_positions()
        until_ms = (LoopClock().time() - self.lag_s) * 1000
        known = {(p.symbol, Leg(p.leg)): p.amount for p in self.ledger.points if p.at_ms <= until_ms}
        return [VenuePosition(*key, amount, Decimal(0)) for key, amount in known.items() if amount]


class WeighedVenue(Venue):
    """Counts the request weight of what is read of it, and can refuse or delay each kind of read."""

    def __init__(self, **arguments: object) -> None:
        super().__init__(**arguments)  # type: ignore[arg-type]
        self.weight = 0
        self.mark_reads = 0
        self.mark_age_s = 0.0
        self.mark_read_s = 0.01
        self.read_error: ConnectorError | None = None
        self.position_read_s = 0.0
        self.history_read_s = 0.0
        self.reads_history = asyncio.Event()
        self.unanswered_symbols: set[str] = set()

    async def _reach(self) -> None:
        await super()._reach()
        if self.read_error is not None:
            raise self.read_error

    async def fetch_order(self, symbol: str, client_order_id: str) -> OrderReport | None:
        self.weight += 1
        if symbol in self.unanswered_symbols:
            raise VenueUnavailable("Invalid symbol.")
        return await super().fetch_order(symbol, client_order_id)

    async def fetch_order_history(self, symbol: str, since_s: float) -> Sequence[VenueOrder]:
        self.weight += 5
        self.reads_history.set()
        history = await super().fetch_order_history(symbol, since_s)
        await asyncio.sleep(self.history_read_s)
        return history

    async def fetch_positions(self) -> Sequence[VenuePosition]:
        self.weight += 5
        positions = await super().fetch_positions()
        await asyncio.sleep(self.position_read_s)
        return positions

    async def fetch_mark_prices(self, symbols: Sequence[str]) -> Mapping[str, MarkPrice]:
        self.weight += 10
        self.mark_reads += 1
        await asyncio.sleep(self.mark_read_s)
        return self.get_mark_prices()

    def get_mark_prices(self) -> Mapping[str, MarkPrice]:
        marks = super().get_mark_prices()
        return {symbol: replace(mark, time_s=mark.time_s - self.mark_age_s) for symbol, mark in marks.items()}


async def an_engine(world: World, *, settle_s: float = 5.0) -> Engine:
    engine = Engine(world)
    await engine.start()
    await engine.run_for(settle_s)
    return engine


def a_view(engine: Engine) -> StatusView:
    view = StatusView(
        policy=engine.policy, snapshots=engine.snapshots, prices=engine.prices, venue=engine.venue,
        ledger=engine.ledger, auditor=engine.auditor, executor=engine.executor, reconciler=engine.reconciler,
        clock=engine.clock, connector_name="ledger",
    )  # fmt: skip
    view.is_recovered = True
    return view


async def make_gone(engine: Engine, *positions: object) -> None:
    """The positions are gone, and the next two snapshots say so at once."""
    for position in positions:
        engine.world.remove(position)  # type: ignore[arg-type]
    engine.feed()
    engine.feed()


# --- the account's view lags


@pytest.mark.parametrize("lag_s", [0.3, 1.5, 6.0])
async def test_auditor_writes_no_hedge_down_when_the_account_view_lags_behind_the_fill(lag_s):
    venue = LaggingVenue()
    venue.lag_s = lag_s
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world, settle_s=0.2)
    assert engine.held(LONG) == TARGET

    await make_gone(engine, LONG)
    await engine.run_for(30)

    assert not engine.book.get_all_hedged_positions()
    assert venue.net("BTCUSDT") == 0
    await engine.die()


async def test_auditor_does_not_take_an_old_suspicion_as_the_confirmation_of_a_new_one():
    venue = LaggingVenue()
    venue.lag_s = 1.0
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world, settle_s=0.2)
    await make_gone(engine, LONG)
    await engine.run_for(10)
    assert venue.net("BTCUSDT") == 0

    world.put(LONG)
    engine.feed()
    await engine.run_for(0.2)
    assert engine.held(LONG) == TARGET
    await make_gone(engine, LONG)
    await engine.run_for(20)

    assert not engine.book.get_all_hedged_positions()
    assert venue.net("BTCUSDT") == 0
    await engine.die()


async def test_auditor_takes_no_closed_hedge_for_a_foreign_position_when_the_account_view_lags():
    venue = LaggingVenue()
    venue.lag_s = 1.0
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world)
    await make_gone(engine, LONG)
    await engine.run_for(0.2)
    assert venue.net("BTCUSDT") == 0

    engine.auditor.request()
    await engine.run_for(5)

    assert engine.book.foreign.get(BTC, Decimal(0)) == 0
    world.put(LONG)
    await engine.run_for(10)
    await make_gone(engine, LONG)
    await engine.run_for(60)
    assert venue.net("BTCUSDT") == 0
    await engine.die()


async def test_auditor_blocks_no_symbol_for_ever_when_the_account_view_lagged_once():
    venue = LaggingVenue()
    venue.lag_s = 1.0
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world, settle_s=0.2)
    engine.auditor.request()
    await engine.run_for(1)
    await make_gone(engine, LONG)
    await engine.run_for(200)

    assert engine.auditor.blocked == {}
    world.put(OTHER)
    await engine.run_for(10)
    assert venue.net("BTCUSDT") == TARGET
    await engine.die()


async def test_auditor_blocks_nothing_at_the_first_sight_of_a_lagging_view():
    venue = LaggingVenue()
    venue.lag_s = 0.5
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world, settle_s=0.2)

    engine.auditor.request()
    await engine.run_for(0.2)

    assert engine.auditor.blocked == {}
    await engine.die()


async def test_auditor_finds_a_liquidation_that_came_a_moment_before_the_start_when_the_account_view_lags():
    venue = LaggingVenue()
    venue.lag_s = 1.0
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world, settle_s=30)
    await engine.die()
    venue.force("BTCUSDT", "0.166")

    second = await an_engine(world)
    await second.run_for(90)

    assert second.auditor.blocked == {}
    assert second.held(LONG) == TARGET == venue.net("BTCUSDT")
    await second.die()


# --- other hands on the account


async def test_auditor_lets_a_person_close_their_own_position_without_touching_our_hedge():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    world.venue.trade_by_hand("BTCUSDT", "BUY", "0.3")
    await engine.run_for(70)
    assert engine.book.foreign[BTC] == Decimal("0.3")

    world.venue.trade_by_hand("BTCUSDT", "SELL", "0.3")
    await engine.run_for(70)

    assert engine.auditor.blocked == {}
    assert engine.book.foreign[BTC] == 0
    await make_gone(engine, LONG)
    await engine.run_for(30)
    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_executor_closes_the_hedge_whole_when_a_person_closed_their_own_position_a_moment_before():
    world = World()
    world.venue.trade_by_hand("BTCUSDT", "BUY", "0.3")
    world.put(LONG)
    engine = await an_engine(world)
    assert engine.book.foreign[BTC] == Decimal("0.3")

    world.venue.trade_by_hand("BTCUSDT", "SELL", "0.3")
    await make_gone(engine, LONG)
    await engine.run_for(30)

    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_executor_closes_at_once_when_another_hand_sells_its_own_position_bit_by_bit():
    world = World()
    world.venue.trade_by_hand("BTCUSDT", "BUY", "3")
    world.put(LONG)
    engine = await an_engine(world)
    await make_gone(engine, LONG)

    for _ in range(20):
        world.venue.trade_by_hand("BTCUSDT", "SELL", "0.1")
        await engine.run_for(1)

    assert not engine.book.get_all_hedged_positions()
    assert world.venue.net("BTCUSDT") == 1
    await engine.die()


@pytest.mark.parametrize("taken", ["0.466", "0.2", "0.4"])
async def test_auditor_shares_a_forced_order_with_the_foreign_position_in_the_same_symbol(taken):
    world = World()
    world.venue.trade_by_hand("BTCUSDT", "BUY", "0.3")
    world.put(LONG)
    engine = await an_engine(world)
    assert world.venue.net("BTCUSDT") == Decimal("0.466")

    world.venue.force("BTCUSDT", taken)
    engine.auditor.request()
    await engine.run_for(90)

    assert engine.auditor.blocked == {}
    assert engine.held(LONG) == TARGET
    foreign = engine.book.foreign[BTC]
    assert foreign + TARGET == world.venue.net("BTCUSDT")
    await make_gone(engine, LONG)
    await engine.run_for(30)
    assert world.venue.net("BTCUSDT") == foreign
    await engine.die()


async def test_auditor_keeps_a_symbol_blocked_in_hedge_mode_when_only_one_leg_differs():
    world = World(venue=Venue(hedge_mode=True))
    world.put(LONG, SHORT)
    engine = await an_engine(world)

    world.venue.trade_by_hand("BTCUSDT", "SELL", "0.166", Leg.LONG)
    with capture_logs() as logs:
        await engine.run_for(200)

    assert "BTCUSDT" in engine.auditor.blocked
    assert [entry["event"] for entry in logs].count("account_differed") == 1
    await engine.die()


@pytest.mark.parametrize("from_hedge_mode", [False, True])
async def test_auditor_forgets_the_legs_of_the_position_mode_that_the_account_has_left(from_hedge_mode):
    world = World(venue=Venue(hedge_mode=from_hedge_mode))
    leg = Leg.LONG if from_hedge_mode else Leg.BOTH
    world.venue.trade_by_hand("BTCUSDT", "BUY", "0.3", leg)
    engine = await an_engine(world)
    world.venue.trade_by_hand("BTCUSDT", "SELL", "0.3", leg)
    await engine.run_for(70)
    assert engine.book.foreign["BTCUSDT", leg] == 0
    await engine.die()

    world.venue = Venue(hedge_mode=not from_hedge_mode)
    world.put(LONG)
    second = await an_engine(world)
    await second.run_for(70)

    assert second.auditor.blocked == {}
    await make_gone(second, LONG)
    await second.run_for(30)
    assert world.venue.net("BTCUSDT") == 0
    await second.die()


async def test_executor_takes_no_hedge_off_the_book_for_one_that_was_opened_while_the_history_was_read():
    venue = WeighedVenue()
    venue.history_read_s = 1.5
    world = World(venue=venue)
    world.put(LONG, a_position(3, size_usd=4_000))
    engine = await an_engine(world)
    venue.force("BTCUSDT", "0.05")
    await make_gone(engine, LONG)
    await venue.reads_history.wait()
    await engine.run_for(0.1)
    world.put(OTHER)
    engine.feed()
    await engine.run_for(60)

    held = engine.held(OTHER) + engine.held(a_position(3, size_usd=4_000))
    assert venue.net("BTCUSDT") == held
    assert engine.book.foreign.get(BTC, Decimal(0)) == 0
    await engine.die()


async def test_auditor_judges_by_what_it_read_when_a_hedge_is_opened_while_the_history_is_read():
    venue = WeighedVenue()
    venue.history_read_s = 1.0
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world)
    venue.force("BTCUSDT", "0.066")
    engine.auditor.request()
    await venue.reads_history.wait()
    await engine.run_for(0.1)
    world.put(OTHER)
    engine.feed()
    await engine.run_for(60)

    assert engine.auditor.blocked == {}
    assert engine.book.foreign.get(BTC, Decimal(0)) == 0
    assert venue.net("BTCUSDT") == 2 * TARGET
    await engine.die()


async def test_executor_leaves_nothing_behind_when_a_forced_order_comes_before_a_plain_close():
    world = World()
    world.put(LONG, SHORT)
    engine = await an_engine(world)
    assert world.venue.net("BTCUSDT") == TARGET - Decimal("0.1")
    world.venue.script.append("forced_first")
    original = world.venue._execute

    def execute(request: OrderRequest, *, fill_ratio: Decimal | None):
        if world.venue.net("BTCUSDT") == TARGET - Decimal("0.1"):
            world.venue.force("BTCUSDT", "0.066")
        return original(request, fill_ratio=fill_ratio)

    world.venue._execute = execute  # type: ignore[method-assign]
    await make_gone(engine, LONG)
    await engine.run_for(120)
    world.remove(SHORT)
    await engine.run_for(120)

    assert not engine.book.get_all_hedged_positions()
    assert world.venue.net("BTCUSDT") == 0 or engine.auditor.blocked
    await engine.die()


# --- two orders in doubt, and forced orders among them


@pytest.mark.parametrize("hedge_mode", [False, True])
async def test_executor_does_not_send_again_what_another_order_in_doubt_hides_from_the_position(hedge_mode):
    """A hidden open and a hidden close of the same leg: the position alone looks as if neither had happened."""
    world = World(venue=Venue(hedge_mode=hedge_mode))
    world.put(OTHER)
    engine = await an_engine(world)
    world.venue.script.extend(["hidden", "hidden"])
    world.put(LONG)
    await make_gone(engine, OTHER)

    await engine.run_for(15)
    assert len(world.venue.sent) == 3
    await engine.run_for(60)

    assert engine.held(LONG) == TARGET == world.venue.net("BTCUSDT")
    assert len(world.venue.sent) == 3
    await engine.die()


async def test_executor_does_not_send_again_when_a_hidden_order_was_undone_by_an_opposite_one_in_one_way_mode():
    world = World()
    engine = await an_engine(world)
    world.venue.script.extend(["hidden", "hidden"])
    world.put(LONG, a_position(2, is_long=False, entry=63_000))
    engine.feed()

    await engine.run_for(15)
    assert len(world.venue.sent) == 2
    await engine.run_for(60)

    assert engine.held(LONG) == TARGET
    assert world.venue.net("BTCUSDT") == 0
    assert len(world.venue.sent) == 2
    await engine.die()


async def test_executor_does_not_send_again_when_a_foreign_round_trip_is_only_half_in_the_history_that_it_reads():
    world = World()
    engine = await an_engine(world, settle_s=0.5)
    world.venue.trade_by_hand("BTCUSDT", "SELL", "1")
    await engine.run_for(26)
    world.venue.trade_by_hand("BTCUSDT", "BUY", "1")
    await engine.run_for(45)
    world.venue.script.append("hidden")
    world.put(LONG)

    await engine.run_for(15)
    assert len(world.venue.sent) == 1
    await engine.run_for(60)

    assert engine.held(LONG) == TARGET == world.venue.net("BTCUSDT")
    await engine.die()


async def test_executor_does_not_send_again_when_a_forced_order_comes_between_two_reads_about_a_hidden_order():
    venue = WeighedVenue()
    world = World(venue=venue)
    world.put(OTHER)
    engine = await an_engine(world)
    venue.script.append("hidden")
    venue.reads_history.clear()
    venue.history_read_s = 0.1
    world.put(LONG)

    await venue.reads_history.wait()
    await asyncio.sleep(0.05)
    venue.force("BTCUSDT", "0.332")
    await engine.run_for(120)

    assert (engine.held(LONG), engine.held(OTHER)) == (TARGET, TARGET)
    assert venue.net("BTCUSDT") == 2 * TARGET
    assert engine.auditor.blocked == {}
    await engine.die()


async def test_executor_does_not_send_again_when_another_hedge_was_opened_since_the_account_was_read():
    venue = WeighedVenue()
    world = World(venue=venue)
    engine = await an_engine(world)
    venue.script.append("hidden")
    venue.reads_history.clear()
    world.put(LONG)
    await venue.reads_history.wait()
    await engine.run_for(0.2)

    world.put(OTHER)
    engine.feed()
    await engine.run_for(60)

    assert len(venue.sent) == 2
    assert engine.held(LONG) == TARGET == engine.held(OTHER)
    assert venue.net("BTCUSDT") == 2 * TARGET
    await engine.die()


async def test_executor_sells_no_more_than_is_there_when_a_forced_order_came_while_another_is_in_doubt():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    world.venue.script.append("never")
    world.put(SHORT)
    engine.feed()
    await engine.run_for(0.1)
    world.venue.force("BTCUSDT", "0.066")

    await make_gone(engine, LONG, SHORT)
    await engine.run_for(120)

    assert not engine.book.get_all_hedged_positions()
    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


@pytest.mark.parametrize("quantities", [("0.1", "0.1"), ("0.1", "0.366"), ("0.2", "0.266")])
async def test_auditor_shares_two_forced_orders_with_the_foreign_position_in_the_same_symbol(quantities):
    world = World()
    world.venue.trade_by_hand("BTCUSDT", "BUY", "0.3")
    world.put(LONG)
    engine = await an_engine(world)

    for quantity in quantities:
        world.venue.force("BTCUSDT", quantity)
    engine.auditor.request()
    await engine.run_for(90)

    assert engine.auditor.blocked == {}
    assert engine.held(LONG) == TARGET
    assert engine.book.foreign[BTC] + TARGET == world.venue.net("BTCUSDT")
    await engine.die()


async def test_auditor_takes_forced_orders_off_both_legs_when_they_come_together_in_hedge_mode():
    world = World(venue=Venue(hedge_mode=True))
    world.put(LONG, SHORT)
    engine = await an_engine(world)

    world.venue.force("BTCUSDT", "0.166", leg=Leg.LONG)
    world.venue.force("BTCUSDT", "0.04", leg=Leg.SHORT)
    engine.auditor.request()
    await engine.run_for(30)

    assert (engine.held(LONG), engine.held(SHORT)) == (TARGET, Decimal("-0.1"))
    assert world.venue.net("BTCUSDT") == TARGET - Decimal("0.1")
    await engine.run_for(90)
    assert engine.auditor.blocked == {}
    await engine.die()


async def test_auditor_takes_forced_orders_off_both_sides_when_opposite_hedges_net_out():
    world = World()
    world.put(LONG, SHORT)
    engine = await an_engine(world)
    world.venue.force("BTCUSDT", "0.05")
    engine.auditor.request()
    await engine.run_for(30)

    assert (engine.held(LONG), engine.held(SHORT)) == (TARGET, Decimal("-0.1"))
    assert world.venue.net("BTCUSDT") == TARGET - Decimal("0.1")
    assert engine.auditor.blocked == {}
    await engine.die()


async def test_auditor_explains_what_happened_while_the_daemon_was_dead_after_earlier_foreign_trades():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    world.venue.trade_by_hand("BTCUSDT", "BUY", "0.3")
    await engine.run_for(70)
    await engine.die()
    world.venue.trade_by_hand("BTCUSDT", "SELL", "0.1")
    world.venue.force("BTCUSDT", "0.366")

    second = await an_engine(world)
    await second.run_for(150)

    assert world.venue.net("BTCUSDT") == TARGET + second.book.foreign[BTC] or "BTCUSDT" in second.auditor.blocked
    await make_gone(second, LONG)
    await second.run_for(100)
    assert world.venue.net("BTCUSDT") == second.book.foreign[BTC]
    assert second.auditor.blocked == {}
    await second.die()


# --- requests, limits and hot loops


async def test_reconciler_asks_for_marks_at_a_measured_pace_when_they_stay_old():
    venue = WeighedVenue()
    venue.mark_age_s = 3.0
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world, settle_s=0)

    await engine.run_for(20)

    assert venue.mark_reads <= 30
    await engine.die()


async def test_reconciler_hedges_when_the_exchange_clock_is_seconds_behind_ours():
    venue = WeighedVenue()
    venue.mark_age_s = 3.0
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world)

    await engine.run_for(10)

    assert venue.net("BTCUSDT") == TARGET
    await engine.die()


async def test_reconciler_closes_and_opens_elsewhere_while_a_mark_is_waited_for():
    venue = WeighedVenue()
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world)
    venue.mark_read_s = 15.0
    marks = venue.get_mark_prices
    venue.get_mark_prices = lambda: {k: v for k, v in marks().items() if k != "ETHUSDT"}  # type: ignore[method-assign]
    world.put(a_position(3, market="ETH-USD", entry=2_800))
    engine.feed()
    await engine.run_for(0.2)

    await make_gone(engine, LONG)
    await engine.run_for(3)

    assert venue.net("BTCUSDT") == 0
    await engine.die()


async def test_auditor_reads_the_account_at_a_measured_pace_when_another_hand_trades_without_pause():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    before = world.venue.position_reads

    for _ in range(1_200):
        engine.auditor.request()
        await engine.run_for(0.05)

    assert world.venue.position_reads - before <= 60
    await engine.die()


async def test_executor_stays_within_the_request_weight_when_many_orders_are_in_doubt():
    venue = WeighedVenue(balance=Decimal(500_000_000))
    world = World(venue=venue)
    positions = [a_position(user, size_usd=7_000_000) for user in range(1, 13)]
    world.put(*positions)
    venue.script.extend(["never"] * 12)
    venue.trade_by_hand("BTCUSDT", "BUY", "1")
    engine = Engine(world)
    await engine.start()
    await engine.run_for(0.1)
    assert len(venue.sent) == 12
    venue.trade_by_hand("BTCUSDT", "BUY", "1")
    before = venue.weight

    await engine.run_for(60)

    assert venue.weight - before <= 1_200
    await engine.die()


async def test_executor_sends_few_orders_when_the_margin_does_not_carry_what_is_at_risk():
    world = World(venue=Venue(balance=Decimal(10_000)))
    world.put(*(a_position(user, size_usd=20_000 + user) for user in range(1, 61)))
    engine = await an_engine(world, settle_s=60)
    before = len(world.venue.sent)

    await engine.run_for(300)

    assert len(world.venue.sent) - before <= 60
    await engine.die()


async def test_executor_does_not_try_a_reduction_again_and_again_that_is_below_the_minimum_notional():
    world = World()
    long = a_position(3, market="ETH-USD", entry=2_800)
    short = a_position(4, market="ETH-USD", is_long=False, size_usd=20_000, entry=3_300)
    world.put(long, short)
    engine = await an_engine(world)
    assert world.venue.net("ETHUSDT") < 0
    before = len(world.venue.sent)

    world.put(a_position(3, market="ETH-USD", size_usd=9_990, entry=2_800))
    await engine.run_for(300)

    assert len(world.venue.sent) - before <= 15
    await engine.die()


async def test_auditor_looks_at_a_blocked_symbol_no_more_than_once_a_minute_or_so():
    venue = WeighedVenue()
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world)
    venue.trade_by_hand("BTCUSDT", "BUY", "0.5")
    await engine.run_for(130)
    venue.trade_by_hand("BTCUSDT", "SELL", "0.6")
    await engine.run_for(130)
    before = venue.weight

    await engine.run_for(600)

    assert venue.weight - before <= 600
    await engine.die()


# --- closes are held by nothing


async def test_executor_closes_within_seconds_when_increases_of_the_hedge_were_refused():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    world.venue.script.extend(["refused"] * 6)
    world.put(a_position(1, size_usd=30_000))
    await engine.run_for(40)
    world.venue.script.clear()

    await make_gone(engine, LONG)
    await engine.run_for(6)

    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_executor_closes_within_seconds_when_new_hedges_keep_coming_in_the_symbol():
    venue = WeighedVenue(balance=Decimal(50_000_000))
    venue.position_read_s = 1.0
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world)
    await make_gone(engine, LONG)

    for user in range(100, 150):
        world.put(a_position(user))
        engine.feed()
        await engine.run_for(0.4)

    assert engine.book.get_hedged_position(LONG.key) is None
    await engine.die()


async def test_reconciler_flattens_although_the_chain_is_stale():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    engine.tasks[2].cancel()  # no further snapshots and prices
    await asyncio.sleep(60)

    await engine.reconciler.set_mode(TradingMode.NO_OPENS, is_flattening=True)
    await asyncio.sleep(20)

    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_reconciler_flattens_although_the_chain_has_not_been_read_since_the_start():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    await engine.die()

    second = Engine(world)
    second.feed = lambda: None  # type: ignore[method-assign]
    await second.start()
    await second.reconciler.set_mode(TradingMode.NO_OPENS, is_flattening=True)
    await second.run_for(20)

    assert world.venue.net("BTCUSDT") == 0
    await second.die()


async def test_reconciler_expires_a_hedge_whose_market_is_no_longer_mapped():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    await engine.die()
    world.set_price("BTC-USD", 57_000)

    second = Engine(world, a_policy(symbols={"ETH-USD": "ETHUSDT"}))
    await second.start()
    await second.run_for(120)

    assert world.venue.net("BTCUSDT") == 0
    await second.die()


@pytest.mark.parametrize("is_gone", [False, True])
async def test_engine_orders_on_the_new_step_when_the_exchange_has_made_it_larger(is_gone):
    world = World()
    partial = a_position(1, size_usd=9_070)
    world.put(partial)
    world.venue.script.append("partial")
    engine = await an_engine(world, settle_s=0.5)
    assert engine.held(partial) == Decimal("0.060")

    enlarge_steps(engine)
    if is_gone:
        await make_gone(engine, partial)
    await engine.run_for(20)

    # What the position asks for is 0.151.
    assert engine.held(partial) == world.venue.net("BTCUSDT") == (0 if is_gone else Decimal("0.15"))
    assert engine.book.mode is TradingMode.ACTIVE
    await engine.die()


async def test_engine_closes_what_the_exchange_takes_when_its_step_has_become_larger():
    world = World()
    first, second = a_position(1, size_usd=9_070), a_position(2, size_usd=4_000)
    world.put(first, second)
    engine = await an_engine(world)
    assert (engine.held(first), engine.held(second)) == (Decimal("0.151"), Decimal("0.066"))

    enlarge_steps(engine)
    await make_gone(engine, first, second)
    await engine.run_for(20)

    assert (engine.held(first), engine.held(second)) == (Decimal("0.001"), Decimal("0.006"))
    assert world.venue.net("BTCUSDT") == Decimal("0.007")
    assert engine.book.mode is TradingMode.ACTIVE
    third = a_position(3, size_usd=6_000)
    world.put(third)
    await engine.run_for(5)
    assert engine.held(third) == Decimal("0.10")
    await make_gone(engine, third)
    await engine.run_for(5)
    assert engine.held(third) == 0
    await a_view(engine).flatten()
    await engine.run_for(5)
    view = await a_view(engine).fetch_flattening()
    assert [(part["quantity"], part["reason"][:37]) for part in view["left"]] == [
        ("0.007", "less than the exchange's step of 0.01")
    ]
    await engine.die()


def enlarge_steps(engine: Engine) -> None:
    """Tenfold, in the rules that the exchange tells and in what it takes."""
    markets, step = engine.world.venue.ledger.markets, Decimal("0.01")
    for market in markets.values():
        market.rules = replace(market.rules, step=step)
    engine.venue.rules = {
        symbol: replace(rules, quantity_step=step, quantity_min=step) for symbol, rules in RULES.items()
    }


# --- clocks


class SteppedClock(LoopClock):
    """A wall clock that somebody sets."""

    def __init__(self) -> None:
        self.step_s = 0.0

    def time(self) -> float:
        return super().time() + self.step_s


def an_engine_with_clock(world: World) -> tuple[Engine, SteppedClock]:
    engine, clock = Engine(world), SteppedClock()
    engine.clock = clock
    evidence = engine.auditor._evidence
    for part in (engine.ledger, engine.venue, evidence, engine.executor, engine.snapshots, engine.reconciler):
        part._clock = clock
    return engine, clock


async def test_executor_closes_within_seconds_when_the_wall_clock_was_set_back():
    world = World()
    world.put(LONG)
    engine, clock = an_engine_with_clock(world)
    await engine.start()
    await engine.run_for(5)
    world.venue.script.append("refused")
    await make_gone(engine, LONG)
    await engine.run_for(0.3)

    clock.step_s = -3600.0
    await engine.run_for(30)

    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_reconciler_expires_a_hedge_in_time_when_the_wall_clock_was_set_back():
    world = World()
    world.put(LONG)
    engine, clock = an_engine_with_clock(world)
    await engine.start()
    await engine.run_for(5)
    clock.step_s = -3600.0
    world.set_price("BTC-USD", 57_000)

    await engine.run_for(120)

    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_reconciler_closes_nothing_early_when_the_wall_clock_was_set_ahead():
    world = World()
    world.put(LONG)
    engine, clock = an_engine_with_clock(world)
    await engine.start()
    await engine.run_for(5)
    clock.step_s = 7200.0
    await engine.run_for(60)

    assert world.venue.net("BTCUSDT") == TARGET
    await engine.die()


async def test_reconciler_opens_nothing_on_the_last_price_when_the_wall_clock_was_set_back(monkeypatch):
    world = World()
    engine, clock = an_engine_with_clock(world)
    await engine.start()
    await engine.run_for(5)

    # From here on every price comes from the future, and none is accepted.
    clock.step_s = -3600.0
    monkeypatch.setattr(engine, "feed_prices", lambda: None)
    world.put(LONG)
    await engine.run_for(60)

    assert world.venue.sent == []
    assert engine.reconciler.decisions[LONG.key].reason is Reason.STALE_PRICE
    await engine.die()


async def test_auditor_finds_a_liquidation_right_after_the_wall_clock_was_set_back():
    world = World()
    world.put(LONG)
    engine, clock = an_engine_with_clock(world)
    engine.auditor._evidence._clock = clock
    clock.step_s = 7200.0
    await engine.start()
    await engine.run_for(65)

    clock.step_s = 0.0
    world.venue.force("BTCUSDT", "0.166")
    engine.auditor.request()
    await engine.run_for(20)

    assert engine.auditor.blocked == {}
    assert engine.book.forced_orders
    await engine.die()


async def test_auditor_finds_a_liquidation_that_came_before_a_wrong_wall_clock_was_set_right():
    world = World()
    world.put(LONG)
    engine, clock = an_engine_with_clock(world)
    await engine.start()
    await engine.run_for(5)
    clock.step_s = 7200.0
    await engine.run_for(65)

    world.venue.is_down = True
    world.venue.force("BTCUSDT", "0.166")
    await engine.run_for(100)
    clock.step_s = 0.0
    world.venue.is_down = False
    await engine.run_for(90)

    assert engine.auditor.blocked == {}
    assert engine.held(LONG) == TARGET == world.venue.net("BTCUSDT")
    await engine.die()


def a_snapshot(engine: Engine, *, block_time: float) -> ChainSnapshot:
    markets = {name: Market(name, feed, 0) for name, feed in FEEDS.items()}
    return ChainSnapshot(
        1, "0x01", int(block_time), 100_000 * 10**6, 20 * 10**6, {}, {(USDC, name): 0 for name in FEEDS}, markets
    )


async def test_reconciler_keeps_a_hedge_that_is_younger_than_the_snapshot_without_its_position():
    world = World()
    engine = await an_engine(world, settle_s=30)
    world.put(LONG)
    engine.feed()
    await engine.run_for(0.3)
    await engine.die()
    assert world.venue.net("BTCUSDT") == TARGET

    second = Engine(world)
    feed, second.feed = second.feed, lambda: None  # type: ignore[method-assign]
    feed()
    second.snapshots.put(a_snapshot(second, block_time=second.clock.time() - 20))
    await second.start()
    await second.run_for(3)

    assert world.venue.net("BTCUSDT") == TARGET
    assert len(world.venue.sent) == 1
    await second.die()


# --- the kill switch


class SlowJournal(MemoryJournal):
    """Every append takes ``append_s``."""

    append_s = 0.0

    async def append(self, at: float, events: Sequence[object]) -> None:
        await asyncio.sleep(self.append_s)
        await super().append(at, events)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", [TradingMode.NO_OPENS, TradingMode.REDUCE_ONLY, TradingMode.HALTED])
async def test_executor_opens_nothing_once_the_kill_switch_was_turned(mode):
    journal = SlowJournal()
    world = World(journal=journal)
    engine = await an_engine(world)
    journal.append_s = 0.5
    world.put(LONG)
    switching = asyncio.ensure_future(engine.reconciler.set_mode(mode))
    await asyncio.sleep(0)
    engine.feed()

    await switching
    await engine.run_for(5)

    assert engine.book.mode is mode
    assert world.venue.sent == []
    await engine.die()


async def test_executor_sends_no_close_that_was_still_being_checked_when_trading_was_halted():
    venue = WeighedVenue()
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world)
    venue.position_read_s = 2.0
    await make_gone(engine, LONG)
    await engine.run_for(0.5)

    await engine.reconciler.set_mode(TradingMode.HALTED)
    await engine.run_for(30)

    assert len(venue.sent) == 1
    await engine.die()


async def test_status_goes_on_flattening_when_it_is_paused_meanwhile():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    world.venue.is_down = True
    view = a_view(engine)

    await view.flatten()
    await engine.run_for(2)
    await view.pause()
    world.venue.is_down = False
    await engine.run_for(30)

    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_status_pause_loosens_no_stricter_mode():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    await engine.reconciler.set_mode(TradingMode.HALTED)

    await a_view(engine).pause()
    await make_gone(engine, LONG)
    await engine.run_for(10)

    assert len(world.venue.sent) == 1
    await engine.die()


@pytest.mark.parametrize("fate", ["lost", "never", "hidden"])
async def test_reconciler_flattens_an_order_that_was_unknown_when_it_was_told_to(fate):
    world = World()
    world.put(LONG)
    world.venue.script.append(fate)
    engine = await an_engine(world, settle_s=0.1)

    await engine.reconciler.set_mode(TradingMode.NO_OPENS, is_flattening=True)
    await engine.run_for(60)

    assert world.venue.net("BTCUSDT") == 0
    assert not engine.book.get_all_hedged_positions()
    assert not engine.book.is_flattening
    await engine.die()


# --- shutdown


async def shut_down(engine: Engine, timeout_s: float = 5.0) -> None:
    """What the daemon does at SIGTERM."""
    engine.reconciler.stop()
    await engine.executor.finish(timeout_s)
    await engine.ledger.drain()
    for task in engine.tasks:
        task.cancel()
    await asyncio.gather(*engine.tasks, return_exceptions=True)


async def test_executor_sees_a_close_to_its_end_that_was_still_being_checked_at_shutdown():
    venue = WeighedVenue()
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world)
    venue.position_read_s = 1.0
    await make_gone(engine, LONG)
    await engine.run_for(0.3)

    await shut_down(engine)

    assert not engine.book.in_flight
    assert engine.executor._tasks == set()


async def test_executor_sends_nothing_after_shutdown_and_leaves_no_intent_unsent():
    journal = SlowJournal()
    world = World(journal=journal)
    engine = await an_engine(world)
    journal.append_s = 0.5
    world.put(LONG)
    engine.feed()
    await asyncio.sleep(0.1)

    await shut_down(engine)
    sent = len(world.venue.sent)
    await asyncio.sleep(10)

    assert len(world.venue.sent) == sent
    assert len(replay(journal, LoopClock()).in_flight) == 0
    await engine.die()


@pytest.mark.parametrize("moment", range(0, 40, 3))
async def test_engine_holds_each_hedge_once_when_it_is_stopped_at_any_moment_and_started_again(moment):
    world = World(journal=SlowJournal())
    world.journal.append_s = 0.01  # type: ignore[attr-defined]
    world.put(LONG, SHORT)
    world.venue.script.extend([("fills", "lost", "never", "partial")[moment % 4]])
    engine = Engine(world)
    await engine.start()
    await asyncio.sleep(moment * 0.003)
    await shut_down(engine)
    await asyncio.sleep(1)

    second = Engine(world)
    await second.start()
    await second.run_for(40)

    assert (second.held(LONG), second.held(SHORT)) == (TARGET, Decimal("-0.1"))
    assert world.venue.net("BTCUSDT") == TARGET - Decimal("0.1")
    await second.die()


async def test_recovery_is_cut_short_by_a_shutdown_while_an_order_is_unknown():
    world = World()
    world.put(LONG)
    world.venue.script.append("lost")
    first = await an_engine(world, settle_s=0.05)
    await first.die()
    world.venue.is_down = True
    second = Engine(world)
    world.venue.is_down = False
    starting = asyncio.ensure_future(second.start())
    await asyncio.sleep(0.05)
    world.venue.is_down = True
    await asyncio.sleep(1)

    await shut_down(second)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    world.venue.is_down = False
    await second.die()
    third = Engine(world)
    await third.start()
    await third.run_for(20)

    assert world.venue.net("BTCUSDT") == TARGET == third.held(LONG)
    assert len(world.venue.sent) == 1
    await third.die()


# --- reports that cannot be, or come too late


async def test_ledger_keeps_a_journal_that_can_be_replayed_when_a_fill_is_larger_than_asked():
    world = World()
    world.put(LONG)
    original = world.venue._report

    def report(order, *, price: Decimal | None) -> OrderReport:
        told = original(order, price=price)
        return replace(told, filled_quantity=told.filled_quantity + Decimal("0.001"))

    world.venue._report = report  # type: ignore[method-assign]
    engine = Engine(world)
    await engine.start()
    await asyncio.sleep(10)
    await engine.die()

    replay(world.journal, LoopClock())


async def test_ledger_journals_no_fact_that_cannot_be_folded():
    world = World()
    world.put(LONG)
    world.venue.script.append("never")
    engine = await an_engine(world, settle_s=0.1)
    await engine.die()
    entries = world.journal.last_sequence
    (order,) = engine.book.in_flight.values()
    too_much = OrderReport(order.request.client_order_id, OrderStatus.FILLED, order.request.quantity + 1)

    with pytest.raises(AssertionError):
        await engine.ledger.record(OrderReported(too_much, 0.0))

    assert world.journal.last_sequence == entries


async def test_executor_says_so_when_an_abandoned_order_was_executed_after_all():
    world = World()
    world.put(LONG)
    world.venue.script.append("not_sent")
    engine = await an_engine(world, settle_s=0.05)
    request = world.venue.sent[0]
    world.venue.ledger.place(Ask("BTCUSDT", "BUY", request.quantity, client_id=request.client_order_id))
    late = OrderReport(request.client_order_id, OrderStatus.FILLED, request.quantity)

    with capture_logs() as logs:
        engine.executor.note_order(VenueOrder("BTCUSDT", Side.BUY, Leg.BOTH, late, 0.0))
        await engine.run_for(130)

    told = [entry for entry in logs if entry["log_level"] in ("warning", "error")]
    assert any(request.client_order_id in str(entry) or "account" in entry["event"] for entry in told)
    assert world.venue.net("BTCUSDT") == engine.held(LONG) or "BTCUSDT" in engine.auditor.blocked
    await engine.die()


async def test_executor_takes_no_fill_for_a_late_one_when_its_order_was_being_given_up():
    world = World()
    world.put(LONG)
    world.venue.script.append("hangs")
    engine = await an_engine(world, settle_s=1)
    (order,) = engine.book.in_flight.values()
    report = OrderReport(order.request.client_order_id, OrderStatus.FILLED, TARGET, Decimal(60_000), "1")
    told = VenueOrder("BTCUSDT", Side.BUY, Leg.BOTH, report, engine.clock.time())

    engine.executor.note_order(told)
    await asyncio.sleep(0)
    await engine.executor._settlement.abandon(order, VenueUnavailable("the exchange never had this order"))
    engine.executor.note_order(told)
    assert engine.auditor.blocked == {}
    assert engine.held(LONG) == TARGET
    await engine.die()


async def test_auditor_takes_no_fill_of_our_own_for_a_foreign_position_when_only_the_history_tells_of_it():
    world = World()
    world.put(LONG)
    world.venue.script.append("not_sent")
    engine = await an_engine(world, settle_s=0.05)
    request = world.venue.sent[0]
    world.venue.ledger.place(Ask("BTCUSDT", "BUY", request.quantity, client_id=request.client_order_id))

    await engine.run_for(200)

    assert world.venue.net("BTCUSDT") == engine.held(LONG) or "BTCUSDT" in engine.auditor.blocked
    await engine.die()


async def test_executor_counts_a_fill_once_when_its_events_come_late_twice_and_in_the_wrong_order():
    world = World()
    world.put(LONG)
    world.venue.script.append("lost")
    engine = await an_engine(world, settle_s=0.05)
    request = world.venue.sent[0]
    partly = OrderReport(request.client_order_id, OrderStatus.PARTIALLY_FILLED, Decimal("0.1"))
    whole = OrderReport(request.client_order_id, OrderStatus.FILLED, TARGET)
    for report in (whole, partly, whole, partly):
        engine.executor.note_order(VenueOrder("BTCUSDT", Side.BUY, Leg.BOTH, report, 0.0))

    await engine.run_for(30)

    assert engine.held(LONG) == TARGET == world.venue.net("BTCUSDT")
    assert len(world.venue.sent) == 1
    await engine.die()


# --- one broken part does not hold the others


async def test_recovery_hedges_other_symbols_when_an_order_of_one_symbol_cannot_be_asked_for():
    venue = WeighedVenue()
    world = World(venue=venue)
    eth = a_position(3, market="ETH-USD", entry=2_800)
    world.put(eth)
    venue.script.append("lost")
    engine = await an_engine(world, settle_s=0.05)
    await engine.die()
    venue.unanswered_symbols.add("ETHUSDT")
    world.put(LONG)

    second = Engine(world)
    starting = asyncio.ensure_future(second.start())
    await asyncio.sleep(120)

    assert venue.net("BTCUSDT") == TARGET
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await second.die()


async def test_executor_ends_the_doubt_about_an_order_by_history_when_it_cannot_be_asked_for():
    venue = WeighedVenue()
    world = World(venue=venue)
    world.put(LONG)
    venue.unanswered_symbols.add("BTCUSDT")
    venue.script.append("lost")
    engine = await an_engine(world)

    await engine.run_for(300)

    assert not engine.book.in_flight
    assert engine.held(LONG) == TARGET == venue.net("BTCUSDT")
    await engine.die()


# --- readiness tells the truth


@pytest.mark.parametrize(
    "error",
    [
        VenueUnavailable("no answer in time"),
        RateLimited("IP banned", retry_after_s=7_200),
        AuthenticationFailed("the key is refused"),
    ],
    ids=["down", "banned", "key_revoked"],
)
async def test_status_is_not_ready_while_the_account_cannot_be_read(error):
    venue = WeighedVenue()
    world = World(venue=venue)
    world.put(LONG)
    engine = await an_engine(world)
    view = a_view(engine)
    assert view.find_obstacles() == []

    venue.read_error = error
    await engine.run_for(150)

    assert view.find_obstacles()
    await engine.die()


async def test_status_is_not_ready_while_no_mark_price_comes():
    venue = WeighedVenue()
    world = World(venue=venue)
    engine = await an_engine(world)
    venue.mark_age_s = 600.0
    venue.mark_read_s = 1_000.0
    await engine.run_for(60)

    assert a_view(engine).find_obstacles()
    await engine.die()


async def test_status_names_an_order_whose_outcome_has_been_unknown_for_minutes():
    world = World()
    world.put(LONG)
    world.venue.script.append("lost")
    engine = await an_engine(world, settle_s=0.05)
    world.venue.is_down = True
    await engine.run_for(300)

    assert any("dh-" in reason or "unknown" in reason for reason in a_view(engine).find_obstacles())
    await engine.die()


async def test_status_is_not_ready_while_every_open_is_refused():
    world = World()
    world.put(LONG)
    world.venue.script.extend(["refused"] * 100)
    engine = await an_engine(world)
    await engine.run_for(120)

    assert a_view(engine).find_obstacles()
    await engine.die()


async def test_status_is_not_ready_when_passes_have_stopped():
    world = World()
    engine = await an_engine(world)
    engine.tasks[-1].cancel()
    await asyncio.sleep(60)

    view = a_view(engine)
    assert not view.check_alive()
    assert view.find_obstacles()
    await engine.die()


async def test_status_says_that_passes_have_stopped_although_the_wall_clock_was_set_back():
    engine, clock = an_engine_with_clock(World())
    await engine.start()
    await engine.run_for(5)
    view = a_view(engine)
    clock.step_s = 7_200.0
    assert view.check_alive()

    clock.step_s = -7_200.0
    engine.tasks[-1].cancel()
    await asyncio.sleep(60)

    assert not view.check_alive()
    await engine.die()


async def test_status_is_ready_again_when_the_key_is_accepted_again():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    engine.executor.refusals["BTCUSDT"] = Refusals(5, "the key is refused", asyncio.get_running_loop().time())
    assert a_view(engine).find_obstacles()

    await engine.run_for(200)

    assert a_view(engine).find_obstacles() == []
    await engine.die()


async def test_status_names_a_market_of_a_held_hedge_that_has_vanished_from_the_chain():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    engine.tasks[2].cancel()
    for _ in range(60):
        snapshot = engine.snapshots.latest
        assert snapshot is not None
        markets = {name: market for name, market in snapshot.markets.items() if name != "BTC-USD"}
        engine.snapshots.put(replace(snapshot, markets=markets, block_time=int(engine.clock.time())))
        await asyncio.sleep(1)

    assert world.venue.net("BTCUSDT") == TARGET
    assert any("BTC-USD" in reason for reason in a_view(engine).find_obstacles())
    await engine.die()


# --- growth


async def test_reconciler_writes_little_while_a_risk_flickers_at_its_threshold():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    before = world.journal.last_sequence

    for step in range(600):
        world.set_price("BTC-USD", 57_000 if step % 2 else 60_000)
        await engine.run_for(0.5)

    assert world.journal.last_sequence - before <= 100
    assert engine.held(LONG) == TARGET
    await engine.die()


async def test_backoff_forgets_positions_that_are_gone():
    world = World()
    engine = await an_engine(world)
    world.venue.script.extend(["refused"] * 1_000)
    for user in range(1, 21):
        position = a_position(user)
        world.put(position)
        engine.feed()
        await engine.run_for(2)
        await make_gone(engine, position)
    world.venue.script.clear()
    await engine.run_for(120)

    assert len(engine.executor.backoff) == 0
    await engine.die()


async def test_auditor_logs_once_when_the_exchange_is_down_for_long():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    with capture_logs() as logs:
        world.venue.is_down = True
        await engine.run_for(1_800)

    assert [entry["event"] for entry in logs].count("audit_failed") <= 2
    await engine.die()


# --- groups, markets and symbols


async def test_executor_closes_hedges_together_although_their_growth_was_refused_one_by_one():
    world = World(venue=Venue(balance=Decimal(40_000)))
    positions = [a_position(user, size_usd=10_000 + 100 * user) for user in range(1, 41)]
    world.put(*positions)
    engine = await an_engine(world, settle_s=20)
    assert len(engine.book.get_all_hedged_positions()) == 40
    world.put(*(a_position(user, size_usd=40_000) for user in range(1, 41)))
    await engine.run_for(120)
    before, reads = len(world.venue.sent), world.venue.position_reads

    await make_gone(engine, *positions)
    await engine.run_for(20)

    assert world.venue.net("BTCUSDT") == 0
    assert len(world.venue.sent) - before <= 10
    assert world.venue.position_reads - reads <= 20
    await engine.die()


async def test_executor_hedges_the_small_when_the_margin_does_not_carry_the_large():
    world = World(venue=Venue(balance=Decimal(10_000)))
    large = [a_position(user, size_usd=400_000) for user in (1, 2, 3)]
    small = [a_position(user, size_usd=5_000) for user in range(10, 30)]
    world.put(*large, *small)
    engine = await an_engine(world, settle_s=90)

    assert [engine.held(position) > 0 for position in small] == [True] * 20
    await engine.die()


async def test_executor_hedges_two_markets_that_share_a_symbol():
    symbols = {"BTC-USD": "BTCUSDT", "ETH-USD": "BTCUSDT"}
    world = World()
    world.prices["ETH-USD"] = world.prices["BTC-USD"]
    twin = a_position(1, market="ETH-USD")
    world.put(LONG, twin)
    engine = Engine(world, a_policy(symbols=symbols))
    await engine.start()
    await engine.run_for(5)

    assert engine.held(LONG) == TARGET == engine.held(twin)
    assert world.venue.net("BTCUSDT") == 2 * TARGET
    assert len(world.venue.sent) == 1
    await make_gone(engine, LONG)
    await engine.run_for(5)
    assert world.venue.net("BTCUSDT") == TARGET
    await engine.die()


async def test_executor_hedges_the_others_when_a_symbol_is_not_listed():
    world = World()
    world.put(LONG, a_position(3, market="ETH-USD", entry=2_800))
    engine = Engine(world, a_policy(symbols={"BTC-USD": "BTCUSDT", "ETH-USD": "NOSUCHUSDT"}))
    await engine.start()
    await engine.run_for(30)

    assert world.venue.net("BTCUSDT") == TARGET
    assert [request.symbol for request in world.venue.sent] == ["BTCUSDT"]
    await engine.die()


async def test_reconciler_flattens_to_the_end_when_the_first_close_is_refused():
    world = World()
    world.put(LONG, a_position(3, market="ETH-USD", entry=2_800))
    engine = await an_engine(world)
    world.venue.script.extend(["refused", "fills", "limited"])

    await engine.reconciler.set_mode(TradingMode.NO_OPENS, is_flattening=True)
    await engine.run_for(30)

    assert world.venue.net("BTCUSDT") == 0 == world.venue.net("ETHUSDT")
    assert not engine.book.is_flattening
    await engine.die()


async def test_auditor_unblocks_when_a_person_has_closed_what_was_executed_after_all():
    world = World()
    world.put(LONG)
    world.venue.script.append("not_sent")
    engine = await an_engine(world, settle_s=0.05)
    request = world.venue.sent[0]
    world.venue.ledger.place(Ask("BTCUSDT", "BUY", request.quantity, client_id=request.client_order_id))
    late = OrderReport(request.client_order_id, OrderStatus.FILLED, request.quantity)
    for _ in range(3):
        engine.executor.note_order(VenueOrder("BTCUSDT", Side.BUY, Leg.BOTH, late, 0.0))
    await engine.run_for(10)
    assert "BTCUSDT" in engine.auditor.blocked

    world.venue.trade_by_hand("BTCUSDT", "SELL", "0.166")
    await engine.run_for(150)

    assert engine.auditor.blocked == {}
    assert engine.held(LONG) == TARGET == world.venue.net("BTCUSDT")
    await engine.die()


async def test_executor_counts_one_refusal_when_the_stream_and_the_reply_both_tell_of_it():
    world = World()
    world.put(LONG)
    world.venue.script.append("refused")
    engine = await an_engine(world, settle_s=0.005)
    request = world.venue.sent[0]
    nothing = OrderReport(request.client_order_id, OrderStatus.EXPIRED, Decimal(0))
    engine.executor.note_order(VenueOrder("BTCUSDT", Side.BUY, Leg.BOTH, nothing, 0.0))
    engine.executor.note_order(VenueOrder("BTCUSDT", Side.BUY, Leg.BOTH, nothing, 0.0))

    await engine.run_for(1.8)

    assert engine.held(LONG) == TARGET == world.venue.net("BTCUSDT")
    assert len(world.venue.sent) == 2
    await engine.die()


# --- anything, in any order


FATES = ["fills"] * 6 + ["lost", "partial", "partial_lost", "not_sent", "refused", "never", "limited", "hidden"]
DEEDS = ["put"] * 5 + ["remove"] * 3 + ["price"] * 3 + ["force"] * 2 + ["kill", "stop"]
BASES = {"BTC-USD": 60_000, "ETH-USD": 3_000}
WIDE = GuardLimits(forced_per_hour=1_000, opens_per_hour=1_000)
"""More happens here in minutes than an operator would stand in an hour."""


class AnyFate:
    """A script without end."""

    def __init__(self, rng: random.Random) -> None:
        self.is_on = True
        self._rng = rng

    def __bool__(self) -> bool:
        return self.is_on

    def popleft(self) -> str:
        return self._rng.choice(FATES)


class Chaos:
    """A world in which positions, prices, orders, the exchange and the daemon's own life go as the dice fall."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = World(venue=Venue(hedge_mode=self.rng.random() < 0.5, balance=Decimal(10_000_000)))
        self.fate = AnyFate(self.rng)
        self.world.venue.script = self.fate  # type: ignore[assignment]
        self.engine = Engine(self.world, limits=WIDE)

    async def do(self) -> None:
        deed, market = self.rng.choice(DEEDS), self.rng.choice(list(BASES))
        if deed == "put":
            self.put(market)
        elif deed == "remove" and self.world.positions:
            del self.world.positions[self.rng.choice(sorted(self.world.positions))]
        elif deed == "price":
            self.world.set_price(market, int(BASES[market] * self.rng.choice([1, 1, 0.97, 1.03])))
        elif deed == "force":
            self.force(SYMBOLS[market])
        elif deed in ("kill", "stop"):
            await self.restart(deed)
        await self.engine.run_for(self.rng.choice([0.01, 0.05, 0.3, 1, 5, 20]))

    def put(self, market: str) -> None:
        is_long = self.rng.random() < 0.5
        entry = int(BASES[market] * self.rng.choice([0.95, 0.95, 0.95, 1] if is_long else [1.05, 1.05, 1.05, 1]))
        user, size_usd = self.rng.randint(1, 5), self.rng.randint(1_000, 50_000)
        self.world.put(a_position(user, market=market, is_long=is_long, size_usd=size_usd, entry=entry))

    def force(self, symbol: str) -> None:
        for position in self.world.venue.ledger.account.get_symbol_positions(symbol):
            part = abs(position.amount) * Decimal(self.rng.choice(["0.3", "1"]))
            quantity = part.quantize(Decimal("0.001"))
            if quantity:
                self.world.venue.force(symbol, str(quantity), leg=Leg(position.leg))
                self.engine.auditor.request()

    async def restart(self, deed: str) -> None:
        if deed == "stop":
            await shut_down(self.engine)
        else:
            await self.engine.die()
        self.engine = Engine(self.world, limits=WIDE)
        await self.engine.start()

    def get_unexplained(self) -> dict[str, Decimal]:
        """What the account holds beyond the book, by symbol."""
        hedges = self.engine.book.get_all_hedged_positions().values()
        return {
            symbol: self.world.venue.net(symbol)
            - sum((hedge.signed_quantity for hedge in hedges if hedge.symbol == symbol), Decimal(0))
            for symbol in SYMBOLS.values()
        }


@pytest.mark.parametrize("seed", range(24))
async def test_engine_holds_what_is_at_risk_and_nothing_else_whatever_happened_before(seed):
    chaos = Chaos(seed)
    await chaos.engine.start()
    for _ in range(40):
        await chaos.do()
    chaos.fate.is_on = False
    await chaos.engine.run_for(240)
    engine = chaos.engine

    assert engine.auditor.blocked == {}
    assert not any(chaos.get_unexplained().values())
    for key, decision in engine.reconciler.decisions.items():
        if decision.assessment is not None and decision.assessment.at_risk:
            assert engine.book.has_hedged_position(key) or decision.reason in ("too_small", "below_min_collateral")
    chaos.world.positions.clear()
    await engine.run_for(240)
    assert not engine.book.get_all_hedged_positions()
    assert not any(chaos.get_unexplained().values())
    await engine.die()
