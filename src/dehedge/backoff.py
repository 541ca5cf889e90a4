"""When a hedge that was refused may be tried again.

In memory only: after a restart everything may be tried at once. Grows from one second to half a minute for a key that
keeps failing, and never holds a close for more than a few seconds. Hedges that were refused together because they are too
much for the account are tried again in smaller groups, so that what can be protected is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dehedge.core.model import HedgeKey
from dehedge.core.orders import Action

FIRST_S = 1.0
INCREASE_MAX_S = 30.0
REDUCE_MAX_S = 5.0


class Backoff:
    """Per key: the number of failures in a row and the time until which it is left alone."""

    def __init__(self) -> None:
        self._failures: dict[HedgeKey, int] = {}
        self._until: dict[HedgeKey, float] = {}
        self._group_max: dict[HedgeKey, int] = {}

    @property
    def until(self) -> Mapping[HedgeKey, float]:
        return self._until

    @property
    def group_max(self) -> Mapping[HedgeKey, int]:
        """How many hedges may share an order with this one; absent means no limit."""
        return self._group_max

    def split(self, keys: Sequence[HedgeKey], *, now: float) -> None:
        """These were too much in one order: the next ones carry half as many each."""
        for key in keys:
            self._group_max[key] = len(keys) // 2
            self._until[key] = now + FIRST_S

    def fail(self, keys: Iterable[HedgeKey], action: Action, *, now: float, at_least_s: float = 0.0) -> None:
        limit_s = INCREASE_MAX_S if action is Action.INCREASE else REDUCE_MAX_S
        for key in keys:
            count = self._failures.get(key, 0)
            self._failures[key] = min(count + 1, 16)
            self._until[key] = now + max(at_least_s, min(FIRST_S * 2**count, limit_s))

    def clear(self, keys: Iterable[HedgeKey]) -> None:
        for key in keys:
            self._failures.pop(key, None)
            self._until.pop(key, None)
            self._group_max.pop(key, None)
