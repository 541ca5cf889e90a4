"""Fixtures: a running exchange on a frozen clock, an unmodified python-binance client, a pure ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from binance import AsyncClient
from exchange_builders import FrozenClock, a_client, a_ledger, set_client_clock

from dehedge.sim.exchange import Ledger, SimExchange


@pytest.fixture
def ledger() -> Ledger:
    return a_ledger()


@pytest.fixture
def hedge_ledger() -> Ledger:
    return a_ledger(dual_side=True)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
async def exchange(clock: FrozenClock) -> AsyncIterator[SimExchange]:
    async with SimExchange(clock=clock) as running:
        yield running


@pytest.fixture
async def client(exchange: SimExchange, clock: FrozenClock) -> AsyncIterator[AsyncClient]:
    connected = a_client(exchange)
    set_client_clock(connected, clock)
    yield connected
    await connected.close_connection()
