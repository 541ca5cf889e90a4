"""What this machine alone decides: the settings among themselves, the HTTP port, the disk, and what the supervisor allows.

A daemon may be running meanwhile: what it holds is as it should be.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dehedge.check.report import Line, build_failure, build_pass, build_warning
from dehedge.client import fetch_answer, format_count
from dehedge.config import Settings
from dehedge.doubts import find_doubts
from dehedge.errors import ConfigError, DehedgeError
from dehedge.outward import build_senders

ANSWER_S = 1.0
"""A daemon on this machine answers at once; something else on the port may never."""

MEGABYTE = 2**20
DISK_FAIL_MB, DISK_WARN_MB = 50, 1_000
"""A journal grows by some megabytes a month; a disk that is full stops the daemon."""
FILES_MIN = 256
"""Connections to nodes, to the exchange and of the 64 clients that are served at a time."""
MEMORY_MIN_MB = 256
WATCHDOG_MIN_S = 5.0
"""It is told once a second that the daemon is well."""
CGROUPS = Path("/sys/fs/cgroup")


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
        lines.append(
            build_warning("HTTP_TOKEN", "is not set: pause, resume and flatten are refused", "set it to use them")
        )
    if settings.max_snapshot_age_seconds <= settings.poll_interval_seconds:
        detail = "is not above POLL_INTERVAL_SECONDS: snapshots age between polls"
        lines.append(build_warning("MAX_SNAPSHOT_AGE_SECONDS", detail, "raise it, or poll more often"))
    return lines


def _find_doubles(symbols: Mapping[str, str]) -> list[Line]:
    names = list(symbols.values())
    return [
        build_warning(
            f"{symbol} in markets.toml", "is the symbol of several markets", "correct it unless that is meant"
        )
        for symbol in sorted({symbol for symbol in names if names.count(symbol) > 1})
    ]


def check_notifications(settings: Settings) -> list[Line]:
    """Sends nothing: a message and a ping are for `dehedge notify`, when somebody waits for them."""
    try:
        count = len(build_senders(settings))
    except ConfigError as error:
        return [build_failure("NOTIFY_URLS", problem) for problem in error.problems]
    ping = "a dead man's switch" if settings.heartbeat_url is not None else "no dead man's switch (HEARTBEAT_URL)"
    if count:
        return [
            build_pass(
                "notifications", f"{format_count(count, 'address', 'addresses')}, {ping}; `dehedge notify` tries them"
            )
        ]
    detail = f"nobody is told when something is wrong (NOTIFY_URLS), and there is {ping}"
    if not settings.is_production:
        return [build_pass("notifications", detail)]
    return [build_warning("notifications", detail, "set them, or alarm on /metrics")]


def check_port(settings: Settings) -> Line:
    host, port = settings.http_host, settings.http_port
    try:
        _bind(host, port)
    except OSError as error:
        problem = f"cannot listen on {host}:{port}: {error.strerror}"
    else:
        return build_pass("HTTP port", f"{host}:{port} is free" if port else f"{host}, a free port will be picked")
    status = read_daemon()
    if status is None:
        return build_failure("HTTP port", problem, "free it, or correct HTTP_HOST and HTTP_PORT")
    where = f"a dehedge daemon runs on {host}:{port}"
    if status["ready"]:
        return build_pass("HTTP port", f"{where} and is ready")
    return build_warning(
        "HTTP port", f"{where} and is not ready: {'; '.join(status['reasons'])}", "`dehedge status` tells more"
    )


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


def read_daemon() -> Mapping[str, Any] | None:
    """What the daemon that listens at the configured address says of itself; None where there is none."""
    try:
        return fetch_answer("", "status", timeout_s=ANSWER_S)
    except DehedgeError:
        return None


def check_disk(folder: Path) -> Line:
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return build_failure("disk", f"{folder} cannot be looked at: {error.strerror}", "correct STATE_URL")
    free_mb = found.f_bavail * found.f_frsize // MEGABYTE
    detail, remedy = f"{free_mb:,} MB free for the journal", "make room, or set STATE_URL to another disk"
    if found.f_files and not found.f_favail:
        return build_failure("disk", "has room for no further file", remedy)
    if free_mb < DISK_FAIL_MB:
        return build_failure("disk", detail, remedy)
    return build_warning("disk", detail, remedy) if free_mb < DISK_WARN_MB else build_pass("disk", detail)


def check_limits(cgroups: Path = CGROUPS) -> list[Line]:
    """What systemd, a container or the shell allows a process that is started like this one."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit_mb = _read_memory_mb(cgroups)
    memory = f"{limit_mb:,} MB of memory" if limit_mb is not None else "any amount of memory"
    lines = [
        build_pass("limits", f"{'any number of' if files < 0 else files} open files, {memory}{_describe_watchdog()}")
    ]
    if 0 <= files < FILES_MIN:
        lines.append(build_warning("limit of open files", f"{files} are few", f"set LimitNOFILE={FILES_MIN} or more"))
    if limit_mb is not None and limit_mb < MEMORY_MIN_MB:
        detail = f"{limit_mb:,} MB are little; 10,000 positions take some 120"
        lines.append(build_warning("limit of memory", detail, f"set MemoryMax={MEMORY_MIN_MB}M or more"))
    if _read_watchdog_s() == 0 or _read_watchdog_s() >= WATCHDOG_MIN_S:
        return lines
    detail = f"{_read_watchdog_s():g} s are short: a busy moment would look like a dead daemon"
    return [*lines, build_warning("watchdog", detail, "set WatchdogSec=30")]


def _describe_watchdog() -> str:
    """Systemd tells the main process of a service alone."""
    seconds = _read_watchdog_s()
    if seconds:
        return f", a watchdog after {seconds:g} s"
    return ", no watchdog (WatchdogSec=30 restarts a daemon that hangs)" if "NOTIFY_SOCKET" in os.environ else ""


def _read_watchdog_s() -> float:
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if text.isascii() and text.isdigit() else 0.0


def _read_memory_mb(cgroups: Path) -> int | None:
    """The smallest limit of this process's group and of those around it; None where there is none."""
    try:
        place = Path("/proc/self/cgroup").read_text(encoding="ascii").partition("0::/")[2].strip()
    except (OSError, ValueError):
        place = ""
    group = cgroups / place
    folders = [group, *group.parents][: len(group.parts) - len(cgroups.parts) + 1]
    limits = [limit for folder in folders if (limit := _read_number(folder / "memory.max")) is not None]
    return min(limits) // MEGABYTE if limits else None


def _read_number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return int(text) if text.isdigit() else None
