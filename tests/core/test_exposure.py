"""What the traders of a market hold together, against a sum of exact fractions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.exposure import NOBODY, measure_crowds
from dehedge.core.model import PRICE_SCALE, Position
from dehedge.core.trigger import read_rows
from tests.core.builders import BTC, ETH, USDC, a_position, a_user, scaled, usd

OTHER_ASSET = "0x0000000000000000000000000000000000000A55"
UNIT = 10**6


def measure(*positions: Position):
    return measure_crowds(read_rows({position.key: position for position in positions}), USDC, UNIT)


@dataclass(frozen=True)
class Exact:
    size: int
    coins: Fraction


def add_up(positions: Sequence[Position]) -> Exact:
    coins = sum((Fraction(p.size, UNIT) / Fraction(p.entry_price, PRICE_SCALE) for p in positions), Fraction(0))
    return Exact(sum(p.size for p in positions), coins)


def test_nobody_holds_anything():
    assert measure() == {}
    assert NOBODY.net_coins == 0


def test_sides_are_counted_apart_and_netted_in_coins():
    crowds = measure(
        a_position(user=a_user(1), size=usd(10_000), entry_price=scaled(50_000)),
        a_position(user=a_user(2), size=usd(30_000), entry_price=scaled(60_000)),
        a_position(user=a_user(3), size=usd(6_000), entry_price=scaled(40_000), is_long=False),
        a_position(user=a_user(4), market=ETH, size=usd(100), entry_price=scaled(2_000), is_long=False),
    )

    assert crowds[BTC].longs == (2, usd(40_000), Decimal("0.7"))
    assert crowds[BTC].shorts == (1, usd(6_000), Decimal("0.15"))
    assert crowds[BTC].net_coins == Decimal("0.55")
    assert crowds[ETH].net_coins == Decimal("-0.05")


def test_another_asset_is_no_part_of_it():
    other = a_position(asset=OTHER_ASSET, market=ETH)

    assert measure(other) == {}
    assert list(measure(other, a_position())) == [BTC]


@pytest.mark.parametrize("entry_price", [0, 1])
@pytest.mark.parametrize("size", [0, 2**256 - 1])
def test_odd_figures_of_the_chain_break_nothing(size: int, entry_price: int):
    crowds = measure(a_position(size=size, entry_price=entry_price))[BTC]

    assert crowds.longs.size == pytest.approx(size, rel=1e-12)
    assert crowds.longs.coins.is_finite()


POSITIONS = st.lists(
    st.builds(
        a_position,
        is_long=st.booleans(),
        market=st.sampled_from([BTC, ETH]),
        size=st.integers(0, usd(10**9)),
        entry_price=st.integers(10**12, 10**24),
    ),
    max_size=20,
)


@given(POSITIONS)
def test_sums_are_those_of_exact_arithmetic_to_a_float_s_precision(positions: list[Position]):
    positions = [p._replace(user=a_user(number + 1)) for number, p in enumerate(positions)]
    crowds = measure(*positions)

    for market in (BTC, ETH):
        for is_long, crowd in ((True, crowds.get(market, NOBODY).longs), (False, crowds.get(market, NOBODY).shorts)):
            chosen = [p for p in positions if p.market == market and p.is_long is is_long]
            exact = add_up(chosen)
            assert crowd.positions == len(chosen)
            assert crowd.size == pytest.approx(exact.size, rel=1e-12)
            assert float(crowd.coins) == pytest.approx(float(exact.coins), rel=1e-12, abs=1e-8)
