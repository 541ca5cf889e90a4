"""What a disk or a hand may make of the journal: its facts, a prefix of them where nothing tells of more, or ``JournalError``."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given

from dehedge.adapters.journal import SqliteJournal
from dehedge.adapters.journal_rows import KINDS, decode
from dehedge.core.book import HedgeBook, TradingMode
from dehedge.core.costs import Fee, FundingPaid, OrderPriced
from dehedge.core.events import (
    Event,
    ForeignPositionSeen,
    HedgesCooled,
    HedgesForced,
    HedgesReheated,
    HedgeWrittenDown,
    OrderAbandoned,
    OrderIntended,
    OrderReported,
    TradingModeSet,
)
from dehedge.core.model import HedgeKey, Leg, Side
from dehedge.core.orders import Action, ClientOrderId, OrderReport, OrderRequest, OrderStatus, Share
from dehedge.errors import JournalError
from dehedge.ports import JournalEntry
from dehedge.recovery import replay
from tests.fuzz.hostile import attack, damage, fuzz, seeds, spoil, write

LINE_MAX = 500
KEY = HedgeKey("BTC-USD", "0x" + "ab" * 20 + "|0x" + "cd" * 20)
ORDER_ID = ClientOrderId("dh-abc123-1-0123456789")
FACTS: list[Event] = [
    OrderIntended(
        OrderRequest(ORDER_ID, "BTCUSDT", Side.BUY, Leg.BOTH, Decimal("0.010"), reduce_only=False), Side.BUY,
        Action.INCREASE, (Share(KEY, Decimal("0.010"), Decimal("0.010"), 10**9, 60_000 * 10**18, "at risk"),), 1_000.5, 7,
    ),
    OrderReported(OrderReport(ORDER_ID, OrderStatus.PARTIALLY_FILLED, Decimal("0.004"), Decimal("60000.1"), "5"), 1_001.0),
    OrderReported(OrderReport(ORDER_ID, OrderStatus.FILLED, Decimal("0.010"), None, "5"), 1_002.0),
    OrderPriced(ORDER_ID, Decimal("60000.1")),
    OrderPriced(ORDER_ID, Decimal("60000.1"), "5", Decimal("0.010"), (Fee("BNB", Decimal("0.0004")),), Decimal("-1.2")),
    FundingPaid("BTCUSDT", Decimal("-0.0375"), "USDT", 1_002.5, "99"),
    OrderAbandoned(ORDER_ID, "never was"),
    HedgesCooled(((KEY, 1_003.0),)),
    HedgesReheated((KEY,), 1_004.0),
    HedgesForced("77", "BTCUSDT", Leg.BOTH, Side.SELL, Decimal("0.001"), Decimal("0.001"), "autoclose"),
    HedgeWrittenDown(KEY, Decimal("0.001"), "by hand"),
    ForeignPositionSeen("BTCUSDT", Leg.BOTH, Decimal("0.5"), 1_005.0),
    TradingModeSet(TradingMode.NO_OPENS, is_flattening=False),
]  # fmt: skip


class FixedClock:
    def time(self) -> float:
        return 2_000.0


class Files(NamedTuple):
    """A journal as it lies on the disk while it is open, and what is in it."""

    main: bytes
    log: bytes
    note: bytes
    entries: Sequence[JournalEntry]

    def __repr__(self) -> str:
        return f"Files({len(self.main)}, {len(self.log)}, {self.note!r})"


def append(journal: SqliteJournal, *facts: Event) -> None:
    asyncio.run(journal.append(1.0, facts))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Some facts in the database, the others still in its log."""
    path = tmp_path_factory.mktemp("journal") / "good.db"
    journal = SqliteJournal(path)
    append(journal, *FACTS[:5])
    journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for fact in FACTS[5:]:
        append(journal, fact)
    content = [Path(f"{path}{suffix}").read_bytes() for suffix in ("", "-wal", ".lock")]
    entries = list(journal.read())
    journal.close()
    return Files(*content, entries)


def lay_out(folder: Path, files: Files) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "dehedge.db"
    path.write_bytes(files.main)
    (folder / "dehedge.db-wal").write_bytes(files.log)
    if files.note:
        (folder / "dehedge.db.lock").write_bytes(files.note)
    return path


def read(path: Path) -> Sequence[JournalEntry] | None:
    """The entries; None where the journal says that it cannot."""
    try:
        journal = SqliteJournal(path)
    except JournalError as error:
        check_line(str(error), path)
        return None
    try:
        return list(journal.read())
    except JournalError as error:
        check_line(str(error), path)
        return None
    finally:
        journal.close()


def check_line(text: str, path: Path) -> None:
    assert text.isprintable()
    assert len(text) < LINE_MAX + 2 * len(str(path))


def spoil_file(random: Random, content: bytes) -> bytes:
    match random.randrange(6):
        case 0:
            return content[: random.randrange(len(content) + 1)]
        case 1:
            place = 512 * random.randrange(len(content) // 512 + 1)
            return content[:place] + bytes(512) + content[place + 512 :]
        case 2:
            place = random.randrange(len(content) + 1)
            return content[:place] + random.randbytes(random.randrange(1, 40)) + content[place:]
        case 3:
            place, other = (4_096 * random.randrange(len(content) // 4_096 + 1) for _ in range(2))
            return content[:place] + content[other : other + 4_096] + content[place + 4_096 :]
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 4, 60))):
        if changed:
            changed[random.randrange(len(changed))] ^= random.randrange(1, 256)
    return bytes(changed)


def spoil_files(random: Random, files: Files) -> Files:
    which = random.randrange(3)
    main = files.main if which == 1 else spoil_file(random, files.main)
    return files._replace(main=main, log=files.log if which == 0 else spoil_file(random, files.log))


@fuzz(12)
@given(seeds)
def test_damaged_journal_gives_a_prefix_or_says_so(files: Files, tmp_path: Path, random: Random):
    for _ in range(25):
        found = read(lay_out(tmp_path / "fuzz", spoil_files(random, files)._replace(note=b"")))
        assert found is None or list(found) == list(files.entries)[: len(found)]


@fuzz(12)
@given(seeds)
def test_damaged_journal_is_whole_or_says_so_when_the_lock_file_remembers(files: Files, tmp_path: Path, random: Random):
    for _ in range(25):
        found = read(lay_out(tmp_path / "fuzz", spoil_files(random, files)))
        assert found is None or list(found) == list(files.entries)


@fuzz(5)
@given(seeds)
def test_note_of_the_lock_file_is_believed_or_passed_over_whatever_it_holds(files: Files, tmp_path: Path, random: Random):
    for _ in range(25):
        note = damage(random, random.choice((files.note, b"", b"\x00" * 40, b"abc " + b"9" * 20 + b"\n")))
        found = read(lay_out(tmp_path / "fuzz", files._replace(note=note)))
        assert found is None or list(found) == list(files.entries)


class ForgedJournal:
    """Rows as if the daemon had written them, every checksum fitting; read as the journal reads its own."""

    def __init__(self, journal: SqliteJournal, rows: Sequence[tuple[str, str]]) -> None:
        self._journal = journal
        self._rows = rows

    def read(self) -> Sequence[JournalEntry]:
        return [
            JournalEntry(sequence, 1.0, decode(self._journal.path, sequence, kind, body))
            for sequence, (kind, body) in enumerate(self._rows, start=1)
        ]


def build_rows(random: Random) -> bytes:
    rows = []
    for fact in random.sample(FACTS, random.randrange(1, len(FACTS))) if random.randrange(3) == 0 else FACTS:
        kind = type(fact).__name__
        body = json.loads(KINDS[kind].dump_json(fact))
        text = write(random, spoil(random, body) if random.randrange(4) == 0 else body).decode("utf-8", "replace")
        rows.append((kind if random.randrange(60) else random.choice(("HedgeTeleported", "\x1b[2J" * 200)), text))
    return json.dumps(rows).encode()


@fuzz(50)
@given(seeds)
def test_forged_facts_give_a_book_or_a_journal_error(tmp_path_factory: pytest.TempPathFactory, random: Random):
    path = tmp_path_factory.mktemp("forged") / "dehedge.db"
    journal = SqliteJournal(path)

    def check(payload: bytes) -> None:
        try:
            check_book(replay(ForgedJournal(journal, json.loads(payload)), FixedClock()))  # type: ignore[arg-type]
        except JournalError as error:
            check_line(str(error), path)

    attack(random, build_rows, check)
    journal.close()


def check_book(book: HedgeBook) -> None:
    for hedge in book.get_all_hedged_positions().values():
        assert hedge.quantity.is_finite()
        assert hedge.quantity >= 0


def test_good_facts_can_be_replayed(tmp_path: Path):
    """What the others spoil is sound."""
    journal = SqliteJournal(tmp_path / "dehedge.db")
    append(journal, *FACTS)

    book = replay(journal, FixedClock())

    assert [hedge.quantity for hedge in book.get_all_hedged_positions().values()] == [Decimal("0.008")]
    journal.close()
