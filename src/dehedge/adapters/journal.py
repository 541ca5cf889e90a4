"""The journal: an append-only SQLite table that survives a power cut.

Rules of this file. One writer: a lock on ``<file>.lock`` is held for the life of the process, so a second daemon on the
same journal ends before it can trade; that file also remembers how far the journal went (``journal_lock``). One transaction
per ``append``, write-ahead log, ``synchronous=FULL``: when ``append`` returns, the facts are on the disk. If it raises,
whether they are is unknown, and the process must end and replay. Nothing is ever changed or removed.

Theory of operation. A row is an event in words and a checksum that builds on the row before (``journal_rows``), so a torn,
edited or missing row is found when reading; SQLite itself rolls back a transaction that was cut. Writes run in one thread of their own: a slow disk delays orders,
which wait for it anyway, and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

from dehedge.adapters.journal_lock import JournalLock, Note
from dehedge.adapters.journal_rows import build_altered, chain, decode, encode, explained, get_seed
from dehedge.core.events import Event
from dehedge.core.writers import build_deployment
from dehedge.errors import JournalError
from dehedge.ports import JournalEntry

SCHEMA_VERSION = 1
_SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS events (
    sequence INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, checksum INTEGER NOT NULL
) STRICT;
COMMIT;
"""
_META_COLUMNS = ["name", "value"]
_DEPLOYMENT = re.compile("[0-9A-Za-z]{1,32}")

class SqliteJournal:
    """Implements ``ports.Journal``. Opening raises ``JournalLocked`` or ``JournalError`` with the remedy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with ExitStack() as opened:
            self._lock = JournalLock(path)
            opened.callback(self._lock.close)
            if not path.exists():
                self._lock.check_may_begin()
                _make(path)
            with explained(path):
                self._db = opened.enter_context(
                    closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False))
                )
                self._prepare()
                self.deployment = self._get_meta("deployment", _name_journal())
                self.last_sequence, self._checksum = self._read_last()
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
            opened.callback(self._thread.shutdown)
            self._opened = opened.pop_all()

    async def append(self, at: float, events: Sequence[Event]) -> None:
        """Write all events in one durable transaction, in the journal's own thread."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._append, float(at), events)

    def read(self) -> Iterator[JournalEntry]:
        """Every fact in order, one at a time, for a journal of months would fill the memory.

        Raises ``JournalError`` where a row is missing, altered or not understood.
        """
        count, checksum = 0, self._get_seed()
        for count, (sequence, at, kind, body, stored) in enumerate(self._read_rows(), start=1):
            checksum = chain(checksum, sequence, at, kind, body)
            if sequence != count or checksum != stored:
                raise build_altered(self.path, count)
            yield JournalEntry(sequence, at, decode(self.path, sequence, kind, body))
        found = Note(self.deployment, count)
        self._lock.check_whole(found)
        self._lock.write(found)

    def _read_rows(self) -> Iterator[tuple[int, float, str, str, int]]:
        with explained(self.path):
            yield from self._db.execute("SELECT sequence, at, kind, body, checksum FROM events ORDER BY sequence")

    def close(self) -> None:
        """Wait for the write under way, then let go of the file and the lock."""
        self._opened.close()

    def _prepare(self) -> None:
        self._check_ours()
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        found = self._get_meta("schema", str(SCHEMA_VERSION))
        if found != str(SCHEMA_VERSION):
            raise JournalError(
                f"journal {self.path} has schema {found}, this version knows {SCHEMA_VERSION}: run the version that wrote it"
            )

    def _check_ours(self) -> None:
        """Before anything is written: the database of something else is left as it is."""
        is_empty = self._db.execute("SELECT 1 FROM sqlite_master").fetchone() is None
        columns = [name for (name,) in self._db.execute("SELECT name FROM pragma_table_info('meta')")]
        if is_empty:
            self._lock.check_may_begin()
        elif columns != _META_COLUMNS:
            raise JournalError(f"journal {self.path}: the file is the database of something else; use another STATE_URL")

    def _get_meta(self, name: str, default: str) -> str:
        self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, default))
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        if row is None or not _DEPLOYMENT.fullmatch(str(row[0])):
            raise JournalError(f"journal {self.path}: its {name} is missing or altered; restore the file from a backup")
        return str(row[0])

    def _read_last(self) -> tuple[int, int]:
        row = self._db.execute("SELECT sequence, checksum FROM events ORDER BY sequence DESC LIMIT 1").fetchone()
        return row or (0, self._get_seed())

    def _get_seed(self) -> int:
        """What the first row's checksum builds on: a changed deployment is found like a changed row."""
        return get_seed(self.deployment)

    def _append(self, at: float, events: Sequence[Event]) -> None:
        rows = []
        sequence, checksum = self.last_sequence, self._checksum
        for event in events:
            sequence += 1
            kind = type(event).__name__
            body = encode(self.path, kind, event)
            checksum = chain(checksum, sequence, at, kind, body)
            rows.append((sequence, at, kind, body, checksum))
        with explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        self.last_sequence, self._checksum = sequence, checksum
        self._lock.write(Note(self.deployment, sequence))


def _make(path: Path) -> None:
    """An empty file that nobody else reads; SQLite's own beside it take its mode. What cannot be made SQLite tells."""
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _name_journal() -> str:
    """The name that a journal made now gives itself."""
    return build_deployment(time.time(), int(secrets.token_hex(4), 16))
