"""Ids, reports in any order, and how a fill is shared out."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.model import Leg, Side
from dehedge.core.orders import (
    FORCED_PREFIXES,
    ID_PREFIX,
    NEXT_STATUSES,
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

thousandths = st.integers(1, 10_000).map(lambda count: Decimal(count) / 1_000)
share_lists = st.lists(thousandths, min_size=1, max_size=8).map(
    lambda quantities: [
        a_share(position=a_position(user=a_user(number)), quantity=quantity)
        for number, quantity in enumerate(quantities)
    ]
)


def a_report(status: OrderStatus, filled: str | Decimal = "0", **changes: object) -> OrderReport:
    return replace(OrderReport(ID, status, Decimal(filled)), **changes)


@pytest.mark.parametrize("status", OrderStatus)
def test_status_is_terminal_exactly_when_nothing_may_follow(status: OrderStatus) -> None:
    assert status.is_terminal is (status in TERMINAL)


@pytest.mark.parametrize("status", OrderStatus)
def test_status_table_is_total_and_leads_to_an_end(status: OrderStatus) -> None:
    following = NEXT_STATUSES[status]

    assert status not in following
    assert OrderStatus.NEW not in following
    assert status.is_terminal or any(after.is_terminal for after in following)


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
    arriving = data.draw(st.permutations([*life[:-1], unpriced[-1]]))

    assert merge(arriving) == merge([*life[:-1], unpriced[-1]])


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


def test_report_of_another_order_is_our_bug() -> None:
    other = replace(a_report(OrderStatus.NEW), client_order_id=ClientOrderId("dh-other"))

    with pytest.raises(AssertionError, match="another order"):
        apply_report(a_report(OrderStatus.NEW), other)


deployments = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=6, max_size=9)


@given(deployments, st.sampled_from(Action), share_lists, st.integers(0, 2**48 - 1))
def test_client_order_id_fits_the_exchange(deployment: str, action: Action, shares: list[Share], sequence: int) -> None:
    made = client_order_id(deployment, action, shares, sequence)

    assert re.fullmatch(r"[A-Za-z0-9_-]{1,36}", made)
    assert made.startswith(f"{ID_PREFIX}{deployment}-")
    assert made == client_order_id(deployment, action, shares, sequence)
    assert not made.startswith(FORCED_PREFIXES)


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


@given(share_lists, st.data())
def test_allocation_sums_to_the_fill_and_leaves_at_most_one_partial(shares: list[Share], data: st.DataObject) -> None:
    total = sum((share.quantity for share in shares), Decimal(0))
    filled = Decimal(data.draw(st.integers(0, int(total * 1_000)))) / 1_000

    parts = allocate(filled, shares)

    assert sum(parts) == filled
    assert len(parts) == len(shares)
    assert parts == allocate(filled, shares)
    assert all(
        0 <= part <= share.quantity and part % Decimal("0.001") == 0 for part, share in zip(parts, shares, strict=True)
    )
    assert sum(0 < part < share.quantity for part, share in zip(parts, shares, strict=True)) <= 1


@given(share_lists, st.data())
def test_allocation_of_a_larger_fill_takes_nothing_from_anybody(shares: list[Share], data: st.DataObject) -> None:
    total = int(sum(share.quantity for share in shares) * 1_000)
    less, more = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))

    before, after = (allocate(Decimal(filled) / 1_000, shares) for filled in (less, more))

    assert all(first <= second for first, second in zip(before, after, strict=True))


def test_allocation_fills_in_turn() -> None:
    shares = [a_share(quantity=quantity) for quantity in ("0.5", "0.3", "0.1")]

    assert allocate(Decimal("0.6"), shares) == [Decimal("0.5"), Decimal("0.1"), 0]


def test_allocation_of_more_than_was_ordered_is_a_broken_invariant() -> None:
    with pytest.raises(AssertionError, match="beyond its quantity"):
        allocate(Decimal("0.201"), [a_share(quantity="0.2")])


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
