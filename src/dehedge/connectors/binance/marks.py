"""The exchange's mark prices, kept fresh: streamed each second, and polled wherever the stream does not deliver.

Owns the cache of the newest mark per symbol. A late or repeated mark never replaces a newer one. Needs no account.
Called by ``market_data`` for itself and for the connector.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NoReturn
from urllib.parse import quote

import structlog

from dehedge.connectors.binance.endpoints import ALL_MARK_PRICES, MARK_PRICE
from dehedge.connectors.binance.events import parse_mark_event
from dehedge.connectors.binance.gateway import Gateway
from dehedge.connectors.binance.payloads import parse_mark_prices
from dehedge.connectors.binance.rows import Row
from dehedge.connectors.binance.streams import Stream
from dehedge.connectors.binance.timing import Timing
from dehedge.errors import ConnectorError
from dehedge.ports import MarkPrice

log = structlog.get_logger()

AHEAD_MAX_S = 60.0
"""How far our idea of the exchange's clock may be behind."""


class MarkFeed:
    """Implements ``StreamOwner`` for the market socket, and holds what it brings."""

    def __init__(self, gateway: Gateway, ws_url: str, timing: Timing) -> None:
        self.stream = Stream("marks", timing.mark_stream, self)
        self._gateway = gateway
        self._ws_url = ws_url.rstrip("/")
        self._timing = timing
        self._symbols: frozenset[str] = frozenset()
        self._marks: dict[str, MarkPrice] = {}
        self._seen_at: dict[str, float] = {}
        self._on_marks: Callable[[], None] = _ignore
        self._is_poll_failing = False

    def watch(self, symbols: Iterable[str]) -> None:
        """Follow these symbols from now on, and no others."""
        wanted = frozenset(symbols)
        if wanted != self._symbols:
            self._symbols = wanted
            self.stream.renew()

    @property
    def symbols(self) -> frozenset[str]:
        return self._symbols

    def get(self) -> Mapping[str, MarkPrice]:
        return MappingProxyType(self._marks)

    async def fetch(self, symbols: Sequence[str]) -> Mapping[str, MarkPrice]:
        """Ask for these symbols; one that the exchange does not list is left out of the answer."""
        marks = await self._fetch_all(symbols)
        now_s = asyncio.get_running_loop().time()
        for symbol in symbols:
            self._seen_at[symbol] = now_s
            if symbol in marks:
                self._keep(marks[symbol])
        return {symbol: self._marks.get(symbol, marks[symbol]) for symbol in symbols if symbol in marks}

    async def run(self, on_marks: Callable[[], None]) -> None:
        """Keep the marks fresh until canceled; ``on_marks`` is called whenever some changed."""
        self._on_marks = on_marks
        async with asyncio.TaskGroup() as group:
            group.create_task(self.stream.run())
            group.create_task(self._poll_overdue())

    async def build_url(self) -> str:
        """The routed address: on another route the exchange accepts the subscription and stays silent."""
        if not self._symbols:
            await asyncio.Event().wait()  # until the renewal that comes with symbols
        names = "/".join(f"{quote(symbol.lower())}@markPrice@1s" for symbol in sorted(self._symbols))
        return f"{self._ws_url}/market/stream?streams={names}"

    def on_open(self) -> None: ...

    def on_event(self, event: Row) -> None:
        mark = parse_mark_event(event)
        if mark is None or mark.symbol not in self._symbols:
            return
        self._seen_at[mark.symbol] = asyncio.get_running_loop().time()
        self._keep(mark)
        self._on_marks()

    def _keep(self, mark: MarkPrice) -> None:
        """The newest; one of a time to come would stay the newest until then."""
        known = self._marks.get(mark.symbol)
        is_to_come = mark.time_s > self._gateway.clock.time() + AHEAD_MAX_S
        if not is_to_come and (known is None or mark.time_s >= known.time_s):
            self._marks[mark.symbol] = mark

    async def _fetch_all(self, symbols: Sequence[str]) -> Mapping[str, MarkPrice]:
        """One request whatever the number of symbols: each alone is cheap, all of them cost ten."""
        if not symbols:
            return {}
        if len(symbols) == 1:
            return parse_mark_prices(await self._gateway.fetch(MARK_PRICE, symbol=symbols[0]))
        return parse_mark_prices(await self._gateway.fetch(ALL_MARK_PRICES))

    async def _poll_overdue(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._timing.poll_s)
            overdue = self._find_overdue()
            if overdue:
                await self._poll(overdue)

    def _find_overdue(self) -> list[str]:
        """All symbols while the stream is down, else those that it has left out for too long."""
        if not self.stream.is_live:
            return sorted(self._symbols)
        before = asyncio.get_running_loop().time() - self._timing.overdue_s
        return sorted(symbol for symbol in self._symbols if self._seen_at.get(symbol, before) <= before)

    async def _poll(self, symbols: Sequence[str]) -> None:
        try:
            await self.fetch(symbols)
        except ConnectorError as error:
            if not self._is_poll_failing:
                log.warning("mark_poll_failed", reason=str(error))
            self._is_poll_failing = True
        else:
            self._is_poll_failing = False
            self._on_marks()


def _ignore() -> None: ...
