"""Holds the operator's limits against each pass, and says what they hold: one log line when a guard begins, one when it ends.

Every limit itself is in ``core.guards``; here are the inputs brought together and the outcome shown. Called by the
reconciler in each pass, right before its orders are made, by the status, and by ``insight`` for a copy of the inputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import structlog

from dehedge import metrics
from dehedge.account import AccountWatch
from dehedge.core.audit import LegKey
from dehedge.core.decisions import Decision
from dehedge.core.guard_report import GUARDS, GuardUse, Place, count_held, measure_guards
from dehedge.core.guards import (
    GuardInputs,
    GuardLimits,
    apply_guards,
    find_near_legs,
    get_increase_max,
    iterate_increases,
)
from dehedge.core.model import Observation
from dehedge.core.policy import HedgingPolicy, VenueState
from dehedge.ledger import Ledger

log = structlog.get_logger()


class Guards:
    """The limits at work."""

    def __init__(self, *, limits: GuardLimits, policy: HedgingPolicy, ledger: Ledger, account: AccountWatch) -> None:
        self.increase_max: Mapping[str, Decimal] = {}
        self.held: Counter[Place] = Counter()
        self.account = account
        self.limits = limits
        self._policy = policy
        self._ledger = ledger
        self._inputs: GuardInputs | None = None
        self._near: set[LegKey] = set()

    def apply(
        self, decisions: Sequence[Decision], observation: Observation, venue: VenueState, *, is_whole: bool = True
    ) -> list[Decision]:
        """The decisions as the limits leave them. What comes of them must be ordered before anything else is decided.

        ``is_whole`` when they are all that matter, so that what none of them is held by holds nothing.
        """
        usage = self._ledger.records.usage
        usage.advance(observation.taken_at)
        inputs = GuardInputs(observation, self._ledger.book, venue, usage, self._policy.leverage, self.account.latest)
        guarded = apply_guards(decisions, inputs, self.limits)
        self._inputs = inputs
        self.increase_max = get_increase_max(inputs, self.limits)
        held = count_held(guarded, self._policy.symbols)
        self._note_held(held if is_whole else self.held | held)
        self._note_near(set(find_near_legs(inputs, self.limits)))
        return guarded

    def check_rivals(self, decisions: Sequence[Decision]) -> bool:
        """True when these would add exposure ahead of others that a limit holds: what is left goes to the largest loss."""
        return bool(self.held) and next(iterate_increases(decisions), None) is not None

    def copy_inputs(self, observation: Observation, venue: VenueState) -> GuardInputs:
        """What a pass would be held against now, as copies: nothing that is done with them changes anything."""
        usage = self._ledger.records.usage.copy()
        usage.advance(observation.taken_at)
        venue = replace(venue, group_max=dict(venue.group_max))
        book = self._ledger.book.copy()
        return GuardInputs(observation, book, venue, usage, self._policy.leverage, self.account.latest)

    def describe(self) -> list[Mapping[str, object]]:
        """Every limit that is set, as plain JSON data: what is used of it, and how many positions it holds now."""
        return [self._describe(use) for use in self.measure()]

    def measure(self) -> list[GuardUse]:
        """Every limit that is set, and what was used of it at the last pass."""
        if self._inputs is None:
            return []
        return measure_guards(self._inputs, self.limits, self._policy.symbols)

    def _describe(self, use: GuardUse) -> Mapping[str, object]:
        return {
            "guard": use.guard.value,
            "variable": GUARDS[use.guard],
            "scope": use.scope,
            "used": _show(use.used) if use.used is not None else None,
            "limit": _show(use.limit),
            "held": self.held[use.guard, use.scope],
        }

    def _note_held(self, held: Counter[Place]) -> None:
        began, ended = held.keys() - self.held.keys(), self.held.keys() - held.keys()
        self.held = held
        for guard, scope in sorted(ended):
            metrics.GUARD_HELD.labels(guard.value, scope).set(0)
            log.info("guard_released", guard=guard.value, scope=scope)
        for (guard, scope), count in held.items():
            metrics.GUARD_HELD.labels(guard.value, scope).set(count)
        for guard, scope in sorted(began):
            count, variable = held[guard, scope], GUARDS[guard]
            log.warning("guard_held", guard=guard.value, scope=scope, positions=count, variable=variable)

    def _note_near(self, near: set[LegKey]) -> None:
        """Tell once of a leg that has come near to its liquidation, whether anything is held by that or not."""
        for symbol, leg in sorted(near - self._near):
            log.warning("liquidation_neared", symbol=symbol, leg=leg.value, variable="MIN_LIQUIDATION_DISTANCE_BPS")
        self._near = near


def _show(amount: Decimal) -> str:
    """To the hundredth, for display."""
    return f"{round(amount, 2).normalize():f}"
