"""A command on a terminal of its own, as a person would run it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

TIMEOUT_S = 90.0
"""A whole process, on a machine that has other things to do."""
KEPT = ("PATH", "PYTHONPATH")


class Terminal:
    """``python -m dehedge`` with a pseudo-terminal of so many columns. ``shown`` is all that it has shown so far."""

    def __init__(self, folder: Path, variables: Mapping[str, str], columns: int = 80) -> None:
        self.shown = ""
        self._awaited = 0
        self._folder = folder
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        self._environment = {**kept, "TERM": "xterm", **variables}
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process: asyncio.subprocess.Process | None = None
        self._moved = asyncio.Event()

    async def start(self, *arguments: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dehedge", *arguments, cwd=self._folder, env=self._environment,
            stdin=self._slave, stdout=self._slave, stderr=self._slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(self._slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65_536)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self.shown += data.decode("utf-8", "replace")
        self._moved.set()

    async def wait_for(self, words: str) -> None:
        """Until they have been shown, after what was waited for before."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while (found := self.shown.find(words, self._awaited)) < 0:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise AssertionError(f"{words!r} was not shown, but {self.shown[self._awaited :]!r}") from None
        self._awaited = found + len(words)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    async def wait(self) -> int:
        """The exit code."""
        assert self._process is not None, "start it first"
        code = await asyncio.wait_for(self._process.wait(), TIMEOUT_S)
        await asyncio.sleep(0.05)  # What it said last is on its way.
        return code

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
