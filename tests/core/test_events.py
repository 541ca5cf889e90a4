"""Folding facts into the book: the status is the lock, fills are what we own, and a replay gives the same book."""

from __future__ import annotations

from dataclasses import MISSING, fields
from decimal import Decimal
from typing import get_args

import pytest

from dehedge.core.book import HedgeBook, HedgeStatus, TradingMode
from dehedge.core.costs import FundingPaid, OrderPriced
from dehedge.core.events import (
    Change,
    Event,
    ForeignPositionSeen,
    HedgeChange,
    HedgesCooled,
    HedgesForced,
    HedgesReheated,
    HedgeWrittenDown,
    OrderAbandoned,
    OrderIntended,
    TradingModeSet,
    fold,
)
from dehedge.core.model import Leg, Side
from dehedge.core.orders import Action, OrderStatus
from tests.core.builders import (
    NOW,
    a_book,
    a_hedge,
    a_key,
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
BOTH_SHARES = (a_share(position=FIRST, quantity="0.2"), a_share(position=SECOND, quantity="0.1"))


def test_changes_are_called_what_logs_and_metrics_call_them() -> None:
    assert list(Change) == [
        "hedge_opened", "hedge_resized", "hedge_closed", "hedge_not_filled", "hedge_forced", "hedge_written_down",
    ]  # fmt: skip


def test_every_event_can_be_folded() -> None:
    events: list[Event] = [
        an_intent(), a_report(an_intent()), OrderAbandoned(an_intent().request.client_order_id, "late"),
        OrderPriced(an_intent().request.client_order_id, Decimal(9)), HedgesCooled(((a_key(), NOW),)), HedgesReheated((a_key(),), NOW),
        HedgesForced("1", "BTCUSDT", Leg.BOTH, Side.SELL, Decimal(1), Decimal(1), "autoclose"),
        HedgeWrittenDown(a_key(), Decimal(1), "by hand"), ForeignPositionSeen("BTCUSDT", Leg.BOTH, Decimal(1), NOW),
        TradingModeSet(TradingMode.ACTIVE, is_flattening=False),
        FundingPaid("BTCUSDT", Decimal("-0.1"), "USDT", NOW, "7"),
    ]  # fmt: skip

    assert {type(event) for event in events} == set(get_args(Event))
    replay(events)


def test_facts_of_earlier_versions_tell_nothing_of_what_they_lack() -> None:
    defaults = {
        (kind, field.name): field.default
        for kind in get_args(Event)
        for field in fields(kind)
        if field.default is not MISSING
    }

    assert defaults == {
        (OrderIntended, "fresh_until"): None,
        (OrderIntended, "mark"): None,
        (OrderPriced, "venue_order_id"): "",
        (OrderPriced, "quantity"): None,
        (OrderPriced, "fees"): None,
        (OrderPriced, "realized_profit"): None,
        (ForeignPositionSeen, "counted_until"): 0.0,
        (TradingModeSet, "set_at"): 0.0,
        (TradingModeSet, "reason"): "",
    }


def test_intent_opens_a_locked_hedge_that_holds_nothing_yet() -> None:
    book = replay([an_intent(shares=[a_share(position=FIRST)])])

    hedge = get_hedge(book, FIRST)
    assert (hedge.status, hedge.quantity, hedge.target) == (HedgeStatus.OPENING, 0, Decimal("0.2"))
    assert (hedge.opened_at, hedge.placed_at, hedge.is_cooling) == (NOW, NOW, False)
    assert (hedge.side, hedge.symbol, hedge.reason) == (Side.BUY, "BTCUSDT", "at_risk")
    assert (hedge.size, hedge.entry_price) == (FIRST.size, FIRST.entry_price)


@pytest.mark.parametrize(
    ("action", "target", "status"),
    [
        (Action.INCREASE, "0.3", HedgeStatus.ADJUSTING),
        (Action.REDUCE, "0.1", HedgeStatus.ADJUSTING),
        (Action.REDUCE, "0", HedgeStatus.CLOSING),
    ],
)
def test_intent_locks_a_hedge_that_is_held(action: Action, target: str, status: HedgeStatus) -> None:
    book = a_book(a_hedge(position=FIRST))

    fold(book, an_intent(shares=[a_share(position=FIRST, quantity="0.1", target=target)], action=action))

    hedge = get_hedge(book, FIRST)
    assert (hedge.status, hedge.quantity, hedge.target) == (status, Decimal("0.2"), Decimal("0.2"))


def test_intent_puts_the_order_in_flight_as_it_is_sent() -> None:
    intent = an_intent(shares=BOTH_SHARES)

    book = replay([intent])

    order = book.in_flight[intent.request.client_order_id]
    assert book.symbols == {"BTCUSDT"}
    assert (order.request, order.shares, order.report) == (intent.request, BOTH_SHARES, None)
    assert (order.hedge_side, order.action, order.intended_at) == (Side.BUY, Action.INCREASE, NOW)


def test_intent_tells_the_newest_block_that_was_acted_on() -> None:
    others = [a_share(position=SECOND)]
    events = [an_intent(block_number=7), an_intent(shares=others, sequence=2, block_number=5)]

    assert [replay(events[:count]).block_number for count in range(3)] == [0, 7, 7]


@pytest.mark.parametrize(
    ("action", "target", "seen_block"),
    [(Action.INCREASE, "0.3", 9), (Action.REDUCE, "0.1", 9), (Action.REDUCE, "0", 7)],
)
def test_intent_tells_the_newest_block_that_had_the_position(action: Action, target: str, seen_block: int) -> None:
    opened = an_intent(shares=[a_share(position=FIRST)], block_number=7)
    share = a_share(position=FIRST, quantity="0.1", target=target)
    book = replay([opened, a_report(opened)])
    assert get_hedge(book, FIRST).seen_block == 7

    fold(book, an_intent(shares=[share], action=action, sequence=2, block_number=9))

    assert get_hedge(book, FIRST).seen_block == seen_block


@pytest.mark.parametrize("status", [HedgeStatus.OPENING, HedgeStatus.ADJUSTING, HedgeStatus.CLOSING])
def test_intent_for_a_hedge_with_an_order_in_flight_is_a_broken_invariant(status: HedgeStatus) -> None:
    with pytest.raises(AssertionError, match="^two live orders for one hedge$"):
        fold(a_book(a_hedge(position=FIRST, status=status)), an_intent(shares=[a_share(position=FIRST)]))


def test_intent_that_names_a_hedge_twice_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError, match="^two live orders for one hedge$"):
        fold(HedgeBook(), an_intent(shares=[a_share(), a_share()]))


def test_intent_of_the_wrong_side_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError, match="^an order of the wrong side$"):
        fold(a_book(a_hedge(position=FIRST)), an_intent(shares=[a_share(position=FIRST)], hedge_side=Side.SELL))


def test_intent_to_reduce_what_is_not_held_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError, match="^a reduction of a hedge that we do not hold$"):
        fold(HedgeBook(), an_intent(action=Action.REDUCE))


def test_intent_journaled_twice_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError, match="^an intent is journaled once$"):
        replay([an_intent(), an_intent()])


@pytest.mark.parametrize(
    ("filled", "held", "kinds"),
    [
        ("0.3", ["0.2", "0.1"], [Change.OPENED, Change.OPENED]),
        ("0.25", ["0.2", "0.05"], [Change.OPENED, Change.OPENED]),
        ("0.2", ["0.2"], [Change.OPENED, Change.FAILED]),
        ("0.05", ["0.05"], [Change.OPENED, Change.FAILED]),
        ("0", [], [Change.FAILED, Change.FAILED]),
    ],
)
def test_opens_hold_what_was_filled_when_the_order_ends(filled: str, held: list[str], kinds: list[Change]) -> None:
    intent = an_intent(shares=BOTH_SHARES)
    book = replay([intent])

    changes = fold(book, a_report(intent, status=OrderStatus.EXPIRED, filled=filled))

    assert get_held(book) == [Decimal(quantity) for quantity in held]
    assert [change.kind for change in changes] == kinds
    assert all(hedge.status is HedgeStatus.OPEN for hedge in book.get_all_hedged_positions().values())
    assert not book.in_flight


def test_opened_hedge_keeps_its_target_when_it_was_filled_in_part() -> None:
    intent = an_intent(shares=[a_share(position=FIRST, quantity="0.2", target="0.5")])

    hedge = get_hedge(replay([intent, a_report(intent, filled="0.1", status=OrderStatus.CANCELED)]), FIRST)

    assert (hedge.quantity, hedge.target) == (Decimal("0.1"), Decimal("0.5"))


@pytest.mark.parametrize("status", [OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED])
def test_hedge_stays_locked_until_its_order_ends(status: OrderStatus) -> None:
    intent = an_intent(shares=BOTH_SHARES)
    book = replay([intent])

    assert fold(book, a_report(intent, status=status, filled="0.1")) == []
    assert book.in_flight[intent.request.client_order_id].report is not None
    assert get_hedge(book, FIRST).status is HedgeStatus.OPENING
    assert get_held(book) == [0, 0]


def test_fills_known_before_the_end_count_when_the_last_report_says_less() -> None:
    intent = an_intent(shares=BOTH_SHARES)
    events = [
        intent, a_report(intent, status=OrderStatus.PARTIALLY_FILLED, filled="0.25"),
        a_report(intent, status=OrderStatus.CANCELED, filled="0.1"),
    ]  # fmt: skip

    assert sum(get_held(replay(events))) == Decimal("0.25")


@pytest.mark.parametrize(
    ("action", "quantity", "target", "filled", "held", "kind"),
    [
        (Action.INCREASE, "0.1", "0.3", "0.1", "0.3", Change.RESIZED),
        (Action.INCREASE, "0.1", "0.3", "0.04", "0.24", Change.RESIZED),
        (Action.REDUCE, "0.1", "0.1", "0.1", "0.1", Change.RESIZED),
        (Action.REDUCE, "0.2", "0", "0.15", "0.05", Change.RESIZED),
    ],
)
def test_held_hedge_moves_by_what_was_filled(
    action: Action, quantity: str, target: str, filled: str, held: str, kind: Change
) -> None:
    grown = FIRST._replace(size=12_345, entry_price=54_321)
    intent = an_intent(shares=[a_share(position=grown, quantity=quantity, target=target)], action=action)
    book = a_book(a_hedge(position=FIRST))
    fold(book, intent)

    (change,) = fold(book, a_report(intent, filled=filled, status=OrderStatus.EXPIRED, average_price=Decimal(7)))

    hedge = get_hedge(book, FIRST)
    assert (hedge.quantity, hedge.target, hedge.status) == (Decimal(held), Decimal(target), HedgeStatus.OPEN)
    assert (hedge.size, hedge.entry_price) == (12_345, 54_321)
    assert change == HedgeChange(
        kind, FIRST.key, "BTCUSDT", Side.BUY, Decimal(filled), Decimal(held), "at_risk", Decimal(7)
    )


def test_hedge_is_forgotten_only_once_its_close_is_filled() -> None:
    close = an_intent(shares=[a_share(position=FIRST, target=0)], action=Action.REDUCE)
    book = a_book(a_hedge(position=FIRST))

    fold(book, close)
    assert book.has_hedged_position(FIRST.key)
    fold(book, a_report(close, status=OrderStatus.PARTIALLY_FILLED, filled="0.2"))
    assert book.has_hedged_position(FIRST.key)
    (change,) = fold(book, a_report(close))
    assert not book.has_hedged_position(FIRST.key)

    assert (change.kind, change.quantity, change.held) == (Change.CLOSED, Decimal("0.2"), 0)


@pytest.mark.parametrize("status", [OrderStatus.REJECTED, OrderStatus.EXPIRED, OrderStatus.CANCELED])
def test_hedge_is_as_before_when_its_order_filled_nothing(status: OrderStatus) -> None:
    before = a_hedge(position=FIRST, is_cooling=True)
    close = an_intent(shares=[a_share(position=FIRST, target=0)], action=Action.REDUCE)
    book = a_book(before)
    fold(book, close)

    (change,) = fold(book, a_report(close, status=status, filled=0, reason="-2019"))

    assert get_hedge(book, FIRST) == before
    assert (change.kind, change.quantity, change.reason) == (Change.FAILED, 0, "-2019")


def test_change_names_the_status_when_the_exchange_gave_no_reason() -> None:
    intent = an_intent()

    (change,) = fold(replay([intent]), a_report(intent, status=OrderStatus.EXPIRED, filled=0))

    assert change.reason == "EXPIRED"


def test_late_or_foreign_report_changes_nothing() -> None:
    intent = an_intent()
    book = replay([intent, a_report(intent)])
    before = dict(book.get_all_hedged_positions())

    assert fold(book, a_report(intent, filled="0.1")) == []
    assert fold(book, a_report(an_intent(sequence=9))) == []
    assert book.get_all_hedged_positions() == before


def test_price_told_after_the_order_is_settled_moves_no_quantity() -> None:
    intent = an_intent()
    events = [intent, a_report(intent)]

    assert replay([*events, OrderPriced(intent.request.client_order_id, Decimal(9))]) == replay(events)


def test_report_for_a_hedge_that_is_gone_is_a_broken_invariant() -> None:
    intent = an_intent(shares=[a_share(position=FIRST)])
    book = replay([intent])
    book.remove_hedged_position(FIRST.key)

    with pytest.raises(AssertionError, match="^an order in flight for a hedge that is gone$"):
        fold(book, a_report(intent))


def test_fill_beyond_the_order_is_a_broken_invariant() -> None:
    intent = an_intent()

    with pytest.raises(AssertionError, match="^an order was filled beyond its quantity$"):
        replay([intent, a_report(intent, filled="0.201")])


def test_abandoned_order_frees_its_hedges_and_forgets_what_never_was() -> None:
    opening = an_intent(shares=[a_share(position=SECOND)])
    closing = an_intent(shares=[a_share(position=FIRST, target=0)], action=Action.REDUCE, sequence=2)
    book = a_book(a_hedge(position=FIRST))
    fold(book, opening)
    fold(book, closing)

    changes = [
        change
        for intent in (opening, closing)
        for change in fold(book, OrderAbandoned(intent.request.client_order_id, "never arrived"))
    ]

    assert [(change.kind, change.reason) for change in changes] == [(Change.FAILED, "never arrived")] * 2
    assert book.get_all_hedged_positions() == {FIRST.key: a_hedge(position=FIRST)}
    assert not book.in_flight


def test_abandonment_of_a_settled_order_changes_nothing() -> None:
    intent = an_intent()
    book = replay([intent, a_report(intent)])

    assert fold(book, OrderAbandoned(intent.request.client_order_id, "late")) == []
    assert get_held(book) == [Decimal("0.2")]


def test_abandoned_order_keeps_the_fills_that_were_reported() -> None:
    intent = an_intent(shares=BOTH_SHARES)
    events = [intent, a_report(intent, status=OrderStatus.PARTIALLY_FILLED, filled="0.25")]

    book = replay([*events, OrderAbandoned(intent.request.client_order_id, "gone from the history")])

    assert sum(get_held(book)) == Decimal("0.25")
