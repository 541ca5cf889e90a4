"""What each fact is in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given

from dehedge.core.book import TradingMode
from dehedge.core.costs import Fee, FundingPaid, OrderPriced
from dehedge.core.events import (
    Event,
    ForeignPositionSeen,
    HedgesCooled,
    HedgesForced,
    HedgesReheated,
    HedgeWrittenDown,
    OrderAbandoned,
    TradingModeSet,
)
from dehedge.core.history import Chronicler, Happening
from dehedge.core.model import Leg, Side
from dehedge.core.orders import Action, ClientOrderId, OrderStatus
from tests.core.builders import NOW, a_report, a_share, an_intent
from tests.core.ledgers import LONG, SHORT, TWIN, Entry, stories

NAME = an_intent().request.client_order_id


def tell(*events: Event) -> list[Happening]:
    chronicler = Chronicler()
    return [it for event in events for it in chronicler.tell(NOW, event)]


def read(happenings: Sequence[Happening]) -> list[tuple[str, str]]:
    return [(it.kind, it.text) for it in happenings]


def test_order_is_told_when_intended_and_hedge_by_hedge_when_filled():
    shares = [a_share(position=LONG)._replace(price=Decimal("60000.50")), a_share(position=TWIN, quantity="0.1", target="0.4")]
    intent = replace(an_intent(shares=shares), mark=Decimal(60_001))
    told = tell(intent, a_report(intent, filled="0.25"))

    assert read(told) == [
        ("order_intended", "order to BUY 0.3 at a mark of 60001 for 2 hedges: at_risk"),
        ("hedge_opened", "hedge of a long opened by 0.2 at a price of 60000.5: at_risk"),
        ("hedge_resized", "hedge of a long increased by 0.05 of 0.1: at_risk"),
    ]
    assert [(it.symbol, it.key) for it in told] == [("BTCUSDT", None), ("BTCUSDT", LONG.key), ("BTCUSDT", TWIN.key)]


def test_hedge_that_got_nothing_of_a_fill_is_not_told():
    intent = an_intent(shares=[a_share(position=LONG), a_share(position=TWIN, quantity="0.1", target="0.4")])
    assert [it.key for it in tell(intent, a_report(intent, filled="0.1"))] == [None, LONG.key]


def test_reduction_is_told_as_closed_or_reduced():
    shares = [a_share(position=SHORT, target=0), a_share(position=SHORT, target="0.1")]
    for share, words in zip(shares, ("closed", "reduced"), strict=True):
        intent = an_intent(shares=[share], hedge_side=Side.SELL, action=Action.REDUCE)
        intended, filled = tell(intent, a_report(intent))
        assert (intended.text, intended.key) == ("order to BUY 0.2 for 1 hedge: at_risk", SHORT.key)
        assert (filled.kind.removeprefix("hedge_"), filled.text) == (
            "closed" if words == "closed" else "resized", f"hedge of a short {words} by 0.2: at_risk",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([a_report(an_intent(), filled=0, status=OrderStatus.NEW)], []),
        ([a_report(an_intent(), filled=0, status=OrderStatus.EXPIRED, reason="the book was exhausted")],
         [("order_ended", f"order {NAME} expired, filled 0: the book was exhausted")]),
        ([a_report(an_intent())], [("order_ended", f"order {NAME} filled, filled 0.2")]),
        ([OrderAbandoned(NAME, "never was")], [("order_given_up", f"order {NAME} was not executed: never was")]),
        ([OrderPriced(NAME, Decimal("60006.10"), "7", Decimal(1), (Fee("BNB", Decimal("0.010")),), Decimal("-1.50"))],
         [("order_priced", f"order {NAME} came to 60006.1, fees 0.01 BNB, profit -1.5")]),
        ([OrderPriced(ClientOrderId(""), Decimal(9), "7")], [("order_priced", "order 7 of the exchange came to 9")]),
        ([FundingPaid("BTCUSDT", Decimal("-0.50"), "USDT", NOW - 5, "1")], [("funding", "funding of -0.5 USDT")]),
        ([ForeignPositionSeen("BTCUSDT", Leg.BOTH, Decimal("0E-8"))],
         [("foreign_position", "the account holds 0 beside our hedges (BOTH)")]),
        ([HedgesForced("7", "BTCUSDT", Leg.BOTH, Side.SELL, Decimal(1), Decimal(2), "autoclose")],
         [("hedge_forced", "the exchange itself closed 1 (autoclose, order 7)")]),
        ([HedgeWrittenDown(LONG.key, Decimal(1), "by hand")], [("hedge_written_down", "1 of the hedge is gone: by hand")]),
        ([HedgesCooled(((LONG.key, NOW - 5), (TWIN.key, NOW + 5)))],
         [("hedge_cooled", "the risk is gone for 5 s: the hedge cools down"),
          ("hedge_cooled", "the risk is gone for 0 s: the hedge cools down")]),
        ([HedgesReheated((LONG.key,), NOW)], [("hedge_reheated", "the risk is back: the hedge stays")]),
        ([TradingModeSet(TradingMode.NO_OPENS, is_flattening=True, reason="lunch")],
         [("trading_mode", "trading mode no-opens, every hedge is being closed: lunch")]),
        ([TradingModeSet(TradingMode.ACTIVE, is_flattening=False)], [("trading_mode", "trading mode active")]),
    ],
)  # fmt: skip
def test_fact_is_told_in_words(events: list[Event], expected: list[tuple[str, str]]):
    assert read(tell(*events)) == expected


def test_end_of_an_order_names_its_symbol_when_its_intent_is_known():
    intent = an_intent()

    assert tell(intent, OrderAbandoned(NAME, "late"))[-1].symbol == "BTCUSDT"
    assert tell(intent, a_report(intent, filled=0, status=OrderStatus.EXPIRED))[-1].symbol == "BTCUSDT"
    assert tell(FundingPaid("BTCUSDT", Decimal(1), "USDT", NOW - 5, "1"))[0].at == NOW - 5


def test_order_that_filled_beyond_its_quantity_is_told_to_that():
    intent = an_intent()

    assert tell(intent, a_report(intent, filled="0.5"))[-1].text == "hedge of a long opened by 0.2: at_risk"


@given(stories())
def test_every_story_can_be_told_from_any_entry_on(entries: list[Entry]) -> None:
    for start in range(len(entries)):
        told = tell(*(event for _, event in entries[start:]))
        assert all(it.text and it.text.isprintable() for it in told)
    assert {type(event) for _, event in entries} <= set(get_args(Event))
