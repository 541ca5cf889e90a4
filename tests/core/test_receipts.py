"""What has a receipt and what has none, by the journaled facts."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dehedge.core import receipts as module
from dehedge.core.book import TradingMode
from dehedge.core.costs import FundingPaid, OrderPriced
from dehedge.core.events import Event, HedgesForced, OrderAbandoned, OrderIntended, OrderReported, TradingModeSet
from dehedge.core.model import Leg, Side
from dehedge.core.orders import OrderReport, OrderStatus
from dehedge.core.receipts import OVERLAP_S, Receipts, Unpriced
from tests.core.builders import NOW, an_intent

INTENT = an_intent()
NAME = INTENT.request.client_order_id


def a_report(
    status: OrderStatus = OrderStatus.FILLED, filled: str = "0.2", venue_order_id: str = "77"
) -> OrderReported:
    return OrderReported(OrderReport(NAME, status, Decimal(filled), venue_order_id=venue_order_id), NOW)


def a_price(quantity: str | None = "0.2", venue_order_id: str = "77") -> OrderPriced:
    filled = Decimal(quantity) if quantity is not None else None
    return OrderPriced(NAME, Decimal(60_000), venue_order_id, filled)


def a_funding(paid_at: float = NOW, venue_id: str = "1") -> FundingPaid:
    return FundingPaid("BTCUSDT", Decimal(-1), "USDT", paid_at, venue_id)


def a_force(filled: str = "0.1") -> HedgesForced:
    return HedgesForced("88", "BTCUSDT", Leg.BOTH, Side.SELL, Decimal(filled), Decimal(filled), "autoclose")


def after(*events: Event) -> Receipts:
    receipts = Receipts()
    for event in events:
        receipts.note(NOW, event)
    return receipts


@pytest.mark.parametrize(
    "events",
    [
        [a_report()],
        [a_report(OrderStatus.PARTIALLY_FILLED, "0.1"), a_report(OrderStatus.EXPIRED)],
        [a_report(OrderStatus.PARTIALLY_FILLED), OrderAbandoned(NAME, "given up")],
        [a_report(OrderStatus.FILLED), a_report(OrderStatus.FILLED, "0.2", "late")],
        [a_report(), OrderPriced(NAME, Decimal(60_000))],
        [a_report(), a_price("0.1")],
    ],
)
def test_filled_order_is_wanting_until_all_of_it_is_priced(events: list[Event]) -> None:
    receipts = after(INTENT, *events)

    assert [*receipts.unpriced.values()] == [Unpriced(NAME, "77", "BTCUSDT", Decimal("0.2"), INTENT.intended_at)]
    receipts.note(NOW, a_price())
    assert receipts.unpriced == {}


@pytest.mark.parametrize(
    "events",
    [
        [INTENT],
        [INTENT, a_report(OrderStatus.NEW, "0")],
        [INTENT, a_report(OrderStatus.REJECTED, "0")],
        [INTENT, OrderAbandoned(NAME, "never was")],
        [INTENT, a_report(venue_order_id="")],
        [a_report()],
        [OrderAbandoned(NAME, "of another time")],
        [TradingModeSet(TradingMode.HALTED, is_flattening=False)],
    ],
)
def test_nothing_is_wanting_without_a_fill_that_has_a_number(events: list[Event]) -> None:
    assert after(*events).unpriced == {}


def test_forced_order_is_wanting_for_all_that_it_filled() -> None:
    receipts = after(a_force("0.1"), a_force("0.3"), a_force("0.2"))

    assert [*receipts.unpriced.values()] == [Unpriced(module.FORCED, "88", "BTCUSDT", Decimal("0.3"), NOW)]
    receipts.give_up("88")
    receipts.give_up("88")
    assert receipts.unpriced == {}


def test_first_order_is_remembered() -> None:
    later: OrderIntended = an_intent(intended_at=NOW + 9)

    assert after().first_at is None
    assert after(INTENT, later).first_at == INTENT.intended_at


def test_oldest_are_let_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNPRICED_MAX", 1)

    assert [*after(INTENT, a_report(), a_force()).unpriced] == ["88"]


def test_funding_is_new_once_and_never_from_before_the_overlap() -> None:
    receipts = after(a_funding())

    assert receipts.funding_until == NOW
    assert not receipts.check_new(a_funding())
    assert receipts.check_new(a_funding(venue_id="2"))
    assert receipts.check_new(a_funding(NOW - OVERLAP_S, "0"))
    assert not receipts.check_new(a_funding(NOW - OVERLAP_S - 1, "0"))
    assert receipts.check_new(FundingPaid("ETHUSDT", Decimal(-1), "USDT", NOW, "1"))


def test_funding_of_long_ago_is_forgotten() -> None:
    receipts = after(a_funding(), a_funding(NOW + OVERLAP_S + 1, "2"), a_funding(NOW + 1, "3"))

    assert receipts.funding_until == NOW + OVERLAP_S + 1
    assert {name for _, name in receipts._fundings} == {"2", "3"}
