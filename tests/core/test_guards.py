"""Each guard at its limit, just under it and just over it; in which order what fits is taken; what is never held."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from dehedge.core.batching import build_drafts
from dehedge.core.book import HedgeStatus
from dehedge.core.decisions import Decision, Hold, OpenHedge, Reason
from dehedge.core.events import fold
from dehedge.core.guards import (
    Budget,
    GuardInputs,
    GuardLimits,
    Liquidation,
    apply_guards,
    find_near_legs,
    get_divergence_bps,
    get_fees_usd,
    get_free_margin,
    get_increase_max,
    get_notionals,
)
from dehedge.core.model import Leg, Side
from dehedge.core.orders import Action
from dehedge.core.usage import Usage
from tests.core.builders import (
    BTC,
    ETH,
    NOW,
    SYMBOLS,
    a_book,
    a_hedge,
    a_position,
    a_report,
    a_share,
    a_user,
    a_venue,
    an_intent,
    an_observation,
    get_trades,
    rules,
)
from tests.core.guard_worlds import (
    MARK,
    STEP,
    WHOLE,
    a_close,
    a_resize,
    an_account,
    an_open,
    inputs,
    judge,
    tell,
    tell_all,
)

NOTIONAL_LIMITS = {
    "market_notional_usd": Reason.MARKET_NOTIONAL_LIMIT,
    "total_notional_usd": Reason.TOTAL_NOTIONAL_LIMIT,
}
TIGHT = GuardLimits(
    order_notional_usd=Decimal(1), market_notional_usd=Decimal(1), total_notional_usd=Decimal(1), orders_per_minute=1,
    divergence_bps=1, free_margin_usd=Decimal(1), liquidation_distance_bps=10_000, fees_usd_per_hour=Decimal("0.01"),
    opens_per_hour=1, forced_per_hour=1,
)  # fmt: skip


def a_usage(*, opens: int = 0, forced: int = 0, orders: int = 0, at: float = NOW - 60) -> Usage:
    """So much used, all at one time; the orders were filled at a mark of 60,000, a tenth of a BTC each."""
    usage = Usage()
    for _ in range(opens):
        usage.opens.add(at, an_open().key)
    for _ in range(forced):
        usage.forced.add(at, "BTCUSDT")
    for number in range(orders):
        book = a_book()
        intent = replace(an_intent(sequence=number, shares=[a_share(quantity="0.1")]), mark=Decimal(MARK))
        usage.note(at, intent, fold(book, intent))
        usage.note(at, a_report(intent), fold(book, a_report(intent)))
    return usage


@pytest.mark.parametrize(("name", "reason"), NOTIONAL_LIMITS.items())
@pytest.mark.parametrize(
    ("held", "limit", "expected"),
    [
        ("0", "12000", WHOLE),
        ("0", "12000.01", WHOLE),
        ("0", "11999.99", "0.199"),
        ("0", "60", STEP),
        ("0", "59.99", None),
        ("0.1", "18000", WHOLE),
        ("0.1", "17999.99", "0.199"),
        ("0.1", "6060", STEP),
        ("0.1", "6059.99", None),
        ("0.1", "100", None),
    ],
)
def test_guard_fills_up_to_the_notional_limit_when_more_is_asked_for(
    name: str, reason: Reason, held: str, limit: str, expected: str | None
) -> None:
    book = a_book(a_hedge(position=a_position(user=a_user(9)), quantity=held))

    found = tell(judge(an_open(), GuardLimits(**{name: Decimal(limit)}), inputs(book=book)))

    assert found == (reason if expected is None else Decimal(expected))


def test_guard_lets_a_part_through_only_when_the_exchange_takes_it() -> None:
    limits, least = GuardLimits(total_notional_usd=Decimal(300)), a_venue(known=[rules(notional_min=301)])

    assert tell(judge(an_open(), limits)) == 5 * STEP
    assert tell(judge(an_open(), limits, inputs(venue=least))) is Reason.TOTAL_NOTIONAL_LIMIT


@pytest.mark.parametrize(("limit", "part"), [(1_200, "0.02"), (1_199, None), (12_000, "0.2")])
def test_guard_lets_a_held_hedge_grow_by_a_tenth_of_what_it_lacks_at_least(limit: int, part: str | None) -> None:
    limits = GuardLimits(total_notional_usd=Decimal(limit))

    assert tell(judge(a_resize(), limits)) == (Decimal(part) if part else Reason.TOTAL_NOTIONAL_LIMIT)
    assert tell(judge(an_open(), limits)) == Decimal(part or "0.019")
    in_parts = replace(limits, order_notional_usd=Decimal(600))
    assert tell(judge(a_resize(), in_parts)) == Decimal("0.01")


def test_guard_leaves_the_smallest_order_to_the_planner() -> None:
    venue = a_venue(known=[rules(notional_min=100_000)])

    assert tell(judge(an_open(), GuardLimits(total_notional_usd=Decimal(12_000)), inputs(venue=venue))) == WHOLE


def test_guard_keeps_the_target_when_a_part_is_let_through() -> None:
    verdict = judge(an_open(), GuardLimits(total_notional_usd=Decimal(6_000)))

    assert isinstance(verdict, OpenHedge)
    assert (verdict.share.quantity, verdict.share.target) == (Decimal("0.1"), WHOLE)


def test_notional_counts_both_sides_and_what_is_in_flight_at_the_mark() -> None:
    long, short, other = a_position(user=a_user(1)), a_position(user=a_user(2), is_long=False), a_position(market=ETH)
    book = a_book(
        a_hedge(position=long, quantity="0.1"), a_hedge(position=short, quantity="0.2"),
        a_hedge(position=other, quantity="0.05", status=HedgeStatus.OPEN),
    )  # fmt: skip
    growing, shrinking = a_position(user=a_user(3)), a_share(position=short, quantity="0.2", target=0)
    fold(book, an_intent(shares=[a_share(position=growing, quantity="0.3")], sequence=1))
    fold(book, an_intent(shares=[shrinking], hedge_side=Side.SELL, action=Action.REDUCE, sequence=2))

    seen = an_observation(prices={BTC: 50_000, ETH: 50_000}, marks=dict.fromkeys(SYMBOLS.values(), MARK))

    assert get_notionals(inputs(book=book, observation=seen)) == {
        "BTCUSDT": Decimal("0.6") * MARK,
        "ETHUSDT": Decimal("0.05") * MARK,
    }


@pytest.mark.parametrize(("prices", "price"), [({BTC: 55_000}, 55_000), ({ETH: 1}, 50_000)])
@pytest.mark.parametrize("marks", [{}, {"BTCUSDT": 0}])
def test_notional_is_taken_at_another_price_when_there_is_no_mark(
    prices: dict[str, int], price: int, marks: dict[str, int]
) -> None:
    observation, book = an_observation(prices=prices, marks=marks), a_book(a_hedge())
    fold(book, an_intent(shares=[a_share(position=a_position(user=a_user(3)), quantity="0.1")]))

    assert get_notionals(inputs(book=book, observation=observation)) == {"BTCUSDT": Decimal("0.3") * price}


def test_coin_of_less_than_a_dollar_is_counted_like_any_other() -> None:
    key, seen = ("BTCUSDT", Leg.BOTH), an_observation(prices={BTC: 2}, marks={"BTCUSDT": "0.5"})
    near = an_account(liquidations={key: Liquidation(True, Decimal("0.49"))})
    given = inputs(book=a_book(a_hedge()), observation=seen, account=near)

    assert get_notionals(given) == {"BTCUSDT": Decimal("0.1")}
    assert find_near_legs(given, GuardLimits(liquidation_distance_bps=500)) == [key]
    assert get_increase_max(given, GuardLimits(order_notional_usd=Decimal(100))) == {"BTCUSDT": 200}


def test_market_limit_leaves_other_symbols_alone_and_the_total_does_not() -> None:
    book = a_book(a_hedge(position=a_position(user=a_user(9)), quantity="0.2"))
    trades = [an_open(1), an_open(2, market=ETH)]

    by_market = apply_guards(trades, inputs(book=book), GuardLimits(market_notional_usd=Decimal(12_000)))
    in_total = apply_guards(trades, inputs(book=book), GuardLimits(total_notional_usd=Decimal(12_000)))

    assert tell_all(by_market) == [Reason.MARKET_NOTIONAL_LIMIT, WHOLE]
    assert tell_all(in_total) == [Reason.TOTAL_NOTIONAL_LIMIT] * 2


def test_guard_takes_the_largest_loss_first_and_fills_up_with_the_next() -> None:
    trades = [an_open(1, loss_usd=5), an_open(2, loss_usd=50), an_open(3, loss_usd=500), a_resize(4)]

    found = apply_guards(trades, inputs(), GuardLimits(market_notional_usd=Decimal(27_000)))

    assert tell_all(found) == [Reason.MARKET_NOTIONAL_LIMIT, Decimal("0.05"), WHOLE, WHOLE]
    assert [decision.key for decision in found] == [trade.key for trade in trades]


def test_guard_names_the_limit_that_is_tightest() -> None:
    limits = GuardLimits(market_notional_usd=Decimal(50), total_notional_usd=Decimal(50))

    assert tell(judge(an_open(), replace(limits, total_notional_usd=Decimal(6_000)))) is Reason.MARKET_NOTIONAL_LIMIT
    assert tell(judge(an_open(), replace(limits, market_notional_usd=Decimal(6_000)))) is Reason.TOTAL_NOTIONAL_LIMIT
    # Both leave one step, which is less than the exchange takes.
    even, least = GuardLimits(market_notional_usd=Decimal(60), total_notional_usd=Decimal(60)), rules(notional_min=61)
    assert tell(judge(an_open(), even, inputs(venue=a_venue(known=[least])))) is Reason.TOTAL_NOTIONAL_LIMIT


def test_guard_takes_losses_that_are_equal_to_the_base_unit_by_their_keys() -> None:
    first, second = an_open(1), an_open(2)
    trades = [
        replace(trade, assessment=replace(trade.assessment, pnl_numerator=n))
        for trade, n in ((first, 701), (second, 702))
    ]

    assert tell_all(apply_guards(trades, inputs(), GuardLimits(total_notional_usd=Decimal(12_000)))) == [
        WHOLE,
        Reason.TOTAL_NOTIONAL_LIMIT,
    ]


def test_guard_takes_what_has_no_figures_for_a_loss_of_nothing() -> None:
    trades = [replace(an_open(1), assessment=None), an_open(2, loss_usd=0)]

    assert tell_all(apply_guards(trades, inputs(), GuardLimits(total_notional_usd=Decimal(12_000)))) == [
        WHOLE,
        Reason.TOTAL_NOTIONAL_LIMIT,
    ]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("12000", WHOLE),
        ("11999.99", "0.199"),
        ("11940", "0.199"),
        ("6000", "0.1"),
        ("60", STEP),
        ("59.99", None),
    ],
)
def test_order_limit_sends_what_fits_and_leaves_the_rest_to_the_next_pass(limit: str, expected: str | None) -> None:
    found = tell(judge(an_open(), GuardLimits(order_notional_usd=Decimal(limit))))

    assert found == (Reason.ORDER_NOTIONAL_LIMIT if expected is None else Decimal(expected))


@pytest.mark.parametrize(
    ("least", "expected"), [(60, "0.199"), (61, "0.198"), (1_200, "0.18"), (6_000, "0.1"), (6_001, "0.199")]
)
def test_order_limit_leaves_a_rest_that_the_exchange_takes_where_it_can(least: int, expected: str) -> None:
    venue = a_venue(known=[rules(notional_min=least)])

    found = judge(an_open(), GuardLimits(order_notional_usd=Decimal(11_999)), inputs(venue=venue))

    assert tell(found) == Decimal(expected)


def test_order_limit_splits_a_group_into_orders_within_it() -> None:
    limits = GuardLimits(order_notional_usd=Decimal(30_000))
    trades = [an_open(user) for user in range(1, 8)]
    drafts = build_drafts(
        get_trades(apply_guards(trades, inputs(), limits)), a_venue().rules, {}, get_increase_max(inputs(), limits)
    )

    assert [draft.quantity for draft in drafts] == [Decimal("0.4")] * 3 + [WHOLE]


def test_increase_max_is_on_the_step_and_known_only_where_a_mark_is() -> None:
    observation = an_observation(prices={BTC: 60_001})

    assert get_increase_max(inputs(), GuardLimits()) == {}
    assert get_increase_max(inputs(observation=observation), GuardLimits(order_notional_usd=Decimal(60_000))) == {
        "BTCUSDT": Decimal("0.999")
    }


@pytest.mark.parametrize(
    ("orders", "age_s", "trades", "let_through"),
    [(0, 0, 3, 3), (1, 0, 3, 2), (2, 0, 2, 1), (3, 0, 3, 0), (5, 0, 3, 0), (3, 60, 3, 0), (3, 60.5, 3, 3)],
)
def test_order_rate_counts_the_orders_of_the_last_minute(
    orders: int, age_s: float, trades: int, let_through: int
) -> None:
    usage = a_usage(orders=orders, at=NOW - age_s)
    alone = a_venue(known=[rules(quantity_max="0.2")])
    decisions = [an_open(user, loss_usd=1_000 - user) for user in range(1, trades + 1)]

    found = apply_guards(decisions, inputs(usage=usage, venue=alone), GuardLimits(orders_per_minute=3))

    assert tell_all(found) == [WHOLE] * let_through + [Reason.ORDER_RATE_LIMIT] * (trades - let_through)


def test_order_rate_counts_orders_and_not_the_hedges_that_share_them() -> None:
    trades = [an_open(user, is_long=user % 2 == 0) for user in range(1, 41)]

    found = apply_guards(trades, inputs(), GuardLimits(orders_per_minute=2))

    assert tell_all(found) == [WHOLE] * 40
    one = tell_all(apply_guards(trades, inputs(), GuardLimits(orders_per_minute=1)))
    assert (one.count(WHOLE), one.count(Reason.ORDER_RATE_LIMIT)) == (1, 39)


def test_order_rate_counts_groups_as_small_as_the_exchange_wants_them() -> None:
    trades = [an_open(user, loss_usd=1_000 - user) for user in range(1, 10)]
    venue = replace(a_venue(), group_max={trade.key: 2 for trade in trades})

    found = apply_guards(trades, inputs(venue=venue), GuardLimits(orders_per_minute=3))

    assert tell_all(found) == [WHOLE] * 6 + [Reason.ORDER_RATE_LIMIT] * 3


@pytest.mark.parametrize(
    ("price", "expected"), [(63_000, WHOLE), (63_001, None), (57_000, WHOLE), (56_999, None), (60_000, WHOLE)]
)
def test_divergence_is_measured_against_the_mark(price: int, expected: Decimal | None) -> None:
    observation = an_observation(prices={BTC: price}, marks={"BTCUSDT": MARK})

    found = tell(judge(an_open(), GuardLimits(divergence_bps=500), inputs(observation=observation)))

    assert found == (expected or Reason.PRICE_DIVERGED)
    assert get_divergence_bps(observation, BTC, "BTCUSDT") == Fraction(abs(price - MARK) * 10_000, MARK)


@pytest.mark.parametrize(
    ("available", "expected"),
    [("1606", WHOLE), ("1605.99", "0.199"), ("1003.03", STEP), ("1003.02", None), ("1000", None), ("0", None)],
)
def test_free_margin_floor_leaves_so_much_after_margin_and_fee(available: str, expected: Decimal | str | None) -> None:
    """12,000 USD at 20x take 600 of margin and at 5 bps 6 of fee; a step of 60 USD takes 3.03."""
    given = inputs(account=an_account(available=available))

    found = tell(judge(an_open(), GuardLimits(free_margin_usd=Decimal(1_000)), given))

    assert found == (Reason.FREE_MARGIN_LOW if expected is None else Decimal(expected))


@pytest.mark.parametrize(("at", "free"), [(NOW - 5, "397"), (NOW - 5.001, "1000")])
def test_free_margin_is_less_what_was_ordered_since_it_was_read(at: float, free: str) -> None:
    given = inputs(usage=a_usage(orders=2, at=at), account=an_account(available=1_000, settled_until=NOW - 5))

    assert get_free_margin(given, GuardLimits(taker_fee_bps=Decimal("2.5")), "USDT") == Decimal(free)


def test_free_margin_is_counted_by_the_asset_that_carries_the_position() -> None:
    known = [rules(), replace(rules(symbol="ETHUSDT"), margin_asset="USDC")]
    limits, account = GuardLimits(free_margin_usd=Decimal(100)), an_account(available=10_000)
    given = inputs(account=account, venue=a_venue(known=known), usage=a_usage(orders=1, at=NOW))

    assert tell_all(apply_guards([an_open(1), an_open(2, market=ETH)], given, limits)) == [
        WHOLE,
        Reason.FREE_MARGIN_LOW,
    ]
    assert get_free_margin(given, limits, "USDC") == 0
    assert get_free_margin(inputs(), limits, "USDT") == 0


def test_free_margin_is_shared_by_the_symbols_of_one_asset() -> None:
    given = inputs(account=an_account(available=700))

    found = apply_guards([an_open(1), an_open(2, market=ETH)], given, GuardLimits(free_margin_usd=Decimal(1)))

    assert tell_all(found) == [WHOLE, Decimal("0.03")]


@pytest.mark.parametrize("limits", [GuardLimits(free_margin_usd=Decimal(1)), GuardLimits(liquidation_distance_bps=1)])
@pytest.mark.parametrize(("age_s", "expected"), [(30, WHOLE), (30.5, None), (-30, WHOLE), (-30.5, None), (None, None)])
def test_account_holds_what_grows_when_it_is_unknown_and_a_guard_needs_it(
    limits: GuardLimits, age_s: float | None, expected: Decimal | None
) -> None:
    account = an_account(available=1_000, read_at=NOW - age_s) if age_s is not None else None

    assert tell(judge(an_open(), limits, inputs(account=account))) == (expected or Reason.ACCOUNT_UNKNOWN)
    assert tell(judge(an_open(), GuardLimits(), inputs(account=account))) == WHOLE


@pytest.mark.parametrize(
    ("is_long", "price", "near"),
    [
        (True, 57_000, False), (True, 57_001, True), (True, 60_001, True), (True, 61_000, True), (True, 20_000, False),
        (False, 63_000, False), (False, 62_999, True), (False, 59_000, True), (False, 90_000, False),
    ],
)  # fmt: skip
def test_liquidation_distance_holds_what_would_add_to_a_near_leg(is_long: bool, price: int, near: bool) -> None:
    key = ("BTCUSDT", Leg.BOTH)
    account = an_account(liquidations={key: Liquidation(is_long, Decimal(price))})
    given, limits = inputs(account=account), GuardLimits(liquidation_distance_bps=500)

    found = apply_guards([an_open(1), an_open(2, market=ETH), an_open(3, is_long=False)], given, limits)

    held = Reason.LIQUIDATION_NEAR if near else WHOLE
    assert tell_all(found) == [held, WHOLE, held]
    assert find_near_legs(given, limits) == ([key] if near else [])


def test_distance_and_room_are_exact() -> None:
    assert Liquidation(True, Decimal("79.99")).get_distance_bps(Decimal(80)) == Decimal("1.25")
    assert Budget(Reason.FEE_LIMIT, Decimal("6.75"), Decimal("0.5")).get_room() == Fraction(27, 2)


def test_no_leg_is_near_without_a_limit_or_a_reading() -> None:
    account = an_account(liquidations={("BTCUSDT", Leg.BOTH): Liquidation(True, Decimal(59_999))})

    assert find_near_legs(inputs(account=account), GuardLimits()) == []
    assert find_near_legs(inputs(), GuardLimits(liquidation_distance_bps=500)) == []


def test_limits_that_stand_unless_the_operator_sets_others() -> None:
    assert GuardLimits() == GuardLimits(None, None, None, 300, 500, None, None, None, Decimal(5), 12, 3)
    assert GuardInputs(an_observation(), a_book(), a_venue(), Usage(), 20).account is None


def test_liquidation_distance_holds_one_leg_of_two_in_hedge_mode() -> None:
    account = an_account(
        liquidations={
            ("BTCUSDT", Leg.LONG): Liquidation(True, Decimal(59_000)),
            ("BTCUSDT", Leg.SHORT): Liquidation(False, Decimal(90_000)),
            ("XRPUSDT", Leg.BOTH): Liquidation(True, Decimal(1)),
            ("ETHUSDT", Leg.BOTH): Liquidation(True, Decimal(1)),
        }
    )
    observation = an_observation(prices={BTC: MARK}, marks={"BTCUSDT": MARK, "ETHUSDT": 0})

    found = apply_guards(
        [an_open(1), an_open(2, is_long=False)],
        inputs(account=account, observation=observation),
        GuardLimits(liquidation_distance_bps=500),
    )

    assert tell_all(found) == [Reason.LIQUIDATION_NEAR, WHOLE]


@pytest.mark.parametrize(
    ("orders", "limit", "expected"),
    [
        (0, "6", WHOLE),
        (0, "5.99", "0.199"),
        (0, "0.03", STEP),
        (0, "0.02", None),
        (3, "15", WHOLE),
        (3, "14.99", "0.199"),
        (3, "9", None),
    ],
)
def test_fee_budget_counts_what_was_filled_in_the_last_hour(
    orders: int, limit: str, expected: Decimal | str | None
) -> None:
    """An order of 6,000 USD costs 3 USD at 5 bps, the default increase 6."""
    found = tell(judge(an_open(), GuardLimits(fees_usd_per_hour=Decimal(limit)), inputs(usage=a_usage(orders=orders))))

    assert found == (Reason.FEE_LIMIT if expected is None else Decimal(expected))


def test_fee_budget_counts_what_is_in_flight_and_forgets_after_an_hour() -> None:
    usage, limits = a_usage(orders=1, at=NOW - 3_600), GuardLimits(taker_fee_bps=Decimal(10))
    assert get_fees_usd(inputs(usage=usage), limits) == 0
    intent = replace(an_intent(shares=[a_share(quantity="0.1")]), mark=Decimal(MARK))
    usage.note(NOW, intent, [])

    assert get_fees_usd(inputs(usage=usage), limits) == 6


def test_fee_budget_means_nothing_when_there_is_no_fee() -> None:
    limits = GuardLimits(fees_usd_per_hour=Decimal("0.01"), taker_fee_bps=Decimal(0))

    assert tell(judge(an_open(), limits, inputs(usage=a_usage(orders=9)))) == WHOLE


@pytest.mark.parametrize(
    ("opens", "at", "held"),
    [(11, NOW - 1, False), (12, NOW - 1, True), (13, NOW - 3_599, True), (13, NOW - 3_600, False)],
)
def test_opens_are_counted_for_each_position_alone(opens: int, at: float, held: bool) -> None:
    usage = a_usage(opens=opens, at=at)

    found = apply_guards([an_open(1), an_open(2)], inputs(usage=usage), GuardLimits())

    assert tell_all(found) == [Reason.OPENS_LIMIT if held else WHOLE, WHOLE]
    assert tell(judge(a_resize(1), GuardLimits(), inputs(usage=usage))) == WHOLE


@pytest.mark.parametrize(
    ("forced", "at", "held"), [(2, NOW - 1, False), (3, NOW - 1, True), (4, NOW - 3_599, True), (4, NOW - 3_600, False)]
)
def test_forced_orders_stop_what_grows_in_their_symbol(forced: int, at: float, held: bool) -> None:
    usage = a_usage(forced=forced, at=at)

    found = apply_guards([an_open(1), a_resize(2), an_open(3, market=ETH)], inputs(usage=usage), GuardLimits())

    expected = Reason.FORCED_LIMIT if held else WHOLE
    assert tell_all(found) == [expected, expected, WHOLE]


@pytest.mark.parametrize("decision", [a_close(), a_resize(action=Action.REDUCE), Hold(a_close().key, Reason.IN_FLIGHT)])
def test_guards_never_touch_what_adds_nothing(decision: Decision) -> None:
    usage = a_usage(opens=99, forced=99, orders=99, at=NOW)
    blind = an_observation(prices={}, marks={"BTCUSDT": 0})

    assert judge(decision, TIGHT, inputs(usage=usage, observation=blind, book=a_book(a_hedge(quantity=99)))) is decision
    assert apply_guards([decision, an_open(2)], inputs(usage=usage), TIGHT)[0] is decision


def test_guards_hold_nothing_by_default_while_little_happens() -> None:
    trades = [an_open(user, market=market) for user in range(100) for market in SYMBOLS]
    usage = a_usage(opens=11, forced=2, orders=200)

    assert apply_guards(trades, inputs(usage=usage), GuardLimits()) == trades


def test_guards_keep_the_assessment_of_what_they_hold() -> None:
    trade = an_open()

    assert judge(trade, TIGHT) == Hold(trade.key, Reason.ACCOUNT_UNKNOWN, trade.assessment)
    assert judge(replace(trade, assessment=None), GuardLimits()) == replace(trade, assessment=None)
