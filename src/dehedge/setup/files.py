"""The files of a configuration as text: ``.env`` in the words of ``.env.example``, and ``markets.toml``.

Writes whole files or none, and never follows what stands in the way. Called by ``setup``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dehedge.errors import DehedgeError
from dehedge.setup.matching import Match

PLACES = (Path(__file__).parents[1] / "env.example", Path(__file__).parents[3] / ".env.example")
"""Of the example: in an installed package, and in a clone."""
TITLE = "# Copy to .env and fill in. "
MARKETS_HEAD = """\
# DePerp market -> the exchange's symbol, one table per connector; paper trades the symbols of binance.
# A market without a line is watched and never hedged. Made by `dehedge init`.

[binance]
"""
_VARIABLE = re.compile(r"#?([A-Z_]+)=.*")
_PLAIN = re.compile(r"[\w./:@%+,=?&~*!-]*", re.ASCII)


def render_dotenv(values: Mapping[str, str]) -> str:
    """The example with these values in place of what stands there."""
    lines = [_fill(line, values) for line in _read_example().splitlines()]
    return "\n".join(lines).replace(TITLE, "# Made by `dehedge init`. ", 1) + "\n"


def _read_example() -> str:
    for place in PLACES:
        if place.exists():
            return place.read_text(encoding="utf-8")
    raise DehedgeError("init: this installation lacks .env.example; install it again, or run it in a clone")


def _fill(line: str, values: Mapping[str, str]) -> str:
    found = _VARIABLE.fullmatch(line)
    return f"{found[1]}={_quote(values[found[1]])}" if found is not None and found[1] in values else line


def _quote(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def render_markets(matches: Sequence[Match]) -> str:
    """What matched, and what did not as comments with the reason. The names are the chain's, and foreign text."""
    lines = [
        f'{json.dumps(match.market)} = "{match.symbol}"'
        if match.symbol
        else f"# {json.dumps(match.market)}: {_show(match.reason)}"
        for match in matches
    ]
    return MARKETS_HEAD + "\n".join(lines) + "\n"


def _show(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def write_file(path: Path, content: str, *, mode: int, may_replace: bool) -> None:
    """Whole, with this mode. Raises ``DehedgeError`` where it cannot, or where a file is there that may not be replaced."""
    target = path.with_name(f"{path.name}.new") if may_replace else path
    try:
        if may_replace:
            target.unlink(missing_ok=True)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
        if may_replace:
            target.replace(path)
    except OSError as error:
        raise DehedgeError(f"init: {path} cannot be written: {error.strerror}") from None
