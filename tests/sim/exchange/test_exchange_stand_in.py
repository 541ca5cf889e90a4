"""SimExchange as a whole: going down and up, judging, speed, configuration."""

import asyncio
import time
from decimal import Decimal

import aiohttp
import pytest
from binance.exceptions import BinanceAPIException
from exchange_builders import DEADLINE_S, a_client, market_order
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from dehedge.sim.exchange import BTCUSDT, Ask, ExchangeSettings, FaultRule, LimitSettings, SimExchange, faults


async def test_exchange_comes_back_on_the_same_port_with_its_books(client, exchange):
    url = exchange.url
    await client.futures_create_order(**market_order())
    await exchange.down()
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.futures_ping()

    await exchange.up()

    assert exchange.url == url
    assert (await client.futures_position_information())[0]["positionAmt"] == "0.010"


async def test_streams_are_cut_when_the_exchange_goes_down(exchange):
    async with connect(f"{exchange.ws_url}/market/ws/btcusdt@markPrice@1s") as socket:
        await exchange.streams.wait_for_listeners(1)
        await exchange.down()
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(DEADLINE_S):
                await socket.recv()


async def test_exchange_stops_although_a_request_hangs(clock):
    exchange = SimExchange(clock=clock)
    await exchange.start()
    exchange.faults.add(FaultRule(faults.hang_before()))
    async with aiohttp.ClientSession() as session:
        waiting = asyncio.create_task(session.get(f"{exchange.url}/fapi/v1/ping"))
        async with asyncio.timeout(DEADLINE_S):
            await exchange.wait_until(lambda: bool(exchange.requests))
            await exchange.stop()
        with pytest.raises(aiohttp.ClientError):
            await waiting


async def test_thousand_orders_are_taken_within_seconds():
    loose = ExchangeSettings(limits=LimitSettings(orders_10s=10_000, orders_1m=10_000))
    async with SimExchange(loose) as exchange:
        client = a_client(exchange)
        started = time.monotonic()
        for first in range(0, 1000, 100):
            sides = ["BUY", "SELL"] * 50
            await asyncio.gather(*(client.futures_create_order(**market_order(side)) for side in sides[: 1000 - first]))
        took_s = time.monotonic() - started
        await client.close_connection()

    assert (len(exchange.orders), exchange.net("BTCUSDT")) == (1000, 0)
    assert took_s < 10


async def test_only_the_chosen_symbols_are_listed():
    async with SimExchange(ExchangeSettings(marks={BTCUSDT: Decimal(50000)}, balance=Decimal(500))) as exchange:
        client = a_client(exchange)
        info = await client.futures_exchange_info()
        with pytest.raises(BinanceAPIException) as caught:
            await client.futures_create_order(**{**market_order(), "symbol": "ETHUSDT"})
        await client.close_connection()

    assert [row["symbol"] for row in info["symbols"]] == ["BTCUSDT"]
    assert caught.value.code == -1121
    assert exchange.ledger.account.wallet == 500


def test_net_position_is_known_over_time(clock):
    exchange = SimExchange(ExchangeSettings(dual_side=True), clock=clock)
    start_ms = exchange.get_now_ms()
    exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.3"), leg="LONG"))
    clock.advance(1)
    exchange.trade_manually(Ask("BTCUSDT", "SELL", Decimal("0.1"), leg="SHORT"))
    clock.advance(1)
    exchange.trade_manually(Ask("BTCUSDT", "SELL", Decimal("0.3"), leg="LONG"))

    assert exchange.net_over_time("BTCUSDT") == [
        (start_ms, Decimal("0.3")),
        (start_ms + 1000, Decimal("0.2")),
        (start_ms + 2000, Decimal("-0.1")),
    ]
    assert exchange.positions() == {("BTCUSDT", "SHORT"): Decimal("-0.1")}
    assert exchange.net("BTCUSDT") == Decimal("-0.1")


def test_delisted_symbol_is_closed_and_told_as_such(clock):
    exchange = SimExchange(clock=clock)
    exchange.trade_manually(Ask("SOLUSDT", "BUY", Decimal(10)))

    (order,) = exchange.settle("SOLUSDT")

    assert (order.close_kind, exchange.net("SOLUSDT")) == ("SETTLEMENT", 0)
    exchange.set_status("SOLUSDT", "TRADING")
    assert exchange.trade_manually(Ask("SOLUSDT", "BUY", Decimal(10))).status == "FILLED"


def test_falling_price_liquidates_unless_switched_off(clock):
    outcomes = []
    for liquidates in (True, False):
        chosen = ExchangeSettings(balance=Decimal(1000), liquidates=liquidates)
        exchange = SimExchange(chosen, clock=clock)
        exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.3")))
        exchange.set_mark("BTCUSDT", Decimal(50000))
        outcomes.append(exchange.net("BTCUSDT"))

    assert outcomes == [0, Decimal("0.3")]


def test_secret_is_not_shown():
    assert "sim-api-secret" not in repr(ExchangeSettings())
