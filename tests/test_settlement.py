"""How orders ended is remembered for an hour, so that a fill which comes after the end is told, and is no leak."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from dehedge.core.book import HedgeBook
from dehedge.core.orders import OrderReport, OrderStatus
from dehedge.errors import VenueUnavailable
from dehedge.ledger import Ledger
from dehedge.settlement import SETTLED_REMEMBERED_S, Settlement
from tests.core.builders import an_intent
from tests.kit import LoopClock, MemoryJournal

pytestmark = pytest.mark.looptime


async def abandon(settlement: Settlement) -> OrderReport:
    """An order that was given up, as it is told of after that: filled."""
    intent = an_intent()
    await settlement._ledger.record(intent)
    order = settlement._ledger.book.in_flight[intent.request.client_order_id]
    await settlement.abandon(order, VenueUnavailable("the exchange never had this order"))
    return OrderReport(intent.request.client_order_id, OrderStatus.FILLED, intent.request.quantity)


async def test_late_fill_is_told_once():
    settlement = Settlement(Ledger(MemoryJournal(), HedgeBook(), LoopClock()))
    late = await abandon(settlement)
    await asyncio.sleep(SETTLED_REMEMBERED_S - 1)

    assert settlement.get_late_fill(late) == late.filled_quantity
    assert settlement.get_late_fill(late) == 0


async def test_how_an_order_ended_is_forgotten_after_an_hour():
    settlement = Settlement(Ledger(MemoryJournal(), HedgeBook(), LoopClock()))
    old = await abandon(settlement)
    await asyncio.sleep(SETTLED_REMEMBERED_S + 1)

    settlement._remember(OrderReport("dh-2", OrderStatus.FILLED, Decimal(1)))

    assert [*settlement._settled] == ["dh-2"]
    assert settlement.get_late_fill(old) == 0
