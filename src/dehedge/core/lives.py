"""From the journaled facts to the life of each hedge: every fill with its price, its costs and what it was there for.

Folds the same facts as the book, so what is told here is what the daemon did. Receipts come later than the fills that they
are of; all is put together at the end. Pure; fed by whoever reads a journal, read by ``report``.

A fill without a receipt has the price that its report told, or else the mark that its order was decided at, or the nearest
to it that is known, and is an estimate then. What another hand took off a hedge has no price of ours: it leaves without a profit, as an estimate too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from dehedge.core.book import HedgeBook, InFlightOrder
from dehedge.core.costs import Fee, FundingPaid, OrderPriced, split_amount
from dehedge.core.events import (
    Event,
    ForeignPositionSeen,
    HedgeChange,
    HedgesForced,
    OrderAbandoned,
    OrderIntended,
    OrderReported,
    fold,
)
from dehedge.core.model import PRICE_SCALE, HedgeKey, Leg, Side
from dehedge.core.orders import Share

ZERO = Decimal(0)


class Sight(NamedTuple):
    """A price that was known of a market or symbol, and when."""

    at: float
    price: Decimal


@dataclass(frozen=True, slots=True)
class Fill:
    """What was filled of one hedge by one order.

    ``quantity`` is 0 or more, ``held`` what the hedge holds afterwards; ``share`` and ``mark`` are those of the decision, None
    where another hand than ours acted.
    """

    at: float
    increases: bool
    quantity: Decimal
    held: Decimal
    reason: str
    price: Decimal | None
    is_estimate: bool
    fees: tuple[Fee, ...] = ()
    share: Share | None = None
    mark: Decimal | None = None

    @property
    def decided_at(self) -> Decimal | None:
        """The market's price in the decision, or the nearest to it that is known."""
        known = self.share.price if self.share is not None else None
        return known or self.mark or self.price


@dataclass(frozen=True, slots=True)
class Life:
    """One hedge from its first fill until nothing of it is left, or until now; its fills are in order."""

    key: HedgeKey
    symbol: str
    side: Side
    fills: tuple[Fill, ...]

    @property
    def opened_at(self) -> float:
        return self.fills[0].at

    @property
    def closed_at(self) -> float | None:
        return None if self.fills[-1].held else self.fills[-1].at

    def get_signed_quantity(self, at: float) -> Decimal:
        """What it held at that time, below 0 for a short."""
        held = ZERO
        for fill in self.fills:
            if fill.at > at:
                break
            held = fill.held
        return held * self.side.sign


@dataclass(frozen=True, slots=True)
class Records:
    """All that a journal tells of money. ``foreign`` is what the account held beside our hedges, by leg, as it changed."""

    lives: tuple[Life, ...]
    fundings: tuple[FundingPaid, ...]
    foreign: Mapping[tuple[str, Leg], Sequence[tuple[float, Decimal]]]
    prices: Mapping[str, Sight]
    """The newest price of each market in a decision."""
    marks: Mapping[str, Sequence[Sight]]
    """The marks of each symbol in decisions, in order."""


class _Part(NamedTuple):
    """A change of one hedge, before its receipt is known; ``order`` names what it was filled by."""

    at: float
    change: HedgeChange
    order: str
    increases: bool = False
    share: Share | None = None
    mark: Decimal | None = None


class _Draft(NamedTuple):
    """A life in the making."""

    change: HedgeChange
    fills: list[Fill]


@dataclass(slots=True)
class LifeBook:
    """Collects the facts of one journal, from its first entry on."""

    _book: HedgeBook = field(default_factory=HedgeBook)
    _marks: dict[str, Decimal | None] = field(default_factory=dict)
    _parts: list[_Part] = field(default_factory=list)
    _receipts: dict[str, OrderPriced] = field(default_factory=dict)
    _fundings: list[FundingPaid] = field(default_factory=list)
    _foreign: defaultdict[tuple[str, Leg], list[tuple[float, Decimal]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _prices: dict[str, Sight] = field(default_factory=dict)
    _seen_marks: defaultdict[str, list[Sight]] = field(default_factory=lambda: defaultdict(list))

    def note(self, at: float, event: Event) -> None:
        """Take the next fact. Raises ``AssertionError`` or ``KeyError`` for one that cannot follow those before it."""
        order = self._find_order(event)
        changes = fold(self._book, event)
        match event:
            case OrderIntended():
                self._note_intent(at, event)
            case OrderReported() | OrderAbandoned() if order is not None and changes:
                self._note_end(at, order, changes)
            case HedgesForced():
                self._parts += [_Part(at, change, event.venue_order_id) for change in changes]
            case OrderPriced():
                self._note_receipt(event)
            case FundingPaid():
                self._fundings.append(event)
            case ForeignPositionSeen():
                self._foreign[event.symbol, event.leg].append((at, event.quantity))
            case _:
                self._parts += [_Part(at, change, "") for change in changes]

    def build(self) -> Records:
        """Everything so far, put together."""
        fees = self._share_fees()
        lives: list[_Draft] = []
        newest: dict[HedgeKey, _Draft] = {}
        for number, part in enumerate(self._parts):
            change = part.change
            draft = newest.get(change.key)
            held = draft.fills[-1].held if draft is not None else ZERO
            moved = abs(change.held - held)
            # What was filled of a hedge that a forced order had taken meanwhile belongs to the one that was.
            if draft is None or (not held and moved):
                draft = newest[change.key] = _Draft(change, [])
                lives.append(draft)
            draft.fills.append(self._build_fill(part, moved, fees.get(number, ())))
        built = [Life(change.key, change.symbol, change.side, tuple(fills)) for change, fills in lives]
        return Records(tuple(built), tuple(self._fundings), self._foreign, self._prices, self._seen_marks)

    def _find_order(self, event: Event) -> InFlightOrder | None:
        if isinstance(event, OrderReported):
            return self._book.in_flight.get(event.report.client_order_id)
        return self._book.in_flight.get(event.client_order_id) if isinstance(event, OrderAbandoned) else None

    def _note_intent(self, at: float, event: OrderIntended) -> None:
        self._marks[event.request.client_order_id] = event.mark
        if event.mark is not None:
            self._seen_marks[event.request.symbol].append(Sight(at, event.mark))
        for share in event.shares:
            price = share.price or event.mark
            if price is not None:
                self._prices[share.key.market] = Sight(at, price)

    def _note_end(self, at: float, order: InFlightOrder, changes: Sequence[HedgeChange]) -> None:
        """There is one change for each share, in their order."""
        name = order.request.client_order_id
        mark = self._marks.pop(name, None)
        increases = order.hedge_side is order.request.side
        for share, change in zip(order.shares, changes, strict=True):
            if change.quantity:
                self._parts.append(_Part(at, change, name, increases, share, mark))

    def _note_receipt(self, event: OrderPriced) -> None:
        name = event.client_order_id or event.venue_order_id
        known = self._receipts.get(name)
        if known is None or event.fees is not None:
            self._receipts[name] = event

    def _share_fees(self) -> dict[int, tuple[Fee, ...]]:
        """What each part paid of its order's fees, by its number; of the exchange's own orders others pay theirs."""
        parts: defaultdict[str, list[int]] = defaultdict(list)
        for number, part in enumerate(self._parts):
            parts[part.order].append(number)
        shared: defaultdict[int, list[Fee]] = defaultdict(list)
        for name, receipt in self._receipts.items():
            numbers = parts.get(name, [])
            weights = [self._parts[number].change.quantity for number in numbers]
            rest = (receipt.quantity or ZERO) - sum(weights, ZERO) if not receipt.client_order_id else ZERO
            for fee in receipt.fees or () if numbers else ():
                amounts = split_amount(fee.amount, [*weights, *([rest] if rest > 0 else [])])
                for number, amount in zip(numbers, amounts, strict=False):
                    shared[number].append(Fee(fee.asset, amount))
        return {number: tuple(found) for number, found in shared.items()}

    def _build_fill(self, part: _Part, moved: Decimal, fees: tuple[Fee, ...]) -> Fill:
        receipt, share = self._receipts.get(part.order), part.share
        told = receipt.average_price if receipt is not None else part.change.price
        nearest = part.mark or (share.price or Decimal(share.entry_price) / PRICE_SCALE if share is not None else None)
        return Fill(
            part.at, part.increases, moved, part.change.held, part.change.reason, told or nearest, told is None,
            fees, share, part.mark,
        )  # fmt: skip
