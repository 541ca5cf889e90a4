"""What the traders did, whatever the hedges do: who is there when, what each won, and what vault and shield have then.

A trader's profit is paid from the shield and, what that lacks, from the vault; a loss goes to the shield. A loss ends with
the collateral: the position is liquidated then and its collateral is the shield's. Traders open and close at the open of
the first bar from their time on. No policy changes any of this, so a story is made once for all of them. Balances are whole
base units; the float columns serve the search for moments alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dehedge.core.model import PRICE_SCALE, HedgeKey, Position
from dehedge.core.risk import get_pnl
from dehedge.errors import ConfigError
from dehedge.replay.model import PRICE_UNITS, USDC_UNIT, Floats, History, Trader
from dehedge.replay.path import LEGS, POINTS, Axis, Flags, Path, Whole, build_axis, build_path

ASSET = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
"""USDC on Base: the asset of every position here."""
PRICE_FACTOR = PRICE_SCALE // PRICE_UNITS
NEVER_US = 2**62


class Balance(NamedTuple):
    """What vault and shield have from a moment on, in base units; ``point`` counts turning points from the first bar."""

    at_us: int
    bar: int
    point: int
    vault: int
    shield: int


@dataclass(frozen=True, slots=True)
class Lives:
    """Positions as columns, in the order of opening; ``coins`` are signed, ``cost`` is what these coins cost, in USD.

    A life lasts from the beginning of ``opened_bar`` to ``ended_us``; ``ended_point`` is the first turning point without it.
    """

    market: Whole
    opened_bar: Whole
    opened_us: Whole
    ended_bar: Whole
    ended_us: Whole
    ended_point: Whole
    is_liquidated: Flags
    coins: Floats
    cost: Floats


@dataclass(frozen=True)
class Story:
    """The path of prices, the positions by row, and the balances, each from its moment on."""

    path: Path
    positions: Sequence[Position]
    lives: Lives
    balances: Sequence[Balance]

    @cached_property
    def _rows(self) -> Mapping[HedgeKey, Sequence[int]]:
        found: dict[HedgeKey, list[int]] = defaultdict(list)
        for row, position in enumerate(self.positions):
            found[position.key].append(row)
        return found

    @cached_property
    def _opened_us(self) -> Mapping[HedgeKey, Sequence[int]]:
        opened_us = self.lives.opened_us.tolist()
        return {key: [opened_us[row] for row in rows] for key, rows in self._rows.items()}

    @cached_property
    def ends_us(self) -> Sequence[int]:
        return list(self.lives.ended_us.tolist())

    @cached_property
    def _balance_times_us(self) -> Sequence[int]:
        return [balance.at_us for balance in self.balances]

    def find_row(self, key: HedgeKey, at_us: int) -> int | None:
        """The row of the position that is open under this key then."""
        times = self._opened_us.get(key, ())
        place = bisect_right(times, at_us) - 1
        if place < 0:
            return None
        row = self._rows[key][place]
        return row if at_us < self.ends_us[row] else None

    def list_open(self, at_us: int) -> list[int]:
        lives = self.lives
        rows: list[int] = np.flatnonzero((lives.opened_us <= at_us) & (at_us < lives.ended_us)).tolist()
        return rows

    def get_balance(self, at_us: int) -> Balance:
        """What vault and shield have then, after all that was settled at that time."""
        return self.balances[max(bisect_right(self._balance_times_us, at_us) - 1, 0)]

    def get_open_profit(self, point: int) -> int:
        """The sum of the open profits and losses at a turning point, exact to a base unit for each position."""
        bar, turn = divmod(point, POINTS)
        lives = self.lives
        rows = np.flatnonzero((lives.opened_bar * POINTS <= point) & (point < lives.ended_point))
        prices = self.path.points[:, bar, turn] * 1
        return sum(get_profit(self.positions[row], int(prices[lives.market[row]])) for row in rows.tolist())

    def compute_open_profits(self) -> Floats:
        """The same in USD for all turning points, nearly."""
        lives, count = self.lives, len(self.path.axis) * POINTS
        total = np.zeros(count)
        for market in range(len(self.path.axis.markets)):
            rows = np.flatnonzero(lives.market == market)
            coins, cost = (_accumulate(lives, rows, column, count) for column in (lives.coins, lives.cost))
            total += coins * (self.path.points[market].reshape(-1) / PRICE_UNITS) - cost
        return total

    def compute_balances(self) -> tuple[Floats, Floats]:
        """Vault and shield at all turning points, in USD, nearly."""
        points = np.array([balance.point for balance in self.balances])
        place = points.searchsorted(np.arange(len(self.path.axis) * POINTS), "right") - 1
        vault, shield = (
            np.array([float(amount) for amount in amounts]) / USDC_UNIT
            for amounts in zip(*((one.vault, one.shield) for one in self.balances), strict=True)
        )
        return vault[place], shield[place]


def _accumulate(lives: Lives, rows: Whole, column: Floats, count: int) -> Floats:
    """The sum of a column over those that are open, at each turning point."""
    values = column[rows]
    came = np.bincount(lives.opened_bar[rows] * POINTS, weights=values, minlength=count + 1)
    left = np.bincount(lives.ended_point[rows], weights=values, minlength=count + 1)
    return np.cumsum(came - left)[:count]


def get_profit(position: Position, price: int) -> int:
    """What the position has won at a price in ``PRICE_UNITS``, in base units; a loss ends with the collateral."""
    won, scale = get_pnl(position, price * PRICE_FACTOR, None, 1)
    return max(won // scale, -position.collateral)


def build_story(history: History) -> Story:
    """Play the traders' part. Raises ``ConfigError`` for a book that cannot have been."""
    axis = build_axis(history.bars)
    drafts = sorted(_draft_lives(history.traders, axis), key=lambda draft: draft.opened_bar)
    positions = [_build_position(draft, axis) for draft in drafts]
    _check_unique(drafts, positions)
    ends = [_find_end(draft, position, axis) for draft, position in zip(drafts, positions, strict=True)]
    path = build_path(axis, _find_high_first(axis, drafts, positions, ends), history.roughness)
    lives = _build_lives(path, drafts, positions, ends)
    return Story(path, positions, lives, _settle(history, path, positions, lives))


class _Draft(NamedTuple):
    """A trader by the places of bars; ``closed_bar`` is one too many where it stays open."""

    trader: Trader
    market: int
    opened_bar: int
    closed_bar: int


class _End(NamedTuple):
    """The bar in which a position ends; ``limit`` is the price of its liquidation, None where it closes by itself."""

    bar: int
    limit: int | None


def _draft_lives(traders: Sequence[Trader], axis: Axis) -> Iterator[_Draft]:
    starts_s = axis.start_us // 1_000_000
    markets = {market: place for place, market in enumerate(axis.markets)}
    unknown = sorted({trader.market for trader in traders} - markets.keys())
    if unknown:
        raise ConfigError(f"the trader book has positions in {', '.join(unknown)}, of which no prices are given")
    opened = starts_s.searchsorted([trader.opened_s for trader in traders]).tolist()
    closed_s = [NEVER_US if trader.closed_s is None else trader.closed_s for trader in traders]
    closed = starts_s.searchsorted(closed_s).tolist()
    for trader, opened_bar, closed_bar in zip(traders, opened, closed, strict=True):
        if opened_bar < closed_bar and trader.size > 0:
            yield _Draft(trader, markets[trader.market], opened_bar, closed_bar)


def _build_position(draft: _Draft, axis: Axis) -> Position:
    trader = draft.trader
    entry = trader.entry_price
    if entry is None:
        entry = int(axis.open[draft.market, draft.opened_bar]) * PRICE_FACTOR
    return Position(
        trader.user, ASSET, trader.market, trader.is_long, trader.size, trader.collateral, 0, entry, trader.opened_s
    )  # fmt: skip


def _check_unique(drafts: Sequence[_Draft], positions: Sequence[Position]) -> None:
    """On chain a user has one position in a market."""
    free_from: dict[HedgeKey, int] = {}
    for draft, position in zip(drafts, positions, strict=True):
        if draft.opened_bar < free_from.get(position.key, 0):
            raise ConfigError(f"the trader book has two positions of {position.user} in {position.market} at one time")
        free_from[position.key] = draft.closed_bar


def get_liquidation_price(position: Position) -> int | None:
    """At which price in ``PRICE_UNITS`` the collateral is lost, on the safe side by less than a unit; None for never."""
    entry, size, collateral = position.entry_price, position.size, position.collateral
    if position.is_long:
        price = entry * (size - collateral) // (size * PRICE_FACTOR)
        return price if price > 0 else None
    return min(-(-entry * (size + collateral) // (size * PRICE_FACTOR)), NEVER_US)


def _find_end(draft: _Draft, position: Position, axis: Axis) -> _End:
    limit = get_liquidation_price(position)
    if limit is None or position.entry_price <= 0:
        return _End(draft.closed_bar, None)
    part = slice(draft.opened_bar, draft.closed_bar)
    column = axis.low if position.is_long else axis.high
    is_hit = column[draft.market, part] <= limit if position.is_long else column[draft.market, part] >= limit
    first = int(is_hit.argmax())
    return _End(draft.opened_bar + first, limit) if is_hit[first] else _End(draft.closed_bar, None)


def _find_high_first(
    axis: Axis, drafts: Sequence[_Draft], positions: Sequence[Position], ends: Sequence[_End]
) -> Flags:
    """By market and bar, whether a rise makes those richer who are there when the bar begins."""
    net = np.zeros((len(axis.markets), len(axis) + 1))
    for draft, position, end in zip(drafts, positions, ends, strict=True):
        coins = _get_coins(position)
        net[draft.market, draft.opened_bar] += coins
        net[draft.market, min(end.bar + (end.limit is not None), len(axis))] -= coins
    return net.cumsum(axis=1)[:, :-1] > 0


def _get_coins(position: Position) -> float:
    coins = position.size / USDC_UNIT / (position.entry_price / PRICE_SCALE) if position.entry_price > 0 else 0.0
    return coins if position.is_long else -coins


def _build_lives(path: Path, drafts: Sequence[_Draft], positions: Sequence[Position], ends: Sequence[_End]) -> Lives:
    axis = path.axis
    moments = [
        _find_moment(path, draft.market, position, end)
        for draft, position, end in zip(drafts, positions, ends, strict=True)
    ]
    opened = np.array([draft.opened_bar for draft in drafts], dtype=np.int64)
    coins = np.array([_get_coins(position) for position in positions], dtype=np.float64)
    entries = np.array([position.entry_price / PRICE_SCALE for position in positions], dtype=np.float64)
    return Lives(
        np.array([draft.market for draft in drafts], dtype=np.int64), opened, axis.start_us[opened],
        np.array([end.bar for end in ends], dtype=np.int64),
        np.array([at_us for at_us, _ in moments], dtype=np.int64),
        np.array([point for _, point in moments], dtype=np.int64),
        np.array([end.limit is not None for end in ends], dtype=np.bool_), coins, coins * entries,
    )  # fmt: skip


def _find_moment(path: Path, market: int, position: Position, end: _End) -> tuple[int, int]:
    """When a position ends, and the first turning point without it."""
    axis, bar = path.axis, end.bar
    if bar == len(axis):
        return NEVER_US, bar * POINTS
    if end.limit is None:
        return int(axis.start_us[bar]), bar * POINTS
    parts = int(axis.parts[bar])
    turns = path.points[market, bar]
    is_hit = turns <= end.limit if position.is_long else turns >= end.limit
    leg = max(int(is_hit.argmax()) - 1, 0)
    steps = (path.get_price(market, bar, step) for step in range(leg * parts, LEGS * parts + 1))
    reached = (price <= end.limit if position.is_long else price >= end.limit for price in steps)
    step = leg * parts + next(place for place, is_reached in enumerate(reached) if is_reached)
    return axis.get_time_us(bar, step), bar * POINTS + -(-step // parts)


def _settle(history: History, path: Path, positions: Sequence[Position], lives: Lives) -> Sequence[Balance]:
    """Vault and shield from the beginning, and after each end."""
    start_us = int(path.axis.start_us[0])
    vault, shield = history.vault, history.shield
    found = [Balance(start_us, 0, 0, vault, shield)]
    ended = np.flatnonzero(lives.ended_us < NEVER_US)
    order = ended[np.lexsort((ended, lives.ended_us[ended]))].tolist()
    columns = (lives.ended_us.tolist(), lives.ended_bar.tolist(), lives.ended_point.tolist())
    for row in order:
        at_us, bar, point = (column[row] for column in columns)
        price = int(path.axis.open[lives.market[row], bar])
        won = -positions[row].collateral if lives.is_liquidated[row] else get_profit(positions[row], price)
        shield -= won
        vault, shield = vault + min(shield, 0), max(shield, 0)
        found.append(Balance(at_us, bar, point, vault, shield))
    return found
