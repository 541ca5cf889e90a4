"""A price source and a Hermes stand-in talking real HTTP on 127.0.0.1, in virtual time.

The loop's clock jumps to the next timer as soon as nothing is left to do, so hours of retries take milliseconds and a
wait is exact. The wall clock of both sides is the loop's, from a fixed start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from dehedge.adapters.pyth import PythSource
from dehedge.core.model import Market, PriceTick
from dehedge.sim.hermes import FEED_IDS, Route, SimHermes

START = 1_800_000_000
KEY = "k3y-of-the-test"
BTC, ETH = FEED_IDS["BTC/USD"], FEED_IDS["ETH/USD"]


class LoopClock:
    """The wall clock of a test: the loop's time from a fixed start, plus what the test adds."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def time(self) -> float:
        return START + asyncio.get_running_loop().time() + self.offset_s


@dataclass
class Sink:
    """Keeps what a source puts into it, with the loop's time of each."""

    ticks: list[PriceTick] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    put_times: list[float] = field(default_factory=list)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, ticks: Sequence[PriceTick]) -> None:
        assert ticks
        self.ticks += ticks
        self.put_times.append(asyncio.get_running_loop().time())
        self.moved.set()

    def fail(self, error: Exception) -> None:
        self.errors.append(error)
        self.moved.set()

    @property
    def messages(self) -> list[str]:
        return [str(error) for error in self.errors]

    def get_prices(self, market: str) -> list[Decimal]:
        return [Decimal(tick.price) / 10**18 for tick in self.ticks if tick.market == market]

    async def wait_until(self, check: Callable[[], bool]) -> None:
        while not check():
            self.moved.clear()
            await self.moved.wait()

    async def wait_for_price(self, market: str, price: str) -> None:
        await self.wait_until(lambda: Decimal(price) in self.get_prices(market))


@dataclass
class World:
    """One stand-in, one source, one sink, and the time between them."""

    hermes: SimHermes
    source: PythSource
    sink: Sink
    clock: LoopClock

    async def pass_time(self, seconds: float) -> None:
        """Let virtual time pass; the real time is that of the work done meanwhile."""
        loop = asyncio.get_running_loop()
        passed = loop.create_future()
        loop.call_later(seconds, passed.set_result, None)
        await passed

    def get_times(self, route: Route | None = None) -> list[float]:
        """When requests came in, in the loop's time."""
        return [request.at - START for request in self.hermes.requests if route in (None, request.route)]


StartWorld = Callable[..., AbstractAsyncContextManager[World]]


def _build_market(name: str, feed_id: str, feed_max_age_s: int = 0) -> Market:
    return Market(name=name, pyth_feed=feed_id, feed_max_age_s=feed_max_age_s)


@asynccontextmanager
async def _start_world(
    *, markets: Mapping[str, Market] | None = None, prepare: Callable[[SimHermes], None] | None = None, **settings: Any
) -> AsyncIterator[World]:
    clock = LoopClock()
    now = lambda: START + asyncio.get_running_loop().time()
    async with SimHermes(api_key=KEY, keep_alive_s=2.5, clock=now) as hermes:
        hermes.set(BTC, Decimal(60_000))
        hermes.set(ETH, Decimal(3_000))
        if prepare is not None:
            prepare(hermes)
        options = {"api_key": KEY, "poll_interval_s": 1.0, "max_age_s": 10.0, "max_confidence_bps": 100}
        source = PythSource(hermes.base_url, clock=clock, **(options | settings))
        source.watch(markets or {"BTC-USD": _build_market("BTC-USD", BTC), "ETH-USD": _build_market("ETH-USD", ETH)})
        world = World(hermes, source, Sink(), clock)
        running = asyncio.create_task(source.run(world.sink))
        try:
            async with asyncio.timeout(200_000):
                yield world
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await source.close()


@pytest.fixture
def start_world() -> StartWorld:
    """Starts everything inside the test, so that all of it lives in virtual time."""
    return _start_world


@pytest.fixture
def a_market() -> Callable[..., Market]:
    return _build_market
