"""A pass as it can be kept: what the planner was given, cut down to the keys it looked at, and what it decided.

``plan`` is pure, so these are enough to run it again to the same decisions, whenever and wherever. ``view_pass`` only takes
references, for it runs between a decision and its orders; ``freeze`` does the work, and may be called in a thread, because
nothing that it reads is ever changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import filterfalse, islice

from dehedge.core.book import HedgeBook, HedgedPosition, TradingMode
from dehedge.core.decisions import CloseHedge, Decision, OpenHedge, ResizeHedge
from dehedge.core.hedging import plan
from dehedge.core.model import ChainSnapshot, HedgeKey, Market, Observation, Position, PriceTick, Stance, TradingRules
from dehedge.core.policy import HedgingPolicy, VenueState

KEYS_MAX = 500
"""Of one pass; trades go first. What is not kept is only counted."""


@dataclass(frozen=True, slots=True)
class PassView:
    """References to all that a pass was, and of the book what may change afterwards."""

    observation: Observation
    policy: HedgingPolicy
    venue: VenueState
    hedges: Mapping[HedgeKey, HedgedPosition]
    book_block: int
    mode: TradingMode
    is_flattening: bool
    judged_at: Mapping[str, float]
    decisions: tuple[Decision, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class SnapshotPart:
    """A snapshot with the positions of some keys, and what concerns these."""

    block_number: int
    block_hash: str
    block_time: int
    vault: int
    shield: int
    positions: tuple[Position, ...]
    funding: tuple[tuple[str, str, int], ...]
    markets: tuple[Market, ...]
    host: str


@dataclass(frozen=True, slots=True)
class VenuePart:
    """What was known of the exchange, of the symbols and keys in question."""

    rules: tuple[TradingRules, ...]
    blocked: dict[str, str]
    exhausted: tuple[str, ...]
    waiting_to_grow: tuple[HedgeKey, ...]
    waiting_to_reduce: tuple[HedgeKey, ...]
    busy: tuple[HedgeKey, ...]


@dataclass(frozen=True, slots=True)
class StancePart:
    """How the traders stood together, and what was to become of some keys; None where all was to stay."""

    figures: tuple[int, int, int, int, int]
    held: Fraction
    level: Fraction
    is_fast: bool
    targets: tuple[tuple[HedgeKey, Decimal], ...] | None
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class RecordedPass:
    """The arguments of ``plan``, self-contained."""

    taken_at: float
    keys: tuple[HedgeKey, ...]
    left_out: int
    snapshot: SnapshotPart
    previous: SnapshotPart | None
    objection: SnapshotPart | None
    prices: tuple[PriceTick, ...]
    marks: dict[str, Decimal]
    policy: HedgingPolicy
    venue: VenuePart
    hedges: tuple[HedgedPosition, ...]
    book_block: int
    mode: TradingMode
    is_flattening: bool
    judged_at: dict[str, float]
    stance: StancePart | None = None


def view_pass(
    book: HedgeBook,
    observation: Observation,
    terms: tuple[HedgingPolicy, VenueState],
    decisions: Sequence[Decision],
) -> PassView:
    """What the planner has just decided, before anything comes of it."""
    kept = _choose(decisions)
    found = [(decision.key, book.get_hedged_position(decision.key)) for decision in kept]
    return PassView(
        observation, *terms, {key: hedge for key, hedge in found if hedge is not None}, book.block_number, book.mode,
        book.is_flattening, dict(book.judged_at), tuple(kept), len(decisions) - len(kept),
    )  # fmt: skip


def check_trade(decision: Decision) -> bool:
    """True for a decision that sends an order."""
    return isinstance(decision, OpenHedge | ResizeHedge | CloseHedge)


def freeze(view: PassView) -> RecordedPass:
    """The pass by itself."""
    keys = tuple(decision.key for decision in view.decisions)
    observation = view.observation
    markets = {key.market for key in keys}
    symbols = {hedge.symbol for hedge in view.hedges.values()}
    symbols |= {symbol for market, symbol in view.policy.symbols.items() if market in markets}
    previous, objection = observation.previous, observation.objection
    return RecordedPass(
        observation.taken_at, keys, view.left_out, _cut(observation.snapshot, keys),
        _cut(previous, keys) if previous is not None else None,
        _cut(objection, keys) if objection is not None else None,
        tuple(tick for market, tick in sorted(observation.prices.items()) if market in markets),
        {symbol: mark for symbol, mark in sorted(observation.marks.items()) if symbol in symbols},
        view.policy, _cut_venue(view.venue, symbols, set(keys)), tuple(view.hedges.values()), view.book_block, view.mode,
        view.is_flattening, {market: at for market, at in view.judged_at.items() if market in markets},
        _cut_stance(observation.stance, keys) if observation.stance is not None else None,
    )  # fmt: skip


def run_again(recorded: RecordedPass) -> list[Decision]:
    """What the planner decides from the same."""
    previous, objection = recorded.previous, recorded.objection
    observation = Observation(
        _restore(recorded.snapshot), {tick.market: tick for tick in recorded.prices}, recorded.marks, recorded.taken_at,
        _restore(previous) if previous is not None else None, _restore(objection) if objection is not None else None,
        _restore_stance(recorded.stance) if recorded.stance is not None else None,
    )  # fmt: skip
    book = HedgeBook(block_number=recorded.book_block, mode=recorded.mode, is_flattening=recorded.is_flattening)
    book.judged_at = dict(recorded.judged_at)
    for hedge in recorded.hedges:
        book.set_hedged_position(hedge)
    return plan(observation, book, recorded.policy, _restore_venue(recorded.venue), recorded.keys)


def _choose(decisions: Sequence[Decision]) -> Sequence[Decision]:
    """Those that are kept."""
    if len(decisions) <= KEYS_MAX:
        return decisions
    trades = list(islice(filter(check_trade, decisions), KEYS_MAX))
    return [*trades, *islice(filterfalse(check_trade, decisions), KEYS_MAX - len(trades))]


def _cut(snapshot: ChainSnapshot, keys: Sequence[HedgeKey]) -> SnapshotPart:
    found = [snapshot.positions.get(key) for key in keys]
    positions = tuple(position for position in found if position is not None)
    places = sorted({(position.asset, position.market) for position in positions})
    funding = [(*place, snapshot.funding[place]) for place in places if place in snapshot.funding]
    markets = [snapshot.markets[name] for name in sorted({key.market for key in keys}) if name in snapshot.markets]
    return SnapshotPart(
        snapshot.block_number, snapshot.block_hash, snapshot.block_time, snapshot.vault, snapshot.shield, positions,
        tuple(funding), tuple(markets), snapshot.host,
    )  # fmt: skip


def _restore(part: SnapshotPart) -> ChainSnapshot:
    return ChainSnapshot(
        part.block_number, part.block_hash, part.block_time, part.vault, part.shield,
        {position.key: position for position in part.positions},
        {(asset, market): tracer for asset, market, tracer in part.funding},
        {market.name: market for market in part.markets}, part.host,
    )  # fmt: skip


def _cut_stance(stance: Stance, keys: Sequence[HedgeKey]) -> StancePart:
    targets = stance.targets
    kept = tuple((key, targets[key]) for key in keys if key in targets) if targets is not None else None
    figures = (stance.profit, stance.limit, stance.ahead, stance.swing, stance.exposure)
    return StancePart(figures, stance.held, stance.level, stance.is_fast, kept, stance.is_known)


def _restore_stance(part: StancePart) -> Stance:
    targets = dict(part.targets) if part.targets is not None else None
    return Stance(*part.figures, part.held, part.level, part.is_fast, targets, part.is_known)


def _cut_venue(venue: VenueState, symbols: set[str], keys: set[HedgeKey]) -> VenuePart:
    return VenuePart(
        tuple(venue.rules[symbol] for symbol in sorted(symbols) if symbol in venue.rules),
        {symbol: reason for symbol, reason in sorted(venue.blocked.items()) if symbol in symbols},
        tuple(sorted(symbols & venue.exhausted)),
        tuple(sorted(keys & venue.waiting_to_grow)),
        tuple(sorted(keys & venue.waiting_to_reduce)),
        tuple(sorted(keys & venue.busy)),
    )


def _restore_venue(part: VenuePart) -> VenueState:
    return VenueState(
        {rules.symbol: rules for rules in part.rules}, part.blocked, frozenset(part.exhausted),
        frozenset(part.waiting_to_grow), frozenset(part.waiting_to_reduce), frozenset(part.busy),
    )  # fmt: skip
