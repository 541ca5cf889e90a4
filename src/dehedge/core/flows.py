"""Money as dated amounts: what each fill and each booking of funding of a hedge brought or cost.

Rules of this file. Everything is a ``Sums``, and sums are added: over hedges, over markets, over a partition of time, always
exactly. Dollars are the assets with USD in their names; fees in anything else are kept apart and counted in no dollars. Pure.

Definitions. Profit: by average prices; an increase moves the average, a decrease realizes its difference to it.
Slippage: what a fill cost more than at the mark that its order was decided at. Funding: the bookings of a symbol, shared out
by the signed quantities that were held then, our hedges' and foreign ones. The trader's gain: from each fill of a hedge to its
next, the size of its position over the entry price, times how far the market's price in the decisions moved in the
trader's favor. The vault would have lost that without the hedge; funding between trader and vault is not in it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, TypeVar

from dehedge.core.costs import split_amount
from dehedge.core.lives import ZERO, Fill, Life, Records, Sight, get_held
from dehedge.core.model import PRICE_SCALE

BPS = 10_000
PLACES = Decimal("1e-10")
"""Amounts are multiples of this, so that adding them never rounds."""
FUNDING_RATE_MAX = Decimal("0.05")
"""No exchange charges more at once: a larger booking is of quantities that we know nothing of."""

Amounts = Mapping[str, Decimal]
"""By asset."""

Holder = TypeVar("Holder")


@dataclass(frozen=True, slots=True)
class Sums:
    """What happened in a span of time. Fees above 0 were paid, funding below 0 was; ``estimates`` are fills without a price.

    ``decided_usd`` is the notional of the fills at the marks that slippage is relative to.
    """

    opened: int = 0
    closed: int = 0
    traded_usd: Decimal = ZERO
    decided_usd: Decimal = ZERO
    slippage_usd: Decimal = ZERO
    realized_usd: Decimal = ZERO
    trader_gain_usd: Decimal = ZERO
    fees: Amounts = field(default_factory=dict)
    funding: Amounts = field(default_factory=dict)
    estimates: int = 0

    @property
    def fees_usd(self) -> Decimal:
        return sum_dollars(self.fees)

    @property
    def funding_usd(self) -> Decimal:
        return sum_dollars(self.funding)

    @property
    def net_usd(self) -> Decimal:
        """What the hedges brought, with the costs that are in dollars."""
        return self.realized_usd + self.funding_usd - self.fees_usd

    @property
    def slippage_bps(self) -> Decimal | None:
        return self.slippage_usd * BPS / self.decided_usd if self.decided_usd else None


class Flow(NamedTuple):
    """What one moment brought."""

    at: float
    sums: Sums


def check_dollar(asset: str) -> bool:
    return "USD" in asset


def sum_dollars(amounts: Amounts) -> Decimal:
    return sum((amount for asset, amount in amounts.items() if check_dollar(asset)), ZERO)


def round_off(amount: Decimal) -> Decimal:
    return amount.quantize(PLACES)


def get_value(fill: Fill) -> Decimal:
    """In dollars; 0 where nobody knows a price."""
    return round_off(fill.quantity * fill.price) if fill.price is not None else ZERO


def add_up(parts: Iterable[Sums]) -> Sums:
    """The sum of all; exact, and the same in any order."""
    found = list(parts)
    return Sums(
        opened=sum(part.opened for part in found),
        closed=sum(part.closed for part in found),
        traded_usd=sum((part.traded_usd for part in found), ZERO),
        decided_usd=sum((part.decided_usd for part in found), ZERO),
        slippage_usd=sum((part.slippage_usd for part in found), ZERO),
        realized_usd=sum((part.realized_usd for part in found), ZERO),
        trader_gain_usd=sum((part.trader_gain_usd for part in found), ZERO),
        fees=add_amounts(part.fees for part in found),
        funding=add_amounts(part.funding for part in found),
        estimates=sum(part.estimates for part in found),
    )


def add_amounts(parts: Iterable[Amounts]) -> Amounts:
    """By asset; an asset of which nothing is left stays, with 0."""
    total: defaultdict[str, Decimal] = defaultdict(Decimal)
    for part in parts:
        for asset, amount in part.items():
            total[asset] += amount
    return dict(total)


def add_fees(fill: Fill) -> Amounts:
    """What the fill cost, by asset."""
    return add_amounts({fee.asset: fee.amount} for fee in fill.fees)


@dataclass(slots=True)
class Lot:
    """What a hedge holds between two of its fills, and what that cost."""

    sign: int
    held: Decimal = ZERO
    cost_usd: Decimal = ZERO

    def apply(self, fill: Fill) -> Decimal:
        """Gives the realized profit."""
        realized = self._grow(fill) if fill.increases else self._shrink(fill)
        self.held = fill.held
        return realized

    def get_unrealized(self, price: Decimal) -> Decimal:
        """What the hedge would bring, were it closed at this price."""
        return (round_off(self.held * price) - self.cost_usd) * self.sign

    def _grow(self, fill: Fill) -> Decimal:
        self.cost_usd += get_value(fill)
        return ZERO

    def _shrink(self, fill: Fill) -> Decimal:
        """The last of it takes all the cost that is left, so that nothing is lost in dividing."""
        cost = round_off(self.cost_usd * fill.quantity / self.held) if fill.held else self.cost_usd
        self.cost_usd -= cost
        return (get_value(fill) - cost) * self.sign if fill.price is not None else ZERO


@dataclass(slots=True)
class Walk:
    """A hedge's state between two of its fills: what is held, and what its position was then."""

    lot: Lot
    asset_unit: int
    coins: Decimal = ZERO
    """Size over entry price: the trader's own quantity, with the sign of its side."""
    seen: Decimal | None = None
    """The market's price in the last decision."""

    def step(self, fill: Fill) -> tuple[Decimal, Decimal]:
        """Apply a fill; gives the realized profit and the trader's gain since the fill before."""
        gain = self.get_gain(fill.decided_at)
        realized = self.lot.apply(fill)
        self.seen = fill.decided_at or self.seen
        if fill.share is not None and fill.share.entry_price > 0:
            size = Decimal(fill.share.size) / self.asset_unit
            self.coins = size * PRICE_SCALE / fill.share.entry_price * self.lot.sign
        return realized, gain

    def get_gain(self, price: Decimal | None) -> Decimal:
        """What the trader has won since the last decision, were the price this."""
        if price is None or self.seen is None:
            return ZERO
        return round_off(self.coins * (price - self.seen))


def walk_through(life: Life, asset_unit: int) -> Walk:
    """The state after the last fill."""
    walk = Walk(Lot(life.side.sign), asset_unit)
    for fill in life.fills:
        walk.step(fill)
    return walk


def build_fill_flows(life: Life, asset_unit: int) -> Iterator[Flow]:
    """What each fill of a hedge brought and cost."""
    walk = Walk(Lot(life.side.sign), asset_unit)
    for number, fill in enumerate(life.fills):
        realized, gain = walk.step(fill)
        decided, slippage = _get_slippage(life, fill)
        yield Flow(
            fill.at,
            Sums(
                opened=not number,
                closed=bool(fill.quantity) and not fill.held,
                traded_usd=get_value(fill),
                decided_usd=decided,
                slippage_usd=slippage,
                realized_usd=realized,
                trader_gain_usd=gain,
                fees=add_fees(fill),
                estimates=fill.is_estimate,
            ),
        )


def _get_slippage(life: Life, fill: Fill) -> tuple[Decimal, Decimal]:
    """The notional at the mark of the decision, and what the fill cost beyond it."""
    if fill.mark is None or fill.price is None or fill.is_estimate:
        return ZERO, ZERO
    sign = life.side.sign if fill.increases else -life.side.sign
    decided = round_off(fill.quantity * fill.mark)
    return decided, (get_value(fill) - decided) * sign


def share_funding(records: Records) -> tuple[Mapping[int, Sequence[Flow]], Sequence[Flow]]:
    """The funding of each hedge, by its place among the lives, and what is not our hedges'; together it is all."""
    ours: defaultdict[int, list[Flow]] = defaultdict(list)
    foreign: list[Flow] = []
    for symbol, bookings in sorted(_group_bookings(records).items()):
        holders = _Holders(records, symbol)
        for (at, asset), amount in sorted(bookings.items()):
            for place, part in share_booking(Booking(at, amount), holders.find(at), records.marks.get(symbol, ())):
                (foreign if place is None else ours[place]).append(Flow(at, Sums(funding={asset: part})))
    return ours, foreign


class Booking(NamedTuple):
    """What was booked in one asset at one time."""

    at: float
    amount: Decimal


def _group_bookings(records: Records) -> Mapping[str, Mapping[tuple[float, str], Decimal]]:
    """By symbol, then by time and asset: in hedge mode there is one for each leg."""
    found: defaultdict[str, defaultdict[tuple[float, str], Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for fact in records.fundings:
        found[fact.symbol][fact.paid_at, fact.asset] += fact.amount
    return found


class _Holders:
    """Who held how much of a symbol, asked for one time after the other."""

    def __init__(self, records: Records, symbol: str) -> None:
        waiting = [(life.opened_at, place, life) for place, life in enumerate(records.lives) if life.symbol == symbol]
        self._waiting = deque(sorted(waiting, key=lambda entry: entry[:2]))
        self._living: list[tuple[int, Life]] = []
        self._foreign = [quantities for (name, _), quantities in records.foreign.items() if name == symbol]

    def find(self, at: float) -> list[tuple[int | None, Decimal]]:
        """Signed quantities by place among the lives; the foreign one, under None, comes last."""
        while self._waiting and self._waiting[0][0] <= at:
            self._living.append(self._waiting.popleft()[1:])
        self._living = [(place, life) for place, life in self._living if life.closed_at is None or life.closed_at > at]
        held = [(place, life.get_signed_quantity(at)) for place, life in self._living]
        return [*held, (None, sum((get_held(quantities, at) for quantities in self._foreign), ZERO))]


def share_booking(
    booking: Booking, holders: Sequence[tuple[Holder | None, Decimal]], marks: Sequence[Sight]
) -> Iterator[tuple[Holder | None, Decimal]]:
    """To each holder by its signed quantity; all of it to nobody (None) where that cannot be what it was booked for."""
    net = sum((quantity for _, quantity in holders), ZERO)
    place = max(bisect_right(marks, booking.at, key=lambda sight: sight.at), 1)
    notional = abs(net) * marks[place - 1].price if marks else ZERO
    if not net or abs(booking.amount) > notional * FUNDING_RATE_MAX:
        yield None, booking.amount
        return
    parts = split_amount(booking.amount, [quantity for _, quantity in holders])
    yield from ((holder, part) for (holder, _), part in zip(holders, parts, strict=True) if part)
