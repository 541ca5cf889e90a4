"""What is kept of the journaled facts beside the book: for the limits, for the accounts, and for whoever looks.

One bundle, told of each fact once: by ``recovery`` of those before the start, by the ledger of those after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from dehedge.chronicle import Chronicle
from dehedge.core.earnings import Earnings
from dehedge.core.events import Event, HedgeChange
from dehedge.core.receipts import Receipts
from dehedge.core.usage import Usage

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Records:
    """``usage`` of the operator's limits in the last hour, ``receipts`` of orders and funding, the newest facts in words.

    ``earnings`` are what each open hedge has brought and cost.
    """

    usage: Usage = field(default_factory=Usage)
    receipts: Receipts = field(default_factory=Receipts)
    chronicle: Chronicle = field(default_factory=Chronicle)
    earnings: Earnings = field(default_factory=Earnings)

    _failed: set[str] = field(default_factory=set)

    def note(self, at: float, event: Event, changes: Sequence[HedgeChange]) -> None:
        """A fact was journaled and folded."""
        self.usage.note(at, event, changes)
        self._try("receipts", lambda: self.receipts.note(at, event))
        self._try("chronicle", lambda: self.chronicle.note(at, event, changes))
        self._try("earnings", lambda: self.earnings.note(at, event, changes))

    def _try(self, name: str, note: Callable[[], None]) -> None:
        try:
            note()
        except Exception:
            # The accounts are for people: a fact that they stumble over must not end what hedges, and every start after it.
            if name not in self._failed:
                log.exception("record_failed", record=name)
            self._failed.add(name)
