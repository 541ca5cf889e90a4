"""The order protocol, on virtual time: what the network does to a request, and what is held in the end."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from dehedge.core.book import TradingMode
from dehedge.core.decisions import Reason
from dehedge.core.events import OrderAbandoned
from dehedge.core.model import Leg, Side
from dehedge.core.orders import OrderReport, OrderStatus
from dehedge.errors import JournalError
from dehedge.ports import VenueOrder
from tests.kit import Engine, Venue, World, a_policy, a_position

pytestmark = pytest.mark.looptime

LONG = a_position(1)
SHORT = a_position(2, is_long=False, size_usd=6_000, entry=63_000)
TARGET = Decimal("0.166")


async def an_engine(world: World, *fates: str) -> Engine:
    world.venue.script.extend(fates)
    engine = Engine(world)
    await engine.start()
    return engine


@pytest.mark.parametrize("fate", ["fills", "lost", "partial", "partial_lost", "not_sent", "refused", "never", "limited"])
@pytest.mark.parametrize("hedge_mode", [False, True])
async def test_executor_holds_the_target_once_when_the_first_order_meets(fate, hedge_mode):
    world = World(venue=Venue(hedge_mode=hedge_mode))
    world.put(LONG)
    engine = await an_engine(world, fate)

    await engine.run_for(40)

    assert world.venue.net("BTCUSDT") == TARGET == engine.held(LONG)
    assert max(point.amount for point in world.venue.ledger.points) == TARGET
    assert len({request.client_order_id for request in world.venue.sent}) == len(world.venue.sent)
    await engine.die()


@pytest.mark.parametrize("fate", ["fills", "lost", "partial", "partial_lost", "not_sent", "refused", "never", "limited"])
@pytest.mark.parametrize("hedge_mode", [False, True])
async def test_executor_closes_once_when_the_closing_order_meets(fate, hedge_mode):
    world = World(venue=Venue(hedge_mode=hedge_mode))
    world.put(LONG)
    engine = await an_engine(world)
    await engine.run_for(5)
    world.venue.script.append(fate)
    world.remove(LONG)

    await engine.run_for(40)

    assert world.venue.net("BTCUSDT") == 0
    assert not engine.book.get_all_hedged_positions()
    assert min(point.amount for point in world.venue.ledger.points) == 0
    await engine.die()


@pytest.mark.parametrize("hidden_s", [20, 58])
async def test_executor_does_not_send_again_when_an_executed_order_is_hidden_from_every_query(hidden_s):
    world = World()
    world.put(LONG)
    world.venue.hidden_s = hidden_s
    engine = await an_engine(world, "hidden")

    await engine.run_for(hidden_s - 2)
    assert len(world.venue.sent) == 1
    await engine.run_for(20)

    assert engine.held(LONG) == TARGET == world.venue.net("BTCUSDT")
    assert len(world.venue.sent) == 1
    await engine.die()


async def test_executor_sends_nothing_when_the_journal_refuses():
    world = World()
    world.put(LONG)
    world.journal.fails = True
    engine = Engine(world)

    await engine.start()

    with pytest.raises(JournalError):
        await engine.run_for(5)

    assert world.venue.sent == []
    await engine.die()


async def test_executor_backs_off_when_the_exchange_keeps_refusing():
    world = World()
    world.put(LONG)
    engine = await an_engine(world, *["refused"] * 100)

    await engine.run_for(10)
    assert 2 <= len(world.venue.sent) <= 5
    world.venue.script.clear()
    await engine.run_for(35)

    assert engine.held(LONG) == TARGET
    await engine.die()


async def test_executor_sends_one_order_when_a_thousand_positions_turn_risky():
    world = World(venue=Venue(balance=Decimal(10_000_000)))
    positions = [a_position(user, size_usd=1_000 + user) for user in range(1, 1001)]
    world.put(*positions)
    engine = await an_engine(world)

    await engine.run_for(2)

    assert [(r.symbol, r.quantity) for r in world.venue.sent] == [("BTCUSDT", sum(map(engine.held, positions)))]
    world.positions.clear()
    await engine.run_for(3)
    assert len(world.venue.sent) == 2
    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_executor_holds_the_right_net_when_opposite_hedges_come_and_go_in_one_way_mode():
    world = World()
    engine = await an_engine(world)
    short_target = Decimal("-0.1")
    for put, remove, net in (
        (LONG, None, TARGET),
        (SHORT, None, TARGET + short_target),
        (None, LONG, short_target),
        (None, SHORT, Decimal(0)),
    ):
        if put:
            world.put(put)
        if remove:
            world.remove(remove)
        await engine.run_for(5)
        assert world.venue.net("BTCUSDT") == net
    assert [request.reduce_only for request in world.venue.sent] == [False, False, False, True]
    await engine.die()


async def test_executor_splits_when_a_group_is_above_the_maximum_quantity():
    world = World(venue=Venue(balance=Decimal(10_000_000)))
    world.put(*(a_position(user, size_usd=4_000_000) for user in (1, 2)), a_position(3, size_usd=9_000_000))
    engine = await an_engine(world)

    await engine.run_for(10)

    assert all(request.quantity <= 120 for request in world.venue.sent)
    assert world.venue.net("BTCUSDT") == Decimal("66.666") * 2 + 150
    await engine.die()


async def test_executor_waits_when_the_exchange_has_no_room_for_orders():
    world = World()
    world.put(LONG)
    world.venue.capacity = 0
    engine = await an_engine(world)

    await engine.run_for(5)
    assert world.venue.sent == []
    world.venue.capacity = 10
    await engine.run_for(20)

    assert engine.held(LONG) == TARGET
    await engine.die()


async def test_executor_locks_the_hedge_when_an_order_hangs_and_others_go_on():
    world = World()
    world.put(LONG, a_position(3, market="ETH-USD", size_usd=5_000, entry=2_800))
    engine = await an_engine(world, "hangs")

    await engine.run_for(30)

    assert len(world.venue.sent) == 2
    assert world.venue.net("ETHUSDT") == Decimal("1.666")
    assert engine.reconciler.decisions[LONG.key].reason is Reason.IN_FLIGHT
    await engine.die()


async def test_executor_follows_the_size_when_the_position_grows_and_shrinks():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    await engine.run_for(3)
    for size_usd, target in ((25_000, Decimal("0.416")), (8_000, Decimal("0.133"))):
        world.put(a_position(1, size_usd=size_usd))
        await engine.run_for(5)
        assert engine.held(LONG) == target == world.venue.net("BTCUSDT")
    assert len(world.venue.sent) == 3
    await engine.die()


async def test_executor_turns_the_hedge_when_the_position_flips_its_side():
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    await engine.run_for(3)

    world.put(a_position(1, is_long=False, size_usd=6_000, entry=63_000))
    await engine.run_for(5)

    assert world.venue.net("BTCUSDT") == Decimal("-0.1")
    assert [str(request.side) for request in world.venue.sent] == ["BUY", "SELL", "SELL"]
    await engine.die()


async def test_executor_finds_its_orders_when_the_daemon_dies_at_any_moment():
    for moment in range(1, 60):
        world = World()
        world.put(LONG)
        world.venue.script.append(("fills", "lost", "never", "partial")[moment % 4])
        engine = Engine(world)
        starting = [engine]
        try:
            await engine.start()
            await engine.run_for(moment * 0.002)
        finally:
            await starting[0].die()
        second = Engine(world, a_policy())
        await second.start()
        await second.run_for(40)
        assert world.venue.net("BTCUSDT") == TARGET == second.held(LONG), moment
        assert max(point.amount for point in world.venue.ledger.points) == TARGET, moment
        await second.die()


@pytest.mark.parametrize("journal_s", [0.0, 0.02])
async def test_executor_sends_no_close_of_a_flattening_that_was_ended_before_it_left(journal_s):
    world = World()
    world.put(LONG)
    engine = await an_engine(world)
    await engine.run_for(5)
    await engine.reconciler.set_mode(TradingMode.NO_OPENS, is_flattening=True)
    world.journal.append_s = journal_s
    await asyncio.sleep(0.005 + journal_s)
    is_journaled = world.journal.append_s > 0
    assert bool(engine.executor.busy)

    world.journal.append_s = 0.0
    await engine.reconciler.set_mode(TradingMode.ACTIVE)
    await engine.run_for(5)

    assert len(world.venue.sent) == 1
    assert engine.held(LONG) == TARGET
    assert is_journaled is any(type(entry.event) is OrderAbandoned for entry in world.journal.entries)
    await engine.die()


async def test_executor_writes_little_while_a_large_order_is_filled_bit_by_bit():
    world = World()
    world.put(LONG)
    engine = await an_engine(world, "hangs")
    await engine.run_for(1)
    (order,) = engine.book.in_flight.values()
    world.journal.append_s = 0.005
    written = world.journal.last_sequence
    for milli in range(1, 166):
        status = OrderStatus.FILLED if milli == 165 else OrderStatus.PARTIALLY_FILLED
        report = OrderReport(order.request.client_order_id, status, Decimal(milli) / 1000)
        engine.executor.note_order(VenueOrder("BTCUSDT", Side.BUY, Leg.BOTH, report, 0.0))
        if milli % 50 == 0:
            await asyncio.sleep(0.007)

    await engine.run_for(0.5)

    assert world.journal.last_sequence - written < 10
    assert engine.held(LONG) == Decimal("0.165")
    assert not engine.book.in_flight
    await engine.die()


async def test_executor_protects_as_much_as_the_margin_carries_when_all_together_are_refused():
    world = World(venue=Venue(balance=Decimal(10_000)))
    positions = [a_position(user, size_usd=10_000 * user) for user in range(1, 9)]
    world.put(*positions)
    engine = await an_engine(world)

    await engine.run_for(60)

    held = world.venue.net("BTCUSDT")
    assert held == sum(map(engine.held, positions))
    # 360,000 USD of positions at 20x want 18,000 of margin; 10,000 carry 200,000 USD, which is 3.333 BTC.
    assert Decimal("2.5") < held <= Decimal("3.333")
    assert len(world.venue.sent) < 40
    await engine.die()


@pytest.mark.parametrize("hedge_mode", [False, True])
async def test_rest_below_the_minimum_keeps_no_new_hedge_from_being_built_when_its_position_flips(hedge_mode):
    world = World(venue=Venue(hedge_mode=hedge_mode))
    flipping = a_position(1, market="ETH-USD", entry=2_800)
    world.put(a_position(2, market="ETH-USD", is_long=False, entry=3_300, size_usd=20_000))
    engine = Engine(world)
    await engine.start()
    await engine.run_for(5)
    outweighing = world.venue.net("ETHUSDT")
    execute = world.venue._execute

    def fill_a_crumb(request, *, fill_ratio):
        world.venue._execute = execute
        return execute(request, fill_ratio=Decimal("0.0004"))

    world.venue._execute = fill_a_crumb
    world.put(flipping)
    await engine.run_for(0.55)
    rest = engine.held(flipping)
    assert 0 < rest < Decimal("0.01")
    world.put(flipping._replace(is_long=False, entry_price=3_300 * 10**18))
    await engine.run_for(60)

    assert engine.held(flipping) < -3
    foreign = engine.book.foreign.get(("ETHUSDT", Leg.BOTH), Decimal(0))
    assert foreign == (0 if hedge_mode else rest)
    assert world.venue.net("ETHUSDT") == outweighing + engine.held(flipping) + foreign
    assert engine.auditor.blocked == {}
    await engine.die()
