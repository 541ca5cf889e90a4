"""The public endpoints as python-binance sees them."""

from exchange_builders import refusal_of
from exchange_shapes import SYMBOL_KEYS


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
