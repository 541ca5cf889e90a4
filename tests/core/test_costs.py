"""Sums are shared out exactly."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.costs import SHARE_PLACES, split_amount

AMOUNTS = st.decimals(-(10**9), 10**9, places=8)
WEIGHTS = st.lists(st.decimals("0.001", 10**4, places=3), min_size=1, max_size=20)


@given(AMOUNTS, WEIGHTS)
def test_parts_sum_to_the_amount_exactly(amount: Decimal, weights: list[Decimal]) -> None:
    parts = split_amount(amount, weights)

    assert sum(parts) == amount
    assert len(parts) == len(weights)


@given(AMOUNTS, WEIGHTS)
def test_each_part_is_within_two_places_of_its_share(amount: Decimal, weights: list[Decimal]) -> None:
    total = sum(weights)

    for part, weight in zip(split_amount(amount, weights), weights, strict=True):
        assert abs(part - amount * weight / total) <= 2 * SHARE_PLACES


@pytest.mark.parametrize(
    ("weights", "parts"),
    [(["2"], ["9"]), (["1", "2"], ["3", "6"]), (["4", "-1"], ["12", "-3"]), (["0", "3"], ["0", "9"]), ([], [])],
)
def test_split_shares_by_weight(weights: list[str], parts: list[str]) -> None:
    assert split_amount(Decimal(9), [Decimal(weight) for weight in weights]) == [Decimal(part) for part in parts]
