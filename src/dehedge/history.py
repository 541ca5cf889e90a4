"""The newest of what happened, from the journal, for the HTTP surface: in a thread, one reading at a time, never much of it.

Shares nothing with the engine but the file, which it only reads. Called by the web server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from dehedge.core.history import Chronicler, Happening
from dehedge.ports import JournalEntry, JournalSource

ENTRIES_MAX = 2_000
"""Journal entries of one reading, which takes some 50 ms."""
CONTEXT_S = 60.0
"""An order that ended lately was intended this much earlier."""


class HistoryView:
    """Implements ``surfaces.HistorySource``."""

    def __init__(self, journal: JournalSource) -> None:
        self._journal = journal
        self._reading = asyncio.Lock()

    async def fetch_history(self, since: float, limit: int) -> Sequence[Mapping[str, object]]:
        """The newest happenings since then, newest last. Raises ``JournalError``."""
        async with self._reading:
            return await asyncio.to_thread(self._read, since, limit)

    def _read(self, since: float, limit: int) -> Sequence[Mapping[str, object]]:
        entries = list(self._journal.read(max(since - CONTEXT_S, 0.0), limit=ENTRIES_MAX))
        return describe_entries(entries, since)[-limit:] if limit else []


def describe_entries(entries: Iterable[JournalEntry], since: float) -> list[Mapping[str, object]]:
    """What happened since then, as plain JSON data."""
    chronicler = Chronicler()
    told = [(entry.sequence, it) for entry in entries for it in chronicler.tell(entry.at, entry.event)]
    return [_describe(sequence, it) for sequence, it in told if it.at >= since]


def _describe(sequence: int, it: Happening) -> Mapping[str, object]:
    return {
        "sequence": sequence,
        "at": it.at,
        "kind": it.kind,
        "symbol": it.symbol,
        "market": it.key.market if it.key is not None else "",
        "position_id": it.key.position_id if it.key is not None else "",
        "text": it.text,
    }
