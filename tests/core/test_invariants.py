"""Every law of the core is noticed when it is broken, by the hedge or order that broke it, and only then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from dehedge.core.book import HedgeBook, HedgeStatus, InFlightOrder, TradingMode
from dehedge.core.events import Event, HedgeWrittenDown, OrderAbandoned, OrderIntended, TradingModeSet, fold
from dehedge.core.invariants import (
    HEDGE_LAWS,
    ORDER_LAWS,
    PART_LAWS,
    Breach,
    Entry,
    Law,
    Watch,
    find_intent_breaches,
)
from dehedge.core.model import HedgeKey, Leg, Side
from dehedge.core.orders import Action, ClientOrderId, OrderStatus
from tests.core.builders import (
    NOW,
    a_book,
    a_hedge,
    a_position,
    a_report,
    a_share,
    a_user,
    an_intent,
    replay,
)

POSITION, OTHER = a_position(), a_position(user=a_user(2))
STEP = Decimal("0.001")
HELD = a_hedge(quantity="0.2", target="0.3")


def test_laws_are_called_what_the_reason_of_the_kill_switch_calls_them() -> None:
    assert list(Law) == [
        "one live order per hedge", "a hedge's status tells its order in flight",
        "an order has the side and symbol of its hedges", "a reduction takes no more than is held",
        "an increase stays within its target", "quantities are positive", "quantities are on the step",
        "shares add up to their order", "no order fills beyond its quantity", "an order id is used once",
        "no exposure is added on stale inputs", "the kill switch is obeyed", "the exchange's limits are kept",
        "nothing is sent while the exchange wants us to wait", "a write is sent once", "the laws can be checked",
    ]  # fmt: skip


def screen(book: HedgeBook, intent: OrderIntended, **entry: Any) -> dict[HedgeKey | None, Law]:
    found = find_intent_breaches(book, Entry(**{"sequence": 1, "intent": intent, "step": STEP, **entry}))
    return {key: breach.law for key, breach in found.items()}


def a_reduction(quantity: str = "0.2", **changes: Any) -> OrderIntended:
    return an_intent(shares=[a_share(quantity=quantity, target="0")], action=Action.REDUCE, **changes)


def a_growth(quantity: str = "0.1", target: str = "0.3", **changes: Any) -> OrderIntended:
    return an_intent(shares=[a_share(quantity=quantity, target=target)], **changes)


@pytest.mark.parametrize(
    ("book", "intent"),
    [
        (a_book(), an_intent()),
        (a_book(HELD), a_growth()),
        (a_book(HELD), a_reduction()),
        (a_book(HELD), a_reduction(hedge_mode=True)),
        (a_book(HELD), an_intent(shares=[a_share(quantity="0.1", target="0.1")], action=Action.REDUCE)),
        (a_book(HELD, mode=TradingMode.NO_OPENS), a_growth()),
        (a_book(HELD, mode=TradingMode.REDUCE_ONLY), a_reduction()),
        (a_book(a_hedge(quantity="0.2005", target="0.3")), a_reduction("0.2005")),
    ],
)
def test_lawful_order_breaks_nothing(book, intent):
    assert screen(book, intent) == {}


def test_order_id_names_its_entry_of_the_journal():
    assert screen(a_book(), an_intent(sequence=0x1F), sequence=0x1F) == {}
    assert screen(a_book(), an_intent(sequence=0x1F), sequence=0xF) == {None: Law.UNIQUE}


def with_request(intent: OrderIntended, **changes: Any) -> OrderIntended:
    return replace(intent, request=replace(intent.request, **changes))


BROKEN_PARTS = {
    "nothing": (a_book(), an_intent(shares=[a_share(quantity="0", target="0.2")]), Law.POSITIVE),
    "less than nothing": (a_book(HELD), a_reduction("-0.1"), Law.POSITIVE),
    "locked": (a_book(replace(HELD, status=HedgeStatus.ADJUSTING)), a_growth(), Law.ONE_ORDER),
    "wrong side": (a_book(HELD), a_growth(hedge_side=Side.SELL), Law.SIDE),
    "wrong symbol": (a_book(HELD), a_growth(symbol="ETHUSDT"), Law.SIDE),
    "too much closed": (a_book(HELD), a_reduction("0.201"), Law.REDUCES),
    "closed what is not there": (a_book(), a_reduction("0.001"), Law.REDUCES),
    "opened above the target": (a_book(), a_growth("0.301"), Law.TARGET),
    "grown above the target": (a_book(HELD), a_growth("0.101"), Law.TARGET),
    "off the step": (a_book(), a_growth("0.1005"), Law.STEP),
    "closed off the step": (a_book(HELD), a_reduction("0.1005"), Law.STEP),
    "opened when paused": (a_book(mode=TradingMode.NO_OPENS), an_intent(), Law.MODE),
    "grown when reduce-only": (a_book(HELD, mode=TradingMode.REDUCE_ONLY), a_growth(), Law.MODE),
    "opened when flattening": (a_book(is_flattening=True), an_intent(), Law.MODE),
    "closed when halted": (a_book(HELD, mode=TradingMode.HALTED), a_reduction(), Law.MODE),
}


@pytest.mark.parametrize("name", BROKEN_PARTS)
def test_share_that_breaks_a_law_is_found_by_its_hedge_when_another_share_is_lawful(name):
    book, intent, law = BROKEN_PARTS[name]
    alone = screen(book, intent)
    other = a_share(position=OTHER)
    book.set_hedged_position(
        a_hedge(position=OTHER, quantity="0.2" if intent.action is Action.REDUCE else "0.001", target="0.3",
                side=intent.hedge_side, symbol=intent.request.symbol)
    )  # fmt: skip
    if intent.action is Action.INCREASE:
        other = a_share(position=OTHER, quantity="0.1", target="0.3")
    shares = (*intent.shares, other)
    quantity = sum((share.quantity for share in shares), Decimal(0))
    together = screen(book, with_request(replace(intent, shares=shares), quantity=quantity))

    assert alone.pop(None, Law.POSITIVE) is Law.POSITIVE  # An order of nothing is none as a whole, too.
    assert alone == {POSITION.key: law}
    assert together.pop(POSITION.key) is law
    assert together == {} or law is Law.MODE


def test_every_law_of_a_share_has_a_case():
    assert {law for _, _, law in BROKEN_PARTS.values()} >= PART_LAWS.keys() | {Law.MODE}


INTENT = an_intent()
BROKEN_ORDERS = {
    "shares that do not add up": (with_request(INTENT, quantity=Decimal("0.3")), Law.SUM),
    "an increase against its hedges": (with_request(INTENT, side=Side.SELL), Law.SIDE),
    "a reduction that increases": (with_request(a_reduction(), side=Side.BUY), Law.SIDE),
    "an increase that is reduce-only": (with_request(INTENT, reduce_only=True), Law.SIDE),
    "the other leg": (with_request(a_reduction(hedge_mode=True), leg=Leg.SHORT), Law.SIDE),
    "reduce-only in hedge mode": (with_request(a_reduction(hedge_mode=True), reduce_only=True), Law.SIDE),
    "an id of another entry": (an_intent(sequence=2), Law.UNIQUE),
    "an id that is none of ours": (with_request(INTENT, client_order_id=ClientOrderId("web")), Law.UNIQUE),
    "too late": (replace(INTENT, fresh_until=NOW - 0.001), Law.FRESH),
    "on inputs of no known age": (replace(INTENT, fresh_until=None), Law.FRESH),
}


@pytest.mark.parametrize("name", BROKEN_ORDERS)
def test_order_that_breaks_a_law_is_found_as_a_whole(name):
    intent, law = BROKEN_ORDERS[name]

    assert screen(a_book() if intent.action is Action.INCREASE else a_book(HELD), intent) == {None: law}


def test_order_id_that_is_in_flight_is_not_used_again():
    book = replay([an_intent(shares=[a_share(position=OTHER)])])
    again = with_request(INTENT, client_order_id=next(iter(book.in_flight)))

    assert screen(book, again) == {None: Law.UNIQUE}


def test_reduction_needs_no_fresh_inputs():
    assert a_reduction().fresh_until is None
    assert screen(a_book(HELD), a_reduction()) == {}


def test_hedge_that_another_order_of_the_step_has_taken_is_not_taken_again():
    assert screen(a_book(), INTENT, taken=frozenset({POSITION.key})) == {POSITION.key: Law.ONE_ORDER}


def test_hedge_is_taken_once_by_one_order():
    shares = [a_share(quantity="0.1", target="0.2")] * 2

    assert screen(a_book(), an_intent(shares=shares)) == {POSITION.key: Law.ONE_ORDER}


def test_step_is_not_held_against_an_order_when_it_is_not_known():
    assert screen(a_book(), a_growth("0.1005"), step=None) == {}


TOO_MUCH = a_reduction("0.201")
ITS_ID = TOO_MUCH.request.client_order_id
FIGURES = {
    "of a hedge": (
        a_book(HELD), Entry(1, TOO_MUCH, STEP), POSITION.key,
        f"holds BUY 0.2 BTCUSDT OPEN, would reduce by 0.201 to 0 with {ITS_ID}, step 0.001, mode active",
    ),
    "of no hedge": (
        a_book(mode=TradingMode.NO_OPENS), Entry(1, INTENT), POSITION.key,
        f"holds nothing, would increase by 0.2 to 0.2 with {INTENT.request.client_order_id}, step None, mode no-opens",
    ),
    "of an order": (
        a_book(), Entry(1, with_request(INTENT, quantity=Decimal("0.3"))), None,
        "BUY 0.3 BTCUSDT BOTH to increase BUY, shares 0.2, filled 0",
    ),
    "of an id": (a_book(), Entry(7, INTENT), None, "journal entry 7"),
    "of an age": (
        a_book(), Entry(1, replace(INTENT, fresh_until=None)), None, f"intended at {NOW}, fresh until None",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_breach_says_law_subject_and_figures(name):
    book, entry, key, figures = FIGURES[name]

    breach = find_intent_breaches(book, entry)[key]

    assert breach.subject == (entry.intent.request.client_order_id if key is None else str(key))
    assert str(breach) == f"invariant broken: {breach.law.value}: {breach.subject}: {figures}"


class Followed:
    """A book and the watch that has followed it from its first step."""

    def __init__(self, *events: Event) -> None:
        self.book, self.watch = HedgeBook(), Watch()
        self.intent = an_intent(shares=[a_share(), a_share(position=OTHER)])
        for event in events:
            assert self.step(event) == []

    def step(self, *events: Event, break_it: Callable[[HedgeBook], None] = lambda _: None) -> list[tuple[Law, str]]:
        changed = [change.key for event in events for change in fold(self.book, event)]
        break_it(self.book)
        return name(self.watch.review(self.book, events, changed))


def test_breach_by_a_step_says_what_is_held_and_by_which_order():
    assert say(PAIR, break_it=forget_hedge) == {f"no hedge, {ORDER_ID}"}
    assert say(PAIR, break_it=set_hedge(status=HedgeStatus.OPEN)) == {f"BUY 0 BTCUSDT OPEN, {ORDER_ID}"}
    overfilled = set_order(report=a_report(PAIR, filled="0.401").report)
    assert say(PAIR, break_it=overfilled) == {"BUY 0.4 BTCUSDT BOTH to increase BUY, shares 0.4, filled 0.401"}
    assert say(a_growth(), a_report(a_growth()), break_it=set_hedge(quantity=Decimal(0))) == {
        "BUY 0 BTCUSDT OPEN, no order"
    }
    assert say(PAIR, a_report(PAIR), break_it=set_hedge(quantity=Decimal("0.201"))) == {"holds 0.201, target 0.2"}
    assert "0, not 1" in say(PAIR, TradingModeSet(TradingMode.NO_OPENS, is_flattening=False), break_it=forget_orders)


def say(*events: Event, break_it: Callable[[HedgeBook], None]) -> set[str]:
    """The figures of what the last of these steps broke."""
    followed = Followed(*events[:-1])
    changed = [change.key for change in fold(followed.book, events[-1])]
    break_it(followed.book)
    return {breach.figures for breach in followed.watch.review(followed.book, events[-1:], changed)}


def name(breaches: Sequence[Breach]) -> list[tuple[Law, str]]:
    return [(breach.law, breach.subject) for breach in breaches]


def set_hedge(**changes: Any) -> Callable[[HedgeBook], None]:
    def break_it(book: HedgeBook) -> None:
        hedge = book.get_hedged_position(POSITION.key)
        assert hedge is not None
        book.set_hedged_position(replace(hedge, **changes))

    return break_it


def forget_hedge(book: HedgeBook) -> None:
    book.remove_hedged_position(POSITION.key)


def forget_orders(book: HedgeBook) -> None:
    book.in_flight.clear()


PAIR = an_intent(shares=[a_share(), a_share(position=OTHER)])
ORDER_ID = PAIR.request.client_order_id


def set_order(**changes: Any) -> Callable[[HedgeBook], None]:
    def break_it(book: HedgeBook) -> None:
        order = book.in_flight[ORDER_ID]
        book.in_flight[ORDER_ID] = replace(order, **changes)

    return break_it


IN_FLIGHT_BREAKS = {
    "the lock is forgotten": (set_hedge(status=HedgeStatus.OPEN, quantity=Decimal("0.1")), Law.LOCK, str(POSITION.key)),
    "the lock is of a close": (set_hedge(status=HedgeStatus.CLOSING), Law.LOCK, str(POSITION.key)),
    "the hedge is gone": (forget_hedge, Law.LOCK, str(POSITION.key)),
    "the hedge is of the other side": (set_hedge(side=Side.SELL), Law.SIDE, str(POSITION.key)),
    "the hedge is in another symbol": (set_hedge(symbol="ETHUSDT"), Law.SIDE, str(POSITION.key)),
    "the hedge is negative": (set_hedge(quantity=Decimal("-0.1")), Law.POSITIVE, str(POSITION.key)),
    "the shares do not add up": (set_order(shares=(PAIR.shares[0],)), Law.SUM, ORDER_ID),
    "the order has changed sides": (set_order(hedge_side=Side.SELL), Law.SIDE, ORDER_ID),
    "the order is of nothing": (
        set_order(request=replace(PAIR.request, quantity=Decimal(0)), shares=()), Law.POSITIVE, ORDER_ID,
    ),
    "the order is overfilled": (
        set_order(report=a_report(PAIR, status=OrderStatus.PARTIALLY_FILLED, filled="0.401").report),
        Law.FILLED, ORDER_ID,
    ),
    "the fill is negative": (
        set_order(report=a_report(PAIR, status=OrderStatus.PARTIALLY_FILLED, filled="-0.001").report),
        Law.FILLED, ORDER_ID,
    ),
}  # fmt: skip


@pytest.mark.parametrize("break_name", IN_FLIGHT_BREAKS)
def test_law_is_found_broken_by_the_step_that_broke_it_and_by_a_look_at_everything(break_name):
    break_it, law, subject = IN_FLIGHT_BREAKS[break_name]
    followed = Followed()

    assert (law, subject) in followed.step(PAIR, break_it=break_it)
    assert (law, subject) in name(Watch().sweep(followed.book))


def test_every_law_of_hedges_and_orders_has_a_case():
    assert {law for _, law, _ in IN_FLIGHT_BREAKS.values()} == ORDER_LAWS.keys() | HEDGE_LAWS.keys()


def test_partial_report_is_held_against_its_order():
    followed = Followed(PAIR)

    for filled in ("0", "0.1", "0.4"):
        assert followed.step(a_report(PAIR, status=OrderStatus.PARTIALLY_FILLED, filled=filled)) == []
    too_much = a_report(PAIR, status=OrderStatus.PARTIALLY_FILLED, filled="0.401")
    assert followed.step(too_much) == [(Law.FILLED, ORDER_ID)]


END_BREAKS = {
    "a hedge stays locked": (set_hedge(status=HedgeStatus.ADJUSTING), Law.LOCK),
    "a flat hedge is kept": (set_hedge(quantity=Decimal(0)), Law.POSITIVE),
    "a hedge is above its target": (set_hedge(quantity=Decimal("0.201")), Law.TARGET),
}


@pytest.mark.parametrize("break_name", END_BREAKS)
def test_law_is_found_broken_when_an_order_has_ended(break_name):
    break_it, law = END_BREAKS[break_name]

    assert Followed(PAIR).step(a_report(PAIR), break_it=break_it) == [(law, str(POSITION.key))]


def test_hedge_may_be_above_its_target_when_a_reduction_was_filled_in_part():
    reduction = an_intent(shares=[a_share(quantity="0.1", target="0.1")], action=Action.REDUCE, sequence=2)
    opened = an_intent()

    assert Followed(opened, a_report(opened), reduction).step(a_report(reduction, filled="0.05")) == []


def test_hedge_is_gone_without_complaint_when_its_order_was_abandoned():
    assert Followed(PAIR).step(OrderAbandoned(ORDER_ID, "never sent")) == []


def test_hedge_is_noticed_when_it_changes_without_an_order():
    followed = Followed(PAIR, a_report(PAIR))
    gone = HedgeWrittenDown(POSITION.key, Decimal("0.2"), "closed by another hand")

    def keep_it(book: HedgeBook) -> None:
        book.set_hedged_position(a_hedge(quantity="0"))

    assert followed.step(gone, break_it=keep_it) == [(Law.POSITIVE, str(POSITION.key))]


def test_second_live_order_for_a_hedge_is_found_by_step_and_by_sweep():
    followed = Followed(PAIR)
    second = an_intent(sequence=2)

    def take_it_too(book: HedgeBook) -> None:
        order = InFlightOrder(second.request, second.hedge_side, second.action, second.shares, NOW)
        book.in_flight[second.request.client_order_id] = order

    take_it_too(followed.book)

    (breach,) = followed.watch.review(followed.book, [second], [])
    assert breach == (Law.ONE_ORDER, str(POSITION.key), f"held by {ORDER_ID} and {second.request.client_order_id}")
    assert name(Watch().sweep(followed.book)) == [(Law.ONE_ORDER, str(POSITION.key))]


def test_other_order_keeps_its_hedge_when_one_of_two_ends():
    followed = Followed(PAIR)
    second = an_intent(sequence=2)
    order = InFlightOrder(second.request, second.hedge_side, second.action, second.shares, NOW)
    followed.book.in_flight[second.request.client_order_id] = order
    followed.watch.review(followed.book, [second], [])

    del followed.book.in_flight[ORDER_ID]
    forget_other = replace(a_hedge(position=OTHER), status=HedgeStatus.OPEN)
    followed.book.set_hedged_position(forget_other)

    assert name(followed.watch.review(followed.book, [OrderAbandoned(ORDER_ID, "")], [])) == []


def test_order_that_vanishes_in_a_step_about_something_else_is_noticed():
    followed = Followed(PAIR)
    paused = TradingModeSet(TradingMode.NO_OPENS, is_flattening=False)

    assert followed.step(paused, break_it=forget_orders) == [(Law.LOCK, "orders in flight")]


def test_report_of_an_order_that_has_ended_touches_nothing():
    followed = Followed(PAIR, a_report(PAIR))

    assert followed.step(a_report(PAIR)) == []


def test_lock_without_an_order_is_found_when_everything_is_looked_at():
    book = a_book(a_hedge(status=HedgeStatus.CLOSING), a_hedge(position=OTHER))

    assert name(Watch().sweep(book)) == [(Law.LOCK, str(POSITION.key))]
