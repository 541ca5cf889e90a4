"""What passes decided and from what, on disk beside the journal: a ring of compressed files of a bounded size.

Rules of this file. It never keeps a hedge waiting: a pass is handed over by reference, and a thread of its own does the rest. When
that is behind, passes are left out and counted. When the disk refuses, recording stops, says so, and begins anew a minute
later; nothing else stops. Nothing is ever synced: what a power cut takes of it is not missed.

A file is a stream of lines, flushed with each of them, so that it can be read while it is written and after a kill. Each run
of the daemon begins one; the oldest go first.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from dehedge.adapters.pass_rows import encode_pass
from dehedge.core.decisions import Decision
from dehedge.core.passes import PassView

log = structlog.get_logger()

QUIET_INTERVAL_S = 10.0
"""Between passes that trade nothing."""
WAITING_MAX = 64
RETRY_S = 60.0
FILES = 8
"""So many make up the ring; the one being written is at most this part of it."""
FILES_MAX = 200
"""However small: each start of the daemon begins one."""
SUFFIX = ".passes"
CHUNK = 1 << 16
LEVEL = 6


class FileRecorder:
    """Implements ``ports.PassRecorder``."""

    def __init__(self, folder: Path, size_max: int) -> None:
        self._ring = Ring(folder, size_max)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._waiting = 0
        self._left_out = 0
        self._quiet_due = 0.0
        self._stopped_until = 0.0

    def check_wanted(self, *, is_trading: bool) -> bool:
        now = asyncio.get_running_loop().time()
        if now < self._stopped_until or not (is_trading or now >= self._quiet_due):
            return False
        self._quiet_due = now + QUIET_INTERVAL_S
        return True

    def note(self, view: PassView, outcomes: Sequence[Decision]) -> None:
        if self._waiting >= WAITING_MAX:
            self._left_out += 1
            return
        self._waiting += 1
        task = asyncio.get_running_loop().run_in_executor(self._thread, self._ring.write, view, outcomes)
        task.add_done_callback(self._end)

    def close(self) -> None:
        """Wait for what is being written; what waits behind it is let go."""
        self._thread.shutdown(cancel_futures=True)
        self._ring.close()

    def _end(self, task: asyncio.Future[None]) -> None:
        self._waiting -= 1
        error = None if task.cancelled() else task.exception()
        now = asyncio.get_running_loop().time()
        if error is not None and now >= self._stopped_until:
            self._stopped_until = now + RETRY_S
            remedy = "make room, or set RECORD_MAX_MB=0; hedging goes on"
            log.error("recording_stopped", error=f"{type(error).__name__}: {error}", remedy=remedy, retry_s=RETRY_S)
        if self._left_out and not self._waiting:
            log.warning("passes_not_recorded", count=self._left_out)
            self._left_out = 0


class Ring:
    """The files. Used by one thread."""

    def __init__(self, folder: Path, size_max: int) -> None:
        self._folder = folder
        self._size_max = size_max
        self._handle = -1
        self._size = 0
        self._stream = zlib.compressobj(LEVEL)

    def write(self, view: PassView, outcomes: Sequence[Decision]) -> None:
        """Append one pass. Raises ``OSError``; the next one then begins a new file."""
        line = encode_pass(view, outcomes)
        try:
            if self._handle < 0 or self._size >= self._size_max // FILES:
                self._begin()
            data = self._stream.compress(line) + self._stream.flush(zlib.Z_SYNC_FLUSH)
            while data:
                written = os.write(self._handle, data)
                self._size += written
                data = data[written:]
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1

    def _begin(self) -> None:
        self.close()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        found = list_files(self._folder)
        number = int(found[-1].stem) + 1 if found else 1
        self._prune(found)
        path = self._folder / f"{number:08d}{SUFFIX}"
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size, self._stream = 0, zlib.compressobj(LEVEL)

    def _prune(self, found: Sequence[Path]) -> None:
        """Make room for a whole file more; a disk that takes nothing leaves an empty one with each try."""
        left = self._size_max - self._size_max // FILES
        for place, path in enumerate(reversed(found), start=1):
            left -= path.stat().st_size
            if left < 0 or place >= FILES_MAX:
                path.unlink()


def get_record_folder(journal: Path) -> Path:
    """Beside the journal."""
    return journal.with_name(f"{journal.name}.passes")


def list_files(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if path.stem.isdigit())


def read_lines(folder: Path, since: float) -> Iterator[bytes]:
    """The lines of every file that was written to after that time, oldest first, while the daemon may go on writing."""
    for path in list_files(folder):
        try:
            if path.stat().st_mtime >= since:
                yield from _read_file(path)
        except FileNotFoundError:
            continue  # The ring has moved on.


def _read_file(path: Path) -> Iterator[bytes]:
    """Whole lines; what a kill or a damaged disk has left behind the last of them is passed over."""
    stream, rest = zlib.decompressobj(), b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            try:
                rest += stream.decompress(chunk)
            except zlib.error:
                return
            *lines, rest = rest.split(b"\n")
            yield from lines
