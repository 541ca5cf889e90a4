"""The journal: an append-only SQLite table that survives a power cut.

Rules of this file. One writer: a lock on ``<file>.lock`` is held for the life of the process, so a second daemon on the
same journal ends before it can trade; that file also remembers how far the journal went (``journal_lock``). One transaction
per ``append``, write-ahead log, ``synchronous=FULL``: when ``append`` returns, the facts are on the disk. If it raises,
whether they are is unknown, and the process must end and replay. Nothing is ever changed or removed.

Theory of operation. An event is stored as its class name and the JSON of its fields: decimals as strings, nothing lost.
Each row carries a checksum of what it says and of the row before, so a torn, edited or missing row is found when reading;
SQLite itself rolls back a transaction that was cut. Writes run in one thread of their own: a slow disk delays orders,
which wait for it anyway, and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from dehedge.adapters.journal_lock import JournalLock, Note
from dehedge.core import costs, events
from dehedge.core.events import Event
from dehedge.core.writers import build_deployment
from dehedge.errors import JournalError, JournalFailed
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
_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind)
    for kind in (
        events.OrderIntended,
        events.OrderReported,
        costs.OrderPriced,
        costs.FundingPaid,
        events.OrderAbandoned,
        events.HedgesCooled,
        events.HedgesReheated,
        events.HedgesForced,
        events.HedgeWrittenDown,
        events.ForeignPositionSeen,
        events.TradingModeSet,
    )
}


_REMEDIES = {
    "not a database": "the file is not a journal or is corrupt: restore it from a backup or use another STATE_URL",
    "malformed": "the file is corrupt: restore it from a backup",
    "garbage": "the file is corrupt: restore it from a backup",
    "no such column": "the file is the database of something else: use another STATE_URL",
    "readonly": "the file or its folder is read-only: grant write permission",
    "full": "the disk is full: make room",
    "disk I/O": "the disk is full or failing: make room or replace it",
    "unable to open": "check that the folder exists and is writable",
    "locked": "another program holds the file: close it",
}
"""What helps, by a word of SQLite's message."""
_PASSING = ("full", "disk I/O", "locked")
"""Those of them that may help themselves: everything else needs a person."""
_SHOWN_LENGTH_MAX = 200
_REMEDY = "check the disk and STATE_URL"


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
            with _explained(path):
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
            checksum = _chain(checksum, sequence, at, kind, body)
            if sequence != count or checksum != stored:
                raise JournalError(
                    f"journal {self.path}: entry {count} is missing or altered; restore the file from a backup"
                )
            yield JournalEntry(sequence, at, self._decode(sequence, kind, body))
        found = Note(self.deployment, count)
        self._lock.check_whole(found)
        self._lock.write(found)

    def _read_rows(self) -> Iterator[tuple[int, float, str, str, int]]:
        with _explained(self.path):
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
        return zlib.crc32(self.deployment.encode())

    def _append(self, at: float, events: Sequence[Event]) -> None:
        rows = []
        sequence, checksum = self.last_sequence, self._checksum
        for event in events:
            sequence += 1
            kind = type(event).__name__
            body = self._encode(kind, event)
            checksum = _chain(checksum, sequence, at, kind, body)
            rows.append((sequence, at, kind, body, checksum))
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")
        self.last_sequence, self._checksum = sequence, checksum
        self._lock.write(Note(self.deployment, sequence))

    def _encode(self, kind: str, event: Event) -> str:
        try:
            return _ADAPTERS[kind].dump_json(event).decode()
        except PydanticSerializationError as error:
            # A text with half of a surrogate pair, which no other encoding has.
            raise JournalError(f"journal {self.path}: {kind} cannot be written: it holds what is no text") from error

    def _decode(self, sequence: int, kind: str, body: str) -> Event:
        try:
            event: Event = _ADAPTERS[kind].validate_json(body)
        except (KeyError, ValidationError) as error:
            raise JournalError(
                f"journal {self.path}: entry {sequence} ({_show(kind)}) is not understood; run the version that wrote it"
            ) from error
        return event


def _make(path: Path) -> None:
    """An empty file that nobody else reads; SQLite's own beside it take its mode. What cannot be made SQLite tells."""
    with suppress(OSError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _name_journal() -> str:
    """The name that a journal made now gives itself."""
    return build_deployment(time.time(), int(secrets.token_hex(4), 16))


def _chain(checksum: int, sequence: int, at: float, kind: str, body: str) -> int:
    return zlib.crc32(f"{sequence}|{at!r}|{kind}|{body}".encode(), checksum)


def _show(text: str) -> str:
    """What may be garbage of the file, as a part of one line."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:_SHOWN_LENGTH_MAX])


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's errors as ours, with the remedy."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # UnicodeDecodeError: the library stumbles over SQLite's own message where that quotes garbage from the file.
        text = "it holds garbage" if "decode" in str(error) else _show(str(error))
        sign = next((sign for sign in _REMEDIES if sign in text), "")
        kind = JournalFailed if sign in _PASSING else JournalError
        raise kind(f"journal {path}: {text}; {_REMEDIES.get(sign, _REMEDY)}") from error
