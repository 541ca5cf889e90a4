"""The operator's limits on adding exposure, as variables: a part of ``config.Settings``, which reads and reports them.

Every limit has its unit in its name. A limit in USD that is not set does not exist; the others have defaults that no
honest operation comes near.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from dehedge.core.guards import GuardLimits

GUARD_PREFIXES = ("MAX_ORDER", "MAX_MARKET", "MAX_TOTAL", "MAX_DIVERGENCE", "MAX_FEES", "MAX_OPENS", "MAX_FORCED",
                  "MIN_FREE", "MIN_LIQUIDATION", "TAKER_")  # fmt: skip
"""How the names begin."""

Usd = Annotated[Decimal, Field(gt=0, le=10**12, decimal_places=6, allow_inf_nan=False)]
Bps = Annotated[int, Field(ge=1, le=10_000)]
Count = Annotated[int, Field(ge=1, le=100_000)]

_USD = "an amount in USD above 0, up to 1000000000000"
_BPS = "basis points of the mark price, 1 to 10000"
_COUNT = "a whole number from 1 to 100000"


class GuardSettings(BaseSettings):
    """The variables of the guards; a field's description says what is accepted."""

    max_order_notional_usd: Usd | None = Field(None, description=_USD)
    max_market_notional_usd: Usd | None = Field(None, description=_USD)
    max_total_notional_usd: Usd | None = Field(None, description=_USD)
    max_orders_per_minute: Count = Field(300, description=_COUNT)
    max_divergence_bps: Bps = Field(500, description=_BPS)
    min_free_margin_usd: Usd | None = Field(None, description=_USD)
    min_liquidation_distance_bps: Bps | None = Field(None, description=_BPS)
    max_fees_usd_per_hour: Usd | None = Field(None, description=_USD)
    taker_fee_bps: Annotated[Decimal, Field(ge=0, le=100, decimal_places=6, allow_inf_nan=False)] = Field(
        Decimal(5), description="basis points of the notional, 0 to 100"
    )
    max_opens_per_hour: Count = Field(12, description=_COUNT)
    max_forced_per_hour: Count = Field(3, description=_COUNT)

    @property
    def guard_limits(self) -> GuardLimits:
        return GuardLimits(
            order_notional_usd=self.max_order_notional_usd,
            market_notional_usd=self.max_market_notional_usd,
            total_notional_usd=self.max_total_notional_usd,
            orders_per_minute=self.max_orders_per_minute,
            divergence_bps=self.max_divergence_bps,
            free_margin_usd=self.min_free_margin_usd,
            liquidation_distance_bps=self.min_liquidation_distance_bps,
            fees_usd_per_hour=self.max_fees_usd_per_hour,
            taker_fee_bps=self.taker_fee_bps,
            opens_per_hour=self.max_opens_per_hour,
            forced_per_hour=self.max_forced_per_hour,
        )
