"""Start-up: the journal becomes the book, and every order in flight gets its end before the first decision.

The same fold as live; then each order whose end the journal does not know is asked for by its id, and the book is held
against the account. Hedges whose risk was not known to have gone are taken as at risk until now, so that a restart never
shortens a hedge's life.
"""

from __future__ import annotations

import asyncio

import structlog

from dehedge.auditor import Auditor
from dehedge.core.book import HedgeBook
from dehedge.core.events import fold
from dehedge.errors import ConnectorError, JournalError
from dehedge.executor import Executor
from dehedge.ports import Clock, Journal
from dehedge.records import Records

log = structlog.get_logger()

AUDIT_RETRY_S = 2.0
RESOLVE_MAX_S = 10.0
SYMBOLS_MAX_S = 10.0


def replay(journal: Journal, clock: Clock, records: Records | None = None) -> HedgeBook:
    """The book as the journal tells it. Raises ``JournalError`` for a fact that cannot follow those before it.

    ``records`` are told of each fact.
    """
    book = HedgeBook()
    for entry in journal.read():
        try:
            changes = fold(book, entry.event)
        except (AssertionError, KeyError) as error:
            raise JournalError(f"journal entry {entry.sequence} contradicts those before it: {error}") from error
        except ArithmeticError as error:
            raise JournalError(f"journal entry {entry.sequence} holds a number too large to be counted") from error
        if records is not None:
            records.note(entry.at, entry.event, changes)
    hedges = book.get_all_hedged_positions()
    book.note_judged({key.market for key in hedges}, clock.time())
    log.info("journal_replayed", hedges=len(hedges), in_flight=len(book.in_flight), mode=book.mode.value)
    return book


async def recover(executor: Executor, auditor: Auditor) -> None:
    """Resolve what is in flight, then audit; waits for the exchange as long as that takes.

    An order that cannot be resolved for ten seconds goes on being asked for; it keeps its own hedges locked, and the
    others are not left unprotected for its sake. So does a symbol whose orders cannot be read, by the audits.
    """
    resuming = executor.resume()
    if resuming:
        await asyncio.wait(resuming, timeout=RESOLVE_MAX_S)
    loop = asyncio.get_running_loop()
    until = loop.time() + SYMBOLS_MAX_S
    while True:
        try:
            await auditor.audit_all()
        except ConnectorError as error:
            log.warning("audit_failed", error=str(error))
            if auditor.is_account_read and loop.time() >= until:
                auditor.request()  # Whatever is still wrong is shown at once.
                return
            await asyncio.sleep(AUDIT_RETRY_S)
        else:
            return
