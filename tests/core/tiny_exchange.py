"""The smallest exchange that can hold a book to account: it fills what it is told to fill, and keeps the legs.

Knows nothing of hedges. A reducing order (reduce-only, or against the leg in hedge mode) never takes more than is there.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

from dehedge.core.audit import LegKey
from dehedge.core.model import Leg, Side
from dehedge.core.orders import ClientOrderId, OrderReport, OrderRequest, OrderStatus


@dataclass
class TinyOrder:
    """One order and everything that was ever said of it; any of that may arrive at any time."""

    request: OrderRequest
    status: OrderStatus = OrderStatus.NEW
    filled: Decimal = Decimal(0)
    said: list[OrderReport] = field(default_factory=list)

    @property
    def left(self) -> Decimal:
        return self.request.quantity - self.filled

    def say(self, status: OrderStatus) -> None:
        self.status = status
        self.said.append(OrderReport(self.request.client_order_id, status, self.filled, venue_order_id="77"))


class TinyExchange:
    """Legs (signed quantities) and orders by client id."""

    def __init__(self) -> None:
        self.legs: defaultdict[LegKey, Decimal] = defaultdict(Decimal)
        self.orders: dict[ClientOrderId, TinyOrder] = {}

    def accept(self, request: OrderRequest) -> TinyOrder:
        assert request.client_order_id not in self.orders, "an id was used twice"
        order = self.orders[request.client_order_id] = TinyOrder(request)
        order.say(OrderStatus.NEW)
        return order

    def get_live(self) -> list[TinyOrder]:
        return [order for order in self.orders.values() if not order.status.is_terminal]

    def get_filled(self, name: ClientOrderId) -> Decimal:
        return self.orders[name].filled if name in self.orders else Decimal(0)

    def fill(self, order: TinyOrder, quantity: Decimal) -> None:
        """Fill so much, or as much as may be: then the order ends."""
        request = order.request
        part = min(quantity, order.left, self._get_room(request))
        self.legs[(request.symbol, request.leg)] += part * request.side.sign
        order.filled += part
        if order.left == 0:
            order.say(OrderStatus.FILLED)
        elif part < quantity:
            order.say(OrderStatus.EXPIRED)
        else:
            order.say(OrderStatus.PARTIALLY_FILLED)

    def _get_room(self, request: OrderRequest) -> Decimal:
        opens = Side.BUY if request.leg is Leg.LONG else Side.SELL
        if not request.reduce_only and (request.leg is Leg.BOTH or request.side is opens):
            return request.quantity
        held = self.legs[(request.symbol, request.leg)]
        return max(-held * request.side.sign, Decimal(0))
