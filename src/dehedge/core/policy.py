"""What the planner decides by besides what it sees: the operator's settings, and what is known of the exchange.

Frozen data; built by the daemon and the reconciler, read by the planner, the guards and the trigger index.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from fractions import Fraction

from dehedge.core.model import ChainSnapshot, HedgeKey, TradingRules
from dehedge.core.risk import Capital, RiskFactors
from dehedge.core.sizing import Sizing
from dehedge.core.trigger import Terms

Place = tuple[str, str]
"""An asset and a market."""


@dataclass(frozen=True, slots=True)
class PortfolioTerms:
    """What the rule of ``stance`` is tuned by. All but ``lead_s`` (seconds) are shares.

    ``early`` is of a minute's swing: with less room than that, hedging begins. ``gate`` is of the exposure: a market whose minutes
    swing by less is slow. ``slack`` is of the exposure, ``step`` of the net coins.
    """

    early: Fraction
    lead_s: Fraction
    gate: Fraction
    slack: Fraction
    step: Fraction


@dataclass(frozen=True, slots=True)
class HedgingPolicy:
    """The operator's settings that decide. ``symbols`` maps DePerp markets to the exchange's symbols.

    ``size_min`` is the size of the smallest position that is hedged, in base units of the asset. ``portfolio`` is set where
    positions are judged together instead of each by itself.
    """

    factors: RiskFactors
    sizing: Sizing
    asset: str
    symbols: Mapping[str, str]
    leverage: int
    size_min: int
    expiry_s: float
    max_price_age_s: float
    max_snapshot_age_s: float
    asset_unit: int = 10**6
    portfolio: PortfolioTerms | None = None


@dataclass(frozen=True, slots=True)
class VenueState:
    """What is known of the exchange: its rules, and what may not grow, or not be touched, for now.

    ``blocked`` symbols have a reason, ``exhausted`` ones no margin; ``waiting`` hedges were refused a moment ago, for
    growing and for reducing apart; ``busy`` ones are being held against the account. ``group_max`` limits how many hedges
    may share an order with a key, where a larger group was refused.
    """

    rules: Mapping[str, TradingRules]
    blocked: Mapping[str, str] = field(default_factory=dict)
    exhausted: AbstractSet[str] = frozenset()
    waiting_to_grow: AbstractSet[HedgeKey] = frozenset()
    waiting_to_reduce: AbstractSet[HedgeKey] = frozenset()
    busy: AbstractSet[HedgeKey] = frozenset()
    group_max: Mapping[HedgeKey, int] = field(default_factory=dict)


def build_terms(policy: HedgingPolicy, snapshot: ChainSnapshot | None = None) -> Terms:
    """What the trigger index is made from besides the positions; nothing is at risk without a snapshot."""
    if snapshot is None:
        return Terms(policy.asset, Capital(0, 0), {}, policy.factors)
    capital = Capital(snapshot.vault, snapshot.shield)
    return Terms(policy.asset, capital, snapshot.funding, policy.factors, policy.size_min)
