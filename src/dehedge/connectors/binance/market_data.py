"""Public data of the exchange: trading rules, mark prices, order books. Needs no key.

``BinanceMarketData`` implements ``ports.MarketData`` with a stream of marks, for the paper connector and for checks;
the connector builds on it. Never sees an account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from dehedge.connectors.binance.endpoints import DEPTH, EXCHANGE_INFO
from dehedge.connectors.binance.gateway import KEYLESS, Credentials, Gateway
from dehedge.connectors.binance.marks import MarkFeed
from dehedge.connectors.binance.payloads import parse_order_book, parse_rate_limits, parse_trading_rules
from dehedge.connectors.binance.tally import OnBreach, ignore_breach
from dehedge.connectors.binance.timing import DEFAULT_TIMING, Timing
from dehedge.core.model import TradingRules
from dehedge.ports import Clock, MarkPrice, OrderBook, Traffic

DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}
"""The only numbers of levels that the exchange gives, and what each costs."""


class BinanceMarketData:
    """Implements ``ports.MarketData`` over REST, with a websocket for the marks."""

    def __init__(
        self,
        *,
        rest_url: str,
        ws_url: str,
        clock: Clock,
        credentials: Credentials = KEYLESS,
        timing: Timing = DEFAULT_TIMING,
        on_breach: OnBreach = ignore_breach,
        pause_path: str = "",
    ) -> None:
        self._gateway = Gateway(rest_url, credentials, clock, timing, on_breach=on_breach, pause_path=pause_path)
        self._marks = MarkFeed(self._gateway, ws_url, timing)
        self.trading_rules: Mapping[str, TradingRules] = {}

    def watch(self, symbols: Iterable[str]) -> None:
        """Stream the marks of these symbols from now on, and no others."""
        self._marks.watch(symbols)

    async def run_marks(self, on_marks: Callable[[], None]) -> None:
        """Keep the marks of the watched symbols fresh until canceled."""
        await self._marks.run(on_marks)

    async def close(self) -> None:
        await self._gateway.close()

    async def fetch_trading_rules(self) -> Mapping[str, TradingRules]:
        """The rules of every symbol; the answer is large, so ask hourly at most. Takes the rate limits over as well."""
        payload = await self._gateway.fetch(EXCHANGE_INFO)
        self.trading_rules = parse_trading_rules(payload)
        self._gateway.set_limits(parse_rate_limits(payload))
        return self.trading_rules

    async def fetch_mark_prices(self, symbols: Sequence[str]) -> Mapping[str, MarkPrice]:
        return await self._marks.fetch(symbols)

    def get_mark_prices(self) -> Mapping[str, MarkPrice]:
        return self._marks.get()

    def get_traffic(self) -> Traffic:
        return self._gateway.limits.get_traffic()

    async def fetch_order_book(self, symbol: str, depth: int) -> OrderBook:
        limit = min((size for size in DEPTH_WEIGHTS if size >= depth), default=max(DEPTH_WEIGHTS))
        endpoint = DEPTH._replace(weight=DEPTH_WEIGHTS[limit])
        book = parse_order_book(symbol, await self._gateway.fetch(endpoint, symbol=symbol, limit=str(limit)))
        return OrderBook(symbol, book.bids[:depth], book.asks[:depth])
