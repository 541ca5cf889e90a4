"""The variables as they are given: the process's environment over ``.env``, and secrets from files.

Reads text and judges none of it; what cannot be read is reported, never raised, so that ``config`` can tell all mistakes
at once. Called by ``config`` and ``doubts`` only.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

DOTENV_FILE = Path(".env")
FILE_BYTES_MAX = 65_536
"""No file of settings or with a secret is longer; what is named by mistake may have no end."""

SECRETS = (
    "NETWORKS", "NETWORKS_WS", "KEY", "PYTH_API_KEY", "BINANCE_API_KEY", "BINANCE_API_SECRET", "HTTP_TOKEN", "NOTIFY_URLS",
    "HEARTBEAT_URL",
)  # fmt: skip
"""Variables that may hold a secret (an RPC URL often holds a key): each may also be given as NAME_FILE."""


class Environment(NamedTuple):
    """``values`` by variable, ``names`` of all variables that are set, and the ``problems`` of reading them.

    ``lines`` of ``.env`` by the name that they give, and ``unread`` NAME_FILEs that stand beside their NAME.
    """

    values: Mapping[str, str]
    names: frozenset[str]
    problems: tuple[str, ...]
    lines: Mapping[str, Sequence[int]]
    unread: frozenset[str]

    def check_given(self, name: str) -> bool:
        """True where somebody wanted to give the variable, even by a file that cannot be read."""
        return name in self.values or f"{name}_FILE" in self.names


def read_environment() -> Environment:
    """The process's environment over ``.env``; in each, NAME goes before NAME_FILE. Empty is not set."""
    bindings, problems = _read_dotenv()
    dotenv, broken = _read_bindings(bindings)
    problems += broken
    values: dict[str, str] = {}
    names: set[str] = set()
    unread: set[str] = set()
    for layer in (dotenv, {name: value for name, value in os.environ.items() if value}):
        secrets, unreadable = _read_secret_files(layer)
        values |= layer | secrets
        names |= layer.keys()
        problems += unreadable
        unread |= {f"{name}_FILE" for name in SECRETS if layer.keys() >= {name, f"{name}_FILE"}}
    return Environment(values, frozenset(names), tuple(problems), _number_lines(bindings), frozenset(unread))


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """A small file. Raises ``OSError`` where there is none, and ``ValueError`` where it is no text or has no such name."""
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise OSError(errno.EFBIG, f"it is longer than {FILE_BYTES_MAX} bytes")
    return content.decode(encoding)


def _read_dotenv() -> tuple[list[Binding], list[str]]:
    if not DOTENV_FILE.exists():
        return [], []
    try:
        text = read_text(DOTENV_FILE, "utf-8-sig")
    except (OSError, ValueError) as error:
        return [], [f"{DOTENV_FILE}: cannot be read: {_explain(error)}"]
    return list(parse_stream(StringIO(text))), []


def _read_bindings(bindings: Sequence[Binding]) -> tuple[dict[str, str], list[str]]:
    """What ``.env`` says, and a line for everything in it that says nothing."""
    # A name without a value is no error to the parser; a comment or an empty line has no name.
    wrong = [binding for binding in bindings if binding.error or (binding.key and binding.value is None)]
    sound = "".join(binding.original.string for binding in bindings if binding not in wrong)
    # A value is what stands there: a secret may hold a ${, and values made of values can grow without end.
    values = {name: value for name, value in dotenv_values(stream=StringIO(sound), interpolate=False).items() if value}
    return values, [f"{DOTENV_FILE}: line {each.original.line} is not NAME=value; correct or remove it" for each in wrong]


def _number_lines(bindings: Sequence[Binding]) -> Mapping[str, Sequence[int]]:
    lines: defaultdict[str, list[int]] = defaultdict(list)
    for binding in bindings:
        if binding.key and binding.value is not None:
            lines[binding.key].append(binding.original.line)
    return lines


def _read_secret_files(layer: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    values, problems = {}, []
    for name in SECRETS:
        path = layer.get(f"{name}_FILE")
        if path is None or name in layer:
            continue
        try:
            values[name] = read_text(Path(path)).strip()
        except (OSError, ValueError) as error:
            problems.append(f"{name}_FILE: cannot read {_name(path)}: {_explain(error)}")
        else:
            problems += [] if values[name] else [f"{name}_FILE: {_name(path)} is empty"]
    return {name: value for name, value in values.items() if value}, problems


def _name(path: str) -> str:
    """The file, unless what was given may be the secret itself: then neither it nor its folder is there."""
    folder, slash, _ = path.rpartition("/")
    try:
        is_file = Path(path).exists() or bool(slash and Path(folder or "/").is_dir())
    except (OSError, ValueError):
        is_file = False
    return repr(path) if is_file else "the file that it names"


def _explain(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "no file has such a name"
