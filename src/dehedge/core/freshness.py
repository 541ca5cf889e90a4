"""Which inputs are young enough to decide by, and until when.

Ages count from the chain's block time and from the price's publish time, never from when something arrived. Asked by the
planner for every decision, and by the executor once more before an order leaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dehedge.core.book import HedgeBook
from dehedge.core.model import PRICE_AHEAD_MAX_S, Observation
from dehedge.core.policy import HedgingPolicy


@dataclass(frozen=True, slots=True)
class Basis:
    """What decisions were made from: the snapshot's block, and by market when its inputs are too old to add exposure."""

    block_number: int = 0
    fresh_until: Mapping[str, float] = field(default_factory=dict)

    def get_fresh_until(self, market: str) -> float:
        """0 for a market without a price: nothing may be added on nothing."""
        return self.fresh_until.get(market, 0.0)


def check_snapshot_stale(observation: Observation, book: HedgeBook, policy: HedgingPolicy) -> bool:
    """True when the snapshot is too old by its block's time, or older than one that a hedge was already decided from."""
    snapshot = observation.snapshot
    is_old = observation.taken_at - snapshot.block_time > policy.max_snapshot_age_s
    return is_old or snapshot.block_number < book.block_number


def check_price_fresh(observation: Observation, policy: HedgingPolicy, market: str) -> bool:
    """True when the market's price is young enough by its publish time, by our limit and by the market's own."""
    tick = observation.prices.get(market)
    if tick is None:
        return False
    # After the clock was set back no newer price is accepted, and the last one would stay young for all that time.
    age_s = observation.taken_at - tick.publish_time
    return -PRICE_AHEAD_MAX_S <= age_s <= _get_price_age_max_s(observation, policy, market)


def _get_price_age_max_s(observation: Observation, policy: HedgingPolicy, market: str) -> float:
    details = observation.snapshot.markets.get(market)
    own_limit = details.feed_max_age_s if details is not None else 0
    return min(policy.max_price_age_s, own_limit or policy.max_price_age_s)


def build_basis(observation: Observation, policy: HedgingPolicy) -> Basis:
    """Until when, by market, both the snapshot and the price are young enough to add exposure."""
    snapshot_until = observation.snapshot.block_time + policy.max_snapshot_age_s
    fresh_until = {
        market: min(snapshot_until, tick.publish_time + _get_price_age_max_s(observation, policy, market))
        for market, tick in observation.prices.items()
    }
    return Basis(observation.snapshot.block_number, fresh_until)
