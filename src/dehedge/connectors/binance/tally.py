"""Counts what really went out, and says so when it was too much or too early.

The limiter is asked before a request; this is told at the moment in which its first bytes leave, and of every answer.
It shares no count and no pause with the limiter, so that a mistake in the one is noticed by the other.
It holds nothing back: what it finds is a broken law. Called by the gateway.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dehedge.connectors.binance.endpoints import Endpoint
from dehedge.connectors.binance.limits import DEFAULT_LIMITS, ORDERS, WEIGHT, get_loop_time
from dehedge.connectors.binance.payloads import RateLimit
from dehedge.core.invariants import Breach, Law

OnBreach = Callable[[Breach], None]


def ignore_breach(_: Breach) -> None:
    """For whoever reads a little and trades nothing."""


@dataclass(slots=True)
class Span:
    """What went out within the last interval of one limit, however the exchange's windows fall."""

    limit: RateLimit
    total: int = 0
    sent: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, cost: int, now_s: float) -> None:
        self.sent.append((now_s, cost))
        self.total += cost
        while self.sent[0][0] <= now_s - self.limit.interval_s:
            self.total -= self.sent.popleft()[1]


class Tally:
    """One account's own traffic."""

    def __init__(self, on_breach: OnBreach, monotonic: Callable[[], float] = get_loop_time) -> None:
        self._on_breach = on_breach
        self._monotonic = monotonic
        self._spans = [Span(limit) for limit in DEFAULT_LIMITS]
        self._wait_until = -math.inf

    def set_limits(self, limits: Sequence[RateLimit]) -> None:
        """What the exchange says of its limits; those that it does not name stay as they were."""
        told = {(limit.kind, limit.label): limit for limit in limits if limit.limit > 0}
        for span in self._spans:
            span.limit = told.get((span.limit.kind, span.limit.label), span.limit)

    def note_sent(self, endpoint: Endpoint, *, is_again: bool) -> None:
        """The first bytes of a request go out now, for the second time if it ``is_again``."""
        now_s = self._monotonic()
        if now_s < self._wait_until:
            figures = f"{self._wait_until - now_s:.1f} s before the exchange wanted to hear of us again"
            self._on_breach(Breach(Law.PAUSE, endpoint.method, figures))
        if is_again and endpoint.is_write:
            self._on_breach(Breach(Law.ONCE, endpoint.method, "the same request went out twice"))
        for span in self._spans:
            self._count(span, {ORDERS: endpoint.orders, WEIGHT: endpoint.weight}[span.limit.kind], now_s)

    def _count(self, span: Span, cost: int, now_s: float) -> None:
        span.add(cost, now_s)
        limit = span.limit
        if cost and span.total > limit.limit:
            figures = f"{span.total} of {limit.limit} within {limit.interval_s} s"
            self._on_breach(Breach(Law.RATE, f"{limit.kind} {limit.label}", figures))

    def note_reply(self, status: int, retry_after_s: float | None) -> None:
        """What the exchange answered; a 429 or 418 tells how long it wants to hear nothing."""
        if status in (418, 429) and retry_after_s is not None:
            self._wait_until = max(self._wait_until, self._monotonic() + retry_after_s)
