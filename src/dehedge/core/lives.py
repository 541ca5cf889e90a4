"""From the journaled facts to the life of each hedge: every fill with its price, its costs and what it was there for.

Folds the same facts as the book, so what is told here is what the daemon did. Receipts come later than the fills that they
are of; all is put together at the end. Pure; fed by whoever reads a journal, read by ``report``.

A fill without a receipt has the price that its report told, or else the mark that its order was decided at, or the nearest
to it that is known, and is an estimate then. What another hand took off a hedge has no price of ours: it leaves without a profit, as an estimate too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from dehedge.core.book import HedgeBook
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
        return get_held(((fill.at, fill.held) for fill in self.fills), at) * self.side.sign


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


class Part(NamedTuple):
    """A change of one hedge, before its receipt is known; ``order`` names what it was filled by, and is empty for other hands."""

    at: float
    change: HedgeChange
    order: str
    increases: bool = False
    share: Share | None = None
    mark: Decimal | None = None


class PartReader:
    """Takes each fact apart into what it filled of whose hedge; remembers the orders in flight."""

    def __init__(self) -> None:
        self._intents: dict[str, OrderIntended] = {}

    def read(self, at: float, event: Event, changes: Sequence[HedgeChange]) -> list[Part]:
        """``changes`` are what became of the hedges by the fact."""
        match event:
            case OrderIntended():
                self._intents[event.request.client_order_id] = event
            case OrderReported() if changes:
                return self._read_end(at, event.report.client_order_id, changes)
            case OrderAbandoned() if changes:
                return self._read_end(at, event.client_order_id, changes)
            case HedgesForced():
                return [Part(at, change, event.venue_order_id) for change in changes]
        return [Part(at, change, "") for change in changes]

    def _read_end(self, at: float, name: str, changes: Sequence[HedgeChange]) -> list[Part]:
        """There is one change for each share, in their order."""
        intent = self._intents.pop(name)
        increases = intent.hedge_side is intent.request.side
        return [
            Part(at, change, name, increases, share, intent.mark)
            for share, change in zip(intent.shares, changes, strict=True)
            if change.quantity
        ]


class _Draft(NamedTuple):
    """A life in the making."""

    change: HedgeChange
    fills: list[Fill]


@dataclass(slots=True)
class LifeBook:
    """Collects the facts of one journal, from its first entry on."""

    _book: HedgeBook = field(default_factory=HedgeBook)
    _reader: PartReader = field(default_factory=PartReader)
    _parts: list[Part] = field(default_factory=list)
    _receipts: dict[str, OrderPriced] = field(default_factory=dict)
    _fundings: list[FundingPaid] = field(default_factory=list)
    _foreign: defaultdict[tuple[str, Leg], list[tuple[float, Decimal]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _prices: dict[str, Sight] = field(default_factory=dict)
    _marks: defaultdict[str, list[Sight]] = field(default_factory=lambda: defaultdict(list))

    def note(self, at: float, event: Event) -> None:
        """Take the next fact. Raises ``AssertionError`` or ``KeyError`` for one that cannot follow those before it."""
        self._parts += self._reader.read(at, event, fold(self._book, event))
        match event:
            case OrderIntended():
                self._note_prices(at, event)
            case OrderPriced():
                name = get_order_name(event)
                self._receipts[name] = choose_receipt(self._receipts.get(name), event)
            case FundingPaid():
                self._fundings.append(event)
            case ForeignPositionSeen():
                self._foreign[event.symbol, event.leg].append((at, event.quantity))

    def build(self) -> Records:
        """Everything so far, put together."""
        fees = self._share_fees()
        lives: list[_Draft] = []
        newest: dict[HedgeKey, _Draft] = {}
        for number, part in enumerate(self._parts):
            change = part.change
            draft = newest.get(change.key)
            held = draft.fills[-1].held if draft is not None else None
            if draft is None or check_new_life(held, change):
                draft = newest[change.key] = _Draft(change, [])
                lives.append(draft)
            moved = abs(change.held - (held or ZERO))
            draft.fills.append(build_fill(part, moved, self._receipts.get(part.order), fees.get(number, ())))
        built = [Life(change.key, change.symbol, change.side, tuple(fills)) for change, fills in lives]
        return Records(tuple(built), tuple(self._fundings), self._foreign, self._prices, self._marks)

    def _note_prices(self, at: float, event: OrderIntended) -> None:
        if event.mark is not None:
            self._marks[event.request.symbol].append(Sight(at, event.mark))
        for share in event.shares:
            price = share.price or event.mark
            if price is not None:
                self._prices[share.key.market] = Sight(at, price)

    def _share_fees(self) -> dict[int, tuple[Fee, ...]]:
        """What each part paid of its order's fees, by its number."""
        numbers: defaultdict[str, list[int]] = defaultdict(list)
        for number, part in enumerate(self._parts):
            numbers[part.order].append(number)
        shared: dict[int, tuple[Fee, ...]] = {}
        for name, receipt in self._receipts.items():
            found = numbers.get(name, [])
            fees = share_fees(receipt, [self._parts[number].change.quantity for number in found])
            shared.update(zip(found, fees, strict=True))
        return shared


def get_order_name(receipt: OrderPriced) -> str:
    """As the parts name the order that the receipt is of."""
    return receipt.client_order_id or receipt.venue_order_id


def choose_receipt(known: OrderPriced | None, told: OrderPriced) -> OrderPriced:
    """The one that counts of two: the later one, unless it knows no fees."""
    return told if known is None or told.fees is not None else known


def check_new_life(held: Decimal | None, change: HedgeChange) -> bool:
    """True where the change begins a life of its own; ``held`` is what the one before it holds, None where there is none.

    What was filled of a hedge that a forced order had taken meanwhile belongs to the one that was.
    """
    return held is None or (not held and bool(change.held))


def share_fees(receipt: OrderPriced, quantities: Sequence[Decimal]) -> list[tuple[Fee, ...]]:
    """What each part of an order paid of its fees; of the exchange's own orders others pay theirs."""
    if not quantities:
        return []
    rest = (receipt.quantity or ZERO) - sum(quantities, ZERO) if not receipt.client_order_id else ZERO
    weights = [*quantities, *([rest] if rest > 0 else [])]
    amounts = [(fee.asset, split_amount(fee.amount, weights)) for fee in receipt.fees or ()]
    return [tuple(Fee(asset, parts[place]) for asset, parts in amounts) for place in range(len(quantities))]


def build_fill(part: Part, moved: Decimal, receipt: OrderPriced | None, fees: tuple[Fee, ...]) -> Fill:
    """``moved`` is what the hedge holds more or less than before it."""
    share = part.share
    told = receipt.average_price if receipt is not None else part.change.price
    nearest = part.mark or (share.price or Decimal(share.entry_price) / PRICE_SCALE if share is not None else None)
    return Fill(
        part.at, part.increases, moved, part.change.held, part.change.reason, told or nearest, told is None,
        fees, share, part.mark,
    )  # fmt: skip


def get_held(steps: Iterable[tuple[float, Decimal]], at: float) -> Decimal:
    """The quantity at that time, of such as came one after the other; 0 before the first."""
    held = ZERO
    for since, quantity in steps:
        if since > at:
            break
        held = quantity
    return held
