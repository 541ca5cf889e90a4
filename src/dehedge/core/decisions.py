"""What the planner may decide, and why: one decision for each key, with its reason.

That list is the log line, the answer of the API and the explanation. Frozen data; made by ``hedging`` alone, carried out by
the executor.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dehedge.core.model import HedgeKey, Side
from dehedge.core.orders import Action, Share
from dehedge.core.risk import RiskAssessment


class Reason(StrEnum):
    """Why a decision is what it is."""

    AT_RISK = "at_risk"
    SIZE_CHANGED = "size_changed"
    INCOMPLETE = "incomplete_fill"
    PORTFOLIO_AT_RISK = "portfolio_at_risk"
    PORTFOLIO_SAFE = "portfolio_safe"
    NOT_AT_RISK = "not_at_risk"
    COOLING_DOWN = "cooling_down"
    EXPIRED = "expired"
    POSITION_CLOSED = "position_closed"
    GONE_UNCONFIRMED = "gone_unconfirmed"
    SIDE_CHANGED = "side_changed"
    FLATTENED = "flattened"
    IN_FLIGHT = "in_flight"
    STALE_SNAPSHOT = "stale_snapshot"
    STALE_PRICE = "stale_price"
    NO_MARK_PRICE = "no_mark_price"
    OTHER_ASSET = "other_asset"
    UNSUPPORTED_MARKET = "unsupported_market"
    SYMBOL_BLOCKED = "symbol_blocked"
    BELOW_MIN_COLLATERAL = "below_min_collateral"
    TOO_SMALL = "too_small"
    BACKING_OFF = "backing_off"
    MARGIN_EXHAUSTED = "margin_exhausted"
    TRADING_PAUSED = "trading_paused"
    ORDER_NOTIONAL_LIMIT = "order_notional_limit"
    MARKET_NOTIONAL_LIMIT = "market_notional_limit"
    TOTAL_NOTIONAL_LIMIT = "total_notional_limit"
    ORDER_RATE_LIMIT = "order_rate_limit"
    PRICE_DIVERGED = "price_diverged"
    FREE_MARGIN_LOW = "free_margin_low"
    LIQUIDATION_NEAR = "liquidation_near"
    ACCOUNT_UNKNOWN = "account_unknown"
    FEE_LIMIT = "fee_limit"
    OPENS_LIMIT = "opens_limit"
    FORCED_LIMIT = "forced_limit"


NOT_WORTH_A_HEDGE = frozenset({Reason.BELOW_MIN_COLLATERAL, Reason.TOO_SMALL})
"""Positions that are too small are not meant to be hedged."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Do nothing, for this reason."""

    key: HedgeKey
    reason: Reason
    assessment: RiskAssessment | None = None


@dataclass(frozen=True, slots=True)
class RefreshHedge:
    """The hedge is right and its risk lasts."""

    key: HedgeKey
    reason: Reason
    assessment: RiskAssessment | None = None


@dataclass(frozen=True, slots=True)
class _Trade:
    """Common to the decisions that send an order. ``side`` is the hedge's; reducing sends its opposite."""

    key: HedgeKey
    reason: Reason
    symbol: str
    side: Side
    share: Share
    assessment: RiskAssessment | None = None


@dataclass(frozen=True, slots=True)
class OpenHedge(_Trade):
    """Build a hedge where there is none."""

    @property
    def action(self) -> Action:
        return Action.INCREASE


@dataclass(frozen=True, slots=True)
class ResizeHedge(_Trade):
    """Bring the hedge to its target by the difference."""

    action: Action = Action.INCREASE


@dataclass(frozen=True, slots=True)
class CloseHedge(_Trade):
    """Let go of all that is held."""

    @property
    def action(self) -> Action:
        return Action.REDUCE


TradeDecision = OpenHedge | ResizeHedge | CloseHedge
Decision = TradeDecision | RefreshHedge | Hold
