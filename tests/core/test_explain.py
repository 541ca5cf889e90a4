"""The figures of an explanation: both sides of each check agree with what fired, to the smallest fraction."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given

from dehedge.core.book import HedgeBook
from dehedge.core.decisions import Hold, Reason
from dehedge.core.explain import Case, Check, build_case, explain_risk
from dehedge.core.model import Observation
from dehedge.core.risk import Capital, Risk, RiskFactors
from tests.core.builders import (
    BTC,
    ETH,
    NOW,
    RISKY,
    SAFE,
    USDC,
    a_book,
    a_hedge,
    a_key,
    a_policy,
    a_position,
    a_snapshot,
    a_venue,
    an_observation,
    scaled,
    usd,
)  # fmt: skip
from tests.core.test_trigger import OTHER_ASSET, World, get_prices, worlds

POSITION = a_position()
FACTORS = RiskFactors(Fraction(1, 2), Fraction(3, 4), Fraction(2, 5), 10_000)
MILLION = Capital(usd(1_000_000), usd(1_000))


def explain(observation: Observation, book: HedgeBook | None = None, key=POSITION.key, **changes) -> Case:
    policy = a_policy(**changes)
    return build_case(observation, book or a_book(), policy, a_venue().rules, (key, Hold(key, Reason.NOT_AT_RISK)))


@given(worlds)
def test_check_fires_exactly_when_its_sides_say_so(world: World) -> None:
    terms = world.terms
    for position in world.positions:
        for price in get_prices(world):
            found = explain_risk(position, price, world.get_tracer(position), terms.capital, terms.factors)
            drawdown, shield, limit = found.checks

            assert drawdown.has_fired == (drawdown.left > drawdown.right) == (drawdown.margin > 0)
            assert shield.has_fired == (shield.left <= shield.right) == (shield.margin >= 0)
            assert limit.has_fired == (limit.left > limit.right) == (limit.margin > 0)
            assert tuple(check.risk for check in found.checks if check.has_fired) == found.assessment.fired


@given(worlds)
def test_profit_is_what_the_price_gives_less_the_funding(world: World) -> None:
    for position in world.positions:
        price, tracer = position.entry_price + 7, world.get_tracer(position)
        found = explain_risk(position, price, tracer, world.terms.capital, world.terms.factors)

        assert found.assessment.pnl == found.price_gain - found.funding
        assert found.funding == 0 or tracer is not None


def test_figures_are_those_of_the_formulas() -> None:
    found = explain_risk(POSITION, scaled(60_000), 10**20, MILLION, FACTORS)

    assert (found.price_gain, found.funding, found.assessment.pnl) == (usd(2_000), usd(100), usd(1_900))
    assert found.checks == (
        Check(Risk.VAULT_DRAWDOWN, False, Fraction(usd(500_000)), Fraction(usd(999_100)), True),
        Check(Risk.SHIELD_PNL, True, Fraction(-usd(900)), Fraction(0), False),
        Check(Risk.PROFIT_LIMIT, False, Fraction(usd(300_000)), Fraction(usd(399_640)), True),
    )
    assert [check.margin for check in found.checks] == [-usd(499_100), usd(900), -usd(99_640)]


def test_case_has_every_part_of_a_position_at_risk() -> None:
    hedge = a_hedge(quantity="0.1", target="0.2")
    case = explain(an_observation(positions=[POSITION], prices={BTC: RISKY}), a_book(hedge))

    assert (case.position, case.hedge, case.price, case.closes_in_s) == (POSITION, hedge, scaled(RISKY), None)
    assert (case.capital, case.asset_unit) == (MILLION, 10**6)
    assert case.risk is not None
    assert case.risk.assessment.at_risk
    assert case.trigger == scaled(55_000)
    assert case.sized is not None
    assert (case.sized.symbol, case.sized.target, case.sized.mark) == ("BTCUSDT", Decimal("0.2"), Decimal(RISKY))
    assert (case.sized.notional_usd, case.sized.is_large_enough) == (Decimal(12_000), True)
    assert case.decision == Hold(POSITION.key, Reason.NOT_AT_RISK)


def test_case_counts_with_the_tracer_of_now() -> None:
    snapshot = a_snapshot(positions=[POSITION], funding={(USDC, BTC): 10**20})
    case = explain(an_observation(snapshot=snapshot))

    assert case.risk is not None
    assert case.risk.funding == usd(100)
    assert case.trigger == scaled(55_500)


def test_case_tells_when_a_cooling_hedge_closes() -> None:
    hedge = a_hedge(placed_at=NOW - 18, is_cooling=True)
    case = explain(an_observation(positions=[POSITION], prices={BTC: SAFE}), a_book(hedge))

    assert case.closes_in_s == 42


def test_case_has_what_there_is_when_the_position_is_gone() -> None:
    hedge = a_hedge()
    case = explain(an_observation(prices={BTC: RISKY}), a_book(hedge))

    assert (case.position, case.risk, case.trigger, case.sized) == (None, None, None, None)
    assert (case.hedge, case.price) == (hedge, scaled(RISKY))


def test_case_has_what_there_is_without_a_price() -> None:
    case = explain(an_observation(positions=[POSITION], prices={ETH: SAFE}))

    assert (case.price, case.risk, case.sized) == (None, None, None)
    assert case.trigger == scaled(55_000)


def test_case_of_another_asset_is_held_against_no_vault() -> None:
    other = a_position(asset=OTHER_ASSET)
    case = explain(an_observation(positions=[other], prices={BTC: RISKY}), key=a_key(asset=OTHER_ASSET))

    assert (case.position, case.risk, case.trigger, case.sized) == (other, None, None, None)


@pytest.mark.parametrize("marks", [{}, {"BTCUSDT": 0}, {"BTCUSDT": -1}])
def test_nothing_is_sized_without_a_mark(marks) -> None:
    assert explain(an_observation(positions=[POSITION], prices={BTC: RISKY}, marks=marks)).sized is None


def test_nothing_is_sized_in_a_market_without_a_symbol() -> None:
    case = explain(an_observation(positions=[POSITION], prices={BTC: RISKY}), symbols={ETH: "ETHUSDT"})

    assert case.sized is None
    assert case.risk is not None


def test_size_that_the_exchange_does_not_take_is_told() -> None:
    small = a_position(size=usd(40))
    case = explain(an_observation(positions=[small], prices={BTC: SAFE}))

    assert case.sized is not None
    assert (case.sized.target, case.sized.is_large_enough) == (0, False)
