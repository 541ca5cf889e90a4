"""How often Hermes is asked for anything: the constants, the gate that every request passes, and the back-off.

The gate is the one place that bounds the rate: the stream and the poll pass it one at a time, so that no combination of
failures turns into a hot loop, and a wait that Hermes asks for holds both. Waits on the loop's clock, never the wall's.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

JITTER = 1.5
TICK_S = 0.001
"""The shortest wait: what rounding leaves over is not waited for in a loop."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Every wait of the price source that is not configuration, in seconds."""

    spacing_s: float = 1.0
    """Between two requests; less only while polls succeed and the operator wants them more often."""

    failing_spacing_s: float = 1.1
    refused_retry_s: float = 10.0
    """After 401 and 403."""

    throttled_s: float = 60.0
    """After 429 without a Retry-After."""

    throttled_max_s: float = 86_400.0
    backoff_first_s: float = 0.5
    backoff_max_s: float = 30.0
    backoff_reset_s: float = 60.0
    """A stream that gave prices for so long has earned a fresh start."""

    silence_polls: int = 3
    silence_min_s: float = 3.0
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 20.0
    request_timeout_s: float = 5.0

    def get_silence_s(self, poll_interval_s: float) -> float:
        """How long a stream may give no price."""
        return max(self.silence_polls * poll_interval_s, self.silence_min_s)


class Gate:
    """Lets requests through one at a time, spaced, and none while held."""

    def __init__(self, pace: Pace, *, poll_interval_s: float) -> None:
        self._failing_spacing_s = pace.failing_spacing_s
        self._spacing_s = min(pace.spacing_s, poll_interval_s)
        self._is_failing = False
        self._entered_at = 0.0
        self._open_at = 0.0
        self._held_until = 0.0
        self._turn = asyncio.Lock()

    async def enter(self) -> None:
        """Wait for the next request's turn. A hold that begins meanwhile counts."""
        async with self._turn:
            # Looked at again after every wait: a hold may have moved the end meanwhile.
            while (wait_s := max(self._open_at, self._held_until) - _now()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(max(wait_s, TICK_S))
            self._entered_at = _now()
            self._open_at = self._entered_at + (self._failing_spacing_s if self._is_failing else self._spacing_s)

    def skip_spacing(self) -> None:
        """Let the next request through at once, unless held."""
        self._open_at = _now()

    def note_failure(self) -> None:
        self._is_failing = True
        self._open_at = max(self._open_at, self._entered_at + self._failing_spacing_s)

    def note_success(self) -> None:
        self._is_failing = False
        self._open_at = min(self._open_at, self._entered_at + self._spacing_s)

    def hold(self, wait_s: float) -> None:
        """Let nothing through for so long, from now."""
        self._held_until = max(self._held_until, _now() + wait_s)


class Backoff:
    """The wait before the next attempt: doubles from one failure to the next, with jitter."""

    def __init__(self, pace: Pace) -> None:
        self._first_s, self._max_s = pace.backoff_first_s, pace.backoff_max_s
        self._failures = 0

    @property
    def is_fresh(self) -> bool:
        return self._failures == 0

    def reset(self) -> None:
        self._failures = 0

    def next_wait_s(self) -> float:
        """Count a failure. The wait lies between its step and half as much again, the last ones below the maximum."""
        step_s = min(self._first_s * 2.0 ** min(self._failures, 32), self._max_s / JITTER)
        self._failures += 1
        return step_s * random.uniform(1.0, JITTER)  # noqa: S311 - jitter is no secret


def _now() -> float:
    return asyncio.get_running_loop().time()
