"""One world, one daemon, one browser and one page for all tests of the dashboard.

Without a browser the tests are skipped, but where ``CI`` is set: there it must be.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.browser.stage import Stage, a_stage, find_chromium

DESK = {"width": 1280, "height": 900}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    if find_chromium() is None:
        assert not os.environ.get("CI"), "no chromium: apt-get install chromium"
        pytest.skip("no chromium on this machine: apt-get install chromium")
    async with a_stage(tmp_path_factory.mktemp("daemon")) as built:
        yield built


class Opened(NamedTuple):
    """The dashboard in the browser, what its console said, and which addresses it asked."""

    page: Page
    said: list[str]
    asked: list[str]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def opened(stage: Stage) -> AsyncIterator[Opened]:
    context = await stage.browser.new_context(viewport=DESK, color_scheme="light")
    opened = Opened(await context.new_page(), [], [])
    opened.page.on("console", lambda message: opened.said.append(message.text))
    opened.page.on("pageerror", lambda error: opened.said.append(f"uncaught: {error}"))
    opened.page.on("request", lambda made: opened.asked.append(made.url))
    await opened.page.goto(stage.daemon.url)
    await opened.page.locator("#hedges tbody tr").first.wait_for()
    yield opened
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(opened: Opened, stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[Page]:
    """The dashboard, loaded once for all. Nothing it did may have failed or gone elsewhere; ``expects_console`` names what is said."""
    marker = request.node.get_closest_marker("expects_console")
    page = opened.page
    yield page
    await page.keyboard.press("Escape")
    await page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    await page.set_viewport_size(DESK)
    said, asked = opened.said.copy(), opened.asked.copy()
    opened.said.clear()
    assert asked
    assert [url for url in asked if not url.startswith(stage.daemon.url + "/")] == []
    assert said == list(marker.args if marker else ())
