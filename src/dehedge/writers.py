"""Watches the account for orders of another daemon; the rule is in ``core.writers``.

Owns what is known of the others, in memory: the account's event stream tells of them at once, every order history that is
read for the audit tells of them too, and a start looks back over the last hour. Never sends and never stops anything itself:
the reconciler holds opens for as long as ``find_obstacle`` names a reason. Called by the auditor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import structlog

from dehedge.core.writers import (
    SILENT_S,
    OtherWriter,
    OwnJournal,
    Seniority,
    check_ours,
    check_silent,
    find_other_writer,
    get_made_at,
)
from dehedge.errors import VenueUnavailable
from dehedge.ports import Clock, Connector, Journal, VenueOrder

log = structlog.get_logger()

REMEDY = "stop one of them, or give it an account of its own"


class WriterWatch:
    """The other daemons on the account."""

    def __init__(self, journal: Journal, connector: Connector, clock: Clock) -> None:
        self._journal = journal
        self._connector = connector
        self._clock = clock
        self._started_at = clock.time()
        self._others: dict[str, OtherWriter] = {}
        self._heard_at: dict[str, float] = {}
        self._looked_back: set[str] = set()

    def get_others(self) -> Sequence[OtherWriter]:
        """Those that have not been silent for long, by name."""
        # By a clock that nobody sets: a wall clock set ahead for a moment must not let us forget who trades.
        now = asyncio.get_running_loop().time()
        for name in [name for name, heard_at in self._heard_at.items() if now - heard_at > SILENT_S]:
            log.info("other_daemon_gone", deployment=name, silent_s=SILENT_S)
            del self._others[name], self._heard_at[name]
        return [self._others[name] for name in sorted(self._others)]

    def check_ours(self, order: VenueOrder) -> bool:
        """True for an order of our own journal; another daemon's is as foreign as a person's."""
        return check_ours(order.report.client_order_id, self._journal.deployment)

    def note(self, orders: Iterable[VenueOrder]) -> None:
        """Look for other daemons among orders of the account, ours and anybody's, in any order and repetition."""
        own = self._get_own()
        for order in orders:
            found = find_other_writer(own, order.report.client_order_id, order.symbol, order.updated_at)
            if found is not None and not check_silent(found, self._clock.time()):
                self._remember(found)

    async def look_back(self, symbols: Iterable[str]) -> list[VenueUnavailable]:
        """Read what was ordered in the last hour, once for each symbol; the errors of those that cannot be read now.

        Raises any other ``ConnectorError``, which is not of one symbol.
        """
        since = max(self._clock.time() - SILENT_S, self._get_own().counts_from)
        errors = []
        for symbol in sorted(set(symbols) - self._looked_back):
            try:
                self.note(await self._connector.fetch_order_history(symbol, since))
            except VenueUnavailable as error:
                errors.append(VenueUnavailable(f"{symbol}: {error}"))
            else:
                self._looked_back.add(symbol)
        return errors

    def find_obstacle(self) -> str | None:
        """Why this daemon may not add exposure, if it may not: another one that is not younger."""
        rivals = [writer for writer in self.get_others() if writer.seniority is not Seniority.YOUNGER]
        return f"{self.describe(rivals[0])}; this one opens nothing meanwhile: {REMEDY}" if rivals else None

    def find_warnings(self) -> Sequence[str]:
        """What to tell of younger daemons: they ought to have stopped opening."""
        younger = [writer for writer in self.get_others() if writer.seniority is Seniority.YOUNGER]
        return [f"{self.describe(writer)}; this one goes on: {REMEDY}" for writer in younger]

    def describe(self, writer: OtherWriter) -> str:
        kind = {
            Seniority.OLDER: f"an older daemon ({writer.deployment})",
            Seniority.YOUNGER: f"a younger daemon ({writer.deployment})",
            Seniority.COPY: "a daemon with a copy of this journal",
        }[writer.seniority]
        age_s = max(self._clock.time() - writer.sent_at, 0)
        return f"{kind} trades on this account, last by order {writer.client_order_id} in {writer.symbol} {age_s:.0f} s ago"

    def _get_own(self) -> OwnJournal:
        """A predecessor's last request may be executed a little after our journal was made, and clocks are set back."""
        name = self._journal.deployment
        counts_from = min(get_made_at(name), self._started_at) + self._connector.unknown_window_s
        return OwnJournal(name, self._journal.last_sequence, counts_from, self._started_at)

    def _remember(self, found: OtherWriter) -> None:
        known = self._others.get(found.deployment)
        if known is None:
            tell = log.warning if found.seniority is Seniority.YOUNGER else log.error
            tell("other_daemon_noticed", seniority=found.seniority.value, reason=self.describe(found), remedy=REMEDY)
        if known is None or known.sent_at < found.sent_at:
            self._others[found.deployment] = found
            age_s = max(self._clock.time() - found.sent_at, 0.0)
            self._heard_at[found.deployment] = asyncio.get_running_loop().time() - age_s
