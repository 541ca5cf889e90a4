"""The least that a daemon does around the core: pass after pass, facts recorded before they count, orders sent once.

Everything is synchronous. Checks as it goes that no pass decides what the kill switch or a block forbids, and that what is
under way is never sent again. The laws are held after every step, and by every order before it is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from dehedge.core.audit import (
    LegAudit,
    LegKey,
    OtherFill,
    accept_foreign,
    audit_leg,
    build_account_events,
)
from dehedge.core.batching import OrderDraft, build_drafts
from dehedge.core.book import HedgeBook, TradingMode, check_on_leg
from dehedge.core.cooling import Cooling
from dehedge.core.decisions import Decision
from dehedge.core.events import (
    Event,
    ForeignPositionSeen,
    HedgeWrittenDown,
    OrderAbandoned,
    OrderIntended,
    OrderReported,
    fold,
)
from dehedge.core.freshness import build_basis
from dehedge.core.hedging import find_judged_markets, plan
from dehedge.core.invariants import Entry, Watch, find_intent_breaches
from dehedge.core.model import HedgeKey, Observation, Side, TradingRules
from dehedge.core.orders import Action, get_leg
from dehedge.core.policy import HedgingPolicy
from tests.core.builders import a_venue, an_intent, get_trades, replay
from tests.core.tiny_exchange import TinyExchange

Fate = Literal["filled", "taken", "lost"]
"""What becomes of a pass's orders: filled and told at once, taken by the exchange, or lost on the way to it."""
FATES: tuple[Fate, ...] = get_args(Fate)


class TinyDaemon:
    """Book, journal and executor of one account."""

    def __init__(
        self, exchange: TinyExchange, policy: HedgingPolicy, rules: Sequence[TradingRules], *, hedge_mode: bool
    ) -> None:
        self.book = HedgeBook()
        self.events: list[Event] = []
        self.blocked: dict[str, str] = {}
        self.refused: dict[Action, set[HedgeKey]] = {action: set() for action in Action}
        self.sequence = 0
        self.policy = policy
        self._watch = Watch()
        self._cooling = Cooling(after_s=0)
        self._exchange = exchange
        self._rules = {known.symbol: known for known in rules}
        self._hedge_mode = hedge_mode

    def record(self, event: Event) -> None:
        if isinstance(event, OrderIntended):
            step = self._rules[event.request.symbol].quantity_step
            assert find_intent_breaches(self.book, Entry(self.sequence, event, step)) == {}
        self.events.append(event)
        changes = fold(self.book, event)
        assert self._watch.review(self.book, [event], [change.key for change in changes]) == []

    def check_laws(self) -> None:
        """Of the whole book, by a watch that has not followed it."""
        assert Watch().sweep(self.book) == []

    def get_leg_key(self, symbol: str, side: Side) -> LegKey:
        return symbol, get_leg(side, hedge_mode=self._hedge_mode)

    def get_in_flight(self, symbol: str) -> list[str]:
        return [name for name, order in self.book.in_flight.items() if order.request.symbol == symbol]

    def get_lost(self) -> list[str]:
        return [name for name in self.book.in_flight if name not in self._exchange.orders]

    def plan(self, seen: Observation) -> list[Decision]:
        venue = a_venue(
            known=self._rules.values(), blocked=self.blocked, waiting_to_grow=self.refused[Action.INCREASE],
            waiting_to_reduce=self.refused[Action.REDUCE],
        )  # fmt: skip
        return plan(seen, self.book, self.policy, venue)

    def run_pass(self, seen: Observation, fate: Fate) -> int:
        """One pass; the number of orders sent."""
        decisions = self.plan(seen)
        self._note_risk(decisions, seen)
        drafts = build_drafts(get_trades(decisions), self._rules, {})
        for draft in drafts:
            self._check_allowed(draft)
            self._send(draft, fate, seen)
        if fate != "filled":
            assert not get_trades(self.plan(seen)), "a second pass sends again what is under way"
        return len(drafts)

    def end_orders(self, now: float) -> None:
        """What the exchange has is filled and told; what it never had is abandoned."""
        for order in self._exchange.get_live():
            self._exchange.fill(order, order.left)
        for name in self.get_lost():
            self.record(OrderAbandoned(name, "never arrived"))
        for name in list(self.book.in_flight):
            self.record(OrderReported(self._exchange.orders[name].said[-1], now))

    def restart(self, now: float) -> None:
        """Die, and be the same again from the journal; what was refused is forgotten."""
        recovered = replay(self.events)
        for book in (recovered, self.book):
            book.judged_at.clear()
            book.note_judged({key.market for key in book.get_all_hedged_positions()}, now)
        assert recovered == self.book
        self.book = recovered
        self._watch, self._cooling = Watch(), Cooling(after_s=0)
        assert self._watch.sweep(recovered) == []
        self.forget_refusals()

    def forget_refusals(self) -> None:
        for keys in self.refused.values():
            keys.clear()

    def settle_account(self, key: LegKey, fills: Sequence[OtherFill]) -> None:
        """What others did, at rest: explained, what they closed of ours written down, the rest theirs."""
        for event in build_account_events(self.book, self._audit(key), fills):
            self.record(event)
        for hedge in list(self.book.get_symbol_hedges(key[0])):
            lacking = self._audit(key).get_shortfall(hedge.side) if check_on_leg(hedge.side, key[1]) else 0
            if lacking:
                self.record(HedgeWrittenDown(hedge.key, min(lacking, hedge.quantity), "closed by another hand"))
        found = self._audit(key)
        if found.difference:
            rest = accept_foreign(found.known_foreign, found.foreign, found.hedged)
            self.record(ForeignPositionSeen(*key, rest, counted_until=0.0))
        assert self._audit(key).difference == 0

    def _audit(self, key: LegKey) -> LegAudit:
        return audit_leg(self.book, key, self._exchange.legs[key])

    def _note_risk(self, decisions: Sequence[Decision], seen: Observation) -> None:
        """Journal whose risk has gone and whose came back."""
        judged = find_judged_markets(seen, self.book, self.policy)
        for event in self._cooling.note(self.book, decisions, judged, seen.taken_at):
            self.record(event)

    def _check_allowed(self, draft: OrderDraft) -> None:
        assert 0 < draft.quantity <= self._rules[draft.symbol].quantity_max
        assert self.book.mode is not TradingMode.HALTED
        if draft.action is Action.INCREASE:
            assert draft.symbol not in self.blocked
            assert self.book.mode is not TradingMode.REDUCE_ONLY
            assert not self.book.is_flattening
            is_open = any(not self.book.has_hedged_position(share.key) for share in draft.shares)
            assert self.book.mode is TradingMode.ACTIVE or not is_open

    def _send(self, draft: OrderDraft, fate: Fate, seen: Observation) -> None:
        self.sequence += 1
        key = self.get_leg_key(draft.symbol, draft.hedge_side)
        found = self._audit(key)
        intent = an_intent(
            shares=draft.shares, hedge_side=draft.hedge_side, action=draft.action, symbol=draft.symbol,
            hedge_mode=self._hedge_mode, sequence=self.sequence, intended_at=seen.taken_at,
            block_number=seen.snapshot.block_number,
            reduce_only=draft.action is Action.REDUCE and found.check_reduces(draft.hedge_side, draft.quantity),
        )  # fmt: skip
        if draft.action is Action.INCREASE:
            basis = build_basis(seen, self.policy)
            intent = replace(intent, fresh_until=min(basis.get_fresh_until(key.market) for key in draft.keys))
        self.record(intent)
        if fate != "lost":
            order = self._exchange.accept(intent.request)
            if fate == "filled":
                self._exchange.fill(order, order.left)
                self.record(OrderReported(order.said[-1], seen.taken_at))

