"""How fast each market moves: what the last seconds say of the next ones, and how far a minute has gone lately.

Fed with every price that is looked at, in the order of time; knows no positions and decides nothing. Whole numbers throughout:
prices scaled by 1e18, times in microseconds. Kept by the portfolio's watch, which asks it with every price.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
SLOPE_US = 3 * SECOND_US
"""Over so long a slope is taken; what is older than twice that says nothing of the next seconds."""
MEMORY = 15
"""Minutes: a swing that does not come again loses a part of so many with each minute."""


class Pace(NamedTuple):
    """``slope`` is the change of the price in a second, ``swing`` the range of a minute; prices scaled by 1e18.

    ``is_known`` once prices were seen for a minute: before, the swing may be more.
    """

    slope: int
    swing: int
    is_known: bool = True


UNKNOWN = Pace(0, 0, is_known=False)


class PaceMeter:
    """The pace of the markets, from their prices."""

    def __init__(self) -> None:
        self._gaits: dict[str, _Gait] = {}

    def note(self, prices: Mapping[str, int], at_us: int) -> None:
        for market, price in prices.items():
            gait = self._gaits.get(market)
            if gait is None:
                self._gaits[market] = _Gait(price, at_us)
            else:
                gait.note(price, at_us)

    def get(self, market: str) -> Pace:
        gait = self._gaits.get(market)
        return gait.read() if gait is not None else UNKNOWN


class _Gait:
    """One market's."""

    def __init__(self, price: int, at_us: int) -> None:
        self._seen = deque([(at_us, price)])
        self._since_us = at_us
        self._minute = at_us // MINUTE_US
        self._high = self._low = price
        self._swing = 0

    def note(self, price: int, at_us: int) -> None:
        last_us, last = self._seen[-1]
        if at_us < last_us:
            # The clock was set back: what was seen is of no time that is known.
            self._seen.clear()
            self._since_us = at_us
        for _ in range(min(max(at_us // MINUTE_US - self._minute, 0), MEMORY)):
            self._end_minute(last)
        self._minute = at_us // MINUTE_US
        self._high, self._low = max(self._high, price), min(self._low, price)
        self._seen.append((at_us, price))
        # One that is old enough stays.
        while len(self._seen) > 1 and self._seen[1][0] <= at_us - SLOPE_US:
            self._seen.popleft()

    def _end_minute(self, last: int) -> None:
        gone = self._high - self._low
        self._swing = max(gone, self._swing - (self._swing - gone) // MEMORY)
        self._high = self._low = last

    def read(self) -> Pace:
        (first_us, first), (last_us, last) = self._seen[0], self._seen[-1]
        passed_us = last_us - first_us
        # Just after a start a moment is all that was seen, and a flicker in it is no pace.
        slope = (last - first) * SECOND_US // max(passed_us, SECOND_US) if 0 < passed_us <= 2 * SLOPE_US else 0
        return Pace(slope, max(self._swing, self._high - self._low), last_us - self._since_us >= MINUTE_US)
