"""What an operator's files and variables may hold: settings that the parts can be built from, or ``ConfigError``."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given

from dehedge.config import Settings, read_configuration
from dehedge.doubts import find_doubts
from dehedge.errors import ConfigError
from dehedge.markets import read_markets
from dehedge.parts import SystemClock, build_chain_reader, build_connector, build_policy, build_price_source
from tests.fuzz.hostile import NUMBERS, TEXTS, attack, damage, fuzz, seeds

LINE_MAX = 500
SECRET = "do-not-show-me-0123456789"
GOOD = {
    "NETWORKS": f"https://a.example/v2/{SECRET},http://127.0.0.1:8545",
    "BINANCE_API_KEY": SECRET,
    "BINANCE_API_SECRET": SECRET,
    "PYTH_API_KEY": SECRET,
    "HTTP_TOKEN": SECRET,
    "CHAIN_ID": "8453",
    "VAULT_FACTOR": "0.8",
    "LEVERAGE": "20",
    "MIN_COLLATERAL": "50",
    "POLL_INTERVAL_SECONDS": "3",
    "MAX_CONFIDENCE_BPS": "100",
    "STATE_URL": "sqlite:///dehedge.db",
    "HTTP_HOST": "127.0.0.1",
    "HTTP_PORT": "8780",
    "BINANCE_FUTURES_URL": "http://127.0.0.1:9000",
    "PYTH_PRICE_SERVICE": "https://h.example",
    "KEY_FILE": "key",
}
MARKETS = b'# markets\n[binance]\n"BTC-USD" = "BTCUSDT"\n"ETH-USD" = "ETHUSDT"\n\n[paper]\nx = {a = [1, 2.5, "y"]}\n'
TOML = (
    *(b"[" * 900, b"a." * 400, b'"""', b"= 1979-05-27T07:32:00+23:59\n", b"= 9" + b"9" * 900, b"= nan\n", b"[[binance]]\n"),
    *(b'"\\u0000" = 1\n', b'"\\n\\u001b" = 1\n', b"\xff", b"{" * 900, b"x = [\n" * 3_000, b'"a"."b"=1\n"a".b.c=2\n', b"\r"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text(SECRET)
    return tmp_path


def spoil_value(random: Random, value: str) -> str:
    match random.randrange(6):
        case 0 if "//" in value:
            return value.replace("http", random.choice(("ftp", "http", ""))) + "/?k=" + SECRET
        case 0:
            return random.choice([text[:3_000] for text in TEXTS])
        case 1:
            return str(random.choice(NUMBERS))
        case 2:
            return value + random.choice(("\x00", "\ud800", "#", "'", '"', "${KEY}", "\\", ",", "@", "\x85x", "y" * 300, "/" * 300 + "z" * 5_000))
        case 3:
            return value[: random.randrange(len(value) + 1)]
    return value


def build_dotenv(random: Random) -> bytes:
    lines = [
        f"{random.choice(('', '', '', 'export ', ' ', '='))}{name}{random.choice(('=', '=', '=', ' = ', ':', ''))}"
        f"{random.choice(('', '', chr(34), chr(39)))}{spoil_value(random, value) if random.randrange(4) == 0 else value}"
        for name, value in GOOD.items()
        if random.randrange(12)
    ]
    return damage(random, random.choice(("\n", "\n", "\r\n", "\r")).join(lines).encode("utf-8", "surrogatepass"))


@fuzz(20)
@given(seeds)
def test_dotenv_gives_settings_that_work_or_a_configuration_error(folder: Path, random: Random):
    (folder / "markets.toml").write_bytes(MARKETS)

    def check(payload: bytes) -> None:
        (folder / ".env").write_bytes(payload)
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("BINANCE_API_SECRET", SECRET)
            check_configuration()

    attack(random, build_dotenv, check)


@fuzz(25)
@given(seeds)
def test_environment_gives_settings_that_work_or_a_configuration_error(folder: Path, random: Random):
    (folder / "markets.toml").write_bytes(MARKETS)

    def check(payload: bytes) -> None:
        name, _, value = payload.partition(b"=")
        with pytest.MonkeyPatch.context() as patched:
            for each, good in GOOD.items():
                patched.setenv(each, good)
            patched.setenv(name.decode(), os.fsdecode(value.replace(b"\x00", b"")))
            check_configuration()

    def build(random: Random) -> bytes:
        name = random.choice([field.upper() for field in Settings.model_fields] + ["KEY_FILE", "NETWORKS_FILE"])
        value = spoil_value(random, GOOD.get(name, "x")).encode("utf-8", "surrogatepass")
        return name.encode() + b"=" + random.choice((value, value, b"\xff" + value))

    attack(random, build, check)


def check_configuration() -> None:
    for doubt in find_doubts():
        assert all(part.isprintable() and len(part) < LINE_MAX and SECRET not in part for part in doubt), doubt
    try:
        settings, symbols = read_configuration()
        build_all(settings, symbols)
    except ConfigError as error:
        check_lines(error)


def check_lines(error: ConfigError) -> None:
    for problem in error.problems:
        assert problem.isprintable(), problem
        assert len(problem) < LINE_MAX
        assert SECRET not in problem


def build_all(settings: Settings, symbols: dict[str, str]) -> None:
    """As ``dehedge run`` does; nothing here reaches out yet."""
    clock = SystemClock()
    assert SECRET not in repr(settings)
    parts: list[Any] = [build_policy(settings, symbols), build_chain_reader(settings, clock)]
    parts += [build_price_source(settings, clock), build_connector(settings, clock)]
    assert SECRET not in "".join(map(repr, parts))
    assert settings.state_path.parent.is_dir()
    assert all(isinstance(text, str) for text in settings.get_secret_texts())


@fuzz(40)
@given(seeds)
def test_markets_are_symbols_by_name_or_a_configuration_error(folder: Path, random: Random):
    path = folder / "markets.toml"

    def build(random: Random) -> bytes:
        if random.randrange(3):
            return damage(random, MARKETS)
        place = random.randrange(len(MARKETS))
        return MARKETS[:place] + random.choice(TOML) + MARKETS[place:]

    def check(payload: bytes) -> None:
        path.write_bytes(payload)
        try:
            symbols = read_markets(random.choice(("binance", "paper")), path)
        except ConfigError as error:
            check_lines(error)
        else:
            assert symbols
            assert all(symbol.isalnum() for symbol in symbols.values())

    attack(random, build, check)
