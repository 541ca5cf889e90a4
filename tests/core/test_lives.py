"""The life of a hedge as the journal tells it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given

from dehedge.core.costs import Fee, OrderPriced
from dehedge.core.events import HedgesForced, HedgeWrittenDown, OrderAbandoned, OrderIntended
from dehedge.core.lives import Fill, Sight
from dehedge.core.model import Leg, Side
from dehedge.core.orders import Action, ClientOrderId, OrderStatus
from tests.core.builders import BTC, NOW, a_report, a_share, an_intent, replay
from tests.core.ledgers import LONG, TWIN, Entry, build_records, stories

MARK, PRICE = Decimal(60_000), Decimal(60_006)


def an_open(*, mark: Decimal | None = MARK, price: Decimal | None = Decimal(60_001)) -> OrderIntended:
    return replace(an_intent(shares=[a_share(position=LONG)._replace(price=price)]), mark=mark)


def a_close(sequence: int = 2) -> OrderIntended:
    share = a_share(position=LONG, target=0)._replace(reason="expired", price=Decimal(58_000))
    return replace(an_intent(shares=[share], action=Action.REDUCE, sequence=sequence), mark=Decimal(58_010))


def a_receipt(intent: OrderIntended, *, fees: tuple[Fee, ...] | None = (Fee("USDT", Decimal(6)),)) -> OrderPriced:
    return OrderPriced(intent.request.client_order_id, PRICE, "77", intent.request.quantity, fees, Decimal(0))


def tell(*events: object) -> list[Entry]:
    return [Entry(NOW + number, event) for number, event in enumerate(events)]  # type: ignore[arg-type]


def test_life_is_from_the_first_fill_to_the_last():
    opened, closed = an_open(), a_close()
    records = build_records(tell(opened, a_report(opened), a_receipt(opened), closed, a_report(closed), a_receipt(closed)))

    (life,) = records.lives
    assert (life.key, life.symbol, life.side) == (LONG.key, "BTCUSDT", Side.BUY)
    assert (life.opened_at, life.closed_at) == (NOW + 1, NOW + 4)
    first, last = life.fills
    assert (first.increases, first.quantity, first.held, first.reason) == (True, Decimal("0.2"), Decimal("0.2"), "at_risk")
    assert (first.price, first.is_estimate, first.fees) == (PRICE, False, (Fee("USDT", Decimal(6)),))
    assert (first.mark, first.decided_at) == (MARK, 60_001)
    assert (last.increases, last.held, last.reason, last.decided_at) == (False, 0, "expired", 58_000)
    assert [life.get_signed_quantity(NOW + at) for at in (0, 1, 3.9, 4)] == [0, Decimal("0.2"), Decimal("0.2"), 0]
    assert records.prices == {BTC: Sight(NOW + 3, Decimal(58_000))}
    assert [sight.price for sight in records.marks["BTCUSDT"]] == [MARK, 58_010]


def test_hedge_that_comes_again_has_a_life_of_its_own():
    opened, closed, again = an_open(), a_close(), replace(an_open(), intended_at=NOW + 9)
    again = replace(again, request=replace(again.request, client_order_id=ClientOrderId("dh-again")))
    records = build_records(
        tell(opened, a_report(opened), closed, a_report(closed), again, replace(a_report(again), reported_at=NOW + 9))
    )

    assert [life.closed_at for life in records.lives] == [NOW + 3, None]


def test_price_is_the_nearest_that_is_known():
    def get_fill(intent: OrderIntended, *more: object, told: Decimal | None = None) -> Fill:
        (life,) = build_records(tell(intent, a_report(intent, average_price=told), *more)).lives
        return life.fills[0]

    entry = Decimal(LONG.entry_price) / 10**18
    cases = [
        (get_fill(an_open(), a_receipt(an_open()), told=Decimal(1)), PRICE, False),
        (get_fill(an_open(), told=Decimal(59_000)), Decimal(59_000), False),
        (get_fill(an_open()), MARK, True),
        (get_fill(an_open(mark=None)), Decimal(60_001), True),
        (get_fill(an_open(mark=None, price=None)), entry, True),
    ]
    assert [(fill.price, fill.is_estimate) for fill, _, _ in cases] == [(price, guess) for _, price, guess in cases]
    assert get_fill(an_open(price=None)).decided_at == MARK
    assert get_fill(an_open(mark=None, price=None)).decided_at == entry


def test_receipt_with_fees_counts_before_one_without():
    opened = an_open()
    early = OrderPriced(opened.request.client_order_id, Decimal(1))
    for receipts in ([early, a_receipt(opened)], [a_receipt(opened), early]):
        (life,) = build_records(tell(opened, a_report(opened), *receipts)).lives
        assert life.fills[0].price == PRICE


def test_fees_of_an_order_are_shared_by_quantity():
    shares = [a_share(position=LONG, quantity="0.2"), a_share(position=TWIN, quantity="0.1")]
    intent = an_intent(shares=shares)
    fees = (Fee("BNB", Decimal("0.1")), Fee("USDT", Decimal(9)))
    records = build_records(tell(intent, a_report(intent), a_receipt(intent, fees=fees)))

    assert [life.fills[0].fees for life in records.lives] == [
        (Fee("BNB", Decimal("0.0666666666")), Fee("USDT", Decimal(6))),
        (Fee("BNB", Decimal("0.0333333334")), Fee("USDT", Decimal(3))),
    ]


def test_forced_order_costs_our_hedge_its_part_alone():
    opened = an_open()
    force = HedgesForced("88", "BTCUSDT", Leg.BOTH, Side.SELL, Decimal("0.8"), Decimal("0.8"), "autoclose")
    receipt = OrderPriced(ClientOrderId(""), Decimal(55_000), "88", Decimal("0.8"), (Fee("USDT", Decimal(8)),), Decimal(-1))
    (life,) = build_records(tell(opened, a_report(opened), force, receipt)).lives

    last = life.fills[-1]
    assert (last.price, last.is_estimate, last.fees) == (55_000, False, (Fee("USDT", Decimal(2)),))
    assert (last.share, last.mark, last.reason, last.decided_at) == (None, None, "autoclose", 55_000)


def test_receipt_of_no_hedge_is_nobodys():
    opened = an_open()
    stray = replace(a_receipt(opened), client_order_id=ClientOrderId(""), venue_order_id="99")

    (life,) = build_records(tell(opened, a_report(opened), stray)).lives
    assert life.fills[0].fees == ()


def test_what_another_hand_took_has_no_price():
    opened = an_open()
    (life,) = build_records(tell(opened, a_report(opened), HedgeWrittenDown(LONG.key, Decimal("0.2"), "by hand"))).lives

    last = life.fills[-1]
    assert (last.price, last.is_estimate, last.quantity, last.increases) == (None, True, Decimal("0.2"), False)


def test_close_that_fills_what_a_forced_order_took_belongs_to_the_same_life():
    opened, closed = an_open(), a_close()
    force = HedgesForced("88", "BTCUSDT", Leg.BOTH, Side.SELL, Decimal("0.2"), Decimal("0.2"), "autoclose")
    (life,) = build_records(tell(opened, a_report(opened), closed, force, a_report(closed), a_receipt(closed))).lives

    assert [fill.quantity for fill in life.fills] == [Decimal("0.2"), Decimal("0.2"), 0]
    assert life.fills[-1].fees == (Fee("USDT", Decimal(6)),)


def test_order_without_a_fill_leaves_no_trace():
    opened = an_open()

    assert build_records(tell(opened, OrderAbandoned(opened.request.client_order_id, "never"))).lives == ()
    waiting = a_report(opened, filled=0, status=OrderStatus.NEW)
    assert len(build_records(tell(opened, waiting, a_report(opened))).lives) == 1


@given(stories())
def test_lives_hold_what_the_book_holds(entries: list[Entry]) -> None:
    records = build_records(entries)
    hedges = replay(event for _, event in entries).get_all_hedged_positions()

    held = {life.key: life.fills[-1].held for life in records.lives if life.closed_at is None}
    assert held == {key: hedge.quantity for key, hedge in hedges.items() if hedge.quantity}
    assert [life.opened_at for life in records.lives] == sorted(life.opened_at for life in records.lives)


@given(stories())
def test_fees_of_hedges_are_the_receipts_of_their_orders(entries: list[Entry]) -> None:
    records = build_records(entries)
    orders = {event.client_order_id: event for _, event in entries if isinstance(event, OrderPriced)}
    ours = [event for name, event in orders.items() if name]
    booked = sum(fee.amount for event in ours for fee in event.fees or ())
    shared = sum(
        fee.amount for life in records.lives for fill in life.fills if fill.share is not None for fee in fill.fees
    )

    assert shared == booked
