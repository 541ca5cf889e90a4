"""From the bytes of a price to the bytes of its order, in the real daemon: sockets on loopback, the journal on disk.

BTC rises step by step, and with each step one more position turns risky: one order. The rest of the book, of any size, is
far from its risks. Orders come no faster than the exchange's limit for a minute allows.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from bench.big_daemon import COUNT, FIRST_STAIR, LATENCIES, STAIR, STAIR_SIZE_USD, STAIRS
from bench.figures import Figure, build_figure, build_percentiles
from dehedge.sim.world import DaemonProcess, World, wait_until

ROOT = str(Path(__file__).parents[1])
SIZES = (1_000, 100_000, 1_000_000)
ORDERS = 1_000
WARM_UP = 10
ORDER_INTERVAL_S = 0.07
"""The exchange takes 300 orders in ten seconds; the daemon leaves a fifth of them for closes, and five seconds for the way."""

TARGETS_MS = {"p50": 3.0, "p99": 15.0}
START = Decimal(FIRST_STAIR)


def run(sizes: tuple[int, ...] = SIZES, orders: int = ORDERS) -> Iterator[Figure]:
    for count in sizes:
        seconds, journal_seconds = asyncio.run(_climb(count, orders))
        assert len(seconds) == orders, f"{len(seconds)} orders of {orders} steps"
        what = f"price to order, {count:,} positions"
        yield from build_percentiles(what, "ms", seconds[WARM_UP:], TARGETS_MS)
        yield build_figure(f"{what}: in the journal", "ms", journal_seconds[WARM_UP:])


async def _climb(count: int, orders: int) -> tuple[list[float], list[float]]:
    """The seconds from price to order of each step, and those of them until its intent was on the disk."""
    world = World({"BTC-USD": START, "ETH-USD": Decimal(3_000)}, use_anvil=False)
    await world.start()
    with tempfile.TemporaryDirectory() as folder:
        latencies = Path(folder) / "latencies.json"
        environment = world.build_environment(
            PYTHONPATH=os.pathsep.join([ROOT, *filter(None, sys.path)]),
            MAX_ORDERS_PER_MINUTE="1200",
            **{COUNT: str(count), STAIRS: str(orders), LATENCIES: str(latencies)},
        )
        daemon = DaemonProcess(Path(folder), environment, module="bench.big_daemon")
        await daemon.start()
        try:
            await wait_until(daemon.check_ready, "the daemon to be ready")
            for step in range(orders):
                await _rise(world, step)
        finally:
            await daemon.stop()
            await daemon.close()
            await world.stop()
        seconds, journal_seconds = json.loads(latencies.read_text(encoding="utf-8"))
        return seconds, journal_seconds


async def _rise(world: World, step: int) -> None:
    """To the middle between this step's trigger and the next one's."""
    exchange, known = world.exchange, len(world.exchange.orders)
    trigger = (START + STAIR * step) * (1 + Decimal(1) / STAIR_SIZE_USD)
    world.set_price("BTC-USD", (trigger + Decimal(STAIR) / 2).quantize(Decimal("0.1")))
    await exchange.wait_until(lambda: len(exchange.orders) > known)
    await asyncio.sleep(ORDER_INTERVAL_S)
