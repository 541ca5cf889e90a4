"""Passes over a changing world, on virtual time: when hedges live, cool, expire, vanish and stay."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest

from dehedge.core.book import TradingMode
from dehedge.core.decisions import Reason
from dehedge.core.events import HedgesCooled, HedgesReheated
from dehedge.core.guards import GuardLimits
from dehedge.core.model import PriceTick
from tests.kit import Engine, World, a_position

pytestmark = pytest.mark.looptime

LONG = a_position(1)
TARGET = Decimal("0.166")
QUIET, RISKY = 57_000, 60_000


async def an_engine(world: World) -> Engine:
    engine = Engine(world)
    await engine.start()
    await engine.run_for(5)
    return engine


def get_reason(engine: Engine) -> Reason:
    return engine.reconciler.decisions[LONG.key].reason


async def test_reconciler_keeps_a_hedge_for_as_long_as_its_risk_lasts():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)

    for step in range(100):
        world.set_price("BTC-USD", RISKY + step)
        await engine.run_for(3)

    assert len(world.venue.sent) == 1
    assert engine.held(LONG) == TARGET
    await engine.die()


async def test_reconciler_closes_a_hedge_sixty_seconds_after_its_risk_was_last_seen():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    world.set_price("BTC-USD", QUIET)

    await engine.run_for(58)
    assert engine.held(LONG) == TARGET
    await engine.run_for(4)

    assert engine.held(LONG) == 0 == world.venue.net("BTCUSDT")
    await engine.die()


async def test_reconciler_keeps_the_hedge_when_the_risk_comes_back_in_time():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    for _ in range(4):
        world.set_price("BTC-USD", QUIET)
        await engine.run_for(50)
        world.set_price("BTC-USD", RISKY)
        await engine.run_for(5)

    assert len(world.venue.sent) == 1
    kinds = [type(entry.event) for entry in world.journal.entries]
    assert kinds.count(HedgesCooled) == 4 == kinds.count(HedgesReheated)
    await engine.die()


async def test_reconciler_does_not_restart_the_expiry_when_the_daemon_restarts():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    world.set_price("BTC-USD", QUIET)
    await engine.run_for(40)
    await engine.die()

    second = await an_engine(world)
    await second.run_for(10)
    assert second.held(LONG) == TARGET
    await second.run_for(10)

    assert second.held(LONG) == 0
    await second.die()


async def test_reconciler_gives_a_hedge_its_whole_life_when_the_daemon_died_while_at_risk():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    await engine.run_for(200)
    await engine.die()
    world.set_price("BTC-USD", QUIET)

    second = await an_engine(world)
    await second.run_for(40)
    assert second.held(LONG) == TARGET
    await second.run_for(20)

    assert second.held(LONG) == 0
    await second.die()


async def test_reconciler_writes_nothing_while_nothing_changes():
    world = World()
    world.put(LONG, a_position(2, entry=59_990))
    engine = await an_engine(world)
    entries = len(world.journal.entries)

    await engine.run_for(600)

    assert len(world.journal.entries) == entries
    await engine.die()


async def test_reconciler_decides_nothing_before_every_input_was_there_once():
    world = World()
    world.put(LONG)
    engine = Engine(world)
    assert engine.reconciler.observe() is None
    engine.feed()
    assert engine.reconciler.observe() is None
    await engine.venue.connect()
    assert engine.reconciler.observe() is not None
    assert world.venue.sent == []


@pytest.mark.parametrize(("mode", "follows"), [(TradingMode.NO_OPENS, True), (TradingMode.REDUCE_ONLY, False)])
async def test_reconciler_opens_nothing_and_closes_on_when_paused_over_a_restart(mode, follows):
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    await engine.reconciler.set_mode(mode)
    await engine.die()
    second = await an_engine(world)

    other = a_position(2)
    world.put(other, a_position(1, size_usd=20_000))
    await second.run_for(5)
    assert second.held(other) == 0
    assert second.reconciler.decisions[other.key].reason is Reason.TRADING_PAUSED
    assert second.held(LONG) == (Decimal("0.333") if follows else TARGET)
    world.remove(LONG)
    await second.run_for(5)
    assert world.venue.net("BTCUSDT") == 0

    await second.reconciler.set_mode(TradingMode.ACTIVE)
    await second.run_for(5)
    assert second.held(other) == TARGET
    await second.die()


async def test_reconciler_sends_nothing_at_all_when_halted():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    await engine.reconciler.set_mode(TradingMode.HALTED)
    world.remove(LONG)

    await engine.run_for(30)

    assert len(world.venue.sent) == 1
    await engine.die()


async def test_reconciler_flattens_everything_and_leaves_it_closed():
    world = World()
    positions = [LONG, a_position(2, is_long=False, entry=63_000), a_position(3, market="ETH-USD", entry=2_800)]
    world.put(*positions)
    world.venue.trade_by_hand("BTCUSDT", "BUY", "0.3")
    engine = await an_engine(world)

    await engine.reconciler.set_mode(TradingMode.NO_OPENS, is_flattening=True)
    await engine.run_for(30)

    assert world.venue.net("BTCUSDT") == Decimal("0.3")
    assert world.venue.net("ETHUSDT") == 0
    assert not engine.book.get_all_hedged_positions()
    assert not engine.book.is_flattening
    await engine.die()


async def test_reconciler_closes_the_other_hedges_when_one_cannot_be_closed():
    world = World()
    others = [a_position(user, market="ETH-USD", entry=2_800) for user in range(2, 6)]
    world.put(LONG, *others)
    engine = await an_engine(world)
    world.venue.script.extend(["refused"])
    world.positions.clear()

    await engine.run_for(30)

    assert world.venue.net("BTCUSDT") == 0 == world.venue.net("ETHUSDT")
    await engine.die()


async def test_reconciler_closes_a_hedge_whose_position_went_while_it_was_being_placed():
    world = World()
    world.put(LONG)
    world.venue.script.append("lost")
    engine = Engine(world)
    await engine.start()
    await engine.run_for(0.05)
    world.remove(LONG)
    engine.feed()

    await engine.run_for(20)

    assert world.venue.net("BTCUSDT") == 0
    assert not engine.book.get_all_hedged_positions()
    await engine.die()


async def test_price_alone_opens_and_refreshes_without_a_look_at_the_others():
    world = World()
    world.put(LONG, *(a_position(number, entry=61_000) for number in range(2, 200)))
    engine = Engine(world)
    await engine.start()
    await engine.run_for(0.1)
    looks, take = [], engine.reconciler._agenda.take

    def watch(*inputs):
        looks.append(take(*inputs))
        return looks[-1]

    engine.reconciler._agenda.take = watch
    world.prices["BTC-USD"] = 60_050
    engine.feed_prices()
    await engine.run_for(0.01)

    assert looks == [([], False)]
    world.prices["BTC-USD"] = 62_000
    engine.feed_prices()
    await engine.run_for(0.2)

    assert len(looks[1].keys) == 198
    assert world.venue.net("BTCUSDT") > 20
    await engine.die()


async def an_engine_of_prices(world: World, **limits: object) -> Engine:
    """One that has just looked at everything, and from now on hears of prices alone."""
    engine = Engine(world, limits=GuardLimits(**limits))
    await engine.start()
    await engine.run_for(0.1)
    engine.tasks.pop(2).cancel()
    return engine


def put_price(engine: Engine, price: int, *, age_s: int = 0) -> None:
    engine.prices.put([PriceTick("BTC-USD", price * 10**18, 0, int(engine.clock.time()) - age_s)])


async def test_price_too_old_to_count_hides_no_risk_from_the_next_one():
    world = World(prices={"BTC-USD": QUIET, "ETH-USD": 3_000})
    world.put(LONG)
    engine = await an_engine_of_prices(world)
    put_price(engine, RISKY, age_s=60)
    await engine.run_for(0.01)
    assert get_reason(engine) is Reason.STALE_PRICE

    put_price(engine, RISKY)
    await engine.run_for(0.1)

    assert engine.held(LONG) == TARGET
    await engine.die()


async def test_everything_is_looked_at_every_second_however_prices_come():
    engine = await an_engine_of_prices(World())
    looked_at, take = [], engine.reconciler._agenda.take

    def watch(*inputs):
        look = take(*inputs)
        looked_at.extend([engine.clock.time()] if look.is_whole else [])
        return look

    engine.reconciler._agenda.take = watch
    for number in range(12):
        await engine.run_for(0.7)
        put_price(engine, QUIET + number)

    assert all(after - before < 1.01 for before, after in pairwise(looked_at))
    assert len(looked_at) >= 7
    await engine.die()
