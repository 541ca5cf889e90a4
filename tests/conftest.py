"""What every test runs under."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / ".env.example"
"""Names every variable; the settings themselves need more than the tests of the core have."""

LONGEST = (
    "tests/test_daemon.py",
    "tests/test_cli.py",
    "tests/test_attack_engine.py",
    "tests/test_cli_replay.py",
    "tests/simulation/test_defects.py",
    "tests/simulation/test_stories.py",
    "tests/replay/test_pool.py",
    "tests/browser/test_dashboard_page.py",
    "tests/sim/test_demo.py",
)
"""Files of half a minute and more, longest first: one that begins last is waited for by every other process."""

ALONE = pytest.mark.looptime(noop_cycles=4)
"""Before the virtual clock jumps, looptime polls for news from outside 42 times; where nobody is outside, less will do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; all others in the order in which they were found."""
    root = EXAMPLE.parent
    ranks = {root / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(LONGEST)))
    for item in items:
        is_adapter = root / "tests/adapters" in item.path.parents
        if not is_adapter and item.get_closest_marker("looptime") is not None:
            item.add_marker(ALONE)


@pytest.fixture(scope="session", autouse=True)
def no_implicit_loop() -> None:
    """looptime asks for the current loop around synchronous tests, which would make one that nobody closes."""
    asyncio.set_event_loop(None)


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard() -> None:
    """A shell that starts the tests in the background has SIGINT ignored, and so would every program that they start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def no_variables_of_ours() -> None:
    """Whoever runs the tests may have some in the shell."""
    for name in re.findall(r"(?m)^#?([A-Z_]+)=", EXAMPLE.read_text(encoding="utf-8")):
        for given in (name, f"{name}_FILE"):
            os.environ.pop(given, None)
