"""Websockets: market and user streams, routes, control frames, and the switches that break them."""

import asyncio
import json
from decimal import Decimal

import pytest
from binance import BinanceSocketManager
from exchange_builders import limit_order, market_order
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dehedge.sim.exchange import Ask, Disturbance, ExchangeSettings, SimExchange

DEADLINE_S = 10


async def receive(socket, count: int = 1) -> list:
    async with asyncio.timeout(DEADLINE_S):
        return [json.loads(await socket.recv()) for _ in range(count)]


async def receive_until(socket, event: str) -> dict:
    while True:
        (message,) = await receive(socket)
        if message["e"] == event:
            return message


async def check_silent(exchange: SimExchange, socket) -> None:
    """An acknowledged frame comes back behind whatever was sent before it: nothing was."""
    await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":99}')
    (message,) = await receive(socket)
    assert message["id"] == 99


async def subscribe(exchange: SimExchange, path: str):
    socket = await connect(f"{exchange.ws_url}{path}")
    await exchange.streams.wait_for_listeners(1)
    return socket


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
        await check_silent(exchange, socket)


async def test_wrong_route_acknowledges_a_subscription(exchange):
    async with connect(f"{exchange.ws_url}/public/ws") as socket:
        await socket.send('{"method":"SUBSCRIBE","params":["btcusdt@markPrice@1s"],"id":1}')
        assert await receive(socket) == [{"result": None, "id": 1}]
        exchange.set_mark("BTCUSDT", Decimal(61000))
        await check_silent(exchange, socket)


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
        await check_silent(exchange, socket)


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


async def test_user_stream_tells_an_order_as_the_live_one_did(exchange, client):
    key = await client.futures_stream_get_listen_key()
    async with connect(f"{exchange.ws_url}/private/ws?listenKey={key}") as socket:
        await client.futures_create_order(**market_order(newClientOrderId="mine"))
        lite, new, account, trade = await receive(socket, 4)

    assert set(lite) == {"e", "E", "T", "s", "q", "p", "m", "c", "S", "L", "l", "t", "i"}
    assert (lite["e"], lite["c"], lite["l"], lite["L"]) == ("TRADE_LITE", "mine", "0.010", "60000.10")
    assert set(trade["o"]) == {
        "s",
        "c",
        "S",
        "o",
        "f",
        "q",
        "p",
        "ap",
        "sp",
        "x",
        "X",
        "i",
        "l",
        "z",
        "L",
        "n",
        "N",
        "T",
        "t",
        "b",
        "a",
        "m",
        "R",
        "wt",
        "ot",
        "ps",
        "cp",
        "rp",
        "pP",
        "si",
        "ss",
        "V",
        "pm",
        "gtd",
        "er",
    }
    assert [(e["o"]["x"], e["o"]["X"], e["o"]["z"]) for e in (new, trade)] == [
        ("NEW", "NEW", "0"),
        ("TRADE", "FILLED", "0.01"),
    ]
    assert (trade["o"]["ap"], trade["o"]["n"], trade["o"]["er"]) == ("60000.1", "0.3000005", "0")
    assert (account["e"], account["a"]["m"]) == ("ACCOUNT_UPDATE", "ORDER")
    assert account["a"]["B"] == [{"a": "USDT", "wb": "99999.69999950", "cw": "99999.69999950", "bc": "0"}]
    assert set(account["a"]["P"][0]) == {"s", "pa", "ep", "cr", "up", "mt", "iw", "ps", "ma", "bep"}
    assert (account["a"]["P"][0]["pa"], account["a"]["P"][0]["mt"]) == ("0.01", "cross")


async def test_user_stream_works_through_python_binance(exchange, client):
    manager = BinanceSocketManager(client)
    manager.FSTREAM_URL = f"{exchange.ws_url}/"
    async with manager.futures_user_socket() as socket:
        await exchange.streams.wait_for_listeners(1, "private")
        await client.futures_create_order(**market_order(newClientOrderId="mine"))
        async with asyncio.timeout(DEADLINE_S):
            event = await socket.recv()

    assert (event["e"], event["c"]) == ("TRADE_LITE", "mine")


async def test_resting_and_canceled_orders_are_told_without_account_updates(exchange, client):
    key = await client.futures_stream_get_listen_key()
    async with connect(f"{exchange.ws_url}/private/ws?listenKey={key}") as socket:
        await client.futures_create_order(**limit_order("BUY", "0.010", "59000", newClientOrderId="mine"))
        await client.futures_cancel_order(symbol="BTCUSDT", origClientOrderId="mine")
        events = await receive(socket, 2)

    assert [event["o"]["x"] for event in events] == ["NEW", "CANCELED"]


async def test_forced_orders_are_told_with_their_prefix_and_execution(exchange, client):
    key = await client.futures_stream_get_listen_key()
    async with connect(f"{exchange.ws_url}/private/ws?listenKey={key}") as socket:
        exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.3")))
        exchange.deleverage("BTCUSDT", Decimal("0.1"))
        exchange.liquidate("BTCUSDT")
        orders = [e["o"] for e in await receive(socket, 10) if e["e"] == "ORDER_TRADE_UPDATE"]

    assert [order["x"] for order in orders] == ["NEW", "TRADE", "NEW", "CALCULATED", "NEW", "CALCULATED"]
    assert [order["c"].startswith(p) for order, p in zip(orders[2::2], ("adl_autoclose", "autoclose-"), strict=True)]
    assert [(order["z"], order["R"]) for order in orders[3::2]] == [("0.1", True), ("0.2", True)]


async def test_owner_s_changes_are_told(exchange, client):
    key = await client.futures_stream_get_listen_key()
    async with connect(f"{exchange.ws_url}/private/ws?listenKey={key}") as socket:
        exchange.set_leverage("BTCUSDT", 7)
        exchange.set_isolated("ETHUSDT", isolated=True)
        exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.1")))
        exchange.pay_funding("BTCUSDT", Decimal("0.0001"))
        events = await receive(socket, 7)

    assert events[0]["ac"] == {"s": "BTCUSDT", "l": 7}
    assert (events[1]["a"]["m"], events[1]["a"]["P"][0]["mt"]) == ("MARGIN_TYPE_CHANGE", "isolated")
    assert events[2]["c"].startswith("web_")
    assert (events[6]["a"]["m"], events[6]["a"]["B"][0]["bc"]) == ("FUNDING_FEE", "-0.6")


async def test_margin_call_is_told(exchange, client):
    exchange.ledger.account.wallet = Decimal(1000)
    key = await client.futures_stream_get_listen_key()
    exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.3")))
    async with connect(f"{exchange.ws_url}/private/ws?listenKey={key}") as socket:
        exchange.set_mark("BTCUSDT", Decimal(56935))
        event = await receive_until(socket, "MARGIN_CALL")

    assert (event["p"][0]["s"], event["p"][0]["pa"]) == ("BTCUSDT", "0.3")


async def test_allow_list_withholds_other_events(exchange, client):
    key = await client.futures_stream_get_listen_key()
    async with connect(f"{exchange.ws_url}/private/ws?listenKey={key}&events=ACCOUNT_UPDATE") as socket:
        await client.futures_create_order(**market_order())
        assert (await receive(socket))[0]["e"] == "ACCOUNT_UPDATE"
        exchange.expire_listen_key()
        await check_silent(exchange, socket)


async def test_unknown_listen_key_connects_and_stays_silent(exchange, client):
    await client.futures_stream_get_listen_key()
    async with connect(f"{exchange.ws_url}/private/ws?listenKey=nobody") as socket:
        await client.futures_create_order(**market_order())
        await check_silent(exchange, socket)


async def test_expired_listen_key_is_told_and_then_silent(exchange, client, clock):
    key = await client.futures_stream_get_listen_key()
    async with connect(f"{exchange.ws_url}/private/ws?listenKey={key}") as socket:
        clock.advance(3600)
        client.timestamp_offset += 3_600_000
        await client.futures_create_order(**market_order())
        (event,) = await receive(socket)
        assert (event["e"], event["listenKey"]) == ("listenKeyExpired", key)
        await check_silent(exchange, socket)


async def test_closed_listen_key_ends_its_connections(exchange, client):
    key = await client.futures_stream_get_listen_key()
    async with connect(f"{exchange.ws_url}/private/ws?listenKey={key}") as socket:
        await client.futures_stream_close(listenKey=key)
        with pytest.raises(ConnectionClosed):
            await receive(socket)


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("drop", ["TRADE_LITE", "ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE"]),
        ("duplicate", ["TRADE_LITE", "ORDER_TRADE_UPDATE", *["ACCOUNT_UPDATE"] * 2, "ORDER_TRADE_UPDATE"]),
        ("reorder", ["TRADE_LITE", "ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"]),
    ],
)
async def test_user_events_are_dropped_doubled_or_swapped_when_disturbed(exchange, client, kind, seen):
    key = await client.futures_stream_get_listen_key()
    exchange.streams.disturb(Disturbance(kind, "ACCOUNT_UPDATE"))
    async with connect(f"{exchange.ws_url}/private/ws?listenKey={key}") as socket:
        await client.futures_create_order(**market_order())
        events = await receive(socket, len(seen))
        await check_silent(exchange, socket)

    assert [event["e"] for event in events] == seen
    assert len(exchange.streams.user_events) == 4


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
        await check_silent(exchange, socket)
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
