"""Holds every step and every order to the laws, and stops opens when one is broken.

Rules of this file. Whoever notices a broken law says so here, and here alone is decided what follows: it is logged at the
highest level with the law, the subject and the figures, it is counted, and the ledger turns the kill switch to no-opens
with the law as its reason, durably, until an operator resumes. An order that would break a law is not journaled, so it is
not sent. Closes go on. A check that fails is a broken law itself, and never the end of a step. Does no IO; called by the
ledger in the middle of its steps, and told by the connectors of what they count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import structlog

from dehedge import metrics
from dehedge.core.book import HedgeBook, TradingMode
from dehedge.core.events import Event, OrderIntended, TradingModeSet
from dehedge.core.invariants import BROKEN, Breach, Entry, Law, Watch, find_intent_breaches
from dehedge.core.model import HedgeKey, TradingRules
from dehedge.core.orders import Action, ClientOrderId

log = structlog.get_logger()

TOLD_MAX = 100
"""So many broken laws are told one by one; what comes on top is only counted."""


class Guardian:
    """Checks, tells, and has opens stopped. ``wake`` makes the ledger's next step come soon."""

    def __init__(
        self,
        *,
        get_rules: Callable[[], Mapping[str, TradingRules]] = dict,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.told: dict[tuple[Law, str], Breach] = {}
        self._get_rules = get_rules
        self._wake = wake
        self._watch = Watch()
        self._pending: Breach | None = None
        self._refused: dict[ClientOrderId, frozenset[HedgeKey]] = {}

    @property
    def is_stopping(self) -> bool:
        """True from the moment a law was broken until it has turned the kill switch."""
        return self._pending is not None

    def note(self, breach: Breach) -> None:
        """A law is broken: tell it, once until an operator resumes, and stop opens before anything else is journaled."""
        metrics.INVARIANTS_BROKEN.labels(breach.law.name.lower()).inc()
        self._pending = self._pending or breach
        if (breach.law, breach.subject) not in self.told and len(self.told) < TOLD_MAX:
            self.told[breach.law, breach.subject] = breach
            log.critical("invariant_broken", law=breach.law.value, subject=breach.subject, figures=breach.figures)
        self._wake()

    def build_stop(self, book: HedgeBook) -> TradingModeSet | None:
        """What turns the kill switch; None while no law was broken or a broken one has turned it already."""
        if self._pending is not None and check_stopped(book):
            self._pending = None
        return None if self._pending is None else _build_stop(book, self._pending)

    def screen(self, book: HedgeBook, events: Sequence[Event], sequence: int) -> list[Event]:
        """The events of a step, with the kill switch in the place of each order that would break a law.

        ``sequence`` is the first one's number in the journal. The others keep theirs, for their ids are made of them.
        """
        taken: set[HedgeKey] = set()
        screened: list[Event] = []
        for number, event in enumerate(events, start=sequence):
            screened.append(self._screen(book, number, event, taken) if isinstance(event, OrderIntended) else event)
        return screened

    def _screen(self, book: HedgeBook, number: int, intent: OrderIntended, taken: set[HedgeKey]) -> Event:
        found = self._find_breaches(book, number, intent, taken)
        for breach in found.values():
            self.note(breach)
        all_keys = frozenset(share.key for share in intent.shares)
        if not found:
            taken |= all_keys
            return intent
        self._refused[intent.request.client_order_id] = all_keys if None in found else all_keys & found.keys()
        if len(self._refused) > TOLD_MAX:  # Nobody has asked for the oldest.
            del self._refused[next(iter(self._refused))]
        return _build_stop(book, next(iter(found.values())))

    def _find_breaches(
        self, book: HedgeBook, number: int, intent: OrderIntended, taken: set[HedgeKey]
    ) -> Mapping[HedgeKey | None, Breach]:
        try:
            rules = self._get_rules().get(intent.request.symbol)
            return find_intent_breaches(book, Entry(number, intent, rules.quantity_step if rules else None, taken))
        except Exception as error:  # noqa: BLE001
            breach = _describe_failure(error)
            if intent.action is Action.INCREASE:
                return {None: breach}
            self.note(breach)
            return {}  # Whatever is wrong with a check must not keep a hedge from being closed.

    def get_refused_keys(self, intent: OrderIntended) -> frozenset[HedgeKey]:
        """The hedges for whose sake an order was not journaled, told once."""
        return self._refused.pop(intent.request.client_order_id, frozenset())

    def review(self, book: HedgeBook, events: Sequence[Event], changed: Iterable[HedgeKey]) -> None:
        """A step was folded: hold what it touched to the laws."""
        if any(isinstance(event, TradingModeSet) and event.mode is TradingMode.ACTIVE for event in events):
            self.told.clear()
        self._check(lambda: self._watch.review(book, events, changed))

    def sweep(self, book: HedgeBook) -> None:
        """Hold the whole book to the laws."""
        self._check(lambda: self._watch.sweep(book))

    def _check(self, find: Callable[[], Sequence[Breach]]) -> None:
        try:
            breaches = find()
        except Exception as error:  # noqa: BLE001
            # A check that fails stops opens like any broken law; the step that it looked at is done.
            breaches = [_describe_failure(error)]
        for breach in breaches:
            self.note(breach)


def check_stopped(book: HedgeBook) -> bool:
    """True while the kill switch stands where a broken law has turned it."""
    return book.mode is not TradingMode.ACTIVE and book.mode_reason.startswith(BROKEN)


def _build_stop(book: HedgeBook, breach: Breach) -> TradingModeSet:
    """At least no more opens; a stricter mode and a flattening under way stay."""
    mode = TradingMode.NO_OPENS if book.mode is TradingMode.ACTIVE else book.mode
    return TradingModeSet(mode, book.is_flattening, reason=str(breach))


def _describe_failure(error: Exception) -> Breach:
    return Breach(Law.CHECK, type(error).__name__, str(error))
