"""The pages of `dehedge replay` and `dehedge tune` in a real browser: nothing is cut off at a desk, nor a page wider than a phone."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from dehedge.replay.options import Options
from dehedge.replay.page import render_page
from dehedge.replay.request import build_request, read_inputs
from dehedge.replay.tune_page import render_tuned
from tests.browser.stage import Stage
from tests.replay.kit import run_fake, write_klines
from tests.replay.test_tuning import tune_one

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(240),
]

LONG = "portfolio:early=0.5:gate=0.005:slack=0.001:step=0.25:lead=5:max_opens_per_hour=500"
CUT = "[...document.querySelectorAll('.wide')].filter(each => each.scrollWidth > each.clientWidth).length"
PAGE_WIDTH = "document.documentElement.scrollWidth"


def render_both() -> list[str]:
    write_klines(Path("btc.csv"))
    options = Options(prices=["BTC-USD=btc.csv"], policies=["none", "delta", LONG])
    request = build_request(options)
    runs = [run_fake(request.history, request.costs, policy, lambda _: None) for policy in request.policies]
    tuned = tune_one({LONG: (90, 9), "delta": (50, 5)}, {LONG: (40, 9), "delta": (20, 5)})
    return [render_page(request, runs), render_tuned(read_inputs(options), [], tuned, Decimal("0.8"))]


async def test_pages_fit_a_desk_and_a_phone(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    context = await stage.browser.new_context()
    try:
        page = await context.new_page()
        for text in render_both():
            await page.set_content(text)
            await page.set_viewport_size({"width": 1280, "height": 900})
            assert (await page.evaluate(PAGE_WIDTH), await page.evaluate(CUT)) == (1280, 0)
            await page.set_viewport_size({"width": 390, "height": 844})
            assert await page.evaluate(PAGE_WIDTH) == 390
    finally:
        await context.close()
