"""``make screenshot``: the dashboard as the README shows it, of a daemon that has seen a market move for a minute."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

from dehedge.sim.paths import read_path
from tests.browser.stage import VARIABLES, Stage, a_stage

STEPS = 110
STEP_S = 0.5
SIZE = {"width": 1280, "height": 1400}


async def take(path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="dehedge-screenshot-") as folder:
        async with a_stage(Path(folder), variables={**VARIABLES, "HEDGE_EXPIRY_SECONDS": "6"}) as stage:
            await _move(stage)
            page = await stage.browser.new_page(viewport=SIZE, color_scheme="dark")
            await page.goto(stage.daemon.url)
            await page.locator("#hedges tbody tr").first.wait_for()
            await page.locator("#charts canvas").first.wait_for()
            await asyncio.sleep(3)
            await page.screenshot(path=path)


async def _move(stage: Stage) -> None:
    path = read_path("BTC-USD")
    for step in range(STEPS):
        price = path[step] * Decimal("0.95") if step > STEPS // 2 else path[step]
        stage.world.set_price("BTC-USD", price)
        await asyncio.sleep(STEP_S)


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1])))
