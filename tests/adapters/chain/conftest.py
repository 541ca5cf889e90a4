"""Shared parts of the chain adapter's tests: a clock, a chain with something on it, endpoints of it, a reader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from dehedge.adapters.chain.node import Limits
from dehedge.adapters.chain.source import ChainReader
from dehedge.sim.chain import CHAIN_ID, DATA_REGISTRY, USDC, ChainState, SimMarket, SimPosition, SimRpc

BuildPosition = Callable[..., SimPosition]
BuildState = Callable[[], ChainState]
StartRpc = Callable[..., Awaitable[SimRpc]]
OpenReader = Callable[..., ChainReader]

BTC_FEED = "e6" * 32
ETH_FEED = "ff" * 32


class HandClock:
    """Stands still until it is told the time."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def a_position() -> BuildPosition:
    """``a_position(3)`` is the position of trader 3; keywords replace its fields."""

    def build(trader: int, **changes: Any) -> SimPosition:
        fields: dict[str, Any] = {
            "user": f"0x{trader:040x}",
            "market": "BTC-USD",
            "is_long": True,
            "size": 1_000_000_000 + trader,
            "collateral": 100_000_000,
            "price": 60_000 * 10**18,
        }
        return SimPosition(**{**fields, **changes})

    return build


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def build_state(clock: HandClock, a_position: BuildPosition) -> BuildState:
    """One more chain of the same blocks, for a node that sees other things in them."""

    def build() -> ChainState:
        state = ChainState(clock=clock.time)
        state.set_vault(1_000_000_000_000)
        state.set_shield(5_000_000_000)
        state.set_market(SimMarket(market="BTC-USD", pyth_feed=BTC_FEED, feed_max_age=30))
        state.set_market(SimMarket(market="ETH-USD", pyth_feed="0x" + ETH_FEED, market_live=False, is_reduce_only=True))
        state.set_tracer("BTC-USD", -7 * 10**18)
        state.put(a_position(1), a_position(2, is_long=False), a_position(3, market="ETH-USD"))
        state.mine()
        return state

    return build


@pytest.fixture
def state(build_state: BuildState) -> ChainState:
    """A chain with 1,000,000 USDC in the vault, 5,000 in the shield, two markets and three positions."""
    return build_state()


@pytest.fixture
async def start_rpc(state: ChainState) -> AsyncIterator[StartRpc]:
    """``await start_rpc()`` is one more endpoint of the same chain, or of the one given."""
    started: list[SimRpc] = []

    async def start(served: ChainState = state) -> SimRpc:
        rpc = SimRpc(served)
        await rpc.start()
        started.append(rpc)
        return rpc

    yield start
    for rpc in started:
        await rpc.stop()


@pytest.fixture
async def rpc(start_rpc: StartRpc) -> SimRpc:
    return await start_rpc()


@pytest.fixture
async def open_reader(clock: HandClock) -> AsyncIterator[OpenReader]:
    """``open_reader(rpc, other)`` reads through these, endpoints or URLs; keywords replace the settings."""
    opened: list[ChainReader] = []

    def build(*endpoints: SimRpc | str, **changes: Any) -> ChainReader:
        settings: dict[str, Any] = {
            "registry": DATA_REGISTRY,
            "usdc": USDC,
            "chain_id": CHAIN_ID,
            "head_age_max_s": 30.0,
            "vault_includes_shield": False,
            "clock": clock,
            "limits": Limits(request_s=2.0, endpoint_s=4.0, snapshot_s=8.0),
        }
        urls = [endpoint if isinstance(endpoint, str) else endpoint.url for endpoint in endpoints]
        reader = ChainReader(urls, **{**settings, **changes})
        opened.append(reader)
        return reader

    yield build
    for reader in opened:
        await reader.close()
