"""How deep a recorded order book was: what orders of given sizes would have paid beyond the mid, and the model's two numbers for it.

The book is rebuilt from snapshots and changes, as the exchange says to; where changes are missing it is forgotten until the next
snapshot. The model is that of ``exchange``: an order of N USD pays ``half_spread_bps + N / depth_usd / 2`` bps, fitted by least squares
through the means of the sizes. Exact; called by ``depth_session``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from dehedge.replay.depth_feed import Change, Levels, Touch

SIZES_USD = (10_000, 100_000, 1_000_000, 5_000_000)
SIDES = ("buy", "sell")
HELD_MAX = 1_000
"""Changes that are kept in case that a snapshot comes which is older than they are."""
BPS = Decimal(10_000)
ZERO = Decimal(0)


class Slip(NamedTuple):
    """What a size paid on one side, in bps beyond the mid; ``short`` looks found the recorded book too small for it."""

    size_usd: int
    mean: Decimal | None
    median: Decimal | None
    worst: Decimal | None
    short: int


class Fit(NamedTuple):
    """The model's numbers; ``depth_usd`` is 0 for a book without end. ``residuals`` are model less mean, in bps by size."""

    half_spread_bps: Decimal
    depth_usd: Decimal
    residuals: Sequence[tuple[int, Decimal]]


@dataclass(frozen=True, slots=True)
class Depth:
    """A symbol's book over the time from ``first_ms`` to ``last_ms``.

    ``touch_bps`` is the mean half spread of what bookTicker said, None where it said nothing. ``is_whole`` is False where no
    snapshot was recorded: then levels are missing that did not change. ``gaps`` counts where changes are missing.
    """

    symbol: str
    first_ms: int
    last_ms: int
    looks: int
    gaps: int
    is_whole: bool
    touch_bps: Decimal | None
    slips: Mapping[str, Sequence[Slip]]
    fits: Mapping[str, Fit]


BOTH = "both"


@dataclass
class Book:
    """One symbol's book as the changes make it."""

    bids: dict[Decimal, Decimal] = field(default_factory=dict)
    asks: dict[Decimal, Decimal] = field(default_factory=dict)
    last_id: int = -1
    is_whole: bool = False
    gaps: int = 0
    held: list[Change] = field(default_factory=list)

    def apply(self, change: Change) -> None:
        """Raises nothing: what does not fit is a gap."""
        if change.is_whole:
            self._replace(change)
            return
        self.held = [*self.held[-HELD_MAX + 1 :], change]
        self._follow(change)

    def _replace(self, change: Change) -> None:
        self.bids, self.asks = dict(_list_held(change.bids)), dict(_list_held(change.asks))
        self.last_id, self.is_whole = change.last_id, True
        # The snapshot was asked for while changes came in; those that are newer are part of the book.
        for each in self.held:
            self._follow(each)
        self.held = []

    def _follow(self, change: Change) -> None:
        if self.is_whole and change.last_id <= self.last_id:
            return
        is_next = change.before_id == self.last_id or change.first_id <= self.last_id + 1 <= change.last_id
        if self.last_id >= 0 and not is_next:
            self.gaps += 1
            self.bids, self.asks, self.is_whole = {}, {}, False
        _update(self.bids, change.bids)
        _update(self.asks, change.asks)
        self.last_id = change.last_id

    def get_mid(self) -> Decimal | None:
        """None for a book that has but one side, or whose sides cross: then it lacks a change."""
        if not self.bids or not self.asks:
            return None
        bid, ask = max(self.bids), min(self.asks)
        return (bid + ask) / 2 if bid < ask else None

    def list_levels(self, side: str) -> Levels:
        """What an order of that side takes, the best first."""
        return sorted(self.asks.items()) if side == "buy" else sorted(self.bids.items(), reverse=True)


def _list_held(levels: Levels) -> Iterator[tuple[Decimal, Decimal]]:
    return ((price, quantity) for price, quantity in levels if quantity)


def _update(held: dict[Decimal, Decimal], levels: Levels) -> None:
    for price, quantity in levels:
        if quantity:
            held[price] = quantity
        else:
            held.pop(price, None)


def walk(levels: Levels, mid: Decimal, size_usd: int) -> Decimal | None:
    """What taking this much pays beyond the mid, in bps; None where the levels do not hold it."""
    wanted = left = size_usd / mid
    paid = ZERO
    for price, quantity in levels:
        taken = min(quantity, left)
        paid += taken * price
        left -= taken
        if not left:
            return abs(paid / wanted / mid - 1) * BPS
    return None


@dataclass
class _Looks:
    """What was seen of one symbol. ``slips`` is by whether the book was whole, by side and by size."""

    every_ms: int
    first_ms: int
    last_ms: int = 0
    book: Book = field(default_factory=Book)
    touches: int = 0
    touches_bps: Decimal = ZERO
    slips: dict[tuple[bool, str, int], list[Decimal | None]] = field(default_factory=dict)
    looked_ms: int = -(2**63)

    def note(self, event: Change | Touch, sizes_usd: Sequence[int]) -> None:
        self.first_ms, self.last_ms = min(self.first_ms, event.at_ms), max(self.last_ms, event.at_ms)
        if isinstance(event, Touch):
            self.touches += 1
            self.touches_bps += (event.ask - event.bid) / (event.ask + event.bid) * BPS
            return
        self.book.apply(event)
        if event.at_ms - self.looked_ms >= self.every_ms:
            self._look(event.at_ms, sizes_usd)

    def _look(self, at_ms: int, sizes_usd: Sequence[int]) -> None:
        mid = self.book.get_mid()
        if mid is None:
            return
        self.looked_ms = at_ms
        for side in SIDES:
            levels = self.book.list_levels(side)
            for size_usd in sizes_usd:
                place = (self.book.is_whole, side, size_usd)
                self.slips.setdefault(place, []).append(walk(levels, mid, size_usd))


def measure(events: Iterable[Change | Touch], every_ms: int = 100, sizes_usd: Sequence[int] = SIZES_USD) -> list[Depth]:
    """Of every symbol that there is a book of, in the order of their names; ``every_ms`` is between two looks at one."""
    seen: dict[str, _Looks] = {}
    for event in events:
        seen.setdefault(event.symbol, _Looks(every_ms, event.at_ms)).note(event, sizes_usd)
    return [_sum_up(symbol, looks, sizes_usd) for symbol, looks in sorted(seen.items()) if looks.slips]


def _sum_up(symbol: str, looks: _Looks, sizes_usd: Sequence[int]) -> Depth:
    is_whole = any(whole for whole, _, _ in looks.slips)
    found = {side: [looks.slips[is_whole, side, size_usd] for size_usd in sizes_usd] for side in SIDES}
    slips = {
        side: [_describe(size_usd, each) for size_usd, each in zip(sizes_usd, columns, strict=True)]
        for side, columns in found.items()
    }
    both = [
        _describe(size_usd, [*found["buy"][place], *found["sell"][place]]) for place, size_usd in enumerate(sizes_usd)
    ]
    fits = {side: fit(each) for side, each in {**slips, BOTH: both}.items()}
    return Depth(
        symbol=symbol, first_ms=looks.first_ms, last_ms=looks.last_ms, looks=len(found["buy"][0]),
        gaps=looks.book.gaps, is_whole=is_whole, touch_bps=looks.touches_bps / looks.touches if looks.touches else None,
        slips=slips, fits=fits,
    )  # fmt: skip


def _describe(size_usd: int, slips: Sequence[Decimal | None]) -> Slip:
    known = sorted(slip for slip in slips if slip is not None)
    if not known:
        return Slip(size_usd, None, None, None, len(slips))
    mean = sum(known, ZERO) / len(known)
    return Slip(size_usd, mean, known[len(known) // 2], known[-1], len(slips) - len(known))


def fit(slips: Sequence[Slip]) -> Fit:
    """Least squares through the means of the sizes that the book held; neither number below nothing."""
    points = [(Decimal(slip.size_usd), slip.mean) for slip in slips if slip.mean is not None]
    count = len(points)
    if not count:
        return Fit(ZERO, ZERO, [])
    center, height = sum((size for size, _ in points), ZERO) / count, sum((slip for _, slip in points), ZERO) / count
    spread = sum(((size - center) ** 2 for size, _ in points), ZERO)
    slope = sum(((size - center) * (slip - height) for size, slip in points), ZERO) / spread if spread else ZERO
    slope = max(slope, ZERO)
    half_spread = height - slope * center
    if half_spread < 0:
        # The line through nothing is the nearest that asks for no negative spread.
        half_spread = ZERO
        slope = sum((size * slip for size, slip in points), ZERO) / sum((size * size for size, _ in points), ZERO)
    residuals = [(int(size), half_spread + slope * size - slip) for size, slip in points]
    return Fit(half_spread, 1 / (2 * slope) if slope else ZERO, residuals)
