"""The whole pure core as one state machine: traders, prices, passes, an exchange that does anything, other hands, crashes.

Every rule is one thing that can happen. After each, the money invariants hold: the account is the book and what is
foreign, to the step; no key has two live orders; no reduction is larger than what it reduces. Now and then everything is
allowed to settle, and then every position at risk is hedged, no other hedge is left, and nothing more is sent.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import Literal, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dehedge.core.audit import LegKey, audit_leg, check_lacks_hedges
from dehedge.core.batching import OrderDraft, build_drafts
from dehedge.core.book import HedgeBook, HedgeStatus, TradingMode
from dehedge.core.events import (
    Event,
    ForeignPositionSeen,
    HedgesCooled,
    HedgesForced,
    HedgesReheated,
    HedgeWrittenDown,
    OrderAbandoned,
    OrderReported,
    TradingModeSet,
    fold,
)
from dehedge.core.hedging import Decision, Hold, Reason, RefreshHedge, ResizeHedge, plan
from dehedge.core.model import HedgeKey, Position, Side
from dehedge.core.orders import Action, OrderStatus, get_leg
from dehedge.core.risk import assess
from dehedge.core.sizing import Sizing
from tests.core.builders import (
    BTC,
    ETH,
    NOW,
    SYMBOLS,
    a_policy,
    a_position,
    a_snapshot,
    a_user,
    a_venue,
    an_intent,
    an_observation,
    get_trades,
    replay,
    rules,
    scaled,
    usd,
)
from tests.core.tiny_exchange import TinyExchange

STEP = Decimal("0.001")
RULES = {symbol: rules(symbol=symbol, quantity_max="0.3") for symbol in SYMBOLS.values()}
SETTLING_PASSES = 12
PRICES = (20_000, 49_000, 50_000, 56_000, 80_000)
Fate = Literal["filled", "taken", "lost"]
"""What becomes of a pass's orders: filled and told at once, taken by the exchange, or lost on the way to it."""
fates = st.sampled_from(get_args(Fate))
markets = st.sampled_from((BTC, ETH))
parts = st.integers(1, 300).map(lambda count: count * STEP)


class CoreMachine(RuleBasedStateMachine):
    """Plays the chain, the price feed, the executor and the exchange around the core."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.positions: dict[HedgeKey, Position] = {}
        self.prices = {BTC: 80_000, ETH: 20_000}
        self.book = HedgeBook()
        self.events: list[Event] = []
        self.exchange = TinyExchange()
        self.foreign: defaultdict[LegKey, Decimal] = defaultdict(Decimal)
        self.blocked: dict[str, str] = {}
        self.refused: dict[HedgeKey, float] = {}
        self.sequence = 0
        self.observe()

    @initialize(hedge_mode=st.booleans(), sizing=st.sampled_from(Sizing), longs=st.lists(st.booleans(), max_size=3))
    def choose_account(self, hedge_mode: bool, sizing: Sizing, longs: list[bool]) -> None:
        self.hedge_mode = hedge_mode
        self.policy = a_policy(sizing=sizing)
        for number, is_long in enumerate(longs):
            position = a_position(user=a_user(number), is_long=is_long)
            self.positions[position.key] = position
        self.observe()

    @rule(user=st.integers(0, 2), market=markets, is_long=st.booleans(), size=st.integers(900, 20_000), fate=fates)
    def trader_opens_or_changes(self, user: int, market: str, is_long: bool, size: int, fate: Fate) -> None:
        position = a_position(
            user=a_user(user), market=market, is_long=is_long, size=usd(size), entry_price=scaled(50_000 + size % 7)
        )
        self.positions[position.key] = position
        self.observe()
        self.run_pass(fate)

    @precondition(lambda self: self.positions)
    @rule(data=st.data(), size=st.integers(900, 20_000), fate=fates)
    def trader_resizes(self, data: st.DataObject, size: int, fate: Fate) -> None:
        key = data.draw(st.sampled_from(sorted(self.positions)))
        self.positions[key] = self.positions[key]._replace(size=usd(size))
        self.observe()
        self.run_pass(fate)

    @precondition(lambda self: self.positions)
    @rule(data=st.data(), fate=fates)
    def trader_closes(self, data: st.DataObject, fate: Fate) -> None:
        del self.positions[data.draw(st.sampled_from(sorted(self.positions)))]
        self.observe()
        self.run_pass(fate)

    @rule(market=markets, price=st.sampled_from(PRICES), fate=fates)
    def price_moves(self, market: str, price: int, fate: Fate) -> None:
        self.prices[market] = price
        self.observe()
        self.run_pass(fate)

    @rule(seconds=st.sampled_from((1, 20, 61)), sees=st.sampled_from((True, True, False)), fate=fates)
    def time_passes(self, seconds: int, sees: bool, fate: Fate) -> None:
        self.now += seconds
        if sees:
            self.observe()
        self.run_pass(fate)

    @rule(mode=st.sampled_from(TradingMode), is_flattening=st.booleans(), stays=st.sampled_from((False, False, True)))
    def operator_turns_the_switch(self, mode: TradingMode, is_flattening: bool, stays: bool) -> None:
        allowed = TradingMode.NO_OPENS if is_flattening and mode is TradingMode.ACTIVE else mode
        self.record(TradingModeSet(allowed, is_flattening))
        self.run_pass("filled")
        if not stays:
            self.record(TradingModeSet(TradingMode.ACTIVE, is_flattening=False))

    @rule(symbol=st.sampled_from((None, *RULES)))
    def symbol_is_blocked_or_freed(self, symbol: str | None) -> None:
        self.blocked = {symbol: "by a test"} if symbol else {}

    @precondition(lambda self: self.exchange.get_live())
    @rule(data=st.data(), quantity=parts)
    def order_fills(self, data: st.DataObject, quantity: Decimal) -> None:
        self.exchange.fill(data.draw(st.sampled_from(self.exchange.get_live())), quantity)

    @precondition(lambda self: self.exchange.get_live())
    @rule(data=st.data(), status=st.sampled_from((OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED)))
    def order_ends(self, data: st.DataObject, status: OrderStatus) -> None:
        order = data.draw(st.sampled_from(self.exchange.get_live()))
        self.exchange.end(order, OrderStatus.CANCELED if order.filled else status)
        for share in self.book.in_flight[order.request.client_order_id].shares:
            self.refused[share.key] = self.now + 1

    @precondition(lambda self: self.exchange.orders)
    @rule(data=st.data())
    def report_arrives(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(list(self.exchange.orders.values())))
        report = data.draw(st.sampled_from(order.said))
        self.record(OrderReported(report, self.now))

    @precondition(lambda self: self.get_lost())
    @rule(data=st.data())
    def lost_order_is_abandoned(self, data: st.DataObject) -> None:
        self.record(OrderAbandoned(data.draw(st.sampled_from(self.get_lost())), "never arrived"))

    @rule(symbol=st.sampled_from(sorted(RULES)), side=st.sampled_from(Side), quantity=parts)
    def exchange_liquidates(self, symbol: str, side: Side, quantity: Decimal) -> None:
        held = sum((h.quantity for h in self.book.get_symbol_hedges(symbol) if h.side is side), Decimal(0))
        key = (symbol, get_leg(side, hedge_mode=self.hedge_mode))
        taken = min(quantity, held, self.exchange.legs[key] * side.sign)
        if taken > 0 and not self.get_in_flight(symbol):
            self.exchange.legs[key] -= taken * side.sign
            first = (taken / 2).quantize(STEP)
            for filled in (first, taken, first):
                self.record(HedgesForced(f"liq-{self.sequence}", *key, side.opposite, filled, "autoclose"))
            self.sequence += 1

    @precondition(lambda self: self.book.get_all_hedged_positions())
    @rule(data=st.data(), quantity=parts)
    def another_hand_closes_a_hedge(self, data: st.DataObject, quantity: Decimal) -> None:
        hedge = data.draw(st.sampled_from(list(self.book.get_all_hedged_positions().values())))
        if not self.get_in_flight(hedge.symbol):
            taken = min(quantity, hedge.quantity)
            key = (hedge.symbol, get_leg(hedge.side, hedge_mode=self.hedge_mode))
            self.exchange.legs[key] -= taken * hedge.side.sign
            assert check_lacks_hedges(self.book, audit_leg(self.book, key, self.exchange.legs[key]))
            self.record(HedgeWrittenDown(hedge.key, taken, "closed by another hand"))

    @rule(symbol=st.sampled_from(sorted(RULES)), side=st.sampled_from(Side), quantity=parts)
    def another_hand_trades_beside_us(self, symbol: str, side: Side, quantity: Decimal) -> None:
        key = (symbol, get_leg(side, hedge_mode=self.hedge_mode))
        found = audit_leg(self.book, key, self.exchange.legs[key] + quantity * side.sign)
        if not self.get_in_flight(symbol) and not check_lacks_hedges(self.book, found):
            self.exchange.legs[key] = found.exchange
            self.foreign[key] += quantity * side.sign
            self.record(ForeignPositionSeen(*key, found.exchange - found.hedged))

    @rule()
    def daemon_dies_and_comes_back(self) -> None:
        recovered = replay(self.events)
        for book in (recovered, self.book):
            hedges = book.get_all_hedged_positions()
            book.refresh([key for key, hedge in hedges.items() if not hedge.is_cooling], self.now)
        assert recovered == self.book
        self.book = recovered
        self.refused = {}

    @rule()
    def everything_settles(self) -> None:
        self.blocked, self.refused = {}, {}
        self.record(TradingModeSet(TradingMode.ACTIVE, is_flattening=False))
        self.end_orders()
        self.now += 61
        self.observe()
        for _ in range(SETTLING_PASSES):
            self.now += 1
            self.observe()
            if not self.run_pass("filled"):
                break
        assert not self.run_pass("filled")
        self.check_hedged()

    @invariant()
    def account_is_the_book_and_what_is_foreign(self) -> None:
        filled: defaultdict[LegKey, Decimal] = defaultdict(Decimal)
        for name, order in self.book.in_flight.items():
            filled[(order.request.symbol, order.request.leg)] += (
                self.exchange.get_filled(name) * order.request.side.sign
            )
        for key in {*self.exchange.legs, *self.foreign}:
            assert self.exchange.legs[key] == self.book.get_net_quantity(*key) + filled[key] + self.foreign[key]

    @invariant()
    def every_lock_is_one_live_order(self) -> None:
        locked = [share.key for order in self.book.in_flight.values() for share in order.shares]
        hedges = self.book.get_all_hedged_positions()
        assert len(locked) == len(set(locked))
        assert set(locked) == {key for key, hedge in hedges.items() if hedge.status is not HedgeStatus.OPEN}

    @invariant()
    def reductions_take_no_more_than_is_held(self) -> None:
        for order in self.book.in_flight.values():
            assert order.request.quantity == sum(share.quantity for share in order.shares)
            for share in order.shares:
                hedge = self.book.get_hedged_position(share.key)
                assert hedge is not None
                assert order.action is Action.INCREASE or share.quantity <= hedge.quantity

    @invariant()
    def hedges_are_on_the_step_and_hold_something(self) -> None:
        for hedge in self.book.get_all_hedged_positions().values():
            assert hedge.quantity % STEP == 0
            assert hedge.quantity > 0 or hedge.status is not HedgeStatus.OPEN

    def observe(self) -> None:
        """The newest snapshot and prices, as of now."""
        snapshot = a_snapshot(positions=self.positions.values(), block_time=int(self.now))
        self.seen = an_observation(snapshot=snapshot, prices=self.prices, taken_at=self.now)

    def record(self, event: Event) -> None:
        self.events.append(event)
        fold(self.book, event)

    def get_in_flight(self, symbol: str) -> list[str]:
        return [name for name, order in self.book.in_flight.items() if order.request.symbol == symbol]

    def get_lost(self) -> list[str]:
        return [name for name in self.book.in_flight if name not in self.exchange.orders]

    def plan(self) -> list[Decision]:
        now = self.seen.__class__(self.seen.snapshot, self.seen.prices, self.seen.marks, self.now)
        venue = a_venue(known=RULES.values(), blocked=self.blocked, backing_off=self.refused)
        return plan(now, self.book, self.policy, venue)

    def run_pass(self, fate: Fate) -> int:
        """One pass; the number of orders sent."""
        decisions = self.plan()
        self.note_risk(decisions)
        drafts = build_drafts(get_trades(decisions), RULES)
        for draft in drafts:
            self.check_allowed(draft)
            self.send(draft, fate)
        if fate != "filled":
            assert not get_trades(self.plan()), "a second pass sends again what is under way"
        return len(drafts)

    def note_risk(self, decisions: list[Decision]) -> None:
        """Refresh what is still at risk; journal what cooled and what came back."""
        hedges = self.book.get_all_hedged_positions()
        lasting = [d.key for d in decisions if d.key in hedges and _check_lasting(d)]
        back = tuple(key for key in lasting if hedges[key].is_cooling)
        cooled = tuple(
            (d.key, hedges[d.key].placed_at)
            for d in decisions
            if d.reason is Reason.COOLING_DOWN and not hedges[d.key].is_cooling
        )
        self.book.refresh(lasting, self.now)
        if back:
            self.record(HedgesReheated(back, self.now))
        if cooled:
            self.record(HedgesCooled(cooled))

    def check_allowed(self, draft: OrderDraft) -> None:
        assert 0 < draft.quantity <= RULES[draft.symbol].quantity_max
        assert self.book.mode is not TradingMode.HALTED
        if draft.action is Action.INCREASE:
            assert draft.symbol not in self.blocked
            assert self.book.mode is not TradingMode.REDUCE_ONLY
            absent = any(not self.book.has_hedged_position(share.key) for share in draft.shares)
            assert self.book.mode is TradingMode.ACTIVE or not absent

    def send(self, draft: OrderDraft, fate: Fate) -> None:
        self.sequence += 1
        leg = get_leg(draft.hedge_side, hedge_mode=self.hedge_mode)
        found = audit_leg(self.book, (draft.symbol, leg), self.exchange.legs[(draft.symbol, leg)])
        reduces = draft.action is Action.REDUCE and found.check_reduces(draft.hedge_side, draft.quantity)
        intent = an_intent(
            shares=draft.shares, hedge_side=draft.hedge_side, action=draft.action, symbol=draft.symbol,
            hedge_mode=self.hedge_mode, sequence=self.sequence, intended_at=self.now, reduce_only=reduces,
        )  # fmt: skip
        self.record(intent)
        if fate != "lost":
            order = self.exchange.accept(intent.request)
            if fate == "filled":
                self.exchange.fill(order, order.left)
                self.record(OrderReported(order.said[-1], self.now))

    def end_orders(self) -> None:
        for order in self.exchange.get_live():
            self.exchange.fill(order, order.left)
        for name in self.get_lost():
            self.record(OrderAbandoned(name, "never arrived"))
        for name in list(self.book.in_flight):
            self.record(OrderReported(self.exchange.orders[name].said[-1], self.now))

    def check_hedged(self) -> None:
        """Everything at risk is hedged to its size, everything else is not hedged."""
        for key, hedge in self.book.get_all_hedged_positions().items():
            assert hedge.side is self.positions[key].hedge_side
            assert self.check_at_risk(self.positions[key])
        for position in filter(self.check_at_risk, self.positions.values()):
            self.check_hedged_to_size(position)

    def check_at_risk(self, position: Position) -> bool:
        capital = self.seen.snapshot
        return assess(
            position, scaled(self.prices[position.market]), None, capital, self.policy.factors  # type: ignore[arg-type]
        ).at_risk

    def check_hedged_to_size(self, position: Position) -> None:
        hedge = self.book.get_hedged_position(position.key)
        price = Fraction(position.entry_price, 10**18)
        if usd(1_000) > position.size:
            return  # Below the minimum collateral: opened by nobody, kept when it is there.
        assert hedge is not None
        if self.policy.sizing is Sizing.DELTA:
            missing = Fraction(position.size, 10**6) / price - Fraction(hedge.quantity)
            assert missing >= 0
            assert missing < Fraction(STEP) or missing * self.prices[position.market] < 50 + self.prices[BTC] * STEP


def _check_lasting(decision: Decision) -> bool:
    if isinstance(decision, RefreshHedge | ResizeHedge):
        return True
    return isinstance(decision, Hold) and decision.assessment is not None and decision.assessment.at_risk


TestCore = CoreMachine.TestCase
TestCore.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
