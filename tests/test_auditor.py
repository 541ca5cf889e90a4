"""The book against the account: forced orders, foreign positions, another hand on our hedges."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from dehedge import evidence
from dehedge.core.decisions import Reason
from dehedge.core.model import Leg
from dehedge.ports import VenueOrder
from dehedge.sim.exchange import settings
from tests.kit import Engine, Venue, World, a_policy, a_position

pytestmark = pytest.mark.looptime

LONG = a_position(1)
SHORT = a_position(2, is_long=False, size_usd=6_000, entry=63_000)
TARGET = Decimal("0.166")


async def an_engine(world: World) -> Engine:
    engine = Engine(world)
    await engine.start()
    await engine.run_for(5)
    return engine


@pytest.mark.parametrize("prefix", ["autoclose-", "adl_autoclose-", "settlement_autoclose-"])
@pytest.mark.parametrize("taken", ["0.166", "0.066"])
@pytest.mark.parametrize("hedge_mode", [False, True])
async def test_auditor_takes_a_forced_order_off_the_book_and_the_hedge_is_built_again(prefix, taken, hedge_mode):
    world = World(venue=Venue(hedge_mode=hedge_mode))
    world.put(LONG)
    engine = await an_engine(world)

    world.venue.force("BTCUSDT", taken, prefix, Leg.LONG if hedge_mode else Leg.BOTH)
    engine.auditor.request()
    await engine.run_for(10)

    assert engine.held(LONG) == TARGET == world.venue.net("BTCUSDT")
    assert len(world.venue.sent) == 2
    world.remove(LONG)
    await engine.run_for(5)
    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_auditor_finds_a_liquidation_that_happened_while_the_daemon_was_dead():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    await engine.die()
    world.venue.force("BTCUSDT", "0.166")

    second = await an_engine(world)
    await second.run_for(5)

    assert second.held(LONG) == TARGET == world.venue.net("BTCUSDT")
    assert len(world.venue.sent) == 2
    await second.die()


@pytest.mark.parametrize("hedge_mode", [False, True])
@pytest.mark.parametrize("position", [LONG, SHORT])
async def test_auditor_finds_a_forced_order_when_the_position_mode_was_changed_after_it(hedge_mode, position):
    world = World(venue=Venue(hedge_mode=hedge_mode))
    world.put(position)
    engine = await an_engine(world)
    held = engine.held(position)
    await engine.die()
    side = Leg.LONG if position.is_long else Leg.SHORT
    world.venue.force("BTCUSDT", str(abs(held)), "settlement_autoclose-", side if hedge_mode else Leg.BOTH)
    settings.set_dual_side(world.venue.ledger, dual_side=not hedge_mode)
    world.venue.hedge_mode = not hedge_mode

    second = await an_engine(world)
    await second.run_for(90)

    assert second.held(position) == held == world.venue.net("BTCUSDT")
    assert second.auditor.blocked == {}
    await second.die()


@pytest.mark.parametrize(("side", "quantity"), [("BUY", "0.5"), ("SELL", "0.5"), ("SELL", "0.166")])
async def test_auditor_leaves_a_foreign_position_alone_when_it_was_there_before(side, quantity):
    world = World()
    world.venue.trade_by_hand("BTCUSDT", side, quantity)
    base = world.venue.net("BTCUSDT")
    world.put(LONG)
    with capture_logs() as logs:
        engine = await an_engine(world)
    (found,) = [entry for entry in logs if entry["event"] == "foreign_position_found"]
    assert (found["log_level"], found["symbol"], Decimal(found["quantity"])) == ("warning", "BTCUSDT", base)
    assert world.venue.net("BTCUSDT") == base + TARGET
    await engine.die()

    with capture_logs() as logs:
        second = await an_engine(world)
    assert "foreign_position_found" not in [entry["event"] for entry in logs]
    world.remove(LONG)
    await second.run_for(5)

    assert world.venue.net("BTCUSDT") == base
    assert len(world.venue.sent) == 2
    await second.die()


async def test_auditor_freezes_opens_and_the_close_sells_nothing_twice_when_another_hand_closed_the_hedge():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)

    world.venue.trade_by_hand("BTCUSDT", "SELL", "0.166")
    await engine.run_for(70)
    assert "BTCUSDT" in engine.auditor.blocked
    other = a_position(7)
    world.put(other)
    await engine.run_for(5)
    assert engine.reconciler.decisions[other.key].reason is Reason.SYMBOL_BLOCKED

    world.remove(LONG)
    world.remove(other)
    await engine.run_for(20)
    assert world.venue.net("BTCUSDT") == 0
    assert not engine.book.get_all_hedged_positions()
    assert len(world.venue.sent) == 1
    await engine.run_for(70)
    assert engine.auditor.blocked == {}
    await engine.die()


async def test_auditor_notes_a_foreign_trade_on_our_side_and_hedges_on():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)

    world.venue.trade_by_hand("BTCUSDT", "BUY", "0.3")
    await engine.run_for(70)

    assert engine.book.foreign[("BTCUSDT", Leg.BOTH)] == Decimal("0.3")
    assert engine.auditor.blocked == {}
    world.remove(LONG)
    await engine.run_for(5)
    assert world.venue.net("BTCUSDT") == Decimal("0.3")
    await engine.die()


async def test_auditor_sees_no_difference_between_opposite_hedges_and_the_net_position():
    world = World()
    world.put(LONG, SHORT)
    engine = await an_engine(world)

    await engine.run_for(130)

    assert engine.auditor.blocked == {}
    assert engine.book.foreign.get(("BTCUSDT", Leg.BOTH), Decimal(0)) == 0
    assert world.venue.net("BTCUSDT") == TARGET - Decimal("0.1")
    await engine.die()


async def test_auditor_counts_one_forced_order_once_when_it_is_seen_again_and_again():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    world.venue.force("BTCUSDT", "0.1")

    for _ in range(5):
        engine.auditor.request()
        await engine.run_for(3)

    assert engine.held(LONG) == TARGET
    assert len(world.venue.sent) == 2
    await engine.die()


async def test_auditor_closes_nothing_while_the_account_cannot_be_read_and_then_closes():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    world.venue.is_down = True
    world.remove(LONG)
    await engine.run_for(30)
    assert len(world.venue.sent) == 1

    world.venue.is_down = False
    await engine.run_for(10)

    assert world.venue.net("BTCUSDT") == 0
    assert len(world.venue.sent) == 2
    await engine.die()


ETH = a_position(3, market="ETH-USD", size_usd=5_000, entry=2_800)
BTC_ONLY = a_policy(symbols={"BTC-USD": "BTCUSDT"})


async def test_auditor_sees_what_is_in_a_symbol_that_we_have_left():
    world = World()
    world.put(ETH)
    engine = await an_engine(world)
    world.remove(ETH)
    await engine.run_for(5)
    await engine.die()
    assert world.venue.net("ETHUSDT") == 0

    second = Engine(world, BTC_ONLY)
    await second.start()
    await second.run_for(5)
    assert second.book.foreign == {}
    world.venue.trade_by_hand("ETHUSDT", "SELL", "0.5")
    await second.run_for(70)
    assert second.book.foreign == {("ETHUSDT", Leg.BOTH): Decimal("-0.5")}
    world.venue.trade_by_hand("ETHUSDT", "BUY", "0.5")
    await second.run_for(70)

    assert second.book.foreign == {("ETHUSDT", Leg.BOTH): Decimal(0)}
    await second.die()


async def test_auditor_asks_nothing_about_a_symbol_that_we_have_left_as_it_is_known():
    world = World()
    world.put(ETH)
    engine = await an_engine(world)
    world.remove(ETH)
    await engine.run_for(5)
    world.venue.trade_by_hand("ETHUSDT", "SELL", "0.5")
    await engine.run_for(70)
    await engine.die()
    assert engine.book.foreign == {("ETHUSDT", Leg.BOTH): Decimal("-0.5")}
    asked: list[str] = []
    original = world.venue.fetch_order_history

    async def fetch_order_history(symbol: str, since_s: float) -> Sequence[VenueOrder]:
        asked.append(symbol)
        return await original(symbol, since_s)

    world.venue.fetch_order_history = fetch_order_history  # type: ignore[method-assign]
    second = Engine(world, BTC_ONLY)
    await second.start()
    await second.run_for(130)

    assert set(asked) == {"BTCUSDT"}
    await second.die()


async def test_auditor_does_not_grow_for_ever_while_another_hand_trades_without_end(monkeypatch):
    monkeypatch.setattr(evidence, "COUNTED_MAX", 50)
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    for _ in range(40):
        for side in ("BUY", "SELL"):
            world.venue.trade_by_hand("BTCUSDT", side, "0.1")
        await engine.run_for(60)

    assert max(map(len, engine.auditor._evidence._counted.values())) == 50
    world.venue.force("BTCUSDT", "0.166")
    engine.auditor.request()
    await engine.run_for(10)
    assert engine.held(LONG) == world.venue.net("BTCUSDT") > 0
    await engine.die()
