"""Journal first, then book: the only way in which a fact becomes true.

Every fact goes through here: it is appended durably, then folded, in one order for all. If the journal refuses, the book
stays as it was and the error ends the process. Called by the executor, the auditor, the reconciler and the operator's
commands. A caller that is canceled in the middle loses nothing: the commit goes on without it. Every step is held to the
laws (``guardian``): what would break one is not journaled, and a broken one turns the kill switch before anything else.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import structlog

from dehedge import metrics
from dehedge.core.book import HedgeBook
from dehedge.core.events import Event, HedgeChange, OrderIntended, OrderReported, TradingModeSet, fold
from dehedge.core.invariants import Breach, Law
from dehedge.core.model import HedgeKey
from dehedge.core.orders import OrderReport, apply_report
from dehedge.guardian import Guardian
from dehedge.ports import Clock, Journal
from dehedge.records import Records

log = structlog.get_logger()

Prepare = Callable[[int], Sequence[Event]]
"""Builds events once their turn has come; is given the next sequence number of the journal."""


class Ledger:
    """The journal and the book, kept as one."""

    def __init__(
        self,
        journal: Journal,
        book: HedgeBook,
        clock: Clock,
        guardian: Guardian | None = None,
        *,
        records: Records | None = None,
        tell: Callable[[HedgeChange], None] = lambda _: None,
    ) -> None:
        """``records`` have what the journal told that made the book; ``tell`` is told of every change."""
        self.journal = journal
        self.book = book
        self.records = records or Records()
        self.guardian = guardian or Guardian()
        self.guardian.sweep(book)
        self._clock = clock
        self._tell = tell
        self._lock = asyncio.Lock()
        self._versions: Counter[str] = Counter()
        self._intended: defaultdict[str, Decimal] = defaultdict(Decimal)

    async def record(self, *events: Event) -> None:
        """Make facts true. Raises ``JournalError``, after which nothing may be sent."""
        await self.record_prepared(lambda _: events)

    async def record_prepared(self, prepare: Prepare) -> Sequence[Event]:
        """Make facts true that depend on the book as it is when their turn comes; gives back what was recorded.

        That is not an order which would break a law.
        """
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

    async def enforce(self) -> None:
        """Turn the kill switch for a broken law that was noticed outside a step. Raises ``JournalError``."""
        if self.guardian.is_stopping:
            await self.record()

    async def sweep(self) -> None:
        """Hold the whole book to the laws."""
        self.guardian.sweep(self.book)
        await self.enforce()

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
            figures = f"filled {report.filled_quantity} of {order.request.quantity} {order.request.symbol}"
            self.guardian.note(Breach(Law.FILLED, report.client_order_id, figures))
            report = replace(report, filled_quantity=order.request.quantity)
        if apply_report(order.report, report) == order.report:
            return ()
        return (OrderReported(report, self._clock.time()),)

    async def _commit(self, prepare: Prepare) -> Sequence[Event]:
        async with self._lock:
            await self._enforce()
            sequence = self.journal.last_sequence + 1
            events = self.guardian.screen(self.book, prepare(sequence), sequence)
            await self._store(events)
            await self._enforce()
            return events

    async def _enforce(self) -> None:
        stop = self.guardian.build_stop(self.book)
        if stop is not None:
            await self._store([stop])

    async def _store(self, events: Sequence[Event]) -> None:
        if not events:
            return
        events = [self._date(event) for event in events]
        self._rehearse(events)
        at = self._clock.time()
        with metrics.JOURNAL_SECONDS.time():
            await self.journal.append(at, events)
        changed = [key for event in events for key in self._fold(at, event)]
        self.guardian.review(self.book, events, changed)

    def _date(self, event: Event) -> Event:
        """When the guardian turns the kill switch it has no clock to say so."""
        if isinstance(event, TradingModeSet) and event.reason and not event.set_at:
            return replace(event, set_at=self._clock.time())
        return event

    def _rehearse(self, events: Sequence[Event]) -> None:
        """A fact that cannot be folded must never be journaled: no restart could get past it."""
        book = self.book.copy()
        for event in events:
            fold(book, event)

    def _fold(self, at: float, event: Event) -> list[HedgeKey]:
        """The keys of the hedges that changed."""
        if isinstance(event, OrderIntended):
            self._versions[event.request.symbol] += 1
            self._intended[event.request.symbol] += event.request.quantity
        changes = fold(self.book, event)
        self.records.note(at, event, changes)
        for change in changes:
            self._versions[change.symbol] += 1
            self._tell(change)
            metrics.HEDGE_CHANGES.labels(change.kind.value, change.key.market).inc()
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
        return [change.key for change in changes]
