"""What the operator gave and may not have meant: names that nobody reads, and names that are given twice.

Tells and refuses nothing: ``run`` logs each as a warning, ``check`` shows it as a line. ``.env`` and ``markets.toml`` are our
own files, so every unknown name in them is one; of the process's environment, which is everybody's, only what begins like
ours. Called by the commands.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple, get_args

from dehedge.config import Settings
from dehedge.environment import DOTENV_FILE, SECRETS, Environment, read_environment
from dehedge.guard_settings import GUARD_PREFIXES
from dehedge.markets import MARKETS_FILE, read_table_names

_OUR_PREFIXES = ("BINANCE_", "PYTH_", "HEDGE_", "VAULT_", "STATE_", "PROFIT_", "POLL_", "PRICE_", "MAX_PRICE",
                 "MAX_SNAPSHOT", "MAX_CONFIDENCE", *GUARD_PREFIXES, "HTTP_HOST", "HTTP_PORT", "HTTP_TOKEN", "HTTP_ALLOWED",
                 "MIN_COLLATERAL", "CHAIN_",
                 "MARGIN_", "BPS_", "NETWORKS", "LEVERAGE", "CONNECTOR", "LOG_LEVEL", "LOG_FORMAT", "NOTIFY_URL", "NOTIFY_AFTER",
                 "HEARTBEAT_", "RISK_SCOPE", "PORTFOLIO_")  # fmt: skip
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
LINES_SHOWN_MAX = 4
_REMEDY = "correct or remove it"


class Doubt(NamedTuple):
    """``event`` is its name in the log, ``setting`` what it is about."""

    event: str
    setting: str
    detail: str
    remedy: str


def find_doubts() -> list[Doubt]:
    """Everything that was given in vain, as far as can be told without asking anybody."""
    environment = read_environment()
    return [*_find_unknown(environment), *_find_doubles(environment), *_find_unknown_tables()]


def _find_unknown(environment: Environment) -> Iterator[Doubt]:
    known = {name.upper() for name in Settings.model_fields} | {f"{name}_FILE" for name in SECRETS}
    for name in sorted(environment.lines.keys() - known):
        where = f"line {environment.lines[name][-1]} of {DOTENV_FILE}"
        nearest = _find_nearest(name.upper(), known)
        # What looks like no variable may be a secret that lost its name.
        is_name = name.isidentifier() if nearest else _VARIABLE.fullmatch(name)
        yield Doubt(
            "variable_unknown", name if is_name else where, f"unknown variable in {where}", _build_remedy(nearest)
        )
    for name in sorted(environment.names - environment.lines.keys() - known):
        if name.startswith(_OUR_PREFIXES):
            yield Doubt("variable_unknown", name, "unknown variable", _build_remedy(_find_nearest(name, known)))


def _find_doubles(environment: Environment) -> Iterator[Doubt]:
    for name, lines in sorted(environment.lines.items()):
        if len(lines) > 1 and _VARIABLE.fullmatch(name):
            yield Doubt(
                "variable_given_twice",
                name,
                f"given in lines {_list_lines(lines)} of {DOTENV_FILE}: the last one counts",
                "remove the others",
            )
    for name in sorted(environment.unread):
        yield Doubt(
            "variable_given_twice",
            name,
            f"not read, because {name.removesuffix('_FILE')} is given as well",
            "remove one of the two",
        )


def _list_lines(lines: Sequence[int]) -> str:
    """Never long: the first ones, and the last, which counts."""
    shown = [str(line) for line in lines[:LINES_SHOWN_MAX]]
    return " and ".join(shown if len(lines) <= LINES_SHOWN_MAX else [", ".join([*shown, "..."]), str(lines[-1])])


def _find_unknown_tables() -> Iterator[Doubt]:
    known = get_args(Settings.model_fields["connector"].annotation)
    for name in read_table_names():
        if name not in known:
            nearest = _find_nearest(name, [f"[{each}]" for each in known])
            yield Doubt(
                "table_unknown",
                f"[{name}] in {MARKETS_FILE}",
                "no connector has this name: nothing in it is read",
                _build_remedy(nearest),
            )


def _find_nearest(name: str, known: Collection[str]) -> str:
    return next(iter(get_close_matches(name, sorted(known), n=1)), "")


def _build_remedy(nearest: str) -> str:
    return f"did you mean {nearest}? {_REMEDY}" if nearest else _REMEDY
