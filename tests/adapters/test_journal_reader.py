"""A journal is read beside its daemon, and of a dead one, and nothing of it is touched."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from dehedge.adapters.journal import SqliteJournal
from dehedge.adapters.journal_reader import JournalReader
from dehedge.core.events import OrderAbandoned
from dehedge.core.orders import ClientOrderId
from dehedge.errors import JournalError

WRITER = """
import asyncio, os, signal, sys
from pathlib import Path
from dehedge.adapters.journal import SqliteJournal
from dehedge.core.events import OrderAbandoned
journal = SqliteJournal(Path(sys.argv[1]))
for number in range(1, 6):
    asyncio.run(journal.append(float(number), [OrderAbandoned(f"dh-{number}", "never")]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dehedge.db"


def a_fact(number: int) -> OrderAbandoned:
    return OrderAbandoned(ClientOrderId(f"dh-{number}"), "never")


def write(journal: SqliteJournal, *numbers: int) -> None:
    for number in numbers:
        asyncio.run(journal.append(float(number), [a_fact(number)]))


def read(path: Path, since: float = 0.0, limit: int | None = None) -> list[float]:
    return [entry.at for entry in JournalReader(path).read(since, limit=limit)]


def look(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


def build_dead(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WRITER, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_reader_sees_each_commit_of_a_running_daemon(path: Path):
    with closing(SqliteJournal(path)) as journal:
        assert read(path) == []
        write(journal, 1, 2)
        assert read(path) == [1, 2]
        before = {*path.parent.iterdir()}
        write(journal, 3)
        entries = [*JournalReader(path).read()]
        assert [entry.event for entry in entries] == [a_fact(1), a_fact(2), a_fact(3)]
        assert [entry.sequence for entry in entries] == [1, 2, 3]
        assert JournalReader(path).read_deployment() == journal.deployment
        assert {*path.parent.iterdir()} == before
        write(journal, 4)
    assert read(path) == [1, 2, 3, 4]


def test_reader_keeps_no_writer_waiting_while_it_reads(path: Path):
    with closing(SqliteJournal(path)) as journal:
        write(journal, *range(1, 50))
        reading = JournalReader(path).read()
        assert next(reading).at == 1
        write(journal, 50)
        journal._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        write(journal, *range(51, 60))
        assert [entry.at for entry in reading] == [float(number) for number in range(2, 50)]


@pytest.mark.parametrize("lost", [[], ["-shm"]], ids=["as it died", "copied without its index"])
def test_reader_changes_nothing_when_the_daemon_was_killed(path: Path, lost: list[str]):
    build_dead(path)
    for suffix in lost:
        path.with_name(path.name + suffix).unlink()
    before = look(path)
    assert f"{path.name}-wal" in before

    assert read(path) == [1, 2, 3, 4, 5]
    assert look(path) == before


def test_reader_changes_nothing_when_the_daemon_ended(path: Path):
    with closing(SqliteJournal(path)) as journal:
        write(journal, 1, 2)
    path.chmod(0o400)
    before = look(path)

    assert read(path) == [1, 2]
    assert look(path) == before


@pytest.mark.parametrize(
    ("since", "limit", "expected"),
    [
        (3, None, [3, 4, 5]),
        (2.5, None, [3, 4, 5]),
        (9, None, []),
        (0, 2, [4, 5]),
        (5, 2, [5]),
        (0, 99, [1, 2, 3, 4, 5]),
    ],
)
def test_reader_begins_at_a_time_or_with_the_newest(path: Path, since: float, limit: int | None, expected: list[float]):
    with closing(SqliteJournal(path)) as journal:
        write(journal, 1, 2, 3, 4, 5)

    assert read(path, since, limit) == expected


@pytest.mark.parametrize("sql", ["UPDATE events SET body = replace(body, 'never', 'ever') WHERE sequence = 3",
                                 "DELETE FROM events WHERE sequence = 3"])  # fmt: skip
def test_reader_tells_of_a_row_that_was_altered(path: Path, sql: str):
    with closing(SqliteJournal(path)) as journal:
        write(journal, 1, 2, 3, 4, 5)
    with closing(sqlite3.connect(path)) as database:
        database.execute(sql)
        database.commit()

    with pytest.raises(JournalError, match="missing or altered"):
        read(path)


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 1000])
def test_reader_says_what_is_wrong_with_the_file(path: Path, content: bytes | None):
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(JournalError, match=str(path)):
        read(path)
    with pytest.raises(JournalError):
        JournalReader(path).read_deployment()


def test_reader_says_so_when_the_database_is_of_something_else(path: Path):
    with closing(sqlite3.connect(path)) as database:
        database.executescript(
            "CREATE TABLE meta (name, value); CREATE TABLE events (sequence, at, kind, body, checksum)"
        )

    with pytest.raises(JournalError, match="deployment is missing"):
        JournalReader(path).read_deployment()
