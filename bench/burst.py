"""Many positions turn risky at one price: how long until the exchange holds all of their hedges, and what they cost.

The real daemon as a process of its own with a durable journal, against the stand-ins on loopback. From the moment that the
price is served to the moment that the exchange reads the last of the orders.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from bench.figures import Figure, build_figure
from dehedge.sim.exchange import SimExchange
from dehedge.sim.world import USD, DaemonProcess, World, build_position, wait_until

SIZES = (1, 100, 1_000, 10_000)
ROUNDS = 10
SAFE, RISKY, ENTRY = Decimal(60_000), Decimal(60_100), Decimal(60_010)
EXPOSURE_USD, POSITION_MIN_USD, POSITION_MAX_USD = 1_000_000, 100, 1_000
"""All positions together are no more than the margin of the account carries."""

EXPIRY_S = "2"
STEP = Decimal("0.001")
TARGETS_MS = {1_000: 50.0}


class Round(NamedTuple):
    seconds: float
    orders: int


def run(sizes: tuple[int, ...] = SIZES, rounds: int = ROUNDS) -> Iterator[Figure]:
    for count in sizes:
        played = asyncio.run(_play(count, rounds))
        orders = sorted({one.orders for one in played})
        name = f"{count:,} positions turn risky: price to last order"
        yield build_figure(name, "ms", [one.seconds for one in played], TARGETS_MS.get(count), orders=orders)


async def _play(count: int, rounds: int) -> list[Round]:
    world = World({"BTC-USD": SAFE, "ETH-USD": Decimal(3_000)}, use_anvil=False)
    await world.start()
    await world.chain.set_vault(100_000_000 * USD)
    await world.chain.set_shield(USD // 100)
    size_usd = max(POSITION_MIN_USD, min(POSITION_MAX_USD, EXPOSURE_USD // count))
    await world.chain.put(
        *(build_position(n, "BTC-USD", is_long=True, size_usd=size_usd, price=ENTRY) for n in range(1, count + 1))
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = world.build_environment(HEDGE_EXPIRY_SECONDS=EXPIRY_S, MIN_COLLATERAL="1", LEVERAGE="20")
        daemon = DaemonProcess(Path(folder), environment)
        await daemon.start()
        try:
            await wait_until(daemon.check_ready, "the daemon to be ready")
            played = [await _play_round(world, daemon, count, size_usd) for _ in range(rounds)]
        finally:
            await daemon.close()
            await world.stop()
    assert not any(request.code in (-1003, -1015) for request in world.exchange.requests), "a limit was touched"
    return played


async def _play_round(world: World, daemon: DaemonProcess, count: int, size_usd: int) -> Round:
    """All become risky at once, and calm again."""
    exchange = world.exchange
    known = len(_list_orders(exchange))
    wanted = Decimal(size_usd) / ENTRY // STEP * STEP * count
    served_ms = time.time() * 1000
    world.set_price("BTC-USD", RISKY)
    await exchange.wait_until(lambda: exchange.net("BTCUSDT") == wanted)
    sent = _list_orders(exchange)[known:]
    world.set_price("BTC-USD", SAFE)
    await exchange.wait_until(lambda: exchange.net("BTCUSDT") == 0)

    async def check_idle() -> bool:
        hedges = await daemon.fetch("/api/v1/hedges")
        return hedges is not None and not hedges["hedges"]

    await wait_until(check_idle, "the hedges to be closed")
    return Round((max(sent) - served_ms) / 1000, len(sent))


def _list_orders(exchange: SimExchange) -> list[float]:
    return [
        request.at_ms for request in exchange.requests if (request.method, request.path) == ("POST", "/fapi/v1/order")
    ]
