"""The account against the book: exchange = hedged + foreign, on every leg, in both position modes."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.audit import LegAudit, audit, audit_leg, check_lacks_hedges
from dehedge.core.book import HedgeBook, HedgeStatus
from dehedge.core.model import Leg, Side
from tests.core.builders import a_book, a_hedge, a_position, a_user

BTCUSDT, ETHUSDT = "BTCUSDT", "ETHUSDT"
amounts = st.integers(-5_000, 5_000).map(lambda thousandths: Decimal(thousandths) / 1_000)
sides = st.sampled_from(Side)


def a_leg_audit(exchange: str, *, hedged: str = "0", foreign: str = "0", leg: Leg = Leg.BOTH) -> LegAudit:
    return LegAudit(BTCUSDT, leg, Decimal(exchange), Decimal(hedged), Decimal(foreign))


def a_two_sided_book() -> HedgeBook:
    long = a_position(user=a_user(1), is_long=True)
    short = a_position(user=a_user(2), is_long=False)
    other = a_position(user=a_user(3), market="ETH-USD")
    return a_book(
        a_hedge(position=long, quantity="0.5"), a_hedge(position=short, quantity="0.2"),
        a_hedge(position=other, quantity="7"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("leg", "exchange", "hedged"), [(Leg.BOTH, "0.3", "0.3"), (Leg.LONG, "0.5", "0.5"), (Leg.SHORT, "-0.2", "-0.2")]
)
def test_leg_audit_agrees_when_the_account_holds_the_book(leg: Leg, exchange: str, hedged: str) -> None:
    found = audit_leg(a_two_sided_book(), (BTCUSDT, leg), Decimal(exchange))

    assert found.hedged == Decimal(hedged)
    assert found.difference == 0
    assert found.get_shortfall(Side.BUY) == found.get_shortfall(Side.SELL) == 0


def test_leg_audit_takes_known_foreign_off() -> None:
    book = a_two_sided_book()
    book.foreign[(BTCUSDT, Leg.BOTH)] = Decimal(-2)

    assert audit_leg(book, (BTCUSDT, Leg.BOTH), Decimal("-1.7")).difference == 0
    assert audit_leg(book, (ETHUSDT, Leg.BOTH), Decimal(7)).known_foreign == 0


@pytest.mark.parametrize(
    ("exchange", "side", "shortfall", "surplus"),
    [
        ("0.2", Side.BUY, "0.3", "0"),
        ("0.2", Side.SELL, "0", "0.3"),
        ("0.9", Side.BUY, "0", "0.4"),
        ("0.9", Side.SELL, "0.4", "0"),
        ("0.5", Side.BUY, "0", "0"),
        ("-1", Side.BUY, "1.5", "0"),
    ],
)
def test_shortfall_and_surplus_by_side(exchange: str, side: Side, shortfall: str, surplus: str) -> None:
    found = a_leg_audit(exchange, hedged="0.5")

    assert found.get_shortfall(side) == Decimal(shortfall)
    assert found.get_surplus(side) == Decimal(surplus)


@given(exchange=amounts, hedged=amounts, foreign=amounts, side=sides)
def test_difference_is_surplus_less_shortfall(exchange: Decimal, hedged: Decimal, foreign: Decimal, side: Side) -> None:
    found = LegAudit(BTCUSDT, Leg.BOTH, exchange, hedged, foreign)

    assert found.hedged + found.known_foreign + found.difference == found.exchange
    assert found.get_surplus(side) - found.get_shortfall(side) == found.difference * side.sign
    assert min(found.get_surplus(side), found.get_shortfall(side)) == 0
    assert found.get_shortfall(side) == found.get_surplus(side.opposite)


@pytest.mark.parametrize(
    ("exchange", "side", "quantity", "expected"),
    [
        ("0.5", Side.BUY, "0.5", True),
        ("0.5", Side.BUY, "0.501", False),
        ("0.5", Side.SELL, "0.1", False),
        ("-0.5", Side.SELL, "0.5", True),
        ("-0.5", Side.BUY, "0.1", False),
        ("0", Side.BUY, "0.001", False),
    ],
)
def test_order_reduces_only_while_the_net_is_at_least_its_quantity(
    exchange: str, side: Side, quantity: str, expected: bool
) -> None:
    assert a_leg_audit(exchange).check_reduces(side, Decimal(quantity)) is expected


@given(exchange=amounts, side=sides, quantity=amounts.map(abs))
def test_order_that_reduces_never_turns_the_net_over(exchange: Decimal, side: Side, quantity: Decimal) -> None:
    reduces = LegAudit(BTCUSDT, Leg.BOTH, exchange, Decimal(0), Decimal(0)).check_reduces(side, quantity)
    after = exchange - quantity * side.sign

    assert reduces is (after * side.sign >= 0)


def test_audit_takes_a_leg_that_the_exchange_does_not_name_as_flat() -> None:
    first, second = audit(
        a_two_sided_book(), {(BTCUSDT, Leg.BOTH): Decimal("0.3")}, [(BTCUSDT, Leg.BOTH), (ETHUSDT, Leg.BOTH)]
    )

    assert (first.symbol, first.leg, first.difference) == (BTCUSDT, Leg.BOTH, 0)
    assert (second.exchange, second.get_shortfall(Side.BUY)) == (0, 7)


@pytest.mark.parametrize(
    ("leg", "exchange", "lacks"),
    [
        (Leg.LONG, "0.5", False),
        (Leg.LONG, "0.6", False),
        (Leg.LONG, "0.4", True),
        (Leg.SHORT, "-0.2", False),
        (Leg.SHORT, "-0.3", False),
        (Leg.SHORT, "-0.1", True),
        (Leg.BOTH, "0.3", False),
        # In one-way mode either side may be what was eaten into.
        (Leg.BOTH, "0.2", True),
        (Leg.BOTH, "0.4", True),
    ],
)
def test_lacks_hedges_when_the_difference_eats_into_them(leg: Leg, exchange: str, lacks: bool) -> None:
    book = a_two_sided_book()

    assert check_lacks_hedges(book, audit_leg(book, (BTCUSDT, leg), Decimal(exchange))) is lacks


@pytest.mark.parametrize("exchange", ["-3", "3"])
def test_lacks_no_hedges_when_none_is_held_there(exchange: str) -> None:
    book = a_two_sided_book()

    assert not check_lacks_hedges(book, audit_leg(book, ("SOLUSDT", Leg.BOTH), Decimal(exchange)))


def test_audit_counts_only_what_was_filled() -> None:
    book = a_book(a_hedge(quantity=0, target="0.2", status=HedgeStatus.OPENING))

    assert audit_leg(book, (BTCUSDT, Leg.BOTH), Decimal(0)).difference == 0


@given(st.lists(st.tuples(sides, amounts.map(abs)), max_size=6), st.booleans(), amounts)
def test_legs_of_the_book_sum_to_its_net_in_both_modes(
    hedges: list[tuple[Side, Decimal]], hedge_mode: bool, foreign: Decimal
) -> None:
    book = a_book(*(
        a_hedge(position=a_position(user=a_user(number), is_long=side is Side.BUY), quantity=quantity)
        for number, (side, quantity) in enumerate(hedges)
    ))  # fmt: skip
    legs = [(BTCUSDT, leg) for leg in ((Leg.LONG, Leg.SHORT) if hedge_mode else (Leg.BOTH,))]
    book.foreign[legs[0]] = foreign
    exchange = {key: book.get_net_quantity(*key) + book.foreign.get(key, Decimal(0)) for key in legs}

    assert sum(exchange.values()) == sum(quantity * side.sign for side, quantity in hedges) + foreign
    assert all(found.difference == 0 for found in audit(book, exchange, legs))
