"""What would be if prices moved: held against the planner and the guards themselves, and without a trace."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.book import HedgeBook, TradingMode
from dehedge.core.decisions import Hold, Reason
from dehedge.core.guards import GuardInputs, GuardLimits, apply_guards, iterate_increases
from dehedge.core.hedging import plan
from dehedge.core.model import HedgeKey, Leg, Observation, Position
from dehedge.core.policy import VenueState, build_terms
from dehedge.core.portfolio import build_portfolio
from dehedge.core.risk import get_pnl
from dehedge.core.trigger import build_index, read_rows
from dehedge.core.usage import Usage
from dehedge.core.whatif import (
    Account,
    Holding,
    Margin,
    Outcome,
    Scene,
    foresee,
    move_prices,
    parse_moves,
    sum_traders_gain,
)  # fmt: skip
from dehedge.errors import QuestionInvalid
from tests.core.builders import (
    BTC,
    ETH,
    NOW,
    TOGETHER,
    a_book,
    a_hedge,
    a_policy,
    a_position,
    a_user,
    a_venue,
    an_observation,
    rules,
    scaled,
    usd,
)  # fmt: skip
from tests.core.test_trigger import usual_worlds

LONG, SHORT = a_position(), a_position(user=a_user(1), is_long=False)
SAFE = {BTC: 50_000, ETH: 3_000}
OTHER_ASSET = "0x0000000000000000000000000000000000000A55"


def a_scene(
    *positions: Position,
    moves: Mapping[str, int | str],
    book: HedgeBook | None = None,
    venue: VenueState | None = None,
    limits: GuardLimits | None = None,
    account: Account | None = None,
    observation: Observation | None = None,
    **policy: object,
) -> Scene:
    seen = observation or an_observation(positions=positions, prices=SAFE)
    rule = a_policy(**policy)
    index = build_index(read_rows(seen.snapshot.positions), build_terms(rule, seen.snapshot))
    inputs = GuardInputs(seen, book or a_book(), venue or a_venue(), Usage(), rule.leverage)
    percents = {market: Decimal(percent) for market, percent in moves.items()}
    portfolio = build_portfolio(seen.snapshot, rule) if rule.portfolio is not None else None
    return Scene(percents, inputs, limits or GuardLimits(), rule, index, account, portfolio)


def tell_held(outcome: Outcome) -> dict[HedgeKey, Reason]:
    return {hold.key: hold.reason for hold in outcome.held}


def an_account(available: int | str, *holdings: Holding) -> Account:
    return Account({"USDT": Decimal(available)}, holdings)


def test_moves_are_a_percentage_for_each_market() -> None:
    texts = ["BTC-USD:-10", "ETH-USD:+2.5%"]

    assert parse_moves(texts, [BTC, ETH]) == {BTC: Decimal(-10), ETH: Decimal("2.5")}
    assert parse_moves(["BTC-USD:-99.999999"], [BTC]) == {BTC: Decimal("-99.999999")}
    assert parse_moves(["BTC-USD:1000"], [BTC]) == {BTC: Decimal(1_000)}


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        ([], r"^nothing is moved: say a market and a percentage, such as \"BTC-USD -10%\"$"),
        (["BTC-USD"], "^'BTC-USD' is no move: say a market and a percentage"),
        (["BTC-USD:ten"], "^'BTC-USD:ten' is no move"),
        (["BTC-USD:-1e1"], "is no move"),
        (["BTC-USD:NaN"], "is no move"),
        (["BTC-USD:\u0661"], "is no move"),
        (["BTC-USD:-1\n"], "is no move"),
        ([":-1"], "is no move"),
        (["DOGE-USD:-10"], "^market 'DOGE-USD' is not known; known are: BTC-USD, ETH-USD$"),
        (["BTC-USD:-10", "BTC-USD:-11"], "^BTC-USD is moved twice: name each market once$"),
        (["BTC-USD:-100"], "^BTC-USD cannot move by -100 %: say more than -100 and at most 1000$"),
        (["BTC-USD:-100.000001"], "cannot move by"),
        (["BTC-USD:1000.000001"], "cannot move by"),
    ],
)
def test_moves_that_mean_nothing_are_told_in_one_line(texts: list[str], problem: str) -> None:
    with pytest.raises(QuestionInvalid, match=problem):
        parse_moves(texts, [BTC, ETH])


def test_prices_and_marks_move_by_the_same_factor_and_nothing_else_does() -> None:
    before = an_observation(prices=SAFE, marks={"BTCUSDT": "50010.5", "ETHUSDT": 3_000})
    after = move_prices(before, {BTC: Decimal("-10.5")}, [(BTC, "BTCUSDT"), (BTC, "GONE"), (ETH, "ETHUSDT")])

    assert after.prices[BTC] == before.prices[BTC]._replace(price=scaled(44_750))
    assert after.marks == {"BTCUSDT": Decimal("44759.3975"), "ETHUSDT": Decimal(3_000)}
    assert after.prices[ETH] == before.prices[ETH]
    assert (after.taken_at, after.snapshot) == (before.taken_at, before.snapshot)
    assert before.prices[BTC].price == scaled(50_000)


def test_price_stays_above_zero() -> None:
    before = an_observation(prices={BTC: 50_000})
    tiny = replace(before, prices={BTC: before.prices[BTC]._replace(price=1)})

    assert move_prices(tiny, {BTC: Decimal(-90)}, []).prices[BTC].price == 1


def test_position_that_trips_is_opened_with_its_margin_and_fee() -> None:
    outcome = foresee(a_scene(LONG, SHORT, moves={BTC: 20}, account=an_account(1_000)))

    (opening,) = outcome.opens
    assert (opening.trade.key, opening.trade.share.quantity) == (LONG.key, Decimal("0.2"))
    assert (opening.notional_usd, opening.margin_usd) == (Decimal(12_000), Decimal(606))
    assert outcome.margin == Margin(Decimal(606), Decimal(1_000), Decimal(0))
    assert (outcome.held, outcome.closes, outcome.cooling, outcome.liquidated) == ([], [], [], [])


@given(usual_worlds, st.integers(-60, 100), st.integers(-60, 100), st.sampled_from([None, Decimal(5_000)]))
def test_outcome_is_what_planner_and_guards_make_of_the_moved_world(world, btc: int, eth: int, limit) -> None:
    observation = an_observation(positions=world.positions, prices=SAFE)
    scene = a_scene(
        moves={BTC: btc, ETH: eth},
        observation=observation,
        limits=GuardLimits(total_notional_usd=limit),
        size_min=usd(50),
    )
    outcome = foresee(scene)

    moved = move_prices(observation, scene.moves, scene.policy.symbols.items())
    decisions = plan(moved, scene.inputs.book, scene.policy, scene.inputs.venue)
    guarded = apply_guards(decisions, replace(scene.inputs, observation=moved), scene.limits)
    held = {
        d.key: d.reason for d in guarded if isinstance(d, Hold) and d.assessment is not None and d.assessment.at_risk
    }
    assert {o.trade.key: o.trade for o in outcome.opens} == {d.key: d for d in iterate_increases(guarded)}
    assert tell_held(outcome) == held


def test_what_if_leaves_no_trace() -> None:
    usage, book = Usage(), a_book(a_hedge(position=LONG, placed_at=NOW - 30, is_cooling=True))
    usage.growth.add(NOW - 4_000, "BTCUSDT", Decimal(5))
    scene = a_scene(LONG, SHORT, moves={BTC: -20, ETH: 5}, book=book, account=an_account(0))
    scene = replace(scene, inputs=replace(scene.inputs, usage=usage))
    before = deepcopy((book, usage.growth.totals.copy(), scene.inputs.observation, scene.account, dict(scene.moves)))
    foresee(scene)

    after = (book, usage.growth.totals.copy(), scene.inputs.observation, scene.account, dict(scene.moves))
    assert after == before


def test_same_question_has_the_same_answer() -> None:
    scene = a_scene(LONG, SHORT, moves={BTC: 20}, account=an_account(1_000))

    assert foresee(scene) == foresee(scene)


def test_guard_that_would_hold_is_told() -> None:
    outcome = foresee(a_scene(LONG, moves={BTC: 20}, limits=GuardLimits(total_notional_usd=Decimal(10))))

    assert tell_held(outcome) == {LONG.key: Reason.TOTAL_NOTIONAL_LIMIT}
    assert (outcome.opens, outcome.margin.needed_usd) == ([], 0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size_min": usd(20_000)}, Reason.BELOW_MIN_COLLATERAL),
        ({"symbols": {ETH: "ETHUSDT"}}, Reason.UNSUPPORTED_MARKET),
        ({"venue": a_venue(blocked={"BTCUSDT": "differs"})}, Reason.SYMBOL_BLOCKED),
        ({"venue": a_venue(known=[rules(notional_min=50_000), rules(symbol="ETHUSDT")])}, Reason.TOO_SMALL),
        ({"book": a_book(mode=TradingMode.HALTED)}, Reason.TRADING_PAUSED),
        ({"book": a_book(mode=TradingMode.NO_OPENS)}, Reason.TRADING_PAUSED),
        ({"observation": an_observation(positions=[LONG], prices=SAFE, price_age_s=11)}, Reason.STALE_PRICE),
    ],
)
def test_what_would_be_refused_is_told_with_its_reason(changes, reason: Reason) -> None:
    outcome = foresee(a_scene(LONG, **{"moves": {BTC: 20}, **changes}))

    assert tell_held(outcome) == {LONG.key: reason}
    assert outcome.opens == []


def test_position_that_stays_safe_is_not_told_although_nothing_is_judged() -> None:
    """The index names what it cannot order at every price, and a halt decides it without a look."""
    huge = a_position(size=1, entry_price=2**1000)
    halted = a_scene(LONG, huge._replace(user=a_user(3)), moves={BTC: 1}, book=a_book(mode=TradingMode.HALTED))

    assert foresee(halted).held == []


def test_hedge_that_is_held_is_not_told_unless_a_guard_holds_its_growth() -> None:
    book = a_book(a_hedge(position=LONG, quantity="0.1", target="0.2"), mode=TradingMode.HALTED)
    assert foresee(a_scene(LONG, moves={BTC: 20}, book=book)).held == []

    growing = a_book(a_hedge(position=LONG, quantity="0.1", target="0.2"))
    limits = GuardLimits(total_notional_usd=Decimal(6_000))
    assert tell_held(foresee(a_scene(LONG, moves={BTC: 20}, book=growing, limits=limits))) == {
        LONG.key: Reason.TOTAL_NOTIONAL_LIMIT
    }


def test_position_without_a_hedge_whose_order_is_in_flight_is_not_refused() -> None:
    outcome = foresee(a_scene(LONG, moves={BTC: 20}, venue=a_venue(busy=[LONG.key])))

    assert (outcome.held, outcome.opens) == ([], [])


def test_margin_goes_to_those_that_cost_the_vault_most_and_the_rest_is_refused() -> None:
    large, small = a_position(size=usd(20_000)), a_position(user=a_user(1), size=usd(10_000))
    outcome = foresee(a_scene(small, large, moves={BTC: 20}, account=an_account(1_300)))

    assert [opening.trade.key for opening in outcome.opens] == [large.key]
    assert tell_held(outcome) == {small.key: Reason.MARGIN_EXHAUSTED}
    assert outcome.margin == Margin(Decimal(1_818), Decimal(1_300), Decimal(518))


def test_margin_that_is_just_enough_is_enough() -> None:
    assert len(foresee(a_scene(LONG, moves={BTC: 20}, account=an_account(606))).opens) == 1
    assert foresee(a_scene(LONG, moves={BTC: 20}, account=an_account("605.99"))).opens == []


def test_margin_of_another_asset_does_not_help() -> None:
    known = [rules(), replace(rules(symbol="ETHUSDT"), margin_asset="USDC")]
    account = Account({"USDC": Decimal(900), "BNB": Decimal(5)}, ())
    outcome = foresee(a_scene(LONG, moves={BTC: 20}, venue=a_venue(known=known), account=account))

    assert outcome.margin == Margin(Decimal(606), Decimal(900), Decimal(606))


def test_margin_is_told_as_unknown_when_the_account_is() -> None:
    outcome = foresee(a_scene(LONG, moves={BTC: 20}))

    assert outcome.margin == Margin(Decimal(606), None, None)
    assert len(outcome.opens) == 1


def test_hedges_are_closed_or_cool_down_where_the_risk_goes() -> None:
    gone, fresh = a_position(user=a_user(7)), a_hedge(position=LONG)
    book = a_book(fresh, a_hedge(position=gone))
    outcome = foresee(a_scene(LONG, moves={BTC: -5}, book=book))

    assert [close.key for close in outcome.closes] == [gone.key]
    assert outcome.cooling == [LONG.key]


def a_holding(quantity: int | str, price: int | None, symbol: str = "BTCUSDT") -> Holding:
    return Holding(symbol, Leg.BOTH, Decimal(quantity), Decimal(price) if price is not None else None)


@pytest.mark.parametrize(
    ("holding", "percent", "is_liquidated"),
    [
        (a_holding(1, 47_500), -5, True),
        (a_holding(1, 47_499), -5, False),
        (a_holding(-1, 52_500), 5, True),
        (a_holding(-1, 52_501), 5, False),
        (a_holding(1, None), -99, False),
        (a_holding(1, 0), -99, False),
        (a_holding(0, 49_000), -5, False),
        (a_holding(1, 49_000, "DOGEUSDT"), -5, False),
    ],
)
def test_position_is_liquidated_when_the_moved_mark_reaches_its_price(
    holding: Holding, percent: int, is_liquidated: bool
) -> None:
    outcome = foresee(a_scene(moves={BTC: percent}, account=an_account(0, holding)))

    assert [found.holding for found in outcome.liquidated] == [holding] * is_liquidated
    assert all(found.mark == Decimal(50_000) * (100 + percent) / 100 for found in outcome.liquidated)


def test_shield_pays_before_the_vault_and_hedges_earn() -> None:
    losses = foresee(a_scene(LONG, moves={BTC: 20}, book=a_book(a_hedge(position=LONG)))).losses

    assert (losses.vault, losses.traders_gain, losses.after_unhedged) == (usd(1_000_000), usd(2_000), usd(999_000))
    assert losses.hedges_gain == usd(2_000)
    assert foresee(a_scene(LONG, moves={BTC: 5})).losses.after_unhedged == usd(1_000_000)


def test_hedge_in_a_market_that_is_not_configured_any_more_moves_as_well() -> None:
    observation = an_observation(prices=SAFE, marks={"BTCUSDT": 50_000, "ETHUSDT": 3_000})
    scene = a_scene(
        observation=observation, moves={BTC: 10}, book=a_book(a_hedge(position=LONG)), symbols={ETH: "ETHUSDT"}
    )

    assert foresee(scene).losses.hedges_gain == usd(1_000)
    unmarked = replace(observation, marks={})
    assert foresee(replace(scene, inputs=replace(scene.inputs, observation=unmarked))).losses.hedges_gain == 0


def test_loss_of_a_trader_ends_with_the_collateral() -> None:
    losses = foresee(a_scene(LONG, moves={BTC: -50})).losses

    assert (losses.traders_gain, losses.after_unhedged) == (-usd(1_000), losses.vault)


def test_traders_of_another_asset_and_without_an_entry_price_gain_nothing() -> None:
    book = {p.key: p for p in (a_position(asset=OTHER_ASSET), a_position(user=a_user(2), entry_price=0))}
    terms, columns = build_terms(a_policy()), read_rows(book).get_columns()

    assert sum_traders_gain(columns, terms, {BTC: (scaled(1), scaled(2))}) == 0
    assert sum_traders_gain(read_rows({}).get_columns(), terms, {BTC: (1, 2)}) == 0


@given(usual_worlds, st.integers(scaled(20_000), scaled(90_000)), st.integers(scaled(20_000), scaled(90_000)))
def test_traders_gain_is_exact_to_the_cent(world, before: int, after: int) -> None:
    def value(position: Position, price: int) -> Fraction:
        pnl, scale = get_pnl(position, price, world.get_tracer(position), world.terms.factors.bps)
        return max(Fraction(pnl, scale), Fraction(-position.collateral))

    gain = sum_traders_gain(world.rows.get_columns(), world.terms, {BTC: (before, after)})
    exact = sum((value(p, after) - value(p, before) for p in world.positions if p.market == BTC), Fraction(0))
    assert abs(gain - exact) <= 10_000


def test_positions_that_are_judged_together_are_foreseen_so() -> None:
    """Neither is at risk by itself at 52,500, and both together win the shield."""
    both = [a_position(user=a_user(1)), a_position(user=a_user(2))]
    alone, together = (foresee(a_scene(*both, moves={BTC: 5}, portfolio=terms)) for terms in (None, TOGETHER))

    assert [opening.trade.key for opening in alone.opens] == []
    assert {opening.trade.key: opening.trade.share.quantity for opening in together.opens} == {
        one.key: Decimal("0.2") for one in both
    }
    assert foresee(a_scene(*both, moves={BTC: 1}, portfolio=TOGETHER)).opens == []


def test_what_is_due_together_and_gets_no_hedge_is_told() -> None:
    one = a_position()
    outcome = foresee(a_scene(one, moves={BTC: 12}, portfolio=TOGETHER, venue=a_venue(exhausted=["BTCUSDT"])))
    calm = foresee(a_scene(one, moves={BTC: 1}, portfolio=TOGETHER, venue=a_venue(exhausted=["BTCUSDT"])))

    assert tell_held(outcome) == {one.key: Reason.MARGIN_EXHAUSTED}
    assert tell_held(calm) == {}
