"""At which price a position turns risky, to the last unit of the chain's price, and which positions are nearest to it.

``risk.assess`` alone says what is risky: a price is found by asking it on either side. The trigger index gives the
order, so that the nearest of a million positions cost no more than those of a hundred. Decides nothing; called by the
operator's views.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import islice
from math import ceil, floor, inf
from typing import NamedTuple

from dehedge.core.model import PRICE_SCALE, HedgeKey, Position
from dehedge.core.risk import assess
from dehedge.core.trigger import NO_TRIGGERS, Ladder, Terms, TriggerIndex, get_pnl_limit

BPS = 10_000

Spot = tuple[float, int, str]
"""How far a trigger is from the price, by the float index, and whose it is: row and market."""


class Trip(NamedTuple):
    """A position, its price now and the price at which it turns risky, both scaled by 1e18.

    Where it is at risk already, ``trigger`` is the price at which that begins and ends. None where no price decides.
    """

    key: HedgeKey
    position: Position
    price: int
    trigger: int | None
    is_at_risk: bool

    @property
    def distance_bps(self) -> Fraction | None:
        """The move of the price that leads to the trigger, of the price; negative where it has to fall."""
        return get_distance_bps(self.price, self.trigger) if self.trigger is not None else None


def get_distance_bps(price: int, trigger: int) -> Fraction:
    return Fraction((trigger - price) * BPS, price)


def find_trigger_price(position: Position, terms: Terms) -> int | None:
    """The lowest price at which a long is at risk, the highest at which a short is.

    None where no price above zero makes a difference, and where a loss is a risk as well, so that there are two.
    """
    limit = get_pnl_limit(terms)
    if limit is None or position.asset != terms.asset or position.size <= 0 or position.entry_price <= 0:
        return None
    exact = _solve(position, terms, limit)
    if position.is_long:
        first = _find_first(lambda price: check_at_risk(position, price, terms), ceil(exact))
        return first if first > 1 else None
    first = _find_first(lambda price: not check_at_risk(position, price, terms), floor(exact) + 1)
    return first - 1 or None


def check_at_risk(position: Position, price: int, terms: Terms) -> bool:
    tracer = terms.funding.get((position.asset, position.market))
    return assess(position, price, tracer, terms.capital, terms.factors).at_risk


def iterate_trips(
    index: TriggerIndex, positions: Mapping[HedgeKey, Position], prices: Mapping[str, int], count: int
) -> Iterator[Trip]:
    """So many of the positions that the index knows, nearest to their trigger first, by its floats.

    Those that no price decides come last. Rows that the index cannot order are looked at one by one, no more than ``count``
    in a market: their triggers are nearly zero, so all others are nearer.
    """
    spots = [
        spot for market, price in prices.items() for spot in _build_spots(index, positions, market, (price, count))
    ]
    for _, row, market in islice(heapq.merge(*spots), count):
        yield _look(index, positions, row, prices[market])


def _solve(position: Position, terms: Terms, limit: Fraction) -> Fraction:
    """Where the profit is just the limit: the formula of ``risk``, solved for the price."""
    tracer = terms.funding.get((position.asset, position.market))
    accrued = tracer - position.funding_tracer if tracer is not None else 0
    gain = limit / position.size
    return position.entry_price * (
        1 + Fraction(accrued, PRICE_SCALE * terms.factors.bps) + (gain if position.is_long else -gain)
    )


def _find_first(check: Callable[[int], bool], guess: int) -> int:
    """The lowest price above zero that passes a check which all higher ones pass, from one that is a unit off at most."""
    first = max(guess, 1)
    while not check(first):
        first += 1
    while first > 1 and check(first - 1):
        first -= 1
    return first


def _build_spots(
    index: TriggerIndex, positions: Mapping[HedgeKey, Position], market: str, at: tuple[int, int]
) -> Iterator[Iterator[Spot]]:
    """What can be merged to one market's rows by their distance from the price; ``at`` is the price and the count."""
    price, count = at
    longs, shorts, irregular = index.markets.get(market, NO_TRIGGERS)
    for ladder, place, is_long in ((longs, float(price), True), (shorts, -float(price), False)):
        middle = bisect_left(ladder.triggers, place)
        for places in (range(middle, len(ladder.triggers)), range(middle - 1, -1, -1)):
            yield _walk(ladder, places, place, (is_long, market))
    trips = ((row, _look(index, positions, row, price)) for row in irregular[:count])
    yield iter(sorted((_get_distance(trip), row, market) for row, trip in trips))


def _walk(ladder: Ladder, places: range, at: float, side: tuple[bool, str]) -> Iterator[Spot]:
    """Outward from a price; a trigger that is no price lies beyond all others."""
    is_long, market = side
    for place in places:
        trigger = ladder.triggers[place]
        is_price = trigger > 1 if is_long else trigger <= -1
        yield abs(trigger - at) / abs(at) if is_price else inf, ladder.rows[place], market


def _get_distance(trip: Trip) -> float:
    distance = trip.distance_bps
    try:
        return abs(float(distance)) / BPS if distance is not None else inf
    except OverflowError:
        return inf


def _look(index: TriggerIndex, positions: Mapping[HedgeKey, Position], row: int, price: int) -> Trip:
    key = index.rows.get_key(row)
    position = positions[key]
    trigger = find_trigger_price(position, index.terms)
    return Trip(key, position, price, trigger, check_at_risk(position, price, index.terms))
