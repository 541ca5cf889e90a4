"""What orders cost and what funding was paid gets into the journal, and never into the way of a hedge."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from dehedge.bookkeeper import (
    FUNDING_INTERVAL_S,
    LOOK_INTERVAL_S,
    RECORDED_AT_ONCE,
    TRADE_AGE_MAX_S,
    Bookkeeper,
    build_receipt,
)
from dehedge.core.book import HedgeBook, TradingMode
from dehedge.core.costs import Fee, FundingPaid, OrderPriced
from dehedge.core.events import HedgesForced, TradingModeSet
from dehedge.core.model import Leg, Side
from dehedge.core.receipts import Unpriced
from dehedge.errors import AuthenticationFailed, RateLimited, VenueUnavailable
from dehedge.ledger import Ledger
from dehedge.ports import VenueTrade
from tests.core.builders import NOW, an_intent
from tests.kit import EPOCH, Engine, LoopClock, MemoryJournal, Venue, World, a_position

pytestmark = pytest.mark.looptime


def get_facts(world: World, kind: type) -> list[object]:
    return [entry.event for entry in world.journal.entries if isinstance(entry.event, kind)]


async def a_hedged_engine() -> tuple[World, Engine]:
    world = World()
    world.put(a_position())
    engine = Engine(world)
    await engine.start()
    await engine.run_for(5)
    return world, engine


async def test_order_has_a_receipt_with_fee_and_profit_when_it_opened_and_when_it_closed():
    world, engine = await a_hedged_engine()
    world.set_price("BTC-USD", 61_000)
    world.remove(a_position())
    await engine.run_for(20)
    await engine.die()

    opened, closed = get_facts(world, OrderPriced)
    assert (opened.quantity, opened.average_price) == (Decimal("0.166"), world.venue.ledger.fills[0].price)
    assert opened.fees == (Fee("USDT", world.venue.ledger.fills[0].commission),)
    assert (opened.realized_profit, closed.realized_profit > 0) == (0, True)
    assert world.venue.trade_reads == 2
    assert engine.ledger.records.receipts.unpriced == {}


async def test_receipt_is_asked_for_after_a_restart_and_once_only():
    world, engine = await a_hedged_engine()
    await engine.die()
    world.journal.entries = [entry for entry in world.journal.entries if not isinstance(entry.event, OrderPriced)]

    for _ in range(2):
        engine = Engine(world)
        await engine.start()
        await engine.run_for(10)
        await engine.die()

    assert len(get_facts(world, OrderPriced)) == 1


async def test_forced_order_has_a_receipt_without_a_client_order_id():
    world, engine = await a_hedged_engine()
    world.venue.force("BTCUSDT", "0.166")
    engine.auditor.request()
    await engine.run_for(30)
    await engine.die()

    forced = next(receipt for receipt in get_facts(world, OrderPriced) if not receipt.client_order_id)
    assert forced.venue_order_id == get_facts(world, HedgesForced)[0].venue_order_id
    assert forced.fees is not None


async def test_nothing_is_asked_while_an_order_is_in_doubt():
    world = World()
    world.put(a_position())
    world.venue.script.append("hangs")
    engine = Engine(world)
    await engine.start()
    await engine.run_for(60)

    assert (world.venue.trade_reads, world.venue.funding_reads) == (0, 0)
    await engine.die()


async def test_funding_is_journaled_once_and_foreign_symbols_are_not():
    world, engine = await a_hedged_engine()
    world.venue.trade_by_hand("ETHUSDT", "BUY", "1")
    for symbol in ("BTCUSDT", "ETHUSDT"):
        world.venue.pay_funding(symbol, "0.0001")
    engine.bookkeeper._funding_due = 0.0
    await engine.run_for(5)
    world.venue.pay_funding("BTCUSDT", "0.0001")
    engine.bookkeeper._funding_due = 0.0
    await engine.run_for(5)
    await engine.die()

    paid = get_facts(world, FundingPaid)
    assert [fact.symbol for fact in paid] == ["BTCUSDT", "BTCUSDT"]
    assert [fact.amount for fact in paid] == [Decimal("-0.166") * 6] * 2
    assert world.venue.funding_reads == 3

    again = Engine(world)
    await again.start()
    await again.run_for(10)
    await again.die()
    assert len(get_facts(world, FundingPaid)) == 2


@pytest.mark.parametrize(
    "error",
    [AuthenticationFailed("no permission"), RateLimited("slow down", retry_after_s=60), VenueUnavailable("gone")],
)
async def test_hedging_goes_on_when_the_exchange_refuses_to_tell_of_funding(error):
    world = World()
    world.venue.funding_error = error
    world.put(a_position())
    engine = Engine(world)
    await engine.start()
    await engine.run_for(70)

    world.put(a_position(2))
    await engine.run_for(20)
    assert engine.held(a_position(2)) > 0
    assert len(get_facts(world, OrderPriced)) >= 1
    assert world.venue.funding_reads == 1
    await engine.die()


async def test_funding_is_asked_for_every_quarter_of_an_hour_and_not_before_there_was_an_order():
    ledger, venue = Ledger(MemoryJournal(), HedgeBook(), LoopClock()), Venue()
    keeper = Bookkeeper(ledger=ledger, connector=venue, clock=LoopClock(), check_busy=lambda: False)
    task = asyncio.ensure_future(keeper.run())
    await asyncio.sleep(FUNDING_INTERVAL_S)
    assert venue.funding_reads == 0

    ledger.records.receipts.first_at = EPOCH
    await asyncio.sleep(FUNDING_INTERVAL_S * 3)
    assert venue.funding_reads == 3
    task.cancel()


class Silent(Venue):
    """An exchange that has no funding, and tells nothing of trades."""

    fetch_funding = None

    async def fetch_trade_history(self, symbol, since_s):
        self.trade_reads += 1
        return []


async def test_exchange_without_funding_and_trades_is_asked_less_and_less():
    ledger = Ledger(MemoryJournal(), HedgeBook(), LoopClock())
    ledger.records.receipts.unpriced["7"] = Unpriced(an_intent().request.client_order_id, "7", "BTCUSDT", Decimal(1), EPOCH)
    ledger.records.receipts.first_at = EPOCH
    venue = Silent()
    keeper = Bookkeeper(ledger=ledger, connector=venue, clock=LoopClock(), check_busy=lambda: False)
    task = asyncio.ensure_future(keeper.run())
    await asyncio.sleep(3600)

    assert 10 < venue.trade_reads < 20
    assert ledger.journal.last_sequence == 0
    await asyncio.sleep(TRADE_AGE_MAX_S)
    assert ledger.records.receipts.unpriced == {}
    task.cancel()


class Talkative(Venue):
    """An exchange that tells a trade of every order at once."""

    async def fetch_trade_history(self, symbol, since_s):
        trade = a_trade("1", 60_000)
        return [replace(trade, venue_order_id=str(number)) for number in range(2 * RECORDED_AT_ONCE + 1)]


async def test_many_receipts_are_journaled_a_few_at_a_time_so_that_another_fact_comes_between():
    journal = MemoryJournal()
    ledger, venue = Ledger(journal, HedgeBook(), LoopClock()), Talkative()
    name = an_intent().request.client_order_id
    for number in range(2 * RECORDED_AT_ONCE + 1):
        ledger.records.receipts.unpriced[str(number)] = Unpriced(name, str(number), "BTCUSDT", Decimal(1), EPOCH)
    journal.append_s = 0.1
    task = asyncio.ensure_future(
        Bookkeeper(ledger=ledger, connector=venue, clock=LoopClock(), check_busy=lambda: False).run()
    )
    await asyncio.sleep(LOOK_INTERVAL_S + 0.05)
    await ledger.record(TradingModeSet(TradingMode.NO_OPENS, is_flattening=False))
    await asyncio.sleep(1)
    task.cancel()

    kinds = [type(entry.event) for entry in journal.entries]
    assert kinds.index(TradingModeSet) == RECORDED_AT_ONCE
    assert kinds.count(OrderPriced) == 2 * RECORDED_AT_ONCE + 1
    assert ledger.records.receipts.unpriced == {}


async def test_old_orders_without_a_receipt_are_given_up_in_one_line():
    ledger = Ledger(MemoryJournal(), HedgeBook(), LoopClock())
    since = EPOCH - TRADE_AGE_MAX_S - 1
    for number in range(3):
        name = an_intent().request.client_order_id
        ledger.records.receipts.unpriced[str(number)] = Unpriced(name, str(number), "BTCUSDT", Decimal(1), since)
    venue = Silent()
    with capture_logs() as lines:
        task = asyncio.ensure_future(
            Bookkeeper(ledger=ledger, connector=venue, clock=LoopClock(), check_busy=lambda: False).run()
        )
        await asyncio.sleep(60)
    task.cancel()

    assert [(line["event"], line["count"], line["symbols"]) for line in lines] == [("orders_not_priced", 3, ["BTCUSDT"])]
    assert ledger.records.receipts.unpriced == {}
    assert venue.trade_reads == 0


def a_trade(quantity: str, price: int, fee_asset: str = "USDT") -> VenueTrade:
    return VenueTrade(
        "BTCUSDT", Side.BUY, Leg.BOTH, "7", Decimal(price), Decimal(quantity), Decimal("0.5"), fee_asset, Decimal(2), NOW
    )


def test_receipt_keeps_fees_by_asset_and_waits_for_all_trades():
    order = Unpriced(an_intent().request.client_order_id, "7", "BTCUSDT", Decimal("0.3"), NOW)
    trades = [a_trade("0.1", 60_000), a_trade("0.1", 60_000, "BNB"), a_trade("0.1", 60_300)]

    assert build_receipt(order, trades[:2]) is None
    assert build_receipt(order, []) is None
    receipt = build_receipt(order, trades)
    assert receipt is not None
    assert receipt.fees == (Fee("BNB", Decimal("0.5")), Fee("USDT", Decimal(1)))
    assert (receipt.average_price, receipt.realized_profit) == (60_100, 6)
