"""Shared parts of the chain tests: a running in-process chain, and a plain JSON-RPC client to ask any chain with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from dehedge.sim.chain import InProcessChain, SimPosition

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
def ask(session: aiohttp.ClientSession) -> Ask:
    """``await ask(url, method, *params)`` gives the whole answer."""

    async def _ask(url: str, method: str, *params: Any) -> Any:
        request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
        async with session.post(url, json=request) as response:
            return await response.json()

    return _ask


@pytest.fixture
async def chain() -> AsyncIterator[InProcessChain]:
    chain = InProcessChain()
    await chain.start()
    yield chain
    await chain.stop()


@pytest.fixture
def a_position() -> Callable[..., SimPosition]:
    """``a_position(3)`` is the position of trader 3; keywords replace its fields."""

    def build(trader: int, **changes: Any) -> SimPosition:
        fields = {
            "user": f"0x{trader:040x}",
            "market": "BTC-USD",
            "is_long": True,
            "size": 1_000_000_000 + trader,
            "collateral": 100_000_000,
            "price": 60_000 * 10**18,
        }
        return SimPosition(**{**fields, **changes})

    return build
