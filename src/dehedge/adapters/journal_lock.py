"""The file beside the journal: held by one daemon at a time, and the memory of what the journal was.

A journal that is gone, emptied, cut short or another one can look like a sound and shorter one, above all when somebody
deleted its write-ahead log; begun anew it would leave hedges open that nobody knows. So each commit leaves its number here,
without a sync: what is written here is never ahead of the journal. Called by ``journal``, and by ``check``.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from pathlib import Path
from typing import NamedTuple

from dehedge.errors import JournalError, JournalFailed, JournalLocked

LENGTH_MAX = 100
_NOTE = re.compile(rb"([0-9A-Za-z]{1,32}) ([0-9]{20})\n")

_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE)


class Note(NamedTuple):
    """What a journal was: its deployment, and the number of its last entry."""

    deployment: str
    sequence: int


class JournalLock:
    """Holds the lock from its making until ``close``. Raises ``JournalLocked`` or ``JournalError``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = _take(path)
        self.note = _parse(os.pread(self._handle, LENGTH_MAX, 0))
        """What the journal was when it was last held, if anything is known of it."""

    def check_may_begin(self) -> None:
        """Before a journal is made: raise ``JournalError`` where there was one with entries."""
        problem = _find_lost(self._path, self.note)
        if problem is not None:
            raise JournalError(problem)

    def check_whole(self, found: Note) -> None:
        """Raise ``JournalError`` where the journal that was read is another one, or ends before it did."""
        if self.note is None or not self.note.sequence:
            return
        if found.deployment != self.note.deployment:
            what = f"is another one than before ({found.deployment}, not {self.note.deployment})"
        elif found.sequence < self.note.sequence:
            what = f"ends at entry {found.sequence}, but it had {self.note.sequence}: the last ones are lost"
        else:
            return
        raise JournalError(f"journal {self._path} {what}; {_build_remedy(self._path)}")

    def write(self, note: Note) -> None:
        """Remember. Where it cannot be written, the next start knows less; the journal itself is not touched by that."""
        self.note = note
        with contextlib.suppress(OSError):
            line = f"{note.deployment} {note.sequence:020d}\n".encode()
            os.pwrite(self._handle, line, 0)
            os.ftruncate(self._handle, len(line))

    def close(self) -> None:
        os.close(self._handle)


def read_lost(path: Path) -> str | None:
    """Why a journal that is not there should be; takes no lock and makes no file."""
    return _find_lost(path, read_note(path))


def read_note(path: Path) -> Note | None:
    """What a journal was when its last entry was written, whoever holds it; takes no lock and makes no file."""
    try:
        return _parse(_get_lock_path(path).read_bytes()[:LENGTH_MAX])
    except OSError:
        return None


def _find_lost(path: Path, note: Note | None) -> str | None:
    if note is None or not note.sequence:
        return None
    what = "is empty" if path.exists() else "is gone"
    return f"journal {path} {what}, but it had {note.sequence} entries; {_build_remedy(path)}"


def _build_remedy(path: Path) -> str:
    return (
        f"restore the file; to go on without what is lost, whose hedges are then not known as ours,"
        f" remove {_get_lock_path(path)}"
    )


def _get_lock_path(path: Path) -> Path:
    """Beside the file itself, where the path is a link to it."""
    real = path.resolve()
    return real.with_name(real.name + ".lock")


def _parse(content: bytes) -> Note | None:
    found = _NOTE.fullmatch(content)
    return Note(found[1].decode(), int(found[2])) if found else None


def _take(path: Path) -> int:
    try:
        handle = os.open(_get_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        kind = JournalFailed if error.errno in _PASSING else JournalError
        raise kind(f"journal {path} cannot be opened: {error.strerror}; check STATE_URL and the folder") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise JournalLocked(f"journal {path} is held by another daemon; stop it or use another STATE_URL") from error
    return handle
