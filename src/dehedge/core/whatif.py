"""What the daemon would do if prices moved: the planner and the guards on a copy of the world, and what that would cost.

Rules of this file. Nothing is sent, journaled or remembered: everything is computed from a ``Scene``, which is frozen or
a copy, so it may run in a thread beside the event loop. What is decided comes from ``plan`` and ``apply_guards`` alone;
here are its inputs moved, and its outcome weighed: margin, liquidations, and what the vault would lose without hedges.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple, TypeGuard

import numpy as np

from dehedge.core.book import HedgeBook
from dehedge.core.decisions import CloseHedge, Decision, Hold, Reason, ResizeHedge
from dehedge.core.guard_report import GUARDS
from dehedge.core.guards import GuardInputs, GuardLimits, Increase, apply_guards, iterate_increases, rank_by_loss
from dehedge.core.hedging import plan
from dehedge.core.lookup import check_market, show
from dehedge.core.model import HedgeKey, Leg, Observation, Stance
from dehedge.core.orders import Action
from dehedge.core.pace import Pace
from dehedge.core.policy import HedgingPolicy
from dehedge.core.portfolio import Portfolio
from dehedge.core.stance import Scene as StanceScene
from dehedge.core.stance import build_stance, sum_held
from dehedge.core.trigger import Columns, Floats, Terms, TriggerIndex, build_index, get_funding
from dehedge.core.trips import check_at_risk
from dehedge.errors import QuestionInvalid

PERCENT_MAX = Decimal(1_000)
ZERO = Decimal(0)
QUIET = frozenset({Reason.NOT_AT_RISK, Reason.COOLING_DOWN, Reason.IN_FLIGHT})
"""Reasons that refuse nothing."""

_MOVE = re.compile(r"(?P<market>[^:]+):(?P<percent>[+-]?[0-9]{1,6}(?:\.[0-9]{1,6})?)%?")


class Holding(NamedTuple):
    """A position of the account, ours or not; ``quantity`` is signed."""

    symbol: str
    leg: Leg
    quantity: Decimal
    liquidation_price: Decimal | None


class Account(NamedTuple):
    """A reading of the account: what is free as margin, by asset, and every position."""

    available: Mapping[str, Decimal]
    holdings: Sequence[Holding]


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a what-if is computed from. The book, the usage and the venue of ``inputs`` are copies of its own."""

    moves: Mapping[str, Decimal]
    inputs: GuardInputs
    limits: GuardLimits
    policy: HedgingPolicy
    index: TriggerIndex
    account: Account | None = None
    portfolio: Portfolio | None = None


class Opening(NamedTuple):
    """A trade that adds exposure, with its notional at the moved mark and the margin that it binds, fee included."""

    trade: Increase
    notional_usd: Decimal
    margin_usd: Decimal


class Margin(NamedTuple):
    """What all opens need, those included that the account has no margin for; None where the account is unknown."""

    needed_usd: Decimal
    available_usd: Decimal | None
    short_usd: Decimal | None


class Liquidated(NamedTuple):
    """A position of the account whose liquidation price the moved mark has reached."""

    holding: Holding
    mark: Decimal


class Losses(NamedTuple):
    """In base units: what the traders gain by the move, what of it reaches the vault, and what the open hedges gain."""

    vault: int
    traders_gain: int
    hedges_gain: int
    after_unhedged: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What would be. ``held`` are the positions at risk that would get no hedge, or no more of it.

    ``prices`` are those of the moved markets, before and after.
    """

    prices: Mapping[str, tuple[int, int]]
    opens: Sequence[Opening]
    held: Sequence[Hold]
    closes: Sequence[CloseHedge | ResizeHedge]
    cooling: Sequence[HedgeKey]
    margin: Margin
    liquidated: Sequence[Liquidated]
    losses: Losses


def parse_moves(texts: Iterable[str], known: Collection[str]) -> dict[str, Decimal]:
    """``BTC-USD:-10`` and the like, percent by market. Raises ``QuestionInvalid`` for whatever means nothing."""
    moves: dict[str, Decimal] = {}
    for text in texts:
        match = _MOVE.fullmatch(text)
        if match is None:
            raise QuestionInvalid(f'{show(text)} is no move: say a market and a percentage, such as "BTC-USD -10%"')
        market, percent = match["market"], Decimal(match["percent"])
        check_market(market, known)
        if market in moves:
            raise QuestionInvalid(f"{market} is moved twice: name each market once")
        if not -100 < percent <= PERCENT_MAX:
            raise QuestionInvalid(f"{market} cannot move by {percent} %: say more than -100 and at most {PERCENT_MAX}")
        moves[market] = percent
    if not moves:
        raise QuestionInvalid('nothing is moved: say a market and a percentage, such as "BTC-USD -10%"')
    return moves


def foresee(scene: Scene) -> Outcome:
    """One pass of the daemon in the moved world."""
    book, policy = scene.inputs.book, scene.policy
    moved = move_prices(scene.inputs.observation, scene.moves, _find_symbols(policy, book))
    terms = replace(scene.index.terms, size_min=0)
    if scene.portfolio is not None:
        moved = replace(moved, stance=_foresee_stance(scene, scene.portfolio, moved))
    keys = _find_keys(build_index(scene.index.rows, terms), moved, book)
    inputs = replace(scene.inputs, observation=moved)
    decisions = apply_guards(plan(moved, book, policy, inputs.venue, keys), inputs, scene.limits)
    openings = [_weigh(trade, inputs, scene.limits) for trade in sorted(iterate_increases(decisions), key=rank_by_loss)]
    opens, refused = _split_by_margin(openings, inputs, scene.account)
    now = scene.inputs.observation.prices
    prices = {market: (now[market].price, moved.prices[market].price) for market in scene.moves}
    return Outcome(
        prices=prices,
        opens=opens,
        held=[*_find_held(decisions, moved, book, terms), *refused],
        closes=[decision for decision in decisions if _check_reduces(decision)],
        cooling=[decision.key for decision in decisions if decision.reason is Reason.COOLING_DOWN],
        margin=_sum_margin(openings, inputs, scene.account),
        liquidated=_find_liquidated(scene.account, moved.marks),
        losses=_sum_losses(scene, moved.marks, prices),
    )


def move_prices(
    observation: Observation, moves: Mapping[str, Decimal], symbols: Iterable[tuple[str, str]]
) -> Observation:
    """The same moment with other prices, and the marks of the markets' symbols moved by the same factor."""
    prices, marks = dict(observation.prices), dict(observation.marks)
    for market, percent in moves.items():
        price = prices[market].price * Fraction(100 + percent) / 100
        prices[market] = prices[market]._replace(price=max(int(price), 1))
    for market, symbol in symbols:
        if market in moves and symbol in marks:
            marks[symbol] = observation.marks[symbol] * (100 + moves[market]) / 100
    return replace(observation, prices=prices, marks=marks)


def sum_traders_gain(columns: Columns, terms: Terms, prices: Mapping[str, tuple[int, int]]) -> int:
    """What the traders of these markets gain from the first price to the second; a loss ends with the collateral.

    In floats, which are good to a part in 2**40 of what is added up: for people to read, and nothing is decided by it.
    """
    pairs = [prices.get(market, (0, 0)) for market in columns.markets]
    is_ours = columns.asset == (columns.assets.index(terms.asset) if terms.asset in columns.assets else -1)
    is_moved = np.array([market in prices for market in columns.markets], np.bool_).take(columns.market)
    with np.errstate(all="ignore"):
        before, after = (_compute_pnl(columns, terms, [pair[place] for pair in pairs]) for place in (0, 1))
        gain = np.where(is_ours & is_moved & (columns.entry_price > 0), after - before, 0.0).sum()
    return round(float(np.nan_to_num(gain)))


def _compute_pnl(columns: Columns, terms: Terms, prices: Sequence[int]) -> Floats:
    """The formula of ``risk`` for every row, by the price of each market."""
    now, rate = get_funding(columns.markets, terms)
    price = np.array([float(price) for price in prices], np.float64).take(columns.market)
    funding = (now.take(columns.market) - columns.funding_tracer) * rate.take(columns.market)
    size = np.where(columns.is_long, columns.size, -columns.size)
    pnl = size * ((price - columns.entry_price) / columns.entry_price - funding)
    found: Floats = np.maximum(pnl, -columns.collateral)
    return found


def _find_symbols(policy: HedgingPolicy, book: HedgeBook) -> list[tuple[str, str]]:
    """Market and symbol, also of hedges in markets that are not configured any more."""
    held = [(hedge.key.market, hedge.symbol) for hedge in book.get_all_hedged_positions().values()]
    return [*dict.fromkeys([*policy.symbols.items(), *held])]


def _find_keys(index: TriggerIndex, observation: Observation, book: HedgeBook) -> list[HedgeKey]:
    """All that matter: what is hedged, what is at risk, however small, and what is to be hedged with the others."""
    rows = [row for market, tick in observation.prices.items() for row in index.find_risky(market, tick.price)]
    targets = observation.stance.targets if observation.stance is not None else None
    return [*dict.fromkeys([*book.get_all_hedged_positions(), *map(index.rows.get_key, rows), *(targets or ())])]


def _foresee_stance(scene: Scene, portfolio: Portfolio, moved: Observation) -> Stance:
    """As if each market had moved so within a minute, and stood still since then."""
    now, inputs = scene.inputs.observation.prices, scene.inputs
    paces = {market: Pace(0, abs(tick.price - now[market].price)) for market, tick in moved.prices.items()}
    held = sum_held(inputs.book)
    return build_stance(StanceScene(moved, inputs.book, scene.policy, inputs.venue.rules, portfolio, held), paces)


def _weigh(trade: Increase, inputs: GuardInputs, limits: GuardLimits) -> Opening:
    notional = trade.share.quantity * inputs.observation.marks[trade.symbol]
    return Opening(trade, notional, notional / inputs.leverage + notional * limits.fee_rate)


def _split_by_margin(
    openings: Iterable[Opening], inputs: GuardInputs, account: Account | None
) -> tuple[list[Opening], list[Hold]]:
    """What the free margin carries, the largest loss of the vault first, and what the exchange would refuse."""
    left = dict(account.available) if account is not None else None
    opens, refused = [], []
    for opening in openings:
        asset = inputs.venue.rules[opening.trade.symbol].margin_asset
        if left is None:
            opens.append(opening)
        elif opening.margin_usd <= left.get(asset, ZERO):
            left[asset] -= opening.margin_usd
            opens.append(opening)
        else:
            refused.append(Hold(opening.trade.key, Reason.MARGIN_EXHAUSTED, opening.trade.assessment))
    return opens, refused


def _sum_margin(openings: Iterable[Opening], inputs: GuardInputs, account: Account | None) -> Margin:
    """By the asset that carries it: what one asset has too much of is no margin for another."""
    rules = inputs.venue.rules
    needed = {rules[symbol].margin_asset: ZERO for symbol in inputs.observation.marks if symbol in rules}
    for opening in openings:
        needed[rules[opening.trade.symbol].margin_asset] += opening.margin_usd
    total = sum(needed.values(), ZERO)
    if account is None:
        return Margin(total, None, None)
    available = {asset: account.available.get(asset, ZERO) for asset in needed}
    short = sum((max(amount - available[asset], ZERO) for asset, amount in needed.items()), ZERO)
    return Margin(total, sum(available.values(), ZERO), short)


def _find_held(
    decisions: Iterable[Decision], observation: Observation, book: HedgeBook, terms: Terms
) -> Iterator[Hold]:
    for decision in decisions:
        if isinstance(decision, Hold) and decision.reason not in QUIET:
            is_new = not book.has_hedged_position(decision.key)
            if decision.reason in GUARDS or (is_new and _check_needed(decision, observation, terms)):
                yield decision


def _check_needed(hold: Hold, observation: Observation, terms: Terms) -> bool:
    """True when the position is to be hedged: what was held before it was assessed is assessed here."""
    if observation.stance is not None:
        return bool((observation.stance.targets or {}).get(hold.key))
    if hold.assessment is not None:
        return hold.assessment.at_risk
    position = observation.snapshot.positions[hold.key]
    return check_at_risk(position, observation.prices[hold.key.market].price, terms)


def _check_reduces(decision: Decision) -> TypeGuard[CloseHedge | ResizeHedge]:
    return isinstance(decision, CloseHedge | ResizeHedge) and decision.action is Action.REDUCE


def _find_liquidated(account: Account | None, marks: Mapping[str, Decimal]) -> list[Liquidated]:
    """What the exchange would close: the moved mark has reached the liquidation price that it tells today."""
    holdings = account.holdings if account is not None else ()
    return [
        Liquidated(held, marks[held.symbol]) for held in holdings if _check_liquidated(held, marks.get(held.symbol))
    ]


def _check_liquidated(holding: Holding, mark: Decimal | None) -> bool:
    price = holding.liquidation_price
    if price is None or price <= 0 or mark is None or not holding.quantity:
        return False
    return mark <= price if holding.quantity > 0 else mark >= price


def _sum_losses(scene: Scene, marks: Mapping[str, Decimal], prices: Mapping[str, tuple[int, int]]) -> Losses:
    """What the traders gain is paid by the shield first, and the rest by the vault; what they lose goes to the shield."""
    now = scene.inputs.observation
    gain = sum_traders_gain(scene.index.rows.get_columns(), scene.index.terms, prices)
    hedges = scene.inputs.book.get_all_hedged_positions().values()
    moved = [hedge for hedge in hedges if hedge.symbol in now.marks]
    earned = sum((hedge.signed_quantity * (marks[hedge.symbol] - now.marks[hedge.symbol]) for hedge in moved), ZERO)
    vault, shield = now.snapshot.vault, now.snapshot.shield
    return Losses(vault, gain, int(earned * scene.policy.asset_unit), vault - max(gain - shield, 0))
