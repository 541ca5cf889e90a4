"""What the hedges earned and cost between two times: each of them, each market, and all. What is summed is in ``flows``.

A hedge belongs to a report when something of it lies in its span: a fill, a booking, or that it was held. Its prices and
quantities are those of its whole life, its sums those of the span. Pure; shown by ``reporting``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from dehedge.core.flows import Amounts, Flow, Sums, add_amounts, add_up, build_fill_flows, share_funding, walk_through
from dehedge.core.lives import ZERO, Fill, Life, Records, Sight


class Standing(NamedTuple):
    """A hedge that is still held, valued at a price that was seen; its gains are not part of any sum."""

    seen: Sight
    unrealized_usd: Decimal
    trader_gain_usd: Decimal


@dataclass(frozen=True, slots=True)
class HedgeReport:
    """One life, and what it brought in the span."""

    life: Life
    sums: Sums
    standing: Standing | None

    @property
    def price_in(self) -> Decimal | None:
        return get_average_price(fill for fill in self.life.fills if fill.increases)

    @property
    def price_out(self) -> Decimal | None:
        return get_average_price(fill for fill in self.life.fills if not fill.increases)

    @property
    def quantity(self) -> Decimal:
        """All that was ever built of it."""
        return sum((fill.quantity for fill in self.life.fills if fill.increases), ZERO)


@dataclass(frozen=True, slots=True)
class MarketReport:
    """The hedges of one market."""

    market: str
    hedges: tuple[HedgeReport, ...]
    sums: Sums


@dataclass(frozen=True, slots=True)
class Report:
    """A span of time, without its end. ``foreign_funding`` was paid for what the account held beside our hedges."""

    since: float
    until: float
    markets: tuple[MarketReport, ...]
    sums: Sums
    foreign_funding: Amounts
    flows: tuple[Flow, ...]


def build_report(
    records: Records, since: float, until: float, *, asset_unit: int, prices: Mapping[str, Sight] | None = None
) -> Report:
    """``prices`` value what is still held, by market; by default the newest of the records."""
    seen = {**records.prices, **(prices or {})}
    funding, foreign = share_funding(records)
    hedges: defaultdict[str, list[HedgeReport]] = defaultdict(list)
    flows: list[Flow] = []
    for place, life in enumerate(records.lives):
        found = [*build_fill_flows(life, asset_unit), *funding.get(place, ())]
        own = [flow for flow in found if since <= flow.at < until]
        if own or _check_held(life, since, until):
            standing = _value(life, seen.get(life.key.market), asset_unit)
            hedges[life.key.market].append(HedgeReport(life, add_up(flow.sums for flow in own), standing))
            flows += own
    markets = [_build_market(market, found) for market, found in sorted(hedges.items())]
    beside = add_amounts(flow.sums.funding for flow in foreign if since <= flow.at < until)
    total = add_up(market.sums for market in markets)
    return Report(since, until, tuple(markets), total, beside, tuple(sorted(flows, key=lambda flow: flow.at)))


def get_average_price(fills: Iterable[Fill]) -> Decimal | None:
    """Of what was filled at a known price."""
    priced = [(fill.quantity, fill.price) for fill in fills if fill.price is not None]
    quantity = sum((quantity for quantity, _ in priced), ZERO)
    return sum((quantity * price for quantity, price in priced), ZERO) / quantity if quantity else None


def _build_market(market: str, hedges: Sequence[HedgeReport]) -> MarketReport:
    return MarketReport(market, tuple(hedges), add_up(hedge.sums for hedge in hedges))


def _check_held(life: Life, since: float, until: float) -> bool:
    return life.opened_at < until and (life.closed_at is None or life.closed_at >= since)


def _value(life: Life, seen: Sight | None, asset_unit: int) -> Standing | None:
    if life.closed_at is not None or seen is None:
        return None
    walk = walk_through(life, asset_unit)
    return Standing(seen, walk.lot.get_unrealized(seen.price), walk.get_gain(seen.price))
