"""The connector to Binance USD-M futures: an account as ``ports.Connector`` wants it.

Composes the parts of this package and owns what is known of the account's modes. One request is one attempt. Never
switches the position mode, never invents an outcome: what a write did is in its reply, or asked for by client order id.
Made by the registry; used by the executor, the reconciler and ``check``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Sequence
from decimal import Decimal
from typing import NoReturn

import structlog

from dehedge.connectors.binance import endpoints
from dehedge.connectors.binance.account_stream import AccountStream
from dehedge.connectors.binance.endpoints import Endpoint
from dehedge.connectors.binance.failures import (
    NO_SUCH_ORDER,
    NOTHING_TO_MODIFY,
    ORDER_REFUSED,
    UNKNOWN_ORDER,
    WRONG_MODE,
    RequestRefused,
)
from dehedge.connectors.binance.gateway import Credentials, Gateway
from dehedge.connectors.binance.history import History
from dehedge.connectors.binance.market_data import BinanceMarketData
from dehedge.connectors.binance.payloads import (
    FUNDING,
    AccountConfig,
    SymbolConfig,
    floor_to,
    format_decimal,
    parse_account_config,
    parse_balances,
    parse_funding,
    parse_margin_type,
    parse_order,
    parse_positions,
    parse_trade,
)
from dehedge.connectors.binance.rows import MalformedPayload
from dehedge.connectors.binance.settings import SymbolSettings
from dehedge.connectors.binance.standing import Standing
from dehedge.connectors.binance.tally import OnBreach, ignore_breach
from dehedge.connectors.binance.timing import DEFAULT_TIMING, Timing
from dehedge.core.model import Leg, TradingRules
from dehedge.core.orders import ClientOrderId, OrderReport, OrderRequest
from dehedge.errors import ConfigError, ConnectorError, OrderRejected, OutcomeUnknown
from dehedge.ports import AccountSink, Balance, Clock, VenueFunding, VenueOrder, VenuePosition, VenueTrade

log = structlog.get_logger()

LAG_S = 3.0
"""How far the exchange's answers about orders may lag behind its matching."""

SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
"""Narrower than the exchange's charset: python-binance signs other characters differently from how it sends them."""

TOUCHES_PER_SYNCHRONIZATION = 18
"""Every few minutes, with a touch every ten seconds."""


class BinanceConnector(BinanceMarketData):
    """Implements ``ports.Connector`` through REST for what must be known and websockets for what should be early."""

    name = "binance"

    def __init__(
        self,
        *,
        api_key: str,
        api_secret: str,
        rest_url: str,
        ws_url: str,
        leverage: int,
        margin_type: str,
        clock: Clock,
        timing: Timing = DEFAULT_TIMING,
        on_breach: OnBreach = ignore_breach,
        pause_path: str = "",
        spot_url: str = "",
    ) -> None:
        """``spot_url`` is where the exchange tells what a key may do; empty where it does not."""
        self._credentials = Credentials(api_key, api_secret)
        super().__init__(
            rest_url=rest_url, ws_url=ws_url, clock=clock, credentials=self._credentials, timing=timing,
            on_breach=on_breach, pause_path=pause_path,
        )  # fmt: skip
        self._timing = timing
        self.hedge_mode = False
        self.unknown_window_s = endpoints.WRITE_WINDOW_MS / 1000 + LAG_S
        self._settings = SymbolSettings(self._gateway, SymbolConfig(leverage, parse_margin_type(margin_type)))
        self._modes_doubted = asyncio.Event()
        self.standing = Standing(self._gateway, lambda: Gateway(spot_url, self._credentials, clock, timing) if spot_url else None)
        self._account_stream = AccountStream(self._gateway, ws_url, timing)
        self._account_stream.on_settings = self._modes_doubted.set

    async def connect(self, symbols: Sequence[str]) -> None:
        self._credentials.check()
        await self._gateway.synchronize()
        config = await self._fetch_modes()
        problems = find_problems(config, self._settings.wanted.margin_type)
        if problems:
            raise ConfigError(*problems)
        self.hedge_mode = config.hedge_mode
        rules = await self.fetch_trading_rules()
        self.watch(symbol for symbol in symbols if symbol in rules)

    async def prepare_symbol(self, symbol: str) -> None:
        self._get_rules(symbol)
        await self._settings.apply(symbol)
        self.watch(self._marks.symbols | {symbol})

    async def run(self, sink: AccountSink) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._marks.run(sink.on_marks))
            group.create_task(self._account_stream.run(sink))
            group.create_task(self._keep_in_touch())
            group.create_task(self._follow_modes(sink))

    async def place_order(self, request: OrderRequest) -> OrderReport:
        check_id(request.client_order_id)
        try:
            with self._account_stream.expecting(request.client_order_id):
                return await self._write(endpoints.PLACE, request.client_order_id, build_order_params(request))
        except OrderRejected as error:
            if error.code == WRONG_MODE:
                await self._try(self._update_modes())
            if error.code != ORDER_REFUSED:
                raise
            return await self._ask_after(error, request.symbol, request.client_order_id)

    async def modify_order(self, symbol: str, client_order_id: str, quantity: Decimal, price: Decimal) -> OrderReport:
        """Change an open limit order; it must name its side, which is therefore asked for first."""
        order = await self._fetch_order(symbol, client_order_id)
        if order is None:
            raise OrderRejected(f"there is no order {client_order_id} in {symbol}", code=NO_SUCH_ORDER)
        params = {
            "symbol": symbol,
            "side": order.side.value,
            "origClientOrderId": client_order_id,
            "quantity": format_decimal(quantity),
            "price": format_decimal(price),
        }
        try:
            return await self._write(endpoints.MODIFY, client_order_id, params)
        except OrderRejected as error:
            if error.code != NOTHING_TO_MODIFY:
                raise
            return await self._ask_after(error, symbol, client_order_id)

    async def cancel_order(self, symbol: str, client_order_id: str) -> OrderReport:
        check_id(client_order_id)
        params = {"symbol": symbol, "origClientOrderId": client_order_id}
        try:
            return await self._write(endpoints.CANCEL, client_order_id, params)
        except OrderRejected as error:
            if error.code != UNKNOWN_ORDER:
                raise
            return await self._ask_after(error, symbol, client_order_id)

    async def fetch_order(self, symbol: str, client_order_id: str) -> OrderReport | None:
        order = await self._fetch_order(symbol, client_order_id)
        return order.report if order else None

    async def fetch_order_history(self, symbol: str, since_s: float) -> Sequence[VenueOrder]:
        rows = await History(self._gateway, endpoints.ALL_ORDERS, {"symbol": symbol}, "orderId").fetch_since(since_s)
        return [parse_order(row.values) for row in rows]

    async def fetch_trade_history(self, symbol: str, since_s: float) -> Sequence[VenueTrade]:
        rows = await History(self._gateway, endpoints.TRADES, {"symbol": symbol}, "id").fetch_since(since_s)
        return [parse_trade(row) for row in rows]

    async def fetch_funding(self, since_s: float) -> Sequence[VenueFunding]:
        """Implements ``ports.FundingSource``."""
        rows = await History(self._gateway, endpoints.INCOME, {"incomeType": FUNDING}, "tranId").fetch_since(since_s)
        return sorted((parse_funding(row) for row in rows), key=lambda funding: funding.paid_at)

    async def fetch_positions(self) -> Sequence[VenuePosition]:
        positions = parse_positions(await self._gateway.fetch(endpoints.POSITIONS))
        if any((position.leg is Leg.BOTH) == self.hedge_mode for position in positions):
            self._modes_doubted.set()  # The exchange sends no event when somebody changes the position mode.
        return positions

    async def fetch_balances(self) -> Sequence[Balance]:
        return parse_balances(await self._gateway.fetch(endpoints.BALANCES))

    def check_order_capacity(self, orders: int, *, is_reduce: bool) -> bool:
        return self._gateway.limits.check_orders(orders, is_reduce=is_reduce)

    def format_quantity(self, symbol: str, quantity: Decimal) -> str:
        return format_decimal(floor_to(self._get_rules(symbol).quantity_step, quantity))

    def format_price(self, symbol: str, price: Decimal) -> str:
        return format_decimal(floor_to(self._get_rules(symbol).price_tick, price))

    def _get_rules(self, symbol: str) -> TradingRules:
        if symbol not in self.trading_rules:
            raise OrderRejected(f"the exchange does not list {symbol}: correct markets.toml")
        return self.trading_rules[symbol]

    async def _write(self, endpoint: Endpoint, client_order_id: str, params: dict[str, str]) -> OrderReport:
        """A reply that does not tell of our order tells nothing of what became of it."""
        reply = await self._gateway.send(endpoint, **params)
        try:
            report = parse_order(reply).report
        except MalformedPayload as error:
            raise OutcomeUnknown(f"the reply to order {client_order_id} cannot be read: {error}") from None
        if report.client_order_id != client_order_id:
            raise OutcomeUnknown(f"the reply to order {client_order_id} tells of another order")
        return report

    async def _ask_after(self, error: OrderRejected, symbol: str, client_order_id: str) -> OrderReport:
        """A refusal that our own request may have caused by arriving twice: what the order is now decides."""
        try:
            report = await self.fetch_order(symbol, client_order_id)
        except ConnectorError as failure:
            raise OutcomeUnknown(f"{error}, and the order cannot be asked for: {failure}") from None
        if report is None:
            raise error
        return report

    async def _fetch_order(self, symbol: str, client_order_id: str) -> VenueOrder | None:
        check_id(client_order_id)
        try:
            order = parse_order(
                await self._gateway.fetch(endpoints.ORDER, symbol=symbol, origClientOrderId=client_order_id)
            )
        except RequestRefused as error:
            if error.code == NO_SUCH_ORDER:
                return None
            raise
        if order.report.client_order_id != client_order_id:
            raise MalformedPayload(f"asked for order {client_order_id}, the exchange sent another")
        return order

    async def _fetch_modes(self) -> AccountConfig:
        return parse_account_config(await self._gateway.fetch(endpoints.ACCOUNT_CONFIG))

    async def _update_modes(self) -> None:
        config = await self._fetch_modes()
        if config.hedge_mode != self.hedge_mode:
            log.warning("position_mode_changed", hedge_mode=config.hedge_mode)
            self.hedge_mode = config.hedge_mode
        for problem in find_problems(config, self._settings.wanted.margin_type):
            log.error("account_became_unfit", reason=problem)

    async def _follow_modes(self, sink: AccountSink) -> NoReturn:
        """Somebody else may change the account's modes: read them whenever there is a hint."""
        while True:
            await self._modes_doubted.wait()
            self._modes_doubted.clear()
            known = self.hedge_mode
            if not await self._try(self._update_modes()):
                await asyncio.sleep(self._timing.touch_s)
                self._modes_doubted.set()
            if self.hedge_mode != known:
                sink.on_account_changed()

    async def _keep_in_touch(self) -> NoReturn:
        """Keep the clock true and a connection warm: an idle one would be closed, and the next order build anew."""
        while True:
            for _ in range(TOUCHES_PER_SYNCHRONIZATION):
                await asyncio.sleep(self._timing.touch_s)
                await self._try(self._gateway.fetch(endpoints.PING))
            await self._try(self._gateway.synchronize())

    @staticmethod
    async def _try(request: Awaitable[object]) -> bool:
        """Do what may fail without harm, because it is done again; the failure shows in what else is asked."""
        try:
            await request
        except ConnectorError as error:
            log.debug("background_request_failed", reason=str(error))
            return False
        return True


def find_problems(config: AccountConfig, margin_type: str) -> list[str]:
    """Why this account cannot be hedged on, one line for each reason, with its remedy."""
    problems = []
    if not config.can_trade:
        problems.append(
            "BINANCE_API_KEY: the account may not trade futures: enable futures on the account and on the key"
        )
    if config.multi_assets and margin_type == "ISOLATED":
        problems.append(
            "MARGIN_TYPE: ISOLATED is impossible while the account is in multi-assets mode:"
            " set MARGIN_TYPE=CROSSED, or leave multi-assets mode on the exchange"
        )
    return problems


def build_order_params(request: OrderRequest) -> dict[str, str]:
    """A market order. In hedge mode the leg is named and reduceOnly must be absent; in one-way mode the reverse."""
    params = {
        "symbol": request.symbol,
        "side": request.side.value,
        "type": "MARKET",
        "quantity": format_decimal(request.quantity),
        "newClientOrderId": request.client_order_id,
        "newOrderRespType": "RESULT",
    }
    if request.leg is not Leg.BOTH:
        return params | {"positionSide": request.leg.value}
    return params | {"reduceOnly": "true"} if request.reduce_only else params


def check_id(client_order_id: str | ClientOrderId) -> None:
    assert SAFE_ID.fullmatch(client_order_id), f"unsafe client order id {client_order_id!r}"
