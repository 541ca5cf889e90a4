"""How far back a command looks: ``7d``, ``90m``, a day, a moment, or ``all``. Times are UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from dehedge.errors import QuestionInvalid

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")


def parse_since(text: str, now: float) -> float:
    """Seconds since the epoch. Raises ``QuestionInvalid`` for what is no span and no time."""
    span = _SPAN.fullmatch(text)
    if span:
        return max(now - int(span[1]) * SECONDS[span[2]], 0.0)
    if text == "all":
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise QuestionInvalid("--since: give 7d, 24h, 90m, 2026-11-22, 2026-11-22T14:00 or all") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def format_moment(at: float) -> str:
    """To the second, without the zone, which is UTC throughout."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
