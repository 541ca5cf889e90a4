"""Lets the portfolio's watch see a story: every price of it, and no more of its passes than may decide something.

While nothing is hedged, a bar in which no market can be fast, or in which the traders' sum stays too far from the room's end, needs
no pass: what its prices say of the pace is told to the watch before the next one. Bounds are floats with a margin; the core
decides. Asked by the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import numpy as np

from dehedge.core.model import HedgeKey, Observation, Position, TradingRules
from dehedge.core.pace import MEMORY, MINUTE_US, SLOPE_US
from dehedge.core.policy import HedgingPolicy, PortfolioTerms
from dehedge.core.portfolio import Portfolio, build_portfolio
from dehedge.core.stance import DRIFT, PortfolioWatch, Scene, sum_held
from dehedge.replay.desk import Desk
from dehedge.replay.model import PRICE_UNITS, Floats
from dehedge.replay.path import POINTS, SECOND_US, Axis, Flags
from dehedge.replay.screen import compute_limits
from dehedge.replay.story import PRICE_FACTOR, Story

LOOKED_PAST_MAX = 60
"""Bars in a row, while something is held."""
MARGIN = 1.001
"""Of what is compared in floats."""


class Together:
    """Of one story and one policy."""

    def __init__(self, story: Story, policy: HedgingPolicy, rules: Mapping[str, TradingRules]) -> None:
        self._story = story
        self._policy = policy
        self._rules = rules
        self._watch = PortfolioWatch()
        self._may_buy = _find_buying_bars(story, policy)
        self._may_let_go = _find_other_bars(story, policy)
        self._is_misplaced = False
        self._is_by_minute = story.path.axis.step_us == MINUTE_US and _check_minutes(story.path.axis)
        self._held: tuple[int, Mapping[str, Decimal]] = -1, {}
        self._seen_bars = 0
        self._positions: Mapping[HedgeKey, Position] | None = None
        self._portfolio: Portfolio | None = None

    def check_calm(self, bar: int, *, is_held: bool) -> bool:
        """True for a bar in which nothing is bought, and nothing is let go or followed where something is held."""
        if self._may_buy[bar]:
            return False
        # What is misplaced grows by itself only as the markets' prices part, and by this much in no such time.
        return not is_held or not (self._may_let_go[bar] or self._is_misplaced or bar - self._seen_bars > LOOKED_PAST_MAX)

    def look(self, observation: Observation, desk: Desk, bar: int) -> tuple[Observation, bool]:
        """With its stance; and whether other positions are there than at the last look."""
        self._catch_up(bar)
        is_new = observation.snapshot.positions is not self._positions
        if self._portfolio is None or is_new:
            self._positions = observation.snapshot.positions
            self._portfolio = build_portfolio(observation.snapshot, self._policy)
        if self._held[0] != desk.facts:
            self._held = desk.facts, sum_held(desk.book)
        scene = Scene(observation, desk.book, self._policy, self._rules, self._portfolio, self._held[1])
        stance = self._watch.look(scene)
        self._is_misplaced = 4 * stance.misplaced > DRIFT * stance.exposure
        return replace(observation, stance=stance), is_new

    def _catch_up(self, bar: int) -> None:
        """Tell the prices of the bars that were looked past."""
        path = self._story.path
        for past in range(self._seen_bars, bar):
            parts, count = int(path.axis.parts[past]), path.axis.count_steps(past)
            # Of a minute its turning points say all but the pace of its last seconds.
            is_enough = self._is_by_minute and past < bar - 1
            for step in range(0, count, parts if is_enough else 1):
                prices = [path.get_price(place, past, step) * PRICE_FACTOR for place in range(len(path.axis.markets))]
                self._watch.note(dict(zip(path.axis.markets, prices, strict=True)), path.axis.get_time_us(past, step))
        self._seen_bars = bar + 1


def _find_buying_bars(story: Story, policy: HedgingPolicy) -> Flags:
    """The bars in which something may be bought."""
    terms, axis = policy.portfolio, story.path.axis
    assert terms is not None, "only asked where positions are hedged together"
    if not _check_minutes(axis):
        return np.ones(len(axis), dtype=np.bool_)
    ranges, swings = _bound_swings(axis)
    may_be_fast = (swings * MARGIN >= float(terms.gate)).any(axis=0)
    worth = np.array([_sum_worth(story, market) for market in range(len(axis.markets))])
    profit = story.compute_open_profits().reshape(len(axis), POINTS).max(axis=1)
    reach = (worth * swings).sum(axis=0) * float(terms.early) + _bound_ahead(worth * ranges, terms)
    may_be_near = compute_limits(story, policy).low - profit <= MARGIN * reach + 1.0
    # Of the first bar the slopes of a moment are not bounded so.
    is_first = np.arange(len(axis)) == 0
    return np.asarray(is_first | (may_be_fast & may_be_near))


def _check_minutes(axis: Axis) -> bool:
    """False where a minute of the clock may lie in two bars, so that its range is that of neither."""
    return not (axis.start_us % MINUTE_US).any() and axis.step_us % MINUTE_US == 0


def _bound_ahead(moves: Floats, terms: PortfolioTerms) -> Floats:
    """The most that looking ahead makes of what each market's bar changes (in USD, by market and bar)."""
    return np.asarray(moves.sum(axis=0) * max(float(terms.lead_s) * SECOND_US / SLOPE_US, 1.0) * 2)


def _find_other_bars(story: Story, policy: HedgingPolicy) -> Flags:
    """The bars in which something may be let go, or in which somebody comes or goes, or has just done so.

    With no room left, whatever the pace, everything stays.
    """
    terms, axis, lives = policy.portfolio, story.path.axis, story.lives
    assert terms is not None, "only asked where positions are hedged together"
    if not _check_minutes(axis):
        return np.ones(len(axis), dtype=np.bool_)
    ranges, _ = _bound_swings(axis)
    worth = np.array([_sum_worth(story, market) for market in range(len(axis.markets))])
    profit = story.compute_open_profits().reshape(len(axis), POINTS).min(axis=1)
    room = compute_limits(story, policy).high - profit + _bound_ahead(worth * ranges, terms)
    changes = np.zeros(len(axis) + 2, dtype=np.bool_)
    for bars in (lives.opened_bar, np.minimum(lives.ended_bar, len(axis))):
        changes[bars] = changes[bars + 1] = True
    return np.asarray((room >= -1.0) | changes[: len(axis)])


def _bound_swings(axis: Axis) -> tuple[Floats, Floats]:
    """By market and bar: its range, and the most that a minute's swing may be while it lasts, as shares of the price."""
    before = np.concatenate([axis.open[:, :1], axis.close[:, :-1]], axis=1)
    low = np.minimum(axis.low, before)
    ranges = (np.maximum(axis.high, before) - low) / np.maximum(low, 1)
    kept = (1 - 1 / MEMORY) ** (axis.step_us / MINUTE_US)
    swings, last = np.empty_like(ranges), np.zeros(len(axis.markets))
    for bar in range(len(axis)):
        swings[:, bar] = np.maximum(last, ranges[:, bar])
        last = np.maximum(ranges[:, bar], last * kept + ranges[:, bar] * (1 - kept))
    return ranges, swings


def _sum_worth(story: Story, market: int) -> Floats:
    """What the net coins of those who are there at some time of each bar are worth at most, in USD."""
    lives, axis = story.lives, story.path.axis
    rows = np.flatnonzero(lives.market == market)
    came = np.bincount(lives.opened_bar[rows], weights=np.abs(lives.coins[rows]), minlength=len(axis) + 2)
    gone = np.bincount(np.minimum(lives.ended_bar[rows], len(axis)) + 1, weights=np.abs(lives.coins[rows]), minlength=len(axis) + 2)
    coins = np.cumsum(came - gone)[: len(axis)]
    return np.asarray(coins * axis.high[market] / PRICE_UNITS)
