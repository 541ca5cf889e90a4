"""The options of ``dehedge replay`` and ``dehedge tune`` as they are typed, and what numbers and moments in them may look like.

Reads nothing. What means nothing is a ``QuestionInvalid`` in one line. Called by ``windows``, ``request`` and ``ranges``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from dehedge.errors import QuestionInvalid
from dehedge.replay.sheets import parse_time

AMOUNT = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,6})?")
BOOKS_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """As they are typed."""

    prices: Sequence[str] = ()
    windows: Sequence[str] = ()
    funding: Sequence[str] = ()
    book: Path | None = None
    generate: str = ""
    books: int = 1
    at_start: bool = False
    vault: str = ""
    shield: str = ""
    policies: Sequence[str] = ()
    since: str = ""
    until: str = ""
    fees_bps: str = "5"
    spread_bps: str = "0.5"
    depth_usd: str = "500000"
    latency_s: float = 0.5
    exchange_latency_s: float = 0.25
    outages: Sequence[str] = ()
    margin_usd: str = "1000000"
    leverage: int | None = None
    margin_type: str | None = None
    maintenance_percent: str = "0.5"
    roughness_percent: str = "0"

    @property
    def are_many(self) -> bool:
        """True where the answer is about many books, or windows, and not about one run."""
        return self.books > 1 or bool(self.windows)


def parse_number(option: str, text: str, most: int) -> Decimal:
    """From 0 to ``most``."""
    number = Decimal(text) if AMOUNT.fullmatch(text) else Decimal(-1)
    if not 0 <= number <= most:
        raise QuestionInvalid(f"{option}: {text[:40]!r} is not a number from 0 to {most}")
    return number


def parse_moment(option: str, text: str) -> int:
    """Seconds since the epoch."""
    try:
        return parse_time(text)
    except ValueError as error:
        raise QuestionInvalid(f"{option}: {error}") from None
