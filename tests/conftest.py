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
