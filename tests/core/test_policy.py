"""What the trigger index is told of the policy and of a snapshot."""

from __future__ import annotations

from dehedge.core.policy import build_terms
from dehedge.core.risk import Capital
from dehedge.core.trigger import Terms
from tests.core.builders import BTC, USDC, a_policy, a_snapshot, usd

POLICY = a_policy(size_min=usd(7))


def test_terms_are_those_of_the_snapshot_and_the_policy() -> None:
    snapshot = a_snapshot(vault=11, shield=5, funding={(USDC, BTC): 3})

    assert build_terms(POLICY, snapshot) == Terms(USDC, Capital(11, 5), {(USDC, BTC): 3}, POLICY.factors, usd(7))


def test_terms_without_a_snapshot_are_of_nothing() -> None:
    assert build_terms(POLICY) == Terms(USDC, Capital(0, 0), {}, POLICY.factors)
