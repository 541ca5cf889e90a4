"""What the check says of the disk, the limits and a daemon that runs."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dehedge.adapters.journal import SqliteJournal
from dehedge.check import journal, local
from dehedge.check.local import check_disk, check_limits, check_port
from dehedge.check.report import Status
from dehedge.config import Settings
from dehedge.parts import SystemClock

SETTINGS: Mapping[str, Any] = {
    "networks": "http://127.0.0.1:1", "connector": "paper", "http_host": "127.0.0.1", "http_port": 1,
}  # fmt: skip


def a_place(free_mb: int, files: int = 1_000) -> SimpleNamespace:
    return SimpleNamespace(f_bavail=free_mb * 256, f_frsize=4096, f_files=files and 10_000, f_favail=files)


@pytest.mark.parametrize(
    ("found", "status"),
    [
        (a_place(5_000), Status.PASS), (a_place(999), Status.WARN), (a_place(49), Status.FAIL),
        (SimpleNamespace(f_bavail=10**9, f_frsize=4096, f_files=10, f_favail=0), Status.FAIL),
        (a_place(5_000, files=0), Status.PASS),
    ],
)  # fmt: skip
def test_disk_that_is_nearly_full_is_told(monkeypatch: pytest.MonkeyPatch, found: SimpleNamespace, status: Status):
    monkeypatch.setattr(os, "statvfs", lambda _: found)

    line = check_disk(Path())

    assert line.status is status
    assert bool(line.remedy) is (status is not Status.PASS)


def test_disk_that_is_not_there_fails(tmp_path: Path):
    assert check_disk(tmp_path / "gone").status is Status.FAIL


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    for name in ("WATCHDOG_USEC", "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this process's group, two below the top."""
    folder = tmp_path / "system.slice" / "dehedge.service"
    folder.mkdir(parents=True)
    read = Path.read_text

    def read_text(path: Path, *arguments: Any, **options: Any) -> str:
        return (
            "0::/system.slice/dehedge.service\n"
            if path == Path("/proc/self/cgroup")
            else read(path, *arguments, **options)
        )

    monkeypatch.setattr(Path, "read_text", read_text)
    return folder


@pytest.mark.usefixtures("limits", "cgroup")
def test_limits_are_told_when_there_are_none(tmp_path: Path):
    (line,) = check_limits(tmp_path)

    assert str(line) == "pass  limits: 1024 open files, any amount of memory"


@pytest.mark.usefixtures("limits")
def test_limits_of_a_service_are_told_when_they_suffice(tmp_path: Path, cgroup: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    (cgroup / "memory.max").write_text("max\n")
    (cgroup.parent / "memory.max").write_text(f"{512 * 2**20}\n")

    (line,) = check_limits(tmp_path)

    assert line.detail == "1024 open files, 512 MB of memory, a watchdog after 30 s"


@pytest.mark.usefixtures("limits")
def test_limits_that_are_too_tight_are_warnings(tmp_path: Path, cgroup: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    (cgroup / "memory.max").write_text(f"{100 * 2**20}\n")

    warnings = [line for line in check_limits(tmp_path) if line.status is Status.WARN]

    assert [line.name for line in warnings] == ["limit of open files", "limit of memory", "watchdog"]
    assert [line.remedy for line in warnings] == [
        "set LimitNOFILE=256 or more",
        "set MemoryMax=256M or more",
        "set WatchdogSec=30",
    ]


@pytest.mark.usefixtures("limits", "cgroup")
def test_service_without_a_watchdog_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")

    assert "no watchdog (WatchdogSec=30" in check_limits(tmp_path)[0].detail


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"ready": True, "reasons": []}, Status.PASS),
        ({"ready": False, "reasons": ["chain: gone"]}, Status.WARN),
        (None, Status.FAIL),
    ],
)
def test_port_is_well_when_the_daemon_itself_listens(
    monkeypatch: pytest.MonkeyPatch, answer: Mapping[str, Any] | None, status: Status
):
    def refuse(*_: object) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(local, "_bind", refuse)
    monkeypatch.setattr(local, "read_daemon", lambda: answer)

    line = check_port(Settings.model_validate(SETTINGS))

    assert line.status is status
    if status is Status.WARN:
        assert "chain: gone" in line.detail


@pytest.mark.parametrize(("is_ours", "status"), [(True, Status.PASS), (False, Status.WARN)])
def test_journal_is_well_when_the_daemon_that_runs_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ours: bool, status: Status
):
    path = tmp_path / "dehedge.db"
    held = SqliteJournal(path)
    list(held.read())
    deployment = held.deployment if is_ours else "another"
    monkeypatch.setattr(journal, "read_daemon", lambda: {"deployment": deployment})

    (line,) = journal.check_journal(path, SystemClock()).lines
    held.close()

    assert line.status is status
    assert "held by" in line.detail
