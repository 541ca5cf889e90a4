"""Notifications on a real datagram socket, as systemd gives it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dehedge.adapters.systemd import TIMEOUT_S, notify


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        yield listener


@pytest.mark.parametrize("state", ["READY=1", "WATCHDOG=1", "STOPPING=1", "STATUS=chain: käputt; prices: none"])
def test_state_arrives_at_the_socket(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
):
    listener.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

    notify(state)

    assert listener.recv(4096).decode() == state


def test_state_arrives_at_an_abstract_socket(listener: socket.socket, monkeypatch: pytest.MonkeyPatch):
    listener.bind("")
    monkeypatch.setenv("NOTIFY_SOCKET", "@" + listener.getsockname()[1:].decode())

    notify("READY=1")

    assert listener.recv(4096) == b"READY=1"


def test_several_states_are_several_datagrams(listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    listener.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

    notify("READY=1")
    notify("WATCHDOG=1")

    assert [listener.recv(4096), listener.recv(4096)] == [b"READY=1", b"WATCHDOG=1"]


@pytest.mark.parametrize("address", [None, "", "/no/such/socket", "@nobody-listens", "x" * 200])
def test_nothing_happens_when_nobody_listens(monkeypatch: pytest.MonkeyPatch, address: str | None):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)

    notify("READY=1")


def test_daemon_is_not_held_up_when_the_supervisor_does_not_read(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    listener.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                other.sendto(b"x", str(tmp_path / "notify"))

        started = time.monotonic()
        notify("WATCHDOG=1")

    assert time.monotonic() - started < TIMEOUT_S + 2


def test_state_arrives_when_a_text_in_it_has_no_encoding(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    listener.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

    notify("STATUS=chain: \ud800")

    assert listener.recv(4096) == b"STATUS=chain: ?"
