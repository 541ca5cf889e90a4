"""Start-up: the journal becomes the book, and what was in flight gets its end before the first decision."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from dehedge.core.events import HedgesForced, OrderAbandoned, OrderReported
from dehedge.core.model import Leg, Side
from dehedge.core.orders import ClientOrderId, OrderReport, OrderStatus
from dehedge.errors import JournalError, VenueUnavailable
from dehedge.ports import JournalEntry
from dehedge.recovery import replay
from tests.kit import SYMBOLS, Engine, LoopClock, Venue, World, a_policy, a_position

pytestmark = pytest.mark.looptime

LONG = a_position(1)
ETHER = a_position(3, market="ETH-USD", entry=2_800)
TARGET = Decimal("0.166")


class Unreadable(Venue):
    """An exchange that does not tell the orders of some symbols."""

    def __init__(self) -> None:
        super().__init__()
        self.unreadable: set[str] = set()

    async def fetch_order_history(self, symbol, since_s):
        if symbol in self.unreadable:
            raise VenueUnavailable("Symbol is on delivering or delivered or settling or closed or pre-trading.")
        return await super().fetch_order_history(symbol, since_s)


async def test_replay_gives_the_book_that_was_there_before():
    world = World()
    world.put(LONG, a_position(2, is_long=False, entry=63_000), a_position(3, market="ETH-USD", entry=2_800))
    world.venue.script.extend(["partial", "lost", "fills"])
    engine = Engine(world)
    await engine.start()
    await engine.run_for(20)
    before = engine.book.get_all_hedged_positions()

    after = replay(world.journal, LoopClock()).get_all_hedged_positions()

    assert [(h.key, h.quantity, h.target, h.status) for h in after.values()] == [
        (h.key, h.quantity, h.target, h.status) for h in before.values()
    ]
    await engine.die()


async def test_replay_refuses_a_journal_that_contradicts_itself():
    world = World()
    world.put(LONG)
    engine = Engine(world)
    await engine.start()
    await engine.run_for(5)
    await engine.die()
    first = world.journal.entries[0]
    world.journal.entries += [JournalEntry(98, 0.0, first.event), JournalEntry(99, 0.0, first.event)]

    with pytest.raises(JournalError, match="entry 99 contradicts"):
        replay(world.journal, LoopClock())


async def test_replay_refuses_a_number_that_no_sum_can_hold():
    world = World()
    endless = HedgesForced("1", "BTCUSDT", Leg.BOTH, Side.SELL, Decimal(1), Decimal("1E+999999999"), "autoclose")
    world.journal.entries.append(JournalEntry(7, 0.0, endless))

    with pytest.raises(JournalError, match="entry 7 holds a number too large"):
        replay(world.journal, LoopClock())


async def test_replay_passes_over_reports_of_orders_that_are_settled():
    world = World()
    world.put(LONG)
    engine = Engine(world)
    await engine.start()
    await engine.run_for(5)
    await engine.die()
    settled = world.venue.sent[0].client_order_id
    late = OrderReport(ClientOrderId(settled), OrderStatus.FILLED, TARGET)
    for event in (OrderReported(late, 0.0), OrderAbandoned(ClientOrderId(settled), "late")):
        world.journal.entries.append(JournalEntry(world.journal.last_sequence + 1, 0.0, event))

    book = replay(world.journal, LoopClock())

    assert book.get_all_hedged_positions()[LONG.key].quantity == TARGET


async def test_recovery_decides_nothing_until_the_exchange_answers_for_what_is_in_flight():
    world = World()
    world.put(LONG)
    world.venue.script.append("lost")
    first = Engine(world)
    await first.start()
    await first.run_for(0.05)
    await first.die()
    assert len(world.venue.sent) == 1

    second = Engine(world)
    starting = asyncio.ensure_future(second.start())
    await asyncio.sleep(0.02)
    world.venue.is_down = True
    world.remove(LONG)
    await asyncio.sleep(120)
    assert not starting.done()
    assert len(world.venue.sent) == 1
    world.venue.is_down = False
    await starting
    await second.run_for(5)

    assert world.venue.net("BTCUSDT") == 0
    assert len(world.venue.sent) == 2
    await second.die()


@pytest.mark.parametrize("is_listed", [True, False])
async def test_recovery_goes_on_without_the_symbol_whose_orders_cannot_be_read(is_listed):
    world = World(venue=Unreadable())
    world.put(LONG, ETHER)
    first = Engine(world)
    await first.start()
    await first.run_for(5)
    await first.die()
    world.venue.unreadable.add("ETHUSDT")
    world.remove(LONG)
    world.venue.force("ETHUSDT", "3.333")

    second = Engine(world, a_policy(symbols=SYMBOLS if is_listed else {"BTC-USD": "BTCUSDT"}))
    starting = asyncio.ensure_future(second.start())
    await asyncio.sleep(20)
    assert starting.done()
    await second.run_for(5)

    assert world.venue.net("BTCUSDT") == 0
    assert "ETHUSDT: Symbol is on delivering" in second.auditor.error
    world.venue.unreadable.clear()
    await second.run_for(30)
    assert second.auditor.error is None
    assert world.venue.net("ETHUSDT") == second.held(ETHER) == (Decimal("3.333") if is_listed else 0)
    await second.die()


async def test_recovery_takes_what_was_there_before_for_foreign_although_one_symbol_cannot_be_read():
    world = World(venue=Unreadable())
    world.venue.trade_by_hand("BTCUSDT", "BUY", "0.5")
    world.venue.unreadable.add("ETHUSDT")
    engine = Engine(world)

    await engine.start()
    await engine.run_for(1)

    assert engine.book.foreign == {("BTCUSDT", Leg.BOTH): Decimal("0.5")}
    assert not engine.auditor.blocked
    await engine.die()
