"""The book stores and looks up; it decides nothing."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.book import (
    HedgeBook,
    HedgeStatus,
    TradingMode,
    check_if_hedge_position_is_expired,
    check_on_leg,
)
from dehedge.core.events import ForeignPositionSeen, HedgesForced, TradingModeSet, fold
from dehedge.core.model import Leg, Side
from tests.core.builders import NOW, a_book, a_hedge, a_key, a_position, a_user, an_intent, replay


def test_status_and_mode_are_called_what_journal_and_operator_call_them() -> None:
    assert list(HedgeStatus) == ["OPENING", "OPEN", "ADJUSTING", "CLOSING"]
    assert list(TradingMode) == ["active", "no-opens", "reduce-only", "halted"]


def test_book_starts_empty_and_active() -> None:
    book = HedgeBook()

    assert not book.get_all_hedged_positions()
    assert (book.in_flight, book.foreign, book.forced_orders, book.counted_until) == ({}, {}, {}, {})
    assert (book.mode, book.is_flattening, book.mode_set_at, book.mode_reason) == (TradingMode.ACTIVE, False, 0, "")
    assert (book.block_number, book.symbols) == (0, set())


def test_books_share_nothing() -> None:
    HedgeBook().set_hedged_position(a_hedge())

    assert not HedgeBook().has_hedged_position(a_key())


def test_book_sets_has_gets_and_removes_by_key() -> None:
    book, hedge = HedgeBook(), a_hedge()

    book.set_hedged_position(hedge)

    assert book.has_hedged_position(hedge.key)
    assert book.get_hedged_position(hedge.key) is hedge
    assert book.get_all_hedged_positions() == {hedge.key: hedge}
    book.remove_hedged_position(hedge.key)
    assert not book.has_hedged_position(hedge.key)
    assert book.get_hedged_position(hedge.key) is None


def test_book_holds_one_hedge_for_a_key() -> None:
    book = a_book(a_hedge(quantity="0.1"), a_hedge(quantity="0.2"))

    assert [hedge.quantity for hedge in book.get_all_hedged_positions().values()] == [Decimal("0.2")]


def test_book_does_not_remove_what_it_does_not_hold() -> None:
    with pytest.raises(KeyError):
        HedgeBook().remove_hedged_position(a_key())


def test_all_hedged_positions_can_be_read_only() -> None:
    hedges = a_book(a_hedge()).get_all_hedged_positions()

    with pytest.raises(TypeError):
        hedges[a_key()] = a_hedge()  # type: ignore[index]


def get_placed_times(book: HedgeBook) -> list[float]:
    return [book.get_placed_at(hedge) for hedge in book.get_all_hedged_positions().values()]


def test_hedge_is_as_young_as_its_markets_last_look_until_its_risk_has_gone() -> None:
    others = a_position(user=a_user(2)), a_position(market="ETH-USD")
    book = a_book(a_hedge(), *(a_hedge(position=other) for other in others))

    book.note_judged(["BTC-USD"], NOW + 5)
    assert get_placed_times(book) == [NOW + 5, NOW + 5, NOW]
    book.set_cooling([a_key()], is_cooling=True)
    book.note_judged(["BTC-USD"], NOW + 9)
    assert get_placed_times(book) == [NOW + 5, NOW + 9, NOW]
    book.set_cooling([a_key()], is_cooling=False)
    assert get_placed_times(book) == [NOW + 9, NOW + 9, NOW]


def test_hedge_placed_after_the_last_look_is_younger_than_that() -> None:
    book = a_book(a_hedge())

    book.note_judged(["BTC-USD"], NOW - 5)

    assert get_placed_times(book) == [NOW]


def test_copy_is_equal_and_shares_nothing() -> None:
    book = replay([an_intent(), ForeignPositionSeen("BTCUSDT", Leg.BOTH, Decimal(1), NOW)])
    book.set_hedged_position(a_hedge(position=a_position(user=a_user(2))))
    fold(book, TradingModeSet(TradingMode.NO_OPENS, is_flattening=True, set_at=NOW, reason="why"))
    fold(book, HedgesForced("1", "BTCUSDT", Leg.BOTH, Side.SELL, Decimal(1), Decimal(1), "autoclose"))

    book.note_judged(["BTC-USD"], NOW)
    copied = book.copy()

    assert copied == book
    for field in fields(HedgeBook):
        mine, other = getattr(book, field.name), getattr(copied, field.name)
        assert mine, "a field left at its default would prove nothing"
        assert not isinstance(mine, dict | set) or mine is not other


def test_placed_times_in_the_future_become_now_when_the_clock_was_set_back() -> None:
    ahead, behind = a_hedge(placed_at=NOW + 500), a_hedge(position=a_position(user=a_user(2)), placed_at=NOW - 5)
    book = a_book(ahead, behind, a_hedge(position=a_position(market="ETH-USD"), placed_at=NOW - 9))
    book.note_judged(["ETH-USD"], NOW + 5)

    book.clamp_placed_times(NOW)

    assert get_placed_times(book) == [NOW, NOW - 5, NOW]


@pytest.mark.parametrize(("leg", "net"), [(Leg.BOTH, "0.3"), (Leg.LONG, "0.5"), (Leg.SHORT, "-0.2")])
def test_net_quantity_counts_the_hedges_on_the_leg(leg: Leg, net: str) -> None:
    book = a_book(
        a_hedge(quantity="0.5"),
        a_hedge(position=a_position(user=a_user(2), is_long=False), quantity="0.2"),
        a_hedge(position=a_position(user=a_user(3), market="ETH-USD"), quantity="9"),
    )

    assert book.get_net_quantity("BTCUSDT", leg) == Decimal(net)
    nothing = book.get_net_quantity("SOLUSDT", leg)
    assert (nothing, type(nothing)) == (0, Decimal)
    assert [hedge.symbol for hedge in book.get_symbol_hedges("BTCUSDT")] == ["BTCUSDT", "BTCUSDT"]


@pytest.mark.parametrize(
    ("side", "leg", "expected"),
    [
        (Side.BUY, Leg.BOTH, True),
        (Side.SELL, Leg.BOTH, True),
        (Side.BUY, Leg.LONG, True),
        (Side.SELL, Leg.LONG, False),
        (Side.BUY, Leg.SHORT, False),
        (Side.SELL, Leg.SHORT, True),
    ],
)
def test_side_lives_on_its_own_leg_and_on_both(side: Side, leg: Leg, expected: bool) -> None:
    assert check_on_leg(side, leg) is expected


@pytest.mark.parametrize(
    ("age_s", "expected"), [(0.0, False), (59.99, False), (60.0, True), (3_600.0, True), (-5.0, False)]
)
def test_hedge_is_expired_from_the_expiry_time_on(age_s: float, expected: bool) -> None:
    assert check_if_hedge_position_is_expired(NOW - age_s, now=NOW, expiry_s=60.0) is expected


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_hedge_once_expired_stays_so(age_s: float, later_s: float) -> None:
    first = check_if_hedge_position_is_expired(NOW, now=NOW + age_s, expiry_s=60.0)

    assert not first or check_if_hedge_position_is_expired(NOW, now=NOW + age_s + later_s, expiry_s=60.0)
