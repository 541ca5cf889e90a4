"""The trigger index: which positions a price may turn risky, found without looking at the others.

For given capital, funding and factors a position's pnl is linear in the price, so there is one price at which it turns
risky: its trigger. A ``TriggerIndex`` keeps the triggers of each market and side sorted, and a price costs two binary
searches and the rows that it names. It proposes and ``risk.assess`` disposes: it is computed in floats, so it may name a
row that is not at risk, and must never leave out one that is. Built as a whole, off the event loop, by calls of numpy
that release the interpreter; asked by the planner, which assesses every row that is named.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dehedge.core.model import PRICE_SCALE, HedgeKey, Position
from dehedge.core.risk import Capital, RiskFactors, assess

# Why nothing is left out. A position's pnl reaches the least figure T that fires a check (``get_pnl_limit``) at
#
#     trigger = entry * (1 + (tracer_now - tracer_of_position) * rate +/- T / size)
#
# Let ``reach`` be the same sum with every term taken as positive, the two tracers apart. Each input is the float nearest
# to an exact number, and each operation gives the float nearest to its result; either is wrong by at most a part in 2**53.
# Counted along the formula, that happens to funding four times (tracer, difference, rate, product), to the limit three
# times (T, size, quotient), and to both four times more (two sums, entry price, product): 8 parts in 2**53 of ``reach``,
# and less than 16 with what these errors make of each other. What is too small for a float is lost beside the 1; what is
# too large gives no finite ``reach``.
#
# Where terms cancel, the trigger is much smaller than ``reach`` and the error a large part of it. Rows whose trigger is
# below a part in 2**16 of ``reach`` are irregular: they are named at every price. For all others the error is at most
# 2**(4 - 53 + 16) = 2**-33 of the trigger. A price is rounded once, and the margin beside it once more, 2**-52 of it
# together; so a row whose trigger is not within 2**-32 of the price is on the side of it where it seems to be. The others
# are uncertain. All of this is relative to the price, hence one margin for all rows, and the uncertain ones of a side are
# neighbors. The checks differ in what they make of equality, which is a matter of uncertain rows alone.
CANCELED = 2.0**-16
"""Triggers below this part of their ``reach`` are irregular."""
MARGIN = 2 * 2.0 ** (4 - 53) / CANCELED
"""Triggers within this part of a price are uncertain at it."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Codes = NDArray[np.integer[Any]]


class Columns(NamedTuple):
    """Positions as columns of one length: the nearest floats of the exact integers, and places in tuples of names.

    No name is twice in its tuple.
    """

    market: Codes
    asset: Codes
    is_long: Flags
    size: Floats
    entry_price: Floats
    funding_tracer: Floats
    collateral: Floats
    markets: tuple[str, ...]
    assets: tuple[str, ...]


@runtime_checkable
class Rows(Protocol):
    """Positions that can be read as columns."""

    def get_columns(self) -> Columns: ...

    def get_key(self, row: int) -> HedgeKey: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """All that triggers depend on but the positions. Smaller positions than ``size_min`` are left out."""

    asset: str
    capital: Capital
    funding: Mapping[tuple[str, str], int]
    factors: RiskFactors
    size_min: int = 0


class Ladder(NamedTuple):
    """The triggers of one side of a market, sorted, and the row of each. The price of a short is taken as negative.

    So a row of either side is at risk from its trigger upward. One that is at risk at every price has minus infinity.
    """

    triggers: memoryview[float]
    rows: memoryview[int]

    def count_certain(self, at: float) -> int:
        """How many are at risk at this price, without those that are uncertain."""
        return bisect_left(self.triggers, at - abs(at) * MARGIN)

    def count_possible(self, at: float) -> int:
        """How many are at risk at this price, with those that are uncertain."""
        return bisect_right(self.triggers, at + abs(at) * MARGIN)

    def get_between(self, low: float, high: float) -> memoryview[int]:
        """The rows that are certain at ``high`` or uncertain there, and not certain at ``low``."""
        return self.rows[self.count_certain(low) : self.count_possible(high)]

    def get_near(self, at: float, count: int) -> memoryview[int]:
        """So many rows below this price, and as many above."""
        place = self.count_possible(at)
        return self.rows[max(place - count, 0) : place + count]


class MarketTriggers(NamedTuple):
    """One market's rows: by side, and those that no price decides."""

    longs: Ladder
    shorts: Ladder
    irregular: memoryview[int]


_EMPTY = Ladder(memoryview(b"").cast("d"), memoryview(b"").cast("I"))
NO_TRIGGERS = MarketTriggers(_EMPTY, _EMPTY, _EMPTY.rows)


@dataclass(frozen=True, slots=True)
class TriggerIndex:
    """What ``build_index`` made of ``rows`` and ``terms``; as good as new while both are what they were.

    Prices are scaled by 1e18. Nothing is named of markets in which there are no positions. ``counts`` are those of all
    rows, by asset and market.
    """

    rows: Rows = field(repr=False)
    terms: Terms
    markets: Mapping[str, MarketTriggers] = field(repr=False)
    counts: Mapping[tuple[str, str], int] = field(repr=False)

    def find_risky(self, market: str, price: int) -> list[int]:
        """Every row that is at risk at this price, and those that are uncertain or irregular."""
        longs, shorts, irregular = self.markets.get(market, NO_TRIGGERS)
        at = float(price)
        return [*irregular, *longs.rows[: longs.count_possible(at)], *shorts.rows[: shorts.count_possible(-at)]]

    def find_changed(self, market: str, before: int, after: int) -> list[int]:
        """Every row of which the two prices may say different things."""
        longs, shorts, irregular = self.markets.get(market, NO_TRIGGERS)
        low, high = float(min(before, after)), float(max(before, after))
        return [*irregular, *longs.get_between(low, high), *shorts.get_between(-high, -low)]

    def find_uncertain(self, market: str, price: int) -> list[int]:
        """The rows that ``risk.assess`` alone can decide at this price, the irregular ones included."""
        return self.find_changed(market, price, price)

    def find_near(self, market: str, price: int, count: int) -> list[int]:
        """The rows that prices near this one may name: so many of each side below and above it."""
        longs, shorts, irregular = self.markets.get(market, NO_TRIGGERS)
        return [*irregular[:count], *longs.get_near(float(price), count), *shorts.get_near(-float(price), count)]

    def count_risky(self, market: str, price: int) -> int:
        """How many rows are at risk at this price for certain."""
        longs, shorts, _ = self.markets.get(market, NO_TRIGGERS)
        return longs.count_certain(float(price)) + shorts.count_certain(-float(price))


def read_rows(positions: Mapping[HedgeKey, Position]) -> Rows:
    """The positions themselves where they have columns; else a copy as columns, made one by one."""
    return positions if isinstance(positions, Rows) else _RowsOfMapping(tuple(positions), _read_columns(positions))


def build_index(rows: Rows, terms: Terms) -> TriggerIndex:
    """Pure, and free of the interpreter but for moments, so that it can run in a thread beside an event loop."""
    columns = rows.get_columns()
    with np.errstate(all="ignore"):
        triggers, groups = _compute_triggers(columns, terms)
    order = groups.argsort(kind="stable")
    edges = groups.take(order).searchsorted(np.arange(3 * len(columns.markets) + 1))
    parts = [order[start:end] for start, end in pairwise(edges)]
    markets = {
        market: MarketTriggers(
            _build_ladder(triggers, longs), _build_ladder(triggers, shorts), _freeze(irregular.astype(np.uint32))
        )
        for market, longs, shorts, irregular in zip(columns.markets, parts[0::3], parts[1::3], parts[2::3], strict=True)
    }
    return TriggerIndex(rows, terms, markets, _count(columns))


@dataclass(frozen=True, slots=True)
class _RowsOfMapping:
    """A mapping's positions, in its order."""

    keys: tuple[HedgeKey, ...]
    columns: Columns

    def get_columns(self) -> Columns:
        return self.columns

    def get_key(self, row: int) -> HedgeKey:
        return self.keys[row]


def _read_columns(positions: Mapping[HedgeKey, Position]) -> Columns:
    found = positions.values()
    markets = {market: code for code, market in enumerate(dict.fromkeys(position.market for position in found))}
    assets = {asset: code for code, asset in enumerate(dict.fromkeys(position.asset for position in found))}
    return Columns(
        market=np.array([markets[position.market] for position in found], dtype=np.int32),
        asset=np.array([assets[position.asset] for position in found], dtype=np.int32),
        is_long=np.array([position.is_long for position in found], dtype=np.bool_),
        size=np.array([float(position.size) for position in found]),
        entry_price=np.array([float(position.entry_price) for position in found]),
        funding_tracer=np.array([float(position.funding_tracer) for position in found]),
        collateral=np.array([float(position.collateral) for position in found]),
        markets=tuple(markets),
        assets=tuple(assets),
    )


def _compute_triggers(columns: Columns, terms: Terms) -> tuple[Floats, Codes]:
    """Each row's trigger, and its group: three to a market (longs, shorts, irregular), and a last one of rows left out."""
    size, entry = columns.size, columns.entry_price
    triggers, reach = _compute_bounds(columns, terms)
    # A position without a size or an entry price has no pnl at any price.
    is_flat = (size == 0) | (entry <= 0)
    is_left_out = (columns.asset != _get_code(columns.assets, terms.asset)) | (size < float(terms.size_min))
    if _check_flat_risky(terms):
        np.copyto(triggers, -np.inf, where=is_flat)
    else:
        is_left_out |= is_flat
    is_regular = (np.isfinite(reach) & (np.abs(triggers) >= reach * CANCELED)) | is_flat
    groups = columns.market.astype(np.min_scalar_type(3 * len(columns.markets)))
    groups *= 3
    groups += np.where(is_regular, ~columns.is_long, np.uint8(2))
    np.copyto(groups, 3 * len(columns.markets), where=is_left_out)
    return triggers, groups


def _compute_bounds(columns: Columns, terms: Terms) -> tuple[Floats, Floats]:
    """The formula above for every row, with the price of a short negative, and its ``reach``."""
    now, rate = get_funding(columns.markets, terms)
    tracer_now, rates = now.take(columns.market), rate.take(columns.market)
    funding = (tracer_now - columns.funding_tracer) * rates
    most_funding = (np.abs(tracer_now) + np.abs(columns.funding_tracer)) * rates
    gain = _get_float_limit(terms) / columns.size
    sign = np.where(columns.is_long, 1.0, -1.0)
    triggers = columns.entry_price * (sign * (1 + funding) + gain)
    reach = columns.entry_price * (1 + most_funding + np.abs(gain))
    return triggers, reach


def get_funding(markets: tuple[str, ...], terms: Terms) -> tuple[Floats, Floats]:
    """By market, the tracer and what one unit of it takes of a position; both 0 where there never was a tracer."""
    tracers = [terms.funding.get((terms.asset, market)) for market in markets]
    rate = 1 / (PRICE_SCALE * terms.factors.bps)
    return (
        np.array([float(tracer or 0) for tracer in tracers], dtype=np.float64),
        np.array([0.0 if tracer is None else rate for tracer in tracers], dtype=np.float64),
    )


def get_pnl_limit(terms: Terms) -> Fraction | None:
    """The least pnl that fires one of the checks, or just does not; None where a loss would fire one."""
    capital, factors = terms.capital, terms.factors
    if factors.profit_limit_interest < 0:
        return None
    vault_factors = [factors.vault, *([factors.vault_profit_limit] if factors.profit_limit_interest else [])]
    limits = [Fraction(capital.vault + capital.shield) - capital.vault * factor for factor in vault_factors]
    return min(Fraction(capital.shield), *limits)


def _get_float_limit(terms: Terms) -> float:
    """The same as the nearest float; not a number where there is none."""
    limit = get_pnl_limit(terms)
    return float(limit) if limit is not None else float("nan")


def _check_flat_risky(terms: Terms) -> bool:
    """True when a position that neither gains nor loses is at risk."""
    flat = Position(
        "", terms.asset, "", is_long=True, size=0, collateral=0, funding_tracer=0, entry_price=0, opened_at=0
    )
    return assess(flat, 0, None, terms.capital, terms.factors).at_risk


def _count(columns: Columns) -> dict[tuple[str, str], int]:
    places = [(asset, market) for asset in columns.assets for market in columns.markets]
    counts = np.bincount(columns.asset * len(columns.markets) + columns.market, minlength=len(places))
    return {place: int(count) for place, count in zip(places, counts, strict=True) if count}


def _get_code(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _build_ladder(triggers: Floats, rows: NDArray[np.intp]) -> Ladder:
    found = triggers.take(rows)
    order = found.argsort()
    return Ladder(_freeze(found.take(order)), _freeze(rows.take(order).astype(np.uint32)))


def _freeze(array: NDArray[Any]) -> memoryview[Any]:
    """Of all sequences of numbers the one that ``bisect`` reads quickest."""
    return array.data.toreadonly()
