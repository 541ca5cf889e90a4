"""Facts that are not orders of ours: risk that went or came back, the exchange's own orders, other hands, the switch."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dehedge.core.book import HedgeBook, HedgeStatus, TradingMode
from dehedge.core.events import (
    Change,
    ForeignPositionSeen,
    HedgeChange,
    HedgesCooled,
    HedgesForced,
    HedgesReheated,
    HedgeWrittenDown,
    TradingModeSet,
    fold,
)
from dehedge.core.model import Leg, Side
from dehedge.core.orders import Action, OrderStatus
from tests.core.builders import (
    NOW,
    a_book,
    a_hedge,
    a_position,
    a_report,
    a_share,
    a_user,
    an_intent,
    get_hedge,
    get_held,
    replay,
)

FIRST, SECOND = a_position(user=a_user(1)), a_position(user=a_user(2))
SHORT = a_position(user=a_user(3), is_long=False)


def test_cooling_and_reheating_carry_their_own_times() -> None:
    book = a_book(a_hedge(position=FIRST, placed_at=NOW))

    fold(book, HedgesCooled(((FIRST.key, NOW - 7), (SECOND.key, NOW))))
    assert (get_hedge(book, FIRST).is_cooling, get_hedge(book, FIRST).placed_at) == (True, NOW - 7)
    fold(book, HedgesReheated((FIRST.key, SECOND.key), NOW + 3))
    assert (get_hedge(book, FIRST).is_cooling, get_hedge(book, FIRST).placed_at) == (False, NOW + 3)

    assert not book.has_hedged_position(SECOND.key)


def a_forced(filled: str, *, order: str = "liq-1", leg: Leg = Leg.BOTH, side: Side = Side.SELL) -> HedgesForced:
    return HedgesForced(order, "BTCUSDT", leg, side, Decimal(filled), Decimal(filled), "autoclose")


def a_forced_book(status: HedgeStatus = HedgeStatus.OPEN) -> HedgeBook:
    return a_book(
        a_hedge(position=FIRST, quantity="0.2", status=status), a_hedge(position=SECOND, quantity="0.1"),
        a_hedge(position=SHORT, quantity="0.4"), a_hedge(position=FIRST._replace(market="ETH-USD"), quantity=5),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("forced", "held"),
    [
        (a_forced("0.15"), ["0.05", "0.1", "0.4", "5"]),
        (a_forced("0.2"), ["0.1", "0.4", "5"]),
        (a_forced("0.25"), ["0.05", "0.4", "5"]),
        (a_forced("9"), ["0.4", "5"]),
        (a_forced("9", side=Side.BUY), ["0.2", "0.1", "5"]),
        (a_forced("0.2", leg=Leg.LONG), ["0.1", "0.4", "5"]),
        (a_forced("0.2", leg=Leg.SHORT), ["0.2", "0.1", "0.4", "5"]),
        (a_forced("0.1", leg=Leg.SHORT, side=Side.BUY), ["0.2", "0.1", "0.3", "5"]),
        (a_forced("0"), ["0.2", "0.1", "0.4", "5"]),
    ],
)
def test_forced_order_takes_from_the_hedges_it_worked_against(forced: HedgesForced, held: list[str]) -> None:
    book = a_forced_book()

    changes = fold(book, forced)

    assert sorted(get_held(book)) == sorted(Decimal(quantity) for quantity in held)
    assert {(change.kind, change.reason) for change in changes} <= {(Change.FORCED, "autoclose")}
    assert all(change.quantity for change in changes)


def test_forced_order_takes_no_more_than_it_has_filled_in_all() -> None:
    forced = HedgesForced("liq-1", "BTCUSDT", Leg.BOTH, Side.SELL, Decimal("0.2"), Decimal("0.1"), "autoclose")

    assert [change.quantity for change in fold(a_forced_book(), forced)] == [Decimal("0.1")]


def test_forced_order_counts_once_however_often_it_is_seen() -> None:
    book = a_forced_book()

    taken = [
        sum(change.quantity for change in fold(book, a_forced(filled)))
        for filled in ("0.1", "0.1", "0.25", "0.2", "0.25")
    ]
    other = fold(book, a_forced("0.05", order="liq-2"))

    assert taken == [Decimal("0.1"), 0, Decimal("0.15"), 0, 0]
    assert [(change.quantity, change.held) for change in other] == [(Decimal("0.05"), 0)]


@pytest.mark.parametrize(("part", "held"), [("0.05", "0.15"), ("0.2", None), ("3", None)])
def test_written_down_hedge_holds_less_and_is_forgotten_at_nothing(part: str, held: str | None) -> None:
    book = a_book(a_hedge(position=FIRST))

    (change,) = fold(book, HedgeWrittenDown(FIRST.key, Decimal(part), "closed by another hand"))

    hedge = book.get_hedged_position(FIRST.key)
    assert (hedge.quantity if hedge else None) == (Decimal(held) if held else None)
    taken = min(Decimal(part), Decimal("0.2"))
    assert change == HedgeChange(
        Change.WRITTEN_DOWN,
        FIRST.key,
        "BTCUSDT",
        Side.BUY,
        taken,
        Decimal("0.2") - taken,
        "closed by another hand",
        None,
    )


def test_write_down_of_a_hedge_that_is_gone_changes_nothing() -> None:
    book = HedgeBook()

    assert fold(book, HedgeWrittenDown(FIRST.key, Decimal(1), "closed by another hand")) == []
    assert not book.get_all_hedged_positions()


@pytest.mark.parametrize(
    ("filled", "held", "kind"), [("0.1", 0, Change.CLOSED), ("0.05", 0, Change.CLOSED), ("0", 0, Change.FAILED)]
)
def test_hedge_forced_away_under_its_close_never_goes_below_nothing(filled: str, held: int, kind: Change) -> None:
    close = an_intent(shares=[a_share(position=FIRST, target=0)], action=Action.REDUCE)
    book = a_book(a_hedge(position=FIRST))
    fold(book, close)
    fold(book, a_forced("0.2"))
    assert get_hedge(book, FIRST).quantity == 0

    (change,) = fold(book, a_report(close, status=OrderStatus.EXPIRED, filled=filled))

    assert (change.kind, change.held) == (kind, held)
    assert not book.has_hedged_position(FIRST.key)


def test_forced_order_takes_first_from_hedges_with_nothing_in_flight() -> None:
    # The close of the first was filled whole; what the exchange took afterwards can only have been the second.
    book = a_forced_book()
    close = an_intent(shares=[a_share(position=FIRST, quantity="0.2", target=0)], action=Action.REDUCE)
    fold(book, close)

    fold(book, a_forced("0.1"))
    fold(book, a_report(close))

    assert book.get_net_quantity("BTCUSDT", Leg.LONG) == 0


def test_foreign_position_is_noted_by_leg_and_the_last_word_counts() -> None:
    seen = [(Leg.BOTH, 3), (Leg.BOTH, -1), (Leg.LONG, 2)]

    book = replay(ForeignPositionSeen("BTCUSDT", leg, Decimal(quantity), 0.0) for leg, quantity in seen)

    assert book.foreign == {("BTCUSDT", Leg.BOTH): Decimal(-1), ("BTCUSDT", Leg.LONG): Decimal(2)}
    assert book.counted_until == {("BTCUSDT", Leg.BOTH): 0.0, ("BTCUSDT", Leg.LONG): 0.0}


def test_orders_of_others_stay_counted_once_they_are() -> None:
    seen = [NOW, NOW + 5, 0.0]

    book = replay(ForeignPositionSeen("BTCUSDT", Leg.BOTH, Decimal(1), until) for until in seen)

    assert list(book.counted_until.values()) == [NOW + 5]


def test_orders_counted_on_one_leg_say_nothing_of_the_other() -> None:
    # A trade by hand on one leg must not hide an earlier liquidation of the other.
    seen = [(Leg.LONG, NOW + 5), (Leg.SHORT, NOW)]

    book = replay(ForeignPositionSeen("BTCUSDT", leg, Decimal(1), until) for leg, until in seen)

    assert sorted(book.counted_until.values()) == [NOW, NOW + 5]


@pytest.mark.parametrize("mode", TradingMode)
@pytest.mark.parametrize("is_flattening", [True, False])
def test_kill_switch_stands_where_it_was_last_set(mode: TradingMode, is_flattening: bool) -> None:
    book = replay([TradingModeSet(TradingMode.HALTED, is_flattening=True), TradingModeSet(mode, is_flattening)])

    assert (book.mode, book.is_flattening) == (mode, is_flattening)
