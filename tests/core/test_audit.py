"""The account against the book: exchange = hedged + foreign, on every leg, in both position modes."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.audit import (
    LegAudit,
    OtherFill,
    accept_foreign,
    audit_leg,
    build_account_events,
    check_may_have_filled,
    find_explanation,
)
from dehedge.core.book import HedgeBook, HedgeStatus
from dehedge.core.events import ForeignPositionSeen, HedgesForced, fold
from dehedge.core.model import Leg, Side
from tests.core.builders import NOW, Number, a_book, a_hedge, a_position, a_user

BTCUSDT, ETHUSDT = "BTCUSDT", "ETHUSDT"
KEY = (BTCUSDT, Leg.BOTH)
amounts = st.integers(-5_000, 5_000).map(lambda thousandths: Decimal(thousandths) / 1_000)
quantities = amounts.map(abs)
sides = st.sampled_from(Side)


def a_leg_audit(exchange: Number, *, hedged: Number = 0, foreign: Number = 0, uncertain: Number = 0) -> LegAudit:
    return LegAudit(*KEY, Decimal(exchange), Decimal(hedged), Decimal(foreign), Decimal(uncertain))


def a_fill(signed: Number, *, name: str = "7", forced_by: str = "", updated_at: float = NOW) -> OtherFill:
    quantity = Decimal(signed)
    side = Side.BUY if quantity > 0 else Side.SELL
    return OtherFill(name, side, abs(quantity), abs(quantity), updated_at, forced_by)


def a_one_sided_book(side: Side, *held: Number) -> HedgeBook:
    hedges = [
        a_hedge(position=a_position(user=a_user(number), is_long=side is Side.BUY), quantity=quantity)
        for number, quantity in enumerate(held)
    ]
    return a_book(*hedges)


def a_two_sided_book() -> HedgeBook:
    long = a_position(user=a_user(1), is_long=True)
    short = a_position(user=a_user(2), is_long=False)
    other = a_position(user=a_user(3), market="ETH-USD")
    return a_book(
        a_hedge(position=long, quantity="0.5"), a_hedge(position=short, quantity="0.2"),
        a_hedge(position=other, quantity=7),
    )  # fmt: skip


def carry_on(book: HedgeBook, exchange: Decimal, fills: Sequence[OtherFill]) -> LegAudit:
    """The audit once the facts of the fills are folded."""
    for event in build_account_events(book, audit_leg(book, KEY, exchange), fills):
        fold(book, event)
    return audit_leg(book, KEY, exchange)


@pytest.mark.parametrize(("leg", "net"), [(Leg.BOTH, "0.3"), (Leg.LONG, "0.5"), (Leg.SHORT, "-0.2")])
def test_leg_audit_agrees_when_the_account_holds_the_book(leg: Leg, net: str) -> None:
    found = audit_leg(a_two_sided_book(), (BTCUSDT, leg), Decimal(net))

    assert (found.key, found.hedged) == ((BTCUSDT, leg), Decimal(net))
    assert (found.difference, found.foreign) == (0, 0)
    assert found.get_shortfall(Side.BUY) == found.get_shortfall(Side.SELL) == 0


def test_leg_audit_takes_known_foreign_off() -> None:
    book = a_two_sided_book()
    book.foreign[KEY] = Decimal(-2)

    found = audit_leg(book, KEY, Decimal("-1.7"))

    assert (found.foreign, found.difference) == (-2, 0)
    assert audit_leg(book, (ETHUSDT, Leg.BOTH), Decimal(7)).known_foreign == 0


def test_leg_audit_tells_what_may_have_moved_and_nothing_unless_told() -> None:
    book = a_two_sided_book()

    assert audit_leg(book, KEY, Decimal(0), Decimal("0.1")).uncertain == Decimal("0.1")
    assert audit_leg(book, KEY, Decimal(0)).uncertain == 0


def test_fill_of_others_is_not_forced_unless_told() -> None:
    assert OtherFill("7", Side.BUY, Decimal(1), Decimal(1), NOW).forced_by == ""


def test_leg_audit_counts_only_what_was_filled() -> None:
    book = a_book(a_hedge(quantity=0, target="0.2", status=HedgeStatus.OPENING))

    assert audit_leg(book, KEY, Decimal(0)).difference == 0


@given(st.lists(st.tuples(sides, quantities), max_size=6), st.booleans(), amounts)
def test_legs_of_the_book_sum_to_its_net_in_both_modes(
    hedges: list[tuple[Side, Decimal]], hedge_mode: bool, foreign: Decimal
) -> None:
    held = [
        a_hedge(position=a_position(user=a_user(number), is_long=side is Side.BUY), quantity=quantity)
        for number, (side, quantity) in enumerate(hedges)
    ]
    book = a_book(*held)
    legs = [(BTCUSDT, leg) for leg in ((Leg.LONG, Leg.SHORT) if hedge_mode else (Leg.BOTH,))]
    book.foreign[legs[0]] = foreign
    exchange = {key: book.get_net_quantity(*key) + book.foreign.get(key, Decimal(0)) for key in legs}

    assert sum(exchange.values()) == sum(quantity * side.sign for side, quantity in hedges) + foreign
    assert all(audit_leg(book, key, exchange[key]).difference == 0 for key in legs)


@pytest.mark.parametrize(
    ("exchange", "foreign", "side", "shortfall"),
    [
        ("0.5", 0, Side.BUY, 0),
        ("0.2", 0, Side.BUY, "0.3"),
        ("0.2", 0, Side.SELL, 0),
        ("0.9", 0, Side.BUY, 0),
        ("0.9", 0, Side.SELL, "0.4"),
        (-1, 0, Side.BUY, "1.5"),
        # Others held 5 long of their own and let go of it: what is left is ours.
        ("0.5", 5, Side.BUY, 0),
        ("0.4", 5, Side.BUY, "0.1"),
        # Others are 2 short: the account's net shows it, and lacks nothing of ours.
        ("-1.5", -2, Side.BUY, 0),
        ("-1.6", -2, Side.BUY, "0.1"),
        ("-1", -2, Side.BUY, 0),
    ],
)
def test_shortfall_is_what_others_took_beyond_their_own(
    exchange: Number, foreign: Number, side: Side, shortfall: Number
) -> None:
    found = a_leg_audit(exchange, hedged="0.5", foreign=foreign)

    assert found.get_shortfall(side) == Decimal(shortfall)


def test_shortfall_is_told_whole_beside_what_our_own_orders_may_have_moved() -> None:
    found = a_leg_audit("0.2", hedged="0.5", uncertain="0.1")

    assert (found.get_shortfall(Side.BUY), found.uncertain) == (Decimal("0.3"), Decimal("0.1"))


@given(exchange=amounts, hedged=amounts, foreign=amounts, side=sides)
def test_shortfall_is_part_of_the_difference_and_only_of_one_side(
    exchange: Decimal, hedged: Decimal, foreign: Decimal, side: Side
) -> None:
    found = a_leg_audit(exchange, hedged=hedged, foreign=foreign)

    assert found.hedged + found.known_foreign + found.difference == found.exchange
    assert 0 <= found.get_shortfall(side) <= max(-found.difference * side.sign, Decimal(0))
    assert min(found.get_shortfall(side), found.get_shortfall(side.opposite)) == 0


@given(held=quantities, foreign=amounts, exchange=amounts, side=sides)
def test_close_of_what_is_not_lacking_takes_nothing_from_others(
    held: Decimal, foreign: Decimal, exchange: Decimal, side: Side
) -> None:
    found = a_leg_audit(exchange, hedged=held * side.sign, foreign=foreign)
    closed = max(held - found.get_shortfall(side), Decimal(0))

    left = (exchange - closed * side.sign) * side.sign

    # After the close the account holds no more against our side than others were known to, or did themselves.
    assert left >= min(foreign * side.sign, exchange * side.sign, Decimal(0))


@pytest.mark.parametrize(
    ("exchange", "side", "quantity", "expected"),
    [
        ("0.5", Side.BUY, "0.5", True),
        ("0.5", Side.BUY, "0.501", False),
        ("0.5", Side.SELL, "0.1", False),
        ("-0.5", Side.SELL, "0.5", True),
        ("-0.5", Side.BUY, "0.1", False),
        (0, Side.BUY, "0.001", False),
    ],
)
def test_order_reduces_only_while_the_net_is_at_least_its_quantity(
    exchange: Number, side: Side, quantity: str, expected: bool
) -> None:
    assert a_leg_audit(exchange).check_reduces(side, Decimal(quantity)) is expected


@given(exchange=amounts, side=sides, quantity=quantities)
def test_order_that_reduces_never_turns_the_net_over(exchange: Decimal, side: Side, quantity: Decimal) -> None:
    after = exchange - quantity * side.sign

    assert a_leg_audit(exchange).check_reduces(side, quantity) is (after * side.sign >= 0)


LIQUIDATION, BOUGHT, SOLD = a_fill("-0.2", forced_by="autoclose"), a_fill(3), a_fill(-1)


@pytest.mark.parametrize(
    ("difference", "fills", "explanation"),
    [
        (0, [], []),
        (2, [BOUGHT, SOLD], [BOUGHT, SOLD]),
        ("1.8", [BOUGHT, LIQUIDATION, SOLD], [BOUGHT, LIQUIDATION, SOLD]),
        # The account's view knows of the liquidation already, of the trades by hand not yet.
        ("-0.2", [BOUGHT, LIQUIDATION, SOLD], [LIQUIDATION]),
        (0, [BOUGHT], []),
        (3, [BOUGHT, LIQUIDATION], None),
        (1, [], None),
        (2, [BOUGHT], None),
    ],
)
def test_difference_is_explained_by_all_fills_or_by_the_forced_ones(
    difference: Number, fills: list[OtherFill], explanation: list[OtherFill] | None
) -> None:
    assert find_explanation(Decimal(difference), fills) == explanation


@pytest.mark.parametrize(
    ("known", "found", "hedged", "accepted"),
    [
        (0, -3, 0, -3),
        (0, 4, 1, 4),
        (0, -1, 4, 0),
        (0, -4, 1, -3),
        (5, 2, 1, 2),
        (5, -1, 1, 0),
        (-2, -3, 1, -2),
        (-2, 1, 1, 1),
        (0, -4, -1, -4),
        (0, 1, -4, 0),
        (0, 4, -1, 3),
        (2, 3, -1, 2),
        (-5, 1, -1, 0),
    ],
)
def test_others_may_give_up_their_own_but_not_ours(known: int, found: int, hedged: int, accepted: int) -> None:
    assert accept_foreign(Decimal(known), Decimal(found), Decimal(hedged)) == accepted


@given(held=quantities.filter(bool), known=amounts, signed=amounts.filter(bool), side=sides)
def test_trades_of_others_leave_no_difference_but_what_they_took_of_ours(
    held: Decimal, known: Decimal, signed: Decimal, side: Side
) -> None:
    book = a_one_sided_book(side, held)
    book.foreign[KEY] = known
    exchange = held * side.sign + known + signed
    before = min(audit_leg(book, KEY, exchange).get_shortfall(side), held)

    after = carry_on(book, exchange, [a_fill(signed)])

    assert after.difference * side.sign == -before
    assert after.get_shortfall(side) == before
    assert after.hedged == held * side.sign


@given(held=st.lists(quantities, max_size=3), known=quantities, share=st.integers(0, 100), side=sides)
def test_forced_order_takes_our_hedges_first_and_then_what_is_foreign(
    held: list[Decimal], known: Decimal, share: int, side: Side
) -> None:
    book = a_one_sided_book(side, *held)
    book.foreign[KEY] = known * side.sign
    ours = sum(held, Decimal(0))
    taken = ((ours + known) * share / 100).quantize(Decimal("0.001"))
    exchange = (ours + known - taken) * side.sign

    after = carry_on(book, exchange, [a_fill(-taken * side.sign, forced_by="autoclose")] if taken else [])

    assert after.difference == 0
    assert after.hedged == max(ours - taken, Decimal(0)) * side.sign


def test_forced_orders_and_trades_by_hand_are_each_told_as_what_they_are() -> None:
    book = a_one_sided_book(Side.BUY, "0.5")
    fills = [a_fill("-0.2", name="1", forced_by="autoclose"), a_fill(3, name="2", updated_at=NOW + 2)]

    events = build_account_events(book, a_leg_audit("3.3", hedged="0.5"), fills)

    assert events == [
        HedgesForced("1", *KEY, Side.SELL, Decimal("0.2"), Decimal("0.2"), "autoclose"),
        ForeignPositionSeen(*KEY, Decimal(3), NOW + 2),
    ]


def test_forced_order_that_took_only_ours_leaves_what_is_foreign_untold() -> None:
    events = build_account_events(a_one_sided_book(Side.BUY, "0.5"), a_leg_audit(0, hedged="0.5"), [LIQUIDATION])

    assert [type(event) for event in events] == [HedgesForced]


@pytest.mark.parametrize(("known", "left"), [(Decimal(-2), Decimal(-2)), (Decimal(0), Decimal(0))])
def test_forced_order_takes_nothing_from_what_is_foreign_on_the_other_side(known: Decimal, left: Decimal) -> None:
    book = a_one_sided_book(Side.BUY, "0.1")
    book.foreign[KEY] = known

    carry_on(book, known - Decimal("0.1"), [LIQUIDATION])

    assert book.foreign[KEY] == left


@pytest.mark.parametrize(("leg", "side"), [(Leg.LONG, Side.BUY), (Leg.SHORT, Side.SELL)])
def test_forced_order_takes_the_hedges_of_its_own_leg_alone(leg: Leg, side: Side) -> None:
    # 0.5 long and 0.2 short are ours; the leg held 1 of others' besides, and the exchange takes 0.9 of it.
    book = a_two_sided_book()
    key = (BTCUSDT, leg)
    ours = abs(book.get_net_quantity(*key))
    book.foreign[key] = Decimal(1) * side.sign
    exchange = (ours + 1 - Decimal("0.9")) * side.sign
    fill = a_fill(Decimal("-0.9") * side.sign, forced_by="autoclose")

    events = build_account_events(book, audit_leg(book, key, exchange), [fill])

    assert events[1:] == [ForeignPositionSeen(*key, (1 - (Decimal("0.9") - ours)) * side.sign, NOW)]


@given(held=st.lists(quantities, max_size=3), known=amounts, exchange=amounts, side=sides)
def test_nothing_is_told_of_a_leg_on_which_nobody_else_traded(
    held: list[Decimal], known: Decimal, exchange: Decimal, side: Side
) -> None:
    book = a_one_sided_book(side, *held)
    book.foreign[KEY] = known

    assert build_account_events(book, audit_leg(book, KEY, exchange), []) == []


@pytest.mark.parametrize("side", Side)
def test_forced_order_larger_than_all_that_was_there_leaves_a_difference(side: Side) -> None:
    book = a_one_sided_book(side, "0.1")
    book.foreign[KEY] = Decimal("0.05") * side.sign

    after = carry_on(book, Decimal("-0.05") * side.sign, [a_fill(Decimal("-0.2") * side.sign, forced_by="autoclose")])

    assert (after.hedged, after.known_foreign) == (0, 0)
    assert after.difference * side.sign == Decimal("-0.05")


def test_two_forced_orders_take_no_hedge_twice() -> None:
    # 1 of ours and 0.6 of others' are liquidated by two orders of 0.8.
    book = a_one_sided_book(Side.BUY, 1)
    book.foreign[KEY] = Decimal("0.6")
    fills = [a_fill("-0.8", name=name, forced_by="autoclose") for name in ("1", "2")]

    assert carry_on(book, Decimal(0), fills).difference == 0


def test_forced_order_takes_no_more_than_it_newly_filled() -> None:
    # 0.5 of it was there before the first agreement, and was never ours.
    book = a_one_sided_book(Side.BUY, 1)
    fill = OtherFill("1", Side.SELL, Decimal("0.3"), Decimal("0.8"), NOW, "adl_autoclose")

    assert carry_on(book, Decimal("0.7"), [fill]).difference == 0


def test_trade_by_hand_beside_the_end_of_our_hedges_is_foreign() -> None:
    # The liquidation took the last hedge, so what was sold besides cannot have been ours.
    book = a_one_sided_book(Side.BUY, "0.2")

    assert carry_on(book, Decimal(-1), [LIQUIDATION, SOLD]).difference == 0


@pytest.mark.parametrize(
    ("moved", "quantity", "others", "may_have_filled"),
    [
        ("0", "0.1", [], False),
        ("-0.3", "0.1", [], False),
        ("0.05", "0.1", [], True),
        ("0.7", "0.1", [], True),
        # An opposite order that may have filled too hides it, unless it is too large to have been made up for.
        ("0", "0.1", ["-0.1"], True),
        ("0", "0.15", ["-0.1"], True),
        ("0", "0.1", ["-0.15"], False),
        ("-0.2", "0.1", ["-0.3"], True),
        ("0", "0.1", ["0.1", "-0.2"], True),
        ("0", "0.1", ["0.2"], False),
        ("-0.1", "0.1", ["-0.1"], False),
        ("-0.2", "0.15", ["-0.1", "-0.1", "-0.1"], True),
        ("-0.2", "0.1", ["-0.3", "-9"], True),
        ("-0.2", "0.1", ["-9", "-0.3"], True),
        ("0", "0.1", ["-1"] * 10, False),
        ("0", "0.1", ["-1"] * 11, True),
    ],
)
def test_order_in_doubt_may_have_filled_when_the_leg_allows_it(
    moved: str, quantity: str, others: list[str], may_have_filled: bool
) -> None:
    doubts = [Decimal(other) for other in others]

    assert check_may_have_filled(Decimal(moved), Decimal(quantity), doubts) is may_have_filled
