"""The REST side as python-binance sees it: every endpoint, its shape, its refusals, its headers."""

from decimal import Decimal

import pytest
from binance.exceptions import BinanceAPIException
from exchange_builders import a_client, limit_order, market_order, set_client_clock

from dehedge.sim.exchange import Ask

ORDER_KEYS = {
    "orderId",
    "symbol",
    "status",
    "clientOrderId",
    "price",
    "origQty",
    "executedQty",
    "timeInForce",
    "type",
    "reduceOnly",
    "closePosition",
    "side",
    "positionSide",
    "stopPrice",
    "workingType",
    "priceProtect",
    "origType",
    "priceMatch",
    "selfTradePreventionMode",
    "goodTillDate",
    "updateTime",
}
POSITION_KEYS = {
    "symbol",
    "positionSide",
    "positionAmt",
    "entryPrice",
    "breakEvenPrice",
    "markPrice",
    "unRealizedProfit",
    "liquidationPrice",
    "isolatedMargin",
    "notional",
    "marginAsset",
    "isolatedWallet",
    "initialMargin",
    "maintMargin",
    "positionInitialMargin",
    "openOrderInitialMargin",
    "adl",
    "bidNotional",
    "askNotional",
    "updateTime",
}
SYMBOL_KEYS = {
    "symbol",
    "pair",
    "contractType",
    "deliveryDate",
    "onboardDate",
    "status",
    "maintMarginPercent",
    "requiredMarginPercent",
    "baseAsset",
    "quoteAsset",
    "marginAsset",
    "pricePrecision",
    "quantityPrecision",
    "baseAssetPrecision",
    "quotePrecision",
    "underlyingType",
    "underlyingSubType",
    "triggerProtect",
    "liquidationFee",
    "marketTakeBound",
    "maxMoveOrderLimit",
    "filters",
    "orderTypes",
    "timeInForce",
    "permissionSets",
}


async def refusal_of(call) -> BinanceAPIException:
    with pytest.raises(BinanceAPIException) as caught:
        await call
    return caught.value


async def test_clock_and_pings_answer(client, exchange):
    assert await client.futures_time() == {"serverTime": exchange.get_now_ms()}
    assert await client.futures_ping() == {}
    assert await client.ping() == {}
    assert await client.get_server_time() == {"serverTime": exchange.get_now_ms()}


async def test_exchange_info_is_shaped_like_the_live_one(client):
    info = await client.futures_exchange_info()

    limits = {(row["rateLimitType"], row["interval"]): row["limit"] for row in info["rateLimits"]}
    assert limits == {("REQUEST_WEIGHT", "MINUTE"): 2400, ("ORDERS", "MINUTE"): 1200, ("ORDERS", "SECOND"): 300}
    rows = {row["symbol"]: row for row in info["symbols"]}
    assert set(rows) == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    assert set(rows["BTCUSDT"]) == SYMBOL_KEYS
    filters = {row["filterType"]: row for row in rows["BTCUSDT"]["filters"]}
    assert filters["MARKET_LOT_SIZE"]["maxQty"] == "120"
    assert filters["LOT_SIZE"]["stepSize"] == "0.001"
    assert filters["MIN_NOTIONAL"]["notional"] == "50"
    assert filters["PRICE_FILTER"]["tickSize"] == "0.10"


async def test_prices_come_for_one_symbol_or_for_all(client):
    one = await client.futures_mark_price(symbol="BTCUSDT")
    assert one["markPrice"] == "60000.00000000"
    assert set(one) == {
        "symbol",
        "markPrice",
        "indexPrice",
        "estimatedSettlePrice",
        "lastFundingRate",
        "interestRate",
        "nextFundingTime",
        "time",
    }
    assert {row["symbol"] for row in await client.futures_mark_price()} == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}
    ticker = await client.futures_orderbook_ticker(symbol="BTCUSDT")
    assert (ticker["bidPrice"], ticker["askPrice"]) == ("60000.00", "60000.10")
    assert (await client.futures_symbol_ticker(symbol="BTCUSDT"))["price"] == "60000.00"
    assert len(await client.futures_orderbook_ticker()) == len(await client.futures_symbol_ticker()) == 3


async def test_depth_has_the_levels_asked_for(client):
    depth = await client.futures_order_book(symbol="BTCUSDT", limit=5)

    assert set(depth) == {"lastUpdateId", "E", "T", "bids", "asks"}
    assert [row[0] for row in depth["asks"]] == ["60000.10", "60000.20", "60000.30", "60000.40", "60000.50"]
    refused = await refusal_of(client.futures_order_book(symbol="BTCUSDT", limit=3))
    assert (refused.code, refused.message) == (-4021, "3 is not valid depth limit")


async def test_unknown_symbol_is_refused(client):
    refused = await refusal_of(client.futures_create_order(**{**market_order(), "symbol": "NOPEUSDT"}))

    assert (refused.status_code, refused.code, refused.message) == (400, -1121, "Invalid symbol.")


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


async def test_positions_are_told_only_where_there_is_something(client):
    assert await client.futures_position_information() == []
    await client.futures_create_order(**market_order("SELL"))
    await client.futures_create_order(**{**limit_order("BUY", "0.100", "2900"), "symbol": "ETHUSDT"})

    rows = {row["symbol"]: row for row in await client.futures_position_information()}

    assert set(rows) == {"BTCUSDT", "ETHUSDT"}
    assert set(rows["BTCUSDT"]) == POSITION_KEYS
    assert (rows["BTCUSDT"]["positionAmt"], rows["BTCUSDT"]["entryPrice"]) == ("-0.010", "60000")
    assert rows["ETHUSDT"]["positionAmt"] == "0.000"
    older = await client.futures_position_information(version=2)
    assert [(row["symbol"], row["leverage"], row["marginType"]) for row in older] == [
        ("BTCUSDT", "20", "cross"),
        ("ETHUSDT", "20", "cross"),
        ("SOLUSDT", "20", "cross"),
    ]


async def test_account_and_balance_agree(client):
    await client.futures_create_order(**market_order())

    v2, v3 = await client.futures_account(), await client.futures_account(version=3)

    assert v2["totalWalletBalance"] == v3["totalWalletBalance"] == "99999.69999950"
    assert (v2["canTrade"], len(v2["positions"]), len(v3["positions"])) == (True, 3, 1)
    for version in (2, 3):
        balances = {row["asset"]: row for row in await client.futures_account_balance(version=version)}
        assert balances["USDT"]["balance"] == "99999.69999950"
        assert balances["USDT"]["availableBalance"] == v2["availableBalance"] == "99969.69899950"


async def test_settings_are_changed_and_read_back(client, exchange):
    changed = await client.futures_change_leverage(symbol="BTCUSDT", leverage=5)
    assert changed == {"symbol": "BTCUSDT", "leverage": 5, "maxNotionalValue": "480000000"}
    await client.futures_change_margin_type(symbol="BTCUSDT", marginType="ISOLATED")
    (config,) = await client.futures_symbol_config(symbol="BTCUSDT")
    assert (config["leverage"], config["marginType"]) == (5, "ISOLATED")
    same = await refusal_of(client.futures_change_margin_type(symbol="BTCUSDT", marginType="ISOLATED"))
    assert (same.code, same.message) == (-4046, "No need to change margin type.")
    assert (await refusal_of(client.futures_change_leverage(symbol="BTCUSDT", leverage=500))).code == -4028


async def test_position_mode_is_changed_and_read_back(client):
    assert await client.futures_get_position_mode() == {"dualSidePosition": False}
    await client.futures_change_position_mode(dualSidePosition="true")
    assert await client.futures_get_position_mode() == {"dualSidePosition": True}
    assert (await client.futures_account_config())["dualSidePosition"] is True
    assert (await refusal_of(client.futures_change_position_mode(dualSidePosition="true"))).code == -4059


async def test_hedge_mode_keeps_both_legs(client, exchange):
    exchange.set_dual_side(dual_side=True)
    await client.futures_create_order(**market_order("BUY", positionSide="LONG"))
    await client.futures_create_order(**market_order("SELL", "0.020", positionSide="SHORT"))

    rows = {row["positionSide"]: row["positionAmt"] for row in await client.futures_position_information()}
    assert rows == {"LONG": "0.010", "SHORT": "-0.020"}
    assert exchange.net("BTCUSDT") == Decimal("-0.010")
    assert (await refusal_of(client.futures_create_order(**market_order()))).code == -4061


async def test_multi_assets_mode_is_told_and_excludes_isolated_margin(client):
    assert await client.futures_get_multi_assets_mode() == {"multiAssetsMargin": False}
    await client.futures_change_multi_assets_mode("true")

    assert await client.futures_get_multi_assets_mode() == {"multiAssetsMargin": True}
    isolating = client.futures_change_margin_type(symbol="BTCUSDT", marginType="ISOLATED")
    assert (await refusal_of(isolating)).code == -4168


async def test_tiers_fees_limits_and_status_are_told(client):
    (row,) = await client.futures_leverage_bracket(symbol="BTCUSDT")
    assert row["brackets"][1] == {
        "bracket": 2,
        "initialLeverage": 100,
        "notionalCap": 800000,
        "notionalFloor": 300000,
        "maintMarginRatio": 0.005,
        "cum": 300.0,
    }
    rate = await client.futures_commission_rate(symbol="BTCUSDT")
    assert rate == {"symbol": "BTCUSDT", "makerCommissionRate": "0.0002", "takerCommissionRate": "0.0005"}
    limits = await client.futures_v1_get_rate_limit_order()
    assert [(row["intervalNum"], row["limit"]) for row in limits] == [(10, 300), (1, 1200)]
    assert "indicators" in await client.futures_api_trading_status()


async def test_forced_orders_are_told(client, exchange):
    exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.3")))
    exchange.liquidate("BTCUSDT")

    (row,) = await client.futures_liquidation_orders()

    assert (row["autoCloseType"], row["clientOrderId"].startswith("autoclose-")) == ("LIQUIDATION", True)


async def test_listen_key_is_made_extended_and_closed(client):
    key = await client.futures_stream_get_listen_key()
    assert (len(key), await client.futures_stream_get_listen_key()) == (64, key)
    await client.futures_stream_keepalive(listenKey=key)
    await client.futures_stream_close(listenKey=key)
    assert (await refusal_of(client.futures_stream_keepalive(listenKey=key))).code == -1125


async def test_wrong_secret_and_wrong_key_are_refused(exchange, clock):
    for others, code, status in (({"secret": "wrong"}, -1022, 400), ({"key": "wrong"}, -2015, 401)):
        stranger = a_client(exchange, **others)
        set_client_clock(stranger, clock)
        refused = await refusal_of(stranger.futures_account())
        assert (refused.code, refused.status_code) == (code, status)
        await stranger.close_connection()


async def test_client_clock_is_refused_when_ahead_or_behind(client):
    client.timestamp_offset += 60_000
    assert (await refusal_of(client.futures_account())).code == -1021
    client.timestamp_offset -= 120_000
    assert (await refusal_of(client.futures_create_order(**market_order()))).code == -1021


async def test_client_id_with_a_colon_fails_the_signature(client):
    refused = await refusal_of(client.futures_create_order(**market_order(newClientOrderId="a:b")))

    assert refused.code == -1022


async def test_conditional_order_is_sent_elsewhere(client):
    order = {**market_order(), "type": "STOP_MARKET", "stopPrice": "50000"}

    refused = await refusal_of(client._request_futures_api("post", "order", True, data=order))

    assert refused.code == -4120


async def test_headers_count_weight_and_orders(client):
    await client.futures_account()
    assert client.response.headers["X-MBX-USED-WEIGHT-1M"] == "5"

    await client.futures_create_order(**market_order())
    headers = client.response.headers
    assert (headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"]) == ("1", "1")
    assert headers["X-MBX-USED-WEIGHT-1M"] == "5"

    refused = await refusal_of(client.futures_create_order(**market_order(quantity="0")))
    assert "X-MBX-ORDER-COUNT-10S" not in refused.response.headers
    assert "X-MBX-USED-WEIGHT-1M" in refused.response.headers


async def test_orders_are_refused_when_the_ten_seconds_are_full(client, exchange, clock):
    exchange.api.venue.limits.orders_10s.limit = 2
    for _ in range(2):
        await client.futures_create_order(**market_order())

    refused = await refusal_of(client.futures_create_order(**market_order()))

    assert (refused.status_code, refused.code, refused.response.headers["Retry-After"]) == (429, -1015, "5")
    assert len(exchange.orders) == 2


async def test_weight_is_refused_when_the_minute_is_full(client, exchange):
    exchange.api.venue.limits.get_caller("127.0.0.1").weight.limit = 60
    for _ in range(2):
        await client.futures_get_position_mode()

    refused = await refusal_of(client.futures_ping())

    assert (refused.status_code, refused.code, refused.response.headers["Retry-After"]) == (429, -1003, "35")


@pytest.mark.parametrize(
    ("quantity", "code"), [("0.0001", -1111), ("200", -4005), ("0.0005", -1111), ("1e-05", -1100), ("90", -2019)]
)
async def test_order_is_refused_over_the_wire_with_its_code(client, quantity, code):
    assert (await refusal_of(client.futures_create_order(**market_order(quantity=quantity)))).code == code


async def test_good_orders_are_written_down_beside_the_refused(client, exchange):
    await client.futures_create_order(**market_order())
    await refusal_of(client.futures_create_order(**market_order(quantity="0")))

    posted = exchange.api.record.select("POST", "/order")

    assert [(row.status, row.code) for row in posted] == [(200, 0), (400, -4003)]
    assert all("signature" not in row.params for row in exchange.requests)
