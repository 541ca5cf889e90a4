"""The guards at work, on virtual time: what they hold in a running engine, what they never hold, and what they say."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from dehedge import metrics
from dehedge.core.book import TradingMode
from dehedge.core.decisions import Reason
from dehedge.core.guards import GuardLimits
from tests.kit import Engine, Venue, World, a_policy, a_position

pytestmark = pytest.mark.looptime

LONG = a_position(1)
TARGET = Decimal("0.166")
MARK = Decimal(60_000)
QUIET, RISKY = 57_000, 60_000
HOUR_S = 3_600


async def an_engine(world: World, **limits: object) -> Engine:
    engine = Engine(world, limits=GuardLimits(**limits))  # type: ignore[arg-type]
    await engine.start()
    await engine.run_for(5)
    return engine


def get_reason(engine: Engine, position=LONG) -> Reason:
    return engine.reconciler.decisions[position.key].reason


def count_sent(world: World, side: str) -> int:
    return sum(request.side == side for request in world.venue.sent)


def get_gauge(guard: Reason, scope: str) -> float | None:
    return metrics.REGISTRY.get_sample_value("dehedge_guard_held", {"guard": guard.value, "scope": scope})


async def cross_the_threshold(engine: Engine, times: int) -> None:
    """At risk for a moment, then not for so long that the hedge is closed: a minute and ten seconds each time."""
    for _ in range(times):
        engine.world.set_price("BTC-USD", RISKY)
        await engine.run_for(5)
        engine.world.set_price("BTC-USD", QUIET)
        await engine.run_for(65)


async def test_guards_end_the_opening_and_closing_when_a_price_rests_on_the_threshold():
    world = World()
    world.put(LONG)
    world.set_price("BTC-USD", QUIET)
    engine = await an_engine(world)

    await cross_the_threshold(engine, 51)

    assert count_sent(world, "BUY") == 12 == count_sent(world, "SELL")
    assert world.venue.net("BTCUSDT") == 0
    world.set_price("BTC-USD", RISKY)
    await engine.run_for(70)
    assert engine.held(LONG) == TARGET
    await engine.die()


async def test_guards_leave_the_other_positions_alone_when_one_has_been_opened_too_often():
    world = World()
    world.put(LONG)
    world.set_price("BTC-USD", QUIET)
    engine = await an_engine(world, opens_per_hour=2)
    await cross_the_threshold(engine, 3)
    world.put(a_position(2))

    world.set_price("BTC-USD", RISKY)
    await engine.run_for(5)

    assert (get_reason(engine), engine.held(a_position(2))) == (Reason.OPENS_LIMIT, TARGET)
    await engine.die()


async def test_guards_count_no_open_that_was_refused():
    world = World()
    world.put(LONG)
    world.venue.script.extend(["refused", "not_sent", "limited"] * 7)
    engine = await an_engine(world, opens_per_hour=1)

    await engine.run_for(600)

    assert engine.held(LONG) == TARGET
    await engine.die()


async def test_guards_end_the_hedging_anew_when_forced_orders_come_again_and_again():
    world = World()
    world.put(LONG, a_position(2, market="ETH-USD", entry=2_800))
    engine = await an_engine(world)
    for _ in range(3):
        assert engine.held(LONG) == TARGET
        world.venue.force("BTCUSDT", "0.166")
        engine.auditor.request()
        await engine.run_for(60)

    assert (engine.held(LONG), get_reason(engine)) == (0, Reason.FORCED_LIMIT)
    assert engine.held(a_position(2, market="ETH-USD")) == Decimal("3.333")
    await engine.run_for(HOUR_S - 3 * 60 - 60)
    assert engine.held(LONG) == 0
    await engine.run_for(120)
    assert engine.held(LONG) == TARGET
    assert count_sent(world, "BUY") == 5
    await engine.die()


async def test_guards_build_a_hedge_again_that_was_liquidated_in_many_orders():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    for _ in range(4):
        world.venue.force("BTCUSDT", "0.041")
    engine.auditor.request()

    await engine.run_for(10)

    assert engine.held(LONG) == TARGET
    await engine.die()


@pytest.mark.parametrize("limit", ["market_notional_usd", "total_notional_usd"])
async def test_guards_fill_up_to_the_limit_when_a_thousand_positions_turn_risky(limit):
    world = World(venue=Venue(balance=Decimal(10_000_000)))
    positions = [a_position(user, size_usd=1_000 + user) for user in range(1, 1001)]
    world.put(*positions)
    engine = await an_engine(world, **{limit: Decimal(500_000)})

    await engine.run_for(30)

    held = [engine.held(position) for position in positions]
    worth = sum(held, Decimal(0)) * MARK
    assert 500_000 - 60 < worth <= 500_000
    assert world.venue.net("BTCUSDT") == sum(held)
    first = next(number for number, quantity in enumerate(held) if quantity)
    # The largest losses are those of the largest positions, and the last one was filled in part.
    assert all(held[first + 1 :])
    assert len(world.venue.sent) <= 2
    assert get_reason(engine, positions[0]).value == limit.replace("_usd", "_limit")
    world.positions.clear()
    await engine.run_for(10)
    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_guards_follow_no_tick_of_the_mark_when_a_hedge_is_at_the_limit():
    world = World(venue=Venue(balance=Decimal(10_000_000)))
    large = a_position(1, size_usd=1_000_000, entry=50_000)
    world.put(large)
    engine = await an_engine(world, market_notional_usd=Decimal(500_000))
    assert engine.held(large) == Decimal("8.333")

    for price in range(60_000, 57_000, -100):
        world.set_price("BTC-USD", price)
        await engine.run_for(2)

    assert len(world.venue.sent) == 1
    world.set_price("BTC-USD", 53_000)
    await engine.run_for(2)
    assert engine.held(large) == Decimal("9.433")
    await engine.die()


async def test_guards_let_the_next_one_in_when_a_hedge_is_closed():
    world = World()
    world.put(LONG, a_position(2, size_usd=9_000))
    engine = await an_engine(world, market_notional_usd=Decimal(10_000))
    assert (engine.held(LONG), engine.held(a_position(2))) == (TARGET, 0)

    world.remove(LONG)
    await engine.run_for(5)

    assert (engine.held(LONG), engine.held(a_position(2))) == (0, Decimal("0.15"))
    await engine.die()


async def test_guards_give_what_becomes_free_to_the_largest_loss_when_a_price_tells_of_a_smaller_one():
    world = World(prices={"BTC-USD": RISKY, "ETH-USD": 2_990})
    held, small = a_position(2, entry=57_001), a_position(3, market="ETH-USD", entry=2_990)
    world.put(LONG)
    engine = await an_engine(world, total_notional_usd=Decimal(10_000))
    world.put(held, small)
    engine.feed()
    await engine.run_for(0.1)
    assert get_reason(engine, held) is Reason.TOTAL_NOTIONAL_LIMIT
    engine.tasks.pop(2).cancel()

    world.venue.set_mark("BTCUSDT", Decimal(58_000))
    world.prices["ETH-USD"] = 3_000
    engine.feed_prices()
    await engine.run_for(0.1)

    assert (engine.held(held) > 0, engine.held(small)) == (True, 0)
    await engine.die()


async def test_guards_split_orders_until_everything_is_hedged_when_one_may_not_be_large():
    world = World(venue=Venue(balance=Decimal(10_000_000)))
    large, small = a_position(1, size_usd=205_000), [a_position(user, size_usd=20_000) for user in range(2, 8)]
    world.put(large, *small)
    engine = await an_engine(world, order_notional_usd=Decimal(50_000))

    await engine.run_for(20)

    assert max(request.quantity for request in world.venue.sent) * MARK <= 50_000
    assert engine.held(large) == Decimal("3.416")
    assert {engine.held(position) for position in small} == {Decimal("0.333")}
    world.positions.clear()
    await engine.run_for(10)
    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_guards_bound_the_orders_of_a_minute():
    world = World(venue=Venue(balance=Decimal(10_000_000)))
    positions = [a_position(user, size_usd=7_000_000 + user) for user in range(1, 6)]
    world.put(*positions)
    engine = await an_engine(world, orders_per_minute=2)

    assert [bool(engine.held(position)) for position in positions] == [False] * 3 + [True] * 2
    assert get_reason(engine, positions[0]) is Reason.ORDER_RATE_LIMIT
    await engine.run_for(50)
    assert len(world.venue.sent) == 2
    await engine.run_for(10)
    assert len(world.venue.sent) == 4
    await engine.run_for(60)
    assert len(world.venue.sent) == 5
    await engine.die()


async def test_guards_hold_an_open_while_price_and_mark_are_apart_and_close_all_the_same():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    world.put(a_position(2))
    world.venue.set_mark("BTCUSDT", Decimal(63_500))
    await engine.run_for(3)
    assert get_reason(engine, a_position(2)) is Reason.PRICE_DIVERGED

    world.remove(LONG)
    await engine.run_for(3)
    assert world.venue.net("BTCUSDT") == 0
    world.venue.set_mark("BTCUSDT", Decimal(63_000))
    await engine.run_for(3)

    assert world.venue.net("BTCUSDT") > 0
    await engine.die()


async def test_guards_spend_no_more_on_fees_than_the_hour_has():
    world = World()
    world.put(LONG)
    world.set_price("BTC-USD", QUIET)
    engine = await an_engine(world, fees_usd_per_hour=Decimal(35))

    await cross_the_threshold(engine, 10)

    # An open at 60,000 costs 4.98 and its close at 57,000 costs 4.731: the fourth makes 34.113, and its close is not held.
    assert count_sent(world, "BUY") == 4 == count_sent(world, "SELL")
    assert engine.ledger.records.usage.filled.total * 5 / 10_000 == Decimal("38.844")
    world.set_price("BTC-USD", RISKY)
    await engine.run_for(5)
    assert get_reason(engine) is Reason.FEE_LIMIT
    await engine.run_for(HOUR_S)
    assert engine.held(LONG) > 0
    await engine.die()


async def test_guards_leave_the_free_margin_that_they_are_told_to():
    world = World(venue=Venue(balance=Decimal(10_000)))
    positions = [a_position(user, size_usd=10_000 * user) for user in range(1, 9)]
    world.put(*positions)
    engine = await an_engine(world, free_margin_usd=Decimal(4_000))

    await engine.run_for(60)

    available = world.venue.ledger.margin.compute_totals().available
    assert 4_000 <= available < 4_200
    assert not world.venue.script
    assert "free_margin_low" in {decision.reason.value for decision in engine.reconciler.decisions.values()}
    await engine.die()


async def test_guards_hold_an_open_and_no_close_while_the_balance_is_not_known():
    world = World()
    world.put(LONG)
    engine = await an_engine(world, free_margin_usd=Decimal(100))
    assert engine.held(LONG) == TARGET
    engine.account._connector = Venue()
    engine.account._connector.is_down = True
    await engine.run_for(30)
    world.put(a_position(2))
    await engine.run_for(10)
    assert (engine.held(a_position(2)), get_reason(engine, a_position(2))) == (0, Reason.ACCOUNT_UNKNOWN)

    world.remove(LONG)
    await engine.run_for(5)
    assert engine.held(LONG) == 0
    engine.account._connector = world.venue
    await engine.run_for(15)

    assert engine.held(a_position(2)) == TARGET
    await engine.die()


async def test_guards_add_nothing_to_a_position_that_is_near_to_its_liquidation():
    world = World()
    world.put(LONG)
    world.venue.ledger.account.get_settings("BTCUSDT").isolated = True
    engine = await an_engine(world, liquidation_distance_bps=200)
    await engine.run_for(10)
    with capture_logs() as logs:
        world.set_price("BTC-USD", 58_000)
        world.put(a_position(2, market="ETH-USD", entry=2_800), a_position(3))
        await engine.run_for(40)

    assert (get_reason(engine, a_position(3)), engine.held(a_position(3))) == (Reason.LIQUIDATION_NEAR, 0)
    assert engine.held(a_position(2, market="ETH-USD")) > 0
    assert [line["event"] for line in logs].count("liquidation_neared") == 1
    world.set_price("BTC-USD", RISKY)
    await engine.run_for(5)
    assert engine.held(a_position(3)) == TARGET
    await engine.die()


async def test_guards_have_the_account_read_often_when_a_limit_needs_it():
    reads = []
    for limits in ({}, {"free_margin_usd": Decimal(1)}, {"liquidation_distance_bps": 1}):
        world = World()
        engine = await an_engine(world, **limits)
        await engine.run_for(60)
        reads.append((world.venue.balance_reads, world.venue.position_reads))
        await engine.die()

    (_, positions), *_ = reads
    assert reads == [(2, positions), (7, positions + 5), (7, positions + 5)]


async def test_guards_remember_what_was_used_when_the_daemon_starts_again():
    world = World()
    world.put(LONG, a_position(2, market="ETH-USD", entry=2_800))
    world.set_price("BTC-USD", QUIET)
    limits = {"opens_per_hour": 2, "forced_per_hour": 1, "fees_usd_per_hour": Decimal(60)}
    engine = await an_engine(world, **limits)
    await cross_the_threshold(engine, 2)
    world.venue.force("ETHUSDT", "3.333")
    engine.auditor.request()
    await engine.run_for(10)
    usage = engine.ledger.records.usage
    await engine.die()

    second = await an_engine(world, **limits)
    world.set_price("BTC-USD", RISKY)
    await second.run_for(10)

    assert get_reason(second) is Reason.OPENS_LIMIT
    assert get_reason(second, a_position(2, market="ETH-USD")) is Reason.FORCED_LIMIT
    again = second.ledger.records.usage
    assert usage.filled.total > 0
    for name in ("growth", "filled", "opens", "forced"):
        assert list(getattr(again, name)._entries) == list(getattr(usage, name)._entries)
    assert again.in_flight == usage.in_flight == {}
    await second.die()


async def test_guards_count_an_order_that_was_in_flight_when_the_daemon_died():
    world = World()
    world.put(LONG)
    world.venue.script.append("hidden")
    limits = {"total_notional_usd": Decimal(10_000), "fees_usd_per_hour": Decimal("7.5")}
    engine = await an_engine(world, **limits)
    await engine.die()
    world.put(a_position(2))

    second = Engine(world, limits=GuardLimits(**limits))
    await second.start()
    await second.run_for(1)
    assert second.book.in_flight or second.held(LONG)
    await second.run_for(40)

    assert (second.held(LONG), second.held(a_position(2))) == (TARGET, 0)
    assert world.venue.net("BTCUSDT") == TARGET
    await second.die()


async def test_guards_tell_once_when_they_begin_and_once_when_they_end():
    world = World()
    world.put(LONG, *(a_position(user, size_usd=9_000) for user in (2, 3)))
    with capture_logs() as logs:
        engine = await an_engine(world, market_notional_usd=Decimal(10_000))
        await engine.run_for(60)
        assert get_gauge(Reason.MARKET_NOTIONAL_LIMIT, "BTCUSDT") == 2
        world.positions.clear()
        await engine.run_for(60)

    (held,) = [line for line in logs if line["event"] == "guard_held"]
    assert (held["guard"], held["scope"], held["positions"]) == ("market_notional_limit", "BTCUSDT", 2)
    assert held["variable"] == "MAX_MARKET_NOTIONAL_USD"
    (released,) = [line for line in logs if line["event"] == "guard_released"]
    assert (released["guard"], released["scope"]) == ("market_notional_limit", "BTCUSDT")
    assert get_gauge(Reason.MARKET_NOTIONAL_LIMIT, "BTCUSDT") == 0
    await engine.die()


async def test_guards_show_every_limit_that_is_set_and_what_is_used_of_it():
    world = World()
    world.put(LONG, a_position(2))
    engine = Engine(world, limits=GuardLimits(total_notional_usd=Decimal(10_000), free_margin_usd=Decimal(5)))
    assert engine.guards.describe() == []
    await engine.start()
    await engine.run_for(5)

    shown = {(row["guard"], row["scope"]): row for row in json.loads(json.dumps(engine.guards.describe()))}

    assert shown["total_notional_limit", "all"] == {
        "guard": "total_notional_limit", "variable": "MAX_TOTAL_NOTIONAL_USD", "scope": "all",
        "used": "9960", "limit": "10000", "held": 1,
    }  # fmt: skip
    assert (shown["free_margin_low", "all"]["used"], shown["free_margin_low", "all"]["held"]) == ("999497.02", 0)
    assert shown["opens_limit", "all"]["used"] == "1"
    assert {scope for guard, scope in shown if guard == "price_diverged"} == {"BTCUSDT", "ETHUSDT"}
    await engine.die()


async def test_guards_never_stand_in_the_way_of_flattening():
    world = World()
    world.put(LONG, a_position(2, market="ETH-USD", entry=2_800))
    engine = await an_engine(world)
    await engine.die()
    tight = GuardLimits(
        order_notional_usd=Decimal(1), total_notional_usd=Decimal(1), orders_per_minute=1, divergence_bps=1,
        free_margin_usd=Decimal(10**9), fees_usd_per_hour=Decimal("0.01"), opens_per_hour=1, forced_per_hour=1,
    )  # fmt: skip
    second = Engine(world, a_policy(), tight)
    await second.start()
    world.venue.set_mark("BTCUSDT", Decimal(90_000))

    await second.reconciler.set_mode(TradingMode.NO_OPENS, is_flattening=True)
    await second.run_for(10)

    assert (world.venue.net("BTCUSDT"), world.venue.net("ETHUSDT")) == (0, 0)
    await second.die()
