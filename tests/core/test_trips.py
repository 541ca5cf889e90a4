"""The exact trigger price against the exact check on either side of it, and the order in which trips come."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dehedge.core.risk import Capital
from dehedge.core.trigger import Terms, build_index
from dehedge.core.trips import Trip, check_at_risk, find_trigger_price, get_distance_bps, iterate_trips
from tests.core.builders import BTC, ETH, USDC, a_position, a_user, scaled, usd
from tests.core.test_trigger import EVEN, FLAT, ONE, OTHER_ASSET, PLAIN, UINT_MAX, World, usual_worlds, worlds


def list_trips(world: World, prices: dict[str, int], count: int) -> list[Trip]:
    positions = {position.key: position for position in world.positions}
    return list(iterate_trips(build_index(world.rows, world.terms), positions, prices, count))


def measure(trip: Trip) -> float:
    return abs(float(trip.distance_bps)) if trip.distance_bps is not None else math.inf


@given(worlds)
@example(World(FLAT, EVEN))
@example(World((a_position(), a_position(user=a_user(1), is_long=False)), PLAIN))
def test_position_is_at_risk_at_its_trigger_and_not_one_unit_before(world: World) -> None:
    for position in world.positions:
        trigger = find_trigger_price(position, world.terms)
        if trigger is not None:
            before, after = (trigger - 1, trigger + 1) if position.is_long else (trigger + 1, trigger - 1)

            assert trigger > 0
            assert check_at_risk(position, trigger, world.terms)
            assert check_at_risk(position, after, world.terms) or after == 0
            assert not check_at_risk(position, before, world.terms)


@given(worlds, st.data())
def test_every_price_is_on_the_side_of_the_trigger_that_it_seems_to_be_on(world: World, data: st.DataObject) -> None:
    price = data.draw(st.integers(1, UINT_MAX) | st.integers(scaled(1), scaled(100_000)))
    for position in world.positions:
        trigger = find_trigger_price(position, world.terms)
        is_at_risk = check_at_risk(position, price, world.terms)
        if trigger is not None:
            assert is_at_risk == (price >= trigger if position.is_long else price <= trigger)
        elif position.asset == USDC and position.size and position.entry_price > 0:
            assert is_at_risk == check_at_risk(position, 1, world.terms)


def test_trigger_is_exact_for_both_sides_and_at_equality() -> None:
    fires_above = replace(PLAIN, capital=Capital(usd(1_000_000), usd(1_000)))

    assert find_trigger_price(a_position(), fires_above) == scaled(55_000)
    assert find_trigger_price(a_position(is_long=False), fires_above) == scaled(45_000)


def test_trigger_is_beyond_equality_when_only_a_strict_check_can_fire_there() -> None:
    # With a vault factor above 1 the drawdown fires before the shield is spent, and not at equality.
    terms = Terms(USDC, Capital(usd(1_000), usd(1_000)), {}, replace(ONE, vault=Fraction(3, 2)))

    assert find_trigger_price(a_position(), terms) == scaled(52_500) + 1
    assert find_trigger_price(a_position(is_long=False), terms) == scaled(47_500) - 1


@pytest.mark.parametrize(
    ("position", "terms"),
    [
        (a_position(size=0), PLAIN),
        (a_position(entry_price=0), PLAIN),
        (a_position(asset=OTHER_ASSET), PLAIN),
        (a_position(), replace(PLAIN, factors=replace(ONE, profit_limit_interest=Fraction(-1)))),
        (a_position(is_long=False), replace(PLAIN, capital=Capital(usd(1_000_000), usd(10_001)))),
        (a_position(), replace(PLAIN, factors=replace(ONE, vault=Fraction(3)))),
    ],
    ids=["no size", "no entry price", "other asset", "a loss is a risk", "short that never is", "long that always is"],
)
def test_no_price_is_a_trigger_when_none_decides(position, terms) -> None:
    assert find_trigger_price(position, terms) is None


def test_funding_moves_the_trigger() -> None:
    terms = replace(PLAIN, funding={(USDC, BTC): 10**20})

    assert find_trigger_price(a_position(), terms) == scaled(55_500)
    assert find_trigger_price(a_position(is_long=False), terms) == scaled(45_500)


@given(worlds, st.integers(scaled(1), scaled(100_000)), st.integers(scaled(1), scaled(100_000)))
def test_trips_are_every_row_of_the_index_once(world: World, btc: int, eth: int) -> None:
    index = build_index(world.rows, world.terms)
    parts = [
        part for market in index.markets.values() for part in (market.longs.rows, market.shorts.rows, market.irregular)
    ]
    trips = list_trips(world, {BTC: btc, ETH: eth}, len(world.positions) + 1)

    assert sorted(trip.key for trip in trips) == sorted(index.rows.get_key(row) for part in parts for row in part)
    assert all(trip.trigger == find_trigger_price(trip.position, world.terms) for trip in trips)
    assert all(trip.is_at_risk == check_at_risk(trip.position, trip.price, world.terms) for trip in trips)


@given(usual_worlds, st.integers(scaled(1), scaled(100_000)), st.integers(scaled(1), scaled(100_000)))
def test_trips_come_nearest_first(world: World, btc: int, eth: int) -> None:
    distances = [measure(trip) for trip in list_trips(world, {BTC: btc, ETH: eth}, 9)]

    assert all(near <= far * (1 + 2**-20) + 2**-20 for near, far in zip(distances, distances[1:], strict=False))


@given(usual_worlds, st.integers(scaled(20_000), scaled(90_000)), st.integers(0, 8))
def test_first_trips_are_the_nearest_of_all(world: World, price: int, count: int) -> None:
    prices = {BTC: price, ETH: price}
    every = [measure(trip) for trip in list_trips(world, prices, 100)]

    assert [measure(trip) for trip in list_trips(world, prices, count)] == every[:count]


def test_trips_tell_the_way_of_the_price_and_what_is_at_risk_already() -> None:
    long, short = a_position(), a_position(user=a_user(1), is_long=False)
    near, far = list_trips(World((long, short), PLAIN), {BTC: scaled(50_500)}, 9)

    assert (near.key, near.trigger, near.is_at_risk) == (long.key, scaled(55_000), False)
    assert near.distance_bps == Fraction(4_500 * 10_000, 50_500)
    assert (far.key, far.is_at_risk) == (short.key, False)
    assert far.distance_bps == Fraction(-5_500 * 10_000, 50_500)
    (tripped, _) = list_trips(World((long, short), PLAIN), {BTC: scaled(60_000)}, 9)
    assert (tripped.key, tripped.is_at_risk) == (long.key, True)
    assert tripped.distance_bps == get_distance_bps(scaled(60_000), scaled(55_000)) < 0


def test_trips_that_no_price_decides_come_last() -> None:
    never = a_position(user=a_user(1), is_long=False, size=usd(500))
    always = a_position(user=a_user(2), funding_tracer=10**23)
    far = a_position(user=a_user(3), size=usd(100))
    world = World((never, always, far), replace(PLAIN, funding={(USDC, BTC): 0}))
    trips = list_trips(world, {BTC: scaled(50_000), ETH: scaled(1)}, 9)

    assert trips[0].key == far.key
    assert [(trip.trigger, trip.distance_bps) for trip in trips[1:]] == [(None, None)] * 2
    assert {trip.key: trip.is_at_risk for trip in trips} == {never.key: False, always.key: True, far.key: False}


def test_trips_name_what_no_float_can_hold() -> None:
    world = World(
        (a_position(size=1, entry_price=2**1000), a_position(user=a_user(1))),
        replace(PLAIN, capital=Capital(0, UINT_MAX)),
    )
    _, far = list_trips(world, {BTC: 1}, 9)

    assert far.position.size == 1
    assert far.trigger == 2**1000 * (UINT_MAX + 1)


def test_trips_walk_no_further_than_they_are_asked_to() -> None:
    positions = tuple(a_position(user=a_user(number), size=usd(10_000 + number)) for number in range(500))
    world = World(positions, PLAIN)
    index = build_index(world.rows, PLAIN)
    named: list[int] = []

    class Rows:
        def get_columns(self):
            raise AssertionError

        def get_key(self, row: int):
            named.append(row)
            return index.rows.get_key(row)

    book = {position.key: position for position in positions}
    trips = list(iterate_trips(replace(index, rows=Rows()), book, {BTC: scaled(50_000)}, 7))

    assert [trip.position.size for trip in trips] == [usd(10_499 - number) for number in range(7)]
    assert len(named) == 7
