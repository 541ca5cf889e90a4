"""Order quantities: on the step, never above what the position asks for, exact at every boundary."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.sizing import (
    Sizing,
    check_large_enough,
    floor_to_step,
    get_order_max,
    get_size_min,
    get_target_quantity,
)
from tests.core.builders import a_position, rules, scaled

UNIT = 10**6
STEPS = tuple(map(Decimal, ("1E-8", "0.001", "0.003", "0.25", "1", "5", "1E+1", "1000")))

steps = st.sampled_from(STEPS)
quantities = st.fractions(0, 10**12, max_denominator=10**12)


def test_sizing_is_called_what_the_settings_call_it() -> None:
    assert list(Sizing) == ["delta", "notional"]


@given(quantities, steps)
def test_floor_to_step_is_the_largest_multiple_not_above(quantity: Fraction, step: Decimal) -> None:
    floored = Fraction(floor_to_step(quantity, step))

    assert floored % Fraction(step) == 0
    assert floored <= quantity < floored + Fraction(step)


@given(st.integers(0, 10**12), steps)
def test_floor_to_step_keeps_what_is_on_the_step(count: int, step: Decimal) -> None:
    assert floor_to_step(count * Fraction(step), step) == count * step


@given(quantities, quantities, steps)
def test_floor_to_step_of_more_is_not_less(quantity: Fraction, more: Fraction, step: Decimal) -> None:
    assert floor_to_step(quantity + more, step) >= floor_to_step(quantity, step)


def test_floor_to_step_loses_no_step_where_floats_do() -> None:
    # 0.3 / 0.1 is 2.999… in floats: the predecessor lost a whole lot there.
    assert floor_to_step(Fraction(3, 10), Decimal("0.1")) == Decimal("0.3")


@given(st.integers(1, 10**15), st.integers(10**9, 10**24), st.integers(1, 10**12), steps)
def test_delta_target_is_the_traders_quantity_whatever_the_mark(
    size: int, entry_price: int, mark: int, step: Decimal
) -> None:
    position = a_position(size=size, entry_price=entry_price)
    asked = Fraction(size, UNIT) / Fraction(entry_price, 10**18)

    target = get_target_quantity(position, Decimal(mark), Sizing.DELTA, asset_unit=UNIT, step=step)

    assert target == floor_to_step(asked, step)
    assert Fraction(target) <= asked


@given(st.integers(1, 10**15), st.integers(1, 10**24), st.integers(1, 10**12), steps)
def test_notional_target_is_the_traders_dollars_at_the_mark(
    size: int, entry_price: int, mark_cents: int, step: Decimal
) -> None:
    position, mark = a_position(size=size, entry_price=entry_price), Decimal(mark_cents) / 100
    dollars = Fraction(size, UNIT)

    target = get_target_quantity(position, mark, Sizing.NOTIONAL, asset_unit=UNIT, step=step)

    assert Fraction(target) * Fraction(mark) <= dollars < (Fraction(target) + Fraction(step)) * Fraction(mark)


@given(st.sampled_from(Sizing), st.integers(1, 10**15), st.integers(0, 10**15), st.integers(1, 10**9), steps)
def test_target_of_a_larger_position_or_a_lower_price_is_not_smaller(
    sizing: Sizing, size: int, more: int, cents: int, step: Decimal
) -> None:
    def size_at(asked: int, price: Decimal) -> Decimal:
        position = a_position(size=asked, entry_price=scaled(price))
        return get_target_quantity(position, price, sizing, asset_unit=UNIT, step=step)

    price = Decimal(cents) / 100

    assert size_at(size + more, price) >= size_at(size, price) >= size_at(size, price + 1)


@given(
    st.fractions(0, 10**9, max_denominator=10**8).map(lambda ratio: Decimal(ratio.numerator) / ratio.denominator), steps
)
def test_order_max_is_the_largest_multiple_of_the_step_that_the_exchange_takes(limit: Decimal, step: Decimal) -> None:
    largest = Fraction(get_order_max(rules(step=step, quantity_max=limit)))

    assert largest % Fraction(step) == 0
    assert largest <= Fraction(limit) < largest + Fraction(step)


@pytest.mark.parametrize(
    ("sizing", "mark", "expected"),
    [
        (Sizing.DELTA, 62_500, "0.2"),
        (Sizing.NOTIONAL, 62_500, "0.16"),
        (Sizing.DELTA, 3, "0.2"),
        (Sizing.NOTIONAL, 3, "3333.333"),
    ],
)
def test_target_by_sizing(sizing: Sizing, mark: int, expected: str) -> None:
    target = get_target_quantity(a_position(), Decimal(mark), sizing, asset_unit=UNIT, step=Decimal("0.001"))

    assert target == Decimal(expected)


def test_target_is_the_whole_position_and_not_a_tenth_of_it() -> None:
    # The predecessor divided by the leverage.
    target = get_target_quantity(a_position(), Decimal(50_000), Sizing.DELTA, asset_unit=UNIT, step=Decimal("0.001"))

    assert target * 50_000 == 10_000


@pytest.mark.parametrize(
    ("sizing", "entry_price", "mark"), [(Sizing.DELTA, 0, 50_000), (Sizing.DELTA, -1, 50_000), (Sizing.NOTIONAL, 1, 0)]
)
def test_target_is_nothing_when_there_is_no_price(sizing: Sizing, entry_price: int, mark: int) -> None:
    position = a_position(entry_price=entry_price)

    assert get_target_quantity(position, Decimal(mark), sizing, asset_unit=UNIT, step=Decimal(1)) == 0


def test_target_counts_in_the_assets_own_decimals() -> None:
    position = a_position(size=10_000 * 10**18)

    assert get_target_quantity(position, Decimal(1), Sizing.DELTA, asset_unit=10**18, step=Decimal("0.1")) == Decimal(
        "0.2"
    )


@pytest.mark.parametrize(
    ("quantity", "mark", "expected"),
    [
        ("0.002", "50000", True),
        ("0.001", "50000", True),
        ("0.001", "49999.99", False),
        ("0.0009", "60000", False),
        ("0", "60000", False),
    ],
)
def test_large_enough_counts_both_minimums_and_their_edges(quantity: str, mark: str, expected: bool) -> None:
    assert check_large_enough(Decimal(quantity), Decimal(mark), rules(notional_min=50)) is expected


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**6))
def test_large_enough_stays_so_when_the_order_grows(thousandths: int, more: int, mark: int) -> None:
    less, larger = (
        check_large_enough(Decimal(count) / 1_000, Decimal(mark), rules())
        for count in (thousandths, thousandths + more)
    )

    assert larger or not less


@given(st.decimals(0, 10**6, places=6), st.integers(1, 125))
def test_smallest_size_is_the_first_whose_margin_reaches_the_minimum(least: Decimal, leverage: int) -> None:
    size = get_size_min(least, leverage, UNIT)

    assert Fraction(size, leverage * UNIT) >= Fraction(least)
    assert size == 0 or Fraction(size - 1, leverage * UNIT) < Fraction(least)
