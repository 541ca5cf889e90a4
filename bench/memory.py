"""What a million positions take of memory, and how long the event loop waits while they are indexed.

The table is built from columns as the decoder makes them; what it and the index hold is what Python's own accounts say,
numpy's arrays included. The loop ticks as often as it can beside the thread that builds the index, and for as long
without one: the longest gap between two ticks is there in both, because the machine has other things to do.
"""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from bench.books import MARKETS, OPENED_AT, POLICY, PRICE, SEED, USDC, build_observation
from bench.figures import Figure, build_figure
from dehedge.adapters.chain.entries import Codes, Entries, Words
from dehedge.adapters.chain.table import PositionTable
from dehedge.core.policy import build_terms
from dehedge.core.trigger import TriggerIndex, build_index

COUNT = 1_000_000
ROUNDS = 9
TICK_S = 0.0002
TARGET_INDEX_BYTES, TARGET_HOLD_MS = 200.0, 10.0

T = TypeVar("T")


def run(count: int = COUNT, rounds: int = ROUNDS) -> Iterator[Figure]:
    table, table_bytes = trace(lambda: PositionTable(build_entries(count)))
    index, index_bytes = trace(lambda: build(table))
    assert sum(index.counts.values()) == len(table) == table.count_distinct() == count, "every row counts"
    yield build_figure(f"table of {count:,} positions", "B/position", [table_bytes / count])
    yield build_figure(f"index of {count:,} positions", "B/position", [index_bytes / count], TARGET_INDEX_BYTES)
    yield from asyncio.run(_measure_holds(table, rounds))


def build(table: PositionTable) -> TriggerIndex:
    """What a new snapshot costs the daemon, columns included."""
    return build_index(table, build_terms(POLICY, build_observation(table, {MARKETS[0]: PRICE}).snapshot))


def trace(work: Callable[[], T]) -> tuple[T, int]:
    """What was made, and the bytes that it holds."""
    gc.collect()
    tracemalloc.start()
    try:
        made = work()
        gc.collect()
        return made, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def build_entries(count: int) -> Entries:
    chance = np.random.default_rng(SEED)
    prices = PRICE * chance.uniform(0.9, 1.1, count)
    return Entries(
        user=chance.integers(0, 2**32, (count, 5), np.uint32),
        asset=Codes(np.zeros(count, np.int32), (USDC,)),
        market=Codes(chance.integers(0, len(MARKETS), count, np.int32), MARKETS),
        is_long=chance.random(count) < 0.4,
        size=_split(np.floor(chance.lognormal(np.log(10_000e6), 1.0, count))),
        collateral=_split(np.full(count, 1e9)),
        funding_tracer=np.zeros((count, 2), np.uint64),
        entry_price=_split(prices),
        opened_at=np.full(count, OPENED_AT, np.uint64),
    )


def _split(floats: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Words:
    """The high and the low half of each, as if it were a whole number."""
    high = np.floor(floats / 2.0**64)
    return np.stack([high.astype(np.uint64), (floats - high * 2.0**64).astype(np.uint64)], axis=1)


async def _measure_holds(table: PositionTable, rounds: int) -> Iterator[Figure]:
    beside, alone, taken = [], [], []
    for _ in range(rounds):
        began = time.perf_counter()
        beside.append(await _tick_until(asyncio.create_task(asyncio.to_thread(build, table))))
        taken.append(time.perf_counter() - began)
        alone.append(await _tick_until(asyncio.create_task(asyncio.sleep(taken[-1]))))
    more = [max(0.0, hold - without) for hold, without in zip(beside, alone, strict=True)]
    what = f"index of {len(table):,} positions built in a thread"
    return iter(
        [
            build_figure(f"{what}", "ms", taken),
            build_figure(f"{what}: longest hold of the loop", "ms", beside),
            build_figure("the same loop alone: longest hold", "ms", alone),
            build_figure(f"{what}: hold beyond the loop's own", "ms", more, TARGET_HOLD_MS),
        ]
    )


async def _tick_until(work: asyncio.Task[object]) -> float:
    """The longest time between two ticks until the work is done."""
    longest, last = 0.0, time.perf_counter()
    while not work.done():
        await asyncio.sleep(TICK_S)
        now = time.perf_counter()
        longest, last = max(longest, now - last - TICK_S), now
    await work
    return longest
