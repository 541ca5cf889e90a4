"""The account's margin, read for the guards that want it: what is asked, what is made of it, and when it fails."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from dehedge.account import AGAIN_S, READ_INTERVAL_S, VIEW_LAG_S, WATCH_INTERVAL_S, AccountWatch
from dehedge.core.book import HedgeBook
from dehedge.core.guards import GuardLimits, Liquidation
from dehedge.core.model import Leg
from dehedge.core.whatif import Holding
from dehedge.errors import AuthenticationFailed, RateLimited, VenueUnavailable
from dehedge.ledger import Ledger
from dehedge.ports import Balance
from tests.core.builders import an_intent
from tests.kit import EPOCH, LoopClock, MemoryJournal, Venue

pytestmark = pytest.mark.looptime

BOTH = GuardLimits(free_margin_usd=Decimal(1), liquidation_distance_bps=1)


def a_watch(venue: Venue, limits: GuardLimits = BOTH) -> AccountWatch:
    ledger = Ledger(MemoryJournal(), HedgeBook(), LoopClock())
    return AccountWatch(limits=limits, ledger=ledger, connector=venue, clock=LoopClock())


async def run_for(watch: AccountWatch, seconds: float) -> int:
    """How often it woke whoever waits for it."""
    woken: list[None] = []
    task = asyncio.ensure_future(watch.run(lambda: woken.append(None)))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return len(woken)


async def test_account_tells_margin_and_liquidation_prices():
    venue = Venue()
    venue.ledger.account.get_settings("BTCUSDT").isolated = True
    venue.trade_by_hand("BTCUSDT", "SELL", "0.1")
    venue.trade_by_hand("ETHUSDT", "BUY", "0.1")
    watch = a_watch(venue)

    assert await run_for(watch, 1) == 1

    assert watch.latest is not None
    assert watch.latest.available == {"USDT": venue.ledger.margin.compute_totals().available}
    # A long in cross margin with a million behind it has no price at which it would be liquidated.
    ((key, found),) = watch.latest.liquidations.items()
    assert key == ("BTCUSDT", Leg.BOTH)
    assert found == Liquidation(
        False, venue.ledger.margin.compute_liquidation_price(venue.ledger.account.get_position(*key))
    )
    assert found.price > 60_000


@pytest.mark.parametrize(
    ("limits", "interval_s", "wakes"),
    [
        (GuardLimits(), WATCH_INTERVAL_S, False),
        (GuardLimits(free_margin_usd=Decimal(1)), READ_INTERVAL_S, True),
        (GuardLimits(liquidation_distance_bps=1), READ_INTERVAL_S, True),
    ],
)
async def test_account_is_read_often_and_wakes_only_where_a_guard_needs_it(limits, interval_s, wakes):
    venue = Venue()

    woken = await run_for(a_watch(venue, limits), 5 * interval_s + 1)

    assert (venue.balance_reads, venue.position_reads) == (6, 6)
    assert bool(woken) is wakes


@pytest.mark.parametrize(
    ("available", "limit", "is_low"),
    [("200.01", None, False), ("200", None, True), ("500", "499", False), ("499", "499", True), ("0", None, True)],
)
async def test_account_tells_when_too_little_margin_is_free(available, limit, is_low):
    class Scarce(Venue):
        async def fetch_balances(self):
            return [Balance("USDT", Decimal(1_000), Decimal(available)), Balance("BNB", Decimal(1), Decimal(0))]

    watch = a_watch(Scarce(), GuardLimits(free_margin_usd=Decimal(limit) if limit else None))
    assert watch.find_low_margin(["USDT"]) == []

    await run_for(watch, 1)

    assert watch.find_low_margin(["USDT"]) == (["USDT"] if is_low else [])
    assert watch.find_low_margin(["USDC"]) == ["USDC"], "an asset of which there is nothing at all"


async def test_account_tells_that_the_key_is_refused_until_it_is_taken_again():
    class Locked(Venue):
        is_locked = True

        async def fetch_positions(self):
            if self.is_locked:
                raise AuthenticationFailed("the exchange refused the key")
            return await super().fetch_positions()

    venue = Locked()
    watch = a_watch(venue, GuardLimits())
    await run_for(watch, 1)
    assert watch.is_key_refused
    assert watch.latest is None

    venue.is_locked = False
    await run_for(watch, 1)
    assert not watch.is_key_refused


async def test_account_tells_the_distance_of_the_nearest_liquidation():
    venue = Venue()
    venue.ledger.account.get_settings("BTCUSDT").isolated = True
    venue.trade_by_hand("BTCUSDT", "BUY", "0.1")
    watch = a_watch(venue)
    assert watch.get_distances_bps({"BTCUSDT": Decimal(60_000)}) == {}

    await run_for(watch, 1)

    assert watch.latest is not None
    (liquidation,) = watch.latest.liquidations.values()
    assert watch.get_distances_bps({"BTCUSDT": liquidation.price}) == {"BTCUSDT": 0}
    assert 350 < watch.get_distances_bps({"BTCUSDT": Decimal(60_000), "ETHUSDT": Decimal(1)})["BTCUSDT"] < 550
    assert watch.get_distances_bps({}) == {}


async def test_account_reading_counts_from_before_the_oldest_order_in_flight():
    watch = a_watch(Venue())
    await run_for(watch, 1)
    assert watch.latest is not None
    assert (watch.latest.read_at, watch.latest.settled_until) == (EPOCH, EPOCH - VIEW_LAG_S)
    await watch._ledger.record(an_intent(intended_at=EPOCH - 100))

    await run_for(watch, 1)

    assert watch.latest.settled_until == EPOCH - 100 - VIEW_LAG_S


async def test_account_keeps_the_last_reading_when_it_cannot_be_read():
    venue = Venue()
    watch = a_watch(venue)
    with capture_logs() as logs:
        task = asyncio.ensure_future(watch.run(lambda: None))
        await asyncio.sleep(1)
        before = watch.latest
        venue.is_down = True
        await asyncio.sleep(60)
        assert watch.latest is before is not None
        venue.is_down = False
        await asyncio.sleep(READ_INTERVAL_S)
        task.cancel()

    assert watch.latest is not before
    assert [line["event"] for line in logs] == ["account_read_failed", "account_read_recovered"]


async def test_account_waits_as_long_as_the_exchange_asks():
    class Limited(Venue):
        async def fetch_balances(self):
            self.balance_reads += 1
            raise RateLimited("too many requests", retry_after_s=120)

    venue = Limited()

    await run_for(a_watch(venue), 115)

    assert venue.balance_reads == 1


async def test_view_is_all_of_the_account_whatever_the_guards_need():
    venue = Venue()
    venue.trade_by_hand("BTCUSDT", "SELL", "0.1")
    watch = a_watch(venue, GuardLimits())
    view = await watch.view()

    assert view.available == {"USDT": venue.ledger.margin.compute_totals().available}
    assert view.holdings == [Holding("BTCUSDT", Leg.BOTH, Decimal("-0.1"), view.holdings[0].liquidation_price)]
    assert watch.latest is not None
    assert watch.latest.available == view.available


async def test_view_takes_the_reading_of_the_guards_where_it_is_new():
    venue = Venue()
    watch = a_watch(venue)
    task = asyncio.ensure_future(watch.run(lambda: None))
    await asyncio.sleep(READ_INTERVAL_S - 1)
    await watch.view()
    assert venue.balance_reads == 1
    task.cancel()


async def test_view_is_read_once_in_ten_seconds_however_often_it_is_asked_for():
    venue = Venue()
    watch = a_watch(venue)
    views = await asyncio.gather(*(watch.view() for _ in range(5)))
    assert (venue.balance_reads, venue.position_reads) == (1, 1)
    assert all(view is views[0] for view in views)

    await asyncio.sleep(READ_INTERVAL_S)
    await watch.view()
    assert venue.balance_reads == 2


async def test_view_is_read_again_after_a_fact_about_our_orders():
    venue = Venue()
    watch = a_watch(venue)
    await watch.view()
    await watch._ledger.record(an_intent())
    await watch.view()
    assert venue.balance_reads == 1, "not twice within a second"

    await asyncio.sleep(AGAIN_S)
    await watch.view()
    await watch.view()
    assert venue.balance_reads == 2


async def test_view_is_read_again_when_whoever_asked_first_went_away():
    class Slow(Venue):
        async def fetch_balances(self):
            found = await super().fetch_balances()
            await asyncio.sleep(1)
            return found

    venue = Slow()
    watch = a_watch(venue)
    await watch.view()
    await watch._ledger.record(an_intent())
    await asyncio.sleep(AGAIN_S)
    gone = asyncio.ensure_future(watch.view())
    await asyncio.sleep(0.5)
    gone.cancel()

    await watch.view()

    assert venue.balance_reads == 3


async def test_view_that_fails_is_not_tried_again_at_once():
    venue = Venue()
    venue.is_down = True
    watch = a_watch(venue)
    for _ in range(3):
        with pytest.raises(VenueUnavailable, match="connection refused"):
            await watch.view()
    assert venue.balance_reads == 1

    venue.is_down = False
    await asyncio.sleep(READ_INTERVAL_S)
    assert (await watch.view()).holdings == []


async def test_view_waits_as_long_as_the_exchange_asks():
    class Limited(Venue):
        async def fetch_balances(self):
            self.balance_reads += 1
            raise RateLimited("too many requests", retry_after_s=120)

    venue = Limited()
    watch = a_watch(venue)
    for _ in range(11):
        with pytest.raises(RateLimited):
            await watch.view()
        await asyncio.sleep(READ_INTERVAL_S)

    assert venue.balance_reads == 1
