"""The exchange's limits: how much of each is used, and until when nothing may be sent.

The exchange counts in fixed windows of its own clock: weight per address, orders per account. We count what we send
and believe the larger of our count and the exchange's headers, for the address and the account may be shared. What we
send also never passes a limit within any interval of its length, wherever the windows begin and however long a request
is on its way: a burst at the end of a window may arrive in the next. A fifth of the order limits is kept for reduces.
Pauses and our own traffic run on a clock that nobody sets. Does no IO; the gateway asks before each request and feeds
back each response.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from dehedge.connectors.binance.payloads import RateLimit
from dehedge.errors import RateLimited
from dehedge.ports import Clock, LimitUse, Traffic

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

REPEATED_PAUSE_S = 0.5
"""A pause that ends hardly later than the one in force is not told again."""

READ_RESERVE = 0.10
"""The share of the weight that reads leave for writes and for what others on this address send."""

LAG_S = 5.0
"""How much later than others of the same moment a request may reach the exchange; one that takes longer is given up."""

GRAIN_S = 0.1
"""What is sent within this time is one entry of our own account."""


@dataclass(slots=True)
class Sent:
    """What we sent between two moments of the monotonic clock that are hardly apart."""

    since: float
    until: float
    cost: int = 0


@dataclass(slots=True)
class Window:
    """One limit, what is used of it in its current window, and what we sent of late ourselves."""

    limit: RateLimit
    index: int = 0
    used: int = 0
    own: int = 0
    sent: deque[Sent] = field(default_factory=deque)

    @property
    def taken(self) -> int:
        """What the exchange may have counted, whichever way it counts."""
        return max(self.used, self.own)

    def turn(self, now_s: float) -> None:
        """Start a new window when the old one is over."""
        index = int(now_s // self.limit.interval_s)
        if index != self.index:
            self.index, self.used = index, 0

    def add(self, cost: int, now: float) -> None:
        """``now`` is monotonic, as in all that concerns what we sent ourselves."""
        if not self.sent or now - self.sent[-1].since > GRAIN_S:
            self.sent.append(Sent(now, now))
        self.sent[-1].until = now
        self.sent[-1].cost += cost
        self.own += cost
        self.used += cost

    def forget(self, before: float) -> None:
        while self.sent and self.sent[0].until <= before:
            self.own -= self.sent.popleft().cost

    def get_rest_s(self, now_s: float) -> float:
        """Seconds until this window is over."""
        return (math.floor(now_s / self.limit.interval_s) + 1) * self.limit.interval_s - now_s

    def get_age_s(self, excess: float, now: float) -> float:
        """Seconds since the newest of what must be forgotten before there is room for this much more."""
        for entry in self.sent:
            excess -= entry.cost
            if excess <= 0:
                return now - entry.until
        return 0.0


def get_loop_time() -> float:
    """Seconds that no change of the wall clock moves; a pause lasts as long as was asked for."""
    return asyncio.get_running_loop().time()


class Limits:
    """Counts weight and orders by the exchange's clock, and holds the pauses."""

    def __init__(
        self, clock: Clock, monotonic: Callable[[], float] = get_loop_time, *, lag_s: float = LAG_S
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._lag_s = lag_s
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
        self._turn()

    def admit(self, *, weight: int, orders: int) -> None:
        """Count a request that is about to be sent. Raises ``RateLimited`` instead when it must not be."""
        now_s = self._turn()
        self.check_pauses(orders=orders)
        for window in self._windows:
            cost, ceiling = self._get_cost(window, weight, orders)
            if cost and window.taken + cost > ceiling:
                reason = f"the exchange's limit of {window.limit.limit} {window.limit.kind} per {window.limit.label}"
                raise RateLimited(f"{reason} is reached", retry_after_s=self._get_wait_s(window, cost - ceiling, now_s))
        for window in self._windows:
            window.add(self._get_cost(window, weight, orders)[0], self._monotonic())

    def _get_wait_s(self, window: Window, excess: float, now_s: float) -> float:
        """How long until there is room; ``excess`` is by how much a request alone is above the ceiling."""
        waits = [window.get_rest_s(now_s)] if window.used + excess > 0 else []
        if window.own + excess > 0:
            waits.append(self._get_span_s(window) - window.get_age_s(window.own + excess, self._monotonic()))
        return max(waits)

    def _get_span_s(self, window: Window) -> float:
        """How long a request of ours may still count in a window of the exchange's, wherever that begins."""
        return window.limit.interval_s + self._lag_s

    def check_orders(self, orders: int, *, is_reduce: bool) -> bool:
        """True when so many orders fit into every window; increases may not touch the reserve."""
        self._turn()
        if self._get_pause_s(orders) > 0:
            return False
        share = 1.0 if is_reduce else 1.0 - REDUCE_RESERVE
        windows = [window for window in self._windows if window.limit.kind == ORDERS]
        return all(window.taken + orders <= window.limit.limit * share for window in windows)

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

    def pause(self, seconds: float, reason: str) -> bool:
        """Send nothing at all for so long; a longer pause in force stays. True when this one lasts markedly longer."""
        now = self._monotonic()
        until = now + seconds
        is_longer = until > max(self._paused_until, now) + REPEATED_PAUSE_S
        if is_longer:
            log.warning("requests_paused", seconds=round(seconds, 1), reason=reason)
        self._paused_until = max(self._paused_until, until)
        return is_longer

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

    def get_traffic(self) -> Traffic:
        """What is used of every limit, and for how long nothing may be sent yet."""
        self._turn()
        uses = tuple(LimitUse(w.limit.kind.lower(), w.limit.label, w.taken, w.limit.limit) for w in self._windows)
        return Traffic(uses, max(self._get_pause_s(orders=1), 0.0))

    def get_used(self, kind: str, label: str) -> int:
        self._turn()
        return next(w.taken for w in self._windows if (w.limit.kind, w.limit.label) == (kind, label))

    def _turn(self) -> float:
        now_s, now = self._clock.time(), self._monotonic()
        for window in self._windows:
            window.turn(now_s)
            window.forget(now - self._get_span_s(window))
        return now_s

    def check_pauses(self, *, orders: int) -> None:
        """Raises ``RateLimited`` while the exchange wants to hear nothing, or no orders."""
        rest_s = self._get_pause_s(orders)
        if rest_s > 0:
            raise RateLimited("the exchange told us to wait", retry_after_s=rest_s)

    def _get_pause_s(self, orders: int) -> float:
        until = max(self._paused_until, self._orders_paused_until) if orders else self._paused_until
        return until - self._monotonic()

    def _get_limits(self, kind: str) -> list[RateLimit]:
        return [window.limit for window in self._windows if window.limit.kind == kind]

    def _carry_over(self, limit: RateLimit, old: Window | None) -> Window:
        """A limit that is new to us has at least what we sent ourselves used of it."""
        if old is not None:
            return replace(old, limit=limit)
        longest = max((w for w in self._windows if w.limit.kind == limit.kind), key=lambda w: w.limit.interval_s)
        sent = deque(replace(entry) for entry in longest.sent)
        return Window(limit, used=longest.own, own=longest.own, sent=sent)

    @staticmethod
    def _get_cost(window: Window, weight: int, orders: int) -> tuple[int, float]:
        """What a request takes of this window, and how far it may go."""
        if window.limit.kind == ORDERS:
            return orders, window.limit.limit
        return weight, window.limit.limit * (1.0 if orders else 1.0 - READ_RESERVE)
