"""What happened lately, in memory: the newest happenings, hedges opened and closed, and a few hours of prices and capital.

Everything is bounded, and noting costs next to nothing: words are made when somebody reads them, by ``core.history``. It
decides nothing, and a restart begins it anew, with the facts that the journal tells. Told by the ledger of each journaled
fact, and by ``overview`` of states and figures; the journal stays the only record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dehedge.core.events import Change, Event, HedgeChange
from dehedge.core.history import Chronicler, Happening

HAPPENINGS_MAX = 500
MARKS_MAX = 500
SAMPLE_INTERVAL_S = 10.0
SAMPLES_MAX = 2_160
"""Six hours."""


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


Numbered = tuple[int, Happening]


class Chronicle:
    """The rings."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self.marks: deque[Mark] = deque(maxlen=MARKS_MAX)
        self.count = 0
        """How many facts were noted since the start; the newest one's number."""
        self._untold: deque[tuple[int, float, Event | Happening]] = deque(maxlen=HAPPENINGS_MAX)
        self._told: deque[Numbered] = deque(maxlen=HAPPENINGS_MAX)
        self._chronicler = Chronicler()

    def note(self, at: float, event: Event, changes: Sequence[HedgeChange]) -> None:
        """A fact was journaled and folded, now or before the start."""
        self._append(at, event)
        self.marks.extend(Mark(at, change) for change in changes if change.kind in {Change.OPENED, Change.CLOSED})

    def note_state(self, happening: Happening) -> None:
        """Something that no journal holds: an input that failed, a law that was broken."""
        self._append(happening.at, happening)

    def add_sample(self, sample: Sample) -> None:
        self.samples.append(sample)

    def get_happenings(self, after: int = 0) -> list[Numbered]:
        """The newest with the numbers of their facts, oldest first; only those with a number above ``after``."""
        while self._untold:
            number, at, fact = self._untold.popleft()
            told = [fact] if isinstance(fact, Happening) else self._chronicler.tell(at, fact)
            self._told.extend((number, happening) for happening in told)
        return [numbered for numbered in self._told if numbered[0] > after]

    def _append(self, at: float, fact: Event | Happening) -> None:
        self.count += 1
        self._untold.append((self.count, at, fact))
