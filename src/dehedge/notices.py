"""Decides what people are told: what became of hedges, and what begins and ends to be wrong.

Looks once a second at what the parts know, so that nothing is told of what a part has not said already. What is wrong is told
once when it begins (being not ready only after a while) and once when it has been over for a moment, and if it comes and goes
not again for ten minutes. Hedges that change together are one line. Tells and changes nothing; called by the daemon and, for
each change of a hedge, by the ledger.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import structlog

from dehedge import __version__
from dehedge.account import AccountWatch
from dehedge.auditor import Auditor
from dehedge.core.book import TradingMode
from dehedge.core.events import Change, HedgeChange
from dehedge.ledger import Ledger
from dehedge.ports import Clock
from dehedge.status import MODE_OBSTACLE, UNKNOWN_MAX_S
from dehedge.surfaces import Notice, Notifier, Urgency
from dehedge.venue import Venue

log = structlog.get_logger()

GROUP_S = 3.0
"""Changes of hedges within this time are one line."""
FAILURES_QUIET_S = 600.0
"""Hedges that were not filled are tried again and again, and told this often."""
CALM_S = 30.0
"""What was wrong is over once it has not been for so long."""
REPEAT_S = 600.0
LIQUIDATION_NEAR_BPS = 150
REASONS_MAX = 5

WORDS = {
    Change.OPENED: ("opened", Urgency.INFO),
    Change.CLOSED: ("closed", Urgency.INFO),
    Change.FAILED: ("not filled", Urgency.WARNING),
    Change.FORCED: ("liquidated or deleveraged", Urgency.FAILURE),
    Change.WRITTEN_DOWN: ("closed by another hand", Urgency.WARNING),
}
"""The changes that are told."""


class Condition(NamedTuple):
    """What is wrong while it is there, and what to say when it has gone (nothing where that says itself)."""

    begin: str
    end: str = ""
    urgency: Urgency = Urgency.FAILURE
    after_s: float = 0.0


@dataclass(slots=True)
class Course:
    """Since when a condition is there, in loop time, whether it was told, and since when it is not there any more."""

    since: float
    end: str = ""
    is_told: bool = False
    gone_since: float | None = None


@dataclass(slots=True)
class Group:
    """Changes of one kind, since the first in loop time."""

    since: float
    counts: Counter[str] = field(default_factory=Counter)
    quantities: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    reasons: Counter[str] = field(default_factory=Counter)


class Notices:
    """Tells a notifier. ``not_ready_s`` is how long the daemon may be not ready before that is told."""

    def __init__(
        self,
        notifier: Notifier,
        *,
        ledger: Ledger,
        auditor: Auditor,
        venue: Venue,
        account: AccountWatch,
        clock: Clock,
        not_ready_s: float,
    ) -> None:
        self._notifier = notifier
        self._ledger = ledger
        self._auditor = auditor
        self._venue = venue
        self._account = account
        self._clock = clock
        self._not_ready_s = not_ready_s
        self._groups: dict[Change, Group] = {}
        self._failures_quiet_until = float("-inf")
        self._courses: dict[str, Course] = {}
        self._quiet_until: dict[str, float] = {}
        self._mode = self._describe_mode()

    def tell_start(self, connector_name: str, again: str = "") -> None:
        """``again`` says how often it was started of late, where that is much."""
        book = self._ledger.book
        held, in_flight = len(book.get_all_hedged_positions()), len(book.in_flight)
        what = f"dehedge {__version__} started on {connector_name}{again}"
        self._tell(f"{what}: {self._mode}, hedges held: {held}, orders in flight: {in_flight}")

    def tell_end(self, failure: str | None) -> None:
        """The last line; ``failure`` is what ended the daemon, if it did not end on purpose."""
        self._tell_groups(at_once=True)
        self._tell_mode()
        held = f"hedges that stay open: {len(self._ledger.book.get_all_hedged_positions())}"
        if failure is None:
            self._tell(f"stopped: {held}")
        else:
            self._tell(f"ended by an error ({failure}): {held}", Urgency.FAILURE)

    def note_change(self, change: HedgeChange) -> None:
        """A hedge changed: count it."""
        if change.kind not in WORDS:
            return
        group = self._groups.setdefault(change.kind, Group(asyncio.get_running_loop().time()))
        place = f"{change.key.market} {change.side.value}"
        group.counts[place] += 1
        group.quantities[place] += change.quantity
        group.reasons[change.reason] += 1

    def look(self, obstacles: Sequence[str]) -> None:
        """``obstacles`` are why the daemon cannot hedge now."""
        try:
            self._look(obstacles)
        except Exception:
            # Who only tells must not end what hedges.
            log.exception("notices_failed")

    def _look(self, obstacles: Sequence[str]) -> None:
        self._tell_groups()
        self._tell_mode()
        now = asyncio.get_running_loop().time()
        conditions = dict(self._find_conditions(obstacles))
        for name, condition in conditions.items():
            self._follow(name, condition, now)
        for name in self._courses.keys() - conditions.keys():
            self._end(name, now)

    def _follow(self, name: str, condition: Condition, now: float) -> None:
        course = self._courses.setdefault(name, Course(now))
        course.gone_since = None
        is_due = now - course.since >= condition.after_s and now >= self._quiet_until.get(name, now)
        if not course.is_told and is_due:
            course.is_told, course.end = True, condition.end
            self._tell(condition.begin, condition.urgency)

    def _end(self, name: str, now: float) -> None:
        course = self._courses[name]
        course.gone_since = now if course.gone_since is None else course.gone_since
        if course.is_told and now - course.gone_since < CALM_S:
            return
        del self._courses[name]
        if not course.is_told:
            return
        if course.end:
            self._tell(course.end)
        self._quiet_until = {each: until for each, until in self._quiet_until.items() if until > now}
        self._quiet_until[name] = now + REPEAT_S

    def _find_conditions(self, obstacles: Sequence[str]) -> Iterator[tuple[str, Condition]]:
        for (law, subject), breach in self._ledger.guardian.told.items():
            yield f"law {law} {subject}", Condition(str(breach))
        for symbol, why in self._auditor.blocked.items():
            yield f"account {symbol}", Condition(f"{symbol}: {why}", f"{symbol}: book and exchange agree again")
        yield from self._find_order_condition()
        yield from self._find_account_conditions()
        found = [obstacle for obstacle in obstacles if not obstacle.startswith(MODE_OBSTACLE)]
        if found:
            more = f"; and {len(found) - REASONS_MAX} more" if len(found) > REASONS_MAX else ""
            begin = f"not ready for {self._not_ready_s:.0f} s: {'; '.join(found[:REASONS_MAX])}{more}"
            yield "ready", Condition(begin, "ready again", after_s=self._not_ready_s)

    def _find_order_condition(self) -> Iterator[tuple[str, Condition]]:
        now, in_flight = self._clock.time(), self._ledger.book.in_flight
        unknown = [name for name, order in in_flight.items() if now - order.intended_at > UNKNOWN_MAX_S]
        if unknown:
            begin = f"what became of {len(unknown)} orders is unknown for {UNKNOWN_MAX_S:.0f} s, such as {unknown[0]}"
            yield "orders", Condition(begin, "what became of every order is known again")

    def _find_account_conditions(self) -> Iterator[tuple[str, Condition]]:
        account = self._account
        if account.is_key_refused:
            yield (
                "key",
                Condition(
                    "the exchange refuses the API key: nothing can be traded", "the exchange takes the API key again"
                ),
            )
        for asset in account.find_low_margin(self._venue.margin_assets):
            balance = account.balances.get(asset)
            left = f"{balance.available:f} of {balance.total:f}" if balance is not None else "nothing"
            yield (
                f"margin {asset}",
                Condition(f"margin is low: {left} {asset} is free", f"margin in {asset} is enough again"),
            )
        for symbol, distance in account.get_distances_bps(self._venue.get_newest_marks()).items():
            if distance < LIQUIDATION_NEAR_BPS:
                begin = f"{symbol} is {distance:.0f} bps away from its liquidation: add margin"
                yield f"liquidation {symbol}", Condition(begin, f"{symbol} is away from its liquidation again")

    def _describe_mode(self) -> str:
        book = self._ledger.book
        reason = f" ({book.mode_reason})" if book.mode_reason and book.mode is not TradingMode.ACTIVE else ""
        return f"mode {book.mode.value}{', flattening' if book.is_flattening else ''}{reason}"

    def _tell_mode(self) -> None:
        mode = self._describe_mode()
        if mode != self._mode:
            self._mode = mode
            is_active = self._ledger.book.mode is TradingMode.ACTIVE
            self._tell(mode, Urgency.INFO if is_active else Urgency.WARNING)

    def _tell_groups(self, *, at_once: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        for kind, group in list(self._groups.items()):
            quiet_until = self._failures_quiet_until if kind is Change.FAILED else now
            if not at_once and (now - group.since < GROUP_S or now < quiet_until):
                continue
            del self._groups[kind]
            if kind is Change.FAILED:
                self._failures_quiet_until = now + FAILURES_QUIET_S
            word, urgency = WORDS[kind]
            self._tell(describe_group(word, group), urgency)

    def _tell(self, text: str, urgency: Urgency = Urgency.INFO) -> None:
        self._notifier.tell(Notice(self._clock.time(), text, urgency))


def describe_group(word: str, group: Group) -> str:
    """One line, such as ``3 hedges opened: BTC-USD BUY 0.332 in 2, ETH-USD SELL 1.5 in 1: at_risk``."""
    total = group.counts.total()
    places = ", ".join(
        f"{place} {group.quantities[place]:f}{f' in {count}' if total > 1 else ''}"
        for place, count in sorted(group.counts.items())
    )
    reason = group.reasons.most_common(1)[0][0]
    return f"{total} {'hedge' if total == 1 else 'hedges'} {word}: {places}: {reason}"
