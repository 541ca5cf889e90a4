"""What became of orders: the facts recorded, the hedges freed or left alone for a while, the refusals counted.

The executor and the resolver both end here, whichever learns first; a report that says nothing new changes nothing. A fill
that comes after an order was given up is told loudly: it belongs to no hedge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import structlog

from dehedge import metrics
from dehedge.backoff import Backoff
from dehedge.core.batching import OrderDraft
from dehedge.core.book import HedgeBook, HedgeStatus, InFlightOrder
from dehedge.core.events import Event, ForeignPositionSeen, HedgeWrittenDown, OrderAbandoned
from dehedge.core.model import Leg
from dehedge.core.orders import Action, ClientOrderId, OrderReport, OrderStatus, Share, apply_report
from dehedge.errors import ConnectorError, OrderTooLarge, RateLimited
from dehedge.ledger import Ledger

log = structlog.get_logger()

REFUSAL_REMEMBERED_S = 60.0
"""Orders that came to nothing are told for so long after the last of them."""
SETTLED_REMEMBERED_S = 3_600.0
"""What an order is told of later than this after its end is seen by the audit alone."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """Orders in a row in one symbol that came to nothing, and what was said of the last (at loop time)."""

    count: int
    reason: str
    last_at: float


class Settled(NamedTuple):
    """How much an order had filled at its end, and when that was (at loop time)."""

    filled_quantity: Decimal
    at: float


class Settlement:
    """Ends orders."""

    def __init__(self, ledger: Ledger) -> None:
        self.backoff = Backoff()
        self.refusals: dict[str, Refusals] = {}
        self._ledger = ledger
        self._settled: dict[str, Settled] = {}
        self._collected: dict[ClientOrderId, OrderReport | None] = {}

    async def settle(self, order: InFlightOrder, report: OrderReport) -> bool:
        """Record what is known now; True when that just became final."""
        is_news = await self._ledger.record_report(report)
        if not (is_news and report.status.is_terminal):
            return False
        self._remember(report)
        outcome = report.status.value.lower()
        metrics.ORDERS.labels(order.request.symbol, order.action.value, outcome).inc()
        if report.filled_quantity < order.request.quantity:
            self._note_unfilled(order, report, outcome)
        else:
            self.refusals.pop(order.request.symbol, None)
            self.backoff.clear(order.request.symbol, [share.key for share in order.shares], order.action)
        return True

    def collect(self, report: OrderReport) -> bool:
        """Keep what the stream tells of an order in flight; True when somebody must begin to take and settle it.

        A large order has hundreds of fills: while one report is being recorded the others become one, because every write
        keeps the next order waiting.
        """
        name = report.client_order_id
        is_first = name not in self._collected
        self._collected[name] = apply_report(self._collected.get(name), report)
        return is_first

    def take_collected(self, order: InFlightOrder) -> OrderReport | None:
        """What was told since the last call; None ends the collection."""
        report = self._collected.pop(order.request.client_order_id)
        if report is not None:
            self._collected[report.client_order_id] = None
        return report

    async def refuse(self, order: InFlightOrder, reason: str) -> None:
        """The exchange definitively refused the order."""
        refused = OrderReport(order.request.client_order_id, OrderStatus.REJECTED, Decimal(0), reason=reason)
        await self.settle(order, refused)

    async def refuse_size(self, order: InFlightOrder, error: OrderTooLarge) -> None:
        """Too much for the account: what was refused together is tried again in smaller groups, the largest first."""
        request = order.request
        if request.client_order_id not in self._ledger.book.in_flight:
            return  # The stream has told of its end already.
        log.warning(
            "order_too_large", client_order_id=request.client_order_id, hedges=len(order.shares), error=str(error)
        )
        self._count(order, str(error), "too_large")
        self.backoff.refuse_size(request.symbol, [share.key for share in order.shares])
        await self._ledger.record(OrderAbandoned(request.client_order_id, str(error)))

    async def abandon(self, order: InFlightOrder, error: ConnectorError) -> None:
        """The order certainly was not executed: free its hedges, to be decided on again after a while."""
        client_order_id = order.request.client_order_id
        if client_order_id not in self._ledger.book.in_flight:
            return  # The stream has told of its end already.
        log.warning("order_not_executed", client_order_id=client_order_id, error=str(error))
        self._count(order, str(error), "not_executed")
        self.back_off(order.shares, order.action, error)
        await self._ledger.record(OrderAbandoned(client_order_id, str(error)))
        if client_order_id not in self._settled:  # Or else the stream has told of its end meanwhile.
            self._remember(OrderReport(client_order_id, OrderStatus.REJECTED, Decimal(0)))

    def back_off(self, shares: Sequence[Share], action: Action, error: ConnectorError | None = None) -> None:
        """Leave hedges alone for a while, at least as long as the exchange asks for."""
        wait_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0
        self.backoff.fail([share.key for share in shares], action, at_least_s=wait_s)

    def get_late_fill(self, report: OrderReport) -> Decimal:
        """What a report tells beyond the end of its order, once; 0 for what is not news or not known."""
        settled = self._settled.get(report.client_order_id)
        late = report.filled_quantity - settled.filled_quantity if settled is not None else Decimal(0)
        if late > 0:
            log.error("order_executed_after_all", client_order_id=report.client_order_id, late=str(late))
            self._remember(report)
        return max(late, Decimal(0))

    def _note_unfilled(self, order: InFlightOrder, report: OrderReport, outcome: str) -> None:
        log.warning(
            "order_not_filled", client_order_id=report.client_order_id, symbol=order.request.symbol, outcome=outcome,
            filled=str(report.filled_quantity), asked=str(order.request.quantity), error=report.reason,
        )  # fmt: skip
        self.back_off(order.shares, order.action)
        if not report.filled_quantity:
            self._note_refusal(order, report.reason or outcome)

    def _count(self, order: InFlightOrder, reason: str, outcome: str) -> None:
        metrics.ORDERS.labels(order.request.symbol, order.action.value, outcome).inc()
        self._note_refusal(order, reason)

    def _note_refusal(self, order: InFlightOrder, reason: str) -> None:
        """Count orders in a row that came to nothing, by symbol; a fill begins anew."""
        symbol = order.request.symbol
        count = self.refusals[symbol].count if symbol in self.refusals else 0
        self.refusals[symbol] = Refusals(count + 1, reason, asyncio.get_running_loop().time())

    def _remember(self, report: OrderReport) -> None:
        """Keep how orders ended, for a while: the newest last."""
        now = asyncio.get_running_loop().time()
        self._settled.pop(report.client_order_id, None)
        self._settled[report.client_order_id] = Settled(report.filled_quantity, now)
        while self._settled and next(iter(self._settled.values())).at < now - SETTLED_REMEMBERED_S:
            del self._settled[next(iter(self._settled))]


def build_leavings(book: HedgeBook, draft: OrderDraft, leg: Leg) -> Sequence[Event]:
    """What no order can take, because opposite hedges outweigh it and it is below the exchange's minimum.

    It becomes a part of what the account holds beside our hedges, so that it stands in the way of nothing.
    """
    key = (draft.symbol, leg)
    hedges = [book.get_hedged_position(each) for each in draft.keys]
    left = [hedge for hedge in hedges if hedge is not None and hedge.status is HedgeStatus.OPEN]
    total = book.foreign.get(key, Decimal(0)) + sum(hedge.signed_quantity for hedge in left)
    gone: list[Event] = [HedgeWrittenDown(hedge.key, hedge.quantity, "too small to be closed") for hedge in left]
    return [*gone, ForeignPositionSeen(*key, total)] if gone else []


def build_write_downs(book: HedgeBook, shares: Sequence[Share], shortfall: Decimal) -> Sequence[Event]:
    """What another hand has closed already is taken off the hedges, so that it is not sold a second time."""
    events: list[Event] = []
    for share in shares:
        hedge = book.get_hedged_position(share.key)
        part = min(hedge.quantity if hedge is not None else Decimal(0), shortfall)
        if part > 0:
            events.append(HedgeWrittenDown(share.key, part, "closed by another hand"))
            shortfall -= part
    return events
