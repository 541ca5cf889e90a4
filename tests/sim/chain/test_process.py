"""Finding the anvil binary, and that no child outlives its parent."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import stat
import sys
import time
from pathlib import Path

import pytest

from dehedge.sim.chain import AnvilChain, AnvilUnavailable, find_anvil
from dehedge.sim.chain.process import BINARY_VARIABLE, AnvilProcess

needs_anvil = pytest.mark.skipif(find_anvil() is None, reason="no anvil binary here")

PACKAGE = ".tools/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
DOOMED_PARENT = """
import asyncio, os, signal
from dehedge.sim.chain import AnvilChain

async def main():
    chain = AnvilChain()
    await chain.start()
    print(chain.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def a_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def wait_for_errors(process: AnvilProcess) -> None:
    deadline = time.monotonic() + 5
    while process.read_errors() != "ready":
        assert time.monotonic() < deadline


def list_names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture(autouse=True)
def _no_setting(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "anvil" not in request.keywords:
        monkeypatch.delenv(BINARY_VARIABLE, raising=False)


def test_binary_is_the_one_named_by_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = a_program(tmp_path / "mine", "#!/bin/sh\n")
    a_program(tmp_path / PACKAGE, "#!/bin/sh\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(BINARY_VARIABLE, str(named))

    assert find_anvil() == named


def test_binary_is_refused_when_the_variable_names_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for wrong in (tmp_path / "nothing", tmp_path):
        monkeypatch.setenv(BINARY_VARIABLE, str(wrong))

        with pytest.raises(AnvilUnavailable, match=f"DEHEDGE_ANVIL={wrong} is not"):
            find_anvil()


def test_binary_is_npms_below_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    packaged = a_program(tmp_path / PACKAGE, "#!/bin/sh\n")
    a_program(tmp_path / "bin" / "anvil", "#!/bin/sh\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert find_anvil() == packaged


def test_binary_is_on_the_path_when_npm_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    on_path = a_program(tmp_path / "bin" / "anvil", "#!/bin/sh\n")
    monkeypatch.setattr("dehedge.sim.chain.process._REPOSITORY", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    assert find_anvil() == on_path


async def test_chain_names_the_remedy_when_there_is_no_binary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dehedge.sim.chain.process._REPOSITORY", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(AnvilUnavailable, match="npm install"):
        await AnvilChain().start()


async def test_chain_tells_what_the_binary_said_when_it_does_not_start(tmp_path: Path) -> None:
    broken = a_program(tmp_path / "anvil", "#!/bin/sh\necho 'no such option' >&2\nexit 2\n")

    with pytest.raises(AnvilUnavailable, match="no such option"):
        await AnvilChain(broken).start()


@pytest.mark.anvil
@needs_anvil
async def test_stop_ends_the_child_and_its_scratch_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    chain = AnvilChain()
    await chain.start()
    pid, scratch = chain.pid, list_names(tmp_path)
    await chain.stop()

    assert len(scratch) == 1
    assert list_names(tmp_path) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_stop_kills_a_child_that_does_not_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dehedge.sim.chain.process.TERMINATE_S", 0.05)
    deaf = a_program(tmp_path / "anvil", "#!/bin/sh\ntrap '' TERM\necho ready >&2\nwhile :; do read -r line; done\n")
    process = AnvilProcess(deaf)
    await process.start()
    pid = process.pid
    await asyncio.to_thread(wait_for_errors, process)

    await process.stop()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.anvil
@needs_anvil
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
async def test_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DOOMED_PARENT, stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert parent.stdout is not None
    child = os.pidfd_open(int(await asyncio.wait_for(parent.stdout.readline(), 20)))
    try:
        was_alive = not select.select([child], [], [], 0)[0]
        parent.send_signal(signal.SIGKILL)
        await parent.wait()
        has_ended = select.select([child], [], [], 5)[0]
    finally:
        os.close(child)

    assert was_alive
    assert has_ended
