"""The order endpoints as python-binance sees them: place, batch, change, cancel, histories."""

from decimal import Decimal

import pytest
from exchange_builders import limit_order, market_order, refusal_of
from exchange_shapes import ORDER_KEYS

from dehedge.sim.exchange import Ask


async def test_write_reply_has_no_fill_price_but_the_query_has(client):
    placed = await client.futures_create_order(**market_order(newOrderRespType="RESULT"))
    queried = await client.futures_get_order(symbol="BTCUSDT", orderId=placed["orderId"])

    assert set(placed) == ORDER_KEYS | {"cumQty"}
    assert (placed["status"], placed["executedQty"], placed["origQty"]) == ("FILLED", "0.010", "0.010")
    assert set(queried) == ORDER_KEYS | {"avgPrice", "cumQuote", "time"}
    assert (queried["avgPrice"], queried["cumQuote"]) == ("60000.10000", "600.00100000")


async def test_ack_tells_nothing_of_the_execution(client):
    placed = await client.futures_create_order(**market_order())

    assert (placed["status"], placed["executedQty"]) == ("NEW", "0.000")
    found = await client.futures_get_order(symbol="BTCUSDT", origClientOrderId=placed["clientOrderId"])
    assert found["status"] == "FILLED"


async def test_repeated_market_order_executes_twice(client, exchange):
    for _ in range(2):
        await client.futures_create_order(**market_order(newClientOrderId="same"))

    assert exchange.net("BTCUSDT") == Decimal("0.020")


async def test_limit_order_is_placed_changed_listed_and_canceled(client):
    placed = await client.futures_create_order(**limit_order("BUY", "0.010", "59000", newClientOrderId="mine"))
    assert (placed["status"], placed["price"]) == ("NEW", "59000.00")
    changed = await client.futures_modify_order(
        symbol="BTCUSDT", side="BUY", orderId=placed["orderId"], quantity="0.020", price="59100"
    )
    assert (changed["origQty"], changed["price"], "avgPrice" in changed) == ("0.020", "59100.00", False)
    assert [row["clientOrderId"] for row in await client.futures_get_open_orders(symbol="BTCUSDT")] == ["mine"]
    assert (await client.futures_v1_get_open_order(symbol="BTCUSDT", orderId=placed["orderId"]))["status"] == "NEW"

    canceled = await client.futures_cancel_order(symbol="BTCUSDT", origClientOrderId="mine")

    assert (canceled["status"], "cumQuote" in canceled) == ("CANCELED", False)
    assert await client.futures_get_open_orders() == []
    assert (await refusal_of(client.futures_cancel_order(symbol="BTCUSDT", origClientOrderId="mine"))).code == -2011


async def test_change_is_refused_for_other_than_resting_limit_orders(client):
    market = await client.futures_create_order(**market_order())
    change = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.020", "price": "59100"}

    assert (await refusal_of(client.futures_modify_order(orderId=market["orderId"], **change))).code == -5025
    assert (await refusal_of(client.futures_modify_order(orderId=1, **change))).code == -2013
    limit = await client.futures_create_order(**limit_order("BUY", "0.010", "59000"))
    reducing = client.futures_modify_order(orderId=limit["orderId"], reduceOnly="true", **change)
    assert (await refusal_of(reducing)).code == -5047


async def test_query_needs_an_id_and_names_a_missing_order(client):
    assert (await refusal_of(client.futures_get_order(symbol="BTCUSDT"))).code == -1102
    missing = await refusal_of(client.futures_get_order(symbol="BTCUSDT", origClientOrderId="nobody"))
    assert (missing.code, missing.message) == (-2013, "Order does not exist.")


async def test_order_id_wins_when_both_ids_are_sent(client):
    first = await client.futures_create_order(**market_order(newClientOrderId="first"))
    await client.futures_create_order(**market_order(newClientOrderId="second"))

    found = await client.futures_get_order(symbol="BTCUSDT", orderId=first["orderId"], origClientOrderId="second")

    assert found["clientOrderId"] == "first"


async def test_batch_succeeds_and_fails_order_by_order(client, exchange):
    replies = await client.futures_place_batch_order(
        batchOrders=[market_order(newOrderRespType="RESULT"), {**market_order(), "quantity": "0.0001"}]
    )

    assert (replies[0]["status"], replies[1]["code"]) == ("FILLED", -1111)
    assert exchange.net("BTCUSDT") == Decimal("0.010")
    too_many = client.futures_place_batch_order(batchOrders=[market_order() for _ in range(6)])
    assert (await refusal_of(too_many)).code == -4082


async def test_all_open_orders_of_a_symbol_are_canceled_at_once(client, exchange):
    for price in ("59000", "59100"):
        await client.futures_create_order(**limit_order("BUY", "0.010", price))

    reply = await client.futures_cancel_all_open_orders(symbol="BTCUSDT")

    assert (reply["code"], exchange.ledger.orders.get_open()) == (200, [])


async def test_dead_man_switch_cancels_when_its_time_has_come(client, exchange, clock):
    await client.futures_create_order(**limit_order("BUY", "0.010", "59000"))
    await client.futures_countdown_cancel_all(symbol="BTCUSDT", countdownTime=1000)
    await client.futures_ping()
    assert len(exchange.ledger.orders.get_open()) == 1

    clock.advance(1.0)
    await client.futures_ping()

    assert [order.status for order in exchange.orders] == ["CANCELED"]


async def test_dated_order_expires_when_its_time_has_come(client, exchange, clock):
    till = str(exchange.get_now_ms() + 600_000)
    await client.futures_create_order(
        **limit_order("BUY", "0.010", "59000", goodTillDate=till) | {"timeInForce": "GTD"}
    )

    clock.advance(600.0)
    await client.futures_ping()

    assert [order.status for order in exchange.orders] == ["EXPIRED"]


async def test_histories_tell_orders_trades_and_incomes(client):
    placed = await client.futures_create_order(**market_order())
    await client.futures_create_order(**market_order("SELL"))

    orders = await client.futures_get_all_orders(symbol="BTCUSDT")
    assert [row["side"] for row in orders] == ["BUY", "SELL"]
    assert await client.futures_get_all_orders() == orders
    trades = await client.futures_account_trades(symbol="BTCUSDT")
    assert set(trades[0]) == {
        "symbol",
        "id",
        "orderId",
        "side",
        "price",
        "qty",
        "realizedPnl",
        "quoteQty",
        "commission",
        "commissionAsset",
        "time",
        "positionSide",
        "buyer",
        "maker",
    }
    assert [row["qty"] for row in trades] == ["0.010", "0.010"]
    only = await client.futures_account_trades(symbol="BTCUSDT", orderId=placed["orderId"])
    assert [row["orderId"] for row in only] == [placed["orderId"]]
    fees = await client.futures_income_history(incomeType="COMMISSION")
    assert [row["income"] for row in fees] == ["-0.30000050", "-0.30000000"]


async def test_history_may_not_span_more_than_seven_days(client, exchange):
    start = exchange.get_now_ms() - 8 * 86_400_000

    spanning = client.futures_account_trades(symbol="BTCUSDT", startTime=start, endTime=exchange.get_now_ms())

    assert (await refusal_of(spanning)).code == -4165


async def test_forced_orders_are_told(client, exchange):
    exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.3")))
    exchange.liquidate("BTCUSDT")

    (row,) = await client.futures_liquidation_orders()

    assert (row["autoCloseType"], row["clientOrderId"].startswith("autoclose-")) == ("LIQUIDATION", True)


async def test_history_page_holds_the_newest_unless_it_starts_somewhere(client, exchange):
    for _ in range(3):
        await client.futures_create_order(**market_order())
    fills = exchange.ledger.fills

    newest = await client.futures_account_trades(symbol="BTCUSDT", limit=2)
    onwards = await client.futures_account_trades(symbol="BTCUSDT", limit=2, fromId=fills[0].trade_id)

    assert [row["id"] for row in newest] == [fill.trade_id for fill in fills[1:]]
    assert [row["id"] for row in onwards] == [fill.trade_id for fill in fills[:2]]
    assert (await refusal_of(client.futures_account_trades(symbol="BTCUSDT", limit=1001))).code == -1130


async def test_disarmed_dead_man_switch_cancels_nothing(client, exchange, clock):
    await client.futures_create_order(**limit_order("BUY", "0.010", "59000"))
    for countdown in (1000, 0):
        await client.futures_countdown_cancel_all(symbol="BTCUSDT", countdownTime=countdown)

    clock.advance(2.0)
    await client.futures_ping()

    assert len(exchange.ledger.orders.get_open()) == 1


@pytest.mark.parametrize("batch", ["nonsense", "%5B1%5D"])
async def test_batch_is_refused_when_it_is_no_list_of_orders(client, batch):
    sent = client._request_futures_api("post", "batchOrders", True, data={"batchOrders": batch}, force_params=True)

    assert (await refusal_of(sent)).code == -1130


async def test_history_starts_before_it_ends(client, exchange):
    now_ms = exchange.get_now_ms()

    backwards = client.futures_get_all_orders(symbol="BTCUSDT", startTime=now_ms, endTime=now_ms - 1)

    assert (await refusal_of(backwards)).code == -1023


async def test_done_order_is_no_open_order(client):
    placed = await client.futures_create_order(**market_order())

    assert (
        await refusal_of(client.futures_v1_get_open_order(symbol="BTCUSDT", orderId=placed["orderId"]))
    ).code == -2013


async def test_resting_order_is_not_changed_when_the_symbol_does_not_trade(client, exchange):
    placed = await client.futures_create_order(**limit_order("BUY", "0.010", "59000"))
    exchange.set_status("BTCUSDT", "BREAK")

    changing = client.futures_modify_order(
        symbol="BTCUSDT", side="BUY", orderId=placed["orderId"], quantity="0.020", price="59100"
    )

    assert (await refusal_of(changing)).code == -5024
    statuses = {row["symbol"]: row["status"] for row in (await client.futures_exchange_info())["symbols"]}
    assert statuses == {"BTCUSDT": "BREAK", "ETHUSDT": "TRADING", "SOLUSDT": "TRADING"}
