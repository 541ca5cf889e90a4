"""The journaled facts, and the one function that turns them into the book.

Rules of this file: every change of a hedge's quantity or status is here, live and at replay alike, so a restart takes no
second code path. A fact is journaled before it is folded, and folding reads no clock: an event carries the times it
needs. ``fold`` gives back what became of the hedges in words (``HedgeChange``), for logs, metrics and the event list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from dehedge.core.book import HedgeBook, HedgedPosition, HedgeStatus, InFlightOrder, TradingMode, check_on_leg
from dehedge.core.costs import FundingPaid, OrderPriced
from dehedge.core.model import HedgeKey, Leg, Side
from dehedge.core.orders import (
    Action,
    ClientOrderId,
    OrderReport,
    OrderRequest,
    OrderStatus,
    Share,
    allocate,
    apply_report,
)


@dataclass(frozen=True, slots=True)
class OrderIntended:
    """We are about to send this order once. Durable before the first byte goes out.

    ``fresh_until`` is when the inputs that it was decided from are too old for an increase; None for a reduction. ``mark`` is
    the symbol's mark price then; None where none was known.
    """

    request: OrderRequest
    hedge_side: Side
    action: Action
    shares: tuple[Share, ...]
    intended_at: float
    block_number: int
    fresh_until: float | None = None
    mark: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderReported:
    """The exchange said this of an order of ours."""

    report: OrderReport
    reported_at: float


@dataclass(frozen=True, slots=True)
class OrderAbandoned:
    """The order was certainly never executed: it is not known to the exchange, and too old to be accepted still."""

    client_order_id: ClientOrderId
    reason: str


@dataclass(frozen=True, slots=True)
class HedgesCooled:
    """The risk of these hedges has gone; each with the time when it was last seen."""

    placed_at: tuple[tuple[HedgeKey, float], ...]


@dataclass(frozen=True, slots=True)
class HedgesReheated:
    """The risk of these cooling hedges came back."""

    keys: tuple[HedgeKey, ...]
    at: float


@dataclass(frozen=True, slots=True)
class HedgesForced:
    """The exchange itself reduced a leg (liquidation, deleveraging, settlement).

    ``quantity`` is what that order has newly filled, ``filled_quantity`` what it has in all, both with others' part.
    """

    venue_order_id: str
    symbol: str
    leg: Leg
    side: Side
    quantity: Decimal
    filled_quantity: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class HedgeWrittenDown:
    """Another hand closed part of a hedge: the account no longer holds ``quantity`` of it."""

    key: HedgeKey
    quantity: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class ForeignPositionSeen:
    """What the account holds on a leg beyond our hedges, and up to which time orders of others are part of it.

    ``counted_until`` is the exchange's time, 0 where no order was looked at.
    """

    symbol: str
    leg: Leg
    quantity: Decimal
    counted_until: float = 0.0


@dataclass(frozen=True, slots=True)
class TradingModeSet:
    """The kill switch was turned; ``is_flattening`` asks for everything to be closed.

    ``set_at`` and ``reason`` tell when and by whom or what; journals of earlier versions do not have them.
    """

    mode: TradingMode
    is_flattening: bool
    set_at: float = 0.0
    reason: str = ""


Event = (
    OrderIntended
    | OrderReported
    | OrderPriced
    | OrderAbandoned
    | HedgesCooled
    | HedgesReheated
    | HedgesForced
    | HedgeWrittenDown
    | ForeignPositionSeen
    | TradingModeSet
    | FundingPaid
)


class Change(StrEnum):
    """What became of a hedge, as logs and metrics name it."""

    OPENED = "hedge_opened"
    RESIZED = "hedge_resized"
    CLOSED = "hedge_closed"
    FAILED = "hedge_not_filled"
    FORCED = "hedge_forced"
    WRITTEN_DOWN = "hedge_written_down"


@dataclass(frozen=True, slots=True)
class HedgeChange:
    """One hedge's change; ``quantity`` is what was filled of it now, ``held`` what it holds afterwards."""

    kind: Change
    key: HedgeKey
    symbol: str
    side: Side
    quantity: Decimal
    held: Decimal
    reason: str
    price: Decimal | None = None


def fold(book: HedgeBook, event: Event) -> list[HedgeChange]:
    """Apply one journaled fact to the book. An impossible fact is our bug and raises ``AssertionError``."""
    return _FOLDS[type(event)](book, event)


def _fold_intended(book: HedgeBook, event: OrderIntended) -> list[HedgeChange]:
    request = event.request
    assert request.client_order_id not in book.in_flight, "an intent is journaled once"
    book.in_flight[request.client_order_id] = InFlightOrder(
        request, event.hedge_side, event.action, event.shares, event.intended_at
    )
    book.block_number = max(book.block_number, event.block_number)
    book.symbols.add(request.symbol)
    for share in event.shares:
        book.set_hedged_position(_lock(book.get_hedged_position(share.key), share, event))
    return []


def _lock(hedge: HedgedPosition | None, share: Share, event: OrderIntended) -> HedgedPosition:
    """The hedge with its status telling which order is in flight for it."""
    if hedge is None:
        assert event.action is Action.INCREASE, "a reduction of a hedge that we do not hold"
        return HedgedPosition(
            share.key, event.request.symbol, event.hedge_side, Decimal(0), share.target, share.size, share.entry_price,
            HedgeStatus.OPENING, share.reason, event.intended_at, event.intended_at, seen_block=event.block_number,
        )  # fmt: skip
    assert hedge.status is HedgeStatus.OPEN, "two live orders for one hedge"
    assert hedge.side is event.hedge_side, "an order of the wrong side"
    if not share.target:
        return replace(hedge, status=HedgeStatus.CLOSING)
    return replace(hedge, status=HedgeStatus.ADJUSTING, seen_block=event.block_number)


def _fold_reported(book: HedgeBook, event: OrderReported) -> list[HedgeChange]:
    order = book.in_flight.get(event.report.client_order_id)
    if order is None:
        return []  # A late or repeated report of an order that is settled.
    report = apply_report(order.report, event.report)
    if not report.status.is_terminal:
        book.in_flight[event.report.client_order_id] = replace(order, report=report)
        return []
    return _settle(book, order, report)


def _fold_costs(_: HedgeBook, __: OrderPriced | FundingPaid) -> list[HedgeChange]:
    return []  # Kept for the accounts; no quantity depends on it.


def _fold_abandoned(book: HedgeBook, event: OrderAbandoned) -> list[HedgeChange]:
    order = book.in_flight.get(event.client_order_id)
    if order is None:
        return []
    end = OrderReport(event.client_order_id, OrderStatus.REJECTED, Decimal(0), reason=event.reason)
    return _settle(book, order, apply_report(order.report, end))


def _settle(book: HedgeBook, order: InFlightOrder, report: OrderReport) -> list[HedgeChange]:
    del book.in_flight[report.client_order_id]
    parts = allocate(report.filled_quantity, order.shares)
    return [_settle_share(book, order, share, part, report) for share, part in parts]


def _settle_share(
    book: HedgeBook, order: InFlightOrder, share: Share, part: Decimal, report: OrderReport
) -> HedgeChange:
    hedge = book.get_hedged_position(share.key)
    assert hedge is not None, "an order in flight for a hedge that is gone"
    increases = order.action is Action.INCREASE
    # A forced order may have taken the hedge while our reduction of it was in flight: never below nothing.
    held = hedge.quantity + part if increases else max(hedge.quantity - part, Decimal(0))
    settled = replace(
        hedge, quantity=held, target=share.target, size=share.size, entry_price=share.entry_price,
        status=HedgeStatus.OPEN,
    ) if part else replace(hedge, status=HedgeStatus.OPEN)  # fmt: skip
    _store(book, settled)
    kind = _name_change(hedge, settled, part)
    reason = share.reason if part else report.reason or report.status.value
    return HedgeChange(kind, share.key, hedge.symbol, hedge.side, part, held, reason, report.average_price)


def _store(book: HedgeBook, hedge: HedgedPosition) -> None:
    """Keep a hedge that holds something or has an order in flight; forget one that is flat."""
    if hedge.quantity or hedge.status is not HedgeStatus.OPEN:
        book.set_hedged_position(hedge)
    else:
        book.remove_hedged_position(hedge.key)


def _name_change(before: HedgedPosition, after: HedgedPosition, part: Decimal) -> Change:
    if not part:
        return Change.FAILED
    if not after.quantity:
        return Change.CLOSED
    return Change.RESIZED if before.quantity else Change.OPENED


def _fold_cooled(book: HedgeBook, event: HedgesCooled) -> list[HedgeChange]:
    for key, placed_at in event.placed_at:
        hedge = book.get_hedged_position(key)
        if hedge is not None:
            book.set_hedged_position(replace(hedge, is_cooling=True, placed_at=placed_at))
    return []


def _fold_reheated(book: HedgeBook, event: HedgesReheated) -> list[HedgeChange]:
    for key in event.keys:
        hedge = book.get_hedged_position(key)
        if hedge is not None:
            book.set_hedged_position(replace(hedge, is_cooling=False, placed_at=event.at))
    return []


def _fold_forced(book: HedgeBook, event: HedgesForced) -> list[HedgeChange]:
    seen = book.forced_orders.get(event.venue_order_id, Decimal(0))
    left = min(event.filled_quantity - seen, event.quantity)
    book.forced_orders[event.venue_order_id] = max(event.filled_quantity, seen)
    hit = [
        hedge
        for hedge in book.get_symbol_hedges(event.symbol)
        if hedge.side is event.side.opposite and check_on_leg(hedge.side, event.leg)
    ]
    changes = []
    # What is being closed may be closed already, so the others are the likelier ones.
    for hedge in sorted(hit, key=lambda hedge: (hedge.status is not HedgeStatus.OPEN, hedge.key)):
        part = min(hedge.quantity, left)
        if part > 0:
            left -= part
            changes.append(_write_down(book, hedge, part, Change.FORCED, event.reason))
    return changes


def _fold_written_down(book: HedgeBook, event: HedgeWrittenDown) -> list[HedgeChange]:
    hedge = book.get_hedged_position(event.key)
    if hedge is None:
        return []
    part = min(hedge.quantity, event.quantity)
    return [_write_down(book, hedge, part, Change.WRITTEN_DOWN, event.reason)]


def _write_down(book: HedgeBook, hedge: HedgedPosition, part: Decimal, kind: Change, reason: str) -> HedgeChange:
    held = hedge.quantity - part
    _store(book, replace(hedge, quantity=held))
    return HedgeChange(kind, hedge.key, hedge.symbol, hedge.side, part, held, reason)


def _fold_foreign(book: HedgeBook, event: ForeignPositionSeen) -> list[HedgeChange]:
    book.foreign[(event.symbol, event.leg)] = event.quantity
    key = (event.symbol, event.leg)
    book.counted_until[key] = max(book.counted_until.get(key, 0.0), event.counted_until)
    return []


def _fold_mode(book: HedgeBook, event: TradingModeSet) -> list[HedgeChange]:
    book.mode, book.is_flattening = event.mode, event.is_flattening
    book.mode_set_at, book.mode_reason = event.set_at, event.reason
    return []


_FOLDS: dict[type, Callable[[HedgeBook, Any], list[HedgeChange]]] = {
    OrderIntended: _fold_intended,
    OrderReported: _fold_reported,
    OrderPriced: _fold_costs,
    FundingPaid: _fold_costs,
    OrderAbandoned: _fold_abandoned,
    HedgesCooled: _fold_cooled,
    HedgesReheated: _fold_reheated,
    HedgesForced: _fold_forced,
    HedgeWrittenDown: _fold_written_down,
    ForeignPositionSeen: _fold_foreign,
    TradingModeSet: _fold_mode,
}
