"""What the traders of each market stand to win by together, by side: in the asset and in the base coin.

A position of size S entered at E is S / E coins of the market, whatever the price does. Computed in floats, by calls of numpy
that release the interpreter, and rounded: a figure to look at, from which nothing is decided and no quantity is made.
Called by ``overview`` in a thread, once for each table of positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from dehedge.core.model import PRICE_SCALE
from dehedge.core.trigger import Columns, Flags, Floats, Rows

COIN_PLACES = 8


class Crowd(NamedTuple):
    """All positions of one side of a market: how many, their size in the asset's base units, and their coins."""

    positions: int
    size: int
    coins: Decimal


class Crowds(NamedTuple):
    """Both sides of a market."""

    longs: Crowd
    shorts: Crowd

    @property
    def net_coins(self) -> Decimal:
        """Positive where the traders together are long."""
        return self.longs.coins - self.shorts.coins


NOBODY = Crowds(Crowd(0, 0, Decimal(0)), Crowd(0, 0, Decimal(0)))


def measure_crowds(rows: Rows, asset: str, asset_unit: int) -> Mapping[str, Crowds]:
    """By market, of the positions in this asset alone."""
    columns = rows.get_columns()
    if asset not in columns.assets:
        return {}
    is_ours = columns.asset == columns.assets.index(asset)
    with np.errstate(all="ignore"):
        coins = columns.size / columns.entry_price * (PRICE_SCALE / asset_unit)
    coins = np.where(np.isfinite(coins), coins, 0.0)
    longs = _sum_up(columns, is_ours & columns.is_long, coins)
    shorts = _sum_up(columns, is_ours & ~columns.is_long, coins)
    found = {market: Crowds(longs[place], shorts[place]) for place, market in enumerate(columns.markets)}
    return {market: crowds for market, crowds in found.items() if crowds.longs.positions or crowds.shorts.positions}


def _sum_up(columns: Columns, chosen: Flags, coins: Floats) -> list[Crowd]:
    """One for each market, in the order of their names."""
    places, width = columns.market[chosen], len(columns.markets)
    counts = np.bincount(places, minlength=width)
    sizes = np.bincount(places, weights=columns.size[chosen], minlength=width)
    sums = np.bincount(places, weights=coins[chosen], minlength=width)
    return [
        Crowd(int(count), round(float(size)), Decimal(f"{float(total):.{COIN_PLACES}f}"))
        for count, size, total in zip(counts, sizes, sums, strict=True)
    ]
