"""What each open hedge has earned and cost so far, folded from the same journaled facts as the book.

By the rules of ``lives`` and ``flows``, fact by fact instead of from a whole journal: for every open hedge it says what a
report over all of it says. Reads no clock, so a restart says the same. Bounded: fills whose receipt is known are added up, a
closed hedge is kept for as long as funding may still be booked for it. Kept by the ledger live, by ``recovery.replay`` at
start; asked by ``hedge_view`` and ``insight``.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import chain
from typing import NamedTuple

from dehedge.core.costs import Fee, FundingPaid, OrderPriced
from dehedge.core.events import Event, ForeignPositionSeen, HedgeChange, OrderIntended
from dehedge.core.flows import Amounts, Booking, Lot, add_amounts, add_fees, check_dollar, share_booking, sum_dollars
from dehedge.core.lives import (
    ZERO,
    Fill,
    Part,
    PartReader,
    Sight,
    build_fill,
    check_new_life,
    choose_receipt,
    get_held,
    get_order_name,
    share_fees,
)
from dehedge.core.model import HedgeKey, Leg

UNPRICED_MAX = 10_000
"""Orders whose receipt is waited for; the oldest beyond keep the prices that their reports told."""
UNPRICED_MAX_S = 8 * 86_400.0
"""And those that are older: nobody asks for their receipts any more."""
MEMORY_S = 7_200.0
"""How long a closed hedge, and what was held and booked, is remembered: funding is booked later than it is paid."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one hedge until now: by asset, fees above 0 were paid, funding below 0 was."""

    lot: Lot
    realized_usd: Decimal
    fees: Amounts
    funding: Amounts

    @property
    def fees_usd(self) -> Decimal:
        return sum_dollars(self.fees)

    @property
    def other_fees(self) -> Amounts:
        """What was paid in no dollars."""
        return {asset: amount for asset, amount in self.fees.items() if not check_dollar(asset)}

    @property
    def funding_usd(self) -> Decimal:
        return sum_dollars(self.funding)

    def get_profit(self, price: Decimal | None) -> Decimal | None:
        """What it has brought and would bring, were it closed at this price; without fees and funding."""
        return self.realized_usd + self.lot.get_unrealized(price) if price is not None else None


@dataclass(slots=True)
class _Order:
    """What an order filled of whom, and its receipt once that is known. ``is_final`` once nothing of it can change."""

    since: float
    receipt: OrderPriced | None = None
    is_final: bool = False
    parts: list[tuple[_Account, Decimal]] = field(default_factory=list)
    _fees: list[tuple[Fee, ...]] | None = None

    def add(self, account: _Account, quantity: Decimal) -> int:
        """The place of the new part."""
        if self.receipt is not None:
            self._touch()
        self.parts.append((account, quantity))
        return len(self.parts) - 1

    def price(self, receipt: OrderPriced) -> None:
        self.receipt = choose_receipt(self.receipt, receipt)
        self._touch()

    def check_whole(self) -> bool:
        """True when its receipt is of all that it filled. The exchange's own orders may always fill more."""
        told = self.receipt
        if told is None or not told.client_order_id or told.fees is None:
            return False
        return sum((quantity for _, quantity in self.parts), ZERO) <= (told.quantity or ZERO)

    def end(self) -> None:
        self.is_final = True
        for account, _ in self.parts:
            account.settle()

    def get_fees(self, place: int) -> tuple[Fee, ...]:
        if self.receipt is None:
            return ()
        if self._fees is None:
            self._fees = share_fees(self.receipt, [quantity for _, quantity in self.parts])
        return self._fees[place]

    def _touch(self) -> None:
        self._fees = None
        for account, _ in self.parts:
            account.figures = None


class _Open(NamedTuple):
    """A fill that may still change."""

    part: Part
    moved: Decimal
    order: _Order
    place: int

    def build(self) -> Fill:
        return build_fill(self.part, self.moved, self.order.receipt, self.order.get_fees(self.place))


class _Account:
    """One life of a hedge; ``steps`` are what it held in the time that is remembered, and ``figures`` None when they changed."""

    def __init__(self, number: int, part: Part) -> None:
        self.number = number
        self.key = part.change.key
        self.opened_at = part.at
        self.sign = part.change.side.sign
        self.steps: list[Sight] = []
        self.funding: defaultdict[str, Decimal] = defaultdict(Decimal)
        self.figures: Figures | None = None
        self._fills: deque[_Open] = deque()
        self._lot = Lot(self.sign)
        self._realized = ZERO
        self._fees: Amounts = {}

    @property
    def held(self) -> Decimal:
        return self.steps[-1].price

    def add(self, part: Part, order: _Order) -> None:
        held = self.held if self.steps else ZERO
        moved = abs(part.change.held - held)
        _remember(self.steps, Sight(part.at, part.change.held))
        self._fills.append(_Open(part, moved, order, order.add(self, part.change.quantity)))
        self.settle()

    def settle(self) -> None:
        """Add up the fills from the first on that can no longer change."""
        while self._fills and self._fills[0].order.is_final:
            fill = self._fills.popleft().build()
            self._realized += self._lot.apply(fill)
            self._fees = add_amounts((self._fees, add_fees(fill)))
        self.figures = None

    def get_signed_quantity(self, at: float) -> Decimal:
        """Where that is longer ago than is remembered, the oldest that is."""
        return get_held(self.steps, max(at, self.steps[0].at)) * self.sign

    def build_figures(self) -> Figures:
        if self.figures is None:
            fills, lot = [fill.build() for fill in self._fills], replace(self._lot)
            realized = sum((lot.apply(fill) for fill in fills), self._realized)
            fees = add_amounts(chain([self._fees], map(add_fees, fills)))
            self.figures = Figures(lot, realized, fees, dict(self.funding))
        return self.figures


@dataclass(slots=True)
class _Group:
    """The bookings of a symbol at one time in one asset, and whose they were."""

    noted_at: float
    amount: Decimal = ZERO
    parts: list[tuple[_Account, Decimal]] = field(default_factory=list)


class Earnings:
    """Of every open hedge."""

    def __init__(self) -> None:
        self._reader = PartReader()
        self._newest: dict[HedgeKey, _Account] = {}
        self._accounts: defaultdict[str, dict[int, _Account]] = defaultdict(dict)
        self._closed: deque[tuple[float, str, _Account]] = deque()
        self._orders: dict[str, _Order] = {}
        self._groups: defaultdict[str, dict[tuple[float, str], _Group]] = defaultdict(dict)
        self._marks: defaultdict[str, list[Sight]] = defaultdict(list)
        self._foreign: defaultdict[str, dict[Leg, list[Sight]]] = defaultdict(dict)
        self._count = 0

    def get(self, key: HedgeKey) -> Figures | None:
        """None for what is not held."""
        account = self._newest.get(key)
        return account.build_figures() if account is not None and account.held else None

    def note(self, at: float, event: Event, changes: Sequence[HedgeChange]) -> None:
        """Count a fact that was journaled at that time, and what became of the hedges by it."""
        self._forget(at - MEMORY_S)
        parts = self._reader.read(at, event, changes)
        for part in parts:
            self._add(part)
        for symbol in {part.change.symbol for part in parts}:
            self._share_again(symbol, at)
        match event:
            case OrderIntended() if event.mark is not None:
                self._note_mark(event.request.symbol, Sight(at, event.mark))
            case OrderPriced():
                self._note_receipt(event)
            case FundingPaid():
                self._note_funding(at, event)
            case ForeignPositionSeen():
                _remember(self._foreign[event.symbol].setdefault(event.leg, []), Sight(at, event.quantity))
                self._share_again(event.symbol, at)
        self._end_orders(at - UNPRICED_MAX_S)

    def _add(self, part: Part) -> None:
        key, symbol = part.change.key, part.change.symbol
        account = self._newest.get(key)
        if account is None or check_new_life(account.held, part.change):
            self._count += 1
            account = self._newest[key] = self._accounts[symbol][self._count] = _Account(self._count, part)
        account.add(part, self._get_order(part))
        if not account.held:
            self._closed.append((part.at, symbol, account))

    def _get_order(self, part: Part) -> _Order:
        """What other hands did has no receipt to wait for."""
        return self._orders.setdefault(part.order, _Order(part.at)) if part.order else _Order(part.at, is_final=True)

    def _note_receipt(self, event: OrderPriced) -> None:
        """Of an order that is not waited for any more it comes too late."""
        name = get_order_name(event)
        order = self._orders.get(name)
        if order is not None:
            order.price(event)
            if order.check_whole():
                self._orders.pop(name).end()

    def _end_orders(self, horizon: float) -> None:
        while self._orders:
            name, oldest = next(iter(self._orders.items()))
            if len(self._orders) <= UNPRICED_MAX and oldest.since >= horizon:
                return
            self._orders.pop(name).end()

    def _note_mark(self, symbol: str, mark: Sight) -> None:
        marks = self._marks[symbol]
        _remember(marks, mark)
        # Before the first one nobody could tell whether a booking was of what we held.
        self._share_again(symbol, mark.at if len(marks) > 1 else float("-inf"))

    def _note_funding(self, at: float, event: FundingPaid) -> None:
        paid = event.paid_at, event.asset
        group = self._groups[event.symbol].setdefault(paid, _Group(at))
        group.amount += event.amount
        self._share(event.symbol, paid)

    def _share_again(self, symbol: str, since: float) -> None:
        """What was booked for a time that another fact is of as well: the exchange's clock may be ahead of ours."""
        for paid in self._groups[symbol]:
            if paid[0] >= since:
                self._share(symbol, paid)

    def _share(self, symbol: str, paid: tuple[float, str]) -> None:
        (at, asset), group = paid, self._groups[symbol][paid]
        for account, amount in group.parts:
            account.funding[asset] -= amount
            account.figures = None
        shares = share_booking(Booking(at, group.amount), self._find_holders(symbol, at), self._marks[symbol])
        group.parts = [(account, amount) for account, amount in shares if account is not None]
        for account, amount in group.parts:
            account.funding[asset] += amount
            account.figures = None

    def _find_holders(self, symbol: str, at: float) -> list[tuple[_Account | None, Decimal]]:
        """As a report finds them: in the order in which they came, and what is foreign last."""
        known = [account for account in self._accounts[symbol].values() if account.opened_at <= at]
        known.sort(key=lambda account: (account.opened_at, account.number))
        held: list[tuple[_Account | None, Decimal]] = [(each, each.get_signed_quantity(at)) for each in known]
        foreign = (get_held(steps, at) for steps in self._foreign[symbol].values())
        return [*held, (None, sum(foreign, ZERO))]

    def _forget(self, horizon: float) -> None:
        for symbol, account in self._find_forgotten(horizon):
            self._accounts[symbol].pop(account.number, None)
            if self._newest.get(account.key) is account:
                del self._newest[account.key]
        for groups in self._groups.values():
            for paid in [paid for paid, group in groups.items() if group.noted_at < horizon]:
                del groups[paid]

    def _find_forgotten(self, horizon: float) -> Iterator[tuple[str, _Account]]:
        while self._closed and self._closed[0][0] < horizon:
            _, symbol, account = self._closed.popleft()
            yield symbol, account


def _remember(sights: list[Sight], newest: Sight) -> None:
    """Add it, and let go of what was before the time that is remembered but for the last."""
    sights.append(newest)
    while len(sights) > 1 and sights[1].at <= newest.at - MEMORY_S:
        del sights[0]
