"""The exchange made ready: connected, its rules known, leverage and margin type settled for every symbol we trade.

What cannot be settled blocks only its own symbol, says why, and is tried again every minute, or every ten seconds where
it could not even be read. Called by the daemon; read by the reconciler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal

import structlog

from dehedge.core.model import TradingRules
from dehedge.errors import ConnectorError, OrderRejected, OutcomeUnknown, RateLimited, VenueUnavailable
from dehedge.ports import Clock, Connector, Traffic

log = structlog.get_logger()

RETRY_FIRST_S = 1.0
RETRY_MAX_S = 10.0
SETTLE_INTERVAL_S = 60.0
RULES_INTERVAL_S = 3600.0
MARK_AGE_MAX_S = 2.0
MARK_INTERVAL_S = 1.0
"""Marks come each second; an older one is fetched anew before anything is sized by it."""


class Venue:
    """What the planner must know of the exchange."""

    def __init__(self, connector: Connector, symbols: Mapping[str, str], clock: Clock) -> None:
        self.rules: Mapping[str, TradingRules] = {}
        self.unsettled: dict[str, str] = {}
        self.error: str | None = "not connected yet"
        self._connector = connector
        self._symbols = sorted(set(symbols.values()))
        self._clock = clock
        self._fetched_marks: dict[str, Decimal] = {}
        self._marks_fetched_at = float("-inf")
        self._wanted_marks: set[str] = set()
        self._resting: set[str] = set()
        self._unread: set[str] = set()
        self._marks_wanted = asyncio.Event()

    async def connect(self) -> None:
        """Connect and settle, trying again until the exchange answers. Raises what no retry can mend.

        A symbol that cannot be settled keeps no other one waiting.
        """
        delay_s = RETRY_FIRST_S
        while True:
            try:
                await self._connector.connect(self._symbols)
                await self._fetch_rules()
                await self._connector.fetch_mark_prices(self.tradable)
                await self._settle(self.tradable)
                break
            except (VenueUnavailable, RateLimited, OutcomeUnknown) as error:
                if self.error != str(error):
                    log.warning("exchange_unavailable", error=str(error))
                self.error = str(error)
                wait_s = error.retry_after_s if isinstance(error, RateLimited) else delay_s
                await asyncio.sleep(wait_s)
                delay_s = min(delay_s * 2, RETRY_MAX_S)
        self.error = None
        log.info("exchange_connected", connector=self._connector.name, hedge_mode=self._connector.hedge_mode)

    async def run(self) -> None:
        """Keep rules fresh and settle what could not be settled before."""
        loop = asyncio.get_running_loop()
        rules_due = loop.time() + RULES_INTERVAL_S
        while True:
            await asyncio.sleep(RETRY_MAX_S if self._unread else SETTLE_INTERVAL_S)
            try:
                if loop.time() >= rules_due or self._resting:
                    await self._fetch_rules()
                    rules_due = loop.time() + RULES_INTERVAL_S
                await self._settle(sorted(self.unsettled))
            except ConnectorError as error:
                log.warning("exchange_setup_failed", error=str(error))

    @property
    def tradable(self) -> Sequence[str]:
        """The configured symbols that the exchange lists."""
        return [symbol for symbol in self._symbols if symbol in self.rules]

    @property
    def margin_assets(self) -> frozenset[str]:
        """What the symbols that we trade are margined in."""
        return frozenset(self.rules[symbol].margin_asset for symbol in self.tradable)

    def get_newest_marks(self) -> Mapping[str, Decimal]:
        """The newest mark prices, however old: for what is shown, never for what is sized."""
        return {symbol: mark.price for symbol, mark in self._connector.get_mark_prices().items()}

    def get_traffic(self) -> Traffic:
        return self._connector.get_traffic()

    def get_marks(self) -> Mapping[str, Decimal]:
        """The mark prices young enough to size by: streamed, or fetched a moment ago."""
        now = self._clock.time()
        streamed = self._connector.get_mark_prices()
        fresh = {symbol: mark.price for symbol, mark in streamed.items() if now - mark.time_s <= MARK_AGE_MAX_S}
        is_fetched_fresh = asyncio.get_running_loop().time() - self._marks_fetched_at <= MARK_AGE_MAX_S
        return {**self._fetched_marks, **fresh} if is_fetched_fresh else fresh

    def get_mark_times(self) -> Mapping[str, float]:
        """When each streamed mark price was true, by the exchange's time."""
        return {symbol: mark.time_s for symbol, mark in self._connector.get_mark_prices().items()}

    def find_missing_marks(self) -> Sequence[str]:
        """Tradable symbols without a mark price to size by; they are asked for, and may be there the next time."""
        marks = self.get_marks()
        missing = [symbol for symbol in self.tradable if symbol not in marks]
        if missing:
            self.request_marks(set(missing))
        return missing

    def request_marks(self, symbols: AbstractSet[str]) -> None:
        """Have mark prices fetched that the stream does not bring, by ``run_marks``."""
        self._wanted_marks |= symbols
        self._marks_wanted.set()

    async def run_marks(self, wake: Callable[[], None]) -> None:
        """Fetch the marks that were asked for, at most once a second. What fails is asked for again by the next pass."""
        while True:
            await self._marks_wanted.wait()
            self._marks_wanted.clear()
            wanted, self._wanted_marks = sorted(self._wanted_marks), set()
            try:
                marks = await self._connector.fetch_mark_prices(wanted)
            except ConnectorError as error:
                log.debug("mark_price_failed", error=str(error))
            else:
                # A price just fetched is fresh whatever the exchange's clock says.
                self._fetched_marks = {symbol: mark.price for symbol, mark in marks.items()}
                self._marks_fetched_at = asyncio.get_running_loop().time()
                wake()
            await asyncio.sleep(MARK_INTERVAL_S)

    async def _fetch_rules(self) -> None:
        self.rules = await self._connector.fetch_trading_rules()
        rested, self._resting = self._resting, self._find_resting()
        for symbol in sorted(self._resting - rested):
            if symbol in self.rules:
                log.warning("symbol_not_trading", symbol=symbol)
            else:
                log.warning("symbol_unknown", symbol=symbol, remedy="correct markets.toml")
        for symbol in sorted(rested - self._resting):
            log.info("symbol_trading_again", symbol=symbol)

    def _find_resting(self) -> set[str]:
        """The configured symbols that are not traded now: a suspension may end at any moment."""
        return {symbol for symbol in self._symbols if symbol not in self.rules or not self.rules[symbol].is_trading}

    async def _settle(self, symbols: Sequence[str]) -> None:
        await asyncio.gather(*(self._settle_symbol(symbol) for symbol in symbols))

    async def _settle_symbol(self, symbol: str) -> None:
        self._unread.discard(symbol)
        try:
            await self._connector.prepare_symbol(symbol)
        except (OrderRejected, VenueUnavailable, OutcomeUnknown) as error:
            if symbol not in self.unsettled:
                log.error("symbol_blocked", symbol=symbol, error=str(error))
            self.unsettled[symbol] = str(error)
            if not isinstance(error, OrderRejected):
                self._unread.add(symbol)
        else:
            if self.unsettled.pop(symbol, None) is not None:
                log.info("symbol_settled", symbol=symbol)
