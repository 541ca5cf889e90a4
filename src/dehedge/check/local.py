"""What this machine alone decides: the settings among themselves, the journal, the HTTP port.

A daemon may be running meanwhile: what it holds is a warning, not a failure.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from dehedge.adapters.journal import SqliteJournal
from dehedge.adapters.journal_lock import read_lost
from dehedge.check.report import Line, build_failure, build_pass, build_warning
from dehedge.client import fetch_answer, format_count
from dehedge.config import Settings
from dehedge.core.book import HedgeBook
from dehedge.doubts import find_doubts
from dehedge.errors import DehedgeError, JournalError, JournalLocked
from dehedge.ports import Clock
from dehedge.recovery import replay

ANSWER_S = 1.0
"""A daemon on this machine answers at once; something else on the port may never."""


def check_settings(settings: Settings, symbols: Mapping[str, str]) -> list[Line]:
    listed = ", ".join(f"{market} -> {symbol}" for market, symbol in symbols.items())
    return [
        build_pass("settings", f"{settings.node_env}, connector {settings.connector}"),
        *(build_warning(doubt.setting, doubt.detail, doubt.remedy) for doubt in find_doubts()),
        *_find_oddities(settings),
        build_pass("markets.toml", listed),
        *_find_doubles(symbols),
        check_factors(settings),
    ]


def check_factors(settings: Settings) -> Line:
    detail = (
        f"VAULT_FACTOR {settings.vault_factor}, VAULT_PROFIT_LIMIT_FACTOR {settings.vault_profit_limit_factor},"
        f" PROFIT_LIMIT_INTEREST {settings.profit_limit_interest}"
    )
    if settings.risk_factors.are_one_condition:
        detail += ": the three checks are one condition, a trader's profit against the shield"
    return build_pass("risk factors", detail)


def _find_oddities(settings: Settings) -> list[Line]:
    lines = []
    if settings.key is not None:
        lines.append(build_warning("KEY", "is set and never used", "remove it: the daemon only reads the chain"))
    if settings.http_token is None:
        lines.append(build_warning("HTTP_TOKEN", "is not set: pause, resume and flatten are refused", "set it to use them"))
    if settings.max_snapshot_age_seconds <= settings.poll_interval_seconds:
        lines.append(
            build_warning("MAX_SNAPSHOT_AGE_SECONDS", "is not above POLL_INTERVAL_SECONDS: snapshots age between polls")
        )
    return lines


def _find_doubles(symbols: Mapping[str, str]) -> list[Line]:
    names = list(symbols.values())
    return [
        build_warning(f"{symbol} in markets.toml", "is the symbol of several markets", "correct it unless that is meant")
        for symbol in sorted({symbol for symbol in names if names.count(symbol) > 1})
    ]


def check_journal(settings: Settings, clock: Clock) -> tuple[Line, HedgeBook | None]:
    """Opens the journal as the daemon does, if there is one; never makes one. The book is None where it cannot be known."""
    path = settings.state_path
    if not os.access(path.parent, os.W_OK | os.X_OK):
        problem = f"the folder of {path} is not writable"
        return build_failure("journal", problem, "grant write permission or set STATE_URL"), None
    if not path.exists():
        lost = read_lost(path)
        if lost is not None:
            return build_failure("journal", lost), None
        return build_pass("journal", f"{path} will be made at the first start"), HedgeBook()
    try:
        return _read_journal(settings, clock)
    except JournalLocked as error:
        return build_warning("journal", str(error)), None
    except JournalError as error:
        return build_failure("journal", str(error)), None


def _read_journal(settings: Settings, clock: Clock) -> tuple[Line, HedgeBook]:
    journal = SqliteJournal(settings.state_path)
    try:
        book = replay(journal, clock)
    finally:
        journal.close()
    held = [
        format_count(journal.last_sequence, "entry", "entries"),
        format_count(len(book.get_all_hedged_positions()), "hedge"),
        format_count(len(book.in_flight), "order") + " in flight",
    ]
    return build_pass("journal", f"{journal.path}: {', '.join(held)}"), book


def check_port(settings: Settings) -> Line:
    host, port = settings.http_host, settings.http_port
    try:
        _bind(host, port)
    except OSError as error:
        problem = f"cannot listen on {host}:{port}: {error.strerror}"
    else:
        return build_pass("HTTP port", f"{host}:{port} is free" if port else f"{host}, a free port will be picked")
    if _check_is_daemon():
        return build_warning("HTTP port", f"{problem}; a dehedge daemon runs there", "")
    return build_failure("HTTP port", problem, "free it, or correct HTTP_HOST and HTTP_PORT")


def _bind(host: str, port: int) -> None:
    """Raises ``OSError`` where the daemon could not listen."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(1)


def _check_is_daemon() -> bool:
    try:
        fetch_answer("", "status", timeout_s=ANSWER_S)
    except DehedgeError:
        return False
    return True
