"""What is shown of the guards: every limit that is set, what is used of it, and how many positions it holds."""

from __future__ import annotations

from dataclasses import fields, replace
from decimal import Decimal

import pytest

from dehedge.core.decisions import Hold, Reason
from dehedge.core.guard_report import ALL, GUARDS, OF_A_SYMBOL, GuardUse, count_held, measure_guards
from dehedge.core.guards import GuardInputs, GuardLimits, Liquidation
from dehedge.core.model import Leg
from dehedge.core.usage import Usage
from tests.core.builders import (
    BTC,
    ETH,
    NOW,
    SYMBOLS,
    a_book,
    a_hedge,
    a_key,
    a_policy,
    a_position,
    a_share,
    a_user,
    an_intent,
    an_observation,
)
from tests.core.guard_worlds import MARK, a_close, an_account, an_open, inputs

ALL_LIMITS = GuardLimits(
    order_notional_usd=Decimal(1_000), market_notional_usd=Decimal(2_000), total_notional_usd=Decimal(3_000),
    free_margin_usd=Decimal(400), liquidation_distance_bps=300, fees_usd_per_hour=Decimal(50),
)  # fmt: skip


def measure(given: GuardInputs, limits: GuardLimits = ALL_LIMITS) -> dict[tuple[Reason, str], Decimal | None]:
    return {(use.guard, use.scope): use.used for use in measure_guards(given, limits, SYMBOLS)}


def test_every_guard_is_measured_when_set() -> None:
    variables = {name for text in GUARDS.values() for name in text.split(", ")}

    assert {guard for guard, _ in measure(inputs())} == set(GUARDS)
    assert len(fields(GuardLimits)) == len(variables) + 1, "all but the fee's rate"


def test_only_what_is_set_is_shown() -> None:
    shown = measure_guards(inputs(), GuardLimits(), SYMBOLS)

    assert GuardUse(Reason.ORDER_RATE_LIMIT, ALL, Decimal(0), Decimal(300)) in shown
    assert {use.guard for use in shown} == {
        Reason.ORDER_RATE_LIMIT, Reason.OPENS_LIMIT, Reason.PRICE_DIVERGED, Reason.FORCED_LIMIT,
    }  # fmt: skip


def test_use_of_every_limit_is_what_the_guard_counts() -> None:
    book = a_book(a_hedge(quantity="0.1"), a_hedge(position=a_position(market=ETH), quantity="0.2"))
    usage = Usage()
    usage.note(NOW, replace(an_intent(shares=[a_share(quantity="0.1")]), mark=Decimal(MARK)), [])
    usage.opens.add(NOW, a_key())
    usage.opens.add(NOW, a_key())
    usage.opens.add(NOW, a_key(market=ETH))
    usage.forced.add(NOW, "ETHUSDT")
    liquidations = {
        ("BTCUSDT", leg): Liquidation(True, Decimal(price)) for leg, price in ((Leg.LONG, 57_000), (Leg.SHORT, 54_000))
    }
    account = an_account(available=1_000, read_at=NOW - 7, liquidations=liquidations)
    observation = an_observation(prices={BTC: MARK + 60, ETH: MARK}, marks=dict.fromkeys(SYMBOLS.values(), MARK))

    found = measure(inputs(book=book, usage=usage, account=account, observation=observation))

    assert found == {
        (Reason.ORDER_NOTIONAL_LIMIT, ALL): None,
        (Reason.TOTAL_NOTIONAL_LIMIT, ALL): 18_000,
        (Reason.FEE_LIMIT, ALL): 3,
        (Reason.FREE_MARGIN_LOW, ALL): 697,
        (Reason.ACCOUNT_UNKNOWN, ALL): 7,
        (Reason.ORDER_RATE_LIMIT, ALL): 1,
        (Reason.OPENS_LIMIT, ALL): 2,
        (Reason.MARKET_NOTIONAL_LIMIT, "BTCUSDT"): 6_000,
        (Reason.MARKET_NOTIONAL_LIMIT, "ETHUSDT"): 12_000,
        (Reason.PRICE_DIVERGED, "BTCUSDT"): 10,
        (Reason.PRICE_DIVERGED, "ETHUSDT"): 0,
        (Reason.LIQUIDATION_NEAR, "BTCUSDT"): 500,
        (Reason.LIQUIDATION_NEAR, "ETHUSDT"): None,
        (Reason.FORCED_LIMIT, "BTCUSDT"): 0,
        (Reason.FORCED_LIMIT, "ETHUSDT"): 1,
    }  # fmt: skip


def test_use_is_unknown_where_nothing_tells_of_it() -> None:
    found = measure(inputs(observation=an_observation(prices={}, marks={"ETHUSDT": MARK, "BTCUSDT": 0})))

    for place in (
        (Reason.PRICE_DIVERGED, "BTCUSDT"), (Reason.PRICE_DIVERGED, "ETHUSDT"), (Reason.FREE_MARGIN_LOW, ALL),
        (Reason.ACCOUNT_UNKNOWN, ALL), (Reason.LIQUIDATION_NEAR, "BTCUSDT"), (Reason.LIQUIDATION_NEAR, "ETHUSDT"),
    ):  # fmt: skip
        assert found[place] is None


def test_divergence_shown_is_the_largest_of_the_markets_that_share_a_symbol() -> None:
    observation = an_observation(prices={BTC: MARK + 6, ETH: MARK - 60}, marks={"BTCUSDT": MARK})

    shown = measure_guards(inputs(observation=observation), GuardLimits(), {BTC: "BTCUSDT", ETH: "BTCUSDT"})

    assert [use.used for use in shown if use.guard is Reason.PRICE_DIVERGED] == [10]


@pytest.mark.parametrize("guard", GUARDS)
def test_held_positions_are_counted_by_guard_and_symbol(guard: Reason) -> None:
    keys = [an_open(1).key, an_open(2).key, an_open(1, market=ETH).key]

    held = count_held(
        [*(Hold(key, guard) for key in keys), Hold(a_key(), Reason.STALE_PRICE), a_close()], a_policy().symbols
    )

    expected = {(guard, "BTCUSDT"): 2, (guard, "ETHUSDT"): 1} if guard in OF_A_SYMBOL else {(guard, ALL): 3}
    assert held == expected


def test_held_position_of_a_market_without_a_line_is_counted_by_its_market() -> None:
    key = an_open(int(a_user(1), 16)).key

    assert count_held([Hold(key, Reason.PRICE_DIVERGED)], {}) == {(Reason.PRICE_DIVERGED, BTC): 1}
