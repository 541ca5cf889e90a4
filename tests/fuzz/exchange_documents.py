"""Good payloads of the exchange by path, for the tests that spoil them."""

from __future__ import annotations

import time
from typing import Any

NOW_MS = int(time.time() * 1000)

SYMBOL = {
    "symbol": "BTCUSDT", "status": "TRADING", "contractType": "PERPETUAL", "quoteAsset": "USDT", "marginAsset": "USDT",
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "stepSize": "0.001", "maxQty": "1000"},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "120"},
        {"filterType": "MIN_NOTIONAL", "notional": "50"},
    ],
}  # fmt: skip
EXCHANGE_INFO = {
    "rateLimits": [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
    ],
    "symbols": [SYMBOL, {**SYMBOL, "symbol": "ETHUSDT"}],
}
ORDER = {
    "orderId": 199033476993, "symbol": "BTCUSDT", "status": "FILLED", "clientOrderId": "dh-abc-1", "avgPrice": "60000.1",
    "origQty": "0.010", "executedQty": "0.010", "side": "BUY", "positionSide": "BOTH", "updateTime": NOW_MS, "time": NOW_MS,
}  # fmt: skip
TRADE = {
    "id": 5, "orderId": 199033476993, "symbol": "BTCUSDT", "side": "BUY", "positionSide": "BOTH", "price": "60000.1",
    "qty": "0.010", "commission": "0.03", "commissionAsset": "USDT", "realizedPnl": "-1.5", "time": NOW_MS,
}  # fmt: skip
INCOME = {
    "symbol": "BTCUSDT", "incomeType": "FUNDING_FEE", "income": "-0.375", "asset": "USDT", "time": NOW_MS, "info": "",
    "tranId": 9689322392, "tradeId": "",
}  # fmt: skip
POSITION = {
    "symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "-0.010", "entryPrice": "60000.1", "markPrice": "60001",
    "liquidationPrice": "65000.5",
}  # fmt: skip
SYMBOL_CONFIG = {"symbol": "BTCUSDT", "marginType": "ISOLATED", "leverage": 20, "maxNotionalValue": "250000"}
MARK = {"symbol": "BTCUSDT", "markPrice": "60000.10", "indexPrice": "60000", "time": NOW_MS}
DOCUMENTS: dict[str, Any] = {
    "/exchangeInfo": EXCHANGE_INFO,
    "/time": {"serverTime": NOW_MS},
    "/ping": {},
    "/premiumIndex": [MARK, {**MARK, "symbol": "ETHUSDT"}],
    "/depth": {"bids": [["60000.0", "1.5"], ["59999.9", "2"]], "asks": [["60000.1", "0.5"]]},
    "/listenKey": {"listenKey": "pqia91ma19a5s61cv6a81va65sdf19v8a65a1a5s61cv6a81va65sdf19v8a65a1"},
    "/accountConfig": {"canTrade": True, "dualSidePosition": False, "multiAssetsMargin": False},
    "/symbolConfig": [SYMBOL_CONFIG],
    "/positionRisk": [POSITION, {**POSITION, "positionAmt": "0"}],
    "/balance": [{"asset": "USDT", "balance": "122.5", "availableBalance": "100.25"}],
    "/order": ORDER,
    "/allOrders": [ORDER, {**ORDER, "orderId": 7, "status": "NEW_ADL"}],
    "/userTrades": [TRADE],
    "/income": [INCOME],
    "/leverage": {"leverage": 20, "symbol": "BTCUSDT", "maxNotionalValue": "250000"},
    "/marginType": {"code": 200, "msg": "success"},
}
REFUSAL = {"code": -2019, "msg": "Margin is insufficient."}
EVENTS: list[dict[str, Any]] = [
    {
        "e": "ORDER_TRADE_UPDATE", "E": NOW_MS, "T": NOW_MS,
        "o": {
            "s": "BTCUSDT", "c": "dh-abc-1", "S": "BUY", "q": "0.010", "ap": "60000.1", "x": "TRADE", "X": "PARTIALLY_FILLED",
            "i": 199033476993, "z": "0.004", "T": NOW_MS, "ps": "BOTH", "er": "0",
        },
    },
    {"e": "ACCOUNT_UPDATE", "E": NOW_MS, "a": {"m": "LIQUIDATION", "B": [], "P": []}},
    {"e": "ACCOUNT_CONFIG_UPDATE", "ac": {"s": "BTCUSDT", "l": 5}},
    {"e": "listenKeyExpired", "listenKey": "pqia91ma19a5s61cv6a81va65"},
    {"stream": "btcusdt@markPrice@1s", "data": {"e": "markPriceUpdate", "E": NOW_MS, "s": "BTCUSDT", "p": "60000.1", "st": 1}},
]  # fmt: skip
