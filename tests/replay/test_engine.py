"""Laws of a replay: what is looked past is never missed, money adds up, and the decisions are the daemon's own."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dehedge.core.model import Side
from dehedge.replay.engine import Replay, run_policy, run_story
from dehedge.replay.model import Costs, Figures, History, Policy
from dehedge.replay.story import build_story
from tests.core.builders import TOGETHER
from tests.replay.builders import (
    BTC,
    FREE,
    START_S,
    a_history,
    a_trader,
    choose,
    make_bars,
    make_costs,
    make_history,
)

seeds = st.integers(0, 10**6)
EARLY = "delta:vault_factor=1.0002:vault_profit_limit_factor=1.0001"
"""At risk as soon as the shield lacks less than 200 of the 1,000,000 USD in the vault."""
rules = st.sampled_from(["delta", "notional", "delta:expiry=300", EARLY])
RISE = make_bars(BTC, [(60_000, 60_000, 60_000, 60_000)] * 2 + [(60_000, 61_200, 60_000, 61_200)] * 3)
FALL_BACK = make_bars(
    BTC, [(60_000, 61_200, 60_000, 61_200), (61_200, 61_200, 60_000, 60_000), *[(60_000.0, 60_000.0, 60_000.0, 60_000.0)] * 8]
)  # fmt: skip


def limit(policy: Policy, seed: int) -> Policy:
    """One in three with limits of the operator's that hold."""
    if seed % 3:
        return policy
    return replace(policy, limits=replace(policy.limits, total_notional_usd=Decimal(20_000), opens_per_hour=3))


@given(seeds, rules)
@settings(max_examples=40, deadline=None)
def test_screen_misses_nothing_that_looking_at_everything_finds(seed: int, name: str) -> None:
    history, costs = make_history(seed), make_costs(seed)
    story, policy = build_story(history), limit(choose(name), seed)

    screened = Replay(story, history, costs, policy).run(lambda _: None)
    assert screened == Replay(story, history, costs, policy, is_screened=False).run(lambda _: None)


@given(seeds)
@settings(max_examples=12, deadline=None)
def test_bars_that_are_looked_past_decide_nothing_for_all_together(seed: int) -> None:
    """Half of the markets are quick enough for the gate now and then."""
    history, costs = make_history(seed), make_costs(seed)
    story, delta = build_story(history), choose("delta")
    assert delta.hedging is not None
    terms = replace(TOGETHER, gate=Fraction(seed % 4, 1_000))
    policy = limit(replace(delta, hedging=replace(delta.hedging, portfolio=terms)), seed)

    screened = Replay(story, history, costs, policy).run(lambda _: None)
    assert screened == Replay(story, history, costs, policy, is_screened=False).run(lambda _: None)


def test_minute_that_lies_in_two_bars_is_as_wide_as_both() -> None:
    """Bars from half past to half past: each falls by 0.4 %, and the minute of the clock between them by 0.8 %."""
    rows = [(60_000.0, 60_000.0, 60_000.0, 60_000.0)] * 2 + [(60_000.0, 60_000.0, 59_760.0, 59_760.0)]
    bars = make_bars(BTC, [*rows, (59_760.0, 59_760.0, 59_520.0, 59_520.0)])
    history = a_history([bars._replace(start_s=bars.start_s + 30)], [a_trader(n, is_long=False) for n in (1, 2)], shield_usd=1)
    delta, story = choose("delta"), build_story(history)
    assert delta.hedging is not None
    policy = replace(delta, hedging=replace(delta.hedging, portfolio=replace(TOGETHER, gate=Fraction(6, 1_000))))
    screened, plain = (
        Replay(story, history, FREE, policy, is_screened=is_screened).run(lambda _: None) for is_screened in (True, False)
    )

    assert plain.trades
    assert screened == plain


def test_bars_in_which_all_together_are_safe_are_looked_past() -> None:
    """A crash in the middle of a quiet hour: what went before it decides nothing."""
    quiet = [(60_000.0, 60_030.0, 59_970.0, 60_000.0)] * 30
    crash = [(60_000.0, 60_000.0, 58_000.0, 58_000.0), (58_000.0, 60_100.0, 58_000.0, 60_000.0)]
    history = a_history([make_bars(BTC, [*quiet, *crash, *quiet])], [a_trader(n, is_long=False) for n in (1, 2)])
    delta = choose("delta").hedging
    assert delta is not None
    policy = Policy("together", replace(delta, portfolio=TOGETHER))
    replay = Replay(build_story(history), history, FREE, policy)
    looked = []
    look = replay._process  # noqa: SLF001
    replay._process = lambda bar, step, glance: (looked.append(bar), look(bar, step, glance))  # type: ignore[method-assign,assignment,func-returns-value]  # noqa: SLF001
    outcome = replay.run(lambda _: None)

    assert {30, 31} <= set(looked) <= {0, *range(30, 62)}
    assert {trade.side for trade in outcome.trades if trade.kind == "open"} == {Side.SELL}
    assert run_policy(history, FREE, policy).figures.worst_protection > Decimal("0.5")


@given(seeds, st.sampled_from(["none", "delta", "notional", "ideal"]))
@settings(max_examples=40, deadline=None)
def test_money_adds_up_and_no_policy_moves_the_unhedged_vault(seed: int, name: str) -> None:
    history, costs = make_history(seed), make_costs(seed)
    run, none = (run_policy(history, costs, choose(each)) for each in (name, "none"))
    figures = run.figures

    assert figures.vault_hedged - figures.vault_unhedged == figures.hedge_profit - figures.cost == figures.net
    assert figures.cost == figures.fees + figures.funding + figures.slippage
    assert figures.vault_unhedged == none.figures.vault_unhedged
    assert figures.worst_unhedged == none.figures.worst_unhedged
    assert abs(run.series.vault_hedged[-1] - float(figures.vault_hedged)) < 1e-3
    assert abs(run.series.vault_hedged.min() - float(figures.worst_hedged)) < 1e-3
    free = run.series.vault_hedged + run.series.cost
    assert figures.worst_hedged_free >= figures.worst_hedged or figures.funding < 0
    assert float(figures.worst_hedged_free) < free.min() + 1e-3
    if len(free) < 1_900:
        assert abs(free.min() - float(figures.worst_hedged_free)) < 1e-3
    assert abs(run.series.vault_unhedged.min() - float(figures.worst_unhedged)) < 1e-3
    assert sum(trade.fee for trade in run.trades) == pytest.approx(figures.fees)
    assert len(run.series.time_s) <= 2_000


@given(seeds, rules)
@settings(max_examples=10, deadline=None)
def test_same_history_gives_the_same_run(seed: int, name: str) -> None:
    history, costs = make_history(seed), make_costs(seed)
    first, second = (run_policy(history, costs, choose(name)) for _ in range(2))

    assert first.figures == second.figures
    assert first.trades == second.trades


def double(history: History) -> History:
    traders = [trader._replace(size=2 * trader.size, collateral=2 * trader.collateral) for trader in history.traders]
    return replace(history, traders=traders, vault=2 * history.vault, shield=2 * history.shield)


COUNTS = {"opens", "closes", "resizes", "orders", "unhedged_s", "liquidations", "opens_refused"}
RATIOS = {"protection", "worst_protection_free", "worst_protection", "cost_share", "cost_per_dollar"}


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_twice_the_amounts_are_twice_the_money(seed: int) -> None:
    history = make_history(seed)
    costs = replace(FREE, taker_fee=Decimal("0.0005"), half_spread_bps=Decimal(1), latency_s=0.5)
    rule = replace(choose("delta").hedging, size_min=0)
    once, twice = (run_policy(each, costs, Policy("delta", rule)).figures for each in (history, double(history)))

    for name in (each.name for each in fields(Figures)):
        one, two = getattr(once, name), getattr(twice, name)
        if name in RATIOS:
            assert (one is None) == (two is None)
        elif name in COUNTS:
            assert one == two, name
        else:
            assert abs(two - 2 * one) <= Decimal("0.01") + abs(one) / 10**6, name


def test_free_hedge_pays_what_the_trader_wins_beyond_its_trigger() -> None:
    history = a_history([RISE], [a_trader()], shield_usd=100)
    ruled, ideal, none = (run_policy(history, FREE, choose(name)).figures for name in ("delta", "ideal", "none"))

    assert none.loss == 100  # Two hundredths of 10,000, of which the shield pays half.
    assert ideal.protection == 1
    assert ruled.opens == ideal.opens == 1
    assert Decimal("0.98") < ruled.protection <= 1


def test_ideal_bound_avoids_all_that_its_triggers_see() -> None:
    history = a_history([RISE], [a_trader(number, size_usd=20_000 + number) for number in range(1, 9)])
    ideal = run_policy(history, Costs(), choose("ideal")).figures

    assert ideal.loss > 0
    assert ideal.protection == 1
    assert ideal.cost == 0
    assert ideal.margin_peak * Costs().leverage == pytest.approx(Decimal(160_000), rel=Decimal("0.03"))


def test_many_small_winners_are_the_blind_spot_of_the_rule() -> None:
    history = a_history([RISE], [a_trader(number, size_usd=2_000) for number in range(1, 40)])
    ideal = run_policy(history, FREE, choose("ideal")).figures

    assert ideal.loss > 0
    assert (ideal.protection, ideal.opens) == (0, 0)


def test_hedge_is_let_go_once_its_risk_was_gone_for_the_expiry() -> None:
    history = a_history([FALL_BACK], [a_trader()])
    short, long = (run_policy(history, FREE, choose(name)) for name in ("delta", "delta:expiry=300"))

    closed = [[trade.at_s for trade in run.trades if trade.kind == "close"] for run in (short, long)]
    assert [len(times) for times in closed] == [1, 1]
    assert closed[1][0] - closed[0][0] == pytest.approx(240, abs=11)


def test_order_waits_for_the_end_of_an_outage() -> None:
    history = a_history([RISE], [a_trader()])
    costs = replace(FREE, outages=[(START_S, START_S + 200)])
    run, free = (run_policy(history, each, choose("delta")) for each in (costs, FREE))

    assert run.trades[0].at_s > START_S + 200 > free.trades[0].at_s
    assert run.figures.unhedged_s > 20 > free.figures.unhedged_s
    assert run.figures.protection < free.figures.protection


def test_account_without_margin_refuses_and_leaves_unhedged() -> None:
    history = a_history([RISE], [a_trader()])
    run = run_policy(history, replace(FREE, margin_usd=Decimal(10)), choose("delta"))

    assert run.trades == []
    assert run.figures.opens_refused > 1
    assert run.figures.protection == 0


def test_open_that_a_limit_holds_is_refused_once_however_long_it_is_held() -> None:
    """The first trader's hedge takes all that the limit leaves."""
    jump = make_bars(BTC, [(60_000, 60_000, 60_000, 60_000)] * 2 + [(61_200, 61_200, 61_200, 61_200)] * 3)
    history, policy = a_history([jump], [a_trader(number) for number in (1, 2)]), choose("delta")
    held = replace(policy, limits=replace(policy.limits, total_notional_usd=Decimal(9_000)))
    run, free = (run_policy(history, FREE, each) for each in (held, policy))

    assert (run.figures.opens_refused, free.figures.opens_refused) == (1, 0)
    assert run.figures.unhedged_s > free.figures.unhedged_s


def test_account_is_liquidated_when_it_is_worth_too_little() -> None:
    history = a_history([FALL_BACK], [a_trader()])
    costs = replace(FREE, margin_usd=Decimal(120), leverage=125, maintenance=Decimal("0.01"))
    run = run_policy(history, costs, choose("delta:expiry=300"))

    forced = [trade for trade in run.trades if trade.reason == "liquidated"]
    assert run.figures.liquidations == len(forced) > 0
    assert run.figures.vault_hedged < run.figures.vault_start


def test_progress_is_told_to_its_end() -> None:
    history, told = make_history(3), []
    run_story(build_story(history), history, Costs(), choose("delta"), told.append)

    assert told == sorted(told)
    assert told[-1] == 1.0
