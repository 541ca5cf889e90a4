"""What the account may still do: margins in use, margins needed, what is available.

Reads the account, the markets and the open orders, and changes none of them. The rules are the exchange's: cross
positions share the wallet and its unrealized profit, isolated ones have their own; orders reserve what they could add to a
position at worst. The ledger asks before it accepts, ``forced`` asks whom to liquidate, ``payloads`` show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from dehedge.sim.exchange.account import Account
from dehedge.sim.exchange.market import Market
from dehedge.sim.exchange.model import ZERO, Order, Position, get_sign
from dehedge.sim.exchange.orders import Orders
from dehedge.sim.exchange.positions import compute_liquidation_price, compute_unrealized


class Totals(NamedTuple):
    """The account's sums in USDT."""

    wallet: Decimal
    unrealized: Decimal
    position_margin: Decimal
    order_margin: Decimal
    maintenance: Decimal
    cross_wallet: Decimal
    cross_unrealized: Decimal
    available: Decimal


class Exposure(NamedTuple):
    """Notional resting on each side of a symbol, in USDT, without orders that only reduce."""

    bids: Decimal
    asks: Decimal


class Margin:
    """A view of the account's margin, always of now."""

    def __init__(self, account: Account, markets: Mapping[str, Market], orders: Orders) -> None:
        self._account, self._markets, self._orders = account, markets, orders

    def get_mark(self, symbol: str) -> Decimal:
        return self._markets[symbol].mark

    def compute_notional(self, position: Position) -> Decimal:
        return position.amount * self.get_mark(position.symbol)

    def compute_unrealized(self, position: Position) -> Decimal:
        return compute_unrealized(position, self.get_mark(position.symbol))

    def compute_position_margin(self, position: Position) -> Decimal:
        return abs(self.compute_notional(position)) / self._account.get_settings(position.symbol).leverage

    def compute_maintenance(self, position: Position) -> Decimal:
        notional = abs(self.compute_notional(position))
        bracket = self._markets[position.symbol].rules.get_bracket(notional)
        return max(notional * bracket.maintenance_ratio - bracket.deduction, ZERO)

    def compute_exposure(self, symbol: str, extra: Order | None = None) -> Exposure:
        bids = asks = ZERO
        orders = [o for o in self._orders.get_open(symbol) if not o.reduces]
        for order in [*orders, extra] if extra else orders:
            notional = order.remaining * order.ask.price
            bids, asks = (bids + notional, asks) if order.side == "BUY" else (bids, asks + notional)
        return Exposure(bids, asks)

    def compute_worst_notional(self, symbol: str, extra: Order | None = None) -> Decimal:
        """The largest position, in USDT, that the symbol's open orders could lead to."""
        bids, asks = self.compute_exposure(symbol, extra)
        held = {p.leg: self.compute_notional(p) for p in self._account.get_symbol_positions(symbol)}
        if self._account.dual_side:
            return held["LONG"] + bids - held["SHORT"] + asks
        return max(abs(held["BOTH"] + bids), abs(held["BOTH"] - asks), abs(held["BOTH"]))

    def compute_order_margin(self, symbol: str) -> Decimal:
        held = sum((abs(self.compute_notional(p)) for p in self._account.get_symbol_positions(symbol)), ZERO)
        return (self.compute_worst_notional(symbol) - held) / self._account.get_settings(symbol).leverage

    def compute_worst_notional_with(self, order: Order, price: Decimal) -> Decimal:
        """The same with one more order, at an assumed price."""
        return self.compute_worst_notional(order.symbol, replace(order, ask=order.ask._replace(price=price)))

    def compute_needed(self, order: Order, price: Decimal) -> Decimal:
        """What accepting an order at an assumed price would take from the available balance."""
        symbol = order.symbol
        grown = self.compute_worst_notional_with(order, price) - self.compute_worst_notional(symbol)
        loss = (price - self.get_mark(symbol)) * get_sign(order.side) * order.quantity
        return grown / self._account.get_settings(symbol).leverage + max(loss, ZERO) if grown > ZERO else ZERO

    def compute_totals(self) -> Totals:
        opened = self._account.get_open_positions()
        cross = [p for p in opened if not self._account.get_settings(p.symbol).isolated]
        cross_unrealized = sum((self.compute_unrealized(p) for p in cross), ZERO)
        order_margin = sum((self.compute_order_margin(s) for s in self._orders.get_open_symbols()), ZERO)
        cross_margin = sum((self.compute_position_margin(p) for p in cross), ZERO)
        cross_wallet = self._account.cross_wallet
        return Totals(
            wallet=self._account.wallet,
            unrealized=sum((self.compute_unrealized(p) for p in opened), ZERO),
            position_margin=sum((self.compute_position_margin(p) for p in opened), ZERO),
            order_margin=order_margin,
            maintenance=sum((self.compute_maintenance(p) for p in opened), ZERO),
            cross_wallet=cross_wallet,
            cross_unrealized=cross_unrealized,
            available=max(cross_wallet + cross_unrealized - cross_margin - order_margin, ZERO),
        )

    def compute_cross_equity(self) -> Decimal:
        totals = self.compute_totals()
        return totals.cross_wallet + totals.cross_unrealized

    def compute_margin_ratio(self, positions: list[Position], equity: Decimal) -> Decimal:
        """Maintenance over equity of positions that stand together; 1 or more is liquidation."""
        maintenance = sum((self.compute_maintenance(p) for p in positions), ZERO)
        return ZERO if not maintenance else maintenance / equity if equity > ZERO else Decimal(1)

    def compute_liquidation_price(self, position: Position) -> Decimal:
        notional = abs(self.compute_notional(position))
        bracket = self._markets[position.symbol].rules.get_bracket(notional)
        cushion = self._compute_cushion(position) + bracket.deduction
        return compute_liquidation_price(position, cushion, bracket.maintenance_ratio)

    def _compute_cushion(self, position: Position) -> Decimal:
        if self._account.get_settings(position.symbol).isolated:
            return position.isolated_wallet
        others = [
            p
            for p in self._account.get_open_positions()
            if (p.symbol, p.leg) != (position.symbol, position.leg)
            and not self._account.get_settings(p.symbol).isolated
        ]
        rest = sum((self.compute_unrealized(p) - self.compute_maintenance(p) for p in others), ZERO)
        return self._account.cross_wallet + rest
