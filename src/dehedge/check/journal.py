"""The journal: held by nobody or by the daemon that runs, writable, whole, of a schema that is known.

Opens it as the daemon does where there is one; never makes one.
"""

from __future__ import annotations

import os
from pathlib import Path

from dehedge.adapters.journal import SCHEMA_VERSION, SqliteJournal
from dehedge.adapters.journal_lock import read_lost, read_note
from dehedge.check.local import read_daemon
from dehedge.check.report import Line, build_failure, build_pass, build_warning
from dehedge.check.run import Found
from dehedge.client import format_count
from dehedge.core.book import HedgeBook, TradingMode
from dehedge.errors import JournalError, JournalLocked
from dehedge.ports import Clock
from dehedge.recovery import replay


def check_journal(path: Path, clock: Clock) -> Found[HedgeBook]:
    """Hands the book on where it can be known."""
    refused = _find_refusal(path)
    if refused:
        return Found(
            [build_failure("journal", f"{refused} is not writable", "grant write permission or set STATE_URL")]
        )
    if not path.exists():
        lost = read_lost(path)
        if lost is not None:
            return Found([build_failure("journal", lost)])
        return Found([build_pass("journal", f"{path} will be made at the first start")], HedgeBook())
    try:
        return _read_journal(path, clock)
    except JournalLocked as error:
        return Found([_judge_holder(path, error)])
    except JournalError as error:
        return Found([build_failure("journal", str(error))])


def _find_refusal(path: Path) -> str:
    """What of it may not be written, in words; empty where everything may."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"the folder of {path}"
    return str(path) if path.exists() and not os.access(path, os.W_OK) else ""


def _read_journal(path: Path, clock: Clock) -> Found[HedgeBook]:
    journal = SqliteJournal(path)
    try:
        book = replay(journal, clock)
    finally:
        journal.close()
    held = [
        format_count(journal.last_sequence, "entry", "entries"),
        format_count(len(book.get_all_hedged_positions()), "hedge"),
        format_count(len(book.in_flight), "order") + " in flight",
    ]
    detail = f"{journal.path}: {', '.join(held)}; whole, schema {SCHEMA_VERSION}"
    return Found([build_pass("journal", detail), *_check_mode(book)], book)


def _check_mode(book: HedgeBook) -> list[Line]:
    if book.mode is TradingMode.ACTIVE:
        return []
    reason = f" ({book.mode_reason})" if book.mode_reason else ""
    return [
        build_warning(
            "trading mode", f"is {book.mode.value}{reason}: no hedge is opened", "`dehedge resume` once it runs"
        )
    ]


def _judge_holder(path: Path, error: JournalLocked) -> Line:
    """That it is held is as it should be where the daemon that we find running holds it."""
    note, status = read_note(path), read_daemon()
    if note is not None and status is not None and status["deployment"] == note.deployment:
        entries = format_count(note.sequence, "entry", "entries")
        return build_pass("journal", f"{path}: {entries}, held by the daemon that runs here")
    return build_warning("journal", str(error))
