"""Whether an order is let in, checked as the exchange checks it.

Every rule raises ``Refused`` with the exchange's code; nothing here changes anything. The order of the checks is the
order in which a client sees them: permission and status, position mode, filters, reduce-only, notional, ids, leverage,
margin. The ledger calls ``admit`` once for each new order and ``check_limit_price`` for a modified one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

from dehedge.sim.exchange.account import Account
from dehedge.sim.exchange.margin import Margin
from dehedge.sim.exchange.market import Market
from dehedge.sim.exchange.model import ZERO, Ask, Order, Position, Side, check_closes_leg, get_sign
from dehedge.sim.exchange.orders import Orders
from dehedge.sim.exchange.refusals import Refused
from dehedge.sim.exchange.symbols import SymbolRules

CLIENT_ID = re.compile(r"[\.A-Z\:/a-z0-9_-]{1,36}")
CLOSED_STATUSES = ("CLOSE", "BREAK", "SETTLING")


class Books(Protocol):
    """What admission reads of the ledger."""

    account: Account
    markets: Mapping[str, Market]
    orders: Orders
    margin: Margin


def admit(books: Books, ask: Ask) -> Decimal:
    """Check an order and give the quantity that is accepted, which reduce-only may have capped."""
    market = books.markets[ask.symbol]
    check_permission(books.account, market, ask)
    check_mode(books.account, ask)
    check_quantity(market.rules, ask)
    if ask.order_type == "LIMIT":
        check_limit_price(market, ask.side, ask.price)
    quantity = cap_quantity(books, ask)
    check_notional(market, ask)
    check_client_id(books.orders, ask)
    if len(books.orders.get_open(ask.symbol)) >= market.rules.orders_max:
        raise Refused(-2025)
    return quantity


def check_reduces(ask: Ask) -> bool:
    return ask.reduce_only or check_closes_leg(ask.side, ask.leg)


def check_permission(account: Account, market: Market, ask: Ask) -> None:
    if account.permission == "NONE":
        raise Refused(-4088)
    if account.permission == "REDUCE_ONLY" and not check_reduces(ask):
        raise Refused(-4087)
    if market.status in CLOSED_STATUSES:
        raise Refused(-4141)
    if market.status != "TRADING" and not check_reduces(ask):
        raise Refused(-4140)


def check_mode(account: Account, ask: Ask) -> None:
    if ask.leg not in account.legs:
        raise Refused(-4061)
    if account.dual_side and ask.reduce_only:
        raise Refused(-1106, "reduceonly")


def check_quantity(rules: SymbolRules, ask: Ask) -> None:
    check_precision(ask.quantity, rules.quantity_precision)
    if ask.quantity <= ZERO:
        raise Refused(-4003)
    if ask.quantity < rules.quantity_min:
        raise Refused(-4004)
    if ask.quantity > (rules.market_quantity_max if ask.order_type == "MARKET" else rules.quantity_max):
        raise Refused(-4005)
    if ask.quantity % rules.step:
        raise Refused(-4023)


def check_precision(number: Decimal, digits: int) -> None:
    """Refuse more decimals than the symbol has; trailing zeros do not count."""
    exponent = number.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > digits:
        raise Refused(-1111)


def check_limit_price(market: Market, side: Side, price: Decimal) -> None:
    rules = market.rules
    check_precision(price, rules.price_precision)
    if price <= ZERO:
        raise Refused(-4001)
    if price < rules.price_min:
        raise Refused(-4013)
    if price > rules.price_max:
        raise Refused(-4002)
    if price % rules.tick:
        raise Refused(-4014)
    check_percent_price(market, side, price)


def check_percent_price(market: Market, side: Side, price: Decimal) -> None:
    """Buyers may not pay far more than the mark, sellers not ask far less."""
    cap = market.rules.round_price(market.mark * market.rules.percent_up, up=False)
    floor = market.rules.round_price(market.mark * market.rules.percent_down, up=True)
    if side == "BUY" and price > cap:
        raise Refused(-4016, cap)
    if side == "SELL" and price < floor:
        raise Refused(-4024, floor)


def compute_closable(position: Position, side: Side) -> Decimal:
    """How much of a position an order of this side could close."""
    return max(-position.amount * get_sign(side), ZERO)


def compute_reserved(orders: list[Order], ask: Ask) -> Decimal:
    """What other reducing orders of the same side already claim of the position."""
    same = (o for o in orders if o.reduces and (o.side, o.leg) == (ask.side, ask.leg))
    return sum((o.remaining for o in same), ZERO)


def cap_quantity(books: Books, ask: Ask) -> Decimal:
    """One-way reduce-only is capped at what is left to close; a hedge-mode close must fit whole."""
    if not check_reduces(ask):
        return ask.quantity
    position = books.account.get_position(ask.symbol, ask.leg)
    left = compute_closable(position, ask.side) - compute_reserved(books.orders.get_open(ask.symbol), ask)
    if left <= ZERO or (ask.leg != "BOTH" and ask.quantity > left):
        raise Refused(-2022)
    return min(ask.quantity, left)


def check_notional(market: Market, ask: Ask) -> None:
    """The minimum is measured at the mark price for market orders, and does not bind what only reduces."""
    price = ask.price if ask.order_type == "LIMIT" else market.mark
    if not check_reduces(ask) and ask.quantity * price < market.rules.notional_min:
        raise Refused(-4164, market.rules.notional_min)


def check_client_id(orders: Orders, ask: Ask) -> None:
    if not CLIENT_ID.fullmatch(ask.client_id):
        raise Refused(-4015)
    if orders.check_client_id_taken(ask.symbol, ask.client_id):
        raise Refused(-4116)


def check_margin(books: Books, order: Order) -> None:
    """Refuse what the tier at the chosen leverage, or the available balance, does not carry."""
    if order.reduces:
        return
    market = books.markets[order.symbol]
    price = order.ask.price or market.slip(order.side, market.get_levels(order.side, 1)[0].price)
    needed = books.margin.compute_needed(order, price)
    if needed <= ZERO:
        return
    leverage = books.account.get_settings(order.symbol).leverage
    if books.margin.compute_worst_notional_with(order, price) > market.rules.get_notional_max(leverage):
        raise Refused(-2027)
    if needed > books.margin.compute_totals().available:
        raise Refused(-2019)
