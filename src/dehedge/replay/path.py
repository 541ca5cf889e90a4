"""The way that prices took through their candles: every price that the daemon would have seen, and when.

A bar is walked from its open to the extreme that raises the traders' sum first, to the other extreme, and to its close, a
third of its time each, in steps that are short in time and in price. Markets are walked side by side. Whole numbers
throughout: prices in ``PRICE_UNITS``, times in microseconds. Made by the story, which knows what hurts; asked by the engine
and the virtual exchange.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import starmap
from math import exp, sqrt
from random import Random
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from dehedge.errors import ConfigError
from dehedge.replay.model import Bars, Prices

SECOND_US = 1_000_000
LEGS = 3
POINTS = LEGS + 1
"""Turning points of a bar."""
STEP_BPS = 2
"""A step is no longer than this, as far as the shortest time allows."""
TICK_MIN_US, TICK_MAX_US = 400_000, 10 * SECOND_US
"""How often the daemon sees a price: at most, in a storm, and at least."""

WAVE_US = 8 * SECOND_US
"""After so long a wave has forgotten most of itself."""
LEAST = 1e-12
NORMAL = NormalDist()

Flags = NDArray[np.bool_]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Axis:
    """The bars of all markets on one row of times; the price columns are by market, then bar. ``parts`` are steps of a leg."""

    markets: tuple[str, ...]
    start_us: Whole
    step_us: int
    open: Prices
    high: Prices
    low: Prices
    close: Prices
    parts: Whole

    def __len__(self) -> int:
        return len(self.start_us)

    def count_steps(self, bar: int) -> int:
        return LEGS * int(self.parts[bar]) + 1

    def get_time_us(self, bar: int, step: int) -> int:
        return int(self.start_us[bar]) + self.step_us * step // self.count_steps(bar)

    def get_last_us(self, bar: int) -> int:
        """The time of its last step."""
        return self.get_time_us(bar, self.count_steps(bar) - 1)

    def get_times_us(self, bar: int) -> Whole:
        """The time of each step."""
        count = self.count_steps(bar)
        times_us: Whole = self.start_us[bar] + self.step_us * np.arange(count, dtype=np.int64) // count
        return times_us

    def find_bar(self, at_us: int) -> int:
        """The last bar that has begun by then; -1 before the first."""
        return int(self.start_us.searchsorted(at_us, "right")) - 1

    def find_moment(self, at_us: int) -> tuple[int, int]:
        """The bar and the step of the first price from then on; a bar too many after the last."""
        bar = self.find_bar(at_us)
        if bar < 0:
            return 0, 0
        step = int(self.get_times_us(bar).searchsorted(at_us, "left"))
        return (bar, step) if step < self.count_steps(bar) else (bar + 1, 0)


class Waves:
    """How far prices are off the straight way between two turning points: noise that forgets itself in some seconds.

    ``roughness`` is its spread as a share of the bar's range. Nobody knows what was within a candle, so this is for asking what
    an answer owes to straight lines. The same for the same bar, whoever asks; the last one that was asked for is kept.
    """

    def __init__(self, axis: Axis, roughness: float) -> None:
        self._axis = axis
        self._roughness = roughness
        self._last: tuple[tuple[int, int], list[int]] | None = None

    def get(self, market: int, bar: int) -> list[int]:
        """By step of the bar; nothing at its turning points."""
        if self._last is None or self._last[0] != (market, bar):
            self._last = (market, bar), self._draw(market, bar)
        return self._last[1]

    def _draw(self, market: int, bar: int) -> list[int]:
        axis = self._axis
        chance = Random(f"{market} {int(axis.start_us[bar])}")  # noqa: S311  (noise, no secret)
        parts, count = int(axis.parts[bar]), axis.count_steps(bar)
        spread = self._roughness * int(axis.high[market, bar] - axis.low[market, bar])
        kept = exp(-axis.step_us / count / WAVE_US)
        found, wave = [0] * count, 0.0
        for step in range(count):
            wave = kept * wave + sqrt(1 - kept * kept) * NORMAL.inv_cdf(max(chance.random(), LEAST)) * spread
            found[step] = round(wave) if step % parts else 0
        return found


@dataclass(frozen=True, slots=True)
class Path:
    """An axis with the order of its extremes: ``points`` are by market, bar and turning point."""

    axis: Axis
    points: Prices
    waves: Waves | None = None

    def get_price(self, market: int, bar: int, step: int) -> int:
        leg, part = divmod(step, int(self.axis.parts[bar]))
        start = int(self.points[market, bar, leg])
        if not part:
            return start
        straight = start + (int(self.points[market, bar, leg + 1]) - start) * part // int(self.axis.parts[bar])
        if self.waves is None:
            return straight
        price = straight + self.waves.get(market, bar)[step]
        return min(max(price, int(self.axis.low[market, bar])), int(self.axis.high[market, bar]))

    def get_prices(self, market: int, bar: int) -> Prices:
        """The price at each step, as ``get_price`` gives it."""
        parts = int(self.axis.parts[bar])
        points = self.points[market, bar]
        share = np.arange(parts, dtype=np.int64)
        legs = [points[leg] + (points[leg + 1] - points[leg]) * share // parts for leg in range(LEGS)]
        straight = np.concatenate([*legs, points[LEGS:]])
        if self.waves is None:
            return straight
        found = straight + np.array(self.waves.get(market, bar), dtype=np.int64)
        return found.clip(self.axis.low[market, bar], self.axis.high[market, bar])

    def get_price_at(self, market: int, at_us: int) -> int:
        """The price between two steps; after a bar's last one, its close."""
        axis = self.axis
        bar = max(axis.find_bar(at_us), 0)
        last = axis.count_steps(bar) - 1
        step = min((at_us - int(axis.start_us[bar])) * (last + 1) // axis.step_us, last)
        if axis.get_time_us(bar, min(step + 1, last)) <= at_us:
            step = min(step + 1, last)
        before, price = axis.get_time_us(bar, step), self.get_price(market, bar, step)
        if step == last or at_us <= before:
            return price
        after = axis.get_time_us(bar, step + 1)
        return price + (self.get_price(market, bar, step + 1) - price) * (at_us - before) // (after - before)


def build_axis(bars: Mapping[str, Bars]) -> Axis:
    """All markets side by side; one without a bar at some time stays at its close before. Raises ``ConfigError``."""
    _check_bars(bars)
    markets = tuple(sorted(bars))
    start_s = np.unique(np.concatenate([bars[market].start_s for market in markets]))
    columns = np.array([_align(bars[market], start_s) for market in markets], dtype=np.int64)
    step_us = bars[markets[0]].step_s * SECOND_US
    opened, high, low, closed = columns.transpose(1, 0, 2)
    return Axis(
        markets, start_s * SECOND_US, step_us, opened, high, low, closed, _count_parts(high, low, step_us)
    )  # fmt: skip


def _check_bars(bars: Mapping[str, Bars]) -> None:
    empty = sorted(market for market, one in bars.items() if not len(one.start_s))
    if empty or not bars:
        raise ConfigError(f"there are no prices to replay of {', '.join(empty) or 'any market'}: give its candles")
    steps = {market: one.step_s for market, one in bars.items()}
    if len(set(steps.values())) > 1:
        told = ", ".join(starmap("{} {} s".format, sorted(steps.items())))
        raise ConfigError(f"the candles of all markets must be of one length, not {told}: choose files of one interval")


def _align(bars: Bars, start_s: Whole) -> Prices:
    """Open, high, low and close at each of these times."""
    place = bars.start_s.searchsorted(start_s, "right") - 1
    known = place.clip(min=0)
    columns = np.array([bars.open[known], bars.high[known], bars.low[known], bars.close[known]])
    is_own = bars.start_s[known] == start_s
    still = np.where(place < 0, bars.open[0], bars.close[known])
    return np.where(is_own, columns, still)


def _count_parts(high: Prices, low: Prices, step_us: int) -> Whole:
    """Steps of a leg: no leg is longer than its bar is high."""
    bps = ((high - low) * 10_000 // np.maximum(low, 1)).max(axis=0)
    least, most = (-(-step_us // (LEGS * tick_us)) for tick_us in (TICK_MAX_US, TICK_MIN_US))
    parts: Whole = np.clip(-(-bps // STEP_BPS), least, most)
    return parts


def build_path(axis: Axis, is_high_first: Flags, roughness: float = 0.0) -> Path:
    """``is_high_first`` is by market and bar; see ``Waves`` for the roughness."""
    first = np.where(is_high_first, axis.high, axis.low)
    second = np.where(is_high_first, axis.low, axis.high)
    waves = Waves(axis, roughness) if roughness else None
    return Path(axis, np.stack([axis.open, first, second, axis.close], axis=2), waves)
