"""What a judgment needs to know of a position and of the world, worked out anew from the specification.

Not by asking the daemon's core: what is wrong there must not be wrong here. Used by ``judgment`` and ``together``.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from dehedge.adapters.chain.codec import build_checksum_address
from dehedge.core.model import HedgeKey
from dehedge.sim.chain import SimPosition
from dehedge.sim.chain.model import USDC
from dehedge.sim.world import USD
from tests.simulation.world import World

STEP = Decimal("0.001")
SIZE_MIN = 50 * 20 * USD
"""Of a position that is hedged: the default of ``MIN_COLLATERAL`` at the leverage of a run."""


def get_pnl(world: World, position: SimPosition) -> Fraction:
    """In base units: what the price has moved, less the funding since the position's own tracer."""
    tracer = world.chain.head.contents.tracers.get((position.asset.lower(), position.market), 0)
    moved = Fraction(world.prices[position.market] * 10**18 - position.price) / position.price
    funding = Fraction(tracer - position.funding_tracer, 10**18 * 10_000)
    return (position.size if position.is_long else -position.size) * (moved - funding)


def get_shield(world: World, asset: str = USDC) -> int:
    """In base units. With the factors of a run each of the three checks holds a profit against this alone."""
    return world.chain.head.contents.shields.get(asset.lower(), 0)


def find_excused(world: World) -> set[str]:
    """The symbols in which the daemon may not do what it should: another hand, or the exchange, is in the way."""
    return world.touched | world.delisted | world.misset


def get_coins(position: SimPosition) -> Fraction:
    """What the trader has, a short's with a minus."""
    coins = Fraction(position.size * 10**12, position.price)
    return coins if position.is_long else -coins


def get_quantity(position: SimPosition) -> Decimal:
    """The trader's own quantity, down to the step."""
    return Decimal(abs(get_coins(position)) // Fraction(STEP)) * STEP


def get_key(position: SimPosition) -> HedgeKey:
    user = build_checksum_address(bytes.fromhex(position.user[2:]))
    asset = build_checksum_address(bytes.fromhex(position.asset[2:]))
    return HedgeKey(position.market, f"{user}|{asset}")  # type: ignore[arg-type]
