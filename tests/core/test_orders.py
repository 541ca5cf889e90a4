"""Ids, reports in any order, and how a fill is shared out."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from functools import reduce
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.model import Leg, Side
from dehedge.core.orders import (
    FORCED_PREFIXES,
    ID_PREFIX,
    Action,
    ClientOrderId,
    OrderReport,
    OrderStatus,
    Share,
    allocate,
    apply_report,
    client_order_id,
    get_leg,
)
from tests.core.builders import a_position, a_share, a_user

ID = ClientOrderId("dh-a1b2c3-1-0123456789")
TERMINAL = (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED)
LIVE = (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)

thousandths = st.integers(1, 10_000).map(lambda count: Decimal(count) / 1_000)
share_lists = st.lists(thousandths, min_size=1, max_size=8).map(
    lambda quantities: [
        a_share(position=a_position(user=a_user(number)), quantity=quantity)
        for number, quantity in enumerate(quantities)
    ]
)


def a_report(status: OrderStatus, filled: str | Decimal = "0", **changes: object) -> OrderReport:
    return replace(OrderReport(ID, status, Decimal(filled)), **changes)


def test_status_and_action_are_called_what_the_journal_calls_them() -> None:
    assert list(OrderStatus) == ["NEW", "PARTIALLY_FILLED", "REJECTED", "EXPIRED", "CANCELED", "FILLED"]
    assert list(Action) == ["increase", "reduce"]


@pytest.mark.parametrize("status", OrderStatus)
def test_status_is_terminal_when_it_is_an_end(status: OrderStatus) -> None:
    assert status.is_terminal is (status in TERMINAL)
    assert status.is_terminal is (status not in LIVE)


def test_ends_replace_what_is_live_and_a_fill_replaces_every_other_end() -> None:
    assert sorted(OrderStatus, key=lambda status: status.rank) == [*LIVE, *reversed(TERMINAL)]


@st.composite
def order_lives(draw: st.DrawFn) -> list[OrderReport]:
    """Everything an exchange may say of one order: growing fills, each with its own average price, then one end."""
    fills = sorted(draw(st.lists(thousandths, min_size=1, max_size=4, unique=True)))
    end = draw(st.sampled_from(TERMINAL[:3]))
    life = [a_report(OrderStatus.NEW, venue_order_id="77")]
    for number, fill in enumerate(fills):
        priced = {"average_price": Decimal(100 + number), "venue_order_id": "77"}
        life.append(a_report(OrderStatus.PARTIALLY_FILLED, fill, **priced))
    return [*life, a_report(end, fills[-1], reason="the end", average_price=life[-1].average_price)]


def merge(reports: list[OrderReport]) -> OrderReport:
    known: OrderReport | None = None
    for report in reports:
        known = apply_report(known, report)
    assert known is not None
    return known


@given(order_lives(), st.data())
def test_reports_merge_to_the_same_in_any_order_and_repetition(life: list[OrderReport], data: st.DataObject) -> None:
    arriving = data.draw(st.permutations([*life, *data.draw(st.lists(st.sampled_from(life), max_size=6))]))

    assert merge(arriving) == merge(life)


@given(order_lives(), st.data())
def test_reports_merge_to_the_same_when_some_carry_no_price(life: list[OrderReport], data: st.DataObject) -> None:
    # Order replies of the exchange have no fill price; its events have.
    unpriced = [replace(report, average_price=None) for report in life]
    arriving = data.draw(st.permutations([*life, *data.draw(st.lists(st.sampled_from(unpriced), max_size=6))]))

    assert merge(arriving) == merge(life)


any_reports = st.builds(
    OrderReport,
    st.just(ID),
    st.sampled_from(OrderStatus),
    st.sampled_from(("0", "0.1", "0.10", "0.2")).map(Decimal),
    st.sampled_from((None, "0.001", "0.5", "9", "9.0", "10")).map(
        lambda price: None if price is None else Decimal(price)
    ),
    st.sampled_from(("", "77", "8")),
    st.sampled_from(("", "by the exchange", "by hand")),
)
"""Whatever is said, even what contradicts itself."""


@given(any_reports, any_reports, any_reports)
def test_reports_merge_to_the_same_when_they_contradict_each_other(
    first: OrderReport, second: OrderReport, third: OrderReport
) -> None:
    assert apply_report(first, first) == first
    assert apply_report(first, second) == apply_report(second, first)
    assert apply_report(apply_report(first, second), third) == apply_report(first, apply_report(second, third))


@given(st.lists(any_reports, min_size=1, max_size=6))
def test_merged_report_holds_the_greatest_of_what_was_told(reports: list[OrderReport]) -> None:
    merged = merge(reports)

    told = [report for report in reports if report.filled_quantity == merged.filled_quantity]
    final = [report for report in reports if report.status is merged.status]
    assert merged.filled_quantity == max(report.filled_quantity for report in reports)
    assert merged.average_price == max(
        (one.average_price for one in told if one.average_price is not None), default=None
    )
    assert merged.status.rank == max(report.status.rank for report in reports)
    assert merged.reason == max(report.reason for report in final)
    assert merged.venue_order_id == max(report.venue_order_id for report in reports)


@given(order_lives(), st.data())
def test_merged_report_is_final_as_soon_as_one_report_was(life: list[OrderReport], data: st.DataObject) -> None:
    seen = data.draw(st.lists(st.sampled_from(life), min_size=1))

    merged = merge(seen)

    assert merged.status.is_terminal is any(report.status.is_terminal for report in seen)
    assert merged.filled_quantity == max(report.filled_quantity for report in seen)


@given(order_lives())
def test_report_applied_twice_changes_nothing(life: list[OrderReport]) -> None:
    merged = merge(life)

    assert reduce(apply_report, life, merged) == merged


def test_report_tells_nothing_that_the_exchange_did_not() -> None:
    report = OrderReport(ID, OrderStatus.NEW, Decimal(0))

    assert (report.average_price, report.venue_order_id, report.reason) == (None, "", "")


def test_first_report_is_taken_as_it_is() -> None:
    report = a_report(OrderStatus.NEW)

    assert apply_report(None, report) is report


@pytest.mark.parametrize("late", [OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED])
@pytest.mark.parametrize("end", TERMINAL)
def test_late_report_never_leaves_an_end(end: OrderStatus, late: OrderStatus) -> None:
    merged = apply_report(a_report(end, "0.5", reason="why"), a_report(late, "0.7"))

    assert (merged.status, merged.filled_quantity, merged.reason) == (end, Decimal("0.7"), "why")


def test_report_without_price_or_venue_id_keeps_what_was_known() -> None:
    known = a_report(OrderStatus.PARTIALLY_FILLED, "0.2", average_price=Decimal(9), venue_order_id="77")

    merged = apply_report(known, a_report(OrderStatus.PARTIALLY_FILLED, "0.2"))

    assert (merged.average_price, merged.venue_order_id) == (Decimal(9), "77")


@pytest.mark.parametrize("name", ["dh-other", "dh-0"])
def test_report_of_another_order_is_our_bug(name: str) -> None:
    other = replace(a_report(OrderStatus.NEW), client_order_id=ClientOrderId(name))

    with pytest.raises(AssertionError, match="^a report of another order$"):
        apply_report(a_report(OrderStatus.NEW), other)


@pytest.mark.parametrize("name", ["autoclose-1", "adl_autoclose", "settlement_autoclose-1"])
def test_forced_orders_are_known_by_their_ids(name: str) -> None:
    # As the exchange's documentation of its order events names them.
    assert name.startswith(FORCED_PREFIXES)


deployments = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=6, max_size=9)


@given(deployments, st.sampled_from(Action), share_lists, st.integers(0, 2**48 - 1))
def test_client_order_id_fits_the_exchange(deployment: str, action: Action, shares: list[Share], sequence: int) -> None:
    made = client_order_id(deployment, action, shares, sequence)

    assert re.fullmatch(r"[A-Za-z0-9_-]{1,36}", made)
    assert made.startswith(f"{ID_PREFIX}{deployment}-")
    assert made == client_order_id(deployment, action, shares, sequence)
    assert not made.startswith(FORCED_PREFIXES)


Intent = tuple[str, Action, list[Share], int]
intents = st.tuples(st.sampled_from(("a1b2c3", "z9y8x7")), st.sampled_from(Action), share_lists, st.integers(0, 40))


@given(share_lists, st.lists(st.tuples(deployments, st.integers(0, 2**48 - 1)), min_size=2, max_size=9, unique=True))
def test_client_order_id_is_used_once(shares: list[Share], names: list[tuple[str, int]]) -> None:
    made = {client_order_id(deployment, Action.INCREASE, shares, sequence) for deployment, sequence in names}

    assert len(made) == len(names)


@pytest.mark.parametrize(
    ("action", "shares"),
    [
        (Action.REDUCE, [a_share()]),
        (Action.INCREASE, [a_share(quantity="0.201")]),
        (Action.INCREASE, [a_share(position=a_position(user=a_user(9)))]),
        (Action.INCREASE, [a_share(), a_share(position=a_position(user=a_user(9)))]),
        (Action.INCREASE, []),
    ],
)
def test_client_order_id_differs_when_what_is_ordered_differs(action: Action, shares: list[Share]) -> None:
    # Two restorations of one journal count on from the same number.
    assert client_order_id("a1b2c3", action, shares, 5) != client_order_id("a1b2c3", Action.INCREASE, [a_share()], 5)


def test_client_order_id_is_the_same_in_every_release() -> None:
    shares = [a_share(), a_share(position=a_position(user=a_user(9)), quantity="0.301")]

    assert client_order_id("a1b2c3", Action.REDUCE, shares, 0x1F) == "dh-a1b2c3-1f-0ddbc348a6"


@given(st.lists(intents, min_size=2, max_size=6, unique_by=str))
def test_client_order_id_tells_intents_apart(named: list[Intent]) -> None:
    assert len({client_order_id(*intent) for intent in named}) == len(named)


def share_out(filled: Decimal, shares: list[Share]) -> list[Decimal]:
    """The parts alone, once they are seen to belong to the shares in their order."""
    parts = allocate(filled, shares)
    assert [share for share, _ in parts] == shares
    return [part for _, part in parts]


@given(share_lists, st.data())
def test_allocation_sums_to_the_fill_and_leaves_at_most_one_partial(shares: list[Share], data: st.DataObject) -> None:
    total = sum((share.quantity for share in shares), Decimal(0))
    filled = Decimal(data.draw(st.integers(0, int(total * 1_000)))) / 1_000

    parts = share_out(filled, shares)

    assert sum(parts) == filled
    assert all(
        0 <= part <= share.quantity and part % Decimal("0.001") == 0 for part, share in zip(parts, shares, strict=True)
    )
    assert sum(0 < part < share.quantity for part, share in zip(parts, shares, strict=True)) <= 1


@given(share_lists, st.data())
def test_allocation_of_a_larger_fill_takes_nothing_from_anybody(shares: list[Share], data: st.DataObject) -> None:
    total = int(sum(share.quantity for share in shares) * 1_000)
    less, more = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))

    before, after = (share_out(Decimal(filled) / 1_000, shares) for filled in (less, more))

    assert all(first <= second for first, second in zip(before, after, strict=True))


@given(share_lists, st.randoms(use_true_random=False))
def test_allocation_of_all_or_nothing_does_not_depend_on_the_turn(shares: list[Share], dice: Random) -> None:
    turned = list(shares)
    dice.shuffle(turned)

    assert share_out(sum((share.quantity for share in shares), Decimal(0)), turned) == [one.quantity for one in turned]
    assert share_out(Decimal(0), turned) == [0] * len(turned)


@given(share_lists, st.data())
def test_allocation_fills_every_share_whole_before_it_begins_the_next(shares: list[Share], data: st.DataObject) -> None:
    total = int(sum(share.quantity for share in shares) * 1_000)
    parts = share_out(Decimal(data.draw(st.integers(0, total))) / 1_000, shares)

    for number, part in enumerate(parts):
        assert not part or parts[:number] == [share.quantity for share in shares[:number]]


def test_allocation_fills_in_turn() -> None:
    shares = [a_share(quantity=quantity) for quantity in ("0.5", "0.3", "0.1")]

    assert share_out(Decimal("0.6"), shares) == [Decimal("0.5"), Decimal("0.1"), 0]


def test_allocation_of_more_than_was_ordered_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError, match="^an order was filled beyond its quantity$"):
        share_out(Decimal("0.201"), [a_share(quantity="0.2")])


@pytest.mark.parametrize(
    ("side", "hedge_mode", "leg"),
    [
        (Side.BUY, False, Leg.BOTH),
        (Side.SELL, False, Leg.BOTH),
        (Side.BUY, True, Leg.LONG),
        (Side.SELL, True, Leg.SHORT),
    ],
)
def test_leg_of_a_hedge_by_side_and_mode(side: Side, hedge_mode: bool, leg: Leg) -> None:
    assert get_leg(side, hedge_mode=hedge_mode) is leg
