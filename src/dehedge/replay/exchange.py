"""The exchange of a replay: one account in one-way mode, filling market orders at the path's price.

An order fills whole, beyond half the spread, at the average of a book that is as deep at every price: a notional N moves
the price by N / depth and pays half of that. What grows the account needs its initial margin and its fee in what is
free. On isolated margin each symbol's holding stands on its own: once its initial margin and its profit are no more than the maintenance
share of its notional, it is taken at the price of then, with the costs of an order. On cross margin the same is
said of the whole account and all that it holds. What is lacking after that is owed. Checks and netting are those of the paper
account. Driven by the engine, in the order of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from dehedge.connectors.paper import LOW_NOTIONAL, cap_quantity, check_quantity
from dehedge.core.audit import LegKey
from dehedge.core.guards import AccountReading, Liquidation
from dehedge.core.model import Leg, Side, TradingRules
from dehedge.core.netting import Holding, apply_fill
from dehedge.core.orders import OrderRequest
from dehedge.errors import OrderRejected, OrderTooLarge, VenueUnavailable
from dehedge.replay.model import Costs
from dehedge.replay.path import SECOND_US

BPS = Decimal(10_000)
CENT = Decimal("1E-8")
"""Prices and amounts of money are rounded to this, so that sums are exact."""
ZERO = Decimal(0)
TOO_LARGE = -2019


def _build_rules(symbol: str, quantity_max: str, notional_min: str, tick: str) -> TradingRules:
    step = Decimal("0.001")
    return TradingRules(symbol, step, step, Decimal(quantity_max), Decimal(notional_min), Decimal(tick))


RULES = {
    "BTCUSDT": _build_rules("BTCUSDT", "120", "50", "0.1"),
    "ETHUSDT": _build_rules("ETHUSDT", "2000", "20", "0.01"),
}

Marks = Mapping[str, Decimal]


class Fill(NamedTuple):
    """An executed order. ``mid`` is the path's price; money in USD."""

    at_us: int
    symbol: str
    quantity: Decimal
    price: Decimal
    mid: Decimal
    fee: Decimal


class Payment(NamedTuple):
    """Funding that was received, or paid if negative."""

    at_us: int
    amount: Decimal


class Stake(NamedTuple):
    """Holdings that are liquidated together."""

    base: Decimal
    symbols: Sequence[str]


@dataclass
class Exchange:
    """The hedge account and what became of it."""

    costs: Costs
    balance: Decimal = ZERO
    holdings: dict[str, Holding] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    liquidations: int = 0
    margin_peak: Decimal = ZERO

    def __post_init__(self) -> None:
        self.balance = self.costs.margin_usd

    def execute(self, request: OrderRequest, rules: TradingRules, marks: Marks, at_us: int) -> Fill:
        """Fill at this time. Raises ``VenueUnavailable``, ``OrderTooLarge`` or ``OrderRejected`` where nothing was."""
        self._check_open(at_us)
        check_quantity(request, rules)
        holding = self.holdings.get(request.symbol, Holding())
        quantity = cap_quantity(request, holding)
        fill = self._price(request.symbol, quantity * request.side.sign, marks[request.symbol], at_us)
        if not request.reduce_only and quantity * fill.price < rules.notional_min:
            raise OrderRejected(f"the notional is below {rules.notional_min}", code=LOW_NOTIONAL)
        self._check_margin(fill, holding, marks)
        self._book(fill)
        self.margin_peak = max(self.margin_peak, self.get_margin(marks))
        return fill

    def _check_open(self, at_us: int) -> None:
        """Also an order that was on its way when the outage began is lost."""
        sent_us = at_us - round(self.costs.exchange_latency_s * SECOND_US)
        for since_s, until_s in self.costs.outages:
            if sent_us < until_s * SECOND_US and at_us >= since_s * SECOND_US:
                raise VenueUnavailable("the exchange is out of order")

    def _price(self, symbol: str, quantity: Decimal, mid: Decimal, at_us: int) -> Fill:
        slip_bps = self.costs.half_spread_bps
        if self.costs.depth_usd:
            slip_bps += abs(quantity) * mid / self.costs.depth_usd / 2
        price = mid + mid * slip_bps / BPS * (1 if quantity > 0 else -1)
        price = max(price, ZERO).quantize(CENT)
        fee = (abs(quantity) * price * self.costs.taker_fee).quantize(CENT)
        return Fill(at_us, symbol, quantity, price, mid, fee)

    def _check_margin(self, fill: Fill, holding: Holding, marks: Marks) -> None:
        added = abs(holding.quantity + fill.quantity) - abs(holding.quantity)
        if added <= 0:
            return
        needed = added * fill.price / self.costs.leverage + fill.fee
        if needed > self.get_free(marks):
            raise OrderTooLarge("margin is insufficient", code=TOO_LARGE)

    def _book(self, fill: Fill) -> None:
        holding, profit = apply_fill(self.holdings.get(fill.symbol, Holding()), fill.quantity, fill.price)
        self.balance += profit - fill.fee
        self.fills.append(fill)
        if holding.quantity:
            self.holdings[fill.symbol] = holding
        else:
            self.holdings.pop(fill.symbol, None)

    def pay_funding(self, symbol: str, rate: Decimal, mid: Decimal, at_us: int) -> None:
        """A long pays the rate of its notional, a short receives it."""
        holding = self.holdings.get(symbol)
        if holding is not None:
            amount = (-holding.quantity * mid * rate).quantize(CENT)
            self.balance += amount
            self.payments.append(Payment(at_us, amount))

    def get_equity(self, marks: Marks) -> Decimal:
        gains = (each.quantity * (marks[symbol] - each.entry_price) for symbol, each in self.holdings.items())
        return self.balance + sum(gains, ZERO)

    def get_notional(self, marks: Marks) -> Decimal:
        return sum((abs(each.quantity) * marks[symbol] for symbol, each in self.holdings.items()), ZERO)

    def get_margin(self, marks: Marks) -> Decimal:
        """The initial margin in use."""
        if self.costs.is_isolated:
            return sum(map(self._get_own_margin, self.holdings.values()), ZERO)
        return self.get_notional(marks) / self.costs.leverage

    def _get_own_margin(self, holding: Holding) -> Decimal:
        """What was put aside for it as it grew, less what came back as it shrank."""
        return abs(holding.quantity) * holding.entry_price / self.costs.leverage

    def get_free(self, marks: Marks) -> Decimal:
        """A profit that is not realized is free on cross margin alone."""
        return (self.balance if self.costs.is_isolated else self.get_equity(marks)) - self.get_margin(marks)

    def list_stakes(self) -> list[Stake]:
        """What is liquidated together, each with what stands for it; worth ``base`` + quantities * prices."""
        costs = {symbol: each.quantity * each.entry_price for symbol, each in sorted(self.holdings.items())}
        if not self.costs.is_isolated:
            return [Stake(self.balance - sum(costs.values()), tuple(costs))] if costs else []
        return [Stake(self._get_own_margin(self.holdings[symbol]) - cost, (symbol,)) for symbol, cost in costs.items()]

    def liquidate(self, marks: Marks, at_us: int) -> Sequence[Fill]:
        """What is taken because too little stands for it."""
        lost = [stake for stake in self.list_stakes() if self._get_spare(stake, marks) <= 0]
        self.liquidations += len(lost)
        taken = [
            self._price(symbol, -self.holdings[symbol].quantity, marks[symbol], at_us)
            for stake in lost for symbol in stake.symbols
        ]  # fmt: skip
        for fill in taken:
            self._book(fill)
        return taken

    def _get_spare(self, stake: Stake, marks: Marks) -> Decimal:
        """What it is worth beyond the maintenance margin."""
        held = [(self.holdings[symbol].quantity, marks[symbol]) for symbol in stake.symbols]
        return stake.base + sum((quantity - abs(quantity) * self.costs.maintenance) * mark for quantity, mark in held)

    def read_account(self, marks: Marks, at_s: float, settled_until_s: float) -> AccountReading:
        """As the guards want it."""
        available = {"USDT": max(self.get_free(marks), ZERO)}
        return AccountReading(at_s, settled_until_s, available, dict(self._list_liquidations(marks)))

    def _list_liquidations(self, marks: Marks) -> Iterator[tuple[LegKey, Liquidation]]:
        """At which price of each symbol alone it would be liquidated."""
        for stake in self.list_stakes():
            spare = self._get_spare(stake, marks)
            for symbol in stake.symbols:
                quantity = self.holdings[symbol].quantity
                price = marks[symbol] - spare / (quantity - self.costs.maintenance * abs(quantity))
                yield (symbol, Leg.BOTH), Liquidation(quantity > 0, price)


def build_rules(symbol: str, price: Decimal, known: Mapping[str, TradingRules]) -> TradingRules:
    """What is known of the symbol; else steps of some dollars at this price, and orders of up to some millions."""
    listed = known.get(symbol, RULES.get(symbol))
    if listed is not None:
        return listed
    step = Decimal(10) ** -price.adjusted()
    return TradingRules(symbol, step, step, step * 10**6, Decimal(5), price.scaleb(-5))


def get_side(quantity: Decimal) -> Side:
    return Side.BUY if quantity > 0 else Side.SELL
