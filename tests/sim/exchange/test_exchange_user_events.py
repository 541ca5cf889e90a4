"""The user data stream: every event, the listen key's life, and disturbed sequences."""

import asyncio
from decimal import Decimal

import pytest
from binance import BinanceSocketManager
from exchange_builders import DEADLINE_S, check_silent, limit_order, market_order, receive
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from dehedge.sim.exchange import Ask, Disturbance


async def receive_until(socket, event: str) -> dict:
    while True:
        (message,) = await receive(socket)
        if message["e"] == event:
            return message


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
        await check_silent(socket)


async def test_unknown_listen_key_connects_and_stays_silent(exchange, client):
    await client.futures_stream_get_listen_key()
    async with connect(f"{exchange.ws_url}/private/ws?listenKey=nobody") as socket:
        await client.futures_create_order(**market_order())
        await check_silent(socket)


async def test_expired_listen_key_is_told_and_then_silent(exchange, client, clock):
    key = await client.futures_stream_get_listen_key()
    async with connect(f"{exchange.ws_url}/private/ws?listenKey={key}") as socket:
        clock.advance(3600)
        client.timestamp_offset += 3_600_000
        await client.futures_create_order(**market_order())
        (event,) = await receive(socket)
        assert (event["e"], event["listenKey"]) == ("listenKeyExpired", key)
        await check_silent(socket)


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
        await check_silent(socket)

    assert [event["e"] for event in events] == seen
    assert len(exchange.streams.user_events) == 4


async def test_silent_user_stream_says_nothing_although_orders_fill(exchange, client):
    exchange.streams.silent.add("private")
    key = await client.futures_stream_get_listen_key()
    async with connect(f"{exchange.ws_url}/private/ws?listenKey={key}") as socket:
        await client.futures_create_order(**market_order())
        await check_silent(socket)
