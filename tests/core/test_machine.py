"""The whole pure core as one state machine: traders, prices, passes, an exchange that does anything, other hands, crashes.

Every rule is one thing that can happen. After each, the money invariants hold: the account is the book and what is
foreign, to the step; no key has two live orders; no reduction is larger than what it reduces. Now and then everything is
allowed to settle, and then every position at risk is hedged, no other hedge is left, and nothing more is sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dehedge.core.audit import LegKey, OtherFill
from dehedge.core.book import HedgeBook, HedgeStatus, TradingMode
from dehedge.core.decisions import Reason
from dehedge.core.events import OrderAbandoned, OrderReported, TradingModeSet
from dehedge.core.model import ChainSnapshot, HedgeKey, Leg, Position, Side
from dehedge.core.orders import Action, OrderStatus
from dehedge.core.risk import Capital, assess
from dehedge.core.sizing import Sizing, floor_to_step
from tests.core.builders import (
    BTC,
    ETH,
    NOW,
    SYMBOLS,
    a_policy,
    a_position,
    a_snapshot,
    a_user,
    an_observation,
    get_trades,
    rules,
    scaled,
    usd,
)
from tests.core.tiny_daemon import FATES, Fate, TinyDaemon
from tests.core.tiny_exchange import TinyExchange

STEP = Decimal("0.001")
RULES = {symbol: rules(symbol=symbol, quantity_max="0.3") for symbol in SYMBOLS.values()}
SETTLING_PASSES = 12
PRICES = (20_000, 49_000, 50_000, 56_000, 80_000)
fates = st.sampled_from(FATES)
markets = st.sampled_from((BTC, ETH))
symbols = st.sampled_from(sorted(RULES))
sizes = st.integers(900, 20_000)
parts = st.integers(1, 300).map(lambda count: count * STEP)


class CoreMachine(RuleBasedStateMachine):
    """Plays the chain, the price feed, the exchange and other hands around one daemon."""

    @initialize(
        hedge_mode=st.booleans(),
        sizing=st.sampled_from(Sizing),
        longs=st.lists(st.booleans(), min_size=2, max_size=4),
    )
    def begin(self, hedge_mode: bool, sizing: Sizing, longs: list[bool]) -> None:
        self.now = NOW
        self.prices = {BTC: 80_000, ETH: 20_000}
        self.exchange = TinyExchange()
        self.block_number = 1
        self.daemon = TinyDaemon(self.exchange, a_policy(sizing=sizing), list(RULES.values()), hedge_mode=hedge_mode)
        opened = [a_position(user=a_user(number), is_long=is_long) for number, is_long in enumerate(longs)]
        self.positions: dict[HedgeKey, Position] = {position.key: position for position in opened}
        self.truths = (self.positions, self.positions)
        self.seen = an_observation(snapshot=self.build_snapshot(self.positions), prices=self.prices, taken_at=self.now)
        self.is_exact = True

    @property
    def book(self) -> HedgeBook:
        return self.daemon.book

    @rule(user=st.integers(0, 3), market=markets, is_long=st.booleans(), size=sizes, fate=fates)
    def trader_opens_or_flips(self, user: int, market: str, is_long: bool, size: int, fate: Fate) -> None:
        entry = scaled(50_000 + size % 7)
        position = a_position(user=a_user(user), market=market, is_long=is_long, size=usd(size), entry_price=entry)
        self.positions[position.key] = position
        self.look_and_run_pass(fate)

    @precondition(lambda self: self.positions)
    @rule(data=st.data(), size=sizes, fate=fates)
    def trader_resizes(self, data: st.DataObject, size: int, fate: Fate) -> None:
        key = data.draw(st.sampled_from(sorted(self.positions)))
        self.positions[key] = self.positions[key]._replace(size=usd(size))
        self.look_and_run_pass(fate)

    @precondition(lambda self: self.positions)
    @rule(data=st.data(), fate=fates)
    def trader_closes(self, data: st.DataObject, fate: Fate) -> None:
        del self.positions[data.draw(st.sampled_from(sorted(self.positions)))]
        self.look_and_run_pass(fate)

    @rule(market=markets, price=st.sampled_from(PRICES), fate=fates)
    def price_moves(self, market: str, price: int, fate: Fate) -> None:
        self.prices[market] = price
        self.look_and_run_pass(fate)

    @rule(seconds=st.sampled_from((1, 20, 61)), fate=fates)
    def time_passes(self, seconds: int, fate: Fate) -> None:
        self.now += seconds
        self.daemon.forget_refusals()
        self.look_and_run_pass(fate)

    @rule(fate=fates, blocks=st.integers(1, 3))
    def another_node_lags(self, fate: Fate, blocks: int) -> None:
        snapshot = a_snapshot(
            positions=self.truths[0].values(), block_number=self.block_number - blocks,
            block_time=int(self.now) - blocks, host="https://second",
        )  # fmt: skip
        self.take(snapshot, is_exact=False)
        may_send = self.book.is_flattening or snapshot.block_number >= self.book.block_number
        assert not self.run_pass(fate) or may_send

    @precondition(lambda self: self.is_exact)
    @rule(data=st.data(), fate=fates, host=st.sampled_from(("https://first", "https://second")))
    def a_node_skips_positions(self, data: st.DataObject, fate: Fate, host: str) -> None:
        """Once in a row: what two readings lack is gone for all that can be known."""
        known = sorted(self.positions)
        skipped = data.draw(st.sets(st.sampled_from(known))) if known else set()
        shown = {key: position for key, position in self.positions.items() if key not in skipped}
        self.block_number += 1
        self.take(self.build_snapshot(shown, host=host), is_exact=not skipped)
        self.run_pass(fate)

    @rule(seconds=st.sampled_from((11, 31)), fate=fates)
    def sources_fall_silent(self, seconds: int, fate: Fate) -> None:
        self.now += seconds
        blind = an_observation(snapshot=self.seen.snapshot, prices={}, taken_at=self.now)
        self.daemon.run_pass(replace(blind, previous=self.seen.previous), fate)

    @rule(mode=st.sampled_from(TradingMode), is_flattening=st.booleans(), stays=st.sampled_from((False, False, True)))
    def operator_turns_the_switch(self, mode: TradingMode, is_flattening: bool, stays: bool) -> None:
        """Who flattens also forbids opens."""
        allowed = TradingMode.NO_OPENS if is_flattening and mode is TradingMode.ACTIVE else mode
        self.daemon.record(TradingModeSet(allowed, is_flattening))
        self.look_and_run_pass("filled")
        if not stays:
            self.daemon.record(TradingModeSet(TradingMode.ACTIVE, is_flattening=False))

    @rule(symbol=st.sampled_from((None, *RULES)))
    def symbol_is_blocked_or_freed(self, symbol: str | None) -> None:
        self.daemon.blocked = {symbol: "by a test"} if symbol else {}

    @precondition(lambda self: self.exchange.get_live())
    @rule(data=st.data(), quantity=parts)
    def order_fills(self, data: st.DataObject, quantity: Decimal) -> None:
        self.exchange.fill(data.draw(st.sampled_from(self.exchange.get_live())), quantity)

    @precondition(lambda self: self.exchange.get_live())
    @rule(data=st.data(), status=st.sampled_from((OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED)))
    def order_ends(self, data: st.DataObject, status: OrderStatus) -> None:
        order = data.draw(st.sampled_from(self.exchange.get_live()))
        order.say(OrderStatus.CANCELED if order.filled else status)
        refused = self.book.in_flight[order.request.client_order_id]
        self.daemon.refused[refused.action] |= {share.key for share in refused.shares}

    @precondition(lambda self: self.exchange.orders)
    @rule(data=st.data())
    def report_arrives(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(list(self.exchange.orders.values())))
        self.daemon.record(OrderReported(data.draw(st.sampled_from(order.said)), self.now))

    @precondition(lambda self: self.daemon.get_lost())
    @rule(data=st.data())
    def lost_order_is_abandoned(self, data: st.DataObject) -> None:
        self.daemon.record(OrderAbandoned(data.draw(st.sampled_from(self.daemon.get_lost())), "never arrived"))

    @rule(symbol=symbols, side=st.sampled_from(Side), share=st.integers(1, 10))
    def exchange_liquidates(self, symbol: str, side: Side, share: int) -> None:
        """A part of what is on a leg at rest, ours and others', seen half done and then whole."""
        key = self.daemon.get_leg_key(symbol, side)
        taken = (max(self.exchange.legs[key] * side.sign, Decimal(0)) * share / 10).quantize(STEP)
        if taken and not self.daemon.get_in_flight(symbol):
            self.daemon.sequence += 1
            half = (taken / 2).quantize(STEP)
            for total, quantity in ((half, half), (taken, taken - half)):
                self.exchange.legs[key] -= quantity * side.sign
                name = f"liquidation-{self.daemon.sequence}"
                fill = OtherFill(name, side.opposite, quantity, total, self.now, "autoclose")
                self.daemon.settle_account(key, [fill] if quantity else [])

    @rule(symbol=symbols, leg_side=st.sampled_from(Side), side=st.sampled_from(Side), quantity=parts)
    def another_hand_trades(self, symbol: str, leg_side: Side, side: Side, quantity: Decimal) -> None:
        """On a leg at rest; a leg of hedge mode never turns over."""
        key = self.daemon.get_leg_key(symbol, leg_side)
        after = self.exchange.legs[key] + quantity * side.sign
        if not self.daemon.get_in_flight(symbol) and (key[1] is Leg.BOTH or after * leg_side.sign >= 0):
            self.exchange.legs[key] = after
            self.daemon.settle_account(key, [OtherFill("other", side, quantity, quantity, self.now)])

    @rule()
    def daemon_dies_and_comes_back(self) -> None:
        self.daemon.restart(self.now)
        self.seen = replace(self.seen, previous=None)

    @rule()
    def everything_settles(self) -> None:
        self.daemon.blocked = {}
        self.daemon.forget_refusals()
        self.daemon.record(TradingModeSet(TradingMode.ACTIVE, is_flattening=False))
        self.daemon.end_orders(self.now)
        self.now += 61
        self.observe()
        for _ in range(SETTLING_PASSES):
            if not self.look_and_run_pass("filled"):
                break
        assert not self.look_and_run_pass("filled")
        self.check_hedged()

    @invariant()
    def account_is_the_book_and_what_is_foreign(self) -> None:
        filled: defaultdict[LegKey, Decimal] = defaultdict(Decimal)
        for name, order in self.book.in_flight.items():
            part = self.exchange.get_filled(name) * order.request.side.sign
            filled[(order.request.symbol, order.request.leg)] += part
        for key, held in self.exchange.legs.items():
            assert held == self.book.get_net_quantity(*key) + filled[key] + self.book.foreign.get(key, 0)

    @invariant()
    def every_lock_is_one_live_order(self) -> None:
        locked = [share.key for order in self.book.in_flight.values() for share in order.shares]
        hedges = self.book.get_all_hedged_positions()
        assert len(locked) == len(set(locked))
        assert set(locked) == {key for key, hedge in hedges.items() if hedge.status is not HedgeStatus.OPEN}

    @invariant()
    def reductions_take_no_more_than_is_held(self) -> None:
        hedges = self.book.get_all_hedged_positions()
        for order in self.book.in_flight.values():
            assert order.request.quantity == sum(share.quantity for share in order.shares)
            for share in order.shares:
                assert order.action is Action.INCREASE or share.quantity <= hedges[share.key].quantity

    @invariant()
    def laws_hold_of_the_whole_book(self) -> None:
        self.daemon.check_laws()

    @invariant()
    def hedges_are_on_the_step_and_hold_something(self) -> None:
        for hedge in self.book.get_all_hedged_positions().values():
            assert hedge.quantity % STEP == 0
            assert hedge.quantity > 0 or hedge.status is not HedgeStatus.OPEN

    def observe(self) -> None:
        """The newest snapshot and prices, as of now."""
        self.block_number += 1
        self.take(self.build_snapshot(self.positions), is_exact=True)

    def build_snapshot(self, shown: Mapping[HedgeKey, Position], host: str = "https://first") -> ChainSnapshot:
        return a_snapshot(positions=shown.values(), block_number=self.block_number, block_time=int(self.now), host=host)

    def take(self, snapshot: ChainSnapshot, *, is_exact: bool) -> None:
        """The next reading, and the truth at its time."""
        newest = an_observation(snapshot=snapshot, prices=self.prices, taken_at=self.now)
        self.seen = replace(newest, previous=self.seen.snapshot)
        self.truths = (self.truths[1], dict(self.positions))
        self.is_exact = is_exact

    def look_and_run_pass(self, fate: Fate) -> int:
        self.observe()
        return self.run_pass(fate)

    def run_pass(self, fate: Fate) -> int:
        """A pass, which closes nothing as gone that was there at both of the last readings."""
        there = self.truths[0].keys() & self.truths[1].keys()
        for trade in get_trades(self.daemon.plan(self.seen)):
            assert trade.reason is not Reason.POSITION_CLOSED or trade.key not in there
        return self.daemon.run_pass(self.seen, fate)

    def check_hedged(self) -> None:
        """Everything at risk is hedged to its size, everything else is not hedged."""
        for key, hedge in self.book.get_all_hedged_positions().items():
            assert hedge.side is self.positions[key].hedge_side
            assert self.check_at_risk(self.positions[key])
        for position in filter(self.check_at_risk, self.positions.values()):
            # Below the minimum collateral a hedge is not opened, and kept where there is one.
            if position.size >= usd(1_000):
                self.check_hedged_to_size(position)

    def check_at_risk(self, position: Position) -> bool:
        capital = Capital(self.seen.snapshot.vault, self.seen.snapshot.shield)
        price = scaled(self.prices[position.market])
        return assess(position, price, None, capital, self.daemon.policy.factors).at_risk

    def check_hedged_to_size(self, position: Position) -> None:
        """To the step, or off by less than the smallest order that the exchange takes."""
        hedge = self.book.get_hedged_position(position.key)
        assert hedge is not None
        if self.daemon.policy.sizing is Sizing.DELTA:
            asked = Fraction(position.size, 10**6) / Fraction(position.entry_price, 10**18)
            off = abs(floor_to_step(asked, STEP) - hedge.quantity)
            assert off * self.prices[position.market] < RULES[hedge.symbol].notional_min


TestCore = CoreMachine.TestCase
TestCore.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
