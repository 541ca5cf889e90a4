"""JSON of the public endpoints and the market streams, in the shapes recorded in 2026.

Builds plain dictionaries from markets and rules; decides nothing. The public routes and the stream hub call it.
"""

from __future__ import annotations

from collections.abc import Iterable

from dehedge.sim.exchange.limits import LimitSettings
from dehedge.sim.exchange.market import Level, Market, get_next_funding_ms
from dehedge.sim.exchange.model import PublicTradeEvent
from dehedge.sim.exchange.payloads import Json, show_money, show_price, show_quantity
from dehedge.sim.exchange.symbols import Bracket, SymbolRules

ORDER_TYPES = ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"]
PERPETUAL_DELIVERY_MS = 4_133_404_800_000
USD_MARGINED = 1
"""The ``st`` mark of a USD-M symbol on the streams, which carry COIN-M symbols too."""


def build_order_limits(settings: LimitSettings) -> list[Json]:
    rows = (("SECOND", 10, settings.orders_10s), ("MINUTE", 1, settings.orders_1m))
    return [
        {"rateLimitType": "ORDERS", "interval": unit, "intervalNum": count, "limit": limit}
        for unit, count, limit in rows
    ]


def build_exchange_info(markets: Iterable[Market], settings: LimitSettings, now_ms: int) -> Json:
    weight = {
        "rateLimitType": "REQUEST_WEIGHT",
        "interval": "MINUTE",
        "intervalNum": 1,
        "limit": settings.weight_1m,
    }
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": [weight, *build_order_limits(settings)],
        "exchangeFilters": [],
        "assets": [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}],
        "symbols": [build_symbol(market) for market in markets],
    }


def build_symbol(market: Market) -> Json:
    rules = market.rules
    return {
        "symbol": rules.symbol,
        "pair": rules.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": PERPETUAL_DELIVERY_MS,
        "onboardDate": rules.onboard_ms,
        "status": market.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": rules.base_asset,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": rules.price_precision,
        "quantityPrecision": rules.quantity_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": ["PoW"],
        "triggerProtect": "0.0500",
        "liquidationFee": str(rules.liquidation_fee),
        "marketTakeBound": str(rules.market_take_bound),
        "maxMoveOrderLimit": 10000,
        "filters": build_filters(rules),
        "orderTypes": ORDER_TYPES,
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
        "permissionSets": ["GRID", "COPY", "DCA"],
    }


def build_filters(rules: SymbolRules) -> list[Json]:
    low, step = str(rules.quantity_min), str(rules.step)
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": str(rules.price_min),
            "maxPrice": str(rules.price_max),
            "tickSize": str(rules.tick),
        },
        {"filterType": "LOT_SIZE", "minQty": low, "stepSize": step, "maxQty": str(rules.quantity_max)},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": step, "minQty": low, "maxQty": str(rules.market_quantity_max)},
        {"filterType": "MAX_NUM_ORDERS", "limit": rules.orders_max},
        {"filterType": "MIN_NOTIONAL", "notional": str(rules.notional_min)},
        {
            "filterType": "PERCENT_PRICE",
            "multiplierUp": str(rules.percent_up),
            "multiplierDecimal": "4",
            "multiplierDown": str(rules.percent_down),
        },
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]


def build_brackets(rules: SymbolRules) -> Json:
    """Leverage tiers; here alone the exchange sends numbers."""
    return {
        "symbol": rules.symbol,
        "brackets": [build_bracket(n, bracket) for n, bracket in enumerate(rules.brackets, 1)],
    }


def build_bracket(number: int, bracket: Bracket) -> Json:
    return {
        "bracket": number,
        "initialLeverage": bracket.leverage_max,
        "notionalCap": int(bracket.cap),
        "notionalFloor": int(bracket.floor),
        "maintMarginRatio": float(bracket.maintenance_ratio),
        "cum": float(bracket.deduction),
    }


def build_premium_index(market: Market, now_ms: int) -> Json:
    """``time`` moves once a second, as on the exchange."""
    mark = show_money(market.mark)
    return {
        "symbol": market.rules.symbol,
        "markPrice": mark,
        "indexPrice": mark,
        "estimatedSettlePrice": mark,
        "lastFundingRate": show_money(market.funding_rate),
        "interestRate": "0.00010000",
        "nextFundingTime": get_next_funding_ms(now_ms),
        "time": now_ms // 1000 * 1000,
    }


def build_ticker_price(market: Market, now_ms: int) -> Json:
    return {"symbol": market.rules.symbol, "price": show_price(market.rules, market.last), "time": now_ms}


def build_book_ticker(market: Market, now_ms: int) -> Json:
    rules, bid, ask = market.rules, market.bid, market.ask
    return {
        "symbol": rules.symbol,
        "bidPrice": show_price(rules, bid.price),
        "bidQty": show_quantity(rules, bid.quantity),
        "askPrice": show_price(rules, ask.price),
        "askQty": show_quantity(rules, ask.quantity),
        "time": now_ms,
        "lastUpdateId": market.update_id,
    }


def build_depth(market: Market, limit: int, now_ms: int) -> Json:
    return {
        "lastUpdateId": market.update_id,
        "E": now_ms,
        "T": now_ms,
        "bids": build_levels(market.rules, market.get_levels("SELL", limit)),
        "asks": build_levels(market.rules, market.get_levels("BUY", limit)),
    }


def build_levels(rules: SymbolRules, levels: Iterable[Level]) -> list[list[str]]:
    return [[show_price(rules, level.price), show_quantity(rules, level.quantity)] for level in levels]


def build_funding_rate(market: Market, now_ms: int) -> Json:
    return {
        "symbol": market.rules.symbol,
        "fundingTime": get_next_funding_ms(now_ms) - 8 * 3600 * 1000,
        "fundingRate": show_money(market.funding_rate),
        "markPrice": show_money(market.mark),
        "rateType": "Regular",
    }


def build_funding_info(market: Market) -> Json:
    return {
        "symbol": market.rules.symbol,
        "adjustedFundingRateCap": "0.00300000",
        "adjustedFundingRateFloor": "-0.00300000",
        "fundingIntervalHours": 8,
        "disclaimer": False,
        "updateTime": market.rules.onboard_ms,
    }


def build_mark_event(market: Market, now_ms: int) -> Json:
    mark = show_money(market.mark)
    return {
        "e": "markPriceUpdate",
        "E": now_ms,
        "s": market.rules.symbol,
        "p": mark,
        "ap": mark,
        "P": mark,
        "i": mark,
        "r": show_money(market.funding_rate),
        "T": get_next_funding_ms(now_ms),
        "st": USD_MARGINED,
    }


def build_book_event(market: Market, now_ms: int) -> Json:
    rules, bid, ask = market.rules, market.bid, market.ask
    return {
        "e": "bookTicker",
        "u": market.update_id,
        "s": rules.symbol,
        "ps": rules.symbol,
        "b": show_price(rules, bid.price),
        "B": show_quantity(rules, bid.quantity),
        "a": show_price(rules, ask.price),
        "A": show_quantity(rules, ask.quantity),
        "T": now_ms,
        "E": now_ms,
        "st": USD_MARGINED,
    }


def build_trade_event(rules: SymbolRules, event: PublicTradeEvent, number: int) -> Json:
    quantity = show_quantity(rules, event.quantity)
    return {
        "e": "aggTrade",
        "E": event.at_ms,
        "s": event.symbol,
        "a": number,
        "p": show_price(rules, event.price),
        "q": quantity,
        "nq": quantity,
        "f": number,
        "l": number,
        "T": event.at_ms,
        "m": event.buyer_is_maker,
        "st": USD_MARGINED,
    }


def build_depth_event(market: Market, limit: int, now_ms: int) -> Json:
    depth = build_depth(market, limit, now_ms)
    return {
        "e": "depthUpdate",
        "E": now_ms,
        "T": now_ms,
        "s": market.rules.symbol,
        "U": market.update_id,
        "u": market.update_id,
        "pu": market.update_id - 1,
        "b": depth["bids"],
        "a": depth["asks"],
        "st": USD_MARGINED,
    }


def build_fee_rates(symbol: str, maker: str, taker: str) -> Json:
    return {"symbol": symbol, "makerCommissionRate": maker, "takerCommissionRate": taker}
