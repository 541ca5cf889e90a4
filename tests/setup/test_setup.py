"""``dehedge init`` as a new operator runs it, on a terminal and without one, against local stand-ins."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from tests.terminal import KEPT, Terminal

from dehedge.config import read_configuration
from dehedge.sim.chain import SimMarket
from dehedge.sim.world import World

pytestmark = pytest.mark.timeout(200)

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World({"BTC-USD": Decimal(60_000), "ETH-USD": Decimal(3_000)}, use_anvil=False)
    await world.start()
    await world.chain.set_market(SimMarket(market="NOPE-USD", name="NOPE", pyth_feed="0" * 64))
    yield world
    await world.stop()


@pytest.fixture
def given(world: World) -> dict[str, str]:
    """What the environment of the tests gives, so that nothing leaves this machine."""
    return {"NETWORKS": world.chain.url, "BINANCE_FUTURES_URL": world.exchange.url, "BINANCE_FUTURES_WS_URL": world.exchange.ws_url}


@pytest.fixture
async def open_terminal(tmp_path: Path, given: dict[str, str]) -> AsyncIterator[Callable[..., Any]]:
    opened: list[Terminal] = []

    async def start(*arguments: str, **changes: str) -> Terminal:
        terminal = Terminal(tmp_path, {**given, **changes})
        opened.append(terminal)
        await terminal.start(*arguments)
        return terminal

    yield start
    for terminal in opened:
        await terminal.close()


async def run_init(folder: Path, variables: dict[str, str], *arguments: str) -> tuple[int, str, list[str]]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dehedge", "init", *arguments, cwd=folder, env={**kept, **variables},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert b"Traceback" not in errors
    return process.returncode or 0, output.decode(), errors.decode().splitlines()


async def test_defaults_make_a_paper_configuration_without_a_question(
    tmp_path: Path, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    code, output, errors = await run_init(tmp_path, given, "--yes")

    assert (code, errors) == (0, [])
    assert output.splitlines()[:4] == [
        "127.0.0.1 has 3 markets of DePerp",
        "  BTC-USD   BTCUSDT",
        "  ETH-USD   ETHUSDT",
        "  NOPE-USD  not hedged: the exchange lists no perpetual of NOPE",
    ]
    assert output.splitlines()[-1] == "Next: `dehedge check` tries everything, `dehedge run` starts"
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert '# "NOPE-USD": the exchange lists no perpetual of NOPE' in (tmp_path / "markets.toml").read_text()
    monkeypatch.chdir(tmp_path)
    settings, symbols = read_configuration()
    assert (settings.connector, settings.rpc_urls) == ("paper", [given["NETWORKS"]])
    assert symbols == {"BTC-USD": "BTCUSDT", "ETH-USD": "ETHUSDT"}
    assert settings.http_token is not None
    assert len(settings.http_token.get_secret_value()) >= 16


async def test_tokens_are_never_the_same(tmp_path: Path, given: dict[str, str]):
    tokens = set()
    for _ in range(2):
        await run_init(tmp_path, given, "--yes", "--force")
        tokens.add(dotenv_values(tmp_path / ".env", interpolate=False)["HTTP_TOKEN"])
        (tmp_path / ".env").unlink()

    assert len(tokens) == 2


async def test_nothing_is_overwritten_unless_it_is_forced(tmp_path: Path, given: dict[str, str]):
    (tmp_path / ".env").write_text("LEVERAGE=7\n")
    (tmp_path / "markets.toml").write_text("# mine\n")

    code, _, errors = await run_init(tmp_path, given, "--yes")
    assert (code, errors) == (1, ["dehedge: init: .env is there already; edit it, or say --force to replace it"])
    assert (tmp_path / ".env").read_text() == "LEVERAGE=7\n"

    code, output, _ = await run_init(tmp_path, given, "--yes", "--force")
    assert code == 0
    assert "LEVERAGE=7\n" in (tmp_path / ".env").read_text()
    assert "BTCUSDT" in (tmp_path / "markets.toml").read_text()
    assert "markets.toml is written: 2 of 3 markets are hedged" in output


async def test_markets_that_are_there_stay(tmp_path: Path, given: dict[str, str]):
    (tmp_path / "markets.toml").write_text("# mine\n")

    code, output, _ = await run_init(tmp_path, given, "--yes")

    assert code == 0
    assert "markets.toml is there already and stays as it is; --force replaces it" in output
    assert (tmp_path / "markets.toml").read_text() == "# mine\n"


async def test_secret_in_a_file_of_its_own_is_not_copied(tmp_path: Path, given: dict[str, str]):
    secret = tmp_path / "networks"
    secret.write_text(given.pop("NETWORKS"))

    code, _, _ = await run_init(tmp_path, {**given, "NETWORKS_FILE": str(secret), "KEY": "0x1"}, "--yes")

    assert code == 0
    assert secret.read_text() not in (tmp_path / ".env").read_text()
    assert "0x1" not in (tmp_path / ".env").read_text()


async def test_question_is_refused_in_one_line_when_there_is_no_terminal(tmp_path: Path, given: dict[str, str]):
    code, output, errors = await run_init(tmp_path, given)

    assert (code, output) == (1, "")
    assert errors == ["dehedge: init: this is no terminal to ask on; say --yes to take the defaults, for paper"]
    assert os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.mark.parametrize("name", ["NETWORKS", "BINANCE_FUTURES_URL"])
async def test_nothing_is_written_when_a_service_does_not_answer(tmp_path: Path, given: dict[str, str], name: str):
    code, _, errors = await run_init(tmp_path, {**given, name: NOWHERE}, "--yes")

    assert code == 1
    assert len(errors) == 1
    assert name in errors[0]
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_nothing_is_written_when_nothing_can_be_hedged(tmp_path: Path, world: World, given: dict[str, str]):
    for symbol in ("BTCUSDT", "ETHUSDT"):
        world.exchange.set_status(symbol, "BREAK")

    code, output, errors = await run_init(tmp_path, given, "--yes")

    assert "ETH-USD   not hedged: ETHUSDT is not open for trading" in output
    assert code == 1
    assert errors == ["dehedge: init: none of these markets can be hedged with what the exchange lists; nothing was written"]
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_person_is_asked_only_for_what_nobody_else_knows(
    tmp_path: Path, open_terminal: Callable[..., Any], given: dict[str, str]
):
    terminal = await open_terminal("init")

    await terminal.wait_for(f"URL of a Base node (several with commas) [{given['NETWORKS']}]: ")
    terminal.type(f"{NOWHERE}\n")
    await terminal.wait_for("cannot be reached")
    await terminal.wait_for(f"[{NOWHERE}]: ")
    terminal.type(f"{given['NETWORKS']}\n")
    await terminal.wait_for("URL of Hermes [https://hermes.pyth.network]: ")
    terminal.type("\n")
    await terminal.wait_for("Pyth API key (empty: none yet): ")
    terminal.type("the-pyth-key\n")
    await terminal.wait_for("Trade on paper, or on an account at binance (paper, binance) [paper]: ")
    terminal.type("binanse\n")
    await terminal.wait_for("[paper]: ")
    terminal.type("binance\n")
    await terminal.wait_for("(demo, mainnet) [demo]: ")
    terminal.type("\n")
    await terminal.wait_for("BINANCE_API_KEY (of a futures key without withdrawal): ")
    terminal.type("the-api-key\n")
    await terminal.wait_for("BINANCE_API_SECRET (of a futures key without withdrawal): ")
    terminal.type("the-api-secret\n")
    await terminal.wait_for("Next: `dehedge check`")
    assert await terminal.wait() == 0

    written = dotenv_values(tmp_path / ".env", interpolate=False)
    assert {name: written[name] for name in ("CONNECTOR", "BINANCE_ENVIRONMENT", "BINANCE_API_KEY")} == {
        "CONNECTOR": "binance", "BINANCE_ENVIRONMENT": "demo", "BINANCE_API_KEY": "the-api-key",
    }  # fmt: skip
    assert (written["BINANCE_API_SECRET"], written["PYTH_API_KEY"]) == ("the-api-secret", "the-pyth-key")
    assert not any(key in terminal.shown for key in ("the-pyth-key", "the-api-key", "the-api-secret"))


async def test_interrupt_writes_nothing(tmp_path: Path, open_terminal: Callable[..., Any]):
    terminal = await open_terminal("init")
    await terminal.wait_for("URL of a Base node")
    terminal.type("\x03")

    assert await terminal.wait() != 0
    assert "Traceback" not in terminal.shown
    assert os.listdir(tmp_path) == []  # noqa: PTH208
