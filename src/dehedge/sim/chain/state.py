"""The chain as a plain Python model: what the contracts store, in blocks that can be read again and reorganized away.

``ChainState`` is the one mutable object. Its setters change the pending contents, ``mine`` seals them into a block, and a
block never changes afterwards. It knows neither encoding nor faults, so several endpoints can share one state. Driven
by ``InProcessChain`` and by tests, read by ``Node``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from dehedge.sim.chain.model import (
    CONTRACT_ADDRESSES,
    REGISTERED,
    USDC,
    Paging,
    PositionKey,
    SimMarket,
    SimPosition,
    UnknownPosition,
)


def _build_registry() -> Mapping[str, str]:
    return {key: CONTRACT_ADDRESSES[key] for key in REGISTERED}


@dataclass(frozen=True, slots=True)
class Contents:
    """All that the contracts store at one block. Assets are keyed in lower case."""

    registry: Mapping[str, str] = field(default_factory=_build_registry)
    positions: tuple[SimPosition, ...] = ()
    paging: Paging = Paging.INDEX
    vaults: Mapping[str, int] = field(default_factory=dict)
    shields: Mapping[str, int] = field(default_factory=dict)
    includes_shield: bool = False
    tracers: Mapping[tuple[str, str], int] = field(default_factory=dict)
    markets: Mapping[str, SimMarket] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SimBlock:
    number: int
    hash: str
    parent_hash: str
    timestamp: int
    contents: Contents


class ChainState:
    """The stored values and the blocks. ``clock`` gives seconds since the epoch; ``watchers`` are told of each new block
    and of the one before it."""

    def __init__(self, *, clock: Callable[[], float] = time.time, history_blocks: int = 1024) -> None:
        self.watchers: list[Callable[[SimBlock, SimBlock | None], None]] = []
        self._clock = clock
        self._history_blocks = history_blocks
        self._pending = Contents()
        self._positions: list[SimPosition] = []
        self._places: dict[PositionKey, int] = {}
        self._blocks: deque[SimBlock] = deque(maxlen=history_blocks)
        self._by_hash: dict[str, SimBlock] = {}
        self._reorgs = 0
        self.mine()

    @property
    def head(self) -> SimBlock:
        return self._blocks[-1]

    @property
    def count(self) -> int:
        """The number of positions, those not yet mined included."""
        return len(self._positions)

    def put(self, *positions: SimPosition) -> None:
        """Open each position, or replace the one under its key in place."""
        for position in positions:
            place = self._places.get(position.key)
            if place is None:
                self._places[position.key] = len(self._positions)
                self._positions.append(position)
            else:
                self._positions[place] = position

    def remove(self, key: PositionKey) -> None:
        """Close a position. As on chain, the last one moves into the gap."""
        if key not in self._places:
            raise UnknownPosition(f"no position of {key.user} in {key.market}")
        place, last = self._places.pop(key), self._positions.pop()
        if place < len(self._positions):
            self._positions[place] = last
            self._places[last.key] = place

    def set_vault(self, balance: int, asset: str = USDC) -> None:
        self._pending = replace(self._pending, vaults={**self._pending.vaults, asset.lower(): balance})

    def set_shield(self, balance: int, asset: str = USDC) -> None:
        self._pending = replace(self._pending, shields={**self._pending.shields, asset.lower(): balance})

    def set_tracer(self, market: str, tracer: int, asset: str = USDC) -> None:
        self._pending = replace(self._pending, tracers={**self._pending.tracers, (asset.lower(), market): tracer})

    def set_market(self, market: SimMarket) -> None:
        self._pending = replace(self._pending, markets={**self._pending.markets, market.market: market})

    def set_address(self, key: str, address: str) -> None:
        """Register a contract under a key; the zero address unregisters it."""
        self._pending = replace(self._pending, registry={**self._pending.registry, key: address})

    def set_paging(self, paging: Paging) -> None:
        self._pending = replace(self._pending, paging=paging)

    def set_available(self, *, includes_shield: bool) -> None:
        """Whether the available balance is vault and shield together, as in some deployments."""
        self._pending = replace(self._pending, includes_shield=includes_shield)

    def mine(self, blocks: int = 1) -> SimBlock:
        """Seal the pending contents into so many blocks; returns the new head."""
        self._pending = replace(self._pending, positions=self._freeze_positions())
        for _ in range(blocks):
            self._append(self._build_block())
        return self.head

    def catch_up(self) -> None:
        """Mine a block if the clock has entered another second since the head."""
        if int(self._clock()) > self.head.timestamp:
            self.mine()

    def reorg(self, depth: int) -> None:
        """Replace the last blocks by as many empty ones; whatever they changed, or was not mined, is undone."""
        assert 0 < depth < len(self._blocks), f"cannot replace {depth} of {len(self._blocks)} blocks"
        for _ in range(depth):
            self._blocks.pop()
        self._reorgs += 1
        self._pending = self.head.contents
        self._positions = list(self._pending.positions)
        self._places = {position.key: place for place, position in enumerate(self._positions)}
        self.mine(depth)

    def get_block(self, number: int) -> SimBlock | None:
        """The canonical block of this height, or None when it is not mined yet or no longer kept."""
        place = number - self._blocks[0].number
        return self._blocks[place] if 0 <= place < len(self._blocks) else None

    def get_block_by_hash(self, block_hash: str) -> SimBlock | None:
        """Any block of this hash, also one that a reorganization has replaced."""
        return self._by_hash.get(block_hash.lower())

    def _freeze_positions(self) -> tuple[SimPosition, ...]:
        frozen = tuple(self._positions)
        return self._pending.positions if frozen == self._pending.positions else frozen

    def _build_block(self) -> SimBlock:
        parent = self.head if self._blocks else None
        number = parent.number + 1 if parent else 0
        parent_hash = parent.hash if parent else "0x" + "00" * 32
        timestamp = max(int(self._clock()), parent.timestamp if parent else 0)
        seed = f"{number}|{parent_hash}|{timestamp}|{self._reorgs}"
        return SimBlock(number, "0x" + sha256(seed.encode()).hexdigest(), parent_hash, timestamp, self._pending)

    def _append(self, block: SimBlock) -> None:
        parent = self._blocks[-1] if self._blocks else None
        self._blocks.append(block)
        self._by_hash[block.hash] = block
        while len(self._by_hash) > self._history_blocks:
            del self._by_hash[next(iter(self._by_hash))]
        for watcher in self.watchers:
            watcher(block, parent)
