"""What must be held at rest where positions are judged together (``RISK_SCOPE=portfolio``).

Always: no hedge is larger than its position or against its side, none is of a position that is gone, and what a
market's hedges hold together beyond its net coins, or on the wrong side, is no more than the documented quarter of the
exposure. With a switch at the limit (see ``run.SWITCH``) it also depends on the world as it stands how much is held:
where the traders win what the shield has, or more, the net coins are hedged, and else none of them. Nothing else of the
settings can be judged so: how fast a market was is a matter of how it was looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from dehedge.core.book import HedgeBook, HedgedPosition
from dehedge.core.model import HedgeKey
from dehedge.sim.chain import SimPosition
from dehedge.sim.world import SYMBOLS
from tests.simulation.figures import SIZE_MIN, find_excused, get_coins, get_key, get_pnl, get_quantity, get_shield
from tests.simulation.world import RULES, World

DRIFT = Fraction(1, 4)
"""Of the exposure: what may be held where it protects from nothing."""
DUE = Fraction(3, 4)
"""Of the exposure: with more than that covered, a step of the default size is not due."""


class Stake(NamedTuple):
    """A market, in USD: what the net coins are worth, and how much of them is hedged or could be.

    ``misplaced`` is held beyond the net coins or on the wrong side; ``slip`` is what is too little for an order, for
    all positions that carry a hedge.
    """

    symbol: str
    exposure: Fraction
    covered: Fraction
    hedgeable: Fraction
    misplaced: Fraction
    slip: Fraction


def find_wrongs_together(world: World, book: HedgeBook) -> Iterator[str]:
    """The book against what the rule wants for the chain as it is."""
    hedges, excused = book.get_all_hedged_positions(), find_excused(world)
    stakes = [measure(world, hedges, market) for market in SYMBOLS]
    sound = [stake for stake in stakes if stake.symbol not in excused]
    yield from find_gone(world, hedges)
    yield from find_beyond_positions(world, hedges)
    if check_between(world):
        return
    yield from find_misplaced(stakes, sound)
    if check_switch(world):
        yield from find_wrong_share(world, stakes, sound)


def check_between(world: World) -> bool:
    """With a loss of just the collateral a position may count for its coins or for none: either is right."""
    return any(get_pnl(world, position) == -position.collateral for position in world.chain.head.contents.positions)


def check_switch(world: World) -> bool:
    """Nothing but the limit decides."""
    terms = world.settings.portfolio_terms
    return terms is not None and not any((terms.early, terms.lead_s, terms.gate, terms.slack))


def find_gone(world: World, hedges: Mapping[HedgeKey, HedgedPosition]) -> Iterator[str]:
    keys = {get_key(position) for position in world.chain.head.contents.positions}
    for key, hedge in hedges.items():
        if key not in keys and hedge.symbol not in world.delisted:
            yield f"{key} is hedged and gone"


def find_beyond_positions(world: World, hedges: Mapping[HedgeKey, HedgedPosition]) -> Iterator[str]:
    """Each hedge against its own position."""
    excused = find_excused(world)
    for position in world.chain.head.contents.positions:
        hedge, symbol = hedges.get(get_key(position)), SYMBOLS[position.market]
        if hedge is None or symbol in excused:
            continue
        tolerance = RULES[symbol].notional_min / world.prices[position.market]
        if (hedge.signed_quantity > 0) is not position.is_long:
            yield f"{hedge.key} is hedged on the other side"
        elif hedge.quantity > get_quantity(position) + tolerance:
            yield f"{hedge.key} is hedged by {hedge.quantity}, it has {get_quantity(position)}"


def find_misplaced(stakes: Iterable[Stake], sound: Iterable[Stake]) -> Iterator[str]:
    """What is in the way in one market is no reason to leave more in another."""
    misplaced = sum(stake.misplaced - stake.slip for stake in sound)
    allowed = DRIFT * sum(stake.exposure for stake in stakes)
    if misplaced > allowed:
        yield f"{float(misplaced):.0f} USD are hedged for nothing, allowed are {float(allowed):.0f}"


def find_wrong_share(world: World, stakes: Sequence[Stake], sound: Sequence[Stake]) -> Iterator[str]:
    """All is hedged where the sum reaches the shield, to a step; below it nothing; at it, to a base unit, either."""
    positions = world.chain.head.contents.positions
    room = get_shield(world) - sum(get_profit(world, position) for position in positions)
    what = f"with {float(room) / 1e6:.6f} USD of room"
    if room > len(positions):
        yield from (f"{what} {stake.symbol} is hedged by {float(stake.covered):.0f} USD" for stake in sound if stake.covered)
    elif room < -len(positions) and max(get_share(stakes), get_share(sound)) <= DUE:
        yield from (
            f"{what} {stake.symbol} is hedged by {float(stake.covered):.0f} USD of {float(stake.hedgeable):.0f}"
            for stake in sound
            if stake.covered < stake.hedgeable - stake.slip
        )


def get_share(stakes: Iterable[Stake]) -> Fraction:
    exposure = sum(stake.exposure for stake in stakes)
    return Fraction(sum(stake.covered for stake in stakes), exposure) if exposure else Fraction(0)


def get_profit(world: World, position: SimPosition) -> Fraction:
    """In base units; a loss counts up to the collateral."""
    return max(get_pnl(world, position), Fraction(-position.collateral))


def measure(world: World, hedges: Mapping[HedgeKey, HedgedPosition], market: str) -> Stake:
    """Who has lost all moves no further with the price, and counts for no coins."""
    positions = [position for position in world.chain.head.contents.positions if position.market == market]
    net = sum(get_coins(position) for position in positions if get_profit(world, position) > -position.collateral)
    held = Fraction(sum(hedge.signed_quantity for key, hedge in hedges.items() if key.market == market))
    carriers = [position for position in positions if position.is_long is (net > 0) and position.size >= SIZE_MIN]
    hedgeable = min(abs(net), Fraction(sum(map(get_quantity, carriers))))
    right = min(abs(held), abs(net)) if held * net > 0 else 0
    price, symbol = Fraction(world.prices[market]), SYMBOLS[market]
    slip = Fraction(RULES[symbol].notional_min * max(len(carriers), 1))
    return Stake(symbol, abs(net) * price, right * price, hedgeable * price, (abs(held) - right) * price, slip)
