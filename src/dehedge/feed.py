"""The newest value of each input, and whether the input is well.

A feed keeps its last value when its source fails: the value ages, and the planner holds what is too old. A source that
breaks is logged once when it breaks and once when it recovers. Putting a value wakes the reconciler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog

from dehedge import metrics
from dehedge.core.model import PriceTick

log = structlog.get_logger()

T = TypeVar("T")


class Feed(Generic[T]):
    """One input: its newest value, or why there is none."""

    def __init__(self, name: str, wake: Callable[[], None]) -> None:
        self.name = name
        self.latest: T | None = None
        self.error: str | None = None
        self._wake = wake
        metrics.FEED_UP.labels(name).set(0)

    def put(self, value: T) -> None:
        if self.error is not None:
            log.info("feed_recovered", feed=self.name)
        self.latest, self.error = value, None
        metrics.FEED_UP.labels(self.name).set(1)
        self._wake()

    def fail(self, error: Exception) -> None:
        """Note a failure; the last value stays and ages."""
        message = str(error)
        if self.error is None:
            log.warning("feed_failed", feed=self.name, error=message)
        self.error = message
        metrics.FEED_UP.labels(self.name).set(0)
        self._wake()


class PriceFeed:
    """The newest price of every market; a ``ports.PriceSink``. ``latest`` is replaced, never changed."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.feed: Feed[dict[str, PriceTick]] = Feed("prices", wake)

    @property
    def latest(self) -> dict[str, PriceTick]:
        return self.feed.latest or {}

    def put(self, ticks: Sequence[PriceTick]) -> None:
        if not ticks:
            return
        self.feed.put({**self.latest, **{tick.market: tick for tick in ticks}})

    def fail(self, error: Exception) -> None:
        self.feed.fail(error)
