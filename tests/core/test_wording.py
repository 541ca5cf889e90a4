"""What a risk desk reads: the lines of an explanation, word for word."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.decisions import CloseHedge, Decision, Hold, OpenHedge, Reason, RefreshHedge, ResizeHedge
from dehedge.core.earnings import Figures
from dehedge.core.explain import Case, build_case
from dehedge.core.flows import Lot
from dehedge.core.guard_report import GUARDS
from dehedge.core.hedging import plan
from dehedge.core.model import Side, Stance
from dehedge.core.orders import Action
from dehedge.core.risk import RiskFactors
from dehedge.core.wording import (
    REASONS,
    describe_case,
    describe_reason,
    describe_stance,
    show_exact,
    show_percent,
    show_price,
    show_usd,
)  # fmt: skip
from tests.core.builders import (
    BTC,
    NOW,
    RISKY,
    SAFE,
    USDC,
    USER,
    a_book,
    a_hedge,
    a_key,
    a_policy,
    a_position,
    a_share,
    a_snapshot,
    a_venue,
    an_observation,
    scaled,
    usd,
)  # fmt: skip

POSITION = a_position()
KEY = POSITION.key


def a_case(observation=None, book=None, *, decision: Decision | None = None, **changes) -> Case:
    seen = observation or an_observation(positions=[POSITION], prices={BTC: SAFE})
    return build_case(seen, book or a_book(), a_policy(**changes), a_venue().rules, (KEY, decision))


def find_line(case: Case, beginning: str) -> str:
    (line,) = [line for line in describe_case(case) if line.startswith(beginning)]
    return line


def test_hedged_position_is_explained_from_its_size_to_its_hedge() -> None:
    snapshot = a_snapshot(positions=[POSITION], funding={(USDC, BTC): 10**20})
    hedge = a_hedge(quantity="0.1", target="0.2")
    observation, book = an_observation(snapshot=snapshot, prices={BTC: "60000.5"}), a_book(hedge)
    (decision,) = plan(observation, book, a_policy(), a_venue())

    assert describe_case(a_case(observation, book, decision=decision)) == [
        f"BTC-USD long of 10,000.00 USDC, trader {USER}, opened at 50,000",
        "vault 1,000,000.00 USDC, shield 1,000.00 USDC",
        "price 60,000.5: the trader's profit is 1,900.10 USDC (2,000.10 by the price, 100.00 of funding paid)",
        "vault_drawdown FIRES, by 900.10 USDC: vault x 1 = 1,000,000.00 > 999,099.90 = vault + shield - profit",
        "shield_pnl_risk FIRES, by 900.10 USDC: shield - profit = -900.10 <= 0",
        "profit_limit FIRES, by 360.04 USDC: vault x 1 x 0.4 = 400,000.00 > 399,639.96 = (vault + shield - profit) x 0.4",
        "at risk at and above 55,500: it ends where the price falls by 7.50 %",
        "decision: resize the hedge, increase it by 0.100 BTCUSDT (incomplete_fill): the hedge is not as large as it should be yet",
        "it asks for 0.200 BTCUSDT, worth 12,000.10 USD at the mark 60000.5",
        "hedge: BUY 0.1 BTCUSDT of 0.2, OPEN",
    ]


def test_safe_position_is_explained_with_what_is_missing() -> None:
    case = a_case(
        decision=Hold(KEY, Reason.NOT_AT_RISK), factors=RiskFactors(Fraction("0.5"), Fraction(1), Fraction(0), 10_000)
    )

    assert describe_case(case)[3:] == [
        "vault_drawdown does not fire, 501,000.00 USDC are missing: vault x 0.5 = 500,000.00 > 1,001,000.00 = vault + shield - profit",
        "shield_pnl_risk does not fire, 1,000.00 USDC are missing: shield - profit = 1,000.00 <= 0",
        "profit_limit does not fire: both sides are equal: vault x 1 x 0 = 0.00 > 0.00 = (vault + shield - profit) x 0",
        "at risk at and above 55,000: it trips where the price rises by 10.00 %",
        "decision: hold (not_at_risk): no check fires",
        "it asks for 0.200 BTCUSDT, worth 10,000.00 USD at the mark 50000",
        "there is no hedge",
    ]


def test_short_is_explained_the_other_way_round() -> None:
    short = a_position(is_long=False)

    assert find_line(a_case(an_observation(positions=[short], prices={BTC: SAFE})), "at risk") == (
        "at risk at and below 45,000: it trips where the price falls by 10.00 %"
    )
    assert find_line(a_case(an_observation(positions=[short], prices={BTC: 40_000})), "at risk") == (
        "at risk at and below 45,000: it ends where the price rises by 12.50 %"
    )


@pytest.mark.parametrize(("price", "is_long"), [(55_000, True), (45_000, False)])
def test_position_just_at_its_trigger_is_at_risk(price: int, is_long: bool) -> None:
    case = a_case(an_observation(positions=[a_position(is_long=is_long)], prices={BTC: price}))

    assert "it ends where" in find_line(case, "at risk")


def test_funding_that_was_got_is_told_as_such() -> None:
    snapshot = a_snapshot(positions=[POSITION], funding={(USDC, BTC): -(10**20)})

    assert find_line(a_case(an_observation(snapshot=snapshot)), "price").endswith(
        "(0.00 by the price, 100.00 of funding got)"
    )


def test_lines_say_what_is_not_there() -> None:
    gone = a_case(an_observation(prices={BTC: RISKY}))
    unpriced = a_case(an_observation(positions=[POSITION], prices={}))
    flat = a_case(an_observation(positions=[a_position(size=0)], prices={BTC: SAFE}))

    assert describe_case(gone)[0] == f"{KEY}: the newest snapshot of the chain has no such position"
    assert [line for line in describe_case(gone) if line.startswith("at risk")] == []
    assert describe_case(unpriced)[2:4] == [
        "there is no price of this market yet, so nothing can be checked",
        "at risk at and above 55,000",
    ]
    assert "no price decides whether it is at risk" in describe_case(flat)
    assert "decision: none yet" in describe_case(gone)
    assert find_line(flat, "it asks").endswith("at the mark 50000, less than the exchange takes")


def test_position_in_another_asset_is_not_checked() -> None:
    other = a_position(asset="0x0000000000000000000000000000000000000A55")
    observation = an_observation(positions=[other], prices={BTC: SAFE})
    case = build_case(
        observation, a_book(), a_policy(), {}, (a_key(asset=other.asset), Hold(other.key, Reason.OTHER_ASSET))
    )

    assert [line for line in describe_case(case) if "fire" in line or line.startswith("price")] == []


@pytest.mark.parametrize(("placed_at", "line"), [(NOW - 18, "it closes in 42 s"), (NOW - 60, "it closes now")])
def test_cooling_hedge_tells_when_it_closes(placed_at: float, line: str) -> None:
    case = a_case(book=a_book(a_hedge(placed_at=placed_at, is_cooling=True)))

    assert describe_case(case)[-1] == f"{line}, unless the risk comes back before"


def test_money_of_a_hedge_is_told_with_its_sign_and_what_is_in_no_dollars() -> None:
    fees = {"USDT": Decimal("2.4"), "BNB": Decimal("0.01")}
    figures = Figures(Lot(1), Decimal(0), fees, {"USDT": Decimal("-0.5")})
    case = replace(a_case(book=a_book(a_hedge())), figures=figures)

    assert describe_case(case)[-1] == "so far: no mark price, fees 2.40 USD and 0.01 BNB, funding -0.50 USD"
    told = describe_case(replace(case, profit_usd=Decimal("-1234.5")))[-1]
    assert told.startswith("so far: profit -1,234.50 USD at the mark, fees 2.40 USD")


@pytest.mark.parametrize(
    ("decision", "line"),
    [
        (RefreshHedge(KEY, Reason.AT_RISK), "decision: keep the hedge (at_risk): at least one check fires"),
        (
            OpenHedge(KEY, Reason.AT_RISK, "BTCUSDT", Side.BUY, a_share()),
            "decision: open the hedge, increase it by 0.2 BTCUSDT (at_risk): at least one check fires",
        ),
        (
            CloseHedge(KEY, Reason.FLATTENED, "BTCUSDT", Side.BUY, a_share()),
            "decision: close the hedge, reduce it by 0.2 BTCUSDT (flattened): an operator flattens everything",
        ),
        (
            ResizeHedge(KEY, Reason.SIZE_CHANGED, "BTCUSDT", Side.BUY, a_share(), None, Action.REDUCE),
            "decision: resize the hedge, reduce it by 0.2 BTCUSDT (size_changed): the position's size or entry price is another than the hedge was made for",
        ),
        (
            Hold(KEY, Reason.FEE_LIMIT),
            "decision: hold (fee_limit): the fees of this hour are used up (MAX_FEES_USD_PER_HOUR)",
        ),
    ],
)
def test_decision_is_told_with_its_reason(decision: Decision, line: str) -> None:
    assert find_line(a_case(decision=decision), "decision") == line


def test_every_reason_has_words_and_every_guard_its_variable() -> None:
    assert set(REASONS) == set(Reason)
    assert all(describe_reason(reason).endswith(f"({variable})") for reason, variable in GUARDS.items())


@given(st.integers(), st.integers(0, 18))
def test_exact_number_is_the_number(number: int, decimals: int) -> None:
    number %= 2**256
    shown = show_exact(number, decimals)

    assert Fraction(shown) == Fraction(number, 10**decimals)
    assert "." not in shown or not shown.endswith(("0", "."))


def test_numbers_are_shown_as_people_write_them() -> None:
    assert show_exact(scaled("57120.5") + 1, 18) == "57120.500000000000000001"
    assert show_exact(-1_500_000, 6) == "-1.5"
    assert (show_exact(100, 0), show_exact(0, 6)) == ("100", "0")
    assert show_price(scaled("0.000012345678")) == "0.00001235"
    assert show_price(scaled("1234567890.126")) == "1,234,567,890.13"
    assert show_price(scaled("57120.123456")) == "57,120.1235"
    assert show_usd(usd("1234567.125"), 10**6) == "1,234,567.12"
    assert show_usd(usd(-3), 10**6) == "-3.00"
    assert show_usd(0, 10**6) == "0.00"
    assert (show_usd(9_999, 10**6), show_usd(10_000, 10**6)) == ("less than 0.01", "0.01")
    assert show_usd(Fraction(-1, 3), 10**6) == "-(less than 0.01)"
    assert show_percent(Fraction(1, 3)) == "0.00 %"
    assert show_percent(Fraction(100_000)) == "1,000.00 %"


def test_how_all_stand_together_is_told_in_one_line() -> None:
    stance = Stance(usd(1_200), usd(1_000), usd(12), usd(600), usd(31_200), Fraction(1, 4), Fraction(1), is_fast=True)
    told = (
        "all positions are judged together: profit 1,200.00 USDC of the 1,000.00 that fire a check, room -212.00 looking ahead, "
        "a minute swings by 600.00 ({pace}); 25.00 % of 31,200.00 net is hedged, 100.00 % is due"
    )

    assert find_line(replace(a_case(), stance=stance), "all positions") == told.format(pace="fast")
    assert describe_stance(replace(stance, is_fast=False), 10**6) == told.format(pace="slow: nothing new is bought")
