"""When a failed read is tried again.

Bounded in number and in time. A refused timestamp is tried once more at once, since the clock has been set right;
what failed in passing after a short, randomized wait; everything else is an answer. Pure but for the dice. Called by
the gateway, for reads only.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from dehedge.connectors.binance.failures import Verdict

BUDGET_S = 5.0
"""A read that has taken this long is not repeated."""

PASSING = frozenset({Verdict.UNKNOWN, Verdict.NOT_EXECUTED})


@dataclass(slots=True)
class Repeats:
    """The repetitions left to one read that began at ``started_at``, in seconds of any clock.

    There are as many as ``delays_s``, each of which is randomized by half.
    """

    started_at: float
    delays_s: list[float]
    is_clock_set: bool = False

    def next_delay_s(self, verdict: Verdict, now_s: float) -> float | None:
        """How long to wait before the next attempt; None when there is none."""
        if now_s - self.started_at > BUDGET_S:
            return None
        if verdict is Verdict.CLOCK and not self.is_clock_set:
            self.is_clock_set = True
            return 0.0
        if verdict not in PASSING or not self.delays_s:
            return None
        return self.delays_s.pop(0) * random.uniform(0.5, 1.5)  # noqa: S311 - it spreads load and guards nothing
