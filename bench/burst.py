"""A thousand positions turn risky at one price: how long until their hedges are on the wire, and what they cost.

The real daemon as a process of its own with a durable journal, against the stand-ins on loopback. From the moment that the
price is served to the moment that the exchange reads the order. Prints a table; ``--json`` writes the figures to a file.
Whether they are within the target depends on the machine, so it is said and fails nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from dehedge.sim.exchange import SimExchange
from dehedge.sim.world import USD, DaemonProcess, World, build_position, wait_until

SAFE, RISKY = Decimal(60_000), Decimal(60_100)
SIZE_USD = 1_000
EXPIRY_S = "2"
TARGET_MS = 50


async def run(positions: int, rounds: int) -> dict[str, object]:
    world = World({"BTC-USD": SAFE, "ETH-USD": Decimal(3_000)}, use_anvil=False)
    await world.start()
    await world.chain.set_vault(100_000_000 * USD)
    await world.chain.set_shield(USD)
    await world.chain.put(
        *(
            build_position(n, "BTC-USD", is_long=True, size_usd=SIZE_USD, price=Decimal(60_010))
            for n in range(1, positions + 1)
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        daemon = DaemonProcess(Path(folder), world.build_environment(HEDGE_EXPIRY_SECONDS=EXPIRY_S))
        await daemon.start()
        try:
            await wait_until(daemon.check_ready, "the daemon to be ready")
            figures = [await play_round(world, daemon, positions) for _ in range(rounds)]
        finally:
            await daemon.close()
            await world.stop()
    waits_ms = sorted(round(wait_ms, 1) for wait_ms, _ in figures)
    return {
        "positions": positions,
        "rounds": rounds,
        "orders_per_round": sorted({orders for _, orders in figures}),
        "price_to_wire_ms": {"min": waits_ms[0], "median": round(statistics.median(waits_ms), 1), "max": waits_ms[-1]},
        "target_ms": TARGET_MS,
        "slowest_round": "within the target" if waits_ms[-1] <= TARGET_MS else "above the target",
        "refused_for_limits": sum(request.code in (-1003, -1015) for request in world.exchange.requests),
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }


async def play_round(world: World, daemon: DaemonProcess, positions: int) -> tuple[float, int]:
    """All become risky at once, and calm again. Returns milliseconds to the last order, and how many orders."""
    exchange = world.exchange
    known = len(list_orders(exchange))
    wanted = Decimal(SIZE_USD) / 60_010 // Decimal("0.001") * Decimal("0.001") * positions
    served_ms = time.time() * 1000
    world.set_price("BTC-USD", RISKY)
    await exchange.wait_until(lambda: exchange.net("BTCUSDT") == wanted)
    sent = list_orders(exchange)[known:]
    world.set_price("BTC-USD", SAFE)
    await exchange.wait_until(lambda: exchange.net("BTCUSDT") == 0)

    async def check_idle() -> bool:
        hedges = await daemon.fetch("/api/v1/hedges")
        return hedges is not None and not hedges["hedges"]

    await wait_until(check_idle, "the hedges to be closed")
    return max(sent) - served_ms, len(sent)


def list_orders(exchange: SimExchange) -> list[float]:
    return [
        request.at_ms for request in exchange.requests if (request.method, request.path) == ("POST", "/fapi/v1/order")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--positions", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = asyncio.run(run(options.positions, options.rounds))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:20} {value}")  # noqa: T201  (a command speaks)


if __name__ == "__main__":
    main()
