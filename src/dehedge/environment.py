"""The variables as they are given: the process's environment over ``.env``, and secrets from files.

Reads text and judges none of it; what cannot be read is reported, never raised, so that ``config`` can tell all mistakes
at once. Called by ``config`` only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from dotenv import dotenv_values
from dotenv.parser import parse_stream

DOTENV_FILE = Path(".env")
SECRETS = ("NETWORKS", "KEY", "PYTH_API_KEY", "BINANCE_API_KEY", "BINANCE_API_SECRET", "HTTP_TOKEN")
"""Variables that may hold a secret (an RPC URL often holds a key): each may also be given as NAME_FILE."""


class Environment(NamedTuple):
    """``values`` by variable, ``names`` of all variables that are set, and the ``problems`` of reading them."""

    values: Mapping[str, str]
    names: frozenset[str]
    problems: tuple[str, ...]

    def check_given(self, name: str) -> bool:
        """True where somebody wanted to give the variable, even by a file that cannot be read."""
        return name in self.values or f"{name}_FILE" in self.names


def read_environment() -> Environment:
    """The process's environment over ``.env``; in each, NAME goes before NAME_FILE. Empty is not set."""
    dotenv, problems = _read_dotenv()
    values: dict[str, str] = {}
    names: set[str] = set()
    for layer in (dotenv, {name: value for name, value in os.environ.items() if value}):
        secrets, unreadable = _read_secret_files(layer)
        values |= layer | secrets
        names |= layer.keys()
        problems += unreadable
    return Environment(values, frozenset(names), tuple(problems))


def _read_dotenv() -> tuple[dict[str, str], list[str]]:
    """What ``.env`` says, and a line for everything in it that says nothing."""
    if not DOTENV_FILE.exists():
        return {}, []
    try:
        text = DOTENV_FILE.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"{DOTENV_FILE}: cannot be read: {_explain(error)}"]
    bindings = list(parse_stream(StringIO(text)))
    # A name without a value is no error to the parser; a comment or an empty line has no name.
    wrong = [binding for binding in bindings if binding.error or (binding.key and binding.value is None)]
    sound = "".join(binding.original.string for binding in bindings if binding not in wrong)
    values = {name: value for name, value in dotenv_values(stream=StringIO(sound)).items() if value}
    return values, [f"{DOTENV_FILE}: line {each.original.line} is not NAME=value; correct or remove it" for each in wrong]


def _read_secret_files(layer: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    values, problems = {}, []
    for name in SECRETS:
        path = layer.get(f"{name}_FILE")
        if path is None or name in layer:
            continue
        try:
            values[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{name}_FILE: cannot read {path!r}: {_explain(error)}")
        else:
            problems += [] if values[name] else [f"{name}_FILE: {path!r} is empty"]
    return {name: value for name, value in values.items() if value}, problems


def _explain(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else "it is not UTF-8 text"
