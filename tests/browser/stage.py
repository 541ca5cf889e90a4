"""A browser and a real daemon that it looks at: a local world with positions, one of whose markets is named with markup.

The browser is Debian's Chromium, driven by Playwright; it downloads none. Used by the tests beside it and by
``screenshot``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from playwright.async_api import Browser, async_playwright

from dehedge.sim.chain import SimMarket
from dehedge.sim.world import USD, DaemonProcess, World, build_position, get_feed, wait_until

PRICES = {"BTC-USD": Decimal(60_000), "ETH-USD": Decimal(3_000)}
MARKUP = "<img src=x onerror=alert(1)>"
VAULT_USD, SHIELD_USD = 500_000, 600
VARIABLES = {
    "HEDGE_SIZING": "notional", "HEDGE_EXPIRY_SECONDS": "3", "POLL_INTERVAL_SECONDS": "0.3", "PRICE_INTERVAL_SECONDS": "0.3",
    "MAX_PRICE_AGE_SECONDS": "4",
}  # fmt: skip
RISKY = build_position(0xA1, "BTC-USD", is_long=True, size_usd=20_000, price=Decimal(57_000))
QUIET = build_position(0xA2, "ETH-USD", is_long=False, size_usd=20_000, price=Decimal(3_010))
ODD = build_position(0xA3, MARKUP, is_long=True, size_usd=5_000, price=Decimal(10))


class Stage(NamedTuple):
    """Everything that a test of the page needs."""

    world: World
    daemon: DaemonProcess
    browser: Browser


def find_chromium() -> str | None:
    return shutil.which("chromium")


@asynccontextmanager
async def a_stage(
    folder: Path, *, variables: Mapping[str, str] = VARIABLES, is_odd: bool = True
) -> AsyncIterator[Stage]:
    """A daemon that has hedged one position, and a browser; ``is_odd`` where a market is named with markup."""
    world = World(PRICES, use_anvil=False)
    daemon = None
    async with async_playwright() as playwright:
        try:
            await world.start()
            await world.chain.set_vault(VAULT_USD * USD)
            await world.chain.set_shield(SHIELD_USD * USD)
            await world.chain.put(RISKY, QUIET)
            if is_odd:
                await world.chain.set_market(SimMarket(market=MARKUP, name=MARKUP, pyth_feed=get_feed("SOL-USD")))
                await world.chain.put(ODD)
            daemon = DaemonProcess(folder, world.build_environment(**variables))
            await daemon.start()
            # A container's root has no sandbox; the page is ours alone.
            options = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser = await playwright.chromium.launch(executable_path=find_chromium(), args=options)
            await wait_until(lambda: check_hedged(daemon, 1), "the hedge", 30)
            yield Stage(world, daemon, browser)
            await browser.close()
        finally:
            if daemon is not None:
                await daemon.close()
            await world.stop()


async def check_hedged(daemon: DaemonProcess, count: int) -> bool:
    answer = await daemon.fetch("/api/v1/hedges")
    return answer is not None and [row["status"] for row in answer["hedges"]] == ["OPEN"] * count
