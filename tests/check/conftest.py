"""A whole local world in which everything is well, and the check of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from dehedge.check.report import Line, Report
from dehedge.check.steps import DEFAULT_BUDGET, Budget, check_all
from dehedge.config import Settings, read_settings
from dehedge.sim.chain import InProcessChain
from dehedge.sim.world import SYMBOLS, USD, World, build_position
from tests.check.kit import Check

PRICES = {"BTC-USD": Decimal(60_000), "ETH-USD": Decimal(3_000)}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(PRICES, use_anvil=False)
    await world.start()
    await world.chain.put(build_position(0xA1, "BTC-USD", is_long=True, size_usd=1_000, price=Decimal(60_000)))
    await world.chain.set_vault(500_000 * USD)
    await world.chain.set_shield(600 * USD)
    yield world
    await world.stop()


@pytest.fixture
def chain(world: World) -> InProcessChain:
    assert isinstance(world.chain, InProcessChain)
    return world.chain


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, str]], Settings]:
    """Sets the process's variables and reads them, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def read(given: Mapping[str, str]) -> Settings:
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        return read_settings()

    return read


@pytest.fixture
def check(world: World, variables: Callable[[Mapping[str, str]], Settings]) -> Check:
    """Runs every check against the world; gives the lines by what they are about."""

    async def run(
        symbols: Mapping[str, str] = SYMBOLS, budget: Budget = DEFAULT_BUDGET, **changes: str
    ) -> dict[str, Line]:
        settings = variables(world.build_environment(**{"HTTP_PORT": "0", **changes}))
        report = Report(use_json=True)
        await check_all(report, settings, symbols, budget)
        return {line.name: line for line in report.lines}

    return run
