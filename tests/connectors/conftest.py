"""What the connector tests share: an exchange to talk to, a sink that remembers, an order to place."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal

import pytest

from dehedge.core.model import Leg, Side
from dehedge.core.orders import ClientOrderId, OrderRequest
from dehedge.ports import VenueOrder
from dehedge.sim.exchange import ExchangeSettings, SimExchange

DEADLINE_S = 5.0


class SystemClock:
    def time(self) -> float:
        return time.time()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what nothing announces, such as the exchange's record of requests."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


class RecordingSink:
    """Remembers what a connector tells, and lets a test wait for it."""

    def __init__(self) -> None:
        self.orders: list[VenueOrder] = []
        self.marks = 0
        self.account_changes = 0
        self._told = asyncio.Event()

    def on_order(self, order: VenueOrder) -> None:
        self.orders.append(order)
        self._told.set()

    def on_marks(self) -> None:
        self.marks += 1
        self._told.set()

    def on_account_changed(self) -> None:
        self.account_changes += 1
        self._told.set()

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._told.clear()
                await self._told.wait()


@pytest.fixture
def clock() -> SystemClock:
    return SystemClock()


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def exchange_settings() -> ExchangeSettings:
    return ExchangeSettings(beat_s=0.05)


@pytest.fixture
async def exchange(exchange_settings) -> AsyncIterator[SimExchange]:
    async with SimExchange(exchange_settings) as exchange:
        yield exchange


@pytest.fixture
def an_order() -> Callable[..., OrderRequest]:
    numbers = itertools.count(1)

    def build(
        side: Side = Side.BUY,
        quantity: str = "0.010",
        symbol: str = "BTCUSDT",
        leg: Leg = Leg.BOTH,
        *,
        reduce_only: bool = False,
        client_order_id: str = "",
    ) -> OrderRequest:
        identity = ClientOrderId(client_order_id or f"dh-test-{next(numbers)}")
        return OrderRequest(identity, symbol, side, leg, Decimal(quantity), reduce_only)

    return build


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., Awaitable[None]]:
    return eventually


@pytest.fixture
def running() -> Callable[..., Running]:
    return Running


class Running:
    """Runs something until the block ends; what it raised is raised there."""

    def __init__(self, work) -> None:
        self._task = asyncio.ensure_future(work)

    async def __aenter__(self) -> asyncio.Task:
        return self._task

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
