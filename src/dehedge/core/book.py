"""The hedges we hold: a dict keyed by market and position id, and the orders in flight.

The one mutable object of the core, but for the watch that checks it. It only stores; every change to a hedge's quantity
or status comes from ``events.fold``, live and at replay alike. The placed time is the exception: it is refreshed in memory
at every pass and journaled only when the risk goes or comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from dehedge.core.model import HedgeKey, Leg, Side
from dehedge.core.orders import Action, ClientOrderId, OrderReport, OrderRequest, Share


class HedgeStatus(StrEnum):
    """A hedge's state. All but OPEN mean that an order for it is in flight: the status is the lock. Absent is flat."""

    OPENING = "OPENING"
    OPEN = "OPEN"
    ADJUSTING = "ADJUSTING"
    CLOSING = "CLOSING"


class TradingMode(StrEnum):
    """The kill switch. Each level forbids what the one before it forbids, and more."""

    ACTIVE = "active"
    NO_OPENS = "no-opens"
    REDUCE_ONLY = "reduce-only"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class HedgedPosition:
    """What we hold on the exchange for one position.

    ``quantity`` is what was filled, ``target`` what was last asked for, and (``size``, ``entry_price``) the position's
    figures that the target was computed from. ``placed_at`` is when it was placed or last seen at risk;
    ``is_cooling`` once the risk has gone. ``seen_block`` is that of the newest snapshot that its size was decided from:
    the position was there then.
    """

    key: HedgeKey
    symbol: str
    side: Side
    quantity: Decimal
    target: Decimal
    size: int
    entry_price: int
    status: HedgeStatus
    reason: str
    opened_at: float
    placed_at: float
    seen_block: int
    is_cooling: bool = False

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True)
class InFlightOrder:
    """An order that was journaled and whose end is not yet known. ``hedge_side`` is that of the hedges sharing it."""

    request: OrderRequest
    hedge_side: Side
    action: Action
    shares: tuple[Share, ...]
    intended_at: float
    report: OrderReport | None = None


@dataclass(slots=True)
class HedgeBook:
    """The in-memory dict of hedged positions, the orders in flight, and what the account holds that is not ours.

    ``block_number`` is that of the newest snapshot that an order was decided from: an older one is no news. ``symbols`` are
    all in which an order was ever intended.
    """

    in_flight: dict[ClientOrderId, InFlightOrder] = field(default_factory=dict)
    foreign: dict[tuple[str, Leg], Decimal] = field(default_factory=dict)
    forced_orders: dict[str, Decimal] = field(default_factory=dict)
    counted_until: dict[tuple[str, Leg], float] = field(default_factory=dict)
    mode: TradingMode = TradingMode.ACTIVE
    is_flattening: bool = False
    mode_set_at: float = 0.0
    mode_reason: str = ""
    block_number: int = 0
    symbols: set[str] = field(default_factory=set)
    _hedges: dict[HedgeKey, HedgedPosition] = field(default_factory=dict)

    def set_hedged_position(self, hedge: HedgedPosition) -> None:
        self._hedges[hedge.key] = hedge

    def has_hedged_position(self, key: HedgeKey) -> bool:
        return key in self._hedges

    def get_hedged_position(self, key: HedgeKey) -> HedgedPosition | None:
        return self._hedges.get(key)

    def remove_hedged_position(self, key: HedgeKey) -> None:
        del self._hedges[key]

    def get_all_hedged_positions(self) -> Mapping[HedgeKey, HedgedPosition]:
        return MappingProxyType(self._hedges)

    def copy(self) -> HedgeBook:
        """A book of its own with the same contents."""
        return replace(
            self, in_flight=dict(self.in_flight), foreign=dict(self.foreign), forced_orders=dict(self.forced_orders),
            counted_until=dict(self.counted_until), symbols=set(self.symbols), _hedges=dict(self._hedges),
        )  # fmt: skip

    def refresh(self, keys: Iterable[HedgeKey], at: float) -> None:
        """Set the placed time of hedges that are still at risk; memory only, for it changes at every price."""
        for key in keys:
            self._hedges[key] = replace(self._hedges[key], placed_at=at)

    def clamp_placed_times(self, now: float) -> None:
        """After the wall clock was set back, a time in the future would keep a hedge for ever."""
        self.refresh([key for key, hedge in self._hedges.items() if hedge.placed_at > now], now)

    def get_symbol_hedges(self, symbol: str) -> Iterator[HedgedPosition]:
        return (hedge for hedge in self._hedges.values() if hedge.symbol == symbol)

    def get_net_quantity(self, symbol: str, leg: Leg) -> Decimal:
        """The signed sum of our hedges that live on one leg of a symbol."""
        return sum((h.signed_quantity for h in self.get_symbol_hedges(symbol) if check_on_leg(h.side, leg)), Decimal(0))


def check_on_leg(side: Side, leg: Leg) -> bool:
    """True when a hedge of this side is part of the leg's net quantity."""
    return leg is Leg.BOTH or (leg is Leg.LONG) == (side is Side.BUY)


def check_if_hedge_position_is_expired(hedge: HedgedPosition, *, now: float, expiry_s: float) -> bool:
    """True once the risk has been gone for the whole expiry time."""
    return now - hedge.placed_at >= expiry_s
