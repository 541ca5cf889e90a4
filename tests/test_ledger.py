"""Journal first, then book; in one order, whatever is canceled."""

from __future__ import annotations

import asyncio

import pytest

from dehedge.core.book import HedgeBook, TradingMode
from dehedge.core.events import TradingModeSet
from dehedge.errors import JournalError
from dehedge.ledger import Ledger
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

    assert len(ledger.journal.read()) == 1
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
