"""More hedges than the stream carries, in a real browser: the first page comes by it, the others are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Page, Route, expect

from dehedge.adapters.web.dashboard import HEDGES_MAX
from tests.browser.stage import Stage

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(240),
]

expect.set_options(timeout=15_000)

TOTAL = 120


def build_page(hedge: Mapping[str, object], offset: int, limit: int) -> Mapping[str, object]:
    numbers = range(offset, min(offset + limit, TOTAL))
    rows = [{**hedge, "position_id": f"0x{number:040}|0xcd", "fees_usd": f"{number}"} for number in numbers]
    return {"hedges": rows, "total": TOTAL, "markets": {}}


async def read_fees(page: Page) -> Sequence[str]:
    return await page.locator("#hedges tbody [data-label='Fees, USD']").all_inner_texts()


async def test_hedges_beyond_the_first_page_are_asked_for(page: Page, stage: Stage):
    (hedge,) = (await stage.daemon.fetch("/api/v1/hedges"))["hedges"]
    hedge["other_fees"] = {"BNB": "0.010"}

    async def stream(route: Route) -> None:
        content = f"event: hedges\ndata: {json.dumps(build_page(hedge, 0, HEDGES_MAX))}\n\n"
        await route.fulfill(body=content, headers={"Content-Type": "text/event-stream"})

    async def answer(route: Route) -> None:
        asked = {name: int(given[0]) for name, given in parse_qs(urlsplit(route.request.url).query).items()}
        await route.fulfill(json=build_page(hedge, **asked))

    await page.route("**/api/v1/stream", stream)
    await page.route("**/api/v1/hedges?*", answer)
    try:
        await page.reload()
        pager = page.locator("#hedges nav")
        await expect(pager).to_contain_text("1 to 50 of 120")
        assert (await read_fees(page))[::49] == ["0.00 + 0.01 BNB", "49.00 + 0.01 BNB"]
        for shown, first in (("51 to 100 of 120", "50.00"), ("101 to 120 of 120", "100.00")):
            await page.get_by_role("button", name="Next hedges").click()
            await expect(pager).to_contain_text(shown)
            await expect(page.locator("#hedges tbody tr").first).to_contain_text(f"{first} + 0.01 BNB")
        await expect(page.locator("#hedges tbody tr")).to_have_count(20)
        await expect(page.get_by_role("button", name="Next hedges")).to_be_disabled()
        for first in ("50.00", "0.00"):
            await page.get_by_role("button", name="Previous hedges").click()
            await expect(page.locator("#hedges tbody tr").first).to_contain_text(f"{first} + 0.01 BNB")
    finally:
        await page.unroute_all()
        await page.reload()
