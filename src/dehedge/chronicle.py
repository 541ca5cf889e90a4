"""What happened lately, in memory: the newest facts, hedges opened and closed, and a few hours of prices and capital.

Everything is bounded, and noting costs next to nothing: words are made when somebody reads them. It decides nothing, and a
restart begins it anew, with the facts that the journal tells. Told by the ledger of each journaled fact, and by
``overview`` of states and figures; the journal stays the only record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from dehedge.core.events import (
    Change,
    Event,
    ForeignPositionSeen,
    HedgeChange,
    HedgesCooled,
    HedgesReheated,
    OrderAbandoned,
    OrderIntended,
    OrderPriced,
    OrderReported,
    TradingModeSet,
)

FACTS_MAX = 500
MARKS_MAX = 500
SAMPLE_INTERVAL_S = 10.0
SAMPLES_MAX = 2_160
"""Six hours."""


class Entry(NamedTuple):
    """One line of the event log; ``level`` as the log has it, ``text`` in words."""

    kind: str
    text: str
    level: str = "info"
    market: str = ""
    position_id: str = ""
    symbol: str = ""


class Sample(NamedTuple):
    """Prices by market, vault and shield at a time, as they are shown; None while they are not known."""

    at: float
    vault: str | None
    shield: str | None
    prices: Mapping[str, str]


class Mark(NamedTuple):
    """A hedge that was opened or closed."""

    at: float
    change: HedgeChange


@dataclass(frozen=True, slots=True)
class _Fact:
    at: float
    event: Event
    changes: Sequence[HedgeChange]


class Chronicle:
    """The rings."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self.marks: deque[Mark] = deque(maxlen=MARKS_MAX)
        self.count = 0
        """How many facts were noted since the start; the newest one's number."""
        self._facts: deque[tuple[int, _Fact | tuple[float, Entry]]] = deque(maxlen=FACTS_MAX)

    def note(self, at: float, event: Event, changes: Sequence[HedgeChange]) -> None:
        """A fact was journaled and folded, now or before the start."""
        self._append(_Fact(at, event, changes))
        self.marks.extend(Mark(at, change) for change in changes if change.kind in {Change.OPENED, Change.CLOSED})

    def note_entry(self, at: float, entry: Entry) -> None:
        """Something that no journal holds: an input that failed, a law that was broken."""
        self._append((at, entry))

    def add_sample(self, sample: Sample) -> None:
        self.samples.append(sample)

    def get_entries(self, after: int = 0) -> list[tuple[int, float, Entry]]:
        """The newest entries with their numbers and times, oldest first; only those with a number above ``after``."""
        fresh = min(max(self.count - after, 0), len(self._facts))
        newest = islice(self._facts, len(self._facts) - fresh, None)
        return [line for number, fact in newest for line in _tell(number, fact)]

    def _append(self, fact: _Fact | tuple[float, Entry]) -> None:
        self.count += 1
        self._facts.append((self.count, fact))


def _tell(number: int, fact: _Fact | tuple[float, Entry]) -> Iterable[tuple[int, float, Entry]]:
    if not isinstance(fact, _Fact):
        at, entry = fact
        return [(number, at, entry)]
    return [(number, fact.at, entry) for entry in (*_describe_event(fact.event), *map(_describe_change, fact.changes))]


def _describe_change(change: HedgeChange) -> Entry:
    price = f" at {change.price:f}" if change.price is not None else ""
    is_bad = change.kind in {Change.FAILED, Change.FORCED, Change.WRITTEN_DOWN}
    text = f"{change.side.value} hedge, {change.quantity:f}{price}, holds {change.held:f}: {change.reason}"
    key = change.key
    return Entry(change.kind.value, text, "warning" if is_bad else "info", key.market, key.position_id, change.symbol)


def _describe_event(event: Event) -> list[Entry]:
    """What no hedge's change tells already."""
    match event:
        case OrderIntended(request=request):
            text = (
                f"{request.side.value} {request.quantity:f} to {event.action.value.lower()}, {request.client_order_id}"
            )
            return [Entry("order_intended", text, symbol=request.symbol)]
        case OrderReported(report=report):
            text = f"{report.client_order_id}: {report.status.value}, filled {report.filled_quantity:f} {report.reason}"
            return [Entry("order_reported", text.rstrip())]
        case OrderPriced():
            return [Entry("order_priced", f"{event.client_order_id}: {event.average_price:f} on average")]
        case OrderAbandoned():
            return [Entry("order_abandoned", f"{event.client_order_id}: {event.reason}", "warning")]
        case TradingModeSet() | ForeignPositionSeen() | HedgesCooled() | HedgesReheated():
            return [_describe_state(event)]
        case _:
            return []


def _describe_state(event: TradingModeSet | ForeignPositionSeen | HedgesCooled | HedgesReheated) -> Entry:
    match event:
        case TradingModeSet():
            flattening = ", flattening" if event.is_flattening else ""
            return Entry("trading_mode_set", f"{event.mode.value}{flattening}: {event.reason}", "warning")
        case ForeignPositionSeen():
            text = f"{event.quantity:f} on {event.leg.value} beside our hedges"
            return Entry("foreign_position_seen", text, symbol=event.symbol)
        case HedgesCooled(placed_at=cooled):
            return Entry("risk_gone", f"hedges whose risk has gone: {len(cooled)}")
        case HedgesReheated(keys=keys):
            return Entry("risk_back", f"hedges whose risk came back: {len(keys)}")
