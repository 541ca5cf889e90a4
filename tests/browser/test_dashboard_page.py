"""The dashboard in a real browser, of a real daemon: what it shows, what it says when it knows nothing, what it asks before it acts."""

from __future__ import annotations

import os
import re
import signal
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Locator, Page, expect

from dehedge.sim.world import HTTP_TOKEN, USD, wait_until
from tests.browser.stage import MARKUP, VAULT_USD, Stage, check_hedged

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(240),
]

# A machine with other work is slow, and no test waits for what has come.
expect.set_options(timeout=15_000)

CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")
UNAUTHORIZED = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
PHONE = {"width": 390, "height": 844}


async def test_page_shows_state_money_hedge_position_and_events(page: Page, stage: Stage):
    address = urlsplit(stage.world.exchange.url).netloc
    await expect(page.locator("#banner")).to_contain_text(f"orders go where the configuration says (own endpoints: {address})")
    await expect(page.locator("#banner .mode")).to_have_text("Active")
    await expect(page.locator("#banner .health")).to_have_text("Ready")
    await expect(page.locator("#funds")).to_contain_text("500,000.00")
    exposure = page.locator("#exposure tr", has_text="BTC-USD")
    await expect(exposure).to_contain_text("+21,052.63 USD · +0.35087719")
    await expect(exposure).to_contain_text("+19,980.00 USD · +0.333")
    await expect(exposure).to_contain_text("+1,072.63 USD · +0.01787719")
    await expect(page.locator("#hedges tbody tr")).to_contain_text("BUY0.333")
    await expect(page.locator("#hedges tbody tr")).to_contain_text("vault drawdown, shield pnl risk, profit limit")
    await expect(page.locator("#positions tbody tr", has_text="ETH-USD")).to_contain_text("not at risk")
    await expect(page.locator("#events tbody")).to_contain_text("hedge of a long opened by 0.333 at a price of ")
    await expect(page.locator("#inputs tr", has_text="chain")).to_contain_text("ok")


async def test_hedge_shows_what_it_has_earned_and_cost(page: Page, stage: Stage):
    row = page.locator("#hedges tbody tr")
    found: list[str] = []

    async def check_priced() -> bool:
        found[:] = [hedge["fees_usd"] for hedge in (await stage.daemon.fetch("/api/v1/hedges"))["hedges"]]
        return Decimal(found[0]) > 0

    await wait_until(check_priced, "the receipt", 30)
    await expect(row.locator("[data-label='Fees, USD']")).to_have_text(re.sub(r"(\.\d\d)\d*$", r"\1", found[0]))
    await expect(row.locator("[data-label='Funding, USD']")).to_have_text("0.00")
    profit = row.locator("[data-label='Profit, USD']")
    await expect(profit).to_have_text(re.compile(r"[+−]?[\d,]+\.\d\d"))
    stage.world.exchange.set_mark("BTCUSDT", Decimal(62_000))
    await expect(profit).to_have_text(re.compile(r"\+\d{3}\.\d\d"))
    await expect(profit).to_have_attribute("data-tone", "good")
    stage.world.set_price("BTC-USD", Decimal(60_000))


async def test_charts_are_drawn_with_the_opening_marked_and_told_in_words(page: Page):
    await expect(page.locator("#charts canvas")).to_have_count(2)
    await expect(page.locator("#charts figcaption").first).to_contain_text("▲ 1 opened, ▼ 0 closed")
    await expect(page.locator("#charts figcaption").last).to_contain_text("Vault 500,000.00 USDC")
    colors = await page.locator("#charts canvas").first.evaluate(
        "(canvas) => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size"
    )
    assert colors > 3


async def test_markup_in_a_name_or_a_reason_is_text(page: Page, stage: Stage):
    await expect(page.locator("#positions tbody")).to_contain_text(MARKUP)
    await expect(page.locator("#exposure tbody")).to_contain_text(MARKUP)
    reason = "<script>document.title='taken'</script><b>bold</b>"
    await page.locator("[data-action=pause]").click()
    await page.locator("dialog [name=reason]").fill(reason)
    await confirm(page, "pause")
    await expect(page.locator("dialog .answer")).to_contain_text("Accepted")
    await page.keyboard.press("Escape")
    await expect(page.locator("#banner .reasons")).to_contain_text(reason)
    await expect(page.locator("#events tbody")).to_contain_text(reason)
    await resume(stage)

    assert await page.locator("main img, main b, main script, header b, header script").count() == 0
    assert await page.title() == "OWN ENDPOINT · dehedge"


async def confirm(page: Page, word: str, token: str = HTTP_TOKEN) -> None:
    await page.locator("dialog [name=token]").fill(token)
    await page.locator("dialog [name=word]").fill(word)
    await page.keyboard.press("Enter")


async def resume(stage: Stage) -> None:
    assert await stage.daemon.post("/api/v1/resume") == 202
    await wait_until(stage.daemon.check_ready, "the daemon to be ready")


async def test_page_follows_the_world_without_being_loaded_again(page: Page, stage: Stage):
    await stage.world.chain.set_vault((VAULT_USD + 1_234) * USD)
    await expect(page.locator("#funds")).to_contain_text("501,234.00")
    stage.world.set_price("ETH-USD", Decimal(2_900))
    await expect(page.locator("#hedges tbody tr", has_text="ETH-USD")).to_contain_text("SELL6.89")
    await expect(page.locator("#events tbody")).to_contain_text("hedge of a short opened by 6.89")
    stage.world.set_price("ETH-USD", Decimal(3_000))
    await expect(page.locator("#hedges tbody tr", has_text="ETH-USD")).to_contain_text(re.compile("in [0-4] s, at "))
    await expect(page.locator("#hedges tbody tr", has_text="ETH-USD")).to_have_count(0)
    await page.locator("#charts select").select_option("ETH-USD")
    await expect(page.locator("#charts figcaption").first).to_contain_text("▲ 1 opened, ▼ 1 closed")
    await page.reload()
    await expect(page.locator("#charts figcaption").first).to_contain_text("BTC-USD 60,000.00")
    await expect(page.locator("#charts figcaption").first).to_contain_text("▲ 1 opened, ▼ 0 closed")
    await stage.world.chain.set_vault(VAULT_USD * USD)


async def test_everything_turns_gray_and_says_since_when_while_the_daemon_is_silent(page: Page, stage: Stage):
    await expect(page.locator(".stale-line")).to_be_hidden()
    os.kill(stage.daemon.pid, signal.SIGSTOP)
    try:
        line = page.locator(".stale-line")
        await expect(line).to_contain_text(
            re.compile(r"Nothing from the daemon since \d\d:\d\d:\d\d UTC \(\d+ s\)"), timeout=15_000
        )
        await expect(page.locator("[role=alert].heard")).to_have_text("What is shown is stale.")
        await expect(page.locator("#banner .mode")).to_have_text("Unknown")
        await expect(page.locator("#banner")).to_contain_text("(last known: Active, ready)")
        await expect(page.locator("#banner .health")).to_have_text("")
        assert await count_gray(page) == await page.locator(".panel:visible").count()
        assert (await page.evaluate(CONTRAST))["poor"] == []
        older = await age_of(page.locator("#inputs tr", has_text="decisions"))
        assert older >= 4
    finally:
        os.kill(stage.daemon.pid, signal.SIGCONT)
    await expect(page.locator(".stale-line")).to_be_hidden()
    await expect(page.locator("#banner .mode")).to_have_text("Active")
    await expect(page.locator("#banner .health")).to_have_text("Ready")
    assert await count_gray(page) == 0


async def count_gray(page: Page) -> int:
    bodies = page.locator(".panel:visible .body")
    return await bodies.evaluate_all(
        "(all) => all.filter((body) => getComputedStyle(body).filter.includes('grayscale')).length"
    )


async def age_of(row: Locator) -> int:
    return int((await row.locator(".age").inner_text()).split()[0])


async def test_what_rests_on_an_input_turns_gray_when_it_is_too_old(page: Page, stage: Stage):
    stage.world.hermes.freeze()
    try:
        await expect(page.locator(".stale-line")).to_contain_text("Stale: price BTC-USD is of ", timeout=15_000)
        await expect(page.locator("#inputs tr", has_text="price BTC-USD")).to_contain_text("stale")
        await expect(page.locator("#banner .health")).to_have_text("Degraded")
        await expect(page.locator("#banner .reasons")).to_contain_text("prices: none fresh for BTC-USD")
        assert 0 < await count_gray(page) < await page.locator(".panel:visible").count()
        await expect(page.locator("#exposure .stale-note")).to_be_visible()
        await expect(page.locator("#events .stale-note")).to_be_hidden()
    finally:
        stage.world.hermes.thaw()
        for market in ("BTC-USD", "ETH-USD"):
            stage.world.set_price(market, {"BTC-USD": Decimal(60_000), "ETH-USD": Decimal(3_000)}[market])
    await expect(page.locator(".stale-line")).to_be_hidden()
    await wait_until(stage.daemon.check_ready, "the daemon to be ready")


@pytest.mark.expects_console(UNAUTHORIZED)
async def test_action_with_a_wrong_token_is_refused_and_says_so(page: Page, stage: Stage):
    await page.locator("[data-action=flatten]").click()
    await confirm(page, "flatten", "wrong-tökén")

    await expect(page.locator("dialog .answer")).to_have_text("Refused: a valid bearer token is needed (HTTP_TOKEN)")
    await expect(page.locator("#banner .mode")).to_have_text("Active")
    assert (await stage.daemon.fetch("/api/v1/status"))["mode"] == "active"


async def test_nothing_is_sent_before_the_word_is_typed(page: Page):
    sent: list[str] = []
    page.on("request", lambda made: sent.append(made.method) if made.method == "POST" else None)
    await page.locator("[data-action=flatten]").click()
    for word in ("", "flat", "Flatten", "resume"):
        await confirm(page, word)
        await expect(page.locator("dialog [type=submit]")).to_be_disabled()

    await expect(page.locator("dialog .answer")).to_be_empty()
    assert sent == []


async def test_accepted_actions_are_shown_and_the_token_is_stored_nowhere(page: Page, stage: Stage):
    await page.locator("[data-action=pause]").click()
    await page.locator("dialog [name=level]").select_option("halted")
    await page.locator("dialog [name=reason]").fill("a look at the books")
    await confirm(page, "pause")
    await expect(page.locator("dialog .answer")).to_have_text("Accepted: pause is recorded.")
    await page.keyboard.press("Escape")
    await expect(page.locator("#banner .mode")).to_have_text("Halted")
    await expect(page.locator("#banner .reasons")).to_contain_text("a look at the books")
    await expect(page.locator("#banner .health")).to_have_text("Not hedging")

    await page.locator("[data-action=flatten]").click()
    await confirm(page, "flatten")
    await expect(page.locator("#hedges")).to_contain_text("No hedges are held.")
    await page.keyboard.press("Escape")
    await page.locator("[data-action=resume]").click()
    await confirm(page, "resume")
    await expect(page.locator("#banner .mode")).to_have_text("Active")
    await wait_until(lambda: check_hedged(stage.daemon, 1), "the hedge", 20)

    stored = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    assert HTTP_TOKEN not in await page.evaluate(stored)
    await page.reload()
    await page.locator("[data-action=pause]").click()
    await expect(page.locator("dialog [name=token]")).to_have_value("")


async def test_keyboard_reaches_everything_and_stays_in_a_dialog(page: Page):
    await page.reload()
    await expect(page.locator("#hedges tbody tr").first).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    reached = [await describe_focus(page)]
    for _ in range(40):
        await page.keyboard.press("Tab")
        reached.append(await describe_focus(page))
    wanted = ["Pause…", "Resume…", "Flatten…", "Theme: auto", "Inputs and their ages", "Exposure by market", "Hedges",
              "Market of the chart", "Positions", "Orders and events, newest first"]  # fmt: skip
    places = [reached.index(name) for name in wanted]
    assert places == sorted(places)

    await page.locator("[data-action=pause]").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("dialog [name=level]")).to_be_focused()
    for key in ["Tab"] * 8 + ["Shift+Tab"] * 8:
        await page.keyboard.press(key)
        assert await page.evaluate("document.activeElement.closest('dialog') !== null")
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    await expect(page.locator("[data-action=pause]")).to_be_focused()
    outline = await page.locator("[data-action=pause]").evaluate("(it) => getComputedStyle(it).outlineStyle")
    assert outline == "solid"


async def describe_focus(page: Page) -> str:
    return await page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_text_has_the_contrast_of_wcag_aa(page: Page, theme: str):
    await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    await page.locator("[data-action=flatten]").click()
    await confirm_typed_only(page)
    found = await page.evaluate(CONTRAST)

    assert found["seen"] > 100
    assert found["poor"] == []


async def confirm_typed_only(page: Page) -> None:
    """The button as it is when it may be pressed, and as it is when it may not."""
    await page.locator("dialog [name=token]").fill("x")
    await page.locator("dialog [name=word]").fill("flatten")
    await expect(page.locator("dialog [type=submit]")).to_be_enabled()


async def test_theme_can_be_chosen_and_is_remembered(page: Page):
    async def ground() -> str:
        return await page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = await ground()
    await page.get_by_role("button", name="Theme: auto").click()
    dark = await ground()
    assert dark != light
    await page.reload()
    await expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert await ground() == dark
    await page.get_by_role("button", name="Theme: dark").click()
    await page.emulate_media(color_scheme="dark")
    assert await ground() == light
    await page.get_by_role("button", name="Theme: light").click()
    await expect(page.get_by_role("button", name="Theme: auto")).to_be_visible()


async def test_page_fits_a_phone(page: Page):
    await page.set_viewport_size(PHONE)
    await expect(page.locator("#hedges tbody tr").first).to_be_visible()

    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    label = await page.locator("#hedges td").first.evaluate("(cell) => getComputedStyle(cell, '::before').content")
    assert label == '"Market"'
    wide = await page.locator(".panel:visible, .panel:visible td, button").evaluate_all(
        "(all) => all.filter((it) => it.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert wide == 0


async def test_nothing_moves_when_less_motion_is_wanted(page: Page):
    await page.emulate_media(reduced_motion="reduce")
    moving = (
        "[...document.querySelectorAll('*')].filter((it) => getComputedStyle(it).transitionDuration !== '0s').length"
    )

    assert await page.evaluate(moving) == 0


async def test_page_claims_nothing_before_the_daemon_has_said_anything(stage: Stage):
    context = await stage.browser.new_context(viewport={"width": 1280, "height": 900})
    try:
        page = await context.new_page()
        await page.route("**/api/v1/**", lambda route: route.abort())
        await page.goto(stage.daemon.url)
        await expect(page.locator("#hedges .empty")).to_have_text("Waiting for the daemon.")
        # The panels look again each second.
        await page.wait_for_timeout(1_500)
        said = await page.locator(".empty:visible").all_inner_texts()
    finally:
        await context.close()

    assert set(said) <= {"Waiting for the daemon.", "Nothing is known of the inputs yet."}
    assert len(said) >= 4
