"""What the traders win together at any price: their coins and their profit, market by market.

For given funding a position's profit is linear in the price until it has lost its collateral, where it stays. So each side of a
market is kept sorted by the price at which that is so, with running sums, and a price costs two binary searches. Whole
numbers: coins are floored to a part in 1e36 of what a base unit buys at a price of 1e-18, so a profit is exact to a base
unit for each position. Built once for each snapshot; asked with every price by the portfolio's rule (``stance``).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from dehedge.core.model import ChainSnapshot, Position
from dehedge.core.policy import HedgingPolicy
from dehedge.core.risk import get_pnl

COIN_SCALE = 10**36
"""Coins times a price scaled by 1e18, divided by this, are base units of the asset."""


class Tally(NamedTuple):
    """The positions of a market at a price: their net coins, and their profit in base units, losses taken off."""

    coins: int
    profit: int


class Line(NamedTuple):
    """A position's profit: ``coins * price - cost``, and never less than ``floor``; all in ``COIN_SCALE``."""

    coins: int
    cost: int
    floor: int

    @property
    def end_price(self) -> int:
        """The highest price at which a long, with its negative the lowest one at which a short, has nothing left."""
        return (self.cost + self.floor) // abs(self.coins)


class _Side(NamedTuple):
    """One side of a market, in the order in which a price that goes against it ends its positions.

    ``alive`` has the sums of coins and cost of the first positions, ``lost`` the sums of what the others have lost.
    """

    end_prices: Sequence[int]
    alive: Sequence[tuple[int, int]]
    lost: Sequence[int]

    def tally(self, price: int) -> tuple[int, int]:
        """Coins, and the profit in ``COIN_SCALE``; a short's price is negative."""
        place = bisect_left(self.end_prices, price)
        coins, cost = self.alive[place]
        return coins, coins * abs(price) - cost + self.lost[-1] - self.lost[place]


class Portfolio:
    """All positions of one asset in one snapshot."""

    def __init__(self, lines: Mapping[str, Sequence[Line]], carriers: Mapping[str, Sequence[Position]]) -> None:
        self.carriers = carriers
        """By market, the positions that may be hedged."""
        self._sides = {
            market: tuple(_build_side(line for line in found if (line.coins > 0) is is_long) for is_long in (True, False))
            for market, found in lines.items()
        }

    @property
    def markets(self) -> Iterable[str]:
        return self._sides.keys()

    def tally(self, market: str, price: int) -> Tally:
        """``price`` is scaled by 1e18."""
        longs, shorts = self._sides[market]
        long_coins, long_profit = longs.tally(price)
        short_coins, short_profit = shorts.tally(-price)
        return Tally(long_coins + short_coins, (long_profit + short_profit) // COIN_SCALE)


def build_portfolio(snapshot: ChainSnapshot, policy: HedgingPolicy) -> Portfolio:
    """Positions that are too small to be hedged count, but carry no hedge; one without an entry price has no profit."""
    asset, size_min, bps_factor = policy.asset, policy.size_min, policy.factors.bps
    lines: dict[str, list[Line]] = {}
    carriers: dict[str, list[Position]] = {}
    for position in snapshot.positions.values():
        if position.asset == asset and position.entry_price > 0 and position.size > 0:
            tracer = snapshot.funding.get((asset, position.market))
            lines.setdefault(position.market, []).append(build_line(position, tracer, bps_factor))
            if position.size >= size_min:
                carriers.setdefault(position.market, []).append(position)
    return Portfolio(lines, carriers)


def build_line(position: Position, tracer: int | None, bps_factor: int) -> Line:
    """The profit of ``risk.get_pnl`` as a line; at a price of 0 it is the cost alone."""
    numerator, denominator = get_pnl(position, 0, tracer, bps_factor)
    coins = position.size * COIN_SCALE // position.entry_price
    return Line(
        coins if position.is_long else -coins, -(numerator * COIN_SCALE // denominator), -position.collateral * COIN_SCALE
    )


def _build_side(lines: Iterable[Line]) -> _Side:
    """Sorted by the end price: the first ones last longest."""
    ordered = sorted(lines, key=lambda line: line.end_price)
    columns = zip(*ordered, strict=True) if ordered else ((), (), ())
    coins, cost, lost = (list(accumulate(column, initial=0)) for column in columns)
    return _Side([line.end_price for line in ordered], list(zip(coins, cost, strict=True)), lost)
