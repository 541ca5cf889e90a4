"""The stand-in chain without any binary: a ``ChainState`` served by one ``SimRpc``.

Mines like a chain of one-second blocks with instant transactions: one block for each change, and one when a request comes
in another second of its clock, so that the head is always current. Used by the demo where anvil is missing, and by tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from dehedge.sim.chain.faults import Faults
from dehedge.sim.chain.model import USDC, Paging, PositionKey, SimMarket, SimPosition
from dehedge.sim.chain.rpc import SimRpc
from dehedge.sim.chain.state import ChainState


class InProcessChain:
    """See ``SimChain``. ``state``, ``rpc`` and ``faults`` are open for what a real node cannot do on demand."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.state = ChainState(clock=clock)
        self.rpc = SimRpc(self.state, auto_mine=True)

    @property
    def url(self) -> str:
        return self.rpc.url

    @property
    def faults(self) -> Faults:
        return self.rpc.faults

    async def start(self) -> None:
        await self.rpc.start()

    async def stop(self) -> None:
        await self.rpc.stop()

    async def put(self, *positions: SimPosition) -> None:
        self.state.put(*positions)
        self.state.mine()

    async def remove(self, key: PositionKey) -> None:
        self.state.remove(key)
        self.state.mine()

    async def set_vault(self, balance: int, asset: str = USDC) -> None:
        self.state.set_vault(balance, asset)
        self.state.mine()

    async def set_shield(self, balance: int, asset: str = USDC) -> None:
        self.state.set_shield(balance, asset)
        self.state.mine()

    async def set_tracer(self, market: str, tracer: int, asset: str = USDC) -> None:
        self.state.set_tracer(market, tracer, asset)
        self.state.mine()

    async def set_market(self, market: SimMarket) -> None:
        self.state.set_market(market)
        self.state.mine()

    async def set_address(self, key: str, address: str) -> None:
        self.state.set_address(key, address)
        self.state.mine()

    async def set_paging(self, paging: Paging) -> None:
        self.state.set_paging(paging)
        self.state.mine()

    async def set_available(self, *, includes_shield: bool) -> None:
        self.state.set_available(includes_shield=includes_shield)
        self.state.mine()

    async def count(self) -> int:
        return self.state.count

    async def mine(self, blocks: int = 1) -> None:
        self.state.mine(blocks)

    async def reorg(self, depth: int) -> None:
        self.state.reorg(depth)
