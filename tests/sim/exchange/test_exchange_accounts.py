"""The account endpoints as python-binance sees them: balances, positions, settings, modes."""

from decimal import Decimal

import pytest
from exchange_builders import limit_order, market_order, refusal_of
from exchange_shapes import POSITION_KEYS


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


async def test_isolated_position_is_told_with_its_margin(client):
    await client.futures_change_margin_type(symbol="BTCUSDT", marginType="ISOLATED")
    await client.futures_create_order(**market_order())

    (row,) = await client.futures_position_information()

    assert (row["isolatedWallet"], row["isolatedMargin"]) == ("30.00005000", "29.99905000")
    assert Decimal(row["liquidationPrice"]) > 57000


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


async def test_listen_key_is_made_extended_and_closed(client):
    key = await client.futures_stream_get_listen_key()
    assert (len(key), await client.futures_stream_get_listen_key()) == (64, key)
    await client.futures_stream_keepalive(listenKey=key)
    await client.futures_stream_close(listenKey=key)
    assert (await refusal_of(client.futures_stream_keepalive(listenKey=key))).code == -1125


@pytest.mark.parametrize(
    ("path", "wanted", "code"),
    [
        ("order", {"newOrderRespType": "FULL"}, -1136),
        ("marginType", {"marginType": "PORTFOLIO"}, -1130),
        ("leverage", {"leverage": "ten"}, -1100),
    ],
)
async def test_write_is_refused_when_a_choice_is_unknown(client, path, wanted, code):
    sent = client._request_futures_api("post", path, True, data={**market_order(), **wanted})

    assert (await refusal_of(sent)).code == code
