"""The journal on real SQLite files: what is durable, what is found when damaged, and who may open it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from enum import EnumType
from pathlib import Path
from types import UnionType
from typing import Any, NewType, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dehedge.adapters import journal_lock
from dehedge.adapters.journal import SqliteJournal
from dehedge.adapters.journal_rows import KINDS, chain, decode
from dehedge.core.book import TradingMode
from dehedge.core.costs import OrderPriced
from dehedge.core.events import (
    Event,
    ForeignPositionSeen,
    HedgesReheated,
    OrderAbandoned,
    OrderIntended,
    TradingModeSet,
)
from dehedge.core.model import HedgeKey, Leg, Side
from dehedge.core.orders import Action, ClientOrderId, OrderRequest, Share
from dehedge.core.writers import get_made_at
from dehedge.errors import JournalError, JournalFailed, JournalLocked
from dehedge.ports import JournalEntry

NOBODY = 65534
TIMEOUT_S = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dehedge.db"


@pytest.fixture
def journal(path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(path)
    yield journal
    journal.close()


def build_events(number: int) -> list[Event]:
    """Two events that tell their number."""
    key = HedgeKey("BTC-USD", f"0x{number:040x}|0x{0:040x}")
    return [HedgesReheated((key,), float(number)), ForeignPositionSeen("BTCUSDT", Leg.BOTH, Decimal(number) / 1000)]


def append(journal: SqliteJournal, at: float, facts: Sequence[Event]) -> None:
    asyncio.run(journal.append(at, facts))


def write(path: Path, count: int) -> tuple[str, Sequence[JournalEntry]]:
    """Append so many transactions of two events; the journal's deployment and entries."""
    journal = SqliteJournal(path)
    try:
        for number in range(count):
            append(journal, 1000.5 + number, build_events(number))
        return journal.deployment, list(journal.read())
    finally:
        journal.close()


def read(path: Path) -> tuple[str, Sequence[JournalEntry]]:
    journal = SqliteJournal(path)
    try:
        return journal.deployment, list(journal.read())
    finally:
        journal.close()


def run_script(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False, cwd="/",
    )  # fmt: skip


def test_journal_is_empty_when_new(journal: SqliteJournal):
    assert list(journal.read()) == []
    assert journal.last_sequence == 0
    assert time.time() - 5 < get_made_at(journal.deployment) <= time.time()


def test_journal_of_an_earlier_version_keeps_its_name(path: Path):
    write(path, 1)
    alter(path, "DELETE FROM events", "UPDATE meta SET value = 'ce89cf' WHERE name = 'deployment'")

    assert write(path, 2)[0] == "ce89cf"
    assert len(read(path)[1]) == 4


def test_journal_gives_back_what_was_appended_in_order(path: Path):
    written = write(path, 3)

    deployment, entries = read(path)

    assert (deployment, entries) == written
    assert [entry.sequence for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert [entry.at for entry in entries] == [1000.5, 1000.5, 1001.5, 1001.5, 1002.5, 1002.5]
    assert [entry.event for entry in entries] == [event for number in range(3) for event in build_events(number)]


def test_journal_of_months_is_read_one_entry_at_a_time(path: Path):
    journal = SqliteJournal(path)
    for _ in range(20):
        journal._append(1.0, [fact for number in range(500) for fact in build_events(number)])

    tracemalloc.start()
    count = sum(1 for _ in journal.read())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 20_000
    assert peak < 1_000_000
    journal.close()


def test_journal_goes_on_where_it_ended(path: Path):
    write(path, 2)
    journal = SqliteJournal(path)

    append(journal, 5, build_events(9))

    assert journal.last_sequence == 6
    journal.close()
    assert len(read(path)[1]) == 6


def test_append_of_nothing_changes_nothing(journal: SqliteJournal):
    append(journal, 1.0, [])

    assert (journal.last_sequence, list(journal.read())) == (0, [])


def test_append_takes_whole_seconds_as_well(path: Path, journal: SqliteJournal):
    append(journal, 7, build_events(1))

    assert next(journal.read()).at == 7.0


def test_journal_is_written_ahead_and_synchronously(journal: SqliteJournal):
    database = journal._db

    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)


def test_every_event_type_is_known_to_the_journal():
    assert set(KINDS) == {kind.__name__ for kind in Event.__args__}


def test_intent_is_read_when_it_was_written_before_marks_were_noted():
    request = OrderRequest(ClientOrderId("dh-1"), "BTCUSDT", Side.BUY, Leg.BOTH, Decimal(1), reduce_only=False)
    intent = OrderIntended(request, Side.BUY, Action.INCREASE, (), 1.5, 7)
    body = json.loads(KINDS["OrderIntended"].dump_json(intent))
    del body["mark"]

    assert KINDS["OrderIntended"].validate_json(json.dumps(body)) == intent


SIMPLE: dict[object, st.SearchStrategy[Any]] = {
    str: st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    int: st.integers(),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    Decimal: st.decimals(allow_nan=False, allow_infinity=False),
    type(None): st.none(),
}


def draw_from(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type as events use it: data classes and named tuples of simple values, tuples, enums and options."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    if isinstance(kind, NewType):
        return draw_from(kind.__supertype__)
    if isinstance(kind, EnumType):
        return st.sampled_from(list(kind))
    if get_origin(kind) is UnionType:
        return st.one_of(*map(draw_from, get_args(kind)))
    if get_origin(kind) is tuple:
        element, *more = get_args(kind)
        is_open = more == [...]
        return (
            st.lists(draw_from(element), max_size=3).map(tuple)
            if is_open
            else st.tuples(*map(draw_from, get_args(kind)))
        )
    return st.builds(kind, **{name: draw_from(hint) for name, hint in get_type_hints(kind).items()})


@pytest.mark.parametrize("kind", Event.__args__, ids=lambda kind: kind.__name__)
def test_every_event_comes_back_as_it_was(kind: type[Event]):
    @settings(max_examples=10, deadline=None)
    @given(at=st.floats(min_value=0, allow_infinity=False), facts=st.lists(draw_from(kind), min_size=1, max_size=3))
    def check(at: float, facts: list[Event]) -> None:
        with tempfile.TemporaryDirectory() as folder, closing(SqliteJournal(Path(folder) / "j.db")) as journal:
            journal._append(at, facts)
            entries = list(journal.read())

        assert [repr(entry.event) for entry in entries] == [repr(fact) for fact in facts]
        assert {repr(entry.at) for entry in entries} == {repr(at)}

    check()


def test_second_journal_on_the_same_file_is_refused(path: Path, journal: SqliteJournal):
    with pytest.raises(JournalLocked, match="held by another daemon; stop it or use another STATE_URL"):
        SqliteJournal(path)


def test_second_journal_is_refused_when_it_comes_by_a_link(path: Path, journal: SqliteJournal, tmp_path: Path):
    link = tmp_path / "link.db"
    link.symlink_to(path)

    with pytest.raises(JournalLocked):
        SqliteJournal(link)


OPEN = """
import sys
from pathlib import Path
from dehedge.adapters.journal import SqliteJournal
try:
    SqliteJournal(Path(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_second_process_is_refused_until_the_first_lets_go(path: Path, journal: SqliteJournal):
    refused = run_script(OPEN, path).stdout
    journal.close()
    admitted = run_script(OPEN, path).stdout

    assert refused.startswith(f"JournalLocked journal {path} is held by another daemon")
    assert admitted == ""


def test_lock_is_free_again_when_opening_failed(path: Path):
    path.write_bytes(b"no database" * 100)
    with pytest.raises(JournalError):
        SqliteJournal(path)
    path.unlink()

    SqliteJournal(path).close()


WRITER = """
import asyncio, sys
from decimal import Decimal
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_journal import build_events
from dehedge.adapters.journal import SqliteJournal

async def main():
    journal = SqliteJournal(Path(sys.argv[1]))
    for number in range(10**6):
        await journal.append(float(number), build_events(number))
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("confirmed", [0, 1, 7, 40])
def test_every_confirmed_transaction_survives_kill_9(path: Path, confirmed: int):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    while int(writer.stdout.readline()) < confirmed:
        pass
    writer.send_signal(signal.SIGKILL)
    told = [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.wait(TIMEOUT_S)
    writer.stdout.close()

    entries = read(path)[1]

    assert len(entries) % 2 == 0, "a transaction is whole or absent"
    assert len(entries) // 2 > max([confirmed, *told])
    assert [entry.event for entry in entries] == [e for n in range(len(entries) // 2) for e in build_events(n)]


def test_transaction_that_was_cut_is_absent(path: Path, tmp_path: Path):
    """The files as a power cut leaves them after any whole number of bytes of the write-ahead log."""
    journal = SqliteJournal(path)
    for number in range(4):
        append(journal, 1.0, build_events(number))
    log = Path(f"{path}-wal").read_bytes()
    main = path.read_bytes()
    entries = list(journal.read())
    journal.close()

    lengths = set()
    for size in (*range(0, len(log), 1031), len(log)):
        copy = tmp_path / f"cut{size}.db"
        copy.write_bytes(main)
        Path(f"{copy}-wal").write_bytes(log[:size])
        found = read(copy)[1]
        lengths.add(len(found))
        assert found == entries[: len(found)]
        assert len(found) % 2 == 0

    assert lengths == {0, 2, 4, 6, 8}


def test_flipped_byte_is_found_or_means_nothing(path: Path, tmp_path: Path):
    written = write(path, 12)
    content = path.read_bytes()

    told = []
    for place in range(0, len(content), 97):
        copy = tmp_path / f"flipped{place}.db"
        copy.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        try:
            found = read(copy)
        except JournalError as error:
            told.append(str(error))
        else:
            assert found == written

    assert len(told) > 20
    assert not any("\n" in line for line in told)


def test_truncated_file_is_refused(path: Path):
    write(path, 30)
    content = path.read_bytes()

    for size in (2, 100, 4096, 8192, len(content) - 4096, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(JournalError, match="restore .* from a backup"):
            read(path)


ALTERATIONS = {
    "body": "UPDATE events SET body = replace(body, '0.001', '0.002') WHERE sequence = 4",
    "time": "UPDATE events SET at = at + 1 WHERE sequence = 4",
    "kind": "UPDATE events SET kind = 'OrderAbandoned' WHERE sequence = 4",
    "checksum": "UPDATE events SET checksum = 0 WHERE sequence = 4",
    "missing": "DELETE FROM events WHERE sequence = 4",
    "first missing": "DELETE FROM events WHERE sequence = 1",
    "swapped": "UPDATE events SET sequence = CASE sequence WHEN 4 THEN -5 ELSE 4 END WHERE sequence IN (4, 5)",
    "deployment": "UPDATE meta SET value = 'abcdef' WHERE name = 'deployment'",
    "deployment missing": "DELETE FROM meta WHERE name = 'deployment'",
}


@pytest.mark.parametrize("statement", ALTERATIONS.values(), ids=ALTERATIONS.keys())
def test_altered_row_is_found(path: Path, statement: str):
    write(path, 4)
    alter(path, statement)

    with pytest.raises(JournalError, match=r"entry \d is missing or altered; restore the file from a backup"):
        read(path)


def alter(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def test_entry_of_a_version_that_knew_no_reason_and_no_freshness_is_understood(path: Path, journal: SqliteJournal):
    request = {
        "client_order_id": "dh-a1b2c3-1-0", "symbol": "BTCUSDT", "side": "BUY", "leg": "BOTH", "quantity": "1",
        "reduce_only": False,
    }  # fmt: skip
    intent = {
        "request": request, "hedge_side": "BUY", "action": "increase", "intended_at": 1.0,
        "shares": [[["BTC-USD", "0x01|0x02"], "1", "2", 3, 4, "at risk"]], "block_number": 7,
    }  # fmt: skip

    mode = decode(journal.path, 1, "TradingModeSet", '{"mode": "no-opens", "is_flattening": false}')
    intended = decode(journal.path, 2, "OrderIntended", json.dumps(intent))

    assert mode == TradingModeSet(TradingMode.NO_OPENS, is_flattening=False, reason="")
    assert isinstance(intended, OrderIntended)
    assert intended.fresh_until is None
    assert intended.shares == (Share(HedgeKey("BTC-USD", "0x01|0x02"), Decimal(1), Decimal(2), 3, 4, "at risk", None),)
    priced = decode(journal.path, 3, "OrderPriced", '{"client_order_id": "dh-1", "average_price": "60000.1"}')
    assert priced == OrderPriced(ClientOrderId("dh-1"), Decimal("60000.1"), fees=None)


@pytest.mark.parametrize(("kind", "body"), [("HedgeTeleported", "{}"), ("TradingModeSet", '{"mode": "sideways"}')])
def test_entry_of_the_future_is_refused_with_the_remedy(path: Path, journal: SqliteJournal, kind: str, body: str):
    journal._append(1.0, [TradingModeSet(TradingMode.ACTIVE, is_flattening=False)])
    checksum = chain(journal._get_seed(), 1, 1.0, kind, body)
    journal._db.execute("UPDATE events SET kind = ?, body = ?, checksum = ?", (kind, body, checksum))

    with pytest.raises(JournalError, match=rf"entry 1 \({kind}\) is not understood; run the version that wrote it"):
        list(journal.read())


def test_schema_of_the_future_is_refused_and_left_alone(path: Path):
    write(path, 1)
    alter(path, "UPDATE meta SET value = '2' WHERE name = 'schema'")
    before = path.read_bytes()

    with pytest.raises(JournalError, match="has schema 2, this version knows 1: run the version that wrote it"):
        SqliteJournal(path)

    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all, " * 100, b"\x00" * 5000])
def test_file_that_is_no_database_is_refused_and_left_alone(path: Path, content: bytes):
    path.write_bytes(content)

    with pytest.raises(JournalError, match="use another STATE_URL"):
        SqliteJournal(path)

    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE events (id INTEGER PRIMARY KEY, note TEXT)",
        "CREATE TABLE customers (id INTEGER PRIMARY KEY)",
        "CREATE TABLE meta (name TEXT, value TEXT, more TEXT)",
        "CREATE VIEW meta AS SELECT 1 AS one, 2 AS two",
    ],
)
def test_database_of_something_else_is_refused_and_left_alone(path: Path, statement: str):
    alter(path, statement)
    before = path.read_bytes()

    with pytest.raises(JournalError, match="the file is the database of something else; use another STATE_URL"):
        SqliteJournal(path)

    assert path.read_bytes() == before


def test_database_with_a_table_of_the_same_name_is_refused(path: Path):
    alter(path, "CREATE TABLE meta (name TEXT, value TEXT)", "CREATE TABLE events (id INTEGER PRIMARY KEY, note TEXT)")

    with pytest.raises(JournalError, match="no such column: sequence; the file is the database of something else"):
        SqliteJournal(path)


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE meta (name TEXT, value TEXT CHECK (value = 'no'))", "CREATE VIEW meta AS SELECT 1 AS name, 2 AS value"],
)
def test_database_that_takes_no_name_of_ours_is_refused(path: Path, statement: str):
    alter(path, statement)

    with pytest.raises(JournalError):
        SqliteJournal(path)


@pytest.mark.parametrize("name", ["", "a b", "x" * 40, "\u00e9"])
def test_deployment_that_no_journal_has_is_refused(path: Path, name: str):
    SqliteJournal(path).close()
    alter(path, f"UPDATE meta SET value = '{name}' WHERE name = 'deployment'")

    with pytest.raises(JournalError, match="its deployment is missing or altered; restore the file from a backup"):
        SqliteJournal(path)


def test_folder_that_does_not_exist_is_told(tmp_path: Path):
    with pytest.raises(JournalError, match="No such file or directory; check STATE_URL and the folder"):
        SqliteJournal(tmp_path / "no" / "dehedge.db")


def test_path_that_is_a_folder_is_told(tmp_path: Path):
    (tmp_path / "dehedge.db").mkdir()

    with pytest.raises(JournalError, match="check that the folder exists and is writable"):
        SqliteJournal(tmp_path / "dehedge.db")


def test_file_that_another_program_holds_is_told(path: Path, journal: SqliteJournal):
    journal._db.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(JournalError, match="database is locked; another program holds the file: close it"):
        append(journal, 1.0, build_events(1))

    other.close()


AS_NOBODY = f"""
import os
import dehedge.adapters.journal
if os.getuid() == 0:
    os.setgid({NOBODY})
    os.setuid({NOBODY})
{OPEN}
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_read_only_file_is_told(open_folder: Path):
    path = open_folder / "dehedge.db"
    write(path, 1)
    path.chmod(0o444)
    (open_folder / "dehedge.db.lock").chmod(0o666)
    open_folder.chmod(0o777)

    told = run_script(AS_NOBODY, path).stdout

    assert told.startswith("JournalError journal ")
    assert "the file or its folder is read-only: grant write permission" in told


def test_read_only_folder_is_told(open_folder: Path):
    open_folder.chmod(0o555)

    told = run_script(AS_NOBODY, open_folder / "dehedge.db").stdout

    assert told.startswith("JournalError journal ")
    assert "Permission denied; check STATE_URL and the folder" in told


FULL = """
import asyncio, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_journal import build_events
from dehedge.adapters.journal import SqliteJournal

async def main():
    journal = SqliteJournal(Path(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))
    for number in range(1000):
        try:
            await journal.append(float(number), build_events(number))
        except Exception as error:
            print(number, type(error).__name__, error)
            break

asyncio.run(main())
"""


def test_full_disk_is_told_and_loses_nothing(path: Path):
    number, kind, *words = run_script(FULL, path, Path(__file__).parent).stdout.split()

    entries = read(path)[1]

    assert kind == "JournalFailed"
    assert "the disk is full" in " ".join(words)
    assert int(number) > 5
    assert [entry.event for entry in entries] == [e for n in range(int(number)) for e in build_events(n)]


def test_file_of_zero_bytes_is_a_new_journal(path: Path):
    """As a crash at the very first start may leave it."""
    path.touch()

    assert read(path)[1] == []


def test_files_are_private(path: Path, journal: SqliteJournal):
    append(journal, 1.0, build_events(1))

    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}

    assert modes == dict.fromkeys(("dehedge.db", "dehedge.db-wal", "dehedge.db-shm", "dehedge.db.lock"), 0o600)


@pytest.mark.parametrize(("number", "passes"), [(errno.ENOSPC, True), (errno.EACCES, False)])
def test_lock_that_cannot_be_made_may_pass_when_the_disk_is_full(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int, passes: bool
):
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(journal_lock.os, "open", fail)
    with pytest.raises(JournalError) as caught:
        SqliteJournal(path)

    assert isinstance(caught.value, JournalFailed) is passes


def test_nothing_is_written_outside_the_journals_own_files(path: Path, journal: SqliteJournal):
    journal._append(1.0, build_events(1))

    names = {entry.name for entry in os.scandir(path.parent)}

    assert names == {"dehedge.db", "dehedge.db-wal", "dehedge.db-shm", "dehedge.db.lock"}


LOSSES = {
    "everything": (("", "-wal", "-shm"), "is gone, but it had 8 entries"),
    "the database": (("",), "is gone, but it had 8 entries"),
    "the log": (("-wal", "-shm"), "is empty, but it had 8 entries"),
}


def leave_open(path: Path, tmp_path: Path) -> Path:
    """The files as a killed daemon leaves them: all facts are still in the log."""
    journal = SqliteJournal(path)
    for number in range(4):
        append(journal, 1.0, build_events(number))
    copy = tmp_path / "copy" / "dehedge.db"
    copy.parent.mkdir()
    for suffix in ("", "-wal", ".lock"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    journal.close()
    return copy


@pytest.mark.parametrize("name", LOSSES)
def test_journal_is_not_begun_anew_when_one_was_there(path: Path, tmp_path: Path, name: str):
    copy = leave_open(path, tmp_path)
    suffixes, told = LOSSES[name]
    for suffix in suffixes:
        Path(f"{copy}{suffix}").unlink(missing_ok=True)

    for _ in range(2):
        with pytest.raises(JournalError, match=rf"{told}; restore the file; .* remove .*dehedge.db.lock$"):
            read(copy)

    Path(f"{copy}.lock").unlink()
    Path(f"{copy}-wal").unlink(missing_ok=True)
    assert read(copy)[1] == []


@pytest.mark.parametrize("content", [b"", b"\x00" * 4096])
def test_journal_is_not_begun_anew_when_it_was_emptied(path: Path, content: bytes):
    write(path, 4)
    path.write_bytes(content)

    with pytest.raises(JournalError, match=r"is empty, but it had 8 entries|not a database"):
        read(path)

    assert path.read_bytes() == content


def test_journal_that_went_on_is_known_to_be_the_longer_one(path: Path, tmp_path: Path):
    """An older copy in its place has lost what came after; a newer one has not."""
    write(path, 2)
    older = path.read_bytes()
    write(path, 3)
    newer = path.read_bytes()

    path.write_bytes(older)
    with pytest.raises(JournalError, match="ends at entry 4, but it had 10: the last ones are lost"):
        read(path)

    path.write_bytes(newer)
    assert len(read(path)[1]) == 10


def test_journal_of_another_deployment_is_not_taken_for_the_one_before(path: Path, tmp_path: Path):
    write(path, 2)
    other = tmp_path / "other.db"
    write(other, 2)
    shutil.copy(other, path)

    with pytest.raises(JournalError, match=r"is another one than before \(\w+, not \w+\)"):
        read(path)


def test_journal_without_entries_may_be_begun_anew(path: Path):
    """A first start that did not get far leaves nothing to lose."""
    SqliteJournal(path).close()
    path.unlink()

    assert read(path)[1] == []


@pytest.mark.parametrize("note", [b"", b"12345\n", b"abc123 9\n", b"\xff" * 500, b"abc123 " + b"9" * 5_000])
def test_lock_file_of_an_earlier_version_says_nothing(path: Path, note: bytes):
    written = write(path, 2)
    Path(f"{path}.lock").write_bytes(note)

    assert read(path) == written


def test_fact_that_is_no_text_is_refused(path: Path, journal: SqliteJournal):
    with pytest.raises(JournalError, match="OrderAbandoned cannot be written: it holds what is no text"):
        append(journal, 1.0, [OrderAbandoned(ClientOrderId("dh-1"), "\ud800")])

    append(journal, 1.0, build_events(1))
    assert len(list(journal.read())) == 2


def test_error_that_quotes_the_file_is_one_printable_line(path: Path):
    write(path, 1)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"sqlite_autoindex_meta_1", b"sqlite_autoindex_me\x1b\x0ax1"))

    with pytest.raises(JournalError) as caught:
        read(path)

    assert str(caught.value).isprintable()
