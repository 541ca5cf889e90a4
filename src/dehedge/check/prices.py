"""Pyth as it is now: whether the key is accepted, and a price for every market.

The chain names each market's feed. Where no node tells, Hermes' own list is asked which feed is called like the market.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dehedge.adapters.pyth import PythSource
from dehedge.adapters.pyth.client import FeedRefused, KeyRefused
from dehedge.check.chain import format_amount
from dehedge.check.report import Line, build_failure, build_pass, build_warning
from dehedge.check.run import Found
from dehedge.core.model import PRICE_SCALE, ChainSnapshot, Market, PriceTick
from dehedge.errors import PriceUnavailable
from dehedge.ports import Clock

FEEDS_TRIED_MAX = 20
"""One by one, where the plan does not cover them all together."""

Outcome = PriceTick | PriceUnavailable
Ticks = Mapping[str, PriceTick]


class Service(NamedTuple):
    """Where prices are asked for, and whether with a key."""

    source: PythSource
    clock: Clock
    has_key: bool


class Wanted(NamedTuple):
    """The markets with their feeds, those among them that are hedged, and a word on how the feeds are known."""

    markets: Mapping[str, Market]
    symbols: Mapping[str, str]
    source: str = ""


async def check_prices(service: Service, symbols: Mapping[str, str], snapshot: ChainSnapshot | None) -> Found[Ticks]:
    """Hands on the prices that the daemon would believe."""
    try:
        wanted = await _find_feeds(service.source, symbols, snapshot)
        outcomes = await _fetch(service.source, wanted.markets)
    except KeyRefused as error:
        return Found([build_failure("Pyth", str(error))])
    except PriceUnavailable as error:
        return Found([build_failure("Pyth", str(error), "check PYTH_PRICE_SERVICE and the network")])
    lines = [
        build_pass("Pyth", f"{'accepts PYTH_API_KEY' if service.has_key else 'answers without a key'}{wanted.source}"),
        *(
            _check_price(name, outcomes.get(name), wanted, service.clock)
            for name in sorted({*wanted.markets, *wanted.symbols})
        ),
    ]
    return Found(lines, {name: tick for name, tick in outcomes.items() if isinstance(tick, PriceTick)})


async def _find_feeds(source: PythSource, symbols: Mapping[str, str], snapshot: ChainSnapshot | None) -> Wanted:
    if snapshot is not None:
        return Wanted(snapshot.markets, {name: symbols[name] for name in symbols if name in snapshot.markets})
    known = await source.fetch_feed_ids()
    feeds = {name: known[pair] for name in symbols if (pair := name.replace("-", "/")) in known}
    markets = {name: Market(name, feed, 0) for name, feed in feeds.items()}
    return Wanted(markets, symbols, "; feeds are found by their names, for no node tells them")


async def _fetch(source: PythSource, markets: Mapping[str, Market]) -> Mapping[str, Outcome]:
    """All at once, or one by one where one that is refused refuses them all."""
    source.watch(markets)
    try:
        return await source.fetch_latest()
    except FeedRefused:
        if not 1 < len(markets) <= FEEDS_TRIED_MAX:
            raise
    outcomes: dict[str, Outcome] = {}
    for name, market in markets.items():
        source.watch({name: market})
        try:
            outcomes |= await source.fetch_latest()
        except FeedRefused as error:
            outcomes[name] = error
    return outcomes


def _check_price(market: str, outcome: Outcome | None, wanted: Wanted, clock: Clock) -> Line:
    name = f"price of {market}"
    if isinstance(outcome, PriceTick):
        age_s = clock.time() - outcome.publish_time
        return build_pass(name, f"{format_amount(outcome.price, PRICE_SCALE)}, {age_s:.0f} s old")
    if market not in wanted.markets:
        return build_warning(
            name, "no feed is known that is called like it", "mend NETWORKS first: the chain names the feed"
        )
    detail = "the market names no Pyth feed" if outcome is None else str(outcome)
    remedy = "the market cannot be hedged meanwhile: see the state of its feed at Pyth"
    return (
        build_failure(name, detail, remedy)
        if market in wanted.symbols
        else build_warning(name, detail, "nothing: it is not hedged")
    )
