"""Which endpoint is asked next: the first that is well, the others behind it in their order.

A failed endpoint is passed over for a while that grows with each failure in a row, and takes its place again when the
while is over; one that told us when to come back is not asked before. Owns these dates and nothing else: no IO, no
clock of its own. Called by ``source``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from dehedge.adapters.chain.failures import RETRY_AFTER_MAX_S, NodeThrottled
from dehedge.errors import ChainUnavailable

PENALTY_START_S = 2.0
PENALTY_MAX_S = 60.0

E = TypeVar("E")


class Lane(Generic[E]):
    """One endpoint with its record of failures. Times are wall-clock seconds."""

    __slots__ = ("_blocked_until", "_failures", "_penalty_until", "endpoint")

    def __init__(self, endpoint: E) -> None:
        self.endpoint = endpoint
        self._failures = 0
        self._penalty_until = 0.0
        self._blocked_until = 0.0

    @property
    def is_failing(self) -> bool:
        """The last attempt failed."""
        return self._failures > 0

    def apply_failure(self, failure: ChainUnavailable, now: float) -> None:
        self._penalty_until = now + min(PENALTY_START_S * 2.0**self._failures, PENALTY_MAX_S)
        # The power stays within a float however long the endpoint is gone.
        self._failures = min(self._failures + 1, 32)
        if isinstance(failure, NodeThrottled) and failure.retry_after_s is not None:
            self._blocked_until = now + failure.retry_after_s

    def apply_success(self) -> None:
        self._failures = 0
        self._penalty_until = self._blocked_until = 0.0

    def compute_wait_s(self, now: float) -> float:
        """How long it must not be asked, because it said so."""
        return _compute_rest_s(self._blocked_until, now, RETRY_AFTER_MAX_S)

    def check_well(self, now: float) -> bool:
        return not _compute_rest_s(self._penalty_until, now, PENALTY_MAX_S)


def _compute_rest_s(until: float, now: float, longest_s: float) -> float:
    """Time left, and none where there is more than was ever given: then the clock was set back."""
    rest_s = until - now
    return rest_s if 0 < rest_s <= longest_s else 0.0


def order_lanes(lanes: Iterable[Lane[E]], now: float) -> list[Lane[E]]:
    """Those that may be asked: the well ones first, then those in penalty, because any answer beats none."""
    allowed = [lane for lane in lanes if not lane.compute_wait_s(now)]
    return sorted(allowed, key=lambda lane: not lane.check_well(now))
