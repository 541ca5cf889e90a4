"""Finds the moments at which anything may be decided, and looks past all others.

Proposes; the core disposes. A position's profit is linear in the price, so a candle's extremes bound it, and so do the
least and the greatest figure that fires a check while the candle lasts. Computed in floats with a margin far above their
error: a moment at which ``assess`` could say anything else than the book expects is never left out (a test holds this
against a screen that leaves out nothing). Asked by the engine, which tells what the book expects of each hedge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dehedge.core.model import HedgeKey
from dehedge.core.policy import HedgingPolicy
from dehedge.replay.model import PRICE_UNITS, USDC_UNIT, Floats
from dehedge.replay.path import Axis, Flags, Whole
from dehedge.replay.story import Story
from dehedge.replay.view import BLOCK_US
from dehedge.replay.watch import Account, Expected, Watch

CHUNK = 256
"""Bars that are looked at together."""
MARGIN = 1e-9
"""Of all amounts that a profit is made of: some millions of times what floats get wrong of it."""


class Limits(NamedTuple):
    """The profit, in USD, that fires a check: the least and the greatest of each bar, and by balance, give or take ``room``."""

    low: Floats
    high: Floats
    times_us: Whole
    exact: Floats
    room: Floats

    def get_at(self, times_us: Whole) -> tuple[Floats, Floats]:
        """The least and the greatest at each of these times, by the newest block of then."""
        place = (self.times_us.searchsorted(times_us // BLOCK_US * BLOCK_US, "right") - 1).clip(min=0)
        exact, room = self.exact[place], self.room[place]
        return exact - room, exact + room


class Screen:
    """Of one story and one policy's factors."""

    def __init__(self, story: Story, policy: HedgingPolicy) -> None:
        self._story = story
        self._limits = compute_limits(story, policy)
        sizes = np.array([position.size for position in story.positions], dtype=np.float64)
        self._is_large = sizes >= policy.size_min
        self._lag = 1 + BLOCK_US // story.path.axis.step_us
        self._chunk = _Chunk(0, 0, np.empty(0, np.int64), *([np.empty((0, 0), np.bool_)] * 3))

    def find_bar(self, bar: int, watch: Watch) -> int:
        """The first bar from this one on in which something may be decided, no further than the chunk; else its end."""
        self._load(bar, watch)
        chunk = self._chunk
        found = chunk.find(watch.expected[chunk.rows], bar)
        for account in watch.accounts:
            found = min(found, self._find_thin_bar(account, bar, chunk.end))
        return min(found, max(self._story.path.axis.find_moment(watch.due_us)[0], bar))

    def look(self, bar: int, watch: Watch) -> Glance:
        """The bar step by step."""
        self._load(bar, watch)
        return Glance(self._story, bar, self._chunk.rows, self._limits)

    def list_risky(self, start: int) -> Iterator[tuple[int, list[int]]]:
        """The rows that may be at risk in the chunk that begins there, each with the bars in which it may be."""
        chunk = self._build_chunk(start, np.empty(0, np.int64))
        for row, may_risk in zip(chunk.rows.tolist(), chunk.may_risk, strict=True):
            yield row, [start + place for place in np.flatnonzero(may_risk).tolist()]

    def _load(self, bar: int, watch: Watch) -> None:
        chunk = self._chunk
        if not (chunk.start <= bar < chunk.end and watch.check_among(chunk.known)):
            self._chunk = self._build_chunk(bar, watch.list_rows())

    def _build_chunk(self, start: int, hedged: Whole) -> _Chunk:
        end = min(start + CHUNK, len(self._story.path.axis))
        rows = np.union1d(self._find_candidates(start, end), hedged)
        lives = self._story.lives
        bars = np.arange(start, end)
        opened, ended = lives.opened_bar[rows, None], lives.ended_bar[rows, None]
        low, high = self._compute_gains(rows, start, end)
        room = MARGIN * (np.abs(low) + np.abs(high) + 2 * np.abs(lives.cost[rows, None])) + 1e-6
        is_there = (opened <= bars) & (bars <= ended + self._lag)
        may_risk = is_there & (high + room >= self._limits.low[start:end])
        may_safe = low - room <= self._limits.high[start:end]
        return _Chunk(start, end, rows, may_risk, may_safe, bars >= ended)

    def _find_candidates(self, start: int, end: int) -> Whole:
        """Who may be at risk at some time of these bars."""
        lives = self._story.lives
        last = int(lives.opened_bar.searchsorted(end))
        is_there = self._is_large[:last] & (lives.ended_bar[:last] + self._lag >= start)
        rows = np.flatnonzero(is_there)
        axis = self._story.path.axis
        low = axis.low[:, start:end].min(axis=1) / PRICE_UNITS
        high = axis.high[:, start:end].max(axis=1) / PRICE_UNITS
        coins, market = lives.coins[rows], lives.market[rows]
        best = coins * np.where(coins > 0, high[market], low[market])
        room = MARGIN * (np.abs(best) + np.abs(lives.cost[rows])) + 1e-6
        least = self._limits.low[start:end].min()
        found: Whole = rows[~(best - lives.cost[rows] + room < least)]
        return found

    def _compute_gains(self, rows: Whole, start: int, end: int) -> tuple[Floats, Floats]:
        """The least and the greatest profit of each row in each bar."""
        axis, lives = self._story.path.axis, self._story.lives
        coins, market = lives.coins[rows, None], lives.market[rows]
        low = coins * (axis.low[market, start:end] / PRICE_UNITS) - lives.cost[rows, None]
        high = coins * (axis.high[market, start:end] / PRICE_UNITS) - lives.cost[rows, None]
        return np.minimum(low, high), np.maximum(low, high)

    def _find_thin_bar(self, account: Account, bar: int, end: int) -> int:
        """The first bar in which the account may be liquidated."""
        axis = self._story.path.axis
        low, high = axis.low[:, bar:end] / PRICE_UNITS, axis.high[:, bar:end] / PRICE_UNITS
        thin = np.flatnonzero(_check_thin(account, low, high))
        return bar + int(thin[0]) if len(thin) else end


def check_thin_bar(account: Account, axis: Axis, bar: int) -> bool:
    """True where the account may be liquidated in this bar."""
    part = slice(bar, bar + 1)
    return bool(_check_thin(account, axis.low[:, part] / PRICE_UNITS, axis.high[:, part] / PRICE_UNITS)[0])


def _check_thin(account: Account, low: Floats, high: Floats) -> Flags:
    """Whether the account may be worth too little between these prices (by market)."""
    coins = account.coins[:, None]
    worst = account.base + np.minimum(coins * low, coins * high).sum(axis=0)
    notional = (np.abs(coins) * high).sum(axis=0)
    return np.asarray(worst <= account.maintenance * notional + MARGIN * (notional + abs(account.base)) + 1e-6)


@dataclass(frozen=True)
class _Chunk:
    """Rows that may matter in some bars, and by row and bar what may be."""

    start: int
    end: int
    rows: Whole
    may_risk: Flags
    may_safe: Flags
    is_over: Flags

    @cached_property
    def known(self) -> frozenset[int]:
        return frozenset(self.rows.tolist())

    def find(self, expected: Whole, bar: int) -> int:
        """The first bar from there on of which not all is as expected."""
        since = bar - self.start
        state = expected[:, None]
        may_differ = np.where(state == Expected.RISKY, self.may_safe[:, since:], self.may_risk[:, since:])
        may_differ |= (state != Expected.QUIET) & self.is_over[:, since:]
        found = np.flatnonzero(may_differ.any(axis=0))
        return bar + int(found[0]) if len(found) else self.end


class Glance:
    """One bar, by row and step."""

    def __init__(self, story: Story, bar: int, rows: Whole, limits: Limits) -> None:
        lives, path = story.lives, story.path
        self.rows = rows
        self._known = frozenset(rows.tolist())
        self.times_us = path.axis.get_times_us(bar)
        self._prices = np.array([path.get_prices(m, bar) for m in range(len(path.axis.markets))]) / PRICE_UNITS
        self._story = story
        gains = lives.coins[rows, None] * self._prices[lives.market[rows]] - lives.cost[rows, None]
        room = MARGIN * (np.abs(gains) + 2 * np.abs(lives.cost[rows, None])) + 1e-6
        opened, ended = lives.opened_us[rows, None], lives.ended_us[rows, None]
        is_there = (opened <= self.times_us) & (self.times_us < np.minimum(ended, 2**61) + BLOCK_US)
        least, most = limits.get_at(self.times_us)
        self._may_risk = is_there & (gains + room >= least)
        self._may_safe = gains - room <= most
        self._is_over = ended <= self.times_us

    def knows(self, watch: Watch) -> bool:
        """False when the rows were chosen for other hedges."""
        return watch.check_among(self._known)

    def find_step(self, step: int, watch: Watch) -> int:
        """The first step from there on at which something may be decided; one too many for none."""
        differs = self._find_differences(watch)[:, step:].any(axis=0)
        differs |= self.times_us[step:] >= watch.due_us
        for account in watch.accounts:
            prices = self._prices[:, step:]
            differs |= _check_thin(account, prices, prices)
        found = np.flatnonzero(differs)
        return step + int(found[0]) if len(found) else len(self.times_us)

    def list_keys(self, step: int, watch: Watch) -> list[HedgeKey]:
        """Of whom something else than expected may be so at this step."""
        differs = self._find_differences(watch, step)[:, 0]
        return [self._story.positions[row].key for row in self.rows[differs].tolist()]

    def _find_differences(self, watch: Watch, step: int | None = None) -> Flags:
        part = slice(None) if step is None else slice(step, step + 1)
        expected = watch.expected[self.rows, None]
        differs: Flags = np.where(expected == Expected.RISKY, self._may_safe[:, part], self._may_risk[:, part])
        differs |= (expected != Expected.QUIET) & self._is_over[:, part]
        return differs


def compute_limits(story: Story, policy: HedgingPolicy) -> Limits:
    """By bar, from the balances that the daemon may see while it lasts."""
    factors = policy.factors
    vault = np.array([float(max(balance.vault, 0)) for balance in story.balances]) / USDC_UNIT
    shield = np.array([float(balance.shield) for balance in story.balances]) / USDC_UNIT
    limits = [shield, vault + shield - vault * float(factors.vault)]
    if factors.profit_limit_interest:
        limits.append(vault + shield - vault * float(factors.vault_profit_limit))
    limit = np.minimum.reduce(limits)
    room = MARGIN * (shield + vault * (2 + float(max(factors.vault, factors.vault_profit_limit)))) + 1e-6
    times_us = np.array([balance.at_us for balance in story.balances], dtype=np.int64)
    low, high = _reduce(np.minimum, limit - room, story), _reduce(np.maximum, limit + room, story)
    return Limits(low, high, times_us, limit, room)


def _reduce(extreme: np.ufunc, values: Floats, story: Story) -> Floats:
    """The extreme of what was so at some time of each bar, or a block before it."""
    bars = np.arange(len(story.path.axis))
    moments = np.array([balance.bar for balance in story.balances])
    lag = 1 + BLOCK_US // story.path.axis.step_us
    first = (moments.searchsorted(bars - lag, "left") - 1).clip(min=0)
    last = moments.searchsorted(bars, "right")
    edges = np.stack([first, last], axis=1).reshape(-1)
    padded = np.append(values, values[-1])
    return np.asarray(extreme.reduceat(padded, edges)[::2])
