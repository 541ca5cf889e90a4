"""A daemon whose chain is a made-up book of any size, and that notes how long a price takes to become an order.

Everything else is the real thing: Hermes and the exchange over sockets, the journal on disk. The book replaces the reading
of the chain because serving a million positions is another matter, which ``snapshot`` measures. Run by ``path``.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.books import USDC, Book, build_book
from dehedge.adapters.journal import SqliteJournal
from dehedge.adapters.pyth import client as pyth
from dehedge.config import read_configuration
from dehedge.connectors.binance import attempts
from dehedge.connectors.binance.endpoints import PLACE
from dehedge.connectors.binance.gateway import Gateway
from dehedge.core.events import Event, OrderIntended
from dehedge.core.model import ChainSnapshot, Market
from dehedge.daemon import Daemon
from dehedge.logs import configure_logging
from dehedge.sim.world import FEEDS, USD

COUNT, STAIRS, LATENCIES = "BENCH_POSITIONS", "BENCH_STAIRS", "BENCH_LATENCIES"
FIRST_STAIR, STAIR = 60_000, 2
STAIR_SIZE_USD = 1_000
FAR = 1_000
PRICE = re.compile(rb'"price":\s*"(\d+)"')


class BookOfChain:
    """``ports.ChainSource``: the same book at every block."""

    contracts = None

    def __init__(self, book: Book) -> None:
        self._book = book
        self._block = 0

    async def fetch_snapshot(self, *, avoid: str | None = None) -> ChainSnapshot:  # noqa: ARG002  (there is no other)
        self._block += 1
        markets = {market: Market(market, FEEDS[market], 0) for market in FEEDS}
        return ChainSnapshot(
            self._block, hex(self._block), int(time.time()), 10**9 * USD, USD, self._book,
            {(USDC, market): 0 for market in FEEDS}, markets, "book",
        )  # fmt: skip

    async def close(self) -> None:
        pass


def build_stairs(count: int, stairs: int) -> Book:
    """The first positions turn risky one after the other as BTC rises; all others are far from it."""
    columns = build_book(count, tuple(FEEDS)).get_columns()
    rise = FIRST_STAIR + STAIR * np.arange(stairs)
    columns.entry_price[:] = np.where(columns.is_long, columns.entry_price * FAR, columns.entry_price / FAR)
    columns.funding_tracer[:] = 0
    columns.market[:stairs], columns.is_long[:stairs] = list(FEEDS).index("BTC-USD"), True
    columns.size[:stairs], columns.entry_price[:stairs] = STAIR_SIZE_USD * USD, rise * 1e18
    return Book(columns)


class Stopwatch:
    """From the first bytes of a new price after the last order to the bytes of the next order, and the journal's part of it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.journal_seconds: list[float] = []
        self._since: float | None = None
        self._prices: list[bytes] = []
        self._journal_s = 0.0

    def note_bytes(self, chunk: bytes) -> None:
        """Prices are told again every second whether they have moved or not, and one that has not asks for no order."""
        now, prices = time.perf_counter(), PRICE.findall(chunk)
        if prices and prices != self._prices:
            self._prices, self._since = prices, self._since or now

    def note_journal(self, seconds: float) -> None:
        self._journal_s = seconds

    def note_order(self) -> None:
        if self._since is not None:
            self.seconds.append(time.perf_counter() - self._since)
            self.journal_seconds.append(self._journal_s)
        self._since = None


def install(stopwatch: Stopwatch) -> None:
    """Listen where Hermes' bytes come in, where the intent is journaled, and where a request's bytes have gone out."""
    iterate, append, send = pyth.BoundedStream.__aiter__, SqliteJournal.append, Gateway._on_headers_sent

    async def receive(stream: pyth.BoundedStream) -> AsyncIterator[bytes]:
        async for chunk in iterate(stream):
            stopwatch.note_bytes(chunk)
            yield chunk

    async def journal(self: SqliteJournal, at: float, events: Sequence[Event]) -> None:
        began = time.perf_counter()
        await append(self, at, events)
        if any(isinstance(event, OrderIntended) for event in events):
            stopwatch.note_journal(time.perf_counter() - began)

    async def note_sent(gateway: Gateway, *parts: Any) -> None:
        if attempts.current.get().endpoint is PLACE:
            stopwatch.note_order()
        await send(gateway, *parts)

    pyth.BoundedStream.__aiter__ = receive  # type: ignore[method-assign]
    SqliteJournal.append = journal  # type: ignore[method-assign]
    Gateway._on_headers_sent = note_sent  # type: ignore[method-assign]


async def run() -> None:
    stopwatch = Stopwatch()
    install(stopwatch)
    settings, symbols = read_configuration()
    configure_logging(level="INFO", use_json=True, secrets=())
    daemon = Daemon(settings, symbols)
    daemon._chain = BookOfChain(build_stairs(int(os.environ[COUNT]), int(os.environ[STAIRS])))  # type: ignore[assignment]
    try:
        await daemon.run()
    finally:
        latencies = [stopwatch.seconds, stopwatch.journal_seconds]
        Path(os.environ[LATENCIES]).write_text(json.dumps(latencies), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(run())
