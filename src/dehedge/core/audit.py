"""The book against the account: what the exchange holds beyond our hedges, and what of our hedges it lacks.

Per symbol and leg: ``exchange = hedged + foreign``. What is foreign was there before, or is another hand's; it is shown
and never traded. When the account holds *less* of our side than book and known foreign say, somebody closed a part of
our hedges: the shortfall is never sold a second time, because that would open the opposite position.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from dehedge.core.book import HedgeBook, check_on_leg
from dehedge.core.model import Leg, Side

LegKey = tuple[str, Leg]


@dataclass(frozen=True, slots=True)
class LegAudit:
    """One leg of one symbol; all quantities signed, negative for short."""

    symbol: str
    leg: Leg
    exchange: Decimal
    hedged: Decimal
    known_foreign: Decimal

    @property
    def difference(self) -> Decimal:
        """What the account holds beyond book and known foreign."""
        return self.exchange - self.hedged - self.known_foreign

    def get_shortfall(self, side: Side) -> Decimal:
        """How much of the hedges of this side the account lacks; 0 or more."""
        return max(-self.difference * side.sign, Decimal(0))

    def get_surplus(self, side: Side) -> Decimal:
        """How much more of this side the account holds than explained; 0 or more."""
        return max(self.difference * side.sign, Decimal(0))

    def check_reduces(self, side: Side, quantity: Decimal) -> bool:
        """True when an order against hedges of this side only reduces the account's net position."""
        return self.exchange * side.sign >= quantity


def audit_leg(book: HedgeBook, key: LegKey, exchange: Decimal) -> LegAudit:
    symbol, leg = key
    known = book.foreign.get(key, Decimal(0))
    return LegAudit(symbol, leg, exchange, book.get_net_quantity(symbol, leg), known)


def audit(book: HedgeBook, exchange: Mapping[LegKey, Decimal], legs: Iterable[LegKey]) -> list[LegAudit]:
    """Audit each of the legs; a leg the exchange does not name is flat."""
    return [audit_leg(book, key, exchange.get(key, Decimal(0))) for key in legs]


def check_lacks_hedges(book: HedgeBook, leg_audit: LegAudit) -> bool:
    """True when the difference has eaten into hedges that we hold on this leg."""
    return any(
        leg_audit.get_shortfall(hedge.side) > 0
        for hedge in book.get_symbol_hedges(leg_audit.symbol)
        if check_on_leg(hedge.side, leg_audit.leg)
    )
