"""Whether a price costs more where the book is larger: counted, not timed, so that it is the same on every machine.

Counts the calls of Python and C functions and the bytes allocated at once. Work that grows with the book shows in the first
where it is done in Python, and in the second where it is one call that copies.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple

from bench.books import build_book
from bench.tick import Pass, find_flip

FLIPS = 20
GROWTH_MAX = 1.5
"""A hundred times the positions may cost this much more."""


class Cost(NamedTuple):
    """Of one tick."""

    calls: int
    peak_bytes: int


def check_growth(small: int, large: int) -> list[str]:
    """What grows with the book although it must not, one line each."""
    problems = []
    for flips in (0, FLIPS):
        costs = {count: measure_tick(count, flips) for count in (small, large)}
        for name, before, after in zip(Cost._fields, *costs.values(), strict=True):
            if after > before * GROWTH_MAX:
                problems.append(
                    f"a tick that changes {flips} costs {before} {name} at {small:,} positions and {after} at {large:,}"
                )
    return problems


def measure_tick(count: int, flips: int) -> Cost:
    it = Pass(build_book(count))
    low, high = find_flip(it.index, flips)
    there, back = it.observe(low), it.observe(high if flips else low + 1)
    it.look(there)
    assert len(it.look(back)) == flips, "the benchmark looks at what it means to"
    it.look(there)
    return Cost(_count_calls(lambda: it.look(back)), _measure_peak(lambda: it.look(there)))


def _count_calls(work: Callable[[], object]) -> int:
    calls = 0

    def count(_: FrameType, event: str, __: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


def _measure_peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
