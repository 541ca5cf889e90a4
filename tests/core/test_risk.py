"""The three checks against an independent model in exact fractions, and the properties that any such check must have."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.risk import Capital, Risk, RiskAssessment, RiskFactors, assess, get_pnl
from tests.core import risk_model
from tests.core.builders import a_position, scaled, usd
from tests.core.make_risk_vectors import VECTORS, build_vectors, to_line
from tests.core.risk_model import Case

RECORDS = [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()]
FACTORS = (Fraction(0), Fraction(2, 5), Fraction(1), Fraction(6, 5))
ONE = RiskFactors(Fraction(1), Fraction(1), Fraction(2, 5), 10_000)

prices = st.integers(1, 10**24)
tracers = st.integers(-(10**21), 10**21)
factors = st.sampled_from(FACTORS) | st.fractions(0, 3, max_denominator=1_000)
cases = st.builds(
    Case,
    is_long=st.booleans(),
    size=st.integers(1, 10**15),
    entry_price=prices.map(lambda price: Fraction(price, 10**18)),
    price=prices.map(lambda price: Fraction(price, 10**18)),
    position_tracer=tracers,
    tracer=tracers | st.none(),
    vault=st.integers(0, 10**15),
    shield=st.integers(0, 10**14),
    vault_factor=factors,
    profit_limit_factor=factors,
    interest=factors,
    bps=st.sampled_from((1, 10_000, 1_000_000)),
)


def run(case: Case) -> RiskAssessment:
    position = a_position(
        is_long=case.is_long, size=case.size, entry_price=int(case.entry_price * 10**18),
        funding_tracer=case.position_tracer,
    )  # fmt: skip
    policy = RiskFactors(case.vault_factor, case.profit_limit_factor, case.interest, case.bps)
    return assess(position, int(case.price * 10**18), case.tracer, Capital(case.vault, case.shield), policy)


def get_flags(found: RiskAssessment) -> tuple[bool, bool, bool]:
    return found.is_vault_drawdown, found.is_shield_pnl_risk, found.is_hedge


def test_risks_are_called_what_logs_and_the_api_call_them() -> None:
    assert list(Risk) == ["vault_drawdown", "shield_pnl_risk", "profit_limit"]


@pytest.mark.parametrize("kind", sorted({record["kind"] for record in RECORDS}))
def test_assess_agrees_with_the_vectors(kind: str) -> None:
    for record in RECORDS:
        if record["kind"] == kind:
            found = run_record(record)

            assert found.pnl == Fraction(record["pnl"]), record
            assert found.is_vault_drawdown is record["is_vault_drawdown"], record
            assert found.is_shield_pnl_risk is record["is_shield_pnl_risk"], record
            assert found.is_hedge is record["is_hedge"], record


def run_record(record: dict[str, Any]) -> RiskAssessment:
    position = a_position(
        is_long=record["is_long"], size=record["size"], entry_price=int(record["entry_price"]),
        funding_tracer=int(record["position_tracer"]),
    )  # fmt: skip
    price = record["pyth_price"] * 10 ** (18 + record["pyth_expo"])
    tracer = None if record["tracer"] is None else int(record["tracer"])
    vault, limit, interest = map(Fraction, record["factors"])
    return assess(
        position, price, tracer, Capital(record["vault"], record["shield"]), RiskFactors(vault, limit, interest, 10_000)
    )


def test_vectors_are_what_their_script_makes() -> None:
    assert VECTORS.read_text(encoding="utf-8").splitlines() == [to_line(vector) for vector in build_vectors()]


def test_vectors_hold_both_answers_of_every_check() -> None:
    for check in ("is_vault_drawdown", "is_shield_pnl_risk", "is_hedge"):
        assert {record[check] for record in RECORDS} == {True, False}
    assert {record["pyth_expo"] for record in RECORDS} == set(range(-12, -2))
    assert {factor for record in RECORDS for factor in record["factors"]} == {"0", "0.4", "1", "1.2"}


@given(cases)
def test_assess_agrees_with_the_model(case: Case) -> None:
    found = run(case)

    assert found.pnl == risk_model.get_pnl(case)
    assert found.remaining_vault == case.vault + case.shield - found.pnl
    assert get_flags(found) == risk_model.get_flags(case)


@given(cases, st.integers(1, 10**7), st.integers(-(10**6), 10**6), st.integers(-1, 1))
def test_assess_decides_equality_exactly(case: Case, ticks: int, move: int, nudge: int) -> None:
    # One price step is worth one whole base unit, so the edge of a check can be hit exactly.
    whole = replace(
        case, size=ticks, entry_price=Fraction(ticks, 10**6), price=Fraction(ticks + move, 10**6), tracer=None
    )
    pnl = risk_model.get_pnl(whole)
    assert pnl.denominator == 1
    at_shield = replace(whole, shield=int(pnl) + nudge)
    vault = 1_000 * case.vault
    at_vault = replace(
        whole, vault=vault, vault_factor=Fraction(2, 5), profit_limit_factor=Fraction(2, 5), interest=Fraction(1),
        shield=vault * 2 // 5 - vault + int(pnl) + nudge,
    )  # fmt: skip

    assert run(at_shield).is_shield_pnl_risk is (nudge <= 0)
    assert run(at_vault).is_vault_drawdown is (nudge < 0)
    assert run(at_vault).is_hedge is (nudge < 0)


@pytest.mark.parametrize(
    ("tracer", "numerator", "is_risk"), [(666_666_666_666_666_667, -1, False), (666_666_666_666_666_666, 2, True)]
)
def test_assess_tells_the_smallest_loss_from_a_profit(tracer: int, numerator: int, is_risk: bool) -> None:
    # Funding takes all but a trillionth of a trillionth of the gain, or that much more than the gain.
    position = a_position(size=1, entry_price=3)

    found = assess(position, 5, tracer, Capital(0, 0), replace(ONE, bps=1))

    assert (found.pnl_numerator, found.pnl_denominator) == (numerator, 3 * 10**18)
    assert found.is_shield_pnl_risk is is_risk


@given(cases, prices)
def test_assess_never_loses_a_risk_when_the_profit_grows(case: Case, price: int) -> None:
    other = replace(case, price=Fraction(price, 10**18))
    poorer, richer = sorted((run(case), run(other)), key=lambda found: found.pnl)

    for before, after in zip(get_flags(poorer), get_flags(richer), strict=True):
        assert after or not before


@given(cases, st.integers(1, 10**9))
def test_assess_is_the_same_in_any_unit_of_money(case: Case, scale: int) -> None:
    scaled_up = replace(case, size=case.size * scale, vault=case.vault * scale, shield=case.shield * scale)

    assert get_flags(run(scaled_up)) == get_flags(run(case))
    assert run(scaled_up).pnl == run(case).pnl * scale


@given(cases, st.integers(1, 10**9))
def test_assess_is_the_same_in_any_unit_of_price(case: Case, scale: int) -> None:
    scaled_up = replace(case, entry_price=case.entry_price * scale, price=case.price * scale)

    assert run(scaled_up).pnl == run(case).pnl
    assert get_flags(run(scaled_up)) == get_flags(run(case))


@given(cases)
def test_pnl_of_a_short_is_the_loss_of_a_long(case: Case) -> None:
    assert run(replace(case, is_long=not case.is_long)).pnl == -run(case).pnl


@given(cases, st.integers(-(10**18) + 1, 10**18 - 1))
def test_assess_is_the_same_for_a_short_when_price_and_funding_are_mirrored(case: Case, move: int) -> None:
    change = Fraction(int(case.entry_price * move), 10**18)
    moved = replace(case, price=case.entry_price + change)
    tracer = None if case.tracer is None else 2 * case.position_tracer - case.tracer
    mirrored = replace(case, is_long=not case.is_long, price=case.entry_price - change, tracer=tracer)

    assert run(mirrored) == run(moved)


@given(cases, st.integers(0, 10**14))
def test_assess_never_finds_a_risk_only_because_the_shield_grew(case: Case, more: int) -> None:
    smaller, larger = (get_flags(run(replace(case, shield=shield))) for shield in (case.shield, case.shield + more))

    assert all(before or not after for before, after in zip(smaller, larger, strict=True))


@given(cases)
def test_assess_is_at_risk_exactly_when_a_check_fired(case: Case) -> None:
    found = run(case)

    assert found.at_risk is any(get_flags(found))
    assert len(found.fired) == sum(get_flags(found))


@pytest.mark.parametrize(
    ("flags", "fired"),
    [
        ((True, False, False), (Risk.VAULT_DRAWDOWN,)),
        ((False, True, False), (Risk.SHIELD_PNL,)),
        ((False, False, True), (Risk.PROFIT_LIMIT,)),
        ((True, True, True), (Risk.VAULT_DRAWDOWN, Risk.SHIELD_PNL, Risk.PROFIT_LIMIT)),
        ((False, False, False), ()),
    ],
)
def test_fired_names_the_checks_that_fired(flags: tuple[bool, bool, bool], fired: tuple[Risk, ...]) -> None:
    found = RiskAssessment(0, 1, Capital(0, 0), *flags)

    assert found.fired == fired
    assert found.at_risk is bool(fired)


@given(cases)
def test_profit_limit_never_fires_when_its_interest_is_zero(case: Case) -> None:
    assert run(replace(case, interest=Fraction(0))).is_hedge is False


@given(cases, st.integers(-1, 1))
def test_at_risk_is_profit_against_shield_when_both_vault_factors_are_one(case: Case, nudge: int) -> None:
    shield = max(0, int(risk_model.get_pnl(case)) + nudge)
    plain = replace(case, vault_factor=Fraction(1), profit_limit_factor=Fraction(1), shield=shield)

    assert run(plain).at_risk is (risk_model.get_pnl(plain) >= shield)


@pytest.mark.parametrize("limit", ["0.4", "1", "1.2"])
@pytest.mark.parametrize("vault", ["0.4", "1", "1.2"])
def test_are_one_condition_only_when_both_vault_factors_are_one(vault: str, limit: str) -> None:
    found = replace(ONE, vault=Fraction(vault), vault_profit_limit=Fraction(limit))

    assert found.are_one_condition is ((vault, limit) == ("1", "1"))


@pytest.mark.parametrize(
    ("is_long", "price", "tracer", "expected"),
    [
        (True, 55_000, None, 1_000),
        (True, 45_000, None, -1_000),
        (False, 55_000, None, -1_000),
        (False, 45_000, None, 1_000),
        (True, 50_000, 100, -100),
        (False, 50_000, 100, 100),
        (True, 50_000, -100, 100),
        (False, 50_000, -100, -100),
    ],
)
def test_pnl_counts_price_and_funding_by_side(is_long: bool, price: int, tracer: int | None, expected: int) -> None:
    now = None if tracer is None else scaled(tracer)

    numerator, denominator = get_pnl(a_position(is_long=is_long), scaled(price), now, 10_000)

    assert Fraction(numerator, denominator) == usd(expected)


def test_pnl_charges_no_funding_when_the_market_never_had_a_tracer() -> None:
    numerator, _ = get_pnl(a_position(funding_tracer=scaled(7)), scaled(50_000), None, 10_000)

    assert numerator == 0


@pytest.mark.parametrize("entry_price", [0, -1])
def test_pnl_is_nothing_when_there_is_no_entry_price(entry_price: int) -> None:
    assert get_pnl(a_position(entry_price=entry_price), scaled(50_000), scaled(9), 10_000) == (0, 1)
