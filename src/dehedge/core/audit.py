"""The book against the account: what the exchange holds beyond our hedges, and what of our hedges it lacks.

Per symbol and leg, ``exchange = hedged + foreign``. The book changes by our own fills and by the exchange's forced orders, the
foreign part by everybody else's. So a difference is *explained* when the orders of others since the last agreement add up
to it exactly; anything else is a view that lags behind, and nothing may be done about it yet.

What others trade is theirs, with one exception. Where they trade against our hedges beyond what was their own, they
closed a part of our hedges: the account holds less of our side than the book. That shortfall is never sold a second
time, because that would open the opposite position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from dehedge.core.book import HedgeBook, check_on_leg
from dehedge.core.events import Event, ForeignPositionSeen, HedgesForced
from dehedge.core.model import Leg, Side

LegKey = tuple[str, Leg]
ZERO = Decimal(0)
SUBSETS_MAX = 10
"""With more orders in doubt on one leg than this, no combination of them is ruled out."""


@dataclass(frozen=True, slots=True)
class LegAudit:
    """One leg of one symbol; quantities signed, negative for short.

    ``uncertain`` is how much our own orders may have moved the leg while it was read.
    """

    symbol: str
    leg: Leg
    exchange: Decimal
    hedged: Decimal
    known_foreign: Decimal
    uncertain: Decimal

    @property
    def key(self) -> LegKey:
        return self.symbol, self.leg

    @property
    def foreign(self) -> Decimal:
        """What the account holds beyond our hedges."""
        return self.exchange - self.hedged

    @property
    def difference(self) -> Decimal:
        """What the account holds beyond book and known foreign."""
        return self.foreign - self.known_foreign

    def get_shortfall(self, side: Side) -> Decimal:
        """How much of the hedges of this side the account seems to lack; 0 or more. ``uncertain`` of it may be a mirage."""
        foreign, known = self.foreign * side.sign, self.known_foreign * side.sign
        return max(min(known, ZERO) - foreign, ZERO)

    def check_reduces(self, side: Side, quantity: Decimal) -> bool:
        """True when an order against hedges of this side only reduces the account's net position."""
        return self.exchange * side.sign >= quantity


class OtherFill(NamedTuple):
    """What an order that is not ours has filled: ``quantity`` since it was last counted, ``total`` in all."""

    venue_order_id: str
    side: Side
    quantity: Decimal
    total: Decimal
    updated_at: float
    forced_by: str = ""

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity * self.side.sign


def audit_leg(book: HedgeBook, key: LegKey, exchange: Decimal, uncertain: Decimal = ZERO) -> LegAudit:
    symbol, leg = key
    return LegAudit(symbol, leg, exchange, book.get_net_quantity(symbol, leg), book.foreign.get(key, ZERO), uncertain)


def find_explanation(difference: Decimal, fills: Sequence[OtherFill]) -> Sequence[OtherFill] | None:
    """The fills that make up the difference: all of them, or the forced ones alone; None when neither add up."""
    forced = [fill for fill in fills if fill.forced_by]
    for part in (fills, forced):
        if sum(fill.signed_quantity for fill in part) == difference:
            return part
    return None


def build_account_events(book: HedgeBook, leg_audit: LegAudit, fills: Sequence[OtherFill]) -> list[Event]:
    """The facts that the explaining fills amount to: forced orders off our hedges first, the rest to the foreign part.

    What neither our hedges nor the foreign position can have lost, and what ate into our hedges, stays a difference.
    """
    events: list[Event] = []
    known = leg_audit.known_foreign
    held = _get_held(book, leg_audit.key)
    for fill in fills:
        if fill.forced_by:
            absorbed = min(held[fill.side.opposite], fill.quantity)
            held[fill.side.opposite] -= absorbed
            known = _move_toward_zero(known, (fill.quantity - absorbed) * fill.side.sign)
            events.append(
                HedgesForced(
                    fill.venue_order_id, leg_audit.symbol, leg_audit.leg, fill.side, fill.quantity, fill.total,
                    fill.forced_by,
                )
            )
    wanted = known + sum(fill.signed_quantity for fill in fills if not fill.forced_by)
    accepted = accept_foreign(known, wanted, held[Side.BUY] - held[Side.SELL])
    if accepted != leg_audit.known_foreign:
        counted_until = max(fill.updated_at for fill in fills)
        events.append(ForeignPositionSeen(leg_audit.symbol, leg_audit.leg, accepted, counted_until))
    return events


def accept_foreign(known: Decimal, found: Decimal, hedged: Decimal) -> Decimal:
    """As much of a new foreign position as others can own: they may give up what was theirs, not what is ours.

    ``hedged`` is the net of our hedges on the leg: only a trade against it can have closed a part of it.
    """
    if hedged > 0:
        return max(found, min(known, ZERO, found + hedged))
    return min(found, max(known, ZERO, found + hedged))


def _get_held(book: HedgeBook, key: LegKey) -> dict[Side, Decimal]:
    """What our hedges of each side hold on the leg."""
    symbol, leg = key
    held = dict.fromkeys(Side, ZERO)
    for hedge in book.get_symbol_hedges(symbol):
        if check_on_leg(hedge.side, leg):
            held[hedge.side] += hedge.quantity
    return held


def _move_toward_zero(known: Decimal, signed_quantity: Decimal) -> Decimal:
    least, most = sorted((known, ZERO))
    return min(max(known + signed_quantity, least), most)


def check_may_have_filled(moved: Decimal, quantity: Decimal, others: Sequence[Decimal]) -> bool:
    """True when an order in doubt may have filled, given how far its leg has moved with nobody's order to show.

    ``moved`` and ``others`` are counted in the order's direction; ``others`` are the other orders in doubt on the leg, any of
    which may have filled too and hidden it.
    """
    if moved > 0 or len(others) > SUBSETS_MAX:
        return True
    sums = {ZERO}
    for other in others:
        sums |= {one + other for one in sums}
    return any(0 < moved - one <= quantity for one in sums)
