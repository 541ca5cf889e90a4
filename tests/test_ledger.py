"""Journal first, then book; in one order, whatever is canceled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from dehedge.core.book import HedgeBook, TradingMode
from dehedge.core.events import Event, OrderIntended, OrderReported, TradingModeSet
from dehedge.core.invariants import Breach, Law
from dehedge.core.orders import OrderStatus
from dehedge.errors import JournalError
from dehedge.ledger import Ledger
from tests.core.builders import a_report, an_intent
from tests.kit import LoopClock, MemoryJournal

pytestmark = pytest.mark.looptime

PAUSED = TradingModeSet(TradingMode.NO_OPENS, is_flattening=False)
HALTED = TradingModeSet(TradingMode.HALTED, is_flattening=False)


async def test_ledger_leaves_the_book_as_it_was_when_the_journal_refuses():
    journal = MemoryJournal()
    journal.fails = True
    ledger = Ledger(journal, HedgeBook(), LoopClock())

    with pytest.raises(JournalError):
        await ledger.record(PAUSED)

    assert ledger.book.mode is TradingMode.ACTIVE


async def test_ledger_folds_what_is_journaled_when_the_caller_is_canceled_in_between():
    ledger = Ledger(MemoryJournal(), HedgeBook(), LoopClock())
    caller = asyncio.ensure_future(ledger.record(PAUSED))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    await ledger.drain()

    assert len(list(ledger.journal.read())) == 1
    assert ledger.book.mode is TradingMode.NO_OPENS


async def test_ledger_keeps_the_order_of_its_callers():
    ledger = Ledger(MemoryJournal(), HedgeBook(), LoopClock())

    await asyncio.gather(ledger.record(PAUSED), ledger.record(HALTED))

    assert [entry.event for entry in ledger.journal.read()] == [PAUSED, HALTED]
    assert ledger.book.mode is TradingMode.HALTED


async def test_ledger_tells_the_next_sequence_to_events_that_are_built_in_their_turn():
    ledger = Ledger(MemoryJournal(), HedgeBook(), LoopClock())
    seen: list[int] = []

    async def record() -> None:
        await ledger.record_prepared(lambda sequence: seen.append(sequence) or (PAUSED,))

    await asyncio.gather(record(), record(), record())

    assert seen == [1, 2, 3]


async def test_ledger_has_turned_the_kill_switch_when_a_step_that_broke_a_law_comes_back():
    ledger = Ledger(MemoryJournal(), HedgeBook(), LoopClock())
    intent = an_intent()
    await ledger.record(intent)

    too_much = a_report(intent, status=OrderStatus.PARTIALLY_FILLED, filled="0.3")
    await ledger.record(too_much)

    assert [type(entry.event) for entry in ledger.journal.read()] == [OrderIntended, OrderReported, TradingModeSet]
    assert ledger.book.mode is TradingMode.NO_OPENS
    assert ledger.book.mode_reason.startswith("invariant broken: no order fills beyond its quantity")


async def test_ledger_turns_the_kill_switch_for_a_broken_law_before_anything_else_is_decided():
    ledger = Ledger(MemoryJournal(), HedgeBook(), LoopClock())
    ledger.guardian.note(Breach(Law.RATE, "ORDERS 10S", "301 of 300 within 10 s"))
    seen: list[TradingMode] = []

    await ledger.record_prepared(lambda _: seen.append(ledger.book.mode) or ())

    assert seen == [TradingMode.NO_OPENS]


async def test_ledger_ends_with_the_error_when_it_cannot_journal_that_a_law_is_broken():
    journal = MemoryJournal()
    ledger = Ledger(journal, HedgeBook(), LoopClock())
    intent = an_intent()
    await ledger.record(intent)
    original = journal.append

    async def append(at: float, events: Sequence[Event]) -> None:
        await original(at, events)
        journal.fails = True

    journal.append = append
    with pytest.raises(JournalError):
        await ledger.record(a_report(intent, status=OrderStatus.PARTIALLY_FILLED, filled="0.3"))

    assert ledger.guardian.is_stopping
