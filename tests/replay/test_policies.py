"""The policies that are compared: their names, and what an early variant means."""

from __future__ import annotations

from fractions import Fraction

from dehedge.core.policy import build_terms
from dehedge.core.risk import Capital
from dehedge.core.trigger import Terms, get_pnl_limit
from dehedge.replay.policies import build_factors, build_policies
from tests.replay.builders import BTC, a_history, a_trader, make_bars

HISTORY = a_history([make_bars(BTC, [(60_000.0,) * 4])], [a_trader()], shield_usd=100)  # type: ignore[list-item]


def test_policies_are_known_by_their_names() -> None:
    policies = build_policies(HISTORY)

    assert {"none", "notional", "delta", "delta-300s", "delta-900s", "delta-early-50", "ideal"} <= policies.keys()
    assert all(policy.name == name for name, policy in policies.items())
    assert policies["none"].hedging is None
    assert [name for name, policy in policies.items() if policy.is_ideal] == ["ideal"]


def test_early_variant_fires_at_its_share_of_the_shield() -> None:
    hedging = build_policies(HISTORY)["delta"].hedging
    assert hedging is not None
    capital = Capital(HISTORY.vault, HISTORY.shield)
    for share in (Fraction(1, 2), Fraction(3, 4), Fraction(1)):
        terms = Terms(hedging.asset, capital, {}, build_factors(HISTORY, share))
        assert get_pnl_limit(terms) == share * HISTORY.shield
    assert build_terms(hedging).factors.are_one_condition
