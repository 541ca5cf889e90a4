"""What was used in the last hour: from the journaled facts alone, each once, forgotten in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.book import HedgeBook
from dehedge.core.costs import OrderPriced
from dehedge.core.events import Event, HedgesForced, OrderAbandoned, OrderIntended, fold
from dehedge.core.model import Leg, Side
from dehedge.core.orders import Action, OrderStatus
from dehedge.core.usage import HOUR_S, Usage, Window
from tests.core.builders import BTC, ETH, NOW, a_book, a_hedge, a_position, a_report, a_share, a_user, an_intent, scaled

FIRST, SECOND = a_position(user=a_user(1)), a_position(user=a_user(2))
MARK = Decimal(60_000)


def an_order(sequence: int = 1, *, mark: Decimal | None = MARK, action: Action = Action.INCREASE) -> OrderIntended:
    """Two hedges of 0.1 and 0.2 BTC, whose positions were opened at 50,000."""
    target = None if action is Action.INCREASE else 0
    shares = [a_share(position=FIRST, quantity="0.1", target=target), a_share(position=SECOND, target=target)]
    return replace(an_intent(shares=shares, sequence=sequence, action=action), mark=mark)


def note_all(facts: Sequence[tuple[float, Event]], book: HedgeBook | None = None) -> Usage:
    usage, known = Usage(), book or a_book()
    for at, event in facts:
        usage.note(at, event, fold(known, event))
    return usage


@pytest.mark.parametrize(("mark", "notional"), [(MARK, 18_000), (None, 15_000)])
def test_usage_counts_an_order_in_flight_at_its_mark_or_the_entry_prices(mark: Decimal | None, notional: int) -> None:
    order = an_order(mark=mark)

    usage = note_all([(NOW, order)])

    assert usage.in_flight == {order.request.client_order_id: notional}
    assert usage.growth.totals == {"BTCUSDT": notional}
    assert usage.filled.total == 0
    assert usage.get_orders_per_minute(NOW) == 1


@pytest.mark.parametrize(("price", "notional"), [(None, 18_000), (Decimal(61_000), 18_300)])
def test_usage_counts_a_fill_at_its_price_or_the_mark(price: Decimal | None, notional: int) -> None:
    order = an_order()

    usage = note_all([(NOW, order), (NOW + 1, a_report(order, average_price=price))])

    assert usage.in_flight == {}
    assert usage.filled.totals == {"BTCUSDT": notional}
    assert usage.opens.totals == {FIRST.key: 1, SECOND.key: 1}


@pytest.mark.parametrize("mark", [Decimal("60000.5"), None])
def test_usage_counts_to_the_cent(mark: Decimal | None) -> None:
    share = a_share(position=FIRST._replace(entry_price=scaled("60000.5")), quantity="0.1")
    order = replace(an_intent(shares=[share]), mark=mark)

    usage = note_all([(NOW, order)])
    assert usage.in_flight == {order.request.client_order_id: Decimal("6000.05")}
    usage = note_all([(NOW, order), (NOW, a_report(order))])
    assert usage.filled.totals == {"BTCUSDT": Decimal("6000.05")}


def test_usage_counts_what_was_filled_and_the_hedges_that_came_of_it() -> None:
    order = an_order()
    usage = note_all([(NOW, order), (NOW, a_report(order, status=OrderStatus.EXPIRED, filled="0.1"))])

    assert usage.filled.total == 6_000
    assert usage.opens.totals == {FIRST.key: 1}
    refused = note_all([(NOW, order), (NOW, a_report(order, status=OrderStatus.REJECTED, filled=0))])
    assert (refused.filled.total, len(refused.filled), refused.opens.totals, refused.in_flight) == (0, 0, {}, {})


@pytest.mark.parametrize("told", ["0", "0.15"])
def test_usage_ends_with_an_order_that_was_given_up(told: str) -> None:
    order = an_order()
    end = OrderAbandoned(order.request.client_order_id, "never arrived")
    partial = a_report(order, status=OrderStatus.PARTIALLY_FILLED, filled=told)

    usage = note_all([(NOW, order), (NOW, partial), (NOW, end), (NOW, end)])

    assert (usage.in_flight, usage.filled.total) == ({}, Decimal(told) * MARK)


def test_usage_counts_the_fee_of_a_reduction_and_no_growth_or_open() -> None:
    order = an_order(action=Action.REDUCE)
    book = a_book(a_hedge(position=FIRST), a_hedge(position=SECOND))

    usage = note_all(
        [(NOW, order), (NOW, a_report(order)), (NOW, OrderPriced(order.request.client_order_id, MARK))], book
    )

    assert usage.filled.total == 18_000
    assert (len(usage.growth), usage.opens.totals) == (0, {})


def a_forced(order: str, filled: str = "0.05", *, side: Side = Side.SELL, symbol: str = "BTCUSDT") -> HedgesForced:
    return HedgesForced(order, symbol, Leg.BOTH, side, Decimal("0.05"), Decimal(filled), "autoclose")


@pytest.mark.parametrize(
    ("facts", "counts"),
    [
        ([a_forced("1"), a_forced("1", "0.1"), an_order(), a_forced("1", "0.15")], {"BTCUSDT": 1}),
        ([a_forced("1"), a_forced("2"), a_forced("3")], {"BTCUSDT": 1}),
        ([a_forced("1"), a_forced("2", symbol="ETHUSDT")], {"BTCUSDT": 1, "ETHUSDT": 1}),
        ([a_forced("1"), an_order(), a_forced("2"), a_forced("3")], {"BTCUSDT": 2}),
        ([a_forced("1"), an_order(action=Action.REDUCE), a_forced("2")], {"BTCUSDT": 1}),
        ([a_forced("1", side=Side.BUY), an_order()], {}),
    ],
)
def test_usage_counts_forced_orders_as_one_until_something_is_built_again(
    facts: Sequence[Event], counts: Mapping[str, int]
) -> None:
    held = [a_hedge(position=a_position(user=a_user(8), market=market), quantity="0.5") for market in (BTC, ETH)]
    ordered = [a_hedge(position=position, quantity="0.2", target="0.5") for position in (FIRST, SECOND)]

    usage = note_all([(NOW, fact) for fact in facts], a_book(*held, *ordered))

    assert usage.forced.totals == counts


def test_usage_survives_an_end_whose_beginning_it_has_not_seen() -> None:
    book, order, usage = a_book(), an_order(), Usage()
    fold(book, order)

    usage.note(NOW, a_report(order), fold(book, a_report(order)))

    assert (usage.filled.total, usage.opens.totals) == (0, {FIRST.key: 1, SECOND.key: 1})


@pytest.mark.parametrize(("later_s", "count"), [(0, 1), (60, 1), (60.001, 0)])
def test_usage_counts_the_orders_of_the_last_minute(later_s: float, count: int) -> None:
    assert note_all([(NOW, an_order())]).get_orders_per_minute(NOW + later_s) == count


@pytest.mark.parametrize(("later_s", "is_known"), [(HOUR_S - 0.001, True), (HOUR_S, False)])
def test_usage_forgets_everything_after_an_hour(later_s: float, is_known: bool) -> None:
    order = an_order()
    forced = HedgesForced("1", "BTCUSDT", Leg.BOTH, Side.SELL, Decimal("0.05"), Decimal("0.05"), "autoclose")
    usage = note_all([(NOW, order), (NOW, a_report(order)), (NOW, forced)])

    usage.advance(NOW + later_s)

    windows = (usage.growth, usage.filled, usage.opens, usage.forced, usage._forced_orders)
    assert [bool(window.totals) for window in windows] == [is_known] * 5
    assert [bool(len(window)) for window in windows] == [is_known] * 5
    assert [window.total > 0 for window in windows] == [is_known] * 5


def test_window_is_bounded_while_only_added_to() -> None:
    window: Window[int] = Window()
    for second in range(10_000):
        window.add(NOW + second, second)

    assert (len(window), len(window.totals), window.total) == (3_600, 3_600, 3_600)


def test_window_forgets_a_name_that_used_nothing() -> None:
    window: Window[str] = Window()
    for amount in (5, 0, 0):
        window.add(NOW, "x", Decimal(amount))

    window.advance(NOW + HOUR_S)

    assert (window.get("x"), len(window.totals)) == (0, 0)


def test_window_takes_what_lies_in_the_future_as_now_when_the_clock_was_set_back() -> None:
    window: Window[str] = Window()
    window.add(NOW, "before")
    window.add(NOW + 86_400, "ahead")

    window.advance(NOW + 10)
    assert [entry.at for entry in window.get_since(0)] == [NOW + 10]
    window.advance(NOW + 10 + HOUR_S)

    assert window.total == 0


def test_window_forgets_in_time_when_it_was_used_again_after_the_clock_was_set_back() -> None:
    window: Window[str] = Window()
    window.add(NOW + 86_400, "ahead")
    window.add(NOW, "back")

    window.advance(NOW + 10)
    assert [entry.at for entry in window.get_since(0)] == [NOW, NOW]
    window.advance(NOW + HOUR_S)

    assert (len(window), window.total, dict(window.totals)) == (0, 0, {})


entries = st.lists(st.tuples(st.integers(0, 9_000), st.sampled_from("abc"), st.integers(0, 5)), max_size=40)


@given(entries, st.integers(0, 4_000), st.integers(0, 9_000))
def test_window_holds_what_a_plain_list_holds(drawn: list[tuple[int, str, int]], later_s: int, since: int) -> None:
    used = sorted(drawn)
    window: Window[str] = Window()
    for at, name, amount in used:
        window.add(at, name, Decimal(amount))
    now = max([at for at, *_ in used], default=0) + later_s

    window.advance(now)

    young = [(at, name, amount) for at, name, amount in used if at > now - HOUR_S]
    assert window.total == sum(amount for *_, amount in young)
    assert all(window.get(name) == sum(amount for _, other, amount in young if other == name) for name in "abc")
    assert len(window.get_since(since)) == sum(at >= since for at, *_ in young)


def test_copy_is_the_same_and_goes_its_own_way() -> None:
    def read(usage: Usage) -> dict[str, object]:
        return {name: vars(part).copy() if isinstance(part, Window) else part for name, part in vars(usage).items()}

    usage = note_all([(NOW, an_order()), (NOW + 1, a_report(an_order())), (NOW + 2, an_order(2))])
    usage.forced.add(NOW, "BTCUSDT")
    usage._forced_orders.add(NOW, "v1")
    usage._struck.add("BTCUSDT")
    before, twin = deepcopy(read(usage)), usage.copy()
    assert read(twin) == before
    twin.note(NOW + 3, an_order(3), [])
    twin._struck.add("ETHUSDT")
    twin.advance(NOW + 2 * HOUR_S)

    assert read(usage) == before
    assert read(twin) != before
