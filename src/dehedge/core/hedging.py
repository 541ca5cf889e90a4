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
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from dehedge.core.book import HedgeBook, HedgedPosition, HedgeStatus, TradingMode, check_if_hedge_position_is_expired
from dehedge.core.decisions import CloseHedge, Decision, Hold, OpenHedge, Reason, RefreshHedge, ResizeHedge
from dehedge.core.model import PRICE_SCALE, HedgeKey, Observation, Position, TradingRules
from dehedge.core.orders import Action, Share
from dehedge.core.risk import Capital, RiskAssessment, RiskFactors, assess
from dehedge.core.sizing import Sizing, check_large_enough, get_collateral_usd, get_target_quantity


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
    """What is known of the exchange: its rules, and what may not grow, or not be touched, for now.

    ``blocked`` symbols have a reason, ``exhausted`` ones no margin; ``waiting`` hedges were refused a moment ago, for
    growing and for reducing apart; ``busy`` ones are being held against the account.
    """

    rules: Mapping[str, TradingRules]
    blocked: Mapping[str, str] = field(default_factory=dict)
    exhausted: AbstractSet[str] = frozenset()
    waiting_to_grow: AbstractSet[HedgeKey] = frozenset()
    waiting_to_reduce: AbstractSet[HedgeKey] = frozenset()
    busy: AbstractSet[HedgeKey] = frozenset()


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
    if book.mode is TradingMode.HALTED:
        return [Hold(key, Reason.TRADING_PAUSED) for key in keys]
    if book.is_flattening:
        return plan_flattening(book, venue)
    if check_snapshot_stale(observation, book, policy):
        return [Hold(key, Reason.STALE_SNAPSHOT) for key in keys]
    closed = process_closed_hedge_positions(this)
    return [*closed, *(process_hedge_position(this, position) for position in positions.values())]


def check_mode_allows(book: HedgeBook, action: Action, *, is_open: bool) -> bool:
    """What the kill switch lets through: nothing when halted, and less exposure always else."""
    if action is Action.REDUCE or book.mode is TradingMode.HALTED:
        return book.mode is not TradingMode.HALTED
    if book.is_flattening or book.mode is TradingMode.REDUCE_ONLY:
        return False
    return book.mode is TradingMode.ACTIVE or not is_open


def plan_flattening(book: HedgeBook, venue: VenueState) -> list[Decision]:
    """Close every hedge because an operator says so, whatever is known of the chain and of prices."""
    hedges = book.get_all_hedged_positions().values()
    return [_close(venue, hedge, Reason.FLATTENED) for hedge in hedges]


def check_snapshot_stale(observation: Observation, book: HedgeBook, policy: HedgingPolicy) -> bool:
    """True when the snapshot is too old by its block's time, or older than one that a hedge was already decided from."""
    snapshot = observation.snapshot
    is_old = observation.taken_at - snapshot.block_time > policy.max_snapshot_age_s
    return is_old or snapshot.block_number < book.block_number


def process_closed_hedge_positions(this: _Pass) -> list[Decision]:
    """Close every hedge whose position is gone from the snapshot, by its own held quantity."""
    positions = this.observation.snapshot.positions
    gone = [hedge for key, hedge in this.book.get_all_hedged_positions().items() if key not in positions]
    return [_close(this.venue, hedge, Reason.POSITION_CLOSED) for hedge in gone]


def process_hedge_position(this: _Pass, position: Position) -> Decision:
    """Decide for one open position."""
    key = position.key
    hedge = this.book.get_hedged_position(key)
    if hedge is not None and hedge.side is not position.hedge_side:
        return _close(this.venue, hedge, Reason.SIDE_CHANGED)
    obstacle = _find_obstacle(this, position, is_hedged=hedge is not None)
    if obstacle is not None:
        return Hold(key, obstacle)
    assessment = _assess(this, position)
    if hedge is None:
        return _open(this, position, assessment) if assessment.at_risk else Hold(key, Reason.NOT_AT_RISK, assessment)
    return _follow(this, position, hedge, assessment) if assessment.at_risk else _cool(this, hedge, assessment)


def _find_obstacle(this: _Pass, position: Position, *, is_hedged: bool) -> Reason | None:
    """Why this position cannot be judged at all, if it cannot."""
    if position.asset != this.policy.asset:
        return Reason.OTHER_ASSET
    if position.market not in this.policy.symbols and not is_hedged:
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
    if obstacle is None and not check_mode_allows(this.book, Action.INCREASE, is_open=True):
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
    if symbol in this.venue.exhausted:
        return Reason.MARGIN_EXHAUSTED
    if rules is None or not rules.is_trading or symbol in this.venue.blocked:
        return Reason.SYMBOL_BLOCKED
    if symbol not in this.observation.marks:
        return Reason.NO_MARK_PRICE
    if key in this.venue.waiting_to_grow:
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
    if target == hedge.quantity:
        return keep
    resize = _grow if target > hedge.quantity else _shrink
    return resize(this, position, hedge, target, keep) or keep


def _grow(
    this: _Pass, position: Position, hedge: HedgedPosition, target: Decimal, keep: RefreshHedge
) -> Decision | None:
    """The order that brings the hedge up to its target, or None while nothing may or need be added."""
    key, rules = hedge.key, this.venue.rules[hedge.symbol]
    missing = target - hedge.quantity
    if not check_mode_allows(this.book, Action.INCREASE, is_open=False):
        return None
    if _find_growth_obstacle(this, key, hedge.symbol) is not None:
        return None
    if not check_large_enough(missing, this.observation.marks[hedge.symbol], rules):
        return None
    quantity = min(missing, rules.quantity_max)
    return _build_resize(position, hedge, quantity, target, keep.assessment, Action.INCREASE)


def _shrink(
    this: _Pass, position: Position, hedge: HedgedPosition, target: Decimal, keep: RefreshHedge
) -> Decision | None:
    """The order that brings the hedge down to its target, or None while that is not worth one."""
    if target == 0:
        return _close(this.venue, hedge, Reason.TOO_SMALL, keep.assessment)
    rules, surplus = this.venue.rules[hedge.symbol], hedge.quantity - target
    # In one-way mode the exchange may refuse a reduction below its minimum.
    is_worth_it = check_large_enough(surplus, this.observation.marks[hedge.symbol], rules)
    if hedge.key in this.venue.waiting_to_reduce or not is_worth_it:
        return None
    quantity = min(surplus, rules.quantity_max)
    return _build_resize(position, hedge, quantity, target, keep.assessment, Action.REDUCE)


def _build_resize(  # noqa: PLR0917
    position: Position, hedge: HedgedPosition, quantity: Decimal, target: Decimal,
    assessment: RiskAssessment | None, action: Action,
) -> ResizeHedge:  # fmt: skip
    reason = Reason.SIZE_CHANGED if target != hedge.target else Reason.INCOMPLETE
    share = Share(hedge.key, quantity, target, position.size, position.entry_price, reason)
    return ResizeHedge(hedge.key, reason, hedge.symbol, hedge.side, share, assessment, action)


def _cool(this: _Pass, hedge: HedgedPosition, assessment: RiskAssessment) -> Decision:
    """The risk is gone: keep the hedge until it has been gone for the whole expiry time."""
    if check_if_hedge_position_is_expired(hedge, now=this.now, expiry_s=this.policy.expiry_s):
        return _close(this.venue, hedge, Reason.EXPIRED, assessment)
    return Hold(hedge.key, Reason.COOLING_DOWN, assessment)


def _close(
    venue: VenueState, hedge: HedgedPosition, reason: Reason, assessment: RiskAssessment | None = None
) -> Decision:
    key = hedge.key
    if hedge.status is not HedgeStatus.OPEN or key in venue.busy:
        return Hold(key, Reason.IN_FLIGHT, assessment)
    if key in venue.waiting_to_reduce:
        return Hold(key, Reason.BACKING_OFF, assessment)
    rules = venue.rules.get(hedge.symbol)
    quantity = min(hedge.quantity, rules.quantity_max) if rules is not None else hedge.quantity
    share = Share(key, quantity, Decimal(0), hedge.size, hedge.entry_price, reason)
    return CloseHedge(key, reason, hedge.symbol, hedge.side, share, assessment)


def get_price(tick_price: int) -> Decimal:
    """A 1e18-scaled price as a Decimal."""
    return Decimal(tick_price) / PRICE_SCALE
