"""The way through a candle: every step within it, extremes reached, times in order, nothing invented between two steps."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.errors import ConfigError
from dehedge.replay.model import PRICE_UNITS, Bars
from dehedge.replay.path import TICK_MAX_US, TICK_MIN_US, Path, build_axis, build_path
from tests.replay.builders import BTC, ETH, START_S, make_bars, make_walk


def a_path(seed: int, *, is_high_first: bool = True, swing: float = 3e-4, roughness: float = 0.0) -> Path:
    axis = build_axis({BTC: make_walk(BTC, np.random.default_rng(seed), 12, 60_000.0, swing)})
    return build_path(axis, np.full((1, len(axis)), is_high_first), roughness)


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([1e-5, 3e-4, 3e-3]), st.sampled_from([0, 0.1]))
def test_path_stays_in_its_candle_and_reaches_both_extremes(
    seed: int, is_high_first: bool, swing: float, roughness: float
) -> None:
    path = a_path(seed, is_high_first=is_high_first, swing=swing, roughness=roughness)
    for bar in range(len(path.axis)):
        prices = path.get_prices(0, bar)
        high, low = path.axis.high[0, bar], path.axis.low[0, bar]
        first, second = (high, low) if is_high_first else (low, high)
        assert (prices.min(), prices.max()) == (low, high)
        assert (prices[0], prices[-1]) == (path.axis.open[0, bar], path.axis.close[0, bar])
        parts = int(path.axis.parts[bar])
        assert (prices[parts], prices[2 * parts]) == (first, second)
        assert prices.tolist() == [path.get_price(0, bar, step) for step in range(len(prices))]


@given(st.integers(0, 10**6), st.sampled_from([1e-5, 3e-4, 3e-3]))
def test_steps_are_neither_too_rare_nor_too_many(seed: int, swing: float) -> None:
    path = a_path(seed, swing=swing)
    times = [time for bar in range(len(path.axis)) for time in path.axis.get_times_us(bar).tolist()]

    assert all(TICK_MIN_US * 0.98 <= after - before <= TICK_MAX_US for before, after in pairwise(times))
    assert times == [
        path.axis.get_time_us(bar, step) for bar in range(len(path.axis)) for step in range(path.axis.count_steps(bar))
    ]


@given(st.integers(0, 10**6), st.integers(0, 12 * 60 * 10**6 - 1))
def test_price_between_two_steps_is_between_their_prices(seed: int, after_us: int) -> None:
    path = a_path(seed)
    at_us = START_S * 10**6 + after_us
    bar, step = path.axis.find_moment(at_us)
    price = path.get_price_at(0, at_us)

    if bar == len(path.axis) or not step:
        assert price == path.axis.close[0, bar - 1] or path.axis.get_time_us(bar, step) == at_us
    else:
        ends = path.get_price(0, bar, step - 1), path.get_price(0, bar, step)
        assert min(ends) <= price <= max(ends)
        assert path.axis.get_time_us(bar, step - 1) < at_us <= path.axis.get_time_us(bar, step)


def test_price_at_a_step_is_that_of_the_step() -> None:
    path = a_path(3)
    for bar in range(len(path.axis)):
        for step, at_us in enumerate(path.axis.get_times_us(bar).tolist()):
            assert path.get_price_at(0, at_us) == path.get_price(0, bar, step)
            assert path.axis.find_moment(at_us) == (bar, step)


def test_market_without_a_bar_stays_at_its_close_before() -> None:
    rows = [(10.0, 12.0, 9.0, 11.0), (11.0, 13.0, 10.0, 12.0), (12.0, 14.0, 11.0, 13.0)]
    whole, thin = make_bars(BTC, rows), make_bars(ETH, rows)
    middle = [0, 2]
    thin = Bars(ETH, thin.start_s[middle], 60, *(column[middle] for column in thin[3:]))
    axis = build_axis({BTC: whole, ETH: thin})

    assert axis.markets == (BTC, ETH)
    assert [int(column[1, 1]) for column in (axis.open, axis.high, axis.low, axis.close)] == [11 * PRICE_UNITS] * 4
    assert int(axis.close[1, 2]) == 13 * PRICE_UNITS


def test_candles_of_different_lengths_are_refused() -> None:
    row = [(10.0, 12.0, 9.0, 11.0)]
    with pytest.raises(ConfigError, match="BTC-USD 60 s, ETH-USD 300 s"):
        build_axis({BTC: make_bars(BTC, row), ETH: make_bars(ETH, row, step_s=300)})


def test_market_without_candles_is_refused() -> None:
    bars = make_bars(BTC, [(10.0, 12.0, 9.0, 11.0)])
    none = bars._replace(start_s=np.empty(0, np.int64))
    with pytest.raises(ConfigError, match="no prices to replay of ETH-USD"):
        build_axis({BTC: bars, ETH: none})
    with pytest.raises(ConfigError, match="no prices"):
        build_axis({})


def test_roughness_is_noise_of_that_share_of_the_range_between_the_turning_points() -> None:
    straight, rough = (a_path(3, swing=3e-3, roughness=roughness) for roughness in (0.0, 0.05))
    bar = int(straight.axis.parts.argmax())
    span = int(straight.axis.high[0, bar] - straight.axis.low[0, bar])
    off = (rough.get_prices(0, bar) - straight.get_prices(0, bar)) / span

    assert not off[:: int(straight.axis.parts[bar])].any()
    assert 0.02 < off.std() < 0.08
    assert rough.get_prices(0, bar).tolist() == a_path(3, swing=3e-3, roughness=0.05).get_prices(0, bar).tolist()
