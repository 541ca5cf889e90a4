"""Whether positions are judged each by itself or together, and what the rule for all of them is tuned by.

A part of ``config.Settings``, which reads and reports them. The defaults are those that docs/evidence.md has the figures of.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from dehedge.core.policy import PortfolioTerms

Share = Annotated[Decimal, Field(ge=0, le=1, decimal_places=9, allow_inf_nan=False)]
_SHARE = "a number from 0 to 1 of at most 9 decimals"


class RiskScope(StrEnum):
    """POSITION: the three checks of each position. PORTFOLIO: the same checks of all of them together."""

    POSITION = "position"
    PORTFOLIO = "portfolio"


class PortfolioSettings(BaseSettings):
    """A field's description says what is accepted."""

    risk_scope: RiskScope = Field(RiskScope.POSITION, description="position or portfolio")
    portfolio_early: Annotated[Decimal, Field(ge=0, le=100, decimal_places=9, allow_inf_nan=False)] = Field(
        Decimal("0.15"), description="minutes' swings from 0 to 100, of at most 9 decimals"
    )
    portfolio_lead_seconds: Annotated[Decimal, Field(ge=0, le=60, decimal_places=9, allow_inf_nan=False)] = Field(
        Decimal("2.5"), description="a number of seconds from 0 to 60"
    )
    portfolio_gate: Share = Field(Decimal("0.01"), description=_SHARE)
    portfolio_slack: Share = Field(Decimal("0.0005"), description=_SHARE)
    portfolio_step: Share = Field(Decimal("0.5"), description=_SHARE)

    @property
    def portfolio_terms(self) -> PortfolioTerms | None:
        """None where each position is judged by itself."""
        if self.risk_scope is RiskScope.POSITION:
            return None
        return PortfolioTerms(
            early=Fraction(self.portfolio_early),
            lead_s=Fraction(self.portfolio_lead_seconds),
            gate=Fraction(self.portfolio_gate),
            slack=Fraction(self.portfolio_slack),
            step=Fraction(self.portfolio_step),
        )
