"""The machine of one run: a loop whose time is everybody's, and every source of chance set to the seed.

Libraries read the clock and draw random numbers by themselves; here they get both from the run. Used by ``run``.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager

from anyio._backends._asyncio import _task_states

from tests.simulation.loop import VirtualLoop

EPOCH_S = 1_790_000_000.0


@contextmanager
def virtual_machine(seed: str) -> Iterator[VirtualLoop]:
    """A fresh loop, in force until the block ends; clocks and chance are put back then."""
    rng = random.Random(seed)
    loop = VirtualLoop(rng)
    clocks = time.time, time.monotonic, time.perf_counter
    token_hex, chance = secrets.token_hex, random.getstate()
    time.time = lambda: EPOCH_S + loop.now_s
    time.monotonic = time.perf_counter = loop.time
    secrets.token_hex = lambda size=32: rng.randbytes(size or 32).hex()
    random.seed(rng.random())
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        time.time, time.monotonic, time.perf_counter = clocks
        secrets.token_hex = token_hex
        random.setstate(chance)
        asyncio.set_event_loop(None)
        loop.close()
        # anyio keeps by weak key what holds the key itself: tasks that were killed would stay for ever.
        _task_states.clear()
