"""Reads a journal beside the daemon that writes it, or of one that is dead; takes no lock of the journal and writes nothing.

Not even what SQLite would write for a reader: the index of the write-ahead log is used as it is, and where there is none the
files are read as they lie there. Each reading is of one moment. Called by the commands on a journal and by the history that
the daemon shows, each time in a thread.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from dehedge.adapters.journal_rows import build_altered, chain, decode, explained, get_seed
from dehedge.errors import JournalError
from dehedge.ports import JournalEntry

BUSY_S = 5.0
_ALL = "SELECT sequence, at, kind, body, checksum FROM events WHERE sequence >= ? ORDER BY sequence"


class JournalReader:
    """One journal file. Every reading opens it anew, and raises ``JournalError`` where that cannot be done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_deployment(self) -> str:
        """The name that the journal gave itself."""
        with self._opened() as database:
            return self._select_deployment(database)

    def read(self, since: float = 0.0, *, limit: int | None = None) -> Iterator[JournalEntry]:
        """Every fact in order from that time on, or the newest of them; only what is read is checked."""
        with self._opened() as database:
            last = self._select_last(database)
            first = self._find_first(database, since, last)
            if limit is not None:
                first = max(first, last - limit + 1)
            checksum = self._select_checksum(database, first - 1)
            for count, row in enumerate(database.execute(_ALL, (first,)), start=first):
                sequence, at, kind, body, stored = row
                checksum = chain(checksum, sequence, at, kind, body)
                if sequence != count or checksum != stored:
                    raise build_altered(self.path, count)
                yield JournalEntry(sequence, at, decode(self.path, sequence, kind, body))

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        if not self.path.exists():
            raise JournalError(f"journal {self.path}: there is none; see STATE_URL, or name the file by --journal")
        with explained(self.path), ExitStack() as stack:
            uri = self._find_uri(stack)
            database = stack.enter_context(closing(sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)))
            database.execute("BEGIN")
            yield database

    def _find_uri(self, stack: ExitStack) -> str:
        """How to open the file such that nothing is written, whoever holds it and however that ended."""
        log, index = (self.path.with_name(self.path.name + suffix) for suffix in ("-wal", "-shm"))
        if index.exists():
            return _build_uri(self.path, "mode=ro&readonly_shm=1")
        if not log.exists() or not log.stat().st_size:
            return _build_uri(self.path, "mode=ro&immutable=1")
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="dehedge-")))
        for file in (self.path, log):
            shutil.copyfile(file, folder / file.name)
        return _build_uri(folder / self.path.name, "mode=rw")

    def _select_deployment(self, database: sqlite3.Connection) -> str:
        row = database.execute("SELECT value FROM meta WHERE name = 'deployment'").fetchone()
        if row is None:
            raise JournalError(f"journal {self.path}: its deployment is missing; restore the file from a backup")
        return str(row[0])

    def _select_last(self, database: sqlite3.Connection) -> int:
        return int(database.execute("SELECT coalesce(max(sequence), 0) FROM events").fetchone()[0])

    def _find_first(self, database: sqlite3.Connection, since: float, last: int) -> int:
        """The number of the first entry of that time or later: times ascend, but for a clock that was set."""
        low, high = 1, last + 1
        while low < high:
            middle = (low + high) // 2
            row = database.execute("SELECT at FROM events WHERE sequence = ?", (middle,)).fetchone()
            if row is None:
                raise build_altered(self.path, middle)
            low, high = (middle + 1, high) if row[0] < since else (low, middle)
        return low

    def _select_checksum(self, database: sqlite3.Connection, sequence: int) -> int:
        if not sequence:
            return get_seed(self._select_deployment(database))
        row = database.execute("SELECT checksum FROM events WHERE sequence = ?", (sequence,)).fetchone()
        if row is None:
            raise build_altered(self.path, sequence)
        return int(row[0])


def _build_uri(path: Path, options: str) -> str:
    return f"file:{quote(str(path.resolve()))}?{options}"
