"""What the daemon would see at a moment of a story: the newest block, the prices, the marks.

The chain has a block every two seconds, and the daemon knows the two newest. Positions are looked up when they are asked
for, so a view of a thousand costs nothing. Asked by the engine; decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

import numpy as np

from dehedge.core.model import ChainSnapshot, HedgeKey, Observation, Position, PriceTick
from dehedge.replay.model import PRICE_UNITS
from dehedge.replay.path import SECOND_US
from dehedge.replay.story import PRICE_FACTOR, Story

BLOCK_US = 2 * SECOND_US
UNIT = Decimal(1) / PRICE_UNITS


class OpenPositions(Mapping[HedgeKey, Position]):
    """The positions that are open at a time."""

    def __init__(self, story: Story, at_us: int) -> None:
        self._story = story
        self._at_us = at_us

    def __getitem__(self, key: HedgeKey) -> Position:
        row = self._story.find_row(key, self._at_us)
        if row is None:
            raise KeyError(key)
        return self._story.positions[row]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, HedgeKey) and self._story.find_row(key, self._at_us) is not None

    def __iter__(self) -> Iterator[HedgeKey]:
        return (self._story.positions[row].key for row in self._story.list_open(self._at_us))

    def __len__(self) -> int:
        return len(self._story.list_open(self._at_us))


class Eyes:
    """Observes a story. ``symbols`` are the exchange's names of its markets, in their order."""

    def __init__(self, story: Story, symbols: Sequence[str]) -> None:
        self._story = story
        self._symbols = symbols
        self._blocks: dict[int, ChainSnapshot] = {}
        lives = story.lives
        self._changes_us = np.unique(np.concatenate([lives.opened_us, lives.ended_us]))
        self._open: tuple[int, OpenPositions] | None = None

    def observe(self, bar: int, step: int) -> Observation:
        path = self._story.path
        at_us = path.axis.get_time_us(bar, step)
        prices = [path.get_price(market, bar, step) for market in range(len(path.axis.markets))]
        ticks = {
            market: PriceTick(market, price * PRICE_FACTOR, 0, at_us // SECOND_US)
            for market, price in zip(path.axis.markets, prices, strict=True)
        }
        marks = {symbol: price * UNIT for symbol, price in zip(self._symbols, prices, strict=True)}
        number = at_us // BLOCK_US
        return Observation(
            self._get_block(number), ticks, marks, at_us / SECOND_US, self._get_block(number - 1)
        )  # fmt: skip

    def _get_block(self, number: int) -> ChainSnapshot:
        if number not in self._blocks:
            self._blocks = {kept: block for kept, block in self._blocks.items() if kept >= number - 1}
            self._blocks[number] = self._build_block(number)
        return self._blocks[number]

    def _build_block(self, number: int) -> ChainSnapshot:
        at_us = number * BLOCK_US
        balance = self._story.get_balance(at_us)
        return ChainSnapshot(
            number, f"0x{number:064x}", at_us // SECOND_US, max(balance.vault, 0), balance.shield,
            self._get_open(at_us), {}, {},
        )  # fmt: skip

    def _get_open(self, at_us: int) -> OpenPositions:
        """The same object for as long as nobody comes or goes."""
        since = int(self._changes_us.searchsorted(at_us, "right"))
        if self._open is None or self._open[0] != since:
            self._open = since, OpenPositions(self._story, at_us)
        return self._open[1]
