"""Handlers of the public endpoints: clock, rules, prices, book.

No key, no account. The route table names these.
"""

from __future__ import annotations

from collections.abc import Callable

from dehedge.sim.exchange.calls import Call
from dehedge.sim.exchange.market import Market
from dehedge.sim.exchange.market_payloads import (
    build_book_ticker,
    build_depth,
    build_exchange_info,
    build_funding_info,
    build_funding_rate,
    build_premium_index,
    build_ticker_price,
)
from dehedge.sim.exchange.payloads import Json
from dehedge.sim.exchange.refusals import Refused

DEPTH_WEIGHTS = {5: 2, 10: 2, 20: 2, 50: 2, 100: 5, 500: 10, 1000: 20}
DEPTH_DEFAULT = 500


def ping(_: Call) -> Json:
    return {}


def get_time(call: Call) -> Json:
    return {"serverTime": call.now_ms}


def get_exchange_info(call: Call) -> Json:
    """Everything, whatever symbol is asked for."""
    return build_exchange_info(call.ledger.markets.values(), call.venue.limits.settings, call.now_ms)


def get_premium_index(call: Call) -> Json | list[Json]:
    return _one_or_all(call, lambda market: build_premium_index(market, call.now_ms))


def get_ticker_price(call: Call) -> Json | list[Json]:
    return _one_or_all(call, lambda market: build_ticker_price(market, call.now_ms))


def get_book_ticker(call: Call) -> Json | list[Json]:
    return _one_or_all(call, lambda market: build_book_ticker(market, call.now_ms))


def _one_or_all(call: Call, build: Callable[[Market], Json]) -> Json | list[Json]:
    rows = [build(market) for market in call.get_markets()]
    return rows[0] if "symbol" in call.params else rows


def get_depth(call: Call) -> Json:
    limit = call.params.get_integer("limit") or DEPTH_DEFAULT
    if limit not in DEPTH_WEIGHTS:
        raise Refused(-4021, limit)
    return build_depth(call.require_market(), limit, call.now_ms)


def get_funding_rates(call: Call) -> list[Json]:
    return [build_funding_rate(market, call.now_ms) for market in call.get_markets()]


def get_funding_info(call: Call) -> list[Json]:
    return [build_funding_info(market) for market in call.get_markets()]
