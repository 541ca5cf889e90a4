"""Every wait of this package, in seconds, in one place.

The defaults are those for the real exchange. Data only; a caller that talks to a nearer or a stranger exchange brings
its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """A stream's waits. Its socket may be silent for ``silence_s`` (None: for ever) and lives ``life_s``.

    A connection that held for ``steady_s`` was good: the next failure starts the back-off anew.
    """

    silence_s: float | None
    life_s: float = 23 * 3600.0
    open_s: float = 10.0
    ping_s: float = 10.0
    backoff_min_s: float = 0.5
    backoff_max_s: float = 30.0
    steady_s: float = 10.0


MARK_STREAM = StreamTiming(silence_s=5.0)
"""Marks come each second: five of them missing mean a dead connection or a wrong route."""

ACCOUNT_STREAM = StreamTiming(silence_s=None)
"""An account may have nothing to tell for hours; pings and a limited life find the dead connection."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The connector's waits.

    A request takes ``request_s`` at most, of which ``connect_s`` to connect; a failed read is repeated after each of
    ``repeats_s``. A cheap one goes out every ``touch_s``.
    Marks are polled every ``poll_s`` while the stream is down, and a symbol that the live stream leaves out after
    ``overdue_s``. The listen key lives 3600; it is extended every ``extend_s``, and ``extend_again_s`` after that
    failed. An order of ours is told by the account stream within ``expect_s``.
    """

    request_s: float = 5.0
    connect_s: float = 2.0
    repeats_s: tuple[float, ...] = (0.2, 0.5)
    touch_s: float = 10.0
    mark_stream: StreamTiming = MARK_STREAM
    poll_s: float = 1.0
    overdue_s: float = 3.0
    account_stream: StreamTiming = ACCOUNT_STREAM
    extend_s: float = 1800.0
    extend_again_s: float = 60.0
    expect_s: float = 10.0


DEFAULT_TIMING = Timing()
