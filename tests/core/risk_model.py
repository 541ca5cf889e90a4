"""The risk formulas of the specification, word for word, in Fractions of a dollar.

Shares nothing with ``dehedge.core.risk``: it is what the vectors are made from and what the properties compare with.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Case:
    """One position and what stands behind it. Sizes and balances in base units, price and tracers in plain numbers."""

    is_long: bool
    size: int
    entry_price: Fraction
    price: Fraction
    position_tracer: int
    tracer: int | None
    vault: int
    shield: int
    vault_factor: Fraction
    profit_limit_factor: Fraction
    interest: Fraction
    bps: int = 10_000


def get_pnl(case: Case) -> Fraction:
    if case.entry_price == 0:
        return Fraction(0)
    price_pnl = Fraction(case.size) * (case.price - case.entry_price) / case.entry_price
    tracer_now = case.position_tracer if case.tracer is None else case.tracer
    funding_fee = Fraction(case.size) * (tracer_now - case.position_tracer) / 10**18 / case.bps
    return price_pnl - funding_fee if case.is_long else -price_pnl + funding_fee


def get_flags(case: Case) -> tuple[bool, bool, bool]:
    """(is_vault_drawdown, is_shield_pnl_risk, is_hedge)."""
    pnl = get_pnl(case)
    remaining_vault = case.vault + case.shield - pnl
    return (
        case.vault * case.vault_factor > remaining_vault,
        case.shield - pnl <= 0,
        case.vault * case.profit_limit_factor * case.interest > remaining_vault * case.interest,
    )
