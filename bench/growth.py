"""Whether a price costs more where the book is larger: counted, not timed, so that it is the same on every machine.

Counts the interpreter's operations and the bytes allocated at once. Work that grows with the book shows in the first
where it is done in Python, a bare loop included, and in the second where it is one call that copies.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

from bench.books import build_book
from bench.tick import Pass, find_flip

FLIPS = 20
GROWTH_MAX = 1.5
"""A hundred times the positions may cost this much more."""


class Cost(NamedTuple):
    """Of one tick."""

    operations: int
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
    return Cost(_count_operations(lambda: it.look(back)), _measure_peak(lambda: it.look(there)))


def _count_operations(work: Callable[[], object]) -> int:
    operations = 0

    def count(frame: FrameType, _: str, __: object) -> Any:
        nonlocal operations
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        operations += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
    return operations


def _measure_peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
