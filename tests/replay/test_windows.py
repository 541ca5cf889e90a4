"""Histories that are cut into parts: each bar lies in one."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.errors import QuestionInvalid
from dehedge.replay.model import FundingRate
from dehedge.replay.windows import Window, describe_window, get_span, split_window
from tests.replay.builders import BTC, ETH, MINUTE_S, START_S, make_walk


def a_window(count: int, *, late: int = 0) -> Window:
    chance = np.random.default_rng(1)
    bars = {BTC: make_walk(BTC, chance, count, 60_000.0, 1e-3), ETH: make_walk(ETH, chance, count, 3_000.0, 1e-3)}
    bars[ETH] = bars[ETH]._replace(start_s=bars[ETH].start_s + late * MINUTE_S)
    return Window("", bars, {})


@given(st.integers(10, 60), st.integers(1, 8))
def test_parts_have_each_bar_once_and_are_alike_in_length(bars: int, count: int):
    window = a_window(bars)
    parts = split_window(window, count)

    assert [part.name for part in parts] == [f"part {number}" for number in range(1, count + 1)]
    for market in (BTC, ETH):
        assert np.concatenate([part.bars[market].start_s for part in parts]).tolist() == window.bars[market].start_s.tolist()
        assert np.concatenate([part.bars[market].low for part in parts]).tolist() == window.bars[market].low.tolist()
    lengths = [len(part.bars[BTC].start_s) for part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_part_without_prices_of_a_market_is_refused():
    with pytest.raises(QuestionInvalid, match="--folds: ETH-USD has no prices in part 1 of 4; give fewer folds"):
        split_window(a_window(10, late=20), 4)


def test_window_is_described_by_its_name_and_span():
    window = a_window(3)._replace(name="crash")

    assert get_span(window.bars) == (START_S, START_S + 3 * MINUTE_S)
    told = describe_window(window)
    assert told[0] == "crash: BTC-USD: 3 bars of 60 s, 2023-11-14T22:14:00Z to 2023-11-14T22:17:00Z"
    assert told[-1] == "crash: without funding rates: BTC-USD, ETH-USD; there the hedges pay and get none"


@pytest.mark.parametrize(("at_s", "is_told"), [(-1, True), (0, False), (179, False), (180, True)])
def test_funding_rates_of_another_time_are_told(at_s: int, is_told: bool):
    window = a_window(3)
    rates = {BTC: [FundingRate(START_S + at_s, Decimal("0.0001"))], ETH: [FundingRate(START_S, Decimal(0))]}

    told = describe_window(window._replace(funding=rates))[2:]

    assert told == (["no funding rate of BTC-USD falls into these prices: the hedges pay and get none"] if is_told else [])


@pytest.mark.parametrize(("missing_s", "words"), [(60, "1 gap of 60 s in all, the longest of 60 s from"), (86_460, "1 gap of 86,460 s in all")])
def test_gap_is_told_and_what_a_long_one_means(missing_s: int, words: str):
    window = a_window(3)
    bars = window.bars[BTC]
    late = bars._replace(start_s=bars.start_s + np.array([0, 0, missing_s]))

    told = describe_window(Window("", {BTC: late}, {}))[0]

    assert words in told
    assert told.endswith("lived through without prices: --window pools separate files") == (missing_s > 86_400)
