"""The three checks of one position, exactly as specified, in integers.

``assess`` is the only place where a position's risk is decided. All figures are in the position's asset (base units);
profit and loss is an exact ratio, so equality is decided exactly and nothing is ever rounded. The funding of a long is
subtracted and that of a short added, hence one formula with the side's sign:

    pnl = sign * size * ((price - entry) / entry - (tracer_now - tracer_of_position) / (1e18 * BPS_FACTOR))
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from itertools import compress

from dehedge.core.model import PRICE_SCALE, Position


class Risk(StrEnum):
    """The three risks, by the names that reasons, logs and the API use."""

    VAULT_DRAWDOWN = "vault_drawdown"
    SHIELD_PNL = "shield_pnl_risk"
    PROFIT_LIMIT = "profit_limit"


_RISKS = tuple(Risk)


@dataclass(frozen=True, slots=True)
class RiskFactors:
    """The operator's factors, exact."""

    vault: Fraction
    vault_profit_limit: Fraction
    profit_limit_interest: Fraction
    bps: int

    @property
    def are_one_condition(self) -> bool:
        """With both vault factors at 1 all three checks hold the pnl against the shield, and nothing else."""
        return self.vault == self.vault_profit_limit == 1


@dataclass(frozen=True, slots=True)
class Capital:
    """What stands behind the traders' profits, in base units of the asset."""

    vault: int
    shield: int


@dataclass(frozen=True, slots=True)
class RiskAssessment:
    """The checks of one position and the figures they used; pnl is ``pnl_numerator / pnl_denominator``."""

    pnl_numerator: int
    pnl_denominator: int
    capital: Capital
    is_vault_drawdown: bool
    is_shield_pnl_risk: bool
    is_hedge: bool

    @property
    def pnl(self) -> Fraction:
        return Fraction(self.pnl_numerator, self.pnl_denominator)

    @property
    def remaining_vault(self) -> Fraction:
        return self.capital.vault + self.capital.shield - self.pnl

    @property
    def at_risk(self) -> bool:
        return self.is_vault_drawdown or self.is_shield_pnl_risk or self.is_hedge

    @property
    def fired(self) -> tuple[Risk, ...]:
        return tuple(compress(_RISKS, (self.is_vault_drawdown, self.is_shield_pnl_risk, self.is_hedge)))


def get_pnl(position: Position, price: int, tracer: int | None, bps_factor: int) -> tuple[int, int]:
    """The position's exact profit as (numerator, positive denominator), in base units; 0 without an entry price.

    A market that never had a tracer (None) charges no funding.
    """
    entry = position.entry_price
    if entry <= 0:
        return 0, 1
    funding_scale = PRICE_SCALE * bps_factor
    size = position.size if position.is_long else -position.size
    accrued = tracer - position.funding_tracer if tracer is not None else 0
    change = (price - entry) * funding_scale - accrued * entry
    return size * change, entry * funding_scale


def assess(
    position: Position, price: int, tracer: int | None, capital: Capital, factors: RiskFactors
) -> RiskAssessment:
    """Run the three checks. ``price`` and ``tracer`` are scaled by 1e18.

    remaining = vault + shield - pnl; drawdown: vault * f > remaining; shield: shield - pnl <= 0; profit limit:
    vault * g * interest > remaining * interest. Every side is multiplied by positive denominators only.
    """
    pnl, scale = get_pnl(position, price, tracer, factors.bps)
    vault = capital.vault * scale
    remaining = vault + capital.shield * scale - pnl
    limit, interest = factors.vault_profit_limit, factors.profit_limit_interest.numerator
    return RiskAssessment(
        pnl_numerator=pnl,
        pnl_denominator=scale,
        capital=capital,
        is_vault_drawdown=vault * factors.vault.numerator > remaining * factors.vault.denominator,
        is_shield_pnl_risk=capital.shield * scale - pnl <= 0,
        is_hedge=vault * limit.numerator * interest > remaining * limit.denominator * interest,
    )
