"""What every test runs under."""

from __future__ import annotations

import asyncio

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_implicit_loop() -> None:
    """looptime asks for the current loop around synchronous tests, which would make one that nobody closes."""
    asyncio.set_event_loop(None)
