"""What was used up of the operator's limits in the last hour, folded from the same journaled facts as the book.

Remembers and adds up; decides nothing, which is for ``guards``. Reads no clock: a fact comes with the time at which it was
journaled, so that a restart counts the same. Bounded, because what is older than an hour is forgotten. Kept by the ledger
live, and by ``recovery.replay`` at start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

from dehedge.core.events import Change, Event, HedgeChange, HedgesForced, OrderAbandoned, OrderIntended, OrderReported
from dehedge.core.model import PRICE_SCALE, HedgeKey
from dehedge.core.orders import Action, ClientOrderId

HOUR_S = 3600.0
MINUTE_S = 60.0
ZERO, ONE = Decimal(0), Decimal(1)

Name = TypeVar("Name", bound=Hashable)


class Entry(NamedTuple, Generic[Name]):
    """An amount and when it was used."""

    at: float
    name: Name
    amount: Decimal


class Window(Generic[Name]):
    """Amounts by name over the last hour."""

    def __init__(self) -> None:
        self.total = ZERO
        self._entries: deque[Entry[Name]] = deque()
        self._totals: dict[Name, Decimal] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def copy(self) -> Window[Name]:
        """A window of its own with the same contents."""
        twin: Window[Name] = Window()
        twin.total, twin._entries, twin._totals = self.total, self._entries.copy(), self._totals.copy()
        return twin

    @property
    def totals(self) -> Mapping[Name, Decimal]:
        """What each name used; nothing for a name that used nothing."""
        return MappingProxyType(self._totals)

    def add(self, at: float, name: Name, amount: Decimal = ONE) -> None:
        self._clamp(at)
        self._entries.append(Entry(at, name, amount))
        self._totals[name] = self._totals.get(name, ZERO) + amount
        self.total += amount
        self._forget(at)

    def get(self, name: Name) -> Decimal:
        return self._totals.get(name, ZERO)

    def get_since(self, since: float) -> list[Entry[Name]]:
        """What was used from that time on, newest first."""
        found = []
        for entry in reversed(self._entries):
            if entry.at < since:
                break
            found.append(entry)
        return found

    def advance(self, now: float) -> None:
        """Forget what is older than an hour."""
        self._clamp(now)
        self._forget(now)

    def _clamp(self, now: float) -> None:
        """After the wall clock was set back, nothing was used in the future; so the entries are in order at all times."""
        if self._entries and self._entries[-1].at > now:
            self._entries = deque(entry._replace(at=min(entry.at, now)) for entry in self._entries)

    def _forget(self, now: float) -> None:
        while self._entries and self._entries[0].at <= now - HOUR_S:
            entry = self._entries.popleft()
            self.total -= entry.amount
            left = self._totals.pop(entry.name, ZERO) - entry.amount
            if left:
                self._totals[entry.name] = left


class Usage:
    """The windows that the guards look at.

    ``growth`` is the notional of every order that was to add exposure, by symbol; ``filled`` that of every fill, for its
    fee; ``opens`` counts hedges that came to be, by their key; ``forced`` the blows that the exchange's own orders dealt our
    hedges, by symbol.
    ``in_flight`` is the notional of every order whose end is not known. All notionals are in USD.
    """

    def __init__(self) -> None:
        self.growth: Window[str] = Window()
        self.filled: Window[str] = Window()
        self.opens: Window[HedgeKey] = Window()
        self.forced: Window[str] = Window()
        self.in_flight: dict[ClientOrderId, Decimal] = {}
        self._prices: dict[ClientOrderId, Decimal] = {}
        self._forced_orders: Window[str] = Window()
        self._struck: set[str] = set()

    def note(self, at: float, event: Event, changes: Sequence[HedgeChange]) -> None:
        """Count a fact that was journaled at that time, and what became of the hedges by it."""
        if isinstance(event, OrderIntended):
            self._note_intent(at, event)
        elif isinstance(event, OrderReported) and changes:
            self._note_end(at, event.report.client_order_id, changes)
        elif isinstance(event, OrderAbandoned) and changes:
            self._note_end(at, event.client_order_id, changes)
        elif isinstance(event, HedgesForced) and changes:
            self._note_forced(at, event)

    def copy(self) -> Usage:
        """Windows of its own with the same contents: to be advanced, and asked, without a trace."""
        twin = Usage()
        twin.growth, twin.filled, twin.opens = self.growth.copy(), self.filled.copy(), self.opens.copy()
        twin.forced, twin._forced_orders = self.forced.copy(), self._forced_orders.copy()
        twin.in_flight, twin._prices, twin._struck = self.in_flight.copy(), self._prices.copy(), self._struck.copy()
        return twin

    def advance(self, now: float) -> None:
        """Let time pass: to be called before the windows are looked at."""
        for window in (self.growth, self.filled, self.opens, self.forced, self._forced_orders):
            window.advance(now)

    def get_orders_per_minute(self, now: float) -> int:
        """Orders sent to add exposure in the minute before."""
        return len(self.growth.get_since(now - MINUTE_S))

    def _note_intent(self, at: float, event: OrderIntended) -> None:
        request, notional = event.request, get_order_notional(event)
        self.in_flight[request.client_order_id] = notional
        self._prices[request.client_order_id] = notional / request.quantity
        if event.action is Action.INCREASE:
            self._struck.discard(request.symbol)
            self.growth.add(at, request.symbol, notional)

    def _note_end(self, at: float, client_order_id: ClientOrderId, changes: Sequence[HedgeChange]) -> None:
        self.in_flight.pop(client_order_id, None)
        price = self._prices.pop(client_order_id, ZERO)
        notional = sum((change.quantity * (change.price or price) for change in changes), ZERO)
        if notional:
            self.filled.add(at, changes[0].symbol, notional)
        for change in changes:
            if change.kind is Change.OPENED:
                self.opens.add(at, change.key)

    def _note_forced(self, at: float, event: HedgesForced) -> None:
        """One blow counts once, in however many orders and parts it was seen: the next one follows on a new increase."""
        if not self._forced_orders.get(event.venue_order_id):
            self._forced_orders.add(at, event.venue_order_id)
            if event.symbol not in self._struck:
                self._struck.add(event.symbol)
                self.forced.add(at, event.symbol)


def get_order_notional(event: OrderIntended) -> Decimal:
    """In USD at the mark that it was decided at, or else at the entry prices of the positions it hedges."""
    if event.mark is not None:
        return event.request.quantity * event.mark
    return sum((share.quantity * share.entry_price for share in event.shares), ZERO) / PRICE_SCALE
