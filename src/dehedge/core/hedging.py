"""What each position's hedge should be: the decision table.

Rules of this file. Everything that decides whether a hedge is opened, kept, resized or closed is here, and only here. A
decision is a pure function of one frozen observation, the book, the policy and what is known of the exchange; two passes
over the same world give the same decisions, and once the first has been carried out the second sends nothing.

Theory of operation. The planner is level-triggered: it never asks what changed, only what is. Every key of the snapshot
and of the book gets exactly one decision with its reason; that list is the log line, the dashboard and the explanation.

    book / observed   at risk               safe                  stale or unknown    gone (complete snapshot)
    absent            Open                  Hold                  Hold                -
    in flight         Hold: in flight       Hold: in flight       Hold: in flight     Hold: in flight
    open, younger     Refresh or Resize     Hold: cooling down    Hold: stale         Close: position closed
    open, expired     Refresh or Resize     Close: expired        Hold: stale         Close: position closed

A position that changed its side closes its hedge first and opens the other on a later pass. Guards, limits and the kill
switch hold what adds exposure. Nothing holds a close but a stale snapshot, because blindness is not absence, and a
refusal of the exchange that is a moment old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from dehedge.core.book import HedgeBook, HedgedPosition, HedgeStatus, TradingMode, check_if_hedge_position_is_expired
from dehedge.core.model import PRICE_SCALE, HedgeKey, Observation, Position, Side, TradingRules
from dehedge.core.orders import Action, Share
from dehedge.core.risk import Capital, RiskAssessment, RiskFactors, assess
from dehedge.core.sizing import Sizing, check_large_enough, get_collateral_usd, get_target_quantity


class Reason(StrEnum):
    """Why a decision is what it is."""

    AT_RISK = "at_risk"
    SIZE_CHANGED = "size_changed"
    INCOMPLETE = "incomplete_fill"
    NOT_AT_RISK = "not_at_risk"
    COOLING_DOWN = "cooling_down"
    EXPIRED = "expired"
    POSITION_CLOSED = "position_closed"
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
    TRADING_PAUSED = "trading_paused"


@dataclass(frozen=True, slots=True)
class HedgingPolicy:
    """The operator's settings that decide. ``symbols`` maps DePerp markets to the exchange's symbols."""

    factors: RiskFactors
    sizing: Sizing
    asset: str
    symbols: Mapping[str, str]
    leverage: int
    min_collateral_usd: Decimal
    expiry_s: float
    max_price_age_s: float
    max_snapshot_age_s: float
    asset_unit: int = 10**6


@dataclass(frozen=True, slots=True)
class VenueState:
    """What is known of the exchange: its rules, symbols that may not grow and why, keys to leave alone until a time."""

    rules: Mapping[str, TradingRules]
    blocked: Mapping[str, str]
    backing_off: Mapping[HedgeKey, float]
    busy: frozenset[HedgeKey]


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


@dataclass(frozen=True, slots=True)
class _Pass:
    """Everything one pass decides from."""

    observation: Observation
    book: HedgeBook
    policy: HedgingPolicy
    venue: VenueState

    @property
    def now(self) -> float:
        return self.observation.taken_at


def plan(observation: Observation, book: HedgeBook, policy: HedgingPolicy, venue: VenueState) -> list[Decision]:
    """One decision for every position of the snapshot and every hedge of the book."""
    this = _Pass(observation, book, policy, venue)
    positions = observation.snapshot.positions
    keys = [*positions, *(key for key in book.get_all_hedged_positions() if key not in positions)]
    if observation.taken_at - observation.snapshot.block_time > policy.max_snapshot_age_s:
        return [Hold(key, Reason.STALE_SNAPSHOT) for key in keys]
    if book.mode is TradingMode.HALTED:
        return [Hold(key, Reason.TRADING_PAUSED) for key in keys]
    closed = process_closed_hedge_positions(this)
    return [*closed, *(process_hedge_position(this, position) for position in positions.values())]


def process_closed_hedge_positions(this: _Pass) -> list[Decision]:
    """Close every hedge whose position is gone from the snapshot, by its own held quantity."""
    positions = this.observation.snapshot.positions
    gone = [hedge for key, hedge in this.book.get_all_hedged_positions().items() if key not in positions]
    return [_close(this, hedge, Reason.POSITION_CLOSED) for hedge in gone]


def process_hedge_position(this: _Pass, position: Position) -> Decision:
    """Decide for one open position."""
    key = position.key
    hedge = this.book.get_hedged_position(key)
    if hedge is not None:
        if this.book.is_flattening:
            return _close(this, hedge, Reason.FLATTENED)
        if hedge.side is not position.hedge_side:
            return _close(this, hedge, Reason.SIDE_CHANGED)
    obstacle = _find_obstacle(this, position)
    if obstacle is not None:
        return Hold(key, obstacle)
    assessment = _assess(this, position)
    if hedge is None:
        return _open(this, position, assessment) if assessment.at_risk else Hold(key, Reason.NOT_AT_RISK, assessment)
    return _follow(this, position, hedge, assessment) if assessment.at_risk else _cool(this, hedge, assessment)


def _find_obstacle(this: _Pass, position: Position) -> Reason | None:
    """Why this position cannot be judged at all, if it cannot."""
    if position.asset != this.policy.asset:
        return Reason.OTHER_ASSET
    if position.market not in this.policy.symbols:
        return Reason.UNSUPPORTED_MARKET
    if not check_price_fresh(this.observation, this.policy, position.market):
        return Reason.STALE_PRICE
    return None


def check_price_fresh(observation: Observation, policy: HedgingPolicy, market: str) -> bool:
    """True when the market's price is young enough by its publish time, by our limit and by the market's own."""
    tick = observation.prices.get(market)
    if tick is None:
        return False
    details = observation.snapshot.markets.get(market)
    own_limit = details.feed_max_age_s if details is not None else 0
    limit = min(policy.max_price_age_s, own_limit) if own_limit > 0 else policy.max_price_age_s
    return observation.taken_at - tick.publish_time <= limit


def _assess(this: _Pass, position: Position) -> RiskAssessment:
    snapshot = this.observation.snapshot
    tracer = snapshot.funding.get((position.asset, position.market))
    price = this.observation.prices[position.market].price
    return assess(position, price, tracer, Capital(snapshot.vault, snapshot.shield), this.policy.factors)


def _open(this: _Pass, position: Position, assessment: RiskAssessment) -> Decision:
    key, policy = position.key, this.policy
    if get_collateral_usd(position, policy.leverage, policy.asset_unit) < Fraction(policy.min_collateral_usd):
        return Hold(key, Reason.BELOW_MIN_COLLATERAL, assessment)
    symbol = policy.symbols[position.market]
    obstacle = _find_growth_obstacle(this, key, symbol)
    if obstacle is None and this.book.mode is not TradingMode.ACTIVE:
        obstacle = Reason.TRADING_PAUSED
    if obstacle is not None:
        return Hold(key, obstacle, assessment)
    rules, mark = this.venue.rules[symbol], this.observation.marks[symbol]
    target = _get_target(this, position, symbol)
    if not check_large_enough(target, mark, rules):
        return Hold(key, Reason.TOO_SMALL, assessment)
    reason = "+".join(assessment.fired)
    quantity = min(target, rules.quantity_max)
    share = Share(key, quantity, target, position.size, position.entry_price, reason)
    return OpenHedge(key, Reason.AT_RISK, symbol, position.hedge_side, share, assessment)


def _find_growth_obstacle(this: _Pass, key: HedgeKey, symbol: str) -> Reason | None:
    """Why no exposure may be added for this key now, if it may not."""
    rules = this.venue.rules.get(symbol)
    if key in this.venue.busy:
        return Reason.IN_FLIGHT
    if rules is None or not rules.is_trading or symbol in this.venue.blocked:
        return Reason.SYMBOL_BLOCKED
    if symbol not in this.observation.marks:
        return Reason.NO_MARK_PRICE
    if this.venue.backing_off.get(key, 0) > this.now:
        return Reason.BACKING_OFF
    return None


def _get_target(this: _Pass, position: Position, symbol: str) -> Decimal:
    policy, rules = this.policy, this.venue.rules[symbol]
    mark = this.observation.marks[symbol]
    return get_target_quantity(position, mark, policy.sizing, asset_unit=policy.asset_unit, step=rules.quantity_step)


def _follow(this: _Pass, position: Position, hedge: HedgedPosition, assessment: RiskAssessment) -> Decision:
    """The risk lasts: keep the hedge, and bring it to the position's size."""
    key = position.key
    if hedge.status is not HedgeStatus.OPEN or key in this.venue.busy:
        return Hold(key, Reason.IN_FLIGHT, assessment)
    keep = RefreshHedge(key, Reason.AT_RISK, assessment)
    if hedge.symbol not in this.venue.rules or hedge.symbol not in this.observation.marks:
        return keep
    is_same = (hedge.size, hedge.entry_price) == (position.size, position.entry_price) and hedge.target > 0
    target = hedge.target if is_same else _get_target(this, position, hedge.symbol)
    if target == hedge.quantity or this.venue.backing_off.get(key, 0) > this.now:
        return keep
    reason = Reason.INCOMPLETE if is_same else Reason.SIZE_CHANGED
    if target > hedge.quantity:
        return _grow(this, position, hedge, target, keep) or keep
    if target == 0:
        return _close(this, hedge, Reason.TOO_SMALL)
    quantity = min(hedge.quantity - target, this.venue.rules[hedge.symbol].quantity_max)
    share = Share(key, quantity, target, position.size, position.entry_price, reason)
    return ResizeHedge(key, reason, hedge.symbol, hedge.side, share, assessment, Action.REDUCE)


def _grow(
    this: _Pass, position: Position, hedge: HedgedPosition, target: Decimal, keep: RefreshHedge
) -> Decision | None:
    """The order that brings the hedge up to its target, or None while nothing may or need be added."""
    key, rules = hedge.key, this.venue.rules[hedge.symbol]
    missing = target - hedge.quantity
    if this.book.mode in (TradingMode.REDUCE_ONLY, TradingMode.HALTED) or this.book.is_flattening:
        return None
    if _find_growth_obstacle(this, key, hedge.symbol) is not None:
        return None
    if not check_large_enough(missing, this.observation.marks[hedge.symbol], rules):
        return None
    reason = Reason.SIZE_CHANGED if target != hedge.target else Reason.INCOMPLETE
    quantity = min(missing, rules.quantity_max)
    share = Share(key, quantity, target, position.size, position.entry_price, reason)
    return ResizeHedge(key, reason, hedge.symbol, hedge.side, share, keep.assessment, Action.INCREASE)


def _cool(this: _Pass, hedge: HedgedPosition, assessment: RiskAssessment) -> Decision:
    """The risk is gone: keep the hedge until it has been gone for the whole expiry time."""
    if check_if_hedge_position_is_expired(hedge, now=this.now, expiry_s=this.policy.expiry_s):
        return _close(this, hedge, Reason.EXPIRED, assessment)
    return Hold(hedge.key, Reason.COOLING_DOWN, assessment)


def _close(this: _Pass, hedge: HedgedPosition, reason: Reason, assessment: RiskAssessment | None = None) -> Decision:
    key = hedge.key
    if hedge.status is not HedgeStatus.OPEN or key in this.venue.busy:
        return Hold(key, Reason.IN_FLIGHT, assessment)
    if this.venue.backing_off.get(key, 0) > this.now:
        return Hold(key, Reason.BACKING_OFF, assessment)
    rules = this.venue.rules.get(hedge.symbol)
    quantity = min(hedge.quantity, rules.quantity_max) if rules is not None else hedge.quantity
    share = Share(key, quantity, Decimal(0), hedge.size, hedge.entry_price, reason)
    return CloseHedge(key, reason, hedge.symbol, hedge.side, share, assessment)


def get_price(tick_price: int) -> Decimal:
    """A 1e18-scaled price as a Decimal."""
    return Decimal(tick_price) / PRICE_SCALE
