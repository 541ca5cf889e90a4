"""``markets.toml``: which symbol of the exchange stands for which market of DePerp, one table per connector.

Reads and checks the file, and knows nothing of what is listed where. Every mistake is told, one line each. Called by
``config``.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from dehedge.environment import read_text
from dehedge.errors import ConfigError

MARKETS_FILE = Path("markets.toml")
LINE_LENGTH_MAX = 1_000
"""The parser takes the square of the number of parts of a key."""

SHOWN_LENGTH_MAX = 80


def read_markets(connector: str, path: Path = MARKETS_FILE) -> dict[str, str]:
    """The connector's table of DePerp market -> symbol; paper trades the symbols of binance."""
    try:
        tables = _parse(read_text(path))
    except FileNotFoundError:
        what = f'write a table [{connector}] with "BTC-USD" = "BTCUSDT"'
        raise ConfigError(f"{path}: not found in {_name_folder()}; {what}, or let `dehedge init` do it") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {_show(str(error))}") from None
    names = (connector, "binance") if connector == "paper" else (connector,)
    table = next((tables[name] for name in names if tables.get(name)), None)
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: has no table {' or '.join(f'[{name}]' for name in names)} with markets")
    wrong = [name for name, symbol in table.items() if not isinstance(symbol, str) or not symbol.isalnum()]
    if wrong:
        raise ConfigError(*(f'{path}: "{_show(name)}" must name a symbol, such as "BTCUSDT"' for name in wrong))
    return dict(table)


def read_table_names(path: Path = MARKETS_FILE) -> list[str]:
    """How the tables are called, and what stands in none; nothing where ``read_markets`` tells what is wrong."""
    try:
        return [_show(name) for name in _parse(read_text(path))]
    except (OSError, ValueError, RecursionError):
        return []


def _parse(text: str) -> dict[str, Any]:
    """Raises ``ValueError``, and ``RecursionError`` for what is nested without end."""
    if any(len(line) > LINE_LENGTH_MAX for line in text.splitlines()):
        raise ValueError(f"a line has more than {LINE_LENGTH_MAX} characters")
    return tomllib.loads(text)


def _name_folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "a working directory that is gone"


def _show(text: str) -> str:
    """Foreign text as a part of one line."""
    line = "".join(sign if sign.isprintable() else "?" for sign in text)
    return line if len(line) <= SHOWN_LENGTH_MAX else f"{line[: SHOWN_LENGTH_MAX - 3]}..."
