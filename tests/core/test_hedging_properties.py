"""What holds in every world: one decision a key, no world changed by looking at it, and a carried-out plan is done."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from copy import deepcopy
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dehedge.core.book import HedgeBook, HedgedPosition, HedgeStatus, TradingMode
from dehedge.core.decisions import CloseHedge, OpenHedge, Reason
from dehedge.core.freshness import check_price_fresh, check_snapshot_stale
from dehedge.core.hedging import plan
from dehedge.core.model import HedgeKey, Observation, Position
from dehedge.core.orders import Action
from dehedge.core.policy import HedgingPolicy, VenueState
from dehedge.core.risk import Capital, RiskAssessment, assess
from dehedge.core.sizing import Sizing
from tests.core.builders import (
    BTC,
    ETH,
    NOW,
    SYMBOLS,
    USDC,
    a_book,
    a_hedge,
    a_policy,
    a_position,
    a_snapshot,
    a_user,
    a_venue,
    an_observation,
    carry_out,
    get_one_before,
    get_trades,
    rules,
    scaled,
    usd,
)

STEP = Decimal("0.001")
PASSES_MAX = 12
"""The largest hedge is six times the smallest maximum: once to be closed, once to be opened."""

prices = st.integers(20, 80).map(lambda thousands: thousands * 1_000)
quantities = st.integers(1, 600).map(lambda count: count * STEP)


@dataclass(frozen=True)
class World:
    observation: Observation
    book: HedgeBook
    policy: HedgingPolicy
    venue: VenueState

    @property
    def keys(self) -> set[HedgeKey]:
        return {*self.observation.snapshot.positions, *self.book.get_all_hedged_positions()}

    def plan(self) -> Any:
        return plan(self.observation, self.book, self.policy, self.venue)


FAULTS = (
    "stale snapshot", "no price", "stale price", "no mark", "not listed", "blocked", "exhausted", "refused", "busy", "halted",
    "no opens", "reduce only", "flattening", "small maximum", "no shield", "read once",
)  # fmt: skip
"""At most three at once, so that most worlds still trade."""

PLACES = [(user, market, USDC) for user in range(4) for market in (BTC, ETH)] + [
    (0, "SOL-USD", USDC),
    (1, BTC, "0xother"),
]


@st.composite
def all_positions(draw: st.DrawFn) -> list[Position]:
    return [
        a_position(
            user=a_user(user), market=market, asset=asset, is_long=draw(st.booleans()),
            size=usd(draw(st.integers(1_000, 12_000))), entry_price=scaled(draw(prices)),
        )
        for user, market, asset in draw(st.lists(st.sampled_from(PLACES), unique=True, max_size=6))
    ]  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn, *, statuses: tuple[HedgeStatus, ...] = tuple(HedgeStatus)) -> World:
    """Positions with and without hedges, hedges with and without positions, and an exchange that refuses some."""
    faults = draw(st.sets(st.sampled_from(FAULTS), max_size=3))
    positions = draw(all_positions())
    hedged = [position for position in positions if position.market in SYMBOLS and draw(st.booleans())]
    gone = [a_position(user=a_user(10 + number)) for number in range(draw(st.integers(0, 2)))]
    hedges = [_draw_hedge(draw, position, statuses) for position in (*hedged, *gone)]
    book = a_book(*hedges, mode=_get_mode(faults), is_flattening="flattening" in faults)
    keys = [*(position.key for position in positions), *(hedge.key for hedge in hedges)]
    named = st.sets(st.sampled_from(keys)) if keys else st.just(set())
    known = [
        rules(symbol=symbol, quantity_max="0.1" if "small maximum" in faults else 120)
        for symbol in SYMBOLS.values()
        if "not listed" not in faults or draw(st.booleans())
    ]
    venue = a_venue(
        known=known, blocked={"BTCUSDT": "why"} if "blocked" in faults else {},
        exhausted=["ETHUSDT"] if "exhausted" in faults else (),
        waiting_to_grow=draw(named) if "refused" in faults else (),
        waiting_to_reduce=draw(named) if "refused" in faults else (),
        busy=draw(named) if "busy" in faults else (),
    )  # fmt: skip
    return World(
        _draw_observation(draw, positions, faults), book, a_policy(sizing=draw(st.sampled_from(Sizing))), venue
    )


def _get_mode(faults: AbstractSet[str]) -> TradingMode:
    """An operator who flattens also forbids opens."""
    modes = {
        "halted": TradingMode.HALTED, "reduce only": TradingMode.REDUCE_ONLY, "no opens": TradingMode.NO_OPENS,
        "flattening": TradingMode.NO_OPENS,
    }  # fmt: skip
    return next((mode for name, mode in modes.items() if name in faults), TradingMode.ACTIVE)


def _draw_hedge(draw: st.DrawFn, position: Position, statuses: tuple[HedgeStatus, ...]) -> HedgedPosition:
    """Mostly of the position's side and figures; it may be larger or smaller than its target, or have none."""
    hedge = a_hedge(
        position=position._replace(
            is_long=position.is_long ^ draw(st.sampled_from((False, False, True))),
            size=draw(st.sampled_from((position.size, 5))),
        ),
        quantity=draw(quantities), target=draw(quantities), status=draw(st.sampled_from(statuses)),
        placed_at=NOW - draw(st.integers(0, 90)),
    )  # fmt: skip
    return replace(hedge, target=draw(st.sampled_from((hedge.target, hedge.quantity, Decimal(0)))))


def _draw_observation(draw: st.DrawFn, positions: list[Position], faults: AbstractSet[str]) -> Observation:
    markets = {BTC, ETH, "SOL-USD"} - ({BTC} if "no price" in faults else set())
    shown = {market: draw(prices) for market in sorted(markets)}
    marks = {symbol: draw(prices) for symbol in SYMBOLS.values() if (symbol, "no mark" in faults) != ("BTCUSDT", True)}
    snapshot = a_snapshot(
        positions=positions, block_time=int(NOW) - (31 if "stale snapshot" in faults else 28),
        shield=0 if "no shield" in faults else usd(1_000),
    )  # fmt: skip
    observation = an_observation(
        snapshot=snapshot, prices=shown, marks=marks, price_age_s=11 if "stale price" in faults else 10
    )
    return (
        replace(observation, previous=draw(st.sampled_from((None, snapshot)))) if "read once" in faults else observation
    )


def check_no_order_is_above_the_maximum(world: World) -> bool:
    return all(known.quantity_max > 1 for known in world.venue.rules.values())


@given(worlds().filter(lambda world: not world.book.is_flattening))
def test_plan_makes_exactly_one_decision_for_every_key(world: World) -> None:
    decided = [decision.key for decision in world.plan()]

    assert len(decided) == len(set(decided))
    assert set(decided) == world.keys


def test_plan_decides_for_every_key_while_flattening() -> None:
    hedged, bare = a_position(user=a_user(1)), a_position(user=a_user(2))
    observation = an_observation(positions=[hedged, bare])
    world = World(observation, a_book(a_hedge(position=hedged), is_flattening=True), a_policy(), a_venue())

    assert {decision.key for decision in world.plan()} == world.keys


def judge(world: World, key: HedgeKey) -> RiskAssessment | None:
    """The position's risk, where a pass comes so far as to judge it."""
    seen, book = world.observation, world.book
    position, hedge = seen.snapshot.positions.get(key), book.get_hedged_position(key)
    is_paused = book.mode is TradingMode.HALTED or book.is_flattening
    if position is None or is_paused or check_snapshot_stale(seen, book, world.policy):
        return None
    if hedge is not None and hedge.side is not position.hedge_side:
        return None
    is_ours = position.asset == USDC and (position.market in SYMBOLS or hedge is not None)
    if not is_ours or not check_price_fresh(seen, world.policy, position.market):
        return None
    capital = Capital(seen.snapshot.vault, seen.snapshot.shield)
    return assess(position, seen.prices[position.market].price, None, capital, world.policy.factors)


@given(worlds())
def test_decisions_carry_the_figures_that_they_were_made_from_whatever_they_are(world: World) -> None:
    for decision in world.plan():
        assert decision.assessment == judge(world, decision.key)


@given(worlds())
def test_plan_changes_nothing_and_decides_the_same_again(world: World) -> None:
    before = deepcopy(world.book)

    first, second = world.plan(), world.plan()

    assert first == second
    assert world.book == before


@given(worlds(), st.randoms(use_true_random=False))
def test_plan_does_not_depend_on_the_order_of_positions(world: World, dice: Any) -> None:
    positions = list(world.observation.snapshot.positions.items())
    dice.shuffle(positions)
    snapshot = replace(world.observation.snapshot, positions=dict(positions))
    shuffled = replace(world, observation=replace(world.observation, snapshot=snapshot))

    assert {d.key: d for d in shuffled.plan()} == {d.key: d for d in world.plan()}


@given(worlds())
def test_trades_are_orders_that_the_exchange_takes(world: World) -> None:
    for trade in get_trades(world.plan()):
        known = world.venue.rules.get(trade.symbol)
        hedge = world.book.get_hedged_position(trade.key)
        held = hedge.quantity if hedge is not None else Decimal(0)

        assert trade.share.quantity > 0
        assert trade.share.quantity % STEP == 0
        assert known is None or trade.share.quantity <= known.quantity_max
        if trade.action is Action.INCREASE:
            mark = world.observation.marks[trade.symbol]
            assert known is not None
            assert trade.symbol not in world.venue.blocked
            # The rest of a hedge above the maximum is judged on its own pass.
            whole = trade.share.quantity == known.quantity_max
            assert whole or trade.share.quantity * mark >= known.notional_min
            assert held + trade.share.quantity <= trade.share.target
        else:
            assert held - trade.share.quantity >= trade.share.target


@given(worlds())
def test_trades_leave_alone_what_is_locked_or_was_just_refused(world: World) -> None:
    for trade in get_trades(world.plan()):
        hedge = world.book.get_hedged_position(trade.key)

        assert hedge is None or hedge.status is HedgeStatus.OPEN
        assert trade.key not in world.venue.busy
        grows = trade.action is Action.INCREASE
        assert trade.key not in (world.venue.waiting_to_grow if grows else world.venue.waiting_to_reduce)
        assert not grows or trade.symbol not in world.venue.exhausted


@given(worlds())
def test_trades_open_only_what_is_at_risk_and_absent(world: World) -> None:
    for trade in get_trades(world.plan()):
        hedge = world.book.get_hedged_position(trade.key)
        if isinstance(trade, OpenHedge):
            assert hedge is None
            assert trade.assessment is not None
            assert trade.assessment.at_risk
        else:
            assert hedge is not None
            assert (trade.side, trade.symbol) == (hedge.side, hedge.symbol)


@given(worlds(), st.sampled_from((None, "one missing", "all there", "all missing")))
def test_trades_let_go_of_nothing_that_one_snapshot_alone_lacks(world: World, before: str | None) -> None:
    hedged = {key: a_position() for key in world.book.get_all_hedged_positions()}
    shown = {None: {}, "one missing": dict(list(hedged.items())[1:]), "all there": hedged, "all missing": {}}[before]
    newest = world.observation.snapshot
    previous = None if before is None else get_one_before(newest, positions=shown)
    trades = get_trades(replace(world, observation=replace(world.observation, previous=previous)).plan())

    for trade in trades:
        if trade.reason is Reason.POSITION_CLOSED:
            assert before is not None
            assert trade.key not in newest.positions
            assert trade.key not in shown


@settings(max_examples=200)
@given(worlds(statuses=(HedgeStatus.OPEN,)))
def test_plan_carried_out_to_its_end_leaves_nothing_to_send(world: World) -> None:
    sequence = 0
    for _ in range(PASSES_MAX):
        trades = get_trades(world.plan())
        if not trades:
            break
        carry_out(world.book, trades, world.venue, sequence=sequence)
        sequence += len(trades)
    assert get_trades(world.plan()) == []


@settings(max_examples=200)
@given(worlds(statuses=(HedgeStatus.OPEN,)).filter(check_no_order_is_above_the_maximum))
def test_second_plan_sends_nothing_but_the_other_side_of_a_flip(world: World) -> None:
    first = get_trades(world.plan())
    closed = {trade.key for trade in first if isinstance(trade, CloseHedge)}

    carry_out(world.book, first, world.venue, sequence=1)

    for trade in get_trades(world.plan()):
        assert isinstance(trade, OpenHedge)
        assert trade.key in closed
