"""The hedges we hold: a dict keyed by market and position id, and the orders in flight.

The one mutable object of the core, but for the watch that checks it. It only stores; every change to a hedge's quantity
or status comes from ``events.fold``, live and at replay alike. The placed time is the exception: while the risk lasts it is that of
the market's last look, and only where the risk has gone it is written down and, once that lasts, journaled.
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
    figures that the target was computed from. ``is_cooling`` once the risk has gone, and ``placed_at`` is then when it
    was last there; before, see ``HedgeBook.get_placed_at``. ``seen_block`` is that of the newest snapshot that its size was decided from:
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
    all in which an order was ever intended. ``judged_at`` is by market when its positions were last held against a price
    that counts: whatever is not cooling was at risk then.
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
    judged_at: dict[str, float] = field(default_factory=dict)
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
            counted_until=dict(self.counted_until), symbols=set(self.symbols), judged_at=dict(self.judged_at),
            _hedges=dict(self._hedges),
        )  # fmt: skip

    def get_placed_at(self, hedge: HedgedPosition) -> float:
        """When the hedge was placed or its position last seen at risk."""
        if hedge.is_cooling:
            return hedge.placed_at
        return max(hedge.placed_at, self.judged_at.get(hedge.key.market, 0.0))

    def set_cooling(self, keys: Iterable[HedgeKey], *, is_cooling: bool) -> None:
        """Note whose risk has gone or has come back; in memory, for it may change at every price."""
        for key in keys:
            hedge = self._hedges[key]
            self._hedges[key] = replace(hedge, placed_at=self.get_placed_at(hedge), is_cooling=is_cooling)

    def note_judged(self, markets: Iterable[str], at: float) -> None:
        self.judged_at.update(dict.fromkeys(markets, at))

    def clamp_placed_times(self, now: float) -> None:
        """After the wall clock was set back, a time in the future would keep a hedge for ever."""
        self.judged_at = {market: min(at, now) for market, at in self.judged_at.items()}
        for key, hedge in self._hedges.items():
            if hedge.placed_at > now:
                self._hedges[key] = replace(hedge, placed_at=now)

    def get_symbol_hedges(self, symbol: str) -> Iterator[HedgedPosition]:
        return (hedge for hedge in self._hedges.values() if hedge.symbol == symbol)

    def get_net_quantity(self, symbol: str, leg: Leg) -> Decimal:
        """The signed sum of our hedges that live on one leg of a symbol."""
        return sum((h.signed_quantity for h in self.get_symbol_hedges(symbol) if check_on_leg(h.side, leg)), Decimal(0))


def check_on_leg(side: Side, leg: Leg) -> bool:
    """True when a hedge of this side is part of the leg's net quantity."""
    return leg is Leg.BOTH or (leg is Leg.LONG) == (side is Side.BUY)


def check_if_hedge_position_is_expired(placed_at: float, *, now: float, expiry_s: float) -> bool:
    """True once the risk has been gone for the whole expiry time."""
    return now - placed_at >= expiry_s
