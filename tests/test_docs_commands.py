"""Every command that the documentation shows is run here, against a real daemon, or is matched to what runs it.

The daemon hedges the example of ``docs/deciding.md``. A block of commands is one session: its lines run one after the other
in a folder of its own, with the daemon's journal. Blocks that steer the daemon come after those that only ask.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator, Mapping
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from dotenv import dotenv_values
from typer.main import get_command
from typer.testing import CliRunner

from dehedge.cli import app
from dehedge.config import Settings
from dehedge.environment import SECRETS
from dehedge.sim.world import HTTP_TOKEN, USD, DaemonProcess, World, build_position, wait_until
from tests.test_docs import DOCS, ROOT, TESTS

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LANGUAGES = {"sh", "text", "toml", "dotenv", "python", "json"}
"""Of these ``sh`` is run, ``dotenv`` is held to the settings, and the others are shown."""

MATCHED = {
    "make demo": "test_demo_tells_its_story_and_ends_in_agreement",
    'make demo ARGS="--pace 10"': "test_demo_tells_its_story_and_ends_in_agreement",
    "make fuzz": "test_decoder_reads_or_refuses_any_bytes",
    "dehedge init": "test_person_is_asked_only_for_what_nobody_else_knows",
    "dehedge run": "test_daemon_opens_resizes_keeps_expires_vanishes_and_survives_kill_9",
    "dehedge flatten": "test_flatten_asks_for_a_typed_word_on_a_terminal",
    "dehedge notify": "test_notify_tries_every_address_and_says_which_one_failed",
    "dehedge replay --window 2020-03-12:BTC-USD=BTCUSDT-1m-2020-03-12.zip --window 2021-05-19:BTC-USD=BTCUSDT-1m-2021-05-19.zip"
    " --generate gross=10000000,long=0.1..0.9 --shield 0.5%..5% --books 50 --out books.html --out books.json":
    "test_replay_of_the_docs_works_with_files_of_these_names",
    "dehedge tune --prices BTC-USD=BTCUSDT-1m-2020-03.zip --policy portfolio --vary early=0.1,0.15,0.3 --vary step=0.25,0.5,1"
    " --generate gross=10000000,long=0.1..0.9 --shield 0.5%..5% --books 10 --out tune.html --out tune.json":
    "test_replay_of_the_docs_works_with_files_of_these_names",
    "dehedge replay --prices BTC-USD=BTCUSDT-1m-2020-03.zip --policy none --policy delta --policy portfolio"
    " --policy portfolio:gate=0.005 --out report.html": "test_replay_of_the_docs_works_with_files_of_these_names",
    "dehedge replay --prices BTC-USD=BTCUSDT-1m-2021-05.zip --from 2021-05-19T13:02Z --to 2021-05-19T13:24Z"
    " --generate long=0.2,gross=10000000 --policy none --policy portfolio --png charts":
    "test_replay_of_the_docs_works_with_files_of_these_names",
    "dehedge replay --prices BTC-USD=BTCUSDT-1m-2021-05-19.zip --from 2021-05-19T13:02Z --to 2021-05-19T13:24Z --books 50"
    " --generate traders=50..1000,long=0.1..0.9,sigma=0.5..2,gross=10000000,hold=1000 --shield 0.5%..5% --vault 50%"
    " --margin 100000000 --policy none --policy notional --policy delta --policy portfolio --policy ideal":
    "test_replay_of_the_docs_works_with_files_of_these_names",
    "dehedge replay --prices BTC-USD=BTCUSDT-1m-2025-05.zip,BTCUSDT-1m-2025-06.zip --from 2025-05-04T15:33Z --to 2025-06-03T15:32Z"
    " --funding BTC-USD=BTCUSDT-fundingRate-2025-05.zip,BTCUSDT-fundingRate-2025-06.zip --books 50"
    " --generate traders=50..200,long=0.1..0.9,sigma=0.5..2,gross=10000000,hold=3 --shield 0.5%..5% --vault 50% --margin 100000000"
    " --policy none --policy delta --policy portfolio": "test_replay_of_the_docs_works_with_files_of_these_names",
    "dehedge depth btcusdt.jsonl ethusdt.jsonl": "test_depth_prints_the_options_to_use",
    "dehedge replay --prices BTC-USD=BTCUSDT-1m-2020-03.zip --out report.html": "test_replay_of_the_docs_works_with_files_of_these_names",
    "dehedge replay --prices BTC-USD=BTCUSDT-1m-2020-03.zip --prices ETH-USD=ETHUSDT-1m-2020-03.zip"
    " --funding BTC-USD=BTCUSDT-fundingRate-2020-03.zip --book book.csv --at-start --vault 5000000 --shield 250000"
    " --policy none --policy delta --policy delta:expiry=300 --fees 4 --out report.html --out figures.json --png charts":
    "test_replay_of_the_docs_works_with_files_of_these_names",
}
"""What takes minutes, a person or somebody to tell, by its beginning, and the test that runs the same."""

NOT_RUN = {
    "export": "names the port of the reader's own demo; the commands after it are run with the same variables",
    "make mutate": "takes hours; a test holds its table to the code",
    "docker build": "needs docker and the internet",
    "docker run": "needs docker",
    "docker exec": "needs docker",
    "sudo systemctl": "needs root and systemd",
}
"""By its beginning, with the reason."""

STEERING = re.compile(r"dehedge (pause|resume|flatten)")
OWN_PROCESS = {"check", "init", "snapshot"}
"""What ends its process at once, or sets up logging for all of it."""

COMMAND_S = 60.0
TRADER = build_position(0xA1, "BTC-USD", is_long=True, size_usd=10_000, price=Decimal(60_000))


class Block(NamedTuple):
    """The commands of one fence that are run here."""

    page: str
    commands: tuple[str, ...]


def list_fences(language: str) -> list[tuple[Path, str]]:
    return [
        (path, body)
        for path in DOCS
        for kind, body in FENCE.findall(path.read_text(encoding="utf-8"))
        if kind == language
    ]


def list_commands(body: str) -> list[str]:
    """Each line without its comment; a line that ends with a backslash goes on in the next."""
    lines = body.replace("\\\n", " ").splitlines()
    kept = (re.sub(r"(^|\s)#.*$", "", line).strip() for line in lines)
    return [" ".join(line.split()) for line in kept if line]


def strip_place(command: str) -> str:
    """The command itself, wherever it is installed and whatever variables stand before it."""
    return re.sub(r"^(?:[A-Z_]+=\S+ )*(?:\S*/bin/)?", "", command)


def find_match(command: str, known: Mapping[str, str]) -> str | None:
    bare = strip_place(command)
    if bare.startswith("dehedge"):
        return known.get(bare)
    return next((known[start] for start in known if bare == start or bare.startswith(f"{start} ")), None)


def check_run_by_ci(command: str) -> bool:
    """True where ``.ci/run`` makes this target."""
    words = command.split()
    steps = re.findall(r"^step make (\S+)", (ROOT / ".ci/run").read_text(encoding="utf-8"), re.MULTILINE)
    return words[0] == "make" and words[1] in steps


def list_blocks() -> list[Block]:
    """What is run here, each command once; those that steer last."""
    seen: set[str] = set()
    blocks = []
    for path, body in list_fences("sh"):
        commands = dict.fromkeys(map(strip_place, list_commands(body)))
        chosen = [one for one in commands if one.startswith("dehedge") and find_match(one, MATCHED) is None]
        blocks.append(Block(path.name, tuple(one for one in chosen if one not in seen)))
        seen |= commands.keys()
    return sorted(
        (block for block in blocks if block.commands), key=lambda block: bool(STEERING.search(" ".join(block.commands)))
    )


BLOCKS = list_blocks()
COMMANDS = [(path.name, command) for path, body in list_fences("sh") for command in list_commands(body)]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_fence_says_what_is_in_it(path: Path):
    kinds = [kind for kind, _ in FENCE.findall(path.read_text(encoding="utf-8"))]

    assert set(kinds) <= LANGUAGES


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=[f"{page}: {command}" for page, command in COMMANDS])
def test_command_of_the_docs_is_run_by_a_test_or_named_with_the_reason(page: str, command: str):
    match = find_match(command, MATCHED)
    ways = [
        any(strip_place(command) in block.commands for block in BLOCKS),
        match is not None,
        check_run_by_ci(command),
        find_match(command, NOT_RUN) is not None,
    ]

    assert any(ways), f"{page}: {command}"


def test_no_exception_is_made_for_what_no_page_shows():
    shown = {find_match(command, known) for _, command in COMMANDS for known in (MATCHED, NOT_RUN)}

    assert {*MATCHED.values(), *NOT_RUN.values()} <= shown
    assert [name for name in MATCHED.values() if f"def {name}(" not in TESTS] == []


def test_makefile_has_every_target_of_the_docs():
    commands = sorted({command for _, command in COMMANDS if command.startswith("make ")})
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")

    for command in commands:
        words = shlex.split(command)
        done = subprocess.run(
            [*words, "--dry-run"], cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_S, check=False
        )
        assert done.returncode == 0, done.stderr


def test_variables_that_the_docs_set_are_settings():
    known = {name.upper() for name in Settings.model_fields} | {f"{name}_FILE" for name in SECRETS}
    texts = [body for _, body in list_fences("dotenv")]
    lines = [line for text in texts for line in text.splitlines()]

    assert texts
    assert [line for line in lines if line.partition("=")[0] not in known] == []
    assert all(dotenv_values(stream=StringIO(text)) for text in texts)


def test_commands_within_sentences_exist_with_their_options():
    group: Any = get_command(app)
    wrong = []
    for path in DOCS:
        for text in re.findall(r"`(?:[A-Z_]+=\S+ )?dehedge ([a-z][^`]*)`", path.read_text(encoding="utf-8")):
            name, _, rest = text.replace("\\|", "|").partition(" ")
            command = group.commands.get(name)
            known = {option for parameter in command.params for option in parameter.opts} if command else set()
            wrong += (
                [f"{path.name}: {text}"]
                if command is None or set(re.findall(r"(?<![\w-])--?[a-z]+", rest)) - known
                else []
            )

    assert wrong == []


class Stage:
    """A world and its daemon, in a thread with a loop of its own; commands are processes of the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}
        self._world = World({"BTC-USD": Decimal(64_000), "ETH-USD": Decimal(3_000)}, use_anvil=False)
        self._daemon: DaemonProcess | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def open(self) -> None:
        self._thread.start()
        self._wait(self._start())

    def close(self) -> None:
        try:
            self._wait(self._stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _start(self) -> None:
        world = self._world
        await world.start()
        await world.chain.set_vault(500_000 * USD)
        await world.chain.set_shield(600 * USD)
        await world.chain.put(TRADER)
        environment = world.build_environment(POLL_INTERVAL_SECONDS="0.3", PRICE_INTERVAL_SECONDS="0.3")
        self._daemon = daemon = DaemonProcess(self.folder, environment)
        await daemon.start()
        self.variables = {
            **environment, "HTTP_PORT": daemon.url.rpartition(":")[2], "HTTP_TOKEN": HTTP_TOKEN, "COLUMNS": "120",
            "STATE_URL": f"sqlite:///{self.folder / 'dehedge.db'}",
        }  # fmt: skip

        async def check_hedged() -> bool:
            answer = await daemon.fetch("/api/v1/hedges")
            return bool(
                answer and answer["hedges"] and answer["hedges"][0]["status"] == "OPEN" and await daemon.check_ready()
            )

        await wait_until(check_hedged, "the example to be hedged")

    async def _stop(self) -> None:
        if self._daemon is not None:
            await self._daemon.close()
        await self._world.stop()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(COMMAND_S)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("stage"))
    try:
        stage.open()
        yield stage
    finally:
        stage.close()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}: {block.commands[0]}")
def test_commands_of_the_docs_work(stage: Stage, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(stage.folder / "markets.toml", tmp_path)
    for name, value in stage.variables.items():
        monkeypatch.setenv(name, value)

    for command in block.commands:
        code, told = run(command)
        assert code == 0, f"{command}: {told}"


def run(command: str) -> tuple[int, str]:
    """The exit code and what was said, of a process where the command needs one: imports are what takes time."""
    _, *words = shlex.split(command)
    if words[0] not in OWN_PROCESS:
        result = CliRunner().invoke(app, words)
        return result.exit_code, result.output
    done = subprocess.run(
        [sys.executable, "-m", "dehedge", *words], capture_output=True, text=True, timeout=COMMAND_S, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr
