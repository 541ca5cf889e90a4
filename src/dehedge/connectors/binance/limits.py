"""The exchange's limits: how much of each is used, and until when nothing may be sent.

The exchange counts in fixed windows of its own clock: weight per address, orders per account. We count what we send
and believe the larger of our count and the exchange's headers, for the address and the account may be shared. A fifth
of the order limits is kept for reduces. Pauses run on a clock that nobody sets. Does no IO; the gateway asks before
each request and feeds back each response.

"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from dehedge.connectors.binance.payloads import RateLimit
from dehedge.errors import RateLimited
from dehedge.ports import Clock

log = structlog.get_logger()

WEIGHT, ORDERS = "REQUEST_WEIGHT", "ORDERS"
HEADERS = {WEIGHT: "X-MBX-USED-WEIGHT-", ORDERS: "X-MBX-ORDER-COUNT-"}
DEFAULT_LIMITS = (
    RateLimit(WEIGHT, 60, 2400, "1M"),
    RateLimit(ORDERS, 10, 300, "10S"),
    RateLimit(ORDERS, 60, 1200, "1M"),
)
"""In force until the exchange has told its own."""

COUNT_DIGITS_MAX = 9

REDUCE_RESERVE = 0.20
"""The share of the order limits that increases leave for reduces."""

REPEATED_S = 60.0
"""An order refused for its rate this soon after another means that the longer window is full."""

READ_RESERVE = 0.10
"""The share of the weight that reads leave for writes and for what others on this address send."""


@dataclass(slots=True)
class Window:
    """One limit and what is used of it in its current window."""

    limit: RateLimit
    index: int = 0
    used: int = 0

    def turn(self, now_s: float) -> None:
        """Start a new window when the old one is over."""
        index = int(now_s // self.limit.interval_s)
        if index != self.index:
            self.index, self.used = index, 0

    def get_rest_s(self, now_s: float) -> float:
        """Seconds until this window is over."""
        return (math.floor(now_s / self.limit.interval_s) + 1) * self.limit.interval_s - now_s


def get_loop_time() -> float:
    """Seconds that no change of the wall clock moves; a pause lasts as long as was asked for."""
    return asyncio.get_running_loop().time()


class Limits:
    """Counts weight and orders by the exchange's clock, and holds the pauses."""

    def __init__(self, clock: Clock, monotonic: Callable[[], float] = get_loop_time) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._windows = [Window(limit) for limit in DEFAULT_LIMITS]
        self._paused_until = -math.inf
        self._orders_paused_until = -math.inf
        self._order_refusal_at = -math.inf

    def set_limits(self, limits: Sequence[RateLimit]) -> None:
        """Take over what the exchange says of its limits; what is used of them is kept."""
        used = {(window.limit.kind, window.limit.label): window for window in self._windows}
        known = [limit for limit in limits if limit.kind in HEADERS and limit.limit > 0]
        for kind in HEADERS:
            known += [] if any(limit.kind == kind for limit in known) else self._get_limits(kind)
        self._windows = [self._carry_over(limit, used.get((limit.kind, limit.label))) for limit in known]

    def admit(self, *, weight: int, orders: int) -> None:
        """Count a request that is about to be sent. Raises ``RateLimited`` instead when it must not be."""
        now_s = self._turn()
        self._check_pauses(orders)
        for window in self._windows:
            cost, ceiling = self._get_cost(window, weight, orders)
            if cost and window.used + cost > ceiling:
                reason = f"the exchange's limit of {window.limit.limit} {window.limit.kind} per {window.limit.label}"
                raise RateLimited(f"{reason} is reached", retry_after_s=window.get_rest_s(now_s))
        for window in self._windows:
            window.used += self._get_cost(window, weight, orders)[0]

    def check_orders(self, orders: int, *, is_reduce: bool) -> bool:
        """True when so many orders fit into every window; increases may not touch the reserve."""
        self._turn()
        if self._get_pause_s(orders) > 0:
            return False
        share = 1.0 if is_reduce else 1.0 - REDUCE_RESERVE
        windows = [window for window in self._windows if window.limit.kind == ORDERS]
        return all(window.used + orders <= window.limit.limit * share for window in windows)

    def apply_headers(self, headers: Mapping[str, str], sent_at: float) -> None:
        """Believe the exchange's counts where they are above ours.

        A response whose request went out in an earlier window (``sent_at``, the exchange's time) may tell of that one.
        """
        now_s = self._turn()
        for window in self._windows:
            if int(sent_at // window.limit.interval_s) != int(now_s // window.limit.interval_s):
                continue
            count = headers.get(HEADERS[window.limit.kind] + window.limit.label, "")
            if count.isascii() and count.isdigit() and len(count) <= COUNT_DIGITS_MAX:
                window.used = max(window.used, int(count))

    def pause(self, seconds: float, reason: str) -> None:
        """Send nothing at all for so long; a longer pause in force stays."""
        until = self._monotonic() + seconds
        if until > self._paused_until:
            self._paused_until = until
            log.warning("requests_paused", seconds=round(seconds, 1), reason=reason)

    def pause_orders(self, reason: str) -> float:
        """Send no orders until the shortest order window ends, or the longest if that did not help; says how long."""
        now_s = self._turn()
        rests = sorted(window.get_rest_s(now_s) for window in self._windows if window.limit.kind == ORDERS)
        is_repeated = self._monotonic() - self._order_refusal_at < REPEATED_S
        seconds = rests[-1] if is_repeated else rests[0]
        self._order_refusal_at = self._monotonic()
        self._orders_paused_until = max(self._orders_paused_until, self._monotonic() + seconds)
        log.warning("orders_paused", seconds=round(seconds, 1), reason=reason)
        return seconds

    def get_window_rest_s(self, kind: str) -> float:
        """Seconds until the shortest window of this kind is over."""
        now_s = self._turn()
        return min(window.get_rest_s(now_s) for window in self._windows if window.limit.kind == kind)

    def get_used(self, kind: str, label: str) -> int:
        self._turn()
        return next(w.used for w in self._windows if (w.limit.kind, w.limit.label) == (kind, label))

    def _turn(self) -> float:
        now_s = self._clock.time()
        for window in self._windows:
            window.turn(now_s)
        return now_s

    def _check_pauses(self, orders: int) -> None:
        rest_s = self._get_pause_s(orders)
        if rest_s > 0:
            raise RateLimited("the exchange told us to wait", retry_after_s=rest_s)

    def _get_pause_s(self, orders: int) -> float:
        until = max(self._paused_until, self._orders_paused_until) if orders else self._paused_until
        return until - self._monotonic()

    def _get_limits(self, kind: str) -> list[RateLimit]:
        return [window.limit for window in self._windows if window.limit.kind == kind]

    @staticmethod
    def _carry_over(limit: RateLimit, old: Window | None) -> Window:
        return Window(limit, old.index, old.used) if old else Window(limit)

    @staticmethod
    def _get_cost(window: Window, weight: int, orders: int) -> tuple[int, float]:
        """What a request takes of this window, and how far it may go."""
        if window.limit.kind == ORDERS:
            return orders, window.limit.limit
        return weight, window.limit.limit * (1.0 if orders else 1.0 - READ_RESERVE)
