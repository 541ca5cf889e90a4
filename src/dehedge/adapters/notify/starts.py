"""Remembers over restarts how often the daemon was started, so that one that crashes at once does not write each time.

A small file beside the journal with the times of the last hour. Safe to lose: then the next start is the first one. Never raises,
because no message is worth a start. Called by ``outward``.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

HOUR_S = 3600.0
KEPT_MAX = 5_000
OFTEN = 3
"""So many starts within an hour are told each; after that the fourth, the eighth, the sixteenth and so on."""


def note_start(path: Path, now: float) -> int:
    """Which start within the last hour this one is, from 1 on."""
    recent = [at for at in _read(path) if now - HOUR_S < at <= now][-KEPT_MAX:]
    recent.append(now)
    with suppress(OSError):  # The journal will tell of a disk that takes nothing.
        path.write_text("".join(f"{at:.0f}\n" for at in recent), encoding="ascii")
    return len(recent)


def check_worth_telling(start: int) -> bool:
    return start <= OFTEN or start & (start - 1) == 0


def _read(path: Path) -> list[float]:
    try:
        return [float(line) for line in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return []
