"""What a row of the journal is: an event's class name, the JSON of its fields, and a checksum.

Decimals are strings, nothing is lost, and what a row of an earlier version lacks has its default. The checksum is of what the
row says and of the row before, beginning with the journal's own name. Whoever writes or reads the file knows it from here; the
errors of SQLite become ours here, each with its remedy.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from dehedge.core import costs, events
from dehedge.core.events import Event
from dehedge.errors import JournalError, JournalFailed

KINDS: dict[str, TypeAdapter[Any]] = {
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
"""How each kind of fact is written and read, by its name in the journal."""
_REMEDIES = {
    "not a database": "the file is not a journal or is corrupt: restore it from a backup or use another STATE_URL",
    "malformed": "the file is corrupt: restore it from a backup",
    "garbage": "the file is corrupt: restore it from a backup",
    "no such column": "the file is the database of something else: use another STATE_URL",
    "no such table": "the file is the database of something else: use another STATE_URL",
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


def encode(path: Path, kind: str, event: Event) -> str:
    """The body of a row. Raises ``JournalError`` for what is no text."""
    try:
        return KINDS[kind].dump_json(event).decode()
    except PydanticSerializationError as error:
        # A text with half of a surrogate pair, which no other encoding has.
        raise JournalError(f"journal {path}: {kind} cannot be written: it holds what is no text") from error


def decode(path: Path, sequence: int, kind: str, body: str) -> Event:
    """The event of a row. Raises ``JournalError`` for what this version does not know."""
    try:
        event: Event = KINDS[kind].validate_json(body)
    except (KeyError, ValidationError) as error:
        raise JournalError(
            f"journal {path}: entry {sequence} ({_show(kind)}) is not understood; run the version that wrote it"
        ) from error
    return event


def chain(checksum: int, sequence: int, at: float, kind: str, body: str) -> int:
    """The checksum of a row, from that of the row before."""
    return zlib.crc32(f"{sequence}|{at!r}|{kind}|{body}".encode(), checksum)


def get_seed(deployment: str) -> int:
    """What the first row's checksum builds on: a changed deployment is found like a changed row."""
    return zlib.crc32(deployment.encode())


def build_altered(path: Path, sequence: int) -> JournalError:
    return JournalError(f"journal {path}: entry {sequence} is missing or altered; restore the file from a backup")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """SQLite's errors as ours, with the remedy."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # UnicodeDecodeError: the library stumbles over SQLite's own message where that quotes garbage from the file.
        text = "it holds garbage" if "decode" in str(error) else _show(str(error))
        sign = next((sign for sign in _REMEDIES if sign in text), "")
        kind = JournalFailed if sign in _PASSING else JournalError
        raise kind(f"journal {path}: {text}; {_REMEDIES.get(sign, _REMEDY)}") from error


def _show(text: str) -> str:
    """What may be garbage of the file, as a part of one line."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:_SHOWN_LENGTH_MAX])
