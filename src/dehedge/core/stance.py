"""How much of the traders' net position is to be hedged now: the rule of ``RISK_SCOPE=portfolio``.

Rules of this file. The three checks of ``risk`` are held against the *sum* of the traders' profits: the room is what it may
still grow before the first of them fires. A short option is replicated: hedges are bought while room is left, the
earlier the faster the market is, and let go as the room comes back. In a slow market nothing new is bought.

    room      = profit that fires a check - sum of the profits - lead * what the profits gain in a second
    swing     = what the net position gains or loses within a recent minute: sum of |coins| * swing of the market
    level     = 1 where room <= FULL * early * swing, 0 where room >= early * swing, linear between the two
    let go    by the same line, once it is ``slack`` of the exposure away
    too slow  where swing < gate * exposure: nothing is bought
    too new   for a minute after a start that found hedges the swing may be more than was seen: nothing is let go

The level is what is held, so a restart knows it. It changes in steps of ``step`` at least, and what traders do meanwhile is followed
once it has put more than ``DRIFT`` of the exposure out of place: both against the fees of a market that goes nowhere. In a slow
market that is only what is hedged beyond the net coins of its own market, for nothing would be bought for what is let go. Pure
and in whole numbers (base units of the asset, prices scaled by 1e18); the daemon and the replay ask it with every price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from dehedge.core.book import HedgeBook, HedgeStatus
from dehedge.core.freshness import check_price_fresh
from dehedge.core.model import PRICE_SCALE, HedgeKey, Observation, Position, Stance, TradingRules
from dehedge.core.pace import SECOND_US, Pace, PaceMeter
from dehedge.core.policy import HedgingPolicy, PortfolioTerms, build_terms
from dehedge.core.portfolio import COIN_SCALE, Portfolio
from dehedge.core.sizing import Sizing, floor_to_step, get_target_quantity
from dehedge.core.trigger import get_pnl_limit

FULL = Fraction(9, 10)
"""Of ``early * swing``: with so little room left everything is hedged."""
DRIFT = Fraction(1, 4)
"""Of the exposure: more than this out of place is put right."""
ZERO = Decimal(0)


class Crowd(NamedTuple):
    """The traders of a market: net coins, price and profit as in ``portfolio``, and how many coins are hedged, signed.

    ``is_tradable`` where its hedges may change now.
    """

    market: str
    coins: int
    price: int
    profit: int
    pace: Pace
    held: int
    is_tradable: bool

    def value(self, coins: int | Fraction) -> int:
        """What so many coins are worth, in base units."""
        return int(coins * self.price) // COIN_SCALE

    @property
    def held_right(self) -> int:
        """The hedged coins that are on the traders' side."""
        return abs(self.held) if self.held * self.coins > 0 else 0

    @property
    def held_due(self) -> int:
        """Those of them that are not more than the net coins."""
        return min(self.held_right, abs(self.coins))


@dataclass(frozen=True, slots=True)
class Scene:
    """What a stance is built from. ``portfolio`` is of the observation's snapshot, ``held`` what ``sum_held`` says of the book."""

    observation: Observation
    book: HedgeBook
    policy: HedgingPolicy
    rules: Mapping[str, TradingRules]
    portfolio: Portfolio
    held: Mapping[str, Decimal]


def sum_held(book: HedgeBook) -> dict[str, Decimal]:
    """By market, the signed coins that are hedged, once the orders in flight have ended well."""
    sums: dict[str, Decimal] = {}
    for key, hedge in book.get_all_hedged_positions().items():
        quantity = hedge.quantity if hedge.status is HedgeStatus.OPEN else hedge.target
        sums[key.market] = sums.get(key.market, ZERO) + quantity * hedge.side.sign
    return sums


class PortfolioWatch:
    """Sees every price, and says how the traders stand together."""

    def __init__(self) -> None:
        self._meter = PaceMeter()
        self._found_hedges: bool | None = None

    def note(self, prices: Mapping[str, int], at_us: int) -> None:
        """Prices by market, in the order of time."""
        self._meter.note(prices, at_us)

    def look(self, scene: Scene) -> Stance:
        """The stance of now."""
        observation = scene.observation
        prices = {market: tick.price for market, tick in observation.prices.items()}
        self.note(prices, int(observation.taken_at * SECOND_US))
        if self._found_hedges is None:
            self._found_hedges = bool(scene.book.get_all_hedged_positions())
        paces = {market: self._meter.get(market) for market in prices}
        # What was bought under this watch was bought for what it has seen.
        if not self._found_hedges:
            paces = {market: pace._replace(is_known=True) for market, pace in paces.items()}
        return build_stance(scene, paces)


def build_stance(scene: Scene, paces: Mapping[str, Pace]) -> Stance:
    """Pure: the same for the same scene and paces. A market that never had a price counts for nothing."""
    terms = scene.policy.portfolio
    assert terms is not None, "only asked where positions are hedged together"
    crowds = [_measure(scene, market, paces[market]) for market in scene.portfolio.markets if market in paces]
    stance = _sum_up(scene, crowds, terms)
    level = find_level(stance, terms)
    if level is not None:
        return replace(stance, level=level, targets=dict(_allocate(scene, crowds, level, may_grow=stance.is_fast)))
    if stance.misplaced <= DRIFT * stance.exposure:
        return stance
    # One market that cannot be hedged now must not cost another one what is wanted of it.
    level = max(min(stance.held, Fraction(1)), _find_wanted(stance, terms))
    # Where nothing is bought, what one market lets go is not made up for in another.
    share = level if stance.is_fast else None
    return replace(stance, level=level, targets=dict(_allocate(scene, crowds, share, may_grow=stance.is_fast)))


def find_level(stance: Stance, terms: PortfolioTerms) -> Fraction | None:
    """The share of the net coins that is to be hedged; None where it stays."""
    held, wanted = stance.held, _find_wanted(stance, terms)
    if wanted > held:
        is_due = wanted - held >= terms.step or (wanted == 1 and held <= 1 - terms.step / 2)
        return wanted if is_due else None
    kept = _get_share(stance.room - terms.slack * stance.exposure, terms.early * stance.swing)
    is_over = stance.is_known and held > kept and (held - kept >= terms.step or not kept)
    return kept if is_over else None


def _find_wanted(stance: Stance, terms: PortfolioTerms) -> Fraction:
    """The share that the room asks for; nothing in a slow market."""
    return _get_share(stance.room, terms.early * stance.swing) if stance.is_fast else Fraction(0)


def _get_share(room: Fraction | int, reach: Fraction) -> Fraction:
    """1 with less room than a part of the reach, 0 with more than all of it."""
    if room <= FULL * reach:
        return Fraction(1)
    return max(Fraction(reach - room) / (reach * (1 - FULL)), Fraction(0)) if reach else Fraction(0)


def _measure(scene: Scene, market: str, pace: Pace) -> Crowd:
    observation, policy = scene.observation, scene.policy
    price = observation.prices[market].price
    tally, held = scene.portfolio.tally(market, price), scene.held.get(market, ZERO)
    is_tradable = policy.symbols.get(market) in scene.rules and check_price_fresh(observation, policy, market)
    return Crowd(market, tally.coins, price, tally.profit, pace, int(held * _get_coin(policy)), is_tradable)


def _get_coin(policy: HedgingPolicy) -> int:
    """A whole coin as it is counted in ``portfolio``."""
    return policy.asset_unit * COIN_SCALE // PRICE_SCALE


def _sum_up(scene: Scene, crowds: Sequence[Crowd], terms: PortfolioTerms) -> Stance:
    """``held`` and ``exposure`` are of the markets that can be hedged now, all else is of all."""
    limit = get_pnl_limit(build_terms(scene.policy, scene.observation.snapshot))
    swing = sum(abs(crowd.coins) * crowd.pace.swing // COIN_SCALE for crowd in crowds)
    gain = sum(crowd.coins * crowd.pace.slope // COIN_SCALE for crowd in crowds)
    exposure = sum(crowd.value(abs(crowd.coins)) for crowd in crowds)
    tradable = [crowd for crowd in crowds if crowd.is_tradable]
    reachable = sum(crowd.value(abs(crowd.coins)) for crowd in tradable)
    covered = sum(crowd.value(crowd.held_right) for crowd in tradable)
    held = Fraction(covered, reachable) if reachable else Fraction(bool(covered))
    is_fast = bool(exposure) and swing >= terms.gate * exposure
    return Stance(
        profit=sum(crowd.profit for crowd in crowds),
        limit=int(limit or 0),
        ahead=int(gain * terms.lead_s),
        swing=swing,
        exposure=reachable,
        held=held,
        level=held,
        is_fast=is_fast,
        is_known=all(crowd.pace.is_known for crowd in crowds),
        misplaced=_sum_misplaced(tradable, min(held, Fraction(1))) if is_fast else _sum_excess(tradable),
    )


def _sum_misplaced(crowds: Iterable[Crowd], level: Fraction) -> int:
    """What is hedged in the wrong market or on the wrong side, were the held share spread over all."""
    return sum(crowd.value(abs(crowd.held - crowd.coins * level)) for crowd in crowds)


def _sum_excess(crowds: Iterable[Crowd]) -> int:
    """What is hedged on the wrong side, or beyond the net coins of its own market."""
    return sum(crowd.value(abs(crowd.held) - crowd.held_due) for crowd in crowds)


def _allocate(
    scene: Scene, crowds: Iterable[Crowd], level: Fraction | None, *, may_grow: bool
) -> Iterable[tuple[HedgeKey, Decimal]]:
    """The hedges' quantities in the markets that can be traded, by key; together the level, to a step of the exchange.

    Without a level each market keeps what it has, up to its net coins.
    """
    for crowd in crowds:
        if crowd.is_tradable:
            due = abs(crowd.coins) * level if level is not None else Fraction(crowd.held_due)
            yield from _allocate_market(scene, crowd, due, may_grow=may_grow)


def _allocate_market(
    scene: Scene, crowd: Crowd, coins: Fraction, *, may_grow: bool
) -> Iterable[tuple[HedgeKey, Decimal]]:
    hedges = scene.book.get_all_hedged_positions()
    step = scene.rules[scene.policy.symbols[crowd.market]].quantity_step
    left = floor_to_step(coins / _get_coin(scene.policy), step)
    yield from ((key, ZERO) for key in hedges if key.market == crowd.market)
    for own, position in _rank(scene, crowd, step):
        hedge = hedges.get(position.key)
        held = hedge.quantity if hedge is not None else ZERO
        share = min(own, left) if may_grow else min(own, left, held)
        if share or hedge is not None:
            yield position.key, share
        left -= share
        if not left and hedge is None:
            break


def _rank(scene: Scene, crowd: Crowd, step: Decimal) -> list[tuple[Decimal, Position]]:
    """The positions on the crowd's side with what each asks for: those hedged already, then the largest.

    So that a change of the level moves few hedges, and the hedges are those of the largest contributors.
    """
    hedges, unit = scene.book.get_all_hedged_positions(), scene.policy.asset_unit
    mark = Decimal(crowd.price) / PRICE_SCALE
    found = [
        (get_target_quantity(position, mark, Sizing.DELTA, asset_unit=unit, step=step), position)
        for position in scene.portfolio.carriers.get(crowd.market, ())
        if position.is_long is (crowd.coins > 0)
    ]

    def order(each: tuple[Decimal, Position]) -> tuple[Decimal, Decimal, HedgeKey]:
        hedge = hedges.get(each[1].key)
        is_ours = hedge is not None and hedge.side is each[1].hedge_side
        return -hedge.quantity if hedge is not None and is_ours else ZERO, -each[0], each[1].key

    return sorted(found, key=order)
