"""Websockets: market streams, routes, control frames, and the switches that break them."""

import asyncio
from decimal import Decimal

import pytest
from exchange_builders import DEADLINE_S, check_silent, receive
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dehedge.sim.exchange import Ask, ExchangeSettings, Level, SimExchange


async def test_mark_price_is_pushed_at_once_when_set(exchange):
    async with connect(f"{exchange.ws_url}/market/ws/btcusdt@markPrice@1s") as socket:
        exchange.set_mark("BTCUSDT", Decimal("61234.5"))
        (event,) = await receive(socket)

    assert set(event) == {"e", "E", "s", "p", "ap", "P", "i", "r", "T", "st"}
    assert (event["e"], event["s"], event["p"], event["st"]) == ("markPriceUpdate", "BTCUSDT", "61234.50000000", 1)


async def test_combined_streams_are_wrapped(exchange):
    streams = "btcusdt@markPrice@1s/ethusdt@markPrice@1s"
    async with connect(f"{exchange.ws_url}/market/stream?streams={streams}") as socket:
        exchange.set_mark("ETHUSDT", Decimal(3100))
        exchange.set_mark("BTCUSDT", Decimal(61000))
        first, second = await receive(socket, 2)

    assert (first["stream"], first["data"]["p"]) == ("ethusdt@markPrice@1s", "3100.00000000")
    assert second["data"]["s"] == "BTCUSDT"


async def test_beat_pushes_prices_without_anything_happening(clock):
    async with (
        SimExchange(ExchangeSettings(beat_s=0.01), clock=clock) as exchange,
        connect(f"{exchange.ws_url}/market/ws/btcusdt@markPrice@1s") as socket,
    ):
        events = await receive(socket, 2)

    assert [event["p"] for event in events] == ["60000.00000000"] * 2


async def test_book_ticker_is_served_on_the_public_route(exchange):
    async with connect(f"{exchange.ws_url}/public/ws/btcusdt@bookTicker") as socket:
        exchange.set_mark("BTCUSDT", Decimal(61000))
        (event,) = await receive(socket)

    assert set(event) == {"e", "u", "s", "ps", "b", "B", "a", "A", "T", "E", "st"}
    assert (event["b"], event["a"]) == ("61000.00", "61000.10")


async def test_trades_are_seen_by_everybody(exchange):
    async with connect(f"{exchange.ws_url}/market/ws/btcusdt@aggTrade") as socket:
        exchange.trade_manually(Ask("BTCUSDT", "SELL", Decimal("0.1")))
        (event,) = await receive(socket)

    assert (event["e"], event["p"], event["q"], event["m"]) == ("aggTrade", "60000.00", "0.100", True)


async def test_depth_is_served_on_the_public_route(exchange):
    async with connect(f"{exchange.ws_url}/public/ws/btcusdt@depth5@100ms") as socket:
        exchange.set_mark("BTCUSDT", Decimal(61000))
        (event,) = await receive(socket)

    assert (event["e"], len(event["b"]), len(event["a"])) == ("depthUpdate", 5, 5)


@pytest.mark.parametrize(
    "path",
    [
        "/public/ws/btcusdt@markPrice@1s",
        "/market/ws/btcusdt@bookTicker",
        "/private/ws/btcusdt@markPrice@1s",
        "/ws/btcusdt@markPrice@1s",
        "/stream?streams=btcusdt@markPrice@1s",
    ],
)
async def test_wrong_route_connects_and_stays_silent(exchange, path):
    async with connect(f"{exchange.ws_url}{path}") as socket:
        await exchange.streams.wait_for_listeners(1)
        exchange.set_mark("BTCUSDT", Decimal(61000))
        await check_silent(socket)


async def test_wrong_route_acknowledges_a_subscription(exchange):
    async with connect(f"{exchange.ws_url}/public/ws") as socket:
        await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@markPrice@1s"],"id":1}')
        assert await receive(socket) == [{"result": None, "id": 1}]
        exchange.set_mark("BTCUSDT", Decimal(61000))
        await check_silent(socket)


async def test_streams_are_subscribed_listed_and_left_by_frames(exchange):
    async with connect(f"{exchange.ws_url}/market/ws") as socket:
        await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@markPrice@1s"],"id":1}')
        assert await receive(socket) == [{"result": None, "id": 1}]
        exchange.set_mark("BTCUSDT", Decimal(61000))
        assert (await receive(socket))[0]["p"] == "61000.00000000"
        await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":2}')
        assert await receive(socket) == [{"result": ["btcusdt@markPrice@1s"], "id": 2}]
        await socket.send('{"method":"UNSUBSCRIBE","params":["btcusdt@markPrice@1s"],"id":3}')
        assert await receive(socket) == [{"result": None, "id": 3}]
        exchange.set_mark("BTCUSDT", Decimal(62000))
        await check_silent(socket)


@pytest.mark.parametrize("frame", ["nonsense", "[1]", '{"params":[]}', '{"method":"DANCE","id":1}'])
async def test_unknown_frame_is_answered_with_an_error(exchange, frame):
    async with connect(f"{exchange.ws_url}/market/ws") as socket:
        await socket.send(frame)
        assert (await receive(socket))[0]["error"]["code"] == 2


async def test_connection_is_closed_when_frames_come_too_fast(exchange):
    async with connect(f"{exchange.ws_url}/market/ws") as socket:
        for number in range(11):
            await socket.send(f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}}}')
        with pytest.raises(ConnectionClosed) as caught:
            await receive(socket, 12)

    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1008


async def test_handshake_costs_weight(exchange, client):
    async with connect(f"{exchange.ws_url}/market/ws"):
        await client.futures_ping()

    assert client.response.headers["X-MBX-USED-WEIGHT-1M"] == "6"


async def test_connections_of_one_route_are_cut(exchange):
    async with (
        connect(f"{exchange.ws_url}/market/ws/btcusdt@markPrice@1s") as cut,
        connect(f"{exchange.ws_url}/public/ws/btcusdt@bookTicker") as kept,
    ):
        await exchange.streams.wait_for_listeners(2)
        assert exchange.streams.drop("market") == 1
        with pytest.raises(ConnectionClosed):
            await receive(cut)
        await exchange.streams.wait_for_listeners(1)
        exchange.set_mark("BTCUSDT", Decimal(61000))
        assert (await receive(kept))[0]["e"] == "bookTicker"


async def test_silent_route_says_nothing_until_switched_back(exchange):
    async with connect(f"{exchange.ws_url}/market/ws/btcusdt@markPrice@1s") as socket:
        exchange.streams.silent.add("market")
        exchange.set_mark("BTCUSDT", Decimal(61000))
        await check_silent(socket)
        exchange.streams.silent.clear()
        exchange.set_mark("BTCUSDT", Decimal(62000))
        assert (await receive(socket))[0]["p"] == "62000.00000000"


async def test_refused_route_lets_nobody_in(exchange):
    exchange.streams.refused.add("private")

    with pytest.raises(InvalidStatus) as caught:
        await connect(f"{exchange.ws_url}/private/ws?listenKey=k")

    assert caught.value.response.status_code == 503


async def test_connection_ends_when_its_day_is_over(exchange):
    exchange.streams.life_s = 0.01
    async with connect(f"{exchange.ws_url}/market/ws") as socket:
        with pytest.raises(ConnectionClosed) as caught:
            await receive(socket)

    assert caught.value.rcvd.code == 1001


async def test_beat_cancels_what_is_due_without_any_request(clock):
    async with SimExchange(ExchangeSettings(beat_s=0.01), clock=clock) as exchange:
        exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.1"), "LIMIT", price=Decimal(59000)))
        exchange.api.venue.countdowns["BTCUSDT"] = exchange.get_now_ms() + 1000
        clock.advance(1)
        async with asyncio.timeout(DEADLINE_S):
            await exchange.wait_until(lambda: exchange.orders[0].status == "CANCELED")


async def test_explicit_book_is_pushed_and_fills_what_it_reaches(exchange):
    exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.1"), "LIMIT", price=Decimal(59000)))
    async with connect(f"{exchange.ws_url}/public/ws/btcusdt@bookTicker") as socket:
        exchange.set_book("BTCUSDT", (), (Level(Decimal(58990), Decimal(1)),))
        (event,) = await receive(socket)

    assert (event["a"], event["A"]) == ("58990.00", "1.000")
    assert exchange.net("BTCUSDT") == Decimal("0.1")
