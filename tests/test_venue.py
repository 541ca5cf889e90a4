"""Getting the exchange ready, and what happens when it is not."""

from __future__ import annotations

import asyncio

import pytest

from dehedge.errors import AuthenticationFailed, ConfigError, OrderRejected, OutcomeUnknown, VenueUnavailable
from dehedge.venue import Venue
from tests.kit import RULES, SYMBOLS, LoopClock
from tests.kit import Venue as Exchange

pytestmark = pytest.mark.looptime


class Unwilling(Exchange):
    """An exchange that refuses some step for a while."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)
        self.refused_symbols: set[str] = set()
        self.unreadable: dict[str, Exception] = {}

    async def connect(self, symbols):
        await super().connect(symbols)
        if self.errors:
            raise self.errors.pop(0)

    async def prepare_symbol(self, symbol):
        if symbol in self.unreadable:
            raise self.unreadable[symbol]
        if symbol in self.refused_symbols:
            raise OrderRejected("Margin type cannot be changed if there exists position.", code=-4048)


async def test_venue_waits_for_an_exchange_that_is_down_and_says_so_meanwhile():
    exchange = Unwilling()
    exchange.is_down = True
    venue = Venue(exchange, SYMBOLS, LoopClock())
    connecting = asyncio.ensure_future(venue.connect())
    await asyncio.sleep(60)
    assert venue.error == "connection refused"
    assert not connecting.done()

    exchange.is_down = False
    await connecting

    assert venue.error is None
    assert venue.rules == RULES


@pytest.mark.parametrize("error", [AuthenticationFailed("the key is refused"), ConfigError("MARGIN_TYPE: no")])
async def test_venue_does_not_try_again_what_no_retry_can_mend(error):
    venue = Venue(Unwilling(error), SYMBOLS, LoopClock())

    with pytest.raises(type(error)):
        await venue.connect()


async def test_venue_blocks_only_the_symbol_that_cannot_be_settled_and_tries_it_again_each_minute():
    exchange = Unwilling()
    exchange.refused_symbols.add("BTCUSDT")
    venue = Venue(exchange, SYMBOLS, LoopClock())
    await venue.connect()
    assert list(venue.unsettled) == ["BTCUSDT"]
    assert "Margin type" in venue.unsettled["BTCUSDT"]

    keeping = asyncio.ensure_future(venue.run())
    exchange.refused_symbols.clear()
    await asyncio.sleep(61)

    assert venue.unsettled == {}
    keeping.cancel()


@pytest.mark.parametrize("error", [VenueUnavailable("no symbolConfig"), OutcomeUnknown("no answer")])
async def test_venue_connects_without_the_symbol_whose_settings_cannot_be_read(error):
    exchange = Unwilling()
    exchange.unreadable["BTCUSDT"] = error
    venue = Venue(exchange, SYMBOLS, LoopClock())

    await venue.connect()

    assert venue.unsettled == {"BTCUSDT": str(error)}
    keeping = asyncio.ensure_future(venue.run())
    await asyncio.sleep(25)
    assert venue.unsettled == {"BTCUSDT": str(error)}
    exchange.unreadable.clear()
    await asyncio.sleep(11)
    assert venue.unsettled == {}
    keeping.cancel()


async def test_venue_warns_of_a_symbol_that_the_exchange_does_not_list_and_goes_on():
    venue = Venue(Exchange(), {**SYMBOLS, "SOL-USD": "NOSUCHUSDT"}, LoopClock())

    await venue.connect()

    assert venue.error is None
    assert "NOSUCHUSDT" not in venue.unsettled


async def test_venue_sizes_by_no_mark_price_that_is_old():
    exchange = Exchange()
    venue = Venue(exchange, SYMBOLS, LoopClock())
    fresh = exchange.get_mark_prices()
    assert venue.get_marks().keys() == {"BTCUSDT", "ETHUSDT"}

    exchange.get_mark_prices = lambda: fresh
    await asyncio.sleep(2.5)

    assert venue.get_marks() == {}
