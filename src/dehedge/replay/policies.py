"""The ways of hedging that are compared, by name.

``none``; the specified rule with each sizing; variants of it that let go later, or fire earlier; and the bound of its
triggers. Asked by the command line; a risk manager's own settings are a ``HedgingPolicy`` like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from dehedge.core.guards import GuardLimits
from dehedge.core.policy import HedgingPolicy
from dehedge.core.risk import RiskFactors
from dehedge.core.sizing import Sizing, get_size_min
from dehedge.replay.model import USDC_UNIT, History, Policy
from dehedge.replay.story import ASSET

LEVERAGE = 20
COLLATERAL_MIN_USD = Decimal(50)
EXPIRIES_S = (60.0, 300.0, 900.0)
EARLY_SHARES = (Fraction(1, 2), Fraction(3, 4))
"""Of the shield: the profit at which an early variant fires."""
FACTORS = RiskFactors(Fraction(1), Fraction(1), Fraction(2, 5), 10_000)
NO_LIMITS = GuardLimits(opens_per_hour=10**9, forced_per_hour=10**9, orders_per_minute=10**9)
"""A replay asks what the rule does; the operator's limits are another question, and may be given."""


def build_hedging(markets: Iterable[str], sizing: Sizing = Sizing.DELTA, *, expiry_s: float = 60.0) -> HedgingPolicy:
    """The specified rule at its default factors; symbols are named as Binance does."""
    return HedgingPolicy(
        factors=FACTORS, sizing=sizing, asset=ASSET, symbols=name_symbols(markets), leverage=LEVERAGE,
        size_min=get_size_min(COLLATERAL_MIN_USD, LEVERAGE, USDC_UNIT), expiry_s=expiry_s, max_price_age_s=10.0,
        max_snapshot_age_s=30.0,
    )  # fmt: skip


def name_symbols(markets: Iterable[str]) -> Mapping[str, str]:
    return {market: f"{market.partition('-')[0]}USDT" for market in markets}


def build_factors(history: History, share: Fraction) -> RiskFactors:
    """Factors at which a position is at risk once it has won this share of the shield.

    With vault and shield as they are at the beginning; the factors stay when these change.
    """
    spare = history.shield * (1 - share)
    factor = 1 + Fraction(spare) / history.vault if history.vault > 0 else Fraction(1)
    return replace(FACTORS, vault=factor, vault_profit_limit=factor)


def build_policies(history: History, limits: GuardLimits = NO_LIMITS) -> Mapping[str, Policy]:
    """Every policy that is known, by its name."""
    base = build_hedging(history.bars)
    early = {
        f"delta-early-{int(share * 100)}": replace(base, factors=build_factors(history, share))
        for share in EARLY_SHARES
    }
    rules = {
        "notional": build_hedging(history.bars, Sizing.NOTIONAL),
        "delta": base,
        **{f"delta-{expiry_s:.0f}s": replace(base, expiry_s=expiry_s) for expiry_s in EXPIRIES_S[1:]},
        **early,
    }
    found = [
        Policy("none"),
        *(Policy(name, rule, limits) for name, rule in rules.items()),
        Policy("ideal", base, limits, is_ideal=True),
    ]
    return {policy.name: policy for policy in found}
