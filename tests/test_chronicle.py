"""What happened lately stays in bounded rings, and is told in words when somebody asks."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dehedge.chronicle import FACTS_MAX, SAMPLES_MAX, Chronicle, Entry, Sample
from dehedge.core.book import HedgeBook, TradingMode
from dehedge.core.events import (
    Event,
    ForeignPositionSeen,
    HedgesCooled,
    HedgesReheated,
    HedgeWrittenDown,
    OrderAbandoned,
    OrderPriced,
    TradingModeSet,
    fold,
)
from dehedge.core.model import Leg
from dehedge.core.orders import Action
from tests.core.builders import NOW, a_key, a_report, a_share, an_intent

INTENT = an_intent()
ORDER = INTENT.request.client_order_id


def record(*events: Event) -> Chronicle:
    chronicle, book = Chronicle(), HedgeBook()
    for event in events:
        chronicle.note(NOW, event, fold(book, event))
    return chronicle


def tell(*events: Event) -> list[tuple[str, str]]:
    return [(entry.kind, entry.text) for _, _, entry in record(*events).get_entries()]


def test_order_and_the_hedge_that_it_opens_are_told():
    assert tell(INTENT, a_report(INTENT, average_price=Decimal("60000.5"))) == [
        ("order_intended", f"BUY 0.2 to increase, {ORDER}"),
        ("order_reported", f"{ORDER}: FILLED, filled 0.2"),
        ("hedge_opened", "BUY hedge, 0.2 at 60000.5, holds 0.2: at_risk"),
    ]


def test_hedge_is_told_with_its_market_position_and_symbol():
    *_, (number, at, entry) = record(INTENT, a_report(INTENT)).get_entries()

    assert (number, at) == (2, NOW)
    assert (entry.market, entry.position_id, entry.symbol) == ("BTC-USD", a_key().position_id, "BTCUSDT")


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (OrderPriced("dh-1", Decimal("60000.5")), ("order_priced", "dh-1: 60000.5 on average")),
        (OrderAbandoned(ORDER, "never arrived"), ("order_abandoned", f"{ORDER}: never arrived")),
        (
            TradingModeSet(TradingMode.HALTED, is_flattening=False, reason="a look"),
            ("trading_mode_set", "halted: a look"),
        ),
        (
            TradingModeSet(TradingMode.NO_OPENS, is_flattening=True, reason="storm"),
            ("trading_mode_set", "no-opens, flattening: storm"),
        ),
        (
            ForeignPositionSeen("BTCUSDT", Leg.BOTH, Decimal("1.5")),
            ("foreign_position_seen", "1.5 on BOTH beside our hedges"),
        ),
    ],
)
def test_fact_without_a_hedge_is_told(event: Event, told: tuple[str, str]):
    assert tell(event) == [told]


def test_risk_that_goes_and_comes_back_is_told():
    opened = (INTENT, a_report(INTENT))
    gone, back = HedgesCooled(((a_key(), NOW),)), HedgesReheated((a_key(),), NOW)

    assert tell(*opened, gone, back)[-2:] == [
        ("risk_gone", "hedges whose risk has gone: 1"),
        ("risk_back", "hedges whose risk came back: 1"),
    ]


def test_what_nobody_wanted_is_a_warning():
    chronicle = record(INTENT, a_report(INTENT), HedgeWrittenDown(a_key(), Decimal("0.1"), "another hand"))

    assert [entry.level for _, _, entry in chronicle.get_entries(after=2)] == ["warning"]


def test_only_hedges_opened_and_closed_are_marked():
    close = an_intent(action=Action.REDUCE, shares=[a_share(target=0)], sequence=3)
    chronicle = record(INTENT, a_report(INTENT), close, a_report(close))

    assert [mark.change.kind.value for mark in chronicle.marks] == ["hedge_opened", "hedge_closed"]


def test_reading_goes_on_after_the_number_that_was_read_last():
    chronicle = Chronicle()
    for number in range(5):
        chronicle.note_entry(NOW, Entry("feed_failed", str(number)))

    assert [entry.text for _, _, entry in chronicle.get_entries(after=3)] == ["3", "4"]
    assert chronicle.get_entries(after=5) == chronicle.get_entries(after=99) == []
    assert chronicle.count == 5


def test_rings_are_bounded():
    chronicle = Chronicle()
    for number in range(FACTS_MAX + 7):
        chronicle.note_entry(NOW, Entry("feed_failed", str(number)))
    for number in range(SAMPLES_MAX + 7):
        chronicle.add_sample(Sample(NOW + number, None, None, {}))

    entries = chronicle.get_entries()
    assert [len(entries), len(chronicle.samples)] == [FACTS_MAX, SAMPLES_MAX]
    assert entries[0][0] == 8
    assert chronicle.samples[-1].at == NOW + SAMPLES_MAX + 6
