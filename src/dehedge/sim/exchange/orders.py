"""The order book-keeping: every order ever accepted, and the look-ups that the exchange offers on it.

Owns the uniqueness rule that surprises clients: a client order id is taken only while its order is open, so a filled
market order frees its id at once. Pure storage; the ledger decides what becomes of an order and puts the result here.
"""

from __future__ import annotations

from collections.abc import Iterable

from dehedge.sim.exchange.model import Order

DAY_MS = 86_400_000
UNFILLED_KEPT_MS = 3 * DAY_MS
ALL_KEPT_MS = 90 * DAY_MS


class Orders:
    """Orders by id, by client id, and the open ones in order of arrival."""

    def __init__(self) -> None:
        self.by_id: dict[int, Order] = {}
        self._open: dict[str, dict[int, Order]] = {}
        self._latest: dict[tuple[str, str], int] = {}
        self._hidden_until_ms: dict[int, int] = {}

    def put(self, order: Order) -> None:
        """Store an order's newest state; the newest order with a client id answers for that id."""
        if order.order_id not in self.by_id:
            self._latest[(order.symbol, order.client_id)] = order.order_id
        self.by_id[order.order_id] = order
        book = self._open.setdefault(order.symbol, {})
        if order.is_open:
            book[order.order_id] = order
        else:
            book.pop(order.order_id, None)

    def requeue(self, order: Order) -> None:
        """Put an open order behind the others of its symbol."""
        self._open[order.symbol].pop(order.order_id, None)
        self.put(order)

    def hide(self, order_id: int, until_ms: int) -> None:
        """Keep an order out of every query until then, as a lagging read replica does."""
        self._hidden_until_ms[order_id] = until_ms

    def get_open(self, symbol: str | None = None) -> list[Order]:
        books: Iterable[dict[int, Order]] = self._open.values() if symbol is None else [self._open.get(symbol, {})]
        return [order for book in books for order in book.values()]

    def get_open_symbols(self) -> list[str]:
        return [symbol for symbol, book in self._open.items() if book]

    def check_client_id_taken(self, symbol: str, client_id: str) -> bool:
        latest = self.by_id.get(self._latest.get((symbol, client_id), 0))
        return latest is not None and latest.is_open

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
        """Look an order up; with both ids given, the order id wins."""
        if order_id is None:
            order_id = self._latest.get((symbol, client_id or ""), 0)
        order = self.by_id.get(order_id)
        return order if order is not None and order.symbol == symbol else None

    def check_visible(self, order: Order, now_ms: int) -> bool:
        """Whether queries show it: not hidden, and not yet forgotten."""
        if now_ms < self._hidden_until_ms.get(order.order_id, 0):
            return False
        if order.is_open:
            return True
        age_ms = now_ms - order.updated_ms
        return age_ms <= (ALL_KEPT_MS if order.executed else UNFILLED_KEPT_MS)

    def get_visible(self, symbol: str | None, now_ms: int) -> list[Order]:
        return [
            order
            for order in self.by_id.values()
            if symbol in (None, order.symbol) and self.check_visible(order, now_ms)
        ]
