"""The exchange's clock, as seen from here.

Owns the offset between the two clocks. A timestamp ahead of the exchange by more than a second is refused, one behind
only once it is older than recvWindow, so requests are dated a little into the past. Reads no network itself: the
gateway gives it the function that asks for the time, at start, every few minutes, and when a timestamp was refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from dehedge.errors import VenueUnavailable
from dehedge.ports import Clock

SAMPLES = 5
SAFETY_S = 0.150
"""Taken off every timestamp, for being ahead is what gets a request refused."""


class Sample(NamedTuple):
    """One question for the time: when it was asked, what the exchange said, when the answer came. All in seconds."""

    asked_at: float
    exchange_time: float
    answered_at: float

    @property
    def round_trip_s(self) -> float:
        return self.answered_at - self.asked_at

    @property
    def offset_s(self) -> float:
        return self.exchange_time - (self.asked_at + self.answered_at) / 2


def choose_offset(samples: Sequence[Sample]) -> float:
    """The offset of the quickest answer, whose midpoint is the least uncertain; a clock set back spoils a sample."""
    usable = [sample for sample in samples if sample.round_trip_s >= 0] or samples
    return min(usable, key=lambda sample: sample.round_trip_s).offset_s


class ExchangeClock:
    """Implements ``Clock`` in the exchange's time; equal to ours until the first synchronization."""

    def __init__(self, clock: Clock) -> None:
        self.offset_s = 0.0
        self._clock = clock
        self._lock = asyncio.Lock()
        self._rounds = 0

    def time(self) -> float:
        return self._clock.time() + self.offset_s

    def get_timestamp(self) -> float:
        """The time to date a request with, in seconds."""
        return self.time() - SAFETY_S

    async def synchronize(self, fetch_time: Callable[[], Awaitable[float]]) -> None:
        """Ask several times and keep the best; who comes while others ask takes their answer.

        Raises what ``fetch_time`` raises when it never answers.
        """
        round_seen = self._rounds
        async with self._lock:
            if self._rounds == round_seen:
                self.offset_s = choose_offset(await self._fetch_samples(fetch_time))
                self._rounds += 1

    async def _fetch_samples(self, fetch_time: Callable[[], Awaitable[float]]) -> list[Sample]:
        samples: list[Sample] = []
        while len(samples) < SAMPLES:
            asked_at = self._clock.time()
            try:
                exchange_time = await fetch_time()
            except VenueUnavailable:
                if samples:
                    break
                raise
            samples.append(Sample(asked_at, exchange_time, self._clock.time()))
        return samples
