"""The decision table, cell by cell; every reason; the kill switch; and that a pass carried out leaves nothing to do."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from dehedge.core.book import HedgeBook, HedgedPosition, HedgeStatus, TradingMode
from dehedge.core.decisions import CloseHedge, Hold, OpenHedge, Reason, RefreshHedge, ResizeHedge
from dehedge.core.freshness import Basis, build_basis, check_price_fresh
from dehedge.core.guard_report import GUARDS
from dehedge.core.hedging import check_mode_allows, explain_quiet, find_judged_markets, plan, plan_flattening
from dehedge.core.model import HedgeKey, Observation
from dehedge.core.orders import Action
from dehedge.core.policy import HedgingPolicy, VenueState
from tests.core.builders import (
    BTC,
    NOW,
    RISKY,
    SAFE,
    TOGETHER,
    a_book,
    a_hedge,
    a_market,
    a_policy,
    a_position,
    a_snapshot,
    a_user,
    a_venue,
    an_observation,
    rules,
    scaled,
    usd,
)
from tests.core.worlds import (
    KEY,
    OLD,
    POSITION,
    at_risk,
    decide,
    flipped,
    gone,
    gone_and_stale,
    lacked_first,
    lacked_once,
    name,
    no_price,
    safe,
    stale_price,
    stale_snapshot,
    together,
)

MODES = tuple(TradingMode)
WORLDS = {
    "at risk": at_risk, "safe": safe, "stale price": stale_price, "no price": no_price,
    "stale snapshot": stale_snapshot, "gone": gone, "gone, stale snapshot": gone_and_stale,
    "lacked once": lacked_once, "lacked first": lacked_first,
}  # fmt: skip


IN_FLIGHT = (Hold, Reason.IN_FLIGHT)
STALE_PRICE = (Hold, Reason.STALE_PRICE)
STALE_SNAPSHOT = (Hold, Reason.STALE_SNAPSHOT)
KEEP = (RefreshHedge, Reason.AT_RISK)
GONE = (CloseHedge, Reason.POSITION_CLOSED)
DOUBTED = (Hold, Reason.GONE_UNCONFIRMED)

IN_FLIGHT_ROWS = ("opening", "adjusting", "closing", "closing, young")
ROWS: dict[str, tuple[HedgedPosition | None, tuple[Any, ...]]] = {
    "absent": (
        None,
        ((OpenHedge, Reason.AT_RISK), (Hold, Reason.NOT_AT_RISK), STALE_PRICE, STALE_PRICE, STALE_SNAPSHOT, None, None,
         None, None),
    ),
    "opening": (a_hedge(quantity=0, target="0.2", status=HedgeStatus.OPENING), (IN_FLIGHT,) * len(WORLDS)),
    "adjusting": (a_hedge(status=HedgeStatus.ADJUSTING, placed_at=OLD), (IN_FLIGHT,) * len(WORLDS)),
    "closing": (a_hedge(status=HedgeStatus.CLOSING, placed_at=OLD), (IN_FLIGHT,) * len(WORLDS)),
    "closing, young": (a_hedge(status=HedgeStatus.CLOSING), (IN_FLIGHT,) * len(WORLDS)),
    "open, young": (
        a_hedge(placed_at=OLD + 0.01),
        (KEEP, (Hold, Reason.COOLING_DOWN), STALE_PRICE, STALE_PRICE, STALE_SNAPSHOT, GONE, STALE_SNAPSHOT,
         DOUBTED, DOUBTED),
    ),
    "open, expired": (
        a_hedge(placed_at=OLD),
        (KEEP, (CloseHedge, Reason.EXPIRED), STALE_PRICE, STALE_PRICE, STALE_SNAPSHOT, GONE, STALE_SNAPSHOT,
         DOUBTED, DOUBTED),
    ),
}  # fmt: skip


CELLS = [pytest.param(row, world) for row in ROWS for world in WORLDS]


@pytest.mark.parametrize(("row", "world"), CELLS)
def test_decision_table_cell(row: str, world: str) -> None:
    hedge, cells = ROWS[row]
    book = a_book() if hedge is None else a_book(hedge)

    assert name(decide(WORLDS[world], book)) == dict(zip(WORLDS, cells, strict=True))[world]


UNDER_WAY = [(status, busy) for status in HedgeStatus for busy in (True, False) if (status, busy) != ("OPEN", False)]


@pytest.mark.parametrize(("status", "busy"), UNDER_WAY)
@pytest.mark.parametrize("is_flattening", [True, False])
def test_nothing_is_sent_for_a_key_that_has_an_order_under_way(
    status: HedgeStatus, busy: bool, is_flattening: bool
) -> None:
    resized = [
        an_observation(positions=[POSITION._replace(size=usd(size))], prices={BTC: RISKY}) for size in (9_000, 90_000)
    ]
    for world in (*WORLDS.values(), *resized, flipped):
        book = a_book(a_hedge(status=status, placed_at=OLD), is_flattening=is_flattening)

        assert isinstance(decide(world, book, venue=a_venue(busy=[KEY] if busy else ())), Hold | RefreshHedge)


MARKET_GONE = a_policy(symbols={"ETH-USD": "ETHUSDT"})
REASONS: dict[str, tuple[Reason, Observation, HedgeBook, HedgingPolicy, VenueState]] = {
    "opens": (Reason.AT_RISK, at_risk, a_book(), a_policy(), a_venue()),
    "refreshes": (Reason.AT_RISK, at_risk, a_book(a_hedge()), a_policy(), a_venue()),
    "follows the size": (Reason.SIZE_CHANGED, at_risk, a_book(a_hedge(quantity="0.1", size=5)), a_policy(), a_venue()),
    "completes": (Reason.INCOMPLETE, at_risk, a_book(a_hedge(quantity="0.1", target="0.2")), a_policy(), a_venue()),
    "is safe": (Reason.NOT_AT_RISK, safe, a_book(), a_policy(), a_venue()),
    "cools": (Reason.COOLING_DOWN, safe, a_book(a_hedge()), a_policy(), a_venue()),
    "expires": (Reason.EXPIRED, safe, a_book(a_hedge(placed_at=OLD)), a_policy(), a_venue()),
    "goes": (Reason.POSITION_CLOSED, gone, a_book(a_hedge()), a_policy(), a_venue()),
    "is lacked once": (Reason.GONE_UNCONFIRMED, lacked_once, a_book(a_hedge()), a_policy(), a_venue()),
    "flips": (Reason.SIDE_CHANGED, flipped, a_book(a_hedge()), a_policy(), a_venue()),
    "flattens": (Reason.FLATTENED, at_risk, a_book(a_hedge(), is_flattening=True), a_policy(), a_venue()),
    "is in flight": (
        Reason.IN_FLIGHT, at_risk, a_book(a_hedge(status=HedgeStatus.ADJUSTING)), a_policy(), a_venue(),
    ),
    "was just written down": (Reason.IN_FLIGHT, at_risk, a_book(), a_policy(), a_venue(busy=[KEY])),
    "is blind to the chain": (Reason.STALE_SNAPSHOT, stale_snapshot, a_book(), a_policy(), a_venue()),
    "is blind to the price": (Reason.STALE_PRICE, stale_price, a_book(), a_policy(), a_venue()),
    "has no mark": (Reason.NO_MARK_PRICE, replace(at_risk, marks={}), a_book(), a_policy(), a_venue()),
    "is in another asset": (Reason.OTHER_ASSET, at_risk, a_book(), a_policy(asset="0xother"), a_venue()),
    "is in an asset of a lesser name": (Reason.OTHER_ASSET, at_risk, a_book(), a_policy(asset="0x0"), a_venue()),
    "has no symbol": (Reason.UNSUPPORTED_MARKET, at_risk, a_book(), MARKET_GONE, a_venue()),
    "is blocked": (Reason.SYMBOL_BLOCKED, at_risk, a_book(), a_policy(), a_venue(blocked={"BTCUSDT": "margin type"})),
    "is not listed": (Reason.SYMBOL_BLOCKED, at_risk, a_book(), a_policy(), a_venue(known=[])),
    "is not traded": (
        Reason.SYMBOL_BLOCKED, at_risk, a_book(), a_policy(), a_venue(known=[rules(is_trading=False)]),
    ),
    "is below the minimum collateral": (
        Reason.BELOW_MIN_COLLATERAL, at_risk, a_book(), a_policy(size_min=usd(10_000) + 1), a_venue(),
    ),
    "is too small to open": (
        Reason.TOO_SMALL, at_risk, a_book(), a_policy(), a_venue(known=[rules(step="0.5")]),
    ),
    "became too small": (
        Reason.TOO_SMALL, at_risk, a_book(a_hedge(quantity=1, size=5)), a_policy(), a_venue(known=[rules(step="0.5")]),
    ),
    "was refused an open": (Reason.BACKING_OFF, at_risk, a_book(), a_policy(), a_venue(waiting_to_grow=[KEY])),
    "was refused a close": (Reason.BACKING_OFF, gone, a_book(a_hedge()), a_policy(), a_venue(waiting_to_reduce=[KEY])),
    "was refused the close of what expired": (
        Reason.BACKING_OFF, safe, a_book(a_hedge(placed_at=OLD)), a_policy(), a_venue(waiting_to_reduce=[KEY]),
    ),
    "expired and is being held against the account": (
        Reason.IN_FLIGHT, safe, a_book(a_hedge(placed_at=OLD)), a_policy(), a_venue(busy=[KEY]),
    ),
    "expired and is less than a step": (
        Reason.TOO_SMALL, safe, a_book(a_hedge(placed_at=OLD)), a_policy(), a_venue(known=[rules(step="0.5")]),
    ),
    "finds no margin": (
        Reason.MARGIN_EXHAUSTED, at_risk, a_book(), a_policy(), a_venue(exhausted=["BTCUSDT"]),
    ),
    "is hedged with the others": (
        Reason.PORTFOLIO_AT_RISK, together({KEY: "0.1"}), a_book(), a_policy(portfolio=TOGETHER), a_venue(),
    ),
    "is let go with the others": (
        Reason.PORTFOLIO_SAFE, together({KEY: "0"}), a_book(a_hedge()), a_policy(portfolio=TOGETHER), a_venue(),
    ),
    "is paused": (Reason.TRADING_PAUSED, at_risk, a_book(mode=TradingMode.NO_OPENS), a_policy(), a_venue()),
}  # fmt: skip


@pytest.mark.parametrize("case", REASONS)
def test_reason_when_the_position(case: str) -> None:
    reason, observation, book, policy, venue = REASONS[case]
    decision = decide(observation, book, policy=policy, venue=venue)

    assert decision is not None
    assert (decision.key, decision.reason) == (KEY, reason)
    is_readable = any(observation.snapshot is world.snapshot for world in (at_risk, safe)) or observation.stance is not None
    is_judged = is_readable and reason not in {Reason.OTHER_ASSET, Reason.UNSUPPORTED_MARKET, Reason.FLATTENED}
    assert (decision.assessment is not None) is is_judged


Part = tuple[dict[HedgeKey, str] | None, HedgedPosition | None, type, str | None]
PARTS: dict[str, Part] = {
    "nothing is said, nothing held": (None, None, Hold, None),
    "not named, nothing held": ({}, None, Hold, None),
    "nothing is wanted, nothing held": ({KEY: "0"}, None, Hold, None),
    "a part is wanted": ({KEY: "0.1"}, None, OpenHedge, "0.1"),
    "nothing is said, held": (None, a_hedge(quantity="0.1"), RefreshHedge, None),
    "not named, held": ({}, a_hedge(quantity="0.1"), RefreshHedge, None),
    "held as wanted": ({KEY: "0.1"}, a_hedge(quantity="0.1"), RefreshHedge, None),
    "more is wanted": ({KEY: "0.2"}, a_hedge(quantity="0.1"), ResizeHedge, "0.1"),
    "less is wanted": ({KEY: "0.05"}, a_hedge(quantity="0.1"), ResizeHedge, "0.05"),
    "nothing is wanted, held": ({KEY: "0"}, a_hedge(quantity="0.1"), CloseHedge, "0.1"),
    "filled in part": (None, a_hedge(quantity="0.1", target="0.15"), ResizeHedge, "0.05"),
    "the trader adds": (None, a_hedge(quantity="0.1", size=usd(5_000)), RefreshHedge, None),
    "the trader takes": (None, a_hedge(quantity="0.3", size=usd(20_000)), ResizeHedge, "0.1"),
    "a close was refused": (None, a_hedge(quantity="0.1", target="0"), RefreshHedge, None),
    "in flight": ({KEY: "0"}, a_hedge(quantity="0", target="0.1", status=HedgeStatus.OPENING), Hold, None),
}  # fmt: skip


@pytest.mark.parametrize("case", PARTS)
def test_position_takes_its_part_when(case: str) -> None:
    targets, hedge, kind, quantity = PARTS[case]
    book = a_book(hedge) if hedge is not None else a_book()
    decision = decide(together(targets), book, policy=a_policy(portfolio=TOGETHER))

    assert type(decision) is kind
    if isinstance(decision, OpenHedge | ResizeHedge | CloseHedge):
        assert decision.share.quantity == Decimal(quantity or 0)


def test_position_that_is_risky_by_itself_waits_for_what_all_risk_together() -> None:
    decision = decide(at_risk, a_book(), policy=a_policy(portfolio=TOGETHER))

    assert decision is not None
    assert (type(decision), decision.reason) == (Hold, Reason.NOT_AT_RISK)


def test_hedge_of_all_is_journaled_with_its_reason() -> None:
    world = replace(at_risk, stance=together({KEY: "0.1"}).stance)
    decision = decide(world, a_book(), policy=a_policy(portfolio=TOGETHER))

    assert isinstance(decision, OpenHedge)
    assert decision.share.reason == "portfolio_at_risk"


def test_every_reason_can_be_given() -> None:
    assert {reason for reason, *_ in REASONS.values()} == set(Reason) - GUARDS.keys()


GROWN, SHRUNK = POSITION._replace(size=usd(20_000)), POSITION._replace(size=usd(5_000))
SWITCH: dict[str, tuple[Observation, HedgedPosition | None, tuple[type, ...]]] = {
    # Under:                                              ACTIVE, NO_OPENS, REDUCE_ONLY, HALTED
    "open": (at_risk, None, (OpenHedge, Hold, Hold, Hold)),
    "grow": (
        an_observation(positions=[GROWN], prices={BTC: RISKY}), a_hedge(),
        (ResizeHedge, ResizeHedge, RefreshHedge, Hold),
    ),
    "complete": (at_risk, a_hedge(quantity="0.1", target="0.2"), (ResizeHedge, ResizeHedge, RefreshHedge, Hold)),
    "shrink": (
        an_observation(positions=[SHRUNK], prices={BTC: RISKY}), a_hedge(),
        (ResizeHedge, ResizeHedge, ResizeHedge, Hold),
    ),
    "refresh": (at_risk, a_hedge(), (RefreshHedge, RefreshHedge, RefreshHedge, Hold)),
    "expire": (safe, a_hedge(placed_at=OLD), (CloseHedge, CloseHedge, CloseHedge, Hold)),
    "vanish": (gone, a_hedge(), (CloseHedge, CloseHedge, CloseHedge, Hold)),
    "vanish once": (lacked_once, a_hedge(), (Hold, Hold, Hold, Hold)),
    "flip": (flipped, a_hedge(), (CloseHedge, CloseHedge, CloseHedge, Hold)),
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", SWITCH)
def test_kill_switch_allows(case: str, mode: TradingMode) -> None:
    observation, hedge, allowed = SWITCH[case]
    book = a_book(*([hedge] if hedge else []), mode=mode)

    decision = decide(observation, book)

    assert type(decision) is allowed[MODES.index(mode)]
    if mode is TradingMode.HALTED:
        assert decision.reason is Reason.TRADING_PAUSED


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_flattening", [True, False])
def test_mode_allows_an_order_by_what_it_does(mode: TradingMode, is_flattening: bool) -> None:
    book = a_book(mode=mode, is_flattening=is_flattening)
    level = MODES.index(mode)

    assert check_mode_allows(book, Action.REDUCE, is_open=False) is (level < 3)
    assert check_mode_allows(book, Action.INCREASE, is_open=False) is (level < 2 and not is_flattening)
    assert check_mode_allows(book, Action.INCREASE, is_open=True) is (level < 1 and not is_flattening)


@pytest.mark.parametrize("mode", [TradingMode.ACTIVE, TradingMode.NO_OPENS, TradingMode.REDUCE_ONLY])
@pytest.mark.parametrize("observation", [at_risk, safe, stale_price, no_price, flipped, gone, lacked_once])
def test_flattening_closes_every_hedge_whatever_its_risk(observation: Observation, mode: TradingMode) -> None:
    decision = decide(observation, a_book(a_hedge(), mode=mode, is_flattening=True))

    assert isinstance(decision, CloseHedge)
    assert decision.share.quantity == Decimal("0.2")


@pytest.mark.parametrize("mode", MODES)
def test_flattening_opens_nothing(mode: TradingMode) -> None:
    assert name(decide(at_risk, a_book(mode=mode, is_flattening=True))) == (Hold, Reason.TRADING_PAUSED)


def test_flattening_needs_no_fresh_snapshot() -> None:
    # It is a person's order, and asks nothing of the chain.
    book = a_book(a_hedge(), mode=TradingMode.NO_OPENS, is_flattening=True)

    assert isinstance(decide(stale_snapshot, book), CloseHedge)


@pytest.mark.parametrize("observation", [at_risk, safe])
def test_decision_carries_the_figures_it_was_made_from(observation: Observation) -> None:
    decision = decide(observation, a_book())

    assert decision is not None
    assert decision.assessment is not None
    assert decision.assessment.at_risk is (observation is at_risk)


def test_risk_counts_the_funding_of_the_positions_asset_and_market() -> None:
    funding = {
        (POSITION.asset, BTC): -scaled(1_000),
        (POSITION.asset, "ETH-USD"): scaled(9),
        ("0xother", BTC): scaled(9),
    }
    snapshot = a_snapshot(positions=[POSITION], funding=funding, shield=usd(1_000))

    decision = decide(an_observation(snapshot=snapshot, prices={BTC: SAFE}), a_book())

    assert isinstance(decision, OpenHedge)
    assert decision.assessment is not None
    assert decision.assessment.pnl == usd(1_000)


@pytest.mark.parametrize(
    ("age_s", "own_limit_s", "expected"),
    [
        (10, 0, True),
        (11, 0, False),
        (5, 5, True),
        (6, 5, False),
        (10, 60, True),
        (11, 60, False),
        (0, 1, True),
        (1, 1, True),
        (2, 1, False),
        (-5, 0, True),
        (-5, 1, True),
        (-6, 0, False),
    ],
)
def test_price_is_fresh_by_its_publish_time_and_the_tighter_limit(age_s: int, own_limit_s: int, expected: bool) -> None:
    snapshot = a_snapshot(positions=[POSITION], markets={BTC: a_market(feed_max_age_s=own_limit_s)})
    observation = an_observation(snapshot=snapshot, price_age_s=age_s)

    assert check_price_fresh(observation, a_policy(), BTC) is expected


def test_price_of_a_market_without_details_counts_by_our_limit() -> None:
    observation = an_observation(snapshot=a_snapshot(markets={}), price_age_s=10)

    assert check_price_fresh(observation, a_policy(), BTC)
    assert not check_price_fresh(observation, a_policy(), "SOL-USD")


@pytest.mark.parametrize(("age_s", "kind"), [(-5, OpenHedge), (30, OpenHedge), (31, Hold)])
def test_snapshot_is_fresh_to_the_second(age_s: int, kind: type) -> None:
    snapshot = a_snapshot(positions=[POSITION], block_time=int(NOW) - age_s)

    assert type(decide(replace(at_risk, snapshot=snapshot), a_book())) is kind


@pytest.mark.parametrize(
    ("block_age_s", "price_age_s", "own_limit_s", "left_s"),
    [(0, 0, 0, 10), (25, 0, 0, 5), (0, 7, 0, 3), (0, 0, 4, 4), (0, 0, 60, 10), (31, 0, 0, -1)],
)
def test_inputs_are_fresh_until_the_first_of_them_is_too_old(
    block_age_s: int, price_age_s: int, own_limit_s: int, left_s: int
) -> None:
    snapshot = a_snapshot(block_time=int(NOW) - block_age_s, markets={BTC: a_market(feed_max_age_s=own_limit_s)})
    observation = an_observation(snapshot=snapshot, prices={BTC: RISKY}, price_age_s=price_age_s)

    basis = build_basis(observation, a_policy())

    assert basis.block_number == snapshot.block_number
    assert basis.get_fresh_until(BTC) == NOW + left_s
    assert basis.get_fresh_until("ETH-USD") == 0


def test_nothing_may_be_added_before_there_was_an_observation() -> None:
    assert (Basis().block_number, Basis().get_fresh_until(BTC)) == (0, 0.0)


def test_exchange_refuses_and_limits_nothing_unless_told() -> None:
    nobody: frozenset[str] = frozenset()

    assert VenueState({}) == VenueState({}, {}, nobody, nobody, nobody, nobody, {})


@pytest.mark.parametrize("wait_s", [9, 10, 10.5, 30])
def test_planner_and_basis_agree_on_when_inputs_are_too_old(wait_s: float) -> None:
    later = replace(an_observation(positions=[POSITION], prices={BTC: RISKY}, price_age_s=0), taken_at=NOW + wait_s)

    opens = isinstance(decide(later, a_book()), OpenHedge)

    assert opens is (later.taken_at <= build_basis(later, a_policy()).get_fresh_until(BTC))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_flattening", [False, True])
@pytest.mark.parametrize("world", [safe, stale_price, no_price, stale_snapshot])
@pytest.mark.parametrize("change", [{}, {"symbols": {}}, {"asset": "0x" + "11" * 20}])
def test_quiet_position_is_explained_as_it_is_decided(
    world: Observation, mode: TradingMode, is_flattening: bool, change: dict[str, Any]
) -> None:
    book, policy = a_book(mode=mode, is_flattening=is_flattening), a_policy(**change)

    decision = decide(world, book, policy=policy)

    assert isinstance(decision, Hold)
    assert explain_quiet(world, book, policy, (POSITION.asset, POSITION.market)) is decision.reason


@pytest.mark.parametrize(
    ("world", "book", "expected"),
    [
        (safe, a_book(), [BTC]),
        (at_risk, a_book(mode=TradingMode.REDUCE_ONLY), [BTC]),
        (no_price, a_book(), []),
        (stale_price, a_book(), []),
        (stale_snapshot, a_book(), []),
        (safe, a_book(mode=TradingMode.HALTED), []),
        (safe, a_book(is_flattening=True), []),
    ],
)
def test_market_is_judged_when_its_positions_are_held_against_its_price(
    world: Observation, book: HedgeBook, expected: list[str]
) -> None:
    assert find_judged_markets(world, book, a_policy()) == expected


def test_keys_that_are_named_are_decided_and_no_others() -> None:
    other = a_position(user=a_user(2))
    world = an_observation(positions=[POSITION, other], prices={BTC: RISKY})

    decisions = plan(world, a_book(a_hedge()), a_policy(), a_venue(), [other.key])

    assert [(type(decision), decision.key) for decision in decisions] == [(OpenHedge, other.key)]


def test_key_that_is_gone_before_it_was_hedged_needs_nothing() -> None:
    assert plan(gone, a_book(), a_policy(), a_venue(), [KEY]) == [Hold(KEY, Reason.NOT_AT_RISK)]


def test_held_key_is_closed_and_a_bare_one_left_when_everything_is_flattened() -> None:
    other = a_position(user=a_user(2))
    world = an_observation(positions=[POSITION, other], prices={BTC: RISKY})

    decisions = plan(world, a_book(a_hedge(), is_flattening=True), a_policy(), a_venue())

    assert [(decision.key, *name(decision)) for decision in decisions] == [
        (KEY, CloseHedge, Reason.FLATTENED), (other.key, Hold, Reason.TRADING_PAUSED),
    ]  # fmt: skip


def test_everything_is_closed_without_chain_and_prices_when_that_is_said() -> None:
    (decision,) = plan_flattening(a_book(a_hedge(), is_flattening=True), a_venue())

    assert (decision.key, *name(decision)) == (KEY, CloseHedge, Reason.FLATTENED)
