"""What fills make of a net position: no money comes from nowhere, whichever way it turns."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.netting import Holding, apply_fill

fills = st.lists(st.tuples(st.integers(-50, 50).filter(bool), st.integers(1, 1000)), max_size=30)


@given(fills)
def test_profit_and_position_account_for_all_the_money(fills: list[tuple[int, int]]) -> None:
    holding, profit, paid = Holding(), Decimal(0), Decimal(0)
    for quantity, price in fills:
        holding, gained = apply_fill(holding, Decimal(quantity), Decimal(price))
        profit += gained
        paid += quantity * price

    assert holding.quantity == sum(quantity for quantity, _ in fills)
    assert abs(profit - (holding.quantity * holding.entry_price - paid)) < Decimal("1e-18")
    assert (holding.entry_price > 0) is (holding.quantity != 0)


def test_fill_through_zero_begins_a_position_at_its_own_price() -> None:
    holding, profit = apply_fill(Holding(Decimal(2), Decimal(10)), Decimal(-5), Decimal(13))

    assert (holding, profit) == (Holding(Decimal(-3), Decimal(13)), Decimal(6))


def test_fill_of_all_that_is_held_leaves_nothing() -> None:
    assert apply_fill(Holding(Decimal(2), Decimal(10)), Decimal(-2), Decimal(13)) == (Holding(), Decimal(6))
