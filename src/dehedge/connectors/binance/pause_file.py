"""Until when the exchange wants to hear nothing of us, kept in a file so that a restart does not forget it.

A daemon that ends during a ban is started again at once, and every request in a ban makes it longer. One small file beside
the journal, replaced as a whole; losing it costs one refused request, so no trouble with it is ever an error. Called by the
gateway.
"""

from __future__ import annotations

import math
from pathlib import Path

import structlog

from dehedge.ports import Clock

log = structlog.get_logger()

LONGEST_S = 3 * 86_400.0
"""No ban is longer; what says so was written by a clock that was wrong."""


class PauseFile:
    """When the last pause began, by the wall clock, and its seconds. An empty path keeps nothing."""

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    def read_rest_s(self) -> float:
        """How long the pause still lasts; 0 or less when it is over or none is known.

        Never longer than it was told to be, whatever the wall clock was set to meanwhile.
        """
        if not self._path:
            return 0.0
        try:
            began_at, seconds = (float(word) for word in Path(self._path).read_text(encoding="ascii").split())
        except FileNotFoundError:
            return 0.0
        except (OSError, ValueError) as error:
            log.warning("pause_unreadable", path=self._path, error=type(error).__name__)
            return 0.0
        rest_s = min(began_at + seconds - self._clock.time(), seconds, LONGEST_S)
        return rest_s if math.isfinite(rest_s) else 0.0

    def keep(self, seconds: float) -> None:
        """Remember a pause from now on."""
        if not self._path:
            return
        fresh = Path(f"{self._path}.new")
        try:
            fresh.write_text(f"{self._clock.time()!r} {seconds!r}\n", encoding="ascii")
            fresh.replace(self._path)
        except OSError as error:
            log.warning("pause_not_kept", path=self._path, error=error.strerror)
