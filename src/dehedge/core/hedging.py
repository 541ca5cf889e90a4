"""What each position's hedge should be: the decision table.

Rules of this file. Everything that decides whether a hedge is opened, kept, resized or closed is here, and only here. A
decision is a pure function of one frozen observation, the book, the policy and what is known of the exchange; two passes
over the same world give the same decisions, and once the first has been carried out the second sends nothing.

Theory of operation. The planner is level-triggered: it never asks what changed, only what is. Every key of the snapshot
and of the book gets exactly one decision with its reason; that list is the log line, the dashboard and the explanation.

    book / observed   at risk            safe                stale or unknown  lacked once        gone (lacked twice)
    absent            Open               Hold                Hold              -                  -
    in flight         Hold: in flight    Hold: in flight     Hold: in flight   Hold: in flight    Hold: in flight
    open, younger     Refresh or Resize  Hold: cooling down  Hold: stale       Hold: unconfirmed  Close: position closed
    open, expired     Refresh or Resize  Close: expired      Hold: stale       Hold: unconfirmed  Close: position closed

A position is gone when two complete snapshots in a row lack it, the second of which is testimony of its own
(``absence``). What a position says of itself needs no second one: one that changed its side closes its hedge first and
opens the other on a later pass, and one that shrank takes its hedge with it. Guards, limits and the kill switch hold
what adds exposure. Nothing holds a close but a stale snapshot or an absence not yet confirmed, because blindness is
not absence, a refusal of the exchange that is a moment old, an operator who halted everything, and a rest below the
exchange's step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from dehedge.core.absence import check_gone
from dehedge.core.book import HedgeBook, HedgedPosition, HedgeStatus, TradingMode, check_if_hedge_position_is_expired
from dehedge.core.decisions import CloseHedge, Decision, Hold, OpenHedge, Reason, RefreshHedge, ResizeHedge
from dehedge.core.freshness import check_price_fresh, check_snapshot_stale
from dehedge.core.model import PRICE_SCALE, HedgeKey, Observation, Position, TradingRules
from dehedge.core.orders import Action, Share
from dehedge.core.policy import HedgingPolicy, Place, VenueState
from dehedge.core.risk import Capital, RiskAssessment, assess
from dehedge.core.sizing import (
    Sizing,
    check_large_enough,
    floor_to_step,
    get_order_max,
    get_target_quantity,
)


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


class _Wish(NamedTuple):
    """Whether and why a position is to be hedged, and how much: what it asks for itself unless ``target`` says."""

    assessment: RiskAssessment
    reason: Reason
    is_wanted: bool
    target: Decimal | None = None


def plan(
    observation: Observation,
    book: HedgeBook,
    policy: HedgingPolicy,
    venue: VenueState,
    keys: Iterable[HedgeKey] | None = None,
) -> list[Decision]:
    """One decision for each of the keys: unless named, every position of the snapshot and every hedge of the book."""
    this = _Pass(observation, book, policy, venue)
    decide = _find_rule(this)
    keys = list_keys(observation, book) if keys is None else keys
    return [_note_price(this, decide(this, key)) for key in keys]


def _note_price(this: _Pass, decision: Decision) -> Decision:
    """A trade with the price that it was decided at, which the accounts want to know."""
    if not isinstance(decision, OpenHedge | ResizeHedge | CloseHedge):
        return decision
    market, observation = decision.key.market, this.observation
    if not check_price_fresh(observation, this.policy, market):
        return decision
    return replace(decision, share=decision.share._replace(price=get_price(observation.prices[market].price)))


def list_keys(observation: Observation, book: HedgeBook) -> list[HedgeKey]:
    positions = observation.snapshot.positions
    return [*(key for key in book.get_all_hedged_positions() if key not in positions), *positions]


def _find_rule(this: _Pass) -> Callable[[_Pass, HedgeKey], Decision]:
    """What decides every key of this pass alike, or else that each is judged by itself."""
    if this.book.mode is TradingMode.HALTED:
        return lambda _, key: Hold(key, Reason.TRADING_PAUSED)
    if this.book.is_flattening:
        return _flatten
    if check_snapshot_stale(this.observation, this.book, this.policy):
        return lambda this, key: _hold(this.book.get_hedged_position(key), key, Reason.STALE_SNAPSHOT)
    return _judge


def _flatten(this: _Pass, key: HedgeKey) -> Decision:
    hedge = this.book.get_hedged_position(key)
    return _close(this.venue, hedge, Reason.FLATTENED) if hedge is not None else Hold(key, Reason.TRADING_PAUSED)


def _judge(this: _Pass, key: HedgeKey) -> Decision:
    position = this.observation.snapshot.positions.get(key)
    if position is None:
        return process_closed_hedge_position(this, key)
    return process_hedge_position(this, key, position)


def find_judged_markets(observation: Observation, book: HedgeBook, policy: HedgingPolicy) -> list[str]:
    """The markets whose positions a pass holds against their price now."""
    if book.mode is TradingMode.HALTED or book.is_flattening or check_snapshot_stale(observation, book, policy):
        return []
    return [market for market in observation.prices if check_price_fresh(observation, policy, market)]


def check_mode_allows(book: HedgeBook, action: Action, *, is_open: bool) -> bool:
    """What the kill switch lets through: nothing when halted, and less exposure always else."""
    if action is Action.INCREASE:
        allowed = (TradingMode.ACTIVE,) if is_open else (TradingMode.ACTIVE, TradingMode.NO_OPENS)
        return book.mode in allowed and not book.is_flattening
    return book.mode is not TradingMode.HALTED


def plan_flattening(book: HedgeBook, venue: VenueState) -> list[Decision]:
    """Close every hedge because an operator says so, whatever is known of the chain and of prices."""
    hedges = book.get_all_hedged_positions().values()
    return [_close(venue, hedge, Reason.FLATTENED) for hedge in hedges]


def process_closed_hedge_position(this: _Pass, key: HedgeKey) -> Decision:
    """Close a hedge whose position is gone, by its own held quantity; hold it while one snapshot alone lacks that."""
    hedge = this.book.get_hedged_position(key)
    if hedge is None:
        return Hold(key, Reason.NOT_AT_RISK)
    if not check_gone(this.observation, hedge, this.policy.max_snapshot_age_s):
        return _hold(hedge, key, Reason.GONE_UNCONFIRMED)
    return _close(this.venue, hedge, Reason.POSITION_CLOSED)


def process_hedge_position(this: _Pass, key: HedgeKey, position: Position) -> Decision:
    """Decide for one open position."""
    hedge = this.book.get_hedged_position(key)
    if hedge is not None and hedge.side is not position.hedge_side:
        return _close(this.venue, hedge, Reason.SIDE_CHANGED)
    place = (position.asset, position.market)
    obstacle = _find_obstacle(this.observation, this.policy, place, is_hedged=hedge is not None)
    if obstacle is not None:
        return _hold(hedge, key, obstacle)
    wish = _find_wish(this, position, hedge)
    if hedge is None:
        return _open(this, position, wish) if wish.is_wanted else Hold(key, Reason.NOT_AT_RISK, wish.assessment)
    if wish.is_wanted:
        return _follow(this, position, hedge, wish)
    if this.policy.portfolio is not None:
        return _close(this.venue, hedge, Reason.PORTFOLIO_SAFE, wish.assessment)
    return _cool(this, hedge, wish.assessment)


def _find_wish(this: _Pass, position: Position, hedge: HedgedPosition | None) -> _Wish:
    """By the position's own risk; or its part of what the stance asks of all, without whose say everything stays."""
    assessment = _assess(this, position)
    if this.policy.portfolio is None:
        return _Wish(assessment, Reason.AT_RISK, assessment.at_risk)
    stance = this.observation.stance
    targets = stance.targets if stance is not None else None
    target = targets.get(position.key) if targets is not None else None
    is_wanted = bool(target) if target is not None else hedge is not None
    return _Wish(assessment, Reason.PORTFOLIO_AT_RISK, is_wanted, target)


def _hold(
    hedge: HedgedPosition | None, key: HedgeKey, reason: Reason, assessment: RiskAssessment | None = None
) -> Hold:
    """Hold for the reason, unless the hedge's own order is the nearer one."""
    in_flight = hedge is not None and hedge.status is not HedgeStatus.OPEN
    return Hold(key, Reason.IN_FLIGHT if in_flight else reason, assessment)


def explain_quiet(observation: Observation, book: HedgeBook, policy: HedgingPolicy, place: Place) -> Reason:
    """Why nothing is done for the positions of an asset and market that are not at risk and have no hedge."""
    if book.mode is TradingMode.HALTED or book.is_flattening:
        return Reason.TRADING_PAUSED
    if check_snapshot_stale(observation, book, policy):
        return Reason.STALE_SNAPSHOT
    return _find_obstacle(observation, policy, place, is_hedged=False) or Reason.NOT_AT_RISK


def _find_obstacle(
    observation: Observation, policy: HedgingPolicy, place: Place, *, is_hedged: bool
) -> Reason | None:
    """Why positions of this asset and market cannot be judged at all, if they cannot."""
    asset, market = place
    if asset != policy.asset:
        return Reason.OTHER_ASSET
    if market not in policy.symbols and not is_hedged:
        return Reason.UNSUPPORTED_MARKET
    if not check_price_fresh(observation, policy, market):
        return Reason.STALE_PRICE
    return None


def _assess(this: _Pass, position: Position) -> RiskAssessment:
    snapshot = this.observation.snapshot
    tracer = snapshot.funding.get((position.asset, position.market))
    price = this.observation.prices[position.market].price
    return assess(position, price, tracer, Capital(snapshot.vault, snapshot.shield), this.policy.factors)


def _open(this: _Pass, position: Position, wish: _Wish) -> Decision:
    policy, key, assessment = this.policy, position.key, wish.assessment
    if position.size < policy.size_min:
        return Hold(key, Reason.BELOW_MIN_COLLATERAL, assessment)
    symbol = policy.symbols[position.market]
    obstacle = _find_growth_obstacle(this, key, symbol)
    if obstacle is None and not check_mode_allows(this.book, Action.INCREASE, is_open=True):
        obstacle = Reason.TRADING_PAUSED
    if obstacle is not None:
        return Hold(key, obstacle, assessment)
    rules, mark = this.venue.rules[symbol], this.observation.marks[symbol]
    target = wish.target or _get_target(this, position, rules, mark)
    quantity = min(target, get_order_max(rules))
    if not check_large_enough(quantity, mark, rules):
        return Hold(key, Reason.TOO_SMALL, assessment)
    reason = "+".join(assessment.fired) if wish.target is None else wish.reason.value
    share = Share(key, quantity, target, position.size, position.entry_price, reason)
    return OpenHedge(key, wish.reason, symbol, position.hedge_side, share, assessment)


def _find_growth_obstacle(this: _Pass, key: HedgeKey, symbol: str) -> Reason | None:
    """Why no exposure may be added for this key now, if it may not."""
    rules = this.venue.rules.get(symbol)
    if key in this.venue.busy:
        return Reason.IN_FLIGHT
    if symbol in this.venue.exhausted:
        return Reason.MARGIN_EXHAUSTED
    if rules is None or not rules.is_trading or symbol in this.venue.blocked:
        return Reason.SYMBOL_BLOCKED
    if _get_mark(this, symbol) is None:
        return Reason.NO_MARK_PRICE
    if key in this.venue.waiting_to_grow:
        return Reason.BACKING_OFF
    return None


def _get_mark(this: _Pass, symbol: str) -> Decimal | None:
    """None also where the exchange says nothing or less, as it does of a symbol that is being settled or not traded yet."""
    mark = this.observation.marks.get(symbol)
    return mark if mark is not None and mark > 0 else None


def _get_target(this: _Pass, position: Position, rules: TradingRules, mark: Decimal) -> Decimal:
    policy = this.policy
    return get_target_quantity(position, mark, policy.sizing, asset_unit=policy.asset_unit, step=rules.quantity_step)


def _follow(this: _Pass, position: Position, hedge: HedgedPosition, wish: _Wish) -> Decision:
    """The risk lasts: keep the hedge, and bring it to the size that is due."""
    key, assessment = hedge.key, wish.assessment
    if hedge.status is not HedgeStatus.OPEN or key in this.venue.busy:
        return Hold(key, Reason.IN_FLIGHT, assessment)
    keep = RefreshHedge(key, wish.reason, assessment)
    rules, mark = this.venue.rules.get(hedge.symbol), _get_sizing_mark(this, hedge)
    if rules is None or mark is None:
        return keep
    is_same = bool(hedge.target) and (hedge.size, hedge.entry_price) == (position.size, position.entry_price)
    target = hedge.target if is_same else _get_target(this, position, rules, mark)
    if this.policy.portfolio is not None:
        # What the position asks for by itself bounds its part, and is no reason to grow.
        target = wish.target or min(target, hedge.target or hedge.quantity)
    if target == hedge.quantity:
        return keep
    if not is_same and not check_large_enough(target, mark, rules):
        return _close(this.venue, hedge, Reason.TOO_SMALL, assessment)
    # The exchange may have made its step larger since the target was set.
    difference = floor_to_step(abs(target - hedge.quantity), rules.quantity_step)
    action = Action.INCREASE if target > hedge.quantity else Action.REDUCE
    # Below the exchange's minimum even a reduction may be refused: in one-way mode it is not always reduce-only.
    if not check_large_enough(difference, mark, rules) or not _check_may_resize(this, hedge, action):
        return keep
    reason = Reason.SIZE_CHANGED if target != hedge.target else Reason.INCOMPLETE
    quantity = min(difference, get_order_max(rules))
    share = Share(key, quantity, target, position.size, position.entry_price, reason)
    return ResizeHedge(key, reason, hedge.symbol, hedge.side, share, assessment, action)


def _get_sizing_mark(this: _Pass, hedge: HedgedPosition) -> Decimal | None:
    """The mark price, or where the quantity does not depend on it, at least a price to hold minimums against."""
    mark = _get_mark(this, hedge.symbol)
    if mark is None and this.policy.sizing is Sizing.DELTA:
        return get_price(this.observation.prices[hedge.key.market].price)
    return mark


def _check_may_resize(this: _Pass, hedge: HedgedPosition, action: Action) -> bool:
    if action is Action.REDUCE:
        return hedge.key not in this.venue.waiting_to_reduce
    is_allowed = check_mode_allows(this.book, Action.INCREASE, is_open=False)
    return is_allowed and _find_growth_obstacle(this, hedge.key, hedge.symbol) is None


def _cool(this: _Pass, hedge: HedgedPosition, assessment: RiskAssessment) -> Decision:
    """The risk is gone: keep the hedge until it has been gone for the whole expiry time."""
    placed_at = this.book.get_placed_at(hedge)
    if check_if_hedge_position_is_expired(placed_at, now=this.now, expiry_s=this.policy.expiry_s):
        return _close(this.venue, hedge, Reason.EXPIRED, assessment)
    return _hold(hedge, hedge.key, Reason.COOLING_DOWN, assessment)


def _close(
    venue: VenueState, hedge: HedgedPosition, reason: Reason, assessment: RiskAssessment | None = None
) -> Decision:
    key = hedge.key
    if hedge.status is not HedgeStatus.OPEN or key in venue.busy:
        return Hold(key, Reason.IN_FLIGHT, assessment)
    if key in venue.waiting_to_reduce:
        return Hold(key, Reason.BACKING_OFF, assessment)
    rules = venue.rules.get(hedge.symbol)
    quantity = _get_close_quantity(hedge, rules) if rules is not None else hedge.quantity
    if not quantity:
        return Hold(key, Reason.TOO_SMALL, assessment)
    share = Share(key, quantity, Decimal(0), hedge.size, hedge.entry_price, reason)
    return CloseHedge(key, reason, hedge.symbol, hedge.side, share, assessment)


def _get_close_quantity(hedge: HedgedPosition, rules: TradingRules) -> Decimal:
    """As much of it as one order takes; what is off a step that has become larger stays, for no order takes it.

    With it the orders of all the hedges would be refused that are closed together with this one.
    """
    return min(floor_to_step(hedge.quantity, rules.quantity_step), get_order_max(rules))


def get_price(tick_price: int) -> Decimal:
    """A 1e18-scaled price as a Decimal."""
    return Decimal(tick_price) / PRICE_SCALE
