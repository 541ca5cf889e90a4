"""The exchange's books: one account trading against a synthetic market.

Theory of operation: every public method is one synchronous, deterministic step. It checks (``admission``), plans
(``matching``), books (``account``), and appends what happened to ``events`` in the order in which the exchange would tell
it. No IO, no clock but the injected one, no randomness but the injected one: the same calls give the same books, so a
simulation may replay it. Orders, fills and position points are kept for ever, for judging a client afterwards.

The API (``handlers``) and the controls of ``SimExchange`` call it; ``forced`` adds liquidation, ADL, settlement, funding.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from dehedge.sim.exchange.account import Account
from dehedge.sim.exchange.admission import (
    admit,
    check_limit_price,
    check_margin,
    check_notional,
    check_quantity,
    compute_closable,
)
from dehedge.sim.exchange.margin import Margin
from dehedge.sim.exchange.market import Level, Market
from dehedge.sim.exchange.matching import Plan, plan_execution
from dehedge.sim.exchange.model import (
    EXPIRED_NONE,
    EXPIRED_REDUCE_ONLY,
    ZERO,
    AccountEvent,
    Ask,
    Event,
    Execution,
    Fill,
    Leg,
    LiteEvent,
    Order,
    OrderEvent,
    OrderStatus,
    Position,
    PublicTradeEvent,
    get_sign,
)
from dehedge.sim.exchange.orders import Orders
from dehedge.sim.exchange.positions import book_amount, compute_realized
from dehedge.sim.exchange.refusals import Refused

CLIENT_ID_ALPHABET = string.ascii_letters + string.digits


class PositionPoint(NamedTuple):
    """A position after it changed: the history of what was held."""

    at_ms: int
    symbol: str
    leg: Leg
    amount: Decimal


class Ledger:
    """Orders, fills, positions and wallet, and the events not yet taken."""

    def __init__(
        self, markets: Mapping[str, Market], account: Account, clock_ms: Callable[[], int], rng: random.Random
    ) -> None:
        self.markets, self.account, self.clock_ms, self._rng = markets, account, clock_ms, rng
        self.orders = Orders()
        self.margin = Margin(account, markets, self.orders)
        self.fills: list[Fill] = []
        self.points: list[PositionPoint] = []
        self.events: list[Event] = []
        self._order_id, self._trade_id = 199_033_476_992, 3_181_138_051

    def take_events(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    def build_client_id(self, prefix: str = "") -> str:
        return prefix + "".join(self._rng.choices(CLIENT_ID_ALPHABET, k=max(22 - len(prefix), 10)))

    def place(self, ask: Ask, *, fill_ratio: Decimal | None = None) -> Order:
        """Accept an order and carry it out as far as it goes at once. Raises ``Refused``."""
        ask = ask if ask.client_id else ask._replace(client_id=self.build_client_id())
        quantity = admit(self, ask)
        candidate = Order(0, ask, quantity, 0, 0)
        check_margin(self, candidate)
        plan = plan_execution(self.markets[ask.symbol], ask, quantity, fill_ratio)
        order = self.open_order(ask, quantity)
        return self._arrive(order, plan)

    def open_order(self, ask: Ask, quantity: Decimal, close_kind: str = "") -> Order:
        """Number an order and store it as new."""
        self._order_id += 1
        now_ms = self.clock_ms()
        order = Order(self._order_id, ask, quantity, now_ms, now_ms, close_kind=close_kind)
        self.orders.put(order)
        return order

    def _arrive(self, order: Order, plan: Plan) -> Order:
        """Trade against the book, then rest or expire. Fills are told first in brief, as the exchange does."""
        before = self.take_events()
        arrived = OrderEvent(order, "NEW", None, order.created_ms)
        for level in plan.levels:
            order = self.fill(order, level)
        told = self.take_events()
        brief = [LiteEvent(e.order, e.fill, e.at_ms) for e in told if isinstance(e, OrderEvent) and e.fill]
        self.events = [*before, *brief, arrived, *told]
        if order.is_open and plan.expiry_reason != EXPIRED_NONE:
            order = self.expire(order, plan.expiry_reason)
        self.knock_out_reducing(order.symbol)
        return self.orders.by_id[order.order_id]

    def fill(self, order: Order, level: Level, *, is_maker: bool = False, execution: Execution = "TRADE") -> Order:
        """Trade a part of an open order and book it."""
        fill = self._build_fill(order, level, is_maker=is_maker)
        position = self.account.apply_fill(fill)
        self.fills.append(fill)
        self.markets[fill.symbol].last = fill.price
        self._note_position(position)
        order = self._advance(order, fill)
        self.events.append(self.build_account_event("ORDER", position))
        self.events.append(OrderEvent(order, execution, fill, fill.at_ms))
        buyer_is_maker = (order.side == "BUY") == is_maker
        self.events.append(PublicTradeEvent(fill.symbol, fill.price, fill.quantity, buyer_is_maker, fill.at_ms))
        return order

    def _build_fill(self, order: Order, level: Level, *, is_maker: bool) -> Fill:
        self._trade_id += 1
        rate = self.account.maker_rate if is_maker else self.account.taker_rate
        position = self.account.get_position(order.symbol, order.leg)
        return Fill(
            trade_id=self._trade_id,
            order_id=order.order_id,
            client_id=order.client_id,
            symbol=order.symbol,
            side=order.side,
            leg=order.leg,
            price=level.price,
            quantity=level.quantity,
            realized=compute_realized(position, level.quantity * get_sign(order.side), level.price),
            commission=book_amount(level.price * level.quantity * rate),
            is_maker=is_maker,
            at_ms=self.clock_ms(),
        )

    def _advance(self, order: Order, fill: Fill) -> Order:
        executed = order.executed + fill.quantity
        status: OrderStatus = "FILLED" if executed == order.quantity else "PARTIALLY_FILLED"
        order = replace(order, executed=executed, quote=order.quote + fill.quote, status=status, updated_ms=fill.at_ms)
        self.orders.put(order)
        return order

    def _note_position(self, position: Position) -> None:
        self.points.append(PositionPoint(self.clock_ms(), position.symbol, position.leg, position.amount))

    def build_account_event(self, reason: str, *positions: Position, balance_change: Decimal = ZERO) -> AccountEvent:
        account = self.account
        return AccountEvent(reason, account.wallet, account.cross_wallet, balance_change, positions, self.clock_ms())

    def expire(self, order: Order, reason: int) -> Order:
        return self._end(replace(order, status="EXPIRED", expiry_reason=reason), "EXPIRED")

    def cancel(self, order: Order) -> Order:
        """Cancel an open order. Raises ``Refused`` when it is no longer open."""
        if not order.is_open:
            raise Refused(-2011)
        return self._end(replace(order, status="CANCELED"), "CANCELED")

    def _end(self, order: Order, execution: Execution) -> Order:
        order = replace(order, updated_ms=self.clock_ms())
        self.orders.put(order)
        self.events.append(OrderEvent(order, execution, None, order.updated_ms))
        return order

    def amend(self, order: Order, quantity: Decimal, price: Decimal) -> Order:
        """Change a resting limit order; it may trade at its new price. Raises ``Refused``."""
        market = self.markets[order.symbol]
        ask = order.ask._replace(quantity=quantity, price=price)
        check_quantity(market.rules, ask)
        check_limit_price(market, order.side, price)
        check_notional(market, ask)
        if (quantity, price) == (order.quantity, order.ask.price):
            raise Refused(-5027)
        if quantity <= order.executed:
            return self.cancel(order)
        if order.ask.time_in_force == "GTX" and market.check_crosses(order.side, price):
            return self.cancel(order)
        return self._amend(order, quantity, price)

    def _amend(self, order: Order, quantity: Decimal, price: Decimal) -> Order:
        loses_place = quantity > order.quantity or price != order.ask.price
        ask = order.ask._replace(price=price, quantity=quantity)
        order = replace(order, ask=ask, quantity=quantity, updated_ms=self.clock_ms())
        (self.orders.requeue if loses_place else self.orders.put)(order)
        self.events.append(OrderEvent(order, "AMENDMENT", None, order.updated_ms))
        for level in self.markets[order.symbol].take(order.side, order.remaining, price):
            order = self.fill(order, level)
        self.knock_out_reducing(order.symbol)
        return self.orders.by_id[order.order_id]

    def set_mark(self, symbol: str, mark: Decimal) -> None:
        """Move the mark; resting orders that the book now crosses are filled at their own price."""
        self.markets[symbol].set_mark(mark)
        self.sweep(symbol)

    def set_book(self, symbol: str, bids: tuple[Level, ...], asks: tuple[Level, ...]) -> None:
        self.markets[symbol].set_book(bids, asks)
        self.sweep(symbol)

    def sweep(self, symbol: str) -> None:
        """Fill the resting orders that the market has reached, oldest first."""
        market = self.markets[symbol]
        for order_id in [o.order_id for o in self.orders.get_open(symbol)]:
            order = self.orders.by_id[order_id]
            if order.is_open and market.check_crosses(order.side, order.ask.price):
                self.fill(order, Level(order.ask.price, order.remaining), is_maker=True)
                self.knock_out_reducing(symbol)

    def knock_out_reducing(self, symbol: str) -> None:
        """Expire the reducing orders that no longer fit what is left to close; the oldest keep their claim."""
        left: dict[tuple[str, Leg], Decimal] = {}
        for order in [o for o in self.orders.get_open(symbol) if o.reduces]:
            key = (order.side, order.leg)
            closable = compute_closable(self.account.get_position(symbol, order.leg), order.side)
            left[key] = left.get(key, closable) - order.remaining
            if left[key] < ZERO:
                left[key] += order.remaining
                self.expire(order, EXPIRED_REDUCE_ONLY)
