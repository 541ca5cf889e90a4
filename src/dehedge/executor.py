"""Decisions become orders: journal before send, send once, and ask until the outcome is known.

Rules of this file. (1) An order is journaled durably before its first byte goes out; if the journal refuses, nothing is
sent. (2) An order is sent once. No error, no time-out and no restart ever sends it again; a new order under a new id is a
new decision of the planner. (3) What was not definitively answered is unknown: it stays in flight, its hedges stay
locked, and it is asked for by its client order id. (4) Fills are what we own.

Theory of operation. Every order in flight has one task that drives it to its end: it sends, or after a restart only
asks. "No such order" is believed only when all of this holds: the request is older than the time after which the exchange
cannot accept it any more, two later queries and the order history do not know it, and the account has not moved by what
it would have filled. Events of the account's stream may settle an order sooner; a report that says nothing new changes
nothing, so it does not matter which comes first.

A close is first held against the account, so that it never takes more than is there: reduce-only where the account's net
allows it, plain where opposite hedges of one symbol net out, and nothing for what another hand has closed already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import structlog

from dehedge import metrics
from dehedge.auditor import Auditor
from dehedge.backoff import Backoff
from dehedge.core.batching import OrderDraft, build_drafts
from dehedge.core.book import HedgeStatus, InFlightOrder
from dehedge.core.events import Event, HedgeWrittenDown, OrderAbandoned, OrderIntended, OrderPriced
from dehedge.core.hedging import TradeDecision, check_mode_allows
from dehedge.core.model import HedgeKey, TradingRules
from dehedge.core.orders import Action, OrderReport, OrderRequest, OrderStatus, Share, client_order_id, get_leg
from dehedge.errors import (
    AuthenticationFailed,
    ConnectorError,
    OrderRejected,
    OrderTooLarge,
    OutcomeUnknown,
    RateLimited,
    VenueUnavailable,
)
from dehedge.ledger import Ledger
from dehedge.ports import Clock, Connector, VenueOrder

log = structlog.get_logger()

QUERY_DELAYS_S = (0.2, 0.3, 0.5, 1.0, 2.0)
"""Waits between the questions for an order whose outcome is unknown; the last one repeats."""
BELIEVE_HISTORY_S = 60.0
"""After this long an order that neither query nor history knows is gone, even if the account moved by another hand."""
CAPACITY_RETRY_S = 1.0
SETTLED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Refusals:
    """Orders in a row in one symbol that came to nothing, and what was said of the last (at loop time)."""

    count: int
    reason: str
    last_at: float


class Executor:
    """Sends the planner's trades and settles what comes back."""

    def __init__(
        self, *, ledger: Ledger, connector: Connector, auditor: Auditor, clock: Clock, awake: asyncio.Event
    ) -> None:
        self.backoff = Backoff()
        self.refusals: dict[str, Refusals] = {}
        self._ledger = ledger
        self._connector = connector
        self._auditor = auditor
        self._clock = clock
        self._block_number = 0
        self._is_finishing = False
        self._settled: dict[str, Decimal] = {}
        self._busy: set[HedgeKey] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None
        self._awake = awake

    @property
    def busy(self) -> frozenset[HedgeKey]:
        """Keys whose close is being held against the account, before its order is journaled."""
        return frozenset(self._busy)

    async def run(self) -> None:
        """Ends only with the error of an order's task: ours, or the journal's."""
        self._failed = asyncio.get_running_loop().create_future()
        await self._failed

    def note_order(self, order: VenueOrder) -> None:
        """An event of the account's stream: settles an order of ours sooner than its reply or the next question."""
        report = order.report
        in_flight = self._ledger.book.in_flight.get(report.client_order_id)
        if in_flight is not None:
            self._spawn(self._settle(in_flight, report))
        elif report.filled_quantity > self._settled.get(report.client_order_id, report.filled_quantity):
            log.error("order_executed_after_all", client_order_id=report.client_order_id, filled=str(report.filled_quantity))
            late = report.filled_quantity - self._settled[report.client_order_id]
            self._settled[report.client_order_id] = report.filled_quantity
            self._auditor.confirm_difference((order.symbol, order.leg), late * order.side.sign)

    async def finish(self, timeout_s: float) -> None:
        """Intend nothing more, and let what is being sent come to its end; the unknown is asked for after the restart."""
        self._is_finishing = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while self._tasks and loop.time() < deadline:
            await asyncio.wait(self._tasks, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def execute(
        self, decisions: Iterable[TradeDecision], rules: Mapping[str, TradingRules], block_number: int
    ) -> None:
        """Journal and send what has been decided from that block; comes back once it is journaled."""
        self._block_number = block_number
        exhausted = set(self.backoff.get_exhausted())
        probed: set[str] = set()
        increases = []
        for draft in build_drafts(decisions, rules, self.backoff.group_max):
            if draft.action is Action.REDUCE:
                self._busy |= set(draft.keys)
                self._spawn(self._reduce(draft), set(draft.keys))
            elif draft.symbol not in exhausted:
                increases.append(draft)
            elif draft.symbol not in probed:
                probed.add(draft.symbol)
                increases.append(replace(draft, shares=draft.shares[:1]))
                self.backoff.begin_probe(draft.symbol)
        if increases:
            await asyncio.shield(self._spawn(self._place(increases)))

    def resume(self) -> Sequence[asyncio.Task[None]]:
        """After a restart: one task for every order in flight, that asks and never sends."""
        return [self._spawn(self.resolve(order)) for order in self._ledger.book.in_flight.values()]

    def _spawn(self, work: Coroutine[None, None, None], keys: set[HedgeKey] | None = None) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)

        def end(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._busy -= keys or set()
            self._awake.set()
            error = None if done.cancelled() else done.exception()
            if error is not None and self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)

        task.add_done_callback(end)
        return task

    async def _place(self, drafts: Sequence[OrderDraft], *, reduce_only: bool = False) -> None:
        """Journal the orders that the exchange's limits have room for, then send each once."""
        is_reduce = drafts[0].action is Action.REDUCE
        fitting = [
            draft
            for number, draft in enumerate(drafts, start=1)
            if self._connector.check_order_capacity(number, is_reduce=is_reduce)
        ]
        for draft in drafts[len(fitting) :]:
            self._back_off(draft.shares, draft.action, at_least_s=CAPACITY_RETRY_S)
        intended = await self._ledger.record_prepared(lambda sequence: self._intend(fitting, sequence, reduce_only=reduce_only))
        for event in intended:
            assert isinstance(event, OrderIntended)
            self._spawn(self._send(self._ledger.book.in_flight[event.request.client_order_id]))

    def _intend(self, drafts: Sequence[OrderDraft], sequence: int, *, reduce_only: bool) -> Sequence[Event]:
        """The intents of what is still wanted, now that nothing else can change the book in between."""
        events: list[Event] = []
        for draft in [] if self._is_finishing else drafts:
            kept = [share for share in draft.shares if self._check_still_wanted(share, draft)]
            if kept:
                final = replace(draft, shares=tuple(kept))
                request = self._build_request(final, sequence + len(events), reduce_only=reduce_only)
                now, block = self._clock.time(), self._block_number
                events.append(OrderIntended(request, draft.hedge_side, draft.action, tuple(kept), now, block))
        return events

    def _check_still_wanted(self, share: Share, draft: OrderDraft) -> bool:
        """False when the hedge or the kill switch changed after the decision: the planner decides anew."""
        book = self._ledger.book
        hedge = book.get_hedged_position(share.key)
        if not check_mode_allows(book, draft.action, is_open=hedge is None):
            return False
        if draft.action is Action.REDUCE:
            return hedge is not None and hedge.status is HedgeStatus.OPEN and hedge.quantity >= share.quantity
        return hedge is None or (
            hedge.status is HedgeStatus.OPEN
            and hedge.side is draft.hedge_side
            and hedge.quantity + share.quantity <= share.target
        )

    def _build_request(self, draft: OrderDraft, sequence: int, *, reduce_only: bool) -> OrderRequest:
        hedge_mode = self._connector.hedge_mode
        return OrderRequest(
            client_order_id=client_order_id(self._ledger.journal.deployment, draft.action, draft.shares, sequence),
            symbol=draft.symbol,
            side=draft.order_side,
            leg=get_leg(draft.hedge_side, hedge_mode=hedge_mode),
            quantity=draft.quantity,
            reduce_only=reduce_only and not hedge_mode,
        )

    async def _send(self, order: InFlightOrder) -> None:
        """Send once, and see the order to its end."""
        request = order.request
        log.info(
            "order_sent", symbol=request.symbol, side=request.side.value, quantity=str(request.quantity),
            action=order.action.value, hedges=len(order.shares), client_order_id=request.client_order_id,
            reduce_only=request.reduce_only,
        )  # fmt: skip
        try:
            with metrics.ORDER_SECONDS.time():
                report = await self._connector.place_order(request)
        except OutcomeUnknown as error:
            log.warning("order_outcome_unknown", client_order_id=request.client_order_id, error=str(error))
            await self.resolve(order)
        except OrderRejected as error:
            if isinstance(error, OrderTooLarge) and order.action is Action.INCREASE:
                await self._refuse_size(order, error)
                return
            refused = OrderReport(request.client_order_id, OrderStatus.REJECTED, Decimal(0), reason=str(error))
            await self._settle(order, refused)
        except (RateLimited, VenueUnavailable, AuthenticationFailed) as error:
            await self._abandon(order, error)
        else:
            await self._settle(order, report)
            if not report.status.is_terminal:
                await self.resolve(order)

    async def resolve(self, order: InFlightOrder) -> None:
        """Ask what became of an order until it is known; never sends."""
        request, loop = order.request, asyncio.get_running_loop()
        # It was sent before this moment at the latest, so counting from here is on the safe side after a restart too.
        since, window_s, misses = loop.time(), self._connector.unknown_window_s, 0
        for delay_s in _repeat_last(QUERY_DELAYS_S):
            await asyncio.sleep(delay_s)
            if request.client_order_id not in self._ledger.book.in_flight:
                return
            age_s = loop.time() - since
            try:
                report = await self._connector.fetch_order(request.symbol, request.client_order_id)
                if report is not None:
                    await self._settle(order, report)
                    if report.status.is_terminal:
                        return
                elif age_s >= window_s:
                    misses += 1
                    if misses > 1 and await self._check_never_executed(order, since=since + window_s, age_s=age_s):
                        await self._abandon(order, VenueUnavailable("the exchange never had this order"))
                        return
            except RateLimited as error:
                await asyncio.sleep(error.retry_after_s)
            except ConnectorError as error:
                log.debug("order_query_failed", client_order_id=request.client_order_id, error=str(error))
                if age_s >= window_s:
                    await self._try_find_in_history(order, since=since + window_s)

    async def _check_never_executed(self, order: InFlightOrder, *, since: float, age_s: float) -> bool:
        """True when neither the order history nor the account's position shows a trace of the order."""
        request = order.request
        trace = await self._auditor.find_trace(request, since=since)
        if isinstance(trace, VenueOrder):
            await self._settle(order, trace.report)
            return False
        return trace <= 0 or age_s >= BELIEVE_HISTORY_S

    async def _try_find_in_history(self, order: InFlightOrder, *, since: float) -> None:
        """Where an order cannot be asked for by its id, the history may still tell of it; its silence says nothing."""
        try:
            await self._check_never_executed(order, since=since, age_s=0)
        except ConnectorError as error:
            log.debug("order_history_failed", client_order_id=order.request.client_order_id, error=str(error))

    async def _settle(self, order: InFlightOrder, report: OrderReport) -> None:
        """Record what is known now; once that is final, say so and look after the hedges that got nothing."""
        was_in_flight = report.client_order_id in self._ledger.book.in_flight
        await self._ledger.record_report(report)
        if not (was_in_flight and report.status.is_terminal):
            return
        self._remember(report)
        if report.filled_quantity and report.average_price is None:
            self._spawn(self._learn_price(order))
        outcome = report.status.value.lower()
        metrics.ORDERS.labels(order.request.symbol, order.action.value, outcome).inc()
        if report.filled_quantity < order.request.quantity:
            log.warning(
                "order_not_filled", client_order_id=report.client_order_id, symbol=order.request.symbol,
                outcome=outcome, filled=str(report.filled_quantity), asked=str(order.request.quantity),
                error=report.reason,
            )  # fmt: skip
            self._back_off(order.shares, order.action)
            if not report.filled_quantity:
                self._note_refusal(order, report.reason or outcome)
        else:
            self.refusals.pop(order.request.symbol, None)
            self.backoff.clear(order.request.symbol, [share.key for share in order.shares], order.action)

    async def _learn_price(self, order: InFlightOrder) -> None:
        """The reply to an order has no fill price: ask for it, a few times at most, for the accounts only."""
        request = order.request
        for delay_s in QUERY_DELAYS_S:
            await asyncio.sleep(delay_s)
            try:
                report = await self._connector.fetch_order(request.symbol, request.client_order_id)
            except ConnectorError as error:
                log.debug("order_query_failed", client_order_id=request.client_order_id, error=str(error))
                continue
            if report is not None and report.average_price is not None:
                price = report.average_price
                log.info("order_priced", client_order_id=request.client_order_id, average_price=str(price))
                await self._ledger.record(OrderPriced(request.client_order_id, price))
                return

    async def _abandon(self, order: InFlightOrder, error: ConnectorError) -> None:
        """The order certainly was not executed: free its hedges, to be decided on again after a while."""
        metrics.ORDERS.labels(order.request.symbol, order.action.value, "not_executed").inc()
        log.warning("order_not_executed", client_order_id=order.request.client_order_id, error=str(error))
        self._note_refusal(order, str(error))
        wait_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0
        self._back_off(order.shares, order.action, at_least_s=wait_s)
        await self._ledger.record(OrderAbandoned(order.request.client_order_id, str(error)))
        self._remember(OrderReport(order.request.client_order_id, OrderStatus.REJECTED, Decimal(0)))

    def _remember(self, report: OrderReport) -> None:
        """Keep how orders ended, for a while: a fill that comes after the end is told."""
        self._settled[report.client_order_id] = report.filled_quantity
        while len(self._settled) > SETTLED_MAX:
            del self._settled[next(iter(self._settled))]

    def _note_refusal(self, order: InFlightOrder, reason: str) -> None:
        """Count orders in a row that came to nothing, by symbol; a fill begins anew."""
        count = self.refusals[order.request.symbol].count if order.request.symbol in self.refusals else 0
        self.refusals[order.request.symbol] = Refusals(count + 1, reason, asyncio.get_running_loop().time())

    async def _refuse_size(self, order: InFlightOrder, error: OrderTooLarge) -> None:
        """Too much for the account: what was refused together is tried again in smaller groups, the largest first."""
        request = order.request
        metrics.ORDERS.labels(request.symbol, order.action.value, "too_large").inc()
        log.warning("order_too_large", client_order_id=request.client_order_id, hedges=len(order.shares), error=str(error))
        self._note_refusal(order, str(error))
        self.backoff.refuse_size(request.symbol, [share.key for share in order.shares])
        await self._ledger.record(OrderAbandoned(request.client_order_id, str(error)))

    def _back_off(self, shares: Sequence[Share], action: Action, *, at_least_s: float = 0.0) -> None:
        self.backoff.fail([share.key for share in shares], action, at_least_s=at_least_s)

    async def _reduce(self, draft: OrderDraft) -> None:
        """Hold a close against the account, then send what is there to be closed."""
        try:
            leg_audit = await self._auditor.examine(draft.symbol, draft.hedge_side)
        except ConnectorError as error:
            log.warning("close_delayed", symbol=draft.symbol, error=str(error))
            wait_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0
            self._back_off(draft.shares, draft.action, at_least_s=wait_s)
            return
        shortfall = leg_audit.get_shortfall(draft.hedge_side)
        reduces = leg_audit.check_reduces(draft.hedge_side, draft.quantity)
        # What our own orders may still explain is no shortfall yet, and a close that only reduces can do no harm.
        if shortfall == 0 or (reduces and shortfall <= leg_audit.uncertain):
            await self._place([draft], reduce_only=reduces)
        elif leg_audit.uncertain == 0 and self._auditor.check_confirmed(leg_audit):
            await self._ledger.record_prepared(lambda _: self._write_down(draft, shortfall))
            self._auditor.request()
        else:
            self._back_off(draft.shares, draft.action)

    def _write_down(self, draft: OrderDraft, shortfall: Decimal) -> Sequence[Event]:
        """What another hand has closed already is taken off the hedges, so that it is not sold a second time."""
        events: list[Event] = []
        for share in draft.shares:
            hedge = self._ledger.book.get_hedged_position(share.key)
            part = min(hedge.quantity if hedge is not None else Decimal(0), shortfall)
            if part > 0:
                events.append(HedgeWrittenDown(share.key, part, "closed by another hand"))
                shortfall -= part
        return events


def _repeat_last(delays_s: Sequence[float]) -> Iterable[float]:
    yield from delays_s
    while True:
        yield delays_s[-1]
