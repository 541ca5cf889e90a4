"""What ``pause``, ``resume`` and ``flatten`` tell a daemon and make of its answers: real HTTP, real terminals, real signals."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from dehedge import client, control
from dehedge.errors import ConfigError, DehedgeError

TOKEN = "tökén-of-the-tests"
STATUS: Mapping[str, Any] = {
    "version": "1", "connector": "paper", "ready": True, "reasons": [], "mode": "no-opens", "snapshot": None, "prices": {},
    "decisions": {}, "hedges": 2, "orders_in_flight": [], "is_flattening": False, "deployment": "1f5u68k2c",
    "foreign_positions": {},
}  # fmt: skip
PART = {
    "symbol": "BTCUSDT",
    "leg": "BOTH",
    "side": "BUY",
    "quantity": "0.166",
    "owner": "ours",
    "reason": "about to be closed",
}
FOREIGN = {**PART, "side": "SELL", "quantity": "0.3", "owner": "foreign", "reason": "never traded"}
CLOSING: Mapping[str, Any] = {
    "flat": False, "confirmed_at": None, "mode": "no-opens", "is_flattening": True, "error": None, "left": [PART],
}  # fmt: skip
FLAT = {**CLOSING, "flat": True, "confirmed_at": 1_800_000_000.0, "is_flattening": False, "left": [FOREIGN]}


class StandIn(ThreadingHTTPServer):
    """Answers like the daemon; its views come one after the other, the last one again and again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status: Any = STATUS
        self.views: list[Any] = [FLAT]
        self.verdict: tuple[int, bytes] = (202, b'{"done": "it"}')
        self.posts: list[tuple[str, str | None, Any]] = []
        self.is_asked = Event()
        self.hangs_up = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def get_view(self) -> Any:
        return self.views.pop(0) if len(self.views) > 1 else self.views[0]


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        if self.path == "/api/v1/flat":
            self.server.is_asked.set()
            content = self.server.get_view()
            self._answer(200, json.dumps(content).encode() if content is not None else b"")
        else:
            self._answer(200, json.dumps(self.server.status).encode())

    def do_POST(self) -> None:
        token = self.headers.get("Authorization")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = token.encode("latin-1").decode() if token is not None else None
        self.server.posts.append((self.path, told, json.loads(body)))
        if self.server.hangs_up:
            self.connection.close()
        else:
            self._answer(*self.server.verdict)

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def only_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HTTP_TOKEN", TOKEN)
    monkeypatch.setattr(control, "POLL_S", 0.01)
    monkeypatch.setattr(control.getpass, "getuser", lambda: "ann")
    monkeypatch.setattr(control.socket, "gethostname", lambda: "desk")


def flatten(server: StandIn, **changes: Any) -> int:
    options = {"is_confirmed": True, "timeout_s": 5.0, "use_json": False, **changes}
    return control.flatten(server.url, "", **options)


@pytest.mark.parametrize("level", [None, "no-opens", "reduce-only", "halted"])
def test_pause_tells_level_who_and_why_with_the_token(
    server: StandIn, capsys: pytest.CaptureFixture[str], level: str | None
):
    assert control.pause(server.url, level, "noise") == 0

    body = {"reason": "ann@desk: noise"} | ({"level": level} if level is not None else {})
    assert server.posts == [("/api/v1/pause", f"Bearer {TOKEN}", body)]
    assert capsys.readouterr().out == "mode no-opens\n"


def test_resume_tells_who(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.status = {**STATUS, "mode": "active", "is_flattening": True}

    assert control.resume(server.url, "") == 0

    assert server.posts == [("/api/v1/resume", f"Bearer {TOKEN}", {"reason": "ann@desk"})]
    assert capsys.readouterr().out == "mode active, flattening\n"


def test_caller_without_a_name_is_told_by_the_machine(server: StandIn, monkeypatch: pytest.MonkeyPatch):
    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr(control.getpass, "getuser", fail)
    control.resume(server.url, "")

    assert server.posts[0][2] == {"reason": "desk"}


@pytest.mark.parametrize("status", [{}, [], {"status": "ok"}])
def test_token_is_not_told_to_what_is_no_daemon(server: StandIn, status: Any):
    server.status = status

    with pytest.raises(DehedgeError, match="is not dehedge; see --url"):
        control.pause(server.url, None, "")
    assert server.posts == []


@pytest.mark.parametrize(
    ("verdict", "told"),
    [
        ((401, b"{}"), "does not obey this HTTP_TOKEN; use the one it was started with"),
        ((503, b'{"error": "pause failed: the disk is full"}'), "refused: pause failed: the disk is full"),
        ((500, b"<html>"), "refused: HTTP 500"),
        ((500, b"[]"), "refused: HTTP 500"),
        ((404, b'{"detail": "x"}'), "refused: HTTP 404"),
        ((302, b""), "refused: HTTP 302"),
        ((200, b"{}"), "refused: HTTP 200"),
    ],
)
def test_refusal_is_one_line(server: StandIn, verdict: tuple[int, bytes], told: str):
    server.verdict = verdict

    with pytest.raises(DehedgeError) as caught:
        control.pause(server.url, None, "")
    assert str(caught.value).startswith("pause: the daemon at http://127.0.0.1:")
    assert str(caught.value).endswith(told)
    assert TOKEN not in str(caught.value)


def test_lost_answer_is_told_as_unknown(server: StandIn):
    server.hangs_up = True

    with pytest.raises(DehedgeError, match="so it may be in force or not: `dehedge status` tells") as caught:
        control.flatten(server.url, "", is_confirmed=True, timeout_s=1, use_json=False)
    assert TOKEN not in str(caught.value)


def test_nothing_is_told_without_a_token(server: StandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HTTP_TOKEN")

    with pytest.raises(ConfigError, match="^HTTP_TOKEN: not set"):
        flatten(server)
    assert server.posts == []


def test_flatten_follows_until_the_exchange_says_that_it_is_flat(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.views = [
        CLOSING,
        CLOSING,
        {**CLOSING, "is_flattening": False, "left": [{**PART, "owner": "unexplained"}]},
        FLAT,
    ]

    assert flatten(server) == 0

    told = capsys.readouterr()
    assert server.posts == [("/api/v1/flatten", f"Bearer {TOKEN}", {"reason": "ann@desk"})]
    assert told.out.splitlines() == [
        "flat: the exchange's positions of 2027-01-15 08:00:00 UTC hold nothing of ours",
        "  BTCUSDT BOTH SELL 0.3 foreign: never traded",
    ]
    assert told.err.splitlines() == [
        "  BTCUSDT BOTH BUY 0.166 ours: about to be closed",
        "  BTCUSDT BOTH BUY 0.166 unexplained: about to be closed",
    ]


def test_flatten_ends_with_1_and_the_list_when_the_time_is_over(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.views = [CLOSING]

    assert flatten(server, timeout_s=0.1) == 1

    assert capsys.readouterr().out.splitlines() == [
        "not flat, mode no-opens, still closing:",
        "  BTCUSDT BOTH BUY 0.166 ours: about to be closed",
    ]


def test_flatten_looks_once_when_there_is_no_time(server: StandIn):
    server.views = [CLOSING, FLAT]

    assert flatten(server, timeout_s=0) == 1


def test_flatten_tells_what_is_wrong_as_a_whole(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.views = [{**CLOSING, "error": "the account cannot be read: no route", "left": []}]

    assert flatten(server, timeout_s=0) == 1

    assert capsys.readouterr().out.splitlines()[1:] == ["  the account cannot be read: no route"]


@pytest.mark.parametrize("mode", ["active", "halted"])
def test_flatten_stops_following_when_somebody_ends_it(server: StandIn, capsys: pytest.CaptureFixture[str], mode: str):
    server.views = [CLOSING, {**CLOSING, "mode": mode, "is_flattening": False}]

    assert flatten(server, timeout_s=600) == 1

    assert capsys.readouterr().out.startswith(f"not flat, mode {mode}:\n")


def test_flatten_is_json_for_programs(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.views = [CLOSING, FLAT]

    assert flatten(server, use_json=True) == 0

    told = capsys.readouterr()
    assert json.loads(told.out) == FLAT
    assert told.err == ""


def test_flatten_goes_on_following_when_the_daemon_does_not_answer_for_a_while(
    server: StandIn, capsys: pytest.CaptureFixture[str]
):
    server.views = [None, None, FLAT]

    assert flatten(server) == 0

    assert "no daemon answers at" in capsys.readouterr().err


def test_flatten_is_not_confirmed_when_the_daemon_has_gone(server: StandIn):
    server.views = [CLOSING, None]

    with pytest.raises(DehedgeError, match="flatten: told, but not confirmed: no daemon answers at"):
        flatten(server, timeout_s=0.2)


def run_on_terminal(server: StandIn, typed: bytes) -> tuple[int, str]:
    """``dehedge flatten`` as a person runs it; the exit code and what the terminal showed."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "dehedge", "flatten", "--url", server.url],
        stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while b"to go on: " not in shown:
        shown += os.read(master, 4096)
    os.write(master, typed)
    while chunk := read_terminal(master):
        shown += chunk
    os.close(master)
    return process.wait(30), shown.decode()


def read_terminal(master: int) -> bytes:
    """Nothing once the other side has closed."""
    try:
        return os.read(master, 4096)
    except OSError:
        return b""


def test_flatten_asks_for_a_typed_word_on_a_terminal(server: StandIn):
    code, shown = run_on_terminal(server, b"flatten\n")

    assert code == 0
    assert "This closes 2 hedges at the market's price" in shown
    assert len(server.posts) == 1


@pytest.mark.parametrize("typed", [b"y\n", b"\n", b"yes\n", b"FLATTEN\n", b"\x04"])
def test_flatten_does_nothing_when_anything_else_is_typed(server: StandIn, typed: bytes):
    code, shown = run_on_terminal(server, typed)

    assert code == 1
    assert "dehedge: flatten: not confirmed, nothing was done" in shown
    assert "Traceback" not in shown
    assert server.posts == []


def test_flatten_refuses_without_a_terminal_and_without_yes(server: StandIn):
    done = subprocess.run(
        [sys.executable, "-m", "dehedge", "flatten", "--url", server.url],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "dehedge: flatten: not confirmed, because this is no terminal to ask on; say --yes to close every hedge\n"
    )
    assert server.posts == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What this process ignores, its children ignore; a handler of its own is the default one for them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_flatten_goes_on_in_the_daemon_when_the_follower_is_interrupted(server: StandIn):
    server.views = [CLOSING]
    process = subprocess.Popen(
        [sys.executable, "-m", "dehedge", "flatten", "--yes", "--url", server.url],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.is_asked.wait(30)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert errors.splitlines()[-1] == "dehedge: the daemon goes on closing; `dehedge flatten` follows again"
    assert "Traceback" not in errors


def test_commands_are_told_at_the_configured_address(server: StandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PORT", str(server.server_port))

    assert control.pause("", None, "") == 0
    assert len(server.posts) == 1


def test_proxy_of_the_environment_never_sees_the_token(server: StandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)

    client.send_command(server.url, "pause", {}, token=TOKEN)

    assert server.posts == [("/api/v1/pause", f"Bearer {TOKEN}", {})]


@pytest.mark.parametrize("code", [202, 401, 403, 503])
def test_secrets_are_not_told_when_a_command_fails(server: StandIn, code: int):
    server.verdict = (code, json.dumps({"error": f"no such token {TOKEN}"}).encode())
    server.hangs_up = code == 202

    with pytest.raises(DehedgeError) as caught:
        client.send_command(server.url.replace("//", "//operator:pass-word-1@"), "pause", {}, token=TOKEN)

    assert TOKEN not in str(caught.value)
    assert "pass-word-1" not in str(caught.value)
