"""The laws of the book and of its orders, which no step and no order may break.

Rules of this file. A law never repairs and never decides: it says what is wrong, with the figures. ``find_intent_breaches``
looks at an order before it is journaled, ``Watch.review`` at what a step has touched, so that the price of a check does
not grow with the book; ``Watch.sweep`` looks at everything. The watch keeps its own account of which order holds which
hedge, made from the orders alone and never from the status of the hedges, because the two are held against each other.
Called by the guardian, for the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from dehedge.core.book import HedgeBook, HedgedPosition, HedgeStatus, InFlightOrder
from dehedge.core.events import Event, OrderAbandoned, OrderIntended, OrderReported
from dehedge.core.hedging import check_mode_allows
from dehedge.core.model import HedgeKey, Leg
from dehedge.core.orders import Action, ClientOrderId, Share, check_sequence, get_leg

ZERO = Decimal(0)
BROKEN = "invariant broken"
"""Begins the reason of a kill switch that a broken law has turned."""


class Law(StrEnum):
    """What always holds."""

    ONE_ORDER = "one live order per hedge"
    LOCK = "a hedge's status tells its order in flight"
    SIDE = "an order has the side and symbol of its hedges"
    REDUCES = "a reduction takes no more than is held"
    TARGET = "an increase stays within its target"
    POSITIVE = "quantities are positive"
    STEP = "quantities are on the step"
    SUM = "shares add up to their order"
    FILLED = "no order fills beyond its quantity"
    UNIQUE = "an order id is used once"
    FRESH = "no exposure is added on stale inputs"
    MODE = "the kill switch is obeyed"
    RATE = "the exchange's limits are kept"
    PAUSE = "nothing is sent while the exchange wants us to wait"
    ONCE = "a write is sent once"
    CHECK = "the laws can be checked"


class Breach(NamedTuple):
    """A broken law: of which hedge, order or symbol, and the figures that show it."""

    law: Law
    subject: str
    figures: str

    def __str__(self) -> str:
        return f"{BROKEN}: {self.law.value}: {self.subject}: {self.figures}"


class Part(NamedTuple):
    """One share of an order against the hedge as it is now. ``step`` is None where it is not known."""

    order: InFlightOrder
    share: Share
    hedge: HedgedPosition | None
    step: Decimal | None

    @property
    def held(self) -> Decimal:
        return self.hedge.quantity if self.hedge is not None else ZERO


def _check_part_step(part: Part) -> bool:
    """A hedge that the exchange's rules have put off the step since it was built is not ours to mend."""
    step = part.step
    return not step or part.share.quantity % step == 0 or part.held % step != 0


PART_LAWS: Mapping[Law, Callable[[Part], bool]] = {
    Law.POSITIVE: lambda part: part.share.quantity > 0,
    Law.ONE_ORDER: lambda part: part.hedge is None or part.hedge.status is HedgeStatus.OPEN,
    Law.SIDE: lambda part: part.hedge is None or _check_order_fits(part.hedge, part.order),
    Law.REDUCES: lambda part: part.order.action is Action.INCREASE or part.share.quantity <= part.held,
    Law.TARGET: lambda part: part.order.action is Action.REDUCE or part.held + part.share.quantity <= part.share.target,
    Law.STEP: _check_part_step,
}
"""What holds of every share at the moment when its order is journaled."""


def _check_order_side(order: InFlightOrder) -> bool:
    increases = order.action is Action.INCREASE
    return order.request.side is (order.hedge_side if increases else order.hedge_side.opposite)


def _check_order_leg(order: InFlightOrder) -> bool:
    """In hedge mode the leg is that of the hedges; reduce-only is for reductions in one-way mode."""
    request = order.request
    if request.leg is Leg.BOTH:
        return not request.reduce_only or order.action is Action.REDUCE
    return request.leg is get_leg(order.hedge_side, hedge_mode=True) and not request.reduce_only


ORDER_LAWS: Mapping[Law, Callable[[InFlightOrder], bool]] = {
    Law.SUM: lambda order: sum(share.quantity for share in order.shares) == order.request.quantity,
    Law.SIDE: lambda order: _check_order_side(order) and _check_order_leg(order),
    Law.POSITIVE: lambda order: order.request.quantity > 0,
    Law.FILLED: lambda order: order.report is None or ZERO <= order.report.filled_quantity <= order.request.quantity,
}
"""What holds of an order for as long as it is in flight."""


class Entry(NamedTuple):
    """An order on its way into the journal: its entry's number, and the hedges that other orders of the step have taken."""

    sequence: int
    intent: OrderIntended
    step: Decimal | None = None
    taken: AbstractSet[HedgeKey] = frozenset()


def find_intent_breaches(book: HedgeBook, entry: Entry) -> dict[HedgeKey | None, Breach]:
    """What the order would break if it were journaled now, by hedge; None for the order as a whole."""
    intent = entry.intent
    order = InFlightOrder(intent.request, intent.hedge_side, intent.action, intent.shares, intent.intended_at)
    may_trade = {is_open: check_mode_allows(book, intent.action, is_open=is_open) for is_open in (True, False)}
    found: dict[HedgeKey | None, Breach] = {}
    taken = set(entry.taken)
    for share in intent.shares:
        part = Part(order, share, book.get_hedged_position(share.key), entry.step)
        law = _find_broken_law(part)
        if share.key in taken:
            law = Law.ONE_ORDER
        elif not may_trade[part.hedge is None]:
            law = law or Law.MODE
        if law is not None:
            found[share.key] = Breach(law, str(share.key), _describe(book, part))
        taken.add(share.key)
    for whole in (*find_order_breaches(order), *_find_entry_breaches(book, entry)):
        found[None] = whole
    return found


def _find_broken_law(part: Part) -> Law | None:
    for law, check in PART_LAWS.items():
        if not check(part):
            return law
    return None


def _find_entry_breaches(book: HedgeBook, entry: Entry) -> Iterator[Breach]:
    intent = entry.intent
    name, fresh_until = intent.request.client_order_id, intent.fresh_until
    if name in book.in_flight or not check_sequence(name, entry.sequence):
        yield Breach(Law.UNIQUE, name, f"journal entry {entry.sequence}")
    if intent.action is Action.INCREASE and (fresh_until is None or intent.intended_at > fresh_until):
        yield Breach(Law.FRESH, name, f"intended at {intent.intended_at}, fresh until {fresh_until}")


def _describe(book: HedgeBook, part: Part) -> str:
    hedge, share = part.hedge, part.share
    held = f"{hedge.side.value} {hedge.quantity} {hedge.symbol} {hedge.status.value}" if hedge is not None else "nothing"
    wanted = f"{part.order.action.value} by {share.quantity} to {share.target} with {part.order.request.client_order_id}"
    return f"holds {held}, would {wanted}, step {part.step}, mode {book.mode.value}"


def find_order_breaches(order: InFlightOrder) -> Iterator[Breach]:
    for law, check in ORDER_LAWS.items():
        if not check(order):
            request, filled = order.request, order.report.filled_quantity if order.report is not None else ZERO
            parts = sum((share.quantity for share in order.shares), ZERO)
            figures = f"{request.side.value} {request.quantity} {request.symbol} {request.leg.value}"
            figures += f" to {order.action.value} {order.hedge_side.value}, shares {parts}, filled {filled}"
            yield Breach(law, request.client_order_id, figures)


_STATUSES: Mapping[Action | None, AbstractSet[HedgeStatus]] = {
    None: {HedgeStatus.OPEN},
    Action.INCREASE: {HedgeStatus.OPENING, HedgeStatus.ADJUSTING},
    Action.REDUCE: {HedgeStatus.CLOSING, HedgeStatus.ADJUSTING},
}
"""The statuses that go with what is in flight for a hedge."""


def _check_order_fits(hedge: HedgedPosition, order: InFlightOrder | None) -> bool:
    return order is None or (hedge.side is order.hedge_side and hedge.symbol == order.request.symbol)


HEDGE_LAWS: Mapping[Law, Callable[[HedgedPosition, InFlightOrder | None], bool]] = {
    Law.LOCK: lambda hedge, order: hedge.status in _STATUSES[order.action if order is not None else None],
    Law.SIDE: _check_order_fits,
    # A forced order may take all of a hedge whose own order is still in flight.
    Law.POSITIVE: lambda hedge, _: hedge.quantity > 0 or (hedge.quantity == 0 and hedge.status is not HedgeStatus.OPEN),
}
"""What holds of every hedge after every step, with the order that is in flight for it."""


def find_hedge_breaches(key: HedgeKey, hedge: HedgedPosition | None, order: InFlightOrder | None) -> list[Breach]:
    """A hedge against the order in flight that holds it."""
    name = order.request.client_order_id if order is not None else "no order"
    if hedge is None:
        return [Breach(Law.LOCK, str(key), f"no hedge, {name}")] if order is not None else []
    laws = [law for law, check in HEDGE_LAWS.items() if not check(hedge, order)]
    if not laws:
        return []
    figures = f"{hedge.side.value} {hedge.quantity} {hedge.symbol} {hedge.status.value}, {name}"
    return [Breach(law, str(key), figures) for law in laws]


def _find_above_target(book: HedgeBook, order: InFlightOrder) -> Iterator[Breach]:
    """What an increase that has ended left above the target that it was for."""
    hedges = book.get_all_hedged_positions()
    for share in order.shares if order.action is Action.INCREASE else ():
        hedge = hedges.get(share.key)
        if hedge is not None and hedge.quantity > share.target:
            yield Breach(Law.TARGET, str(share.key), f"holds {hedge.quantity}, target {share.target}")


class Watch:
    """Follows a book from step to step. Changes nothing but its own account of the orders in flight."""

    def __init__(self) -> None:
        self._orders: dict[ClientOrderId, InFlightOrder] = {}
        self._holders: dict[HedgeKey, ClientOrderId] = {}

    def review(self, book: HedgeBook, events: Sequence[Event], changed: Iterable[HedgeKey]) -> list[Breach]:
        """The laws of what these events, now folded, have touched: their orders, and the changed hedges."""
        breaches: list[Breach] = []
        touched = dict.fromkeys(changed)
        for name in dict.fromkeys(name for event in events for name in _get_orders(event)):
            before, after = self._orders.get(name), book.in_flight.get(name)
            touched |= dict.fromkeys(share.key for share in _get_new_shares(before, after))
            breaches += self._follow(book, before, after)
        hedges = book.get_all_hedged_positions()
        for key in touched:
            breaches += find_hedge_breaches(key, hedges.get(key), self._get_order(key))
        if len(self._orders) != len(book.in_flight):
            breaches.append(Breach(Law.LOCK, "orders in flight", f"{len(book.in_flight)}, not {len(self._orders)}"))
        return breaches

    def sweep(self, book: HedgeBook) -> list[Breach]:
        """The laws of the whole book; its orders are taken as they are from now on."""
        self._orders, self._holders = {}, {}
        breaches: list[Breach] = []
        for order in book.in_flight.values():
            breaches += self._follow(book, None, order)
        hedges = book.get_all_hedged_positions()
        for key in [*hedges, *(self._holders.keys() - hedges.keys())]:
            breaches += find_hedge_breaches(key, hedges.get(key), self._get_order(key))
        return breaches

    def _get_order(self, key: HedgeKey) -> InFlightOrder | None:
        name = self._holders.get(key)
        return self._orders[name] if name is not None else None

    def _follow(self, book: HedgeBook, before: InFlightOrder | None, after: InFlightOrder | None) -> Iterator[Breach]:
        """An order came, was reported on, or went."""
        if after is not None:
            self._orders[after.request.client_order_id] = after
            yield from find_order_breaches(after)
            if before is None:
                yield from self._hold(after)
        elif before is not None:
            self._let_go(before)
            yield from _find_above_target(book, before)

    def _hold(self, order: InFlightOrder) -> Iterator[Breach]:
        name = order.request.client_order_id
        for share in order.shares:
            if share.key in self._holders:
                yield Breach(Law.ONE_ORDER, str(share.key), f"held by {self._holders[share.key]} and {name}")
            self._holders[share.key] = name

    def _let_go(self, order: InFlightOrder) -> None:
        name = order.request.client_order_id
        del self._orders[name]
        for share in order.shares:
            if self._holders.get(share.key) == name:
                del self._holders[share.key]


def _get_orders(event: Event) -> tuple[ClientOrderId, ...]:
    """The order that an event is about, if it can change what is in flight."""
    match event:
        case OrderIntended(request=request):
            return (request.client_order_id,)
        case OrderReported(report=report):
            return (report.client_order_id,)
        case OrderAbandoned(client_order_id=name):
            return (name,)
    return ()


def _get_new_shares(before: InFlightOrder | None, after: InFlightOrder | None) -> tuple[Share, ...]:
    """The shares whose hedges an order has locked or freed."""
    if before is None:
        return after.shares if after is not None else ()
    return before.shares if after is None else ()
