"""The paper connector: the exchange's market data and trading rules, with fills made up here.

A market order fills whole at the best price of the order book, at the mark where there is no book, at the price feed's
price where there is no mark. One-way mode, a taker's fee, no funding and no liquidation. Needs no account and never
sends an order anywhere. Made by the registry; used like any other connector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Protocol

from dehedge.connectors.paper_ledger import ASSET, Fill, PaperLedger
from dehedge.core.model import Leg, Side, TradingRules
from dehedge.core.netting import Holding
from dehedge.core.orders import OrderReport, OrderRequest
from dehedge.errors import ConnectorError, OrderRejected
from dehedge.ports import (
    AccountSink,
    Balance,
    Clock,
    MarketData,
    MarkPrice,
    OrderBook,
    Traffic,
    VenueOrder,
    VenuePosition,
    VenueTrade,
)

TAKER_FEE = Decimal("0.0005")
MARK_AGE_MAX_S = 60.0
"""An older mark does not price a fill."""

BAD_STEP, TOO_SMALL, TOO_LARGE, LOW_NOTIONAL, NOT_TRADING = -4023, -4004, -4005, -4164, -4140
WRONG_LEG, NOT_REDUCING, NO_SUCH_ORDER, NOT_CHANGEABLE, UNLISTED, NO_PRICE = -4061, -2022, -2011, -5025, -1121, -2020
"""Refusals carry the exchange's own codes."""


class StreamedMarketData(MarketData, Protocol):
    """Market data that keeps the marks of watched symbols fresh while it runs."""

    def watch(self, symbols: Iterable[str]) -> None: ...

    async def run_marks(self, on_marks: Callable[[], None]) -> None: ...

    async def close(self) -> None: ...


class PaperConnector:
    """Implements ``ports.Connector`` over public data and a ``PaperLedger``."""

    name = "paper"
    hedge_mode = False
    unknown_window_s = 0.0

    def __init__(
        self,
        *,
        market_data: StreamedMarketData,
        get_price: Callable[[str], Decimal | None],
        ledger: PaperLedger,
        leverage: int,
        clock: Clock,
    ) -> None:
        """``get_price`` gives the price feed's price of a symbol."""
        self._market_data = market_data
        self._get_price = get_price
        self._ledger = ledger
        self._leverage = leverage
        self._clock = clock
        self._rules: Mapping[str, TradingRules] = {}
        self._symbols: frozenset[str] = frozenset()
        self._sink: AccountSink | None = None

    async def connect(self, symbols: Sequence[str]) -> None:
        rules = await self.fetch_trading_rules()
        self._watch(symbol for symbol in symbols if symbol in rules)

    async def prepare_symbol(self, symbol: str) -> None:
        self._check_trading(symbol)
        self._watch(self._symbols | {symbol})

    async def run(self, sink: AccountSink) -> None:
        self._sink = sink
        sink.on_account_changed()
        await self._market_data.run_marks(sink.on_marks)

    async def close(self) -> None:
        self._ledger.close()
        await self._market_data.close()

    async def fetch_trading_rules(self) -> Mapping[str, TradingRules]:
        self._rules = await self._market_data.fetch_trading_rules()
        return self._rules

    async def fetch_mark_prices(self, symbols: Sequence[str]) -> Mapping[str, MarkPrice]:
        return await self._market_data.fetch_mark_prices(symbols)

    async def fetch_order_book(self, symbol: str, depth: int) -> OrderBook:
        return await self._market_data.fetch_order_book(symbol, depth)

    def get_mark_prices(self) -> Mapping[str, MarkPrice]:
        return self._market_data.get_mark_prices()

    def get_traffic(self) -> Traffic:
        return self._market_data.get_traffic()

    async def place_order(self, request: OrderRequest) -> OrderReport:
        """Execute at once. Raises ``OrderRejected`` as the exchange would."""
        rules = self._check_trading(request.symbol)
        check_quantity(request, rules)
        price = await self._fetch_fill_price(request.symbol, request.side)
        if not request.reduce_only and request.quantity * price < rules.notional_min:
            raise OrderRejected(f"the notional is below {rules.notional_min} {ASSET}", code=LOW_NOTIONAL)
        quantity = cap_quantity(request, self._ledger.read_holding(request.symbol))
        order = self._ledger.record(self._build_fill(request, quantity, price))
        if self._sink is not None:
            asyncio.get_running_loop().call_soon(self._sink.on_order, order)
        return order.report

    async def modify_order(self, symbol: str, client_order_id: str, quantity: Decimal, price: Decimal) -> OrderReport:
        raise OrderRejected(
            f"order {client_order_id} in {symbol} cannot be changed to {quantity} at {price}: it was a market order",
            code=NOT_CHANGEABLE,
        )

    async def cancel_order(self, symbol: str, client_order_id: str) -> OrderReport:
        """A market order is over before it can be canceled: what it became is the answer."""
        report = await self.fetch_order(symbol, client_order_id)
        if report is None:
            raise OrderRejected(f"there is no order {client_order_id} in {symbol}", code=NO_SUCH_ORDER)
        return report

    async def fetch_order(self, symbol: str, client_order_id: str) -> OrderReport | None:
        order = self._ledger.find_order(symbol, client_order_id)
        return order.report if order else None

    async def fetch_order_history(self, symbol: str, since_s: float) -> Sequence[VenueOrder]:
        return self._ledger.read_orders(symbol, since_s)

    async def fetch_trade_history(self, symbol: str, since_s: float) -> Sequence[VenueTrade]:
        return self._ledger.read_trades(symbol, since_s)

    async def fetch_positions(self) -> Sequence[VenuePosition]:
        return self._ledger.read_positions()

    async def fetch_balances(self) -> Sequence[Balance]:
        """Margin in use is what the positions cost at the leverage; unrealized profit is not counted."""
        positions, total = self._ledger.read_positions(), self._ledger.read_balance()
        notional = sum((abs(position.quantity) * position.entry_price for position in positions), Decimal(0))
        return [Balance(ASSET, total, max(total - notional / self._leverage, Decimal(0)))]

    def check_order_capacity(self, orders: int, *, is_reduce: bool) -> bool:  # noqa: ARG002 - paper is patient
        return True

    def format_quantity(self, symbol: str, quantity: Decimal) -> str:
        return format_on(self._get_rules(symbol).quantity_step, quantity)

    def format_price(self, symbol: str, price: Decimal) -> str:
        return format_on(self._get_rules(symbol).price_tick, price)

    def _watch(self, symbols: Iterable[str]) -> None:
        self._symbols = frozenset(symbols)
        self._market_data.watch(self._symbols)

    def _get_rules(self, symbol: str) -> TradingRules:
        if symbol not in self._rules:
            raise OrderRejected(f"the exchange does not list {symbol}: correct markets.toml", code=UNLISTED)
        return self._rules[symbol]

    def _check_trading(self, symbol: str) -> TradingRules:
        rules = self._get_rules(symbol)
        if not rules.is_trading:
            raise OrderRejected(f"{symbol} is not open for trading", code=NOT_TRADING)
        return rules

    async def _fetch_fill_price(self, symbol: str, side: Side) -> Decimal:
        price = await self._fetch_best_price(symbol, side) or self._get_mark(symbol) or self._get_price(symbol)
        if price is None:
            raise OrderRejected(f"nobody knows a price of {symbol}", code=NO_PRICE)
        return price

    async def _fetch_best_price(self, symbol: str, side: Side) -> Decimal | None:
        try:
            book = await self.fetch_order_book(symbol, 5)
        except ConnectorError:
            return None
        levels = book.asks if side is Side.BUY else book.bids
        return levels[0][0] if levels else None

    def _get_mark(self, symbol: str) -> Decimal | None:
        mark = self.get_mark_prices().get(symbol)
        is_fresh = mark is not None and self._clock.time() - mark.time_s <= MARK_AGE_MAX_S
        return mark.price if mark is not None and is_fresh else None

    def _build_fill(self, request: OrderRequest, quantity: Decimal, price: Decimal) -> Fill:
        fee = quantity * price * TAKER_FEE
        at = self._clock.time()
        return Fill(request.client_order_id, request.symbol, request.side, quantity, price, fee, at)


def check_quantity(request: OrderRequest, rules: TradingRules) -> None:
    """The exchange's checks of a market order's leg and size. Raises ``OrderRejected``."""
    quantity = request.quantity
    if request.leg is not Leg.BOTH:
        raise OrderRejected("the paper account is in one-way mode", code=WRONG_LEG)
    if quantity < rules.quantity_min:
        raise OrderRejected(f"{quantity} is less than the minimum {rules.quantity_min}", code=TOO_SMALL)
    if quantity > rules.quantity_max:
        raise OrderRejected(f"{quantity} is more than the maximum {rules.quantity_max}", code=TOO_LARGE)
    if quantity % rules.quantity_step:
        raise OrderRejected(f"{quantity} is not on the step {rules.quantity_step}", code=BAD_STEP)


def cap_quantity(request: OrderRequest, holding: Holding) -> Decimal:
    """A reduce-only order is cut to the position, and refused where there is nothing to reduce."""
    if not request.reduce_only:
        return request.quantity
    if holding.quantity * request.side.sign >= 0:
        raise OrderRejected("reduce-only: there is no position to reduce", code=NOT_REDUCING)
    return min(request.quantity, abs(holding.quantity))


def format_on(step: Decimal, value: Decimal) -> str:
    return format((value / step).to_integral_value(ROUND_DOWN) * step, "f")
