"""The shipped price paths are what the generator makes, and pass where the story needs them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dehedge.sim.paths import BETA, CRASH, DATA, FIRST_PRICES, build_path, read_path, write_paths


def test_paths_shipped_are_those_the_generator_makes(tmp_path):
    write_paths(tmp_path)

    for market in FIRST_PRICES:
        name = f"crash_{market}.csv"
        assert (tmp_path / name).read_bytes() == (DATA / name).read_bytes()


@pytest.mark.parametrize("market", sorted(FIRST_PRICES))
def test_path_meets_its_way_points(market):
    path = read_path(market)

    assert len(path) == CRASH[-1].second + 1
    for point in CRASH:
        expected = float(FIRST_PRICES[market]) * point.level ** BETA[market]
        assert abs(float(path[point.second]) - expected) < 0.01
    assert all(price > 0 and price == price.quantize(Decimal("0.01")) for price in path)


def test_path_is_another_when_its_seed_is():
    assert build_path(Decimal(100), CRASH, beta=1, seed=1) != build_path(Decimal(100), CRASH, beta=1, seed=2)
