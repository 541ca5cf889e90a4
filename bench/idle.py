"""What the daemon costs while nothing happens: the processor and the memory of the real process.

Ten markets, whose prices all move once a second in one event, marks each second, and positions far from their risks,
read from the chain every three seconds as by default. The stand-ins are in this process and are not counted.
Linux alone says exactly how long another process has run; elsewhere this section is left out.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bench.crowd import MARKETS, PRICES, build_crowd
from bench.figures import Figure, build_figure
from dehedge.sim.world import USD, DaemonProcess, World, get_feed, get_symbol, wait_until

SIZES = (1_000, 10_000)
SECONDS, WARM_UP_S = 60, 50
"""The pages grow to their size in the first 45 s, and are all read anew each time until then."""
SLICE_S = 6
"""Two readings of the chain."""

MOVE_BPS = 5
TARGET_PERCENT, TARGET_MB = 1.0, 120.0


class Sample(NamedTuple):
    """Of a process: seconds on a processor since its start, and its resident memory."""

    at_s: float
    busy_s: float
    resident_mb: float


def run(seconds: int = SECONDS, warm_up_s: int = WARM_UP_S, sizes: Sequence[int] = SIZES) -> Iterator[Figure]:
    if not sys.platform.startswith("linux"):
        return
    for positions in sizes:
        yield from _measure(seconds, warm_up_s, positions)


def _measure(seconds: int, warm_up_s: int, positions: int) -> Iterator[Figure]:
    samples, orders = asyncio.run(_watch(seconds, warm_up_s, positions))
    assert not orders, "nothing was at risk"
    shares = [100 * (after.busy_s - before.busy_s) / (after.at_s - before.at_s) for before, after in pairwise(samples)]
    what = f"idle, {positions:,} positions in {len(MARKETS)} markets"
    yield build_figure(f"{what}: of a core", "%", shares, TARGET_PERCENT)
    yield build_figure(f"{what}: resident", "MB", [sample.resident_mb for sample in samples], TARGET_MB)


async def _watch(seconds: int, warm_up_s: int, count: int) -> tuple[list[Sample], int]:
    """A sample every few seconds, and how many orders there were."""
    async with _run_daemon(count) as (world, daemon):
        async with asyncio.TaskGroup() as group:
            moving = group.create_task(_move(world))
            await asyncio.sleep(warm_up_s)
            samples = [read_sample(daemon.pid)]
            for _ in range(seconds // SLICE_S):
                await asyncio.sleep(SLICE_S)
                samples.append(read_sample(daemon.pid))
            moving.cancel()
        assert await daemon.check_ready(), "it was hedging all the time"
        return samples, len(world.exchange.orders)


@asynccontextmanager
async def _run_daemon(count: int) -> AsyncIterator[tuple[World, DaemonProcess]]:
    world = World(PRICES, use_anvil=False)
    await world.start()
    await world.chain.set_vault(100_000_000 * USD)
    await world.chain.set_shield(1_000_000 * USD)
    await world.chain.put(*build_crowd(count))
    with tempfile.TemporaryDirectory() as folder:
        daemon = DaemonProcess(Path(folder), world.build_environment(), markets=MARKETS)
        await daemon.start()
        try:
            await wait_until(daemon.check_ready, "the daemon to be ready")
            yield world, daemon
        finally:
            await daemon.close()
            await world.stop()


async def _move(world: World) -> None:
    """Every price, once a second; the stand-ins tell of them in their own time."""
    chance = random.Random(7)
    while True:
        for market, price in PRICES.items():
            moved = (price * (10_000 + chance.randint(-MOVE_BPS, MOVE_BPS)) / 10_000).quantize(Decimal("0.1"))
            world.exchange.ledger.set_mark(get_symbol(market), moved)
            world.hermes._board.set(get_feed(market), moved, None, None)
        await asyncio.sleep(1)


def read_sample(pid: int) -> Sample:
    """The kernel's own clock of a process, in nanoseconds, and the pages that it holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    busy_s = time.clock_gettime((~pid << 3) | 2)
    return Sample(time.monotonic(), busy_s, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
