"""The example of ``docs/connectors.md``: an account in memory, filled at the mark, on the exchange's public data.

The smallest thing that passes the conformance class. It forgets everything when it ends, so it is no connector for a daemon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import Decimal

from dehedge.connectors import ConnectorOptions
from dehedge.connectors.binance import BinanceMarketData
from dehedge.connectors.paper import cap_quantity, check_quantity, format_on
from dehedge.connectors.paper_ledger import Holding, apply_fill
from dehedge.core.model import Leg, TradingRules
from dehedge.core.orders import OrderReport, OrderRequest, OrderStatus
from dehedge.errors import OrderRejected
from dehedge.ports import AccountSink, Balance, MarkPrice, OrderBook, Traffic, VenueOrder, VenuePosition, VenueTrade

ASSET = "USDT"
FEE = Decimal("0.0005")


class ExampleConnector:
    """Implements ``ports.Connector``."""

    name = "example"
    hedge_mode = False
    unknown_window_s = 0.0

    def __init__(self, options: ConnectorOptions) -> None:
        self._public = BinanceMarketData(rest_url=options.rest_url, ws_url=options.ws_url, clock=options.clock)
        self._options = options
        self._rules: Mapping[str, TradingRules] = {}
        self._holdings: dict[str, Holding] = {}
        self._balance = options.start_balance
        self._orders: list[VenueOrder] = []
        self._trades: list[VenueTrade] = []
        self._sink: AccountSink | None = None

    # Life

    async def connect(self, symbols: Sequence[str]) -> None:
        """Raises what the first read raises: the daemon tries again, or says what to correct."""
        await self.fetch_trading_rules()
        self._public.watch(symbols)

    async def prepare_symbol(self, symbol: str) -> None:
        """Here an exchange is told leverage and margin type, and both are read back."""
        self._get_rules(symbol)

    async def run(self, sink: AccountSink) -> None:
        """Streams, for as long as the daemon lives. Whatever breaks here is mended here."""
        self._sink = sink
        sink.on_account_changed()
        await self._public.run_marks(sink.on_marks)

    async def close(self) -> None:
        await self._public.close()

    # Public data

    async def fetch_trading_rules(self) -> Mapping[str, TradingRules]:
        self._rules = await self._public.fetch_trading_rules()
        return self._rules

    async def fetch_mark_prices(self, symbols: Sequence[str]) -> Mapping[str, MarkPrice]:
        return await self._public.fetch_mark_prices(symbols)

    async def fetch_order_book(self, symbol: str, depth: int) -> OrderBook:
        return await self._public.fetch_order_book(symbol, depth)

    def get_mark_prices(self) -> Mapping[str, MarkPrice]:
        return self._public.get_mark_prices()

    def get_traffic(self) -> Traffic:
        return self._public.get_traffic()

    # Orders

    async def place_order(self, request: OrderRequest) -> OrderReport:
        """One request is one attempt. ``OrderRejected`` promises that nothing was executed."""
        rules = self._get_rules(request.symbol)
        check_quantity(request, rules)
        price = (await self.fetch_mark_prices([request.symbol]))[request.symbol].price
        if not rules.is_trading or (not request.reduce_only and request.quantity * price < rules.notional_min):
            raise OrderRejected(f"{request.symbol} does not take this order", code=-4164)
        quantity = cap_quantity(request, self._holdings.get(request.symbol, Holding()))
        order = self._fill(request, quantity, price)
        if self._sink is not None:
            asyncio.get_running_loop().call_soon(self._sink.on_order, order)
        return order.report

    def _fill(self, request: OrderRequest, quantity: Decimal, price: Decimal) -> VenueOrder:
        before, fee = self._holdings.get(request.symbol, Holding()), quantity * price * FEE
        self._holdings[request.symbol], profit = apply_fill(before, quantity * request.side.sign, price)
        self._balance += profit - fee
        symbol, side, number, now = request.symbol, request.side, str(len(self._orders) + 1), self._options.clock.time()
        report = OrderReport(request.client_order_id, OrderStatus.FILLED, quantity, price, number)
        self._orders.append(VenueOrder(symbol, side, Leg.BOTH, report, now))
        self._trades.append(VenueTrade(symbol, side, Leg.BOTH, number, price, quantity, fee, ASSET, profit, now))
        return self._orders[-1]

    async def modify_order(self, symbol: str, client_order_id: str, quantity: Decimal, price: Decimal) -> OrderReport:
        raise OrderRejected(f"{client_order_id} in {symbol} was a market order: no {quantity} at {price}", code=-5025)

    async def cancel_order(self, symbol: str, client_order_id: str) -> OrderReport:
        report = await self.fetch_order(symbol, client_order_id)
        if report is None:
            raise OrderRejected(f"there is no order {client_order_id} in {symbol}", code=-2011)
        return report

    async def fetch_order(self, symbol: str, client_order_id: str) -> OrderReport | None:
        """None says: not known, or not known yet. The daemon asks again, for ``unknown_window_s`` at least."""
        found = [order.report for order in self._orders if order.symbol == symbol]
        return next((report for report in reversed(found) if report.client_order_id == client_order_id), None)

    async def fetch_order_history(self, symbol: str, since_s: float) -> Sequence[VenueOrder]:
        return [order for order in self._orders if order.symbol == symbol and order.updated_at >= since_s]

    async def fetch_trade_history(self, symbol: str, since_s: float) -> Sequence[VenueTrade]:
        return [trade for trade in self._trades if trade.symbol == symbol and trade.traded_at >= since_s]

    # The account

    async def fetch_positions(self) -> Sequence[VenuePosition]:
        held = {symbol: holding for symbol, holding in self._holdings.items() if holding.quantity}
        return [VenuePosition(symbol, Leg.BOTH, one.quantity, one.entry_price) for symbol, one in held.items()]

    async def fetch_balances(self) -> Sequence[Balance]:
        notional = sum((abs(one.quantity) * one.entry_price for one in self._holdings.values()), Decimal(0))
        return [Balance(ASSET, self._balance, max(self._balance - notional / self._options.leverage, Decimal(0)))]

    def check_order_capacity(self, orders: int, *, is_reduce: bool) -> bool:
        return True

    # How numbers are written

    def format_quantity(self, symbol: str, quantity: Decimal) -> str:
        return format_on(self._get_rules(symbol).quantity_step, quantity)

    def format_price(self, symbol: str, price: Decimal) -> str:
        return format_on(self._get_rules(symbol).price_tick, price)

    def _get_rules(self, symbol: str) -> TradingRules:
        if symbol not in self._rules:
            raise OrderRejected(f"the exchange does not list {symbol}: correct markets.toml", code=-1121)
        return self._rules[symbol]


def build_example(options: ConnectorOptions) -> ExampleConnector:
    return ExampleConnector(options)
