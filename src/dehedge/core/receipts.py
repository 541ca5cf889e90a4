"""Which filled orders have no receipt yet, and which funding is journaled already, folded from the journaled facts.

Remembers, and decides nothing: the bookkeeper asks the exchange for what is missing. Reads no clock, so a restart knows the
same. Bounded: what is old or too much is let go, for it is wanted by the accounts alone. Kept by the ledger live, and by
``recovery.replay`` at start.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from dehedge.core.costs import FundingPaid, OrderPriced
from dehedge.core.events import Event, HedgesForced, OrderAbandoned, OrderIntended, OrderReported
from dehedge.core.orders import ClientOrderId, OrderReport, apply_report

UNPRICED_MAX = 10_000
OVERLAP_S = 3600.0
"""The exchange may book funding this much later than it says."""

FORCED = ClientOrderId("")


@dataclass(frozen=True, slots=True)
class Unpriced:
    """An order with fills of which no trades are journaled; ``since`` is a time before its first one.

    One of the exchange's own has no client order id here.
    """

    client_order_id: ClientOrderId
    venue_order_id: str
    symbol: str
    quantity: Decimal
    since: float


class Receipts:
    """What the bookkeeper has to ask for, and what it need not."""

    def __init__(self) -> None:
        self.unpriced: dict[str, Unpriced] = {}
        self.first_at: float | None = None
        """When the first order of the journal was intended."""
        self.funding_until = 0.0
        self._intents: dict[ClientOrderId, OrderIntended] = {}
        self._reports: dict[ClientOrderId, OrderReport] = {}
        self._fundings: dict[tuple[str, str], float] = {}

    def note(self, at: float, event: Event) -> None:
        """Count a fact that was journaled at that time."""
        match event:
            case OrderIntended():
                self._intents[event.request.client_order_id] = event
                self.first_at = event.intended_at if self.first_at is None else self.first_at
            case OrderReported():
                self._note_report(event.report)
            case OrderAbandoned():
                self._note_end(event.client_order_id)
            case HedgesForced():
                self._add(Unpriced(FORCED, event.venue_order_id, event.symbol, event.filled_quantity, at))
            case OrderPriced():
                self._note_priced(event)
            case FundingPaid():
                self._note_funding(event)

    def check_new(self, funding: FundingPaid) -> bool:
        """True for a booking that is not journaled; one from before the overlap counts as old."""
        is_old = funding.paid_at < self.funding_until - OVERLAP_S
        return not is_old and (funding.symbol, funding.venue_id) not in self._fundings

    def give_up(self, venue_order_id: str) -> None:
        """The exchange tells nothing of it any more."""
        self.unpriced.pop(venue_order_id, None)

    def _note_report(self, report: OrderReport) -> None:
        name = report.client_order_id
        if name not in self._intents:
            return  # A late or repeated report of an order that is settled.
        self._reports[name] = apply_report(self._reports.get(name), report)
        if self._reports[name].status.is_terminal:
            self._note_end(name)

    def _note_end(self, name: ClientOrderId) -> None:
        intent, report = self._intents.pop(name, None), self._reports.pop(name, None)
        if intent is not None and report is not None and report.filled_quantity and report.venue_order_id:
            symbol = intent.request.symbol
            self._add(Unpriced(name, report.venue_order_id, symbol, report.filled_quantity, intent.intended_at))

    def _add(self, order: Unpriced) -> None:
        known = self.unpriced.get(order.venue_order_id)
        if known is None or known.quantity < order.quantity:
            self.unpriced[order.venue_order_id] = order
        while len(self.unpriced) > UNPRICED_MAX:
            del self.unpriced[next(iter(self.unpriced))]

    def _note_priced(self, event: OrderPriced) -> None:
        order = self.unpriced.get(event.venue_order_id)
        if order is not None and event.quantity is not None and event.quantity >= order.quantity:
            del self.unpriced[event.venue_order_id]

    def _note_funding(self, event: FundingPaid) -> None:
        self.funding_until = max(self.funding_until, event.paid_at)
        self._fundings[event.symbol, event.venue_id] = event.paid_at
        oldest = self.funding_until - OVERLAP_S
        self._fundings = {key: paid_at for key, paid_at in self._fundings.items() if paid_at >= oldest}
