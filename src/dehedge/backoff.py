"""When a hedge that was refused may be tried again.

In memory only, on the loop's clock (a replay of prices brings its own): after a restart everything may be tried at once, and
a step of the wall clock changes nothing. Opens and reductions of one hedge wait apart, so that a refused open never holds a
close. Grows from one second to half a minute for an open that keeps failing, to a few seconds for a close (20 once it was
refused for a minute). Hedges that were refused together because they are too much for the account are tried again in
smaller groups; once even a single one is too much, the symbol is
exhausted: it is probed with one order at a time, more and more slowly, until one is filled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from dehedge.core.batching import OrderDraft
from dehedge.core.model import HedgeKey
from dehedge.core.orders import Action

FIRST_S = 1.0
MAX_S = {Action.INCREASE: 30.0, Action.REDUCE: 5.0}
PERSISTENT = 12
PERSISTENT_MAX_S = 20.0
"""What has been refused a dozen times in a row is tried a little less often: each try is two rows of the journal."""
FORGOTTEN_S = 60.0
PROBE_S = 5.0


def get_loop_time() -> float:
    return asyncio.get_running_loop().time()


class Delay:
    """A wait that doubles with every failure in a row."""

    def __init__(self, get_time: Callable[[], float]) -> None:
        self.failures = 0
        self._get_time = get_time
        self._until = 0.0

    @property
    def is_over(self) -> bool:
        return self._get_time() >= self._until

    @property
    def is_forgotten(self) -> bool:
        return self._get_time() >= self._until + FORGOTTEN_S

    def fail(self, *, max_s: float, at_least_s: float = 0.0) -> None:
        if self.failures >= PERSISTENT:
            max_s = max(max_s, PERSISTENT_MAX_S)
        delay_s = max(at_least_s, min(FIRST_S * 2**self.failures, max_s))
        self._until = self._get_time() + delay_s
        self.failures = min(self.failures + 1, PERSISTENT)

    def wait(self, seconds: float) -> None:
        """Wait without counting a failure."""
        self._until = self._get_time() + seconds


class Backoff:
    """The delays of every hedge and symbol that was refused."""

    def __init__(self, get_time: Callable[[], float] = get_loop_time) -> None:
        self.group_max: dict[HedgeKey, int] = {}
        self._get_time = get_time
        self._delays: dict[tuple[HedgeKey, Action], Delay] = {}
        self._exhausted: dict[str, Delay] = {}

    def __len__(self) -> int:
        return len(self._delays)

    def get_waiting(self, action: Action) -> frozenset[HedgeKey]:
        """The hedges to leave alone for now."""
        for forgotten in [key for key, delay in self._delays.items() if delay.is_forgotten]:
            del self._delays[forgotten]
            self.group_max.pop(forgotten[0], None)
        return frozenset(key for (key, kind), delay in self._delays.items() if kind is action and not delay.is_over)

    def get_exhausted(self) -> Mapping[str, bool]:
        """Symbols in which even one hedge was too much, and whether another may be tried now."""
        return {symbol: delay.is_over for symbol, delay in self._exhausted.items()}

    def choose_increases(self, drafts: Iterable[OrderDraft]) -> Iterator[OrderDraft]:
        """The orders that may leave: of an exhausted symbol the first hedge of the first one alone, as a probe."""
        exhausted, probed = set(self._exhausted), set[str]()
        for draft in drafts:
            if draft.symbol not in exhausted:
                yield draft
            elif draft.symbol not in probed:
                probed.add(draft.symbol)
                self.begin_probe(draft.symbol)
                yield replace(draft, shares=draft.shares[:1])

    def begin_probe(self, symbol: str) -> None:
        """One order is on its way in an exhausted symbol: no other until its end is known, or for a while."""
        self._exhausted[symbol].wait(PROBE_S)

    def fail(self, keys: Iterable[HedgeKey], action: Action, *, at_least_s: float = 0.0) -> None:
        for key in keys:
            delay = self._delays.setdefault((key, action), Delay(self._get_time))
            delay.fail(max_s=MAX_S[action], at_least_s=at_least_s)

    def refuse_size(self, symbol: str, keys: Sequence[HedgeKey]) -> None:
        """These were too much in one order: the next ones carry half as many each, or one at a time."""
        for key in keys:
            self.group_max[key] = max(len(keys) // 2, 1)
            self._delays.setdefault((key, Action.INCREASE), Delay(self._get_time)).wait(FIRST_S)
        if len(keys) == 1:
            self.fail(keys, Action.INCREASE)
            self._exhausted.setdefault(symbol, Delay(self._get_time)).fail(max_s=MAX_S[Action.INCREASE])

    def clear(self, symbol: str, keys: Iterable[HedgeKey], action: Action) -> None:
        """An order of these was filled."""
        if action is Action.INCREASE:
            self._exhausted.pop(symbol, None)
        for key in keys:
            self._delays.pop((key, action), None)
            self.group_max.pop(key, None)
