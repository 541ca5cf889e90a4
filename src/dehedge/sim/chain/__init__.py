"""Local stand-ins of the chain with DePerp's contracts on it: a real EVM, and an in-process server with faults on demand.

``SimChain`` is what both can do, so that the demo and the tests take either. Both answer the same reads byte for byte.
Addresses are those of the deployment on Base where the daemon has them in its defaults. Nothing here reaches beyond
127.0.0.1.
"""

from __future__ import annotations

from typing import Protocol

from dehedge.sim.chain.anvil import AnvilChain
from dehedge.sim.chain.inprocess import InProcessChain
from dehedge.sim.chain.model import (
    CHAIN_ID,
    DATA_REGISTRY,
    MULTICALL3,
    USDC,
    Paging,
    PositionKey,
    SimMarket,
    SimPosition,
    UnknownPosition,
)
from dehedge.sim.chain.process import AnvilUnavailable, find_anvil
from dehedge.sim.chain.rpc import SimRpc
from dehedge.sim.chain.state import ChainState


class SimChain(Protocol):
    """A local chain to read from at ``url``. Amounts are in contract units; each change is in its own, mined block."""

    @property
    def url(self) -> str: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def put(self, *positions: SimPosition) -> None:
        """Open each position, or replace the one under its key in place."""

    async def remove(self, key: PositionKey) -> None:
        """Close a position: the last one moves into its place. Raises UnknownPosition."""

    async def set_vault(self, balance: int, asset: str = USDC) -> None: ...

    async def set_shield(self, balance: int, asset: str = USDC) -> None: ...

    async def set_tracer(self, market: str, tracer: int, asset: str = USDC) -> None: ...

    async def set_market(self, market: SimMarket) -> None:
        """List a market, or replace the details of a listed one."""

    async def count(self) -> int:
        """The number of open positions."""


__all__ = [
    "CHAIN_ID",
    "DATA_REGISTRY",
    "MULTICALL3",
    "USDC",
    "AnvilChain",
    "AnvilUnavailable",
    "ChainState",
    "InProcessChain",
    "Paging",
    "PositionKey",
    "SimChain",
    "SimMarket",
    "SimPosition",
    "SimRpc",
    "UnknownPosition",
    "find_anvil",
]
