"""What a market's prices say of the next seconds, and of a minute."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.pace import MEMORY, MINUTE_US, SECOND_US, UNKNOWN, Pace, PaceMeter
from tests.core.builders import BTC, ETH

prices = st.lists(st.tuples(st.integers(1, 20 * SECOND_US), st.integers(1, 10**24)), min_size=1, max_size=30)


def measure(seen: Iterable[tuple[float, int]]) -> Pace:
    """Of a market that had these prices at these seconds."""
    meter = PaceMeter()
    for at_s, price in seen:
        meter.note({BTC: price}, int(at_s * SECOND_US))
    return meter.get(BTC)


def test_market_without_a_price_stands_still() -> None:
    assert PaceMeter().get(ETH) == UNKNOWN
    assert measure([(7, 100)]) == UNKNOWN


def test_pace_is_known_after_a_minute_of_prices() -> None:
    assert [measure([(7, 100), (at_s, 100)]).is_known for at_s in (66.9, 67)] == [False, True]
    assert not measure([(7, 100), (67, 100), (5, 100)]).is_known


def test_slope_is_that_of_the_last_three_seconds() -> None:
    assert measure([(0, 999), (2, 100), (3, 110), (5, 160)]).slope == 20
    assert measure([(0, 100), (3, 70)]).slope == -10


def test_slope_is_rounded_down() -> None:
    assert [measure([(0, 100), (3, 100 + change)]).slope for change in (7, -7)] == [2, -3]


@pytest.mark.parametrize(("gap_s", "slope"), [(6, 10), (6.1, 0)])
def test_price_from_long_ago_says_nothing_of_the_next_seconds(gap_s: float, slope: int) -> None:
    assert measure([(0, 100), (gap_s, 160)]).slope == slope


def test_what_is_seen_for_a_moment_is_spread_over_the_whole_time() -> None:
    assert [measure([(1, 100), (at_s, 160)]).slope for at_s in (1, 1.005, 4, 7)] == [20, 20, 20, 10]


def test_clock_that_was_set_back_leaves_no_slope() -> None:
    assert measure([(100, 100), (50, 160)]).slope == 0
    assert measure([(100, 100), (50, 160), (53, 190)]).slope == 10


@pytest.mark.parametrize("before", [[], [(100, 100_000)]])
def test_flicker_of_a_moment_is_no_pace_when_nothing_else_was_seen(before: list[tuple[float, int]]) -> None:
    assert measure([*before, (50, 100_000), (50.02, 100_010)]).slope == 3


def test_swing_is_the_range_of_the_minute_in_hand_where_that_is_wider() -> None:
    assert [measure([(0, 100), (10, 130), (20, 90), (30, 100)][:count]).swing for count in (1, 2, 3, 4)] == [0, 30, 40, 40]


def test_swing_fades_with_each_minute_that_is_calmer() -> None:
    begun = [(0, 1_000), (30, 1_150)]

    assert measure([*begun, (60, 1_150)]).swing == 150
    assert measure([*begun, (60, 1_150), (120, 1_150)]).swing == 140
    assert measure([*begun, (180, 1_150)]).swing == 131


def test_minute_begins_where_the_last_one_ended() -> None:
    assert measure([(0, 100), (59, 130), (61, 131)]).swing == 30
    assert measure([(0, 100), (59, 100), (61, 131)]).swing == 31


def test_long_silence_costs_no_more_than_the_memory() -> None:
    assert measure([(0, 10**6), (30, 2 * 10**6), (10**9, 2 * 10**6)]).swing == measure(
        [(0, 10**6), (30, 2 * 10**6), *((60 * minute, 2 * 10**6) for minute in range(1, MEMORY + 1))]
    ).swing  # fmt: skip


@given(prices)
def test_swing_is_at_least_the_range_of_the_minute_and_never_above_all_that_was_seen(seen: list[tuple[int, int]]) -> None:
    meter, at_us, minute = PaceMeter(), 0, list[int]()
    everything = []
    for passed_us, price in seen:
        if everything and (at_us + passed_us) // MINUTE_US > at_us // MINUTE_US:
            minute = [everything[-1]]
        at_us += passed_us
        minute.append(price)
        everything.append(price)
        meter.note({BTC: price}, at_us)
        assert max(minute) - min(minute) <= meter.get(BTC).swing <= max(everything) - min(everything)
