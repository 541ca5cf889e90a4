"""Histories with money in them: what a journal may tell of a few hedges that open, resize, end, are forced, and pay."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from hypothesis import strategies as st

from dehedge.core.book import HedgeBook
from dehedge.core.costs import Fee, FundingPaid, OrderPriced
from dehedge.core.events import (
    Event,
    ForeignPositionSeen,
    HedgesForced,
    HedgeWrittenDown,
    OrderAbandoned,
    OrderIntended,
    fold,
)
from dehedge.core.lives import LifeBook, Records
from dehedge.core.model import Leg, Position, Side
from dehedge.core.orders import Action, ClientOrderId, OrderStatus
from tests.core.builders import ETH, NOW, a_position, a_report, a_share, a_user, an_intent

STEP = Decimal("0.001")
LONG, TWIN = a_position(user=a_user(1)), a_position(user=a_user(2))
SHORT = a_position(user=a_user(3), is_long=False)
ETHER = a_position(user=a_user(4), market=ETH, entry_price=3_000 * 10**18)
POSITIONS = (LONG, TWIN, SHORT, ETHER)
UNIT = 10**6
PRICES = st.decimals(40_000, 70_000, places=1)
FEES = st.decimals(0, 50, places=8)


class Entry(NamedTuple):
    """A fact and when it was journaled."""

    at: float
    event: Event


def build_records(entries: list[Entry]) -> Records:
    book = LifeBook()
    for at, event in entries:
        book.note(at, event)
    return book.build()


def get_symbol(position: Position) -> str:
    return "ETHUSDT" if position.market == ETH else "BTCUSDT"


def an_order(
    book: HedgeBook, position: Position, quantity: Decimal, *, sequence: int, mark: Decimal | None, price: Decimal | None
) -> OrderIntended:
    """What the book allows: an open, or for a hedge that is held an increase or, by an even number, a decrease."""
    hedge = book.get_hedged_position(position.key)
    held = hedge.quantity if hedge is not None else Decimal(0)
    reduces = bool(held) and sequence % 2 == 0
    part = min(quantity, held) if reduces else quantity
    target = held - part if reduces else held + part
    share = a_share(position=position, quantity=part, target=target)._replace(price=price)
    action = Action.REDUCE if reduces else Action.INCREASE
    intent = an_intent(
        shares=[share], hedge_side=position.hedge_side, action=action, symbol=get_symbol(position), sequence=sequence,
        intended_at=NOW + sequence,
    )  # fmt: skip
    return replace(intent, mark=mark)


@st.composite
def stories(draw: st.DrawFn) -> list[Entry]:
    """Orders of four hedges, receipts late or never, funding, and other hands."""
    entries: list[Entry] = []
    book = HedgeBook()

    def tell(at: float, *events: Event) -> None:
        for event in events:
            fold(book, event)
            entries.append(Entry(at, event))

    late: list[Event] = []
    for sequence in range(1, draw(st.integers(1, 14)) + 1):
        at = NOW + sequence
        intent = an_order(
            book, draw(st.sampled_from(POSITIONS)), draw(st.integers(1, 300)) * STEP, sequence=sequence,
            mark=draw(st.none() | PRICES), price=draw(st.none() | PRICES),
        )  # fmt: skip
        tell(at, intent)
        name, filled = intent.request.client_order_id, draw(st.integers(0, int(intent.request.quantity / STEP))) * STEP
        tell(at, *_draw_others(draw, sequence, late))
        tell(at + 0.5, *_draw_end(draw, intent, filled))
        if filled and draw(st.booleans()):
            late.append(a_receipt(draw, name, "77", filled))
        if draw(st.booleans()):
            tell(at, *late)
            late.clear()
    tell(NOW + 99, *late)
    return entries


def _draw_others(draw: st.DrawFn, sequence: int, late: list[Event]) -> list[Event]:
    """What somebody else did meanwhile; what is learned of it later goes into ``late``."""
    at, quantity = NOW + sequence, draw(st.integers(1, 200)) * STEP
    match draw(st.sampled_from(("forced", "written", "foreign", "funding", "nothing"))):
        case "forced":
            late.append(a_receipt(draw, ClientOrderId(""), f"f{sequence}", quantity))
            return [HedgesForced(f"f{sequence}", "BTCUSDT", Leg.BOTH, Side.SELL, quantity, quantity, "adl")]
        case "written":
            return [HedgeWrittenDown(draw(st.sampled_from(POSITIONS)).key, STEP, "by hand")]
        case "foreign":
            return [ForeignPositionSeen("BTCUSDT", Leg.BOTH, draw(st.sampled_from((quantity, -quantity))), at)]
        case "funding":
            amount, asset = draw(st.decimals(-100, 100, places=8)), draw(st.sampled_from(("USDT", "BNB")))
            symbol = draw(st.sampled_from(("BTCUSDT", "ETHUSDT", "SOLUSDT")))
            late.append(FundingPaid(symbol, amount, asset, at, str(sequence)))
            if draw(st.booleans()):  # Of the other leg.
                late.append(FundingPaid(symbol, draw(st.decimals(-100, 100, places=8)), asset, at, f"{sequence}-2"))
    return []


def _draw_end(draw: st.DrawFn, intent: OrderIntended, filled: Decimal) -> list[Event]:
    if draw(st.booleans()):
        partial = a_report(intent, filled=filled, status=OrderStatus.PARTIALLY_FILLED)
        return [partial, OrderAbandoned(intent.request.client_order_id, "gone")]
    status = OrderStatus.FILLED if filled == intent.request.quantity else OrderStatus.EXPIRED
    return [a_report(intent, filled=filled, status=status, average_price=draw(st.none() | PRICES))]


def a_receipt(draw: st.DrawFn, name: ClientOrderId, venue_order_id: str, quantity: Decimal) -> OrderPriced:
    fees = tuple(Fee(asset, draw(FEES)) for asset in draw(st.sampled_from((("USDT",), ("BNB", "USDT"), ()))))
    return OrderPriced(name, draw(PRICES), venue_order_id, quantity, fees, Decimal(0))
