"""The panels that explain and foresee, in a real browser: nearest triggers, why, and what if prices move."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.stage import MARKUP, QUIET, RISKY, Stage

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(240),
]

expect.set_options(timeout=15_000)

BAD_REQUEST = "Failed to load resource: the server responded with a status of 400 (Bad Request)"


async def test_trips_panel_has_the_nearest_first_with_their_triggers(page: Page, stage: Stage):
    rows = page.locator("#trips tbody tr")
    await expect(rows).to_have_count(2)
    answer = await stage.daemon.fetch("/api/v1/trips")
    assert [row["market"] for row in answer["trips"] if row["trigger_price"]] == ["BTC-USD", "ETH-USD"]

    await expect(rows.first).to_contain_text("BTC-USD")
    await expect(rows.first.locator("[data-label=Hedged]")).to_have_text("yes")
    await expect(rows.first.locator("[data-label=Distance]")).to_have_attribute("data-tone", "bad")
    await expect(rows.last).to_contain_text("ETH-USD")
    await expect(rows.last.locator("[data-label=Hedged]")).to_have_text("no")
    for place, trip in enumerate(row for row in answer["trips"] if row["trigger_price"]):
        sign = "−" if trip["distance_bps"].startswith("-") else "+"
        shown = f"{sign}{abs(float(trip['distance_bps'])) / 100:.2f} %"
        await expect(rows.nth(place).locator("[data-label=Distance]")).to_have_text(shown)
    position = page.locator("#positions tbody tr", has_text="ETH-USD")
    await expect(position.locator("[data-label='To its trigger']")).to_contain_text("% (at 2,9")


async def test_explanation_has_the_daemons_words_and_every_check(page: Page, stage: Stage):
    lines = (await stage.daemon.fetch(f"/api/v1/explain?market=BTC-USD&position_id={RISKY.user}"))["text"]
    opener = page.locator("#positions tbody tr", has_text="BTC-USD").get_by_role("button", name="Explain BTC-USD")
    await opener.click()
    dialog = page.locator("dialog")

    for line in (lines[0], next(line for line in lines if line.startswith("vault_drawdown FIRES"))):
        await expect(dialog.locator("pre")).to_contain_text(line)
    await expect(dialog.locator("pre")).to_contain_text("so far: profit ")
    checks = dialog.locator("tbody tr")
    await expect(checks).to_have_count(3)
    await expect(checks.locator("[data-label=Fired]")).to_have_text(["yes"] * 3)
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(opener).to_be_focused()


async def test_explanation_of_a_hostile_name_is_text(page: Page):
    await page.locator("#positions tbody tr", has_text=MARKUP).get_by_role("button", name="Explain").click()

    await expect(page.locator("dialog h2")).to_contain_text(MARKUP)
    await expect(page.locator("dialog pre")).to_contain_text(MARKUP)
    assert await page.locator("dialog img").count() == 0


async def foresee(page: Page, moves: str) -> None:
    await page.locator("#whatif [name=moves]").fill(moves)
    await page.keyboard.press("Enter")


async def test_whatif_panel_shows_what_would_open_and_what_it_needs(page: Page, stage: Stage):
    await foresee(page, "ETH-USD -5%, BTC-USD 1")
    opens = page.locator("#whatif [aria-label='Hedges that would open'] tbody tr")
    answer = await stage.daemon.fetch("/api/v1/whatif?move=ETH-USD:-5&move=BTC-USD:1")
    (opening,) = answer["opens"]
    assert opening["position_id"].lower().startswith(QUIET.user.lower())

    await expect(opens).to_have_count(1)
    await expect(opens).to_contain_text(f"SELL{opening['quantity']}")
    await expect(page.locator("#whatif [role=status]")).to_contain_text("The exchange would liquidate: nothing.")
    await expect(page.locator("#whatif")).to_contain_text("Nothing would be held back.")
    assert len((await stage.daemon.fetch("/api/v1/hedges"))["hedges"]) == 1


@pytest.mark.expects_console(BAD_REQUEST)
async def test_whatif_panel_says_what_to_ask_when_a_move_means_nothing(page: Page):
    await foresee(page, "<img src=x>")

    await expect(page.locator("#whatif [role=status]")).to_contain_text("<img")
    await expect(page.locator("#whatif table[aria-label='Hedges that would open']")).to_be_hidden()
    assert await page.locator("#whatif img").count() == 0
