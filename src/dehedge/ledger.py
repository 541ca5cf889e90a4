"""Journal first, then book: the only way in which a fact becomes true.

Every fact goes through here: it is appended durably, then folded, in one order for all. If the journal refuses, the book
stays as it was and the error ends the process. Called by the executor, the auditor, the reconciler and the operator's
commands. A caller that is canceled in the middle loses nothing: the commit goes on without it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import structlog

from dehedge import metrics
from dehedge.core.book import HedgeBook
from dehedge.core.events import Event, HedgeChange, OrderIntended, OrderReported, fold
from dehedge.core.orders import OrderReport, apply_report
from dehedge.ports import Clock, Journal

log = structlog.get_logger()

Prepare = Callable[[int], Sequence[Event]]
"""Builds events once their turn has come; is given the next sequence number of the journal."""


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """A hedge's change and when it was recorded."""

    at: float
    change: HedgeChange


class Ledger:
    """The journal and the book, kept as one."""

    def __init__(self, journal: Journal, book: HedgeBook, clock: Clock) -> None:
        self.journal = journal
        self.book = book
        self.recent: list[LoggedChange] = []
        self._clock = clock
        self._lock = asyncio.Lock()
        self._versions: Counter[str] = Counter()
        self._intended: defaultdict[str, Decimal] = defaultdict(Decimal)

    async def record(self, *events: Event) -> None:
        """Make facts true. Raises ``JournalError``, after which nothing may be sent."""
        await self.record_prepared(lambda _: events)

    async def record_prepared(self, prepare: Prepare) -> Sequence[Event]:
        """Make facts true that depend on the book as it is when their turn comes."""
        return await asyncio.shield(asyncio.ensure_future(self._commit(prepare)))

    async def record_report(self, report: OrderReport) -> bool:
        """Record what the exchange says of an order of ours; False when it says nothing new."""
        return bool(await self.record_prepared(lambda _: self._get_news(report)))

    def get_versions(self) -> Mapping[str, int]:
        """A number for every symbol that grows with every fact about it."""
        return dict(self._versions)

    def get_moved_since(self, versions: Mapping[str, int]) -> set[str]:
        """The symbols about which a fact was recorded since: a read of the account may not be held against them."""
        return {symbol for symbol, version in self._versions.items() if versions.get(symbol, 0) != version}

    def get_intended_quantity(self, symbol: str) -> Decimal:
        """How much was ever intended in the symbol; its growth during a read is what our orders may have moved."""
        return self._intended[symbol]

    async def drain(self) -> None:
        """Wait until no commit is under way."""
        async with self._lock:
            pass

    def _get_news(self, report: OrderReport) -> Sequence[Event]:
        order = self.book.in_flight.get(report.client_order_id)
        if order is None:
            return ()
        if report.filled_quantity > order.request.quantity:
            # What was never asked for is not a hedge; the audit finds it on the account.
            log.error("order_overfilled", client_order_id=report.client_order_id, filled=str(report.filled_quantity))
            report = replace(report, filled_quantity=order.request.quantity)
        if apply_report(order.report, report) == order.report:
            return ()
        return (OrderReported(report, self._clock.time()),)

    async def _commit(self, prepare: Prepare) -> Sequence[Event]:
        async with self._lock:
            events = prepare(self.journal.last_sequence + 1)
            self._rehearse(events)
            if events:
                with metrics.JOURNAL_SECONDS.time():
                    await self.journal.append(self._clock.time(), events)
            for event in events:
                self._fold(event)
            return events

    def _rehearse(self, events: Sequence[Event]) -> None:
        """A fact that cannot be folded must never be journaled: no restart could get past it."""
        book = self.book.copy()
        for event in events:
            fold(book, event)

    def _fold(self, event: Event) -> None:
        if isinstance(event, OrderIntended):
            self._versions[event.request.symbol] += 1
            self._intended[event.request.symbol] += event.request.quantity
        for change in fold(self.book, event):
            self._versions[change.symbol] += 1
            metrics.HEDGE_CHANGES.labels(change.kind.value, change.key.market).inc()
            self.recent = [*self.recent[-999:], LoggedChange(self._clock.time(), change)]
            log.info(
                change.kind.value,
                market=change.key.market,
                position_id=change.key.position_id,
                side=change.side.value,
                quantity=str(change.quantity),
                held=str(change.held),
                price=str(change.price) if change.price is not None else None,
                reason=change.reason,
            )
