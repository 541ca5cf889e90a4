"""``make screenshot``: the dashboard as the README shows it, of a daemon that has seen a market move for a while."""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

from tests.browser.stage import VARIABLES, Stage, a_stage

STEPS = 180
STEP_S = 0.5
WAIT_MS = 120_000
SIZE = {"width": 1280, "height": 1350}


async def take(path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="dehedge-screenshot-") as folder:
        variables = {**VARIABLES, "HEDGE_EXPIRY_SECONDS": "6", "CONNECTOR": "paper"}
        async with a_stage(Path(folder), variables=variables, is_odd=False) as stage:
            await _move(stage)
            page = await stage.browser.new_page(viewport=SIZE, color_scheme="dark")
            await page.goto(stage.daemon.url)
            await page.locator("#hedges tbody tr").first.wait_for(timeout=WAIT_MS)
            await page.locator("#charts canvas").first.wait_for()
            await asyncio.sleep(3)
            await page.screenshot(path=path)


async def _move(stage: Stage) -> None:
    """Bitcoin dips and comes back, so that its hedge closes and opens again; ether falls, so that one opens and stays."""
    for step in range(STEPS):
        part = step / STEPS
        wave = math.sin(2 * math.pi * part)
        stage.world.set_price("BTC-USD", round(Decimal(60_000 + (400 if wave > 0 else 1_700) * wave), 1))
        stage.world.set_price("ETH-USD", round(Decimal(3_000 - 95 * part + 4 * math.sin(40 * part)), 2))
        await asyncio.sleep(STEP_S)


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1])))
