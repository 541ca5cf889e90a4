"""From the file of a journal to what its hedges earned. A fact that cannot follow those before it is told as what it is."""

from __future__ import annotations

from collections.abc import Iterable

from dehedge.core.lives import LifeBook, Records
from dehedge.errors import JournalError
from dehedge.ports import JournalEntry


def read_records(entries: Iterable[JournalEntry]) -> Records:
    """All of a journal, from its first entry on. Raises ``JournalError``."""
    book = LifeBook()
    for entry in entries:
        try:
            book.note(entry.at, entry.event)
        except (AssertionError, KeyError) as error:
            raise JournalError(f"journal entry {entry.sequence} contradicts those before it: {error}") from error
    return book.build()
