"""The traders' part: who pays whom, when a position is liquidated, and what a book may not say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.model import HedgeKey
from dehedge.errors import ConfigError
from dehedge.replay.path import POINTS
from dehedge.replay.story import ASSET, NEVER_US, build_story, get_liquidation_price, get_profit
from dehedge.replay.view import OpenPositions
from tests.replay.builders import BTC, MINUTE_S, START_S, USDC, a_history, a_trader, a_user, make_bars, make_history

FLAT = [(60_000.0, 60_000.0, 60_000.0, 60_000.0)]
RISE = [(60_000.0, 66_000.0, 60_000.0, 66_000.0)]
FALL = [(60_000.0, 60_000.0, 54_000.0, 54_000.0)]
HIGH = [(66_000.0, 66_000.0, 66_000.0, 66_000.0)]


def test_winner_is_paid_by_the_shield_and_then_by_the_vault() -> None:
    closed_s = START_S + 2 * MINUTE_S
    history = a_history([make_bars(BTC, FLAT + RISE + HIGH)], [a_trader(closed_s=closed_s)], shield_usd=600)
    balances = build_story(history).balances

    assert [(one.vault - history.vault, one.shield) for one in balances] == [(0, 600 * USDC), (-400 * USDC, 0)]
    assert balances[1].at_us == closed_s * 10**6


def test_loser_pays_the_shield() -> None:
    traders = [a_trader(is_long=False, closed_s=START_S + 2 * MINUTE_S)]
    balances = build_story(a_history([make_bars(BTC, FLAT + RISE + HIGH)], traders)).balances

    assert balances[-1].shield == 100 * USDC + 1_000 * USDC


@pytest.mark.parametrize("is_long", [True, False])
def test_loss_ends_with_the_collateral(is_long: bool) -> None:
    trader = a_trader(is_long=is_long, collateral=500 * USDC, closed_s=START_S + 2 * MINUTE_S)
    story = build_story(a_history([make_bars(BTC, FLAT + (FALL if is_long else RISE) + FLAT)], [trader]))

    assert story.lives.is_liquidated.tolist() == [True]
    assert story.balances[-1].shield == 600 * USDC
    bar, step = story.path.axis.find_moment(int(story.lives.ended_us[0]))
    limit = get_liquidation_price(story.positions[0])
    assert limit is not None
    assert get_profit(story.positions[0], limit) == -500 * USDC
    before, at = story.path.get_price(0, bar, step - 1), story.path.get_price(0, bar, step)
    assert min(before, at) <= limit <= max(before, at)
    assert before != limit


def test_long_with_its_whole_size_as_collateral_is_never_liquidated() -> None:
    story = build_story(a_history([make_bars(BTC, FLAT + FALL)], [a_trader(collateral=10_000 * USDC)]))

    assert get_liquidation_price(story.positions[0]) is None
    assert story.lives.ended_us.tolist() == [NEVER_US]


def test_path_goes_first_where_the_traders_win() -> None:
    row = [(60_000.0, 61_000.0, 59_000.0, 60_000.0)]
    for is_long in (True, False):
        story = build_story(a_history([make_bars(BTC, row)], [a_trader(is_long=is_long)]))
        first = int(story.path.points[0, 0, 1])
        assert first == int((story.path.axis.high if is_long else story.path.axis.low)[0, 0])


@given(st.integers(0, 10**6))
def test_sum_of_open_profits_is_that_of_each_and_all_money_is_somewhere(seed: int) -> None:
    history = make_history(seed)
    story = build_story(history)
    profits = story.compute_open_profits()
    points = len(story.path.axis) * POINTS

    for point in range(0, points, max(points // 7, 1)):
        assert abs(profits[point] - story.get_open_profit(point) / USDC) < 1e-3
    ended = [row for row in range(len(story.positions)) if story.lives.ended_us[row] < NEVER_US]
    assert len(story.balances) == 1 + len(ended)
    assert all(balance.shield >= 0 and balance.vault <= history.vault for balance in story.balances)


@given(st.integers(0, 10**6))
def test_view_shows_who_is_open_and_nobody_else(seed: int) -> None:
    story = build_story(make_history(seed))
    end_us = int(story.path.axis.start_us[-1])
    for at_us in range(int(story.path.axis.start_us[0]) - 1, end_us, 97 * 10**6):
        view = OpenPositions(story, at_us)
        assert len(view) == len(set(view))
        assert {key: view[key] for key in view} == {
            story.positions[row].key: story.positions[row] for row in story.list_open(at_us)
        }
        missing = {position.key for position in story.positions} - set(view)
        assert not any(key in view for key in missing)
    with pytest.raises(KeyError):
        OpenPositions(story, end_us)[HedgeKey(BTC, f"{a_user(999)}|{ASSET}")]


def test_trader_of_a_market_without_prices_is_refused() -> None:
    with pytest.raises(ConfigError, match="DOGE-USD"):
        build_story(a_history([make_bars(BTC, FLAT)], [a_trader(market="DOGE-USD")]))


def test_two_positions_of_one_user_at_a_time_are_refused() -> None:
    with pytest.raises(ConfigError, match=f"two positions of {a_user(1)}"):
        build_story(a_history([make_bars(BTC, FLAT * 3)], [a_trader(), a_trader(opened_s=START_S + 60)]))
