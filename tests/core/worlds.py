"""The observations of the decision table, all about the default position, and the one decision that each leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from dehedge.core.book import HedgeBook
from dehedge.core.decisions import Decision, Reason
from dehedge.core.hedging import plan
from dehedge.core.model import HedgeKey, Observation, Stance
from dehedge.core.policy import HedgingPolicy, VenueState
from tests.core.builders import (
    BTC,
    NOW,
    RISKY,
    SAFE,
    a_policy,
    a_position,
    a_snapshot,
    a_venue,
    an_observation,
    get_one_before,
)

POSITION, FLIPPED = a_position(), a_position(is_long=False)
KEY = POSITION.key
OLD = NOW - 60
"""A hedge placed then has just expired."""

at_risk = an_observation(positions=[POSITION], prices={BTC: RISKY})
safe = an_observation(positions=[POSITION], prices={BTC: SAFE})
stale_price = an_observation(positions=[POSITION], prices={BTC: RISKY}, price_age_s=11)
no_price = an_observation(positions=[POSITION], prices={}, marks={"BTCUSDT": RISKY})
stale_snapshot = replace(at_risk, snapshot=a_snapshot(positions=[POSITION], block_time=int(NOW) - 31))
gone = an_observation(prices={BTC: RISKY})
gone_and_stale = replace(gone, snapshot=a_snapshot(block_time=int(NOW) - 31))
lacked_once = replace(gone, previous=get_one_before(a_snapshot(positions=[POSITION])))
lacked_first = replace(gone, previous=None)
flipped = an_observation(positions=[FLIPPED], prices={BTC: RISKY})


def together(targets: Mapping[HedgeKey, str] | None) -> Observation:
    """A safe position where the stance says this of all."""
    said = {key: Decimal(target) for key, target in targets.items()} if targets is not None else None
    return replace(safe, stance=Stance(0, 0, 0, 0, 0, Fraction(0), Fraction(0), is_fast=True, targets=said))


def decide(
    observation: Observation, book: HedgeBook, *, policy: HedgingPolicy | None = None, venue: VenueState | None = None
) -> Decision | None:
    """The decision for the one key of these worlds; None when there is none to make."""
    decisions = plan(observation, book, policy or a_policy(), venue or a_venue())
    assert len(decisions) <= 1
    return decisions[0] if decisions else None


def name(decision: Decision | None) -> tuple[type, Reason] | None:
    return None if decision is None else (type(decision), decision.reason)
