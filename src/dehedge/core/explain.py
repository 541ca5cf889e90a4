"""Why a position is, or is not, hedged: every figure of the three checks, and all else that the decision was made from.

Exact like ``risk``, which alone says what has fired; here its formulas are written out side by side. Gathers what
``wording`` tells in words and the API as figures. Decides nothing and changes nothing; called by the operator's views.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from dehedge.core.book import HedgeBook, HedgedPosition
from dehedge.core.decisions import Decision
from dehedge.core.earnings import Figures
from dehedge.core.model import HedgeKey, Observation, Position, Stance, TradingRules
from dehedge.core.policy import HedgingPolicy, build_terms
from dehedge.core.risk import Capital, Risk, RiskAssessment, RiskFactors, assess
from dehedge.core.sizing import check_large_enough, get_target_quantity
from dehedge.core.trips import find_trigger_price


class Check(NamedTuple):
    """One check with both of its sides, in base units of the asset; ``margin`` is by how much it fired.

    A check that is strict fires above equality alone. A margin below 0, or of 0 where it is strict, is what is missing.
    """

    risk: Risk
    has_fired: bool
    left: Fraction
    right: Fraction
    is_strict: bool

    @property
    def margin(self) -> Fraction:
        return self.left - self.right if self.is_strict else self.right - self.left


class RiskFigures(NamedTuple):
    """What ``assess`` says at one price, and what it is made of; ``funding`` is what the trader has paid, or got below 0."""

    assessment: RiskAssessment
    price_gain: Fraction
    funding: Fraction
    checks: tuple[Check, ...]


class Sized(NamedTuple):
    """What the position asks for at the mark; ``is_large_enough`` for an order of the exchange."""

    symbol: str
    target: Decimal
    mark: Decimal
    notional_usd: Decimal
    is_large_enough: bool


@dataclass(frozen=True, slots=True)
class Case:
    """One key as it is now. ``price`` and ``trigger`` are scaled by 1e18; ``closes_in_s`` is known while it cools down.

    ``figures`` are what the hedge has earned and cost, ``profit_usd`` its profit at the newest mark.
    """

    key: HedgeKey
    capital: Capital
    factors: RiskFactors
    asset_unit: int
    position: Position | None = None
    hedge: HedgedPosition | None = None
    decision: Decision | None = None
    price: int | None = None
    risk: RiskFigures | None = None
    trigger: int | None = None
    sized: Sized | None = None
    closes_in_s: float | None = None
    figures: Figures | None = None
    profit_usd: Decimal | None = None
    is_ours: bool = True
    """False for a position in another asset."""
    stance: Stance | None = None
    """Where all positions are judged together."""


def build_case(
    observation: Observation,
    book: HedgeBook,
    policy: HedgingPolicy,
    rules: Mapping[str, TradingRules],
    decision: tuple[HedgeKey, Decision | None],
) -> Case:
    """Everything about one key; of a position in another asset, or without a price, what there is."""
    key, decided = decision
    snapshot = observation.snapshot
    position, hedge = snapshot.positions.get(key), book.get_hedged_position(key)
    tick = observation.prices.get(key.market)
    price = tick.price if tick is not None else None
    is_cooling = hedge is not None and hedge.is_cooling
    return Case(
        key, Capital(snapshot.vault, snapshot.shield), policy.factors, policy.asset_unit, position, hedge, decided, price,
        risk=_explain_position(observation, policy, position, price),
        trigger=find_trigger_price(position, build_terms(policy, snapshot)) if position is not None else None,
        sized=_size(observation, policy, rules, position),
        is_ours=position is None or position.asset == policy.asset,
        stance=observation.stance,
        closes_in_s=hedge.placed_at + policy.expiry_s - observation.taken_at if hedge is not None and is_cooling else None,
    )  # fmt: skip


def explain_risk(
    position: Position, price: int, tracer: int | None, capital: Capital, factors: RiskFactors
) -> RiskFigures:
    """The three checks of ``risk.assess`` with the figures on their sides, and the two parts of the profit."""
    found = assess(position, price, tracer, capital, factors)
    # A market that never had a tracer charges no funding.
    gain = assess(position, price, None, capital, factors).pnl
    return RiskFigures(found, gain, gain - found.pnl, _build_checks(found, capital, factors))


def _build_checks(found: RiskAssessment, capital: Capital, factors: RiskFactors) -> tuple[Check, ...]:
    remaining, interest = found.remaining_vault, factors.profit_limit_interest
    return (
        Check(Risk.VAULT_DRAWDOWN, found.is_vault_drawdown, capital.vault * factors.vault, remaining, is_strict=True),
        Check(
            Risk.SHIELD_PNL, found.is_shield_pnl_risk, capital.shield - found.pnl, Fraction(0), is_strict=False
        ),
        Check(
            Risk.PROFIT_LIMIT, found.is_hedge, capital.vault * factors.vault_profit_limit * interest,
            remaining * interest, is_strict=True,
        ),
    )  # fmt: skip


def _explain_position(
    observation: Observation, policy: HedgingPolicy, position: Position | None, price: int | None
) -> RiskFigures | None:
    """Nothing of a position in another asset: this vault does not stand behind it."""
    if position is None or price is None or position.asset != policy.asset:
        return None
    snapshot = observation.snapshot
    tracer = snapshot.funding.get((position.asset, position.market))
    return explain_risk(position, price, tracer, Capital(snapshot.vault, snapshot.shield), policy.factors)


def _size(
    observation: Observation, policy: HedgingPolicy, rules: Mapping[str, TradingRules], position: Position | None
) -> Sized | None:
    """None where it cannot be sized: no such symbol, no mark price, another asset."""
    if position is None or position.asset != policy.asset:
        return None
    symbol = policy.symbols.get(position.market, "")
    known, mark = rules.get(symbol), observation.marks.get(symbol)
    if known is None or not mark or mark < 0:
        return None
    step = known.quantity_step
    target = get_target_quantity(position, mark, policy.sizing, asset_unit=policy.asset_unit, step=step)
    return Sized(symbol, target, mark, target * mark, check_large_enough(target, mark, known))
