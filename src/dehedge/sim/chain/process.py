"""Finds the anvil binary and owns one child process of it.

The npm package ``@foundry-rs/anvil`` ships a native binary in its platform package; it is run directly, without node. The
child dies with this process where the system can promise that, and is ended by its own pid. Called by ``AnvilChain``; knows
nothing of contracts.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from dehedge.errors import DehedgeError
from dehedge.sim.chain.model import CHAIN_ID

BINARY_VARIABLE = "DEHEDGE_ANVIL"
PACKAGE_BINARY = ".tools/node_modules/@foundry-rs/anvil-*/bin/anvil"
TERMINATE_S = 3.0

_PR_SET_PDEATHSIG = 1
_REPOSITORY = Path(__file__).resolve().parents[4]
_OPTIONS = (
    *("--host", "127.0.0.1", "--chain-id", str(CHAIN_ID), "--quiet"),
    *("--block-time", "1", "--mixed-mining", "--accounts", "1"),
    *("--gas-limit", "20000000000", "--gas-price", "0", "--block-base-fee-per-gas", "0"),
    *("--memory-limit", "1073741824", "--no-request-size-limit", "--prune-history", "512"),
)


class AnvilUnavailable(DehedgeError):
    """There is no anvil binary, it does not start, or it does not answer."""


def find_anvil() -> Path | None:
    """The binary named by DEHEDGE_ANVIL, else npm's below the working directory or the repository, else on PATH."""
    named = os.environ.get(BINARY_VARIABLE)
    if named and not _check_executable(Path(named)):
        raise AnvilUnavailable(f"{BINARY_VARIABLE}={named} is not an executable file: correct it or unset it")
    return Path(named) if named else next(_list_candidates(), None)


def _list_candidates() -> Iterator[Path]:
    for folder in (Path.cwd(), _REPOSITORY):
        yield from (path for path in sorted(folder.glob(PACKAGE_BINARY)) if _check_executable(path))
    on_path = shutil.which("anvil")
    if on_path:
        yield Path(on_path)


def _check_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


class AnvilProcess:
    """One running anvil on a loopback port of its own, with a scratch folder that goes with it."""

    def __init__(self, binary: Path) -> None:
        self.port = _find_free_port()
        self._binary = binary
        self._scratch = tempfile.TemporaryDirectory(prefix="dehedge-anvil-")
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "start the process first"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        with self._error_path.open("wb") as errors:
            self._process = await asyncio.create_subprocess_exec(
                str(self._binary),
                *_OPTIONS,
                *("--port", str(self.port), "--cache-path", self._scratch.name),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
                env={"HOME": self._scratch.name, "PATH": os.environ.get("PATH", "")},
                preexec_fn=_build_death_pact(),
            )

    async def stop(self) -> None:
        """End the child by its pid, and wait for it."""
        if self._process is not None and self.is_running:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), TERMINATE_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._scratch.cleanup()

    def read_errors(self) -> str:
        """What the child wrote to standard error, as one line."""
        return " ".join(self._error_path.read_text(errors="replace").split()) or "no message"

    @property
    def _error_path(self) -> Path:
        return Path(self._scratch.name) / "stderr"


def _build_death_pact() -> Callable[[], None] | None:
    """Lets the kernel kill the child when its parent dies, even by ``kill -9``. None where it cannot."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def die_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the pact was made.
        if os.getppid() != parent:
            os._exit(1)

    return die_with_parent


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
