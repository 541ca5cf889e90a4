"""The seams between the daemon and the people who look at it, as Protocols.

What a person is shown, asks, commands and is told; every answer is plain JSON data, money and quantities as strings. The
engine's views implement them, the web server and the notifications know these and nothing behind them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from dehedge.core.book import TradingMode


class TradedOn(NamedTuple):
    """Where orders go: ``name`` is paper, demo, mainnet, or custom for an address that is none of the exchange's.

    ``endpoint`` names the hosts that were configured, and is empty where they are the exchange's own.
    """

    name: str
    endpoint: str = ""


MAINNET = TradedOn("mainnet")


class Operator(Protocol):
    """What the HTTP surface shows and does; every answer is plain JSON data, money and quantities as strings."""

    insight: Insight

    def check_alive(self) -> bool:
        """True while the loop makes progress."""

    def find_obstacles(self) -> Sequence[str]:
        """Why the daemon cannot hedge now; empty when it can."""

    def measure(self) -> None:
        """Bring the gauges up to date: they are counted when they are read, not with every price."""

    def get_status(self) -> Mapping[str, object]: ...

    def get_hedges(self, offset: int, limit: int) -> Mapping[str, object]:
        """So many of the hedges from there on, the newest first, and how many there are."""

    def get_positions(self, offset: int, limit: int) -> Sequence[Mapping[str, object]]:
        """So many of the positions from there on, in the chain's order."""

    async def fetch_flattening(self) -> Mapping[str, object]:
        """Whether the account is flat, from a reading of now, or what is left and why."""

    async def pause(self, level: TradingMode | None = None, *, reason: str = "") -> None:
        """Turn the kill switch to a level, by default no more opens. Survives restarts; ``reason`` is shown."""

    async def resume(self, *, reason: str = "") -> None: ...

    async def flatten(self, *, reason: str = "") -> None:
        """No more opens, and every hedge is closed."""


class Insight(Protocol):
    """Why, how near and what if: changes nothing. Answers are plain JSON data, as those of ``Operator``.

    Raises ``QuestionInvalid`` for what means nothing, and another ``DehedgeError`` while it cannot be answered.
    """

    def explain(self, market: str, position_id: str) -> Mapping[str, object]:
        """Every figure of one position's decision; the beginning of its id is enough where no other begins so."""

    async def find_trips(self, limit: int) -> Mapping[str, object]:
        """The positions whose trigger prices are nearest."""

    async def foresee(self, moves: Sequence[str]) -> Mapping[str, object]:
        """What would be done if prices moved, given as ``BTC-USD:-10`` in percent."""


class Onlooker(Protocol):
    """What the dashboard shows beyond ``Operator``; plain JSON data, money and quantities as strings."""

    def get_now(self) -> Mapping[str, object]:
        """Prices, vault and shield of this moment."""

    def get_series(self, market: str | None = None) -> Mapping[str, object]:
        """The same of the last hours, of one market or of all, with the hedges opened and closed meanwhile."""

    def count_events(self) -> int:
        """The number of the newest event; grows with each one."""

    def get_events(self, after: int) -> Sequence[Mapping[str, object]]:
        """The newest events, oldest first, with a number above ``after``."""

    def get_inputs(self) -> Sequence[Mapping[str, object]]:
        """When each input was last true."""

    async def measure_exposure(self) -> Sequence[Mapping[str, object]]:
        """By market: the traders' net, what is hedged of it and what is not."""


class HistorySource(Protocol):
    """What the HTTP surface shows of the past."""

    async def fetch_history(self, since: float, limit: int) -> Sequence[Mapping[str, object]]:
        """The newest happenings since then, newest last, as plain JSON data. Raises ``JournalError``."""


class Urgency(StrEnum):
    """How soon somebody should look, in ascending order."""

    INFO = "info"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Notice:
    """One line for people, and when it became true in seconds."""

    at: float
    text: str
    urgency: Urgency = Urgency.INFO


class Notifier(Protocol):
    """Tells people, some time soon and perhaps never; the call neither waits nor raises."""

    def tell(self, notice: Notice) -> None: ...
