"""The commands as an operator runs them: real processes, exit codes, one line for each mistake, never a traceback."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from dehedge import __version__
from dehedge.cli import app
from dehedge.errors import (
    AuthenticationFailed,
    ConfigError,
    DehedgeError,
    JournalError,
    JournalLocked,
    QuestionInvalid,
)
from dehedge.exits import EXIT_CONFIG, EXIT_CRASHED, EXIT_LOCKED, EXIT_USAGE, exit_with

COMMANDS = [
    "init", "run", "check", "demo", "status", "hedges", "explain", "trips", "whatif", "history", "report", "bundle", "replay",
    "pause", "resume", "flatten", "notify", "snapshot",
]  # fmt: skip
TOKEN = "the-http-token-of-a-test"
NOWHERE = "http://127.0.0.1:1"
TIMEOUT_S = 30.0
ACCOUNT = {
    "NETWORKS": NOWHERE,
    "PYTH_PRICE_SERVICE": NOWHERE,
    "BINANCE_FUTURES_URL": NOWHERE,
    "BINANCE_FUTURES_WS_URL": "ws://127.0.0.1:1",
    "BINANCE_API_KEY": "the-api-key-of-a-test",
    "BINANCE_API_SECRET": "the-api-secret-of-a-test",
    "HTTP_PORT": "0",
}
"""A whole configuration, of services that do not answer."""


class Outcome(NamedTuple):
    code: int
    output: str
    errors: list[str]


def build_environment(variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, "COLUMNS": "100", **variables}


def run_dehedge(folder: Path, *arguments: str, **variables: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-m", "dehedge", *arguments],
        cwd=folder, env=build_environment(variables), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return Outcome(done.returncode, done.stdout, done.stderr.splitlines())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "markets.toml").write_text('[binance]\n"BTC-USD" = "BTCUSDT"\n')
    return tmp_path


class Daemon:
    """``dehedge run``, with its log read line by line."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dehedge", "run"],
            cwd=folder, env=build_environment({**ACCOUNT, "LOG_FORMAT": "json", **variables}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.events: list[dict[str, Any]] = []

    def read_until(self, name: str) -> dict[str, Any]:
        """Read the log up to an event of this name."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == name:
                return self.events[-1]
        raise AssertionError(f"the daemon ended without {name}: {self.events}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(TIMEOUT_S)
        assert self.process.stdout is not None
        self.events += [json.loads(line) for line in self.process.stdout]
        self.process.stdout.close()
        return code


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One that waits for services which never answer, with a typing error in its environment."""
    folder = tmp_path_factory.mktemp("daemon")
    (folder / "markets.toml").write_text('[binance]\n"BTC-USD" = "BTCUSDT"\n')
    daemon = Daemon(folder, VAULT_FACTR="1", HTTP_TOKEN=TOKEN)
    try:
        yield daemon
    finally:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()
        if daemon.process.stdout is not None:
            daemon.process.stdout.close()


@pytest.fixture(scope="module")
def url(daemon: Daemon) -> str:
    return f"http://127.0.0.1:{daemon.read_until('http_started')['port']}"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_version_and_help_are_on_every_command(command: str):
    version = CliRunner().invoke(app, [*command.split(), "--version"])
    usage = CliRunner().invoke(app, [*command.split(), "--help"])

    assert (version.exit_code, version.stdout) == (0, f"dehedge {__version__}\n")
    assert usage.exit_code == 0
    assert "Usage: " in usage.stdout


def test_help_lists_every_command(tmp_path: Path):
    outcome = run_dehedge(tmp_path, "--help")

    assert outcome.code == 0
    assert all(f" {command} " in outcome.output for command in COMMANDS)


def test_help_groups_every_command_and_gives_an_example_of_each():
    outcome = CliRunner().invoke(app, ["--help"])

    assert [panel for panel in ("To begin with", "To follow the daemon", "To steer the daemon") if panel not in outcome.stdout] == []
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        assert command.rich_help_panel, name
        assert command.epilog.startswith(f"Example: dehedge {name}"), name
        assert command.epilog in CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "120"}).stdout


def test_unknown_command_is_a_usage_error_that_names_the_nearest(tmp_path: Path):
    outcome = run_dehedge(tmp_path, "statsu")

    assert outcome.code == 2
    assert "No such command 'statsu'. Did you mean 'status'?" in " ".join(outcome.errors)
    assert outcome.errors[0] == "Usage: dehedge [OPTIONS] COMMAND [ARGS]..."


def test_completion_is_shown_for_the_shell_that_asks(tmp_path: Path):
    command = f"{sys.executable} -m dehedge --show-completion bash; exit $?"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=build_environment({}), capture_output=True, text=True, timeout=TIMEOUT_S,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "complete -o default -F" in done.stdout
    assert "_DEHEDGE_COMPLETE" in done.stdout


def test_completion_knows_the_commands(tmp_path: Path):
    completing = {"_DEHEDGE_COMPLETE": "complete_bash", "COMP_WORDS": "dehedge fl", "COMP_CWORD": "1"}

    assert run_dehedge(tmp_path, **completing).output.split() == ["flatten"]


@pytest.mark.parametrize("command", ["run", "check"])
def test_folder_without_a_configuration_is_told_what_to_type(tmp_path: Path, command: str):
    outcome = run_dehedge(tmp_path, command)

    told = [*outcome.errors, *outcome.output.splitlines()]
    assert outcome.code == EXIT_CONFIG
    assert "there is no .env here: `dehedge init` writes one" in told[0]
    assert any("markets.toml" in line and "`dehedge init`" in line for line in told)


@pytest.mark.parametrize("command", ["run", "check"])
def test_every_mistake_is_one_line_and_the_code_says_do_not_restart(tmp_path: Path, command: str):
    outcome = run_dehedge(tmp_path, command, LEVERAGE="x", HTTP_PORT="99999", HTTP_TOKEN="a-token-not-to-show", NETWORKS=",")

    lines = outcome.errors if command == "run" else outcome.output.splitlines()[:-1]
    beginning = "dehedge: " if command == "run" else "fail  configuration: "
    names = [line.removeprefix(beginning).split(":")[0] for line in lines]
    assert outcome.code == EXIT_CONFIG
    assert sorted(names) == sorted(
        ["LEVERAGE", "HTTP_PORT", "NETWORKS", "BINANCE_API_KEY", "BINANCE_API_SECRET", "markets.toml"]
    )
    assert "a-token-not-to-show" not in outcome.output + "".join(outcome.errors)


def test_run_ends_with_75_when_another_process_holds_the_journal(folder: Path):
    with (folder / "dehedge.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = run_dehedge(folder, "run", **ACCOUNT)

    assert outcome.code == EXIT_LOCKED
    assert outcome.errors == ["dehedge: journal dehedge.db is held by another daemon; stop it or use another STATE_URL"]


def test_run_ends_with_78_when_the_journal_is_corrupt(folder: Path):
    (folder / "dehedge.db").write_bytes(b"not a database at all " * 100)
    outcome = run_dehedge(folder, "run", **ACCOUNT)

    (line,) = outcome.errors
    assert outcome.code == EXIT_CONFIG
    assert line.startswith("dehedge: journal dehedge.db: file is not a database; ")


def test_run_ends_with_78_when_the_journal_is_gone(folder: Path):
    (folder / "dehedge.db.lock").write_text(f"1f5u68k2c {7:020d}\n")
    outcome = run_dehedge(folder, "run", **ACCOUNT)

    (line,) = outcome.errors
    assert outcome.code == EXIT_CONFIG
    assert line.startswith("dehedge: journal dehedge.db is gone, but it had 7 entries; ")


def test_run_ends_with_1_when_another_program_holds_the_journal_for_now(folder: Path):
    with closing(sqlite3.connect(folder / "dehedge.db", isolation_level=None)) as other:
        other.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
        other.execute("BEGIN EXCLUSIVE")
        outcome = run_dehedge(folder, "run", **ACCOUNT)

    (line,) = outcome.errors
    assert outcome.code == EXIT_CRASHED
    assert line == "dehedge: journal dehedge.db: database is locked; another program holds the file: close it"


def test_run_ends_with_1_when_its_port_is_taken(folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        outcome = run_dehedge(folder, "run", **{**ACCOUNT, "HTTP_PORT": str(taken.getsockname()[1])})

    (line,) = outcome.errors
    assert outcome.code == EXIT_CRASHED
    assert line.startswith("dehedge: HTTP_HOST, HTTP_PORT: cannot listen on 127.0.0.1:")


def test_run_ends_with_78_when_its_address_is_not_of_this_machine(folder: Path):
    outcome = run_dehedge(folder, "run", **ACCOUNT, HTTP_HOST="192.0.2.1")

    (line,) = outcome.errors
    assert outcome.code == EXIT_CONFIG
    assert line.startswith("dehedge: HTTP_HOST, HTTP_PORT: cannot listen on 192.0.2.1:0: ")


def test_check_fails_in_plain_lines_when_nothing_answers(folder: Path):
    outcome = run_dehedge(folder, "check", **ACCOUNT)
    lines = outcome.output.splitlines()

    assert outcome.code == 1
    assert outcome.errors == []
    assert all(line.startswith(("pass  ", "warn  ", "fail  ")) for line in lines[:-1])
    assert any(line.startswith("fail  RPC 1 (http://127.0.0.1:1): ") for line in lines)
    assert any(line.startswith("fail  exchange: ") for line in lines)
    assert sorted(path.name for path in folder.iterdir()) == ["markets.toml"]


@pytest.mark.parametrize(
    "command",
    ["status", "hedges", "explain BTC-USD 0xab", "trips", "whatif BTC-USD:-10", "pause", "resume", "flatten --yes"],
)
def test_question_is_one_line_when_no_daemon_answers(tmp_path: Path, command: str):
    outcome = run_dehedge(tmp_path, *command.split(), HTTP_PORT="1", HTTP_TOKEN=TOKEN)

    assert outcome.code == EXIT_CRASHED
    assert outcome.errors == [
        "dehedge: no daemon answers at http://127.0.0.1:1 (ConnectError); start it by `dehedge run`, or see --url"
    ]


def test_question_tells_its_own_mistakes_only(tmp_path: Path):
    outcome = run_dehedge(tmp_path, "hedges", HTTP_PORT="x", LEVERAGE="x")

    assert outcome.code == EXIT_CONFIG
    assert outcome.errors == ["dehedge: HTTP_PORT: got 'x', accepted: a port from 0 to 65535, 0 picks a free one"]


def test_status_tells_why_the_daemon_is_not_ready(tmp_path: Path, url: str):
    told = run_dehedge(tmp_path, "status", "--url", url)
    as_json = run_dehedge(tmp_path, "status", "--json", "--url", f"{url}/")

    status = json.loads(as_json.output)
    assert (told.code, as_json.code) == (1, 1)
    assert told.output.startswith(f"dehedge {__version__} on binance (OWN ENDPOINT 127.0.0.1:1): not ready, mode active\n")
    assert status["ready"] is False
    assert status["version"] == __version__


@pytest.mark.parametrize("command", ["pause", "resume", "flatten --yes"])
def test_command_is_one_line_when_there_is_no_token(tmp_path: Path, command: str):
    outcome = run_dehedge(tmp_path, *command.split())

    assert outcome.code == EXIT_CONFIG
    assert outcome.errors == [
        "dehedge: HTTP_TOKEN: not set; the daemon obeys commands only with the token it was started with"
    ]


@pytest.mark.parametrize("arguments", ["pause --token x", "pause --level active", "pause --level off", "flatten --timeout -1"])
def test_token_is_never_an_argument_and_levels_are_known(tmp_path: Path, arguments: str):
    assert run_dehedge(tmp_path, *arguments.split(), HTTP_TOKEN=TOKEN).code == 2


def test_commands_turn_the_kill_switch_and_the_status_tells_who_did(tmp_path: Path, url: str):
    refused = run_dehedge(tmp_path, "pause", "--url", url, HTTP_TOKEN="another-token")
    paused = run_dehedge(
        tmp_path, "pause", "--level", "reduce-only", "--reason", "noise", "--url", url, HTTP_TOKEN=TOKEN
    )
    shown = run_dehedge(tmp_path, "status", "--url", url)
    flattened = run_dehedge(tmp_path, "flatten", "--yes", "--timeout", "0", "--url", url, HTTP_TOKEN=TOKEN)
    resumed = run_dehedge(tmp_path, "resume", "--url", url, HTTP_TOKEN=TOKEN)

    assert (refused.code, len(refused.errors)) == (1, 1)
    assert refused.errors[0].endswith("does not obey this HTTP_TOKEN; use the one it was started with")
    assert paused == Outcome(0, "mode reduce-only\n", [])
    line = shown.output.splitlines()[1]
    assert line.startswith("mode reduce-only since 20")
    assert ": pause from 127.0.0.1: " in line
    assert line.endswith(": noise")
    assert flattened.code == 1
    assert flattened.output.startswith("not flat, mode reduce-only, still closing:\n  exchange: ")
    assert resumed == Outcome(0, "mode active\n", [])


def test_hedges_are_listed(tmp_path: Path, url: str):
    told = run_dehedge(tmp_path, "hedges", "--url", url)
    as_json = run_dehedge(tmp_path, "hedges", "--json", "--url", url)

    assert told == Outcome(0, "no hedges\n", [])
    assert json.loads(as_json.output) == {"hedges": [], "total": 0, "markets": {}}


@pytest.mark.parametrize("arguments", ["explain BTC-USD", "trips --limit 0", "trips --limit 1001", "whatif", "whatif BTC-USD"])
def test_question_that_means_nothing_is_a_usage_error(tmp_path: Path, arguments: str):
    assert run_dehedge(tmp_path, *arguments.split()).code == 2


def test_question_is_one_line_when_the_daemon_knows_no_answer_yet(tmp_path: Path, url: str):
    explained = run_dehedge(tmp_path, "explain", "BTC-USD", "0xab", "--url", url)
    foreseen = run_dehedge(tmp_path, "whatif", "BTC-USD", "-10%", "--url", url)

    assert explained.code == 1
    assert explained.errors[0].startswith("dehedge: the chain was not read yet: ")
    assert explained.errors[0].endswith("; see `dehedge status`")
    assert foreseen == Outcome(2, "", ["dehedge: market 'BTC-USD' is not known; known are: none yet"])


def test_check_finds_the_daemon_that_runs_already(daemon: Daemon, url: str):
    outcome = run_dehedge(daemon.folder, "check", **{**ACCOUNT, "HTTP_PORT": url.rpartition(":")[2]})

    lines = outcome.output.splitlines()
    assert any(line.startswith("pass  journal: ") and line.endswith("held by the daemon that runs here") for line in lines)
    assert any(line.startswith("warn  HTTP port: a dehedge daemon runs on 127.0.0.1:") for line in lines)


def test_run_warns_of_unknown_variables(daemon: Daemon, url: str):
    (event,) = [event for event in daemon.events if event["event"] == "variable_unknown"]

    assert event["setting"] == "VAULT_FACTR"
    assert event["remedy"] == "did you mean VAULT_FACTOR? correct or remove it"


def test_run_ends_with_0_when_told_to_stop_although_nothing_answers(folder: Path):
    daemon = Daemon(folder)
    daemon.read_until("http_started")
    code = daemon.stop()

    assert code == 0
    assert daemon.events[-1]["event"] == "daemon_stopped"
    assert ACCOUNT["BINANCE_API_SECRET"] not in json.dumps(daemon.events)


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (ConfigError("a: 1", "b: 2"), EXIT_CONFIG, ["a: 1", "b: 2"]),
        (AuthenticationFailed("key"), EXIT_CONFIG, ["key"]),
        (JournalLocked("held"), EXIT_LOCKED, ["held"]),
        (JournalError("full"), EXIT_CRASHED, ["full"]),
        (DehedgeError("else"), EXIT_CRASHED, ["else"]),
        (QuestionInvalid("what?"), EXIT_USAGE, ["what?"]),
        (ExceptionGroup("tasks", [ExceptionGroup("more", [JournalError("full")])]), EXIT_CRASHED, ["full"]),
        (BaseExceptionGroup("tasks", [ConfigError("a", "b")]), EXIT_CONFIG, ["a", "b"]),
        (KeyboardInterrupt(), 130, []),
    ],
)
def test_expected_error_becomes_lines_and_a_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, lines: list[str]
):
    def fail() -> int:
        raise error

    with pytest.raises(SystemExit) as caught:
        exit_with(fail)

    assert caught.value.code == code
    assert capsys.readouterr().err.splitlines() == [f"dehedge: {line}" for line in lines]


@pytest.mark.parametrize("error", [ZeroDivisionError(), ExceptionGroup("tasks", [JournalError("full"), KeyError(1)])])
def test_unexpected_error_goes_on_to_crash_the_process(error: Exception):
    def fail() -> int:
        raise error

    with pytest.raises(type(error)):
        exit_with(fail)
