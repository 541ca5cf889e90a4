"""Handlers of the order endpoints: place, batch, query, change, cancel, histories.

Each reads its parameters, asks the ledger for one thing, and gives the reply's JSON. Nothing is decided here that the
ledger could decide. The route table names these.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from dehedge.sim.exchange.calls import Call
from dehedge.sim.exchange.model import Order
from dehedge.sim.exchange.params import Params, parse_ask, parse_side
from dehedge.sim.exchange.payloads import (
    Json,
    build_ack_reply,
    build_forced_reply,
    build_income,
    build_read_reply,
    build_trade,
    build_write_reply,
)
from dehedge.sim.exchange.refusals import Refused

BATCH_MAX = 5
DAY_MS = 86_400_000
RANGE_MAX_DAYS = 7


class Range(NamedTuple):
    """A span of time in milliseconds, both ends included."""

    start_ms: int
    end_ms: int

    def check_holds(self, at_ms: int) -> bool:
        return self.start_ms <= at_ms <= self.end_ms


def parse_range(call: Call) -> Range:
    """The span asked for, the last seven days by default, and seven days at most."""
    span_ms = RANGE_MAX_DAYS * DAY_MS
    start, end = call.params.get_integer("startTime"), call.params.get_integer("endTime")
    end_ms = end if end is not None else call.now_ms if start is None else min(start + span_ms, call.now_ms)
    start_ms = start if start is not None else end_ms - span_ms
    if start_ms > end_ms:
        raise Refused(-1023)
    if end_ms - start_ms > span_ms:
        raise Refused(-4165, RANGE_MAX_DAYS)
    return Range(start_ms, end_ms)


def place_order(call: Call) -> Json:
    return _place(call, call.params)


def _place(call: Call, params: Params) -> Json:
    market = call.venue.get_market(params.require("symbol"))
    ask = parse_ask(params, call.ledger.account, call.now_ms)
    wants_result = _parse_wants_result(params)
    order = call.ledger.place(ask, fill_ratio=call.treatment.fill_ratio)
    if call.treatment.hidden_s:
        call.ledger.orders.hide(order.order_id, call.now_ms + round(call.treatment.hidden_s * 1000))
    return (build_write_reply if wants_result else build_ack_reply)(market.rules, order)


def _parse_wants_result(params: Params) -> bool:
    response_type = params.get("newOrderRespType") or "ACK"
    if response_type not in ("ACK", "RESULT"):
        raise Refused(-1136)
    return response_type == "RESULT"


def place_batch(call: Call) -> list[Json]:
    """Up to five orders; each succeeds or fails by itself, and the reply is 200 in any case."""
    return [_place_in_batch(call, params) for params in parse_batch(call.params)]


def parse_batch(params: Params) -> list[Params]:
    try:
        batch = json.loads(params.require("batchOrders"))
    except json.JSONDecodeError as error:
        raise Refused(-1130, "batchOrders") from error
    if not isinstance(batch, list) or not 1 <= len(batch) <= BATCH_MAX:
        raise Refused(-4082)
    if not all(isinstance(row, dict) for row in batch):
        raise Refused(-1130, "batchOrders")
    return [Params({name: _show_json(value) for name, value in row.items()}) for row in batch]


def _show_json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _place_in_batch(call: Call, params: Params) -> Json:
    try:
        return _place(call, params)
    except Refused as refused:
        return {"code": refused.code, "msg": refused.msg}


def find_order(call: Call, missing_code: int = -2013) -> Order:
    """The visible order asked for by either id. Raises ``Refused`` with the given code when there is none."""
    symbol = call.require_market().rules.symbol
    order_id, client_id = call.params.get_integer("orderId"), call.params.get("origClientOrderId")
    if order_id is None and client_id is None:
        refused = Refused(-1102, "")
        refused.msg = "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"
        raise refused
    order = call.ledger.orders.find(symbol, order_id, client_id)
    if order is None or not call.ledger.orders.check_visible(order, call.now_ms):
        raise Refused(missing_code)
    return order


def get_order(call: Call) -> Json:
    order = find_order(call)
    return build_read_reply(call.ledger.markets[order.symbol].rules, order)


def get_open_order(call: Call) -> Json:
    order = find_order(call)
    if not order.is_open:
        raise Refused(-2013)
    return build_read_reply(call.ledger.markets[order.symbol].rules, order)


def cancel_order(call: Call) -> Json:
    order = call.ledger.cancel(find_order(call, -2011))
    return build_write_reply(call.ledger.markets[order.symbol].rules, order)


def amend_order(call: Call) -> Json:
    """Change price and quantity of a resting limit order."""
    params = call.params
    market, side = call.require_market(), parse_side(params)
    quantity, price = params.require_number("quantity"), params.require_number("price")
    order = find_order(call)
    if market.status != "TRADING":
        raise Refused(-5024)
    if order.ask.order_type != "LIMIT":
        raise Refused(-5025)
    if not order.is_open or order.side != side:
        raise Refused(-2013)
    if params.get_flag("reduceOnly") and not order.ask.reduce_only:
        raise Refused(-5047)
    return build_write_reply(market.rules, call.ledger.amend(order, quantity, price))


def get_open_orders(call: Call) -> list[Json]:
    symbol = call.require_market().rules.symbol if "symbol" in call.params else None
    orders = [o for o in call.ledger.orders.get_open(symbol) if call.ledger.orders.check_visible(o, call.now_ms)]
    return _show_orders(call, orders)


def _show_orders(call: Call, orders: list[Order]) -> list[Json]:
    return [build_read_reply(call.ledger.markets[order.symbol].rules, order) for order in orders]


def get_all_orders(call: Call) -> list[Json]:
    """The order history, of one symbol or of all, oldest first."""
    symbol = call.require_market().rules.symbol if "symbol" in call.params else None
    limit, first_id = call.params.get_limit(500, 1000), call.params.get_integer("orderId")
    orders = call.ledger.orders.get_visible(symbol, call.now_ms)
    if first_id is not None:
        return _show_orders(call, [o for o in orders if o.order_id >= first_id][:limit])
    span = parse_range(call)
    return _show_orders(call, [o for o in orders if span.check_holds(o.created_ms)][-limit:])


def cancel_all_orders(call: Call) -> Json:
    for order in call.ledger.orders.get_open(call.require_market().rules.symbol):
        call.ledger.cancel(order)
    return {"code": 200, "msg": "The operation of cancel all open order is done."}


def set_countdown(call: Call) -> Json:
    """Arm, renew or (with 0) disarm the dead-man switch of a symbol."""
    symbol, countdown_ms = call.require_market().rules.symbol, call.params.require_integer("countdownTime")
    call.venue.countdowns.pop(symbol, None)
    if countdown_ms:
        call.venue.countdowns[symbol] = call.now_ms + countdown_ms
    return {"symbol": symbol, "countdownTime": str(countdown_ms)}


def get_user_trades(call: Call) -> list[Json]:
    market, params = call.require_market(), call.params
    limit, first_id, order_id = params.get_limit(500, 1000), params.get_integer("fromId"), params.get_integer("orderId")
    fills = [fill for fill in call.ledger.fills if fill.symbol == market.rules.symbol]
    if order_id is not None:
        fills = [fill for fill in fills if fill.order_id == order_id]
    if first_id is not None:
        return [build_trade(market.rules, fill) for fill in fills if fill.trade_id >= first_id][:limit]
    span = parse_range(call)
    return [build_trade(market.rules, fill) for fill in fills if span.check_holds(fill.at_ms)][-limit:]


def get_force_orders(call: Call) -> list[Json]:
    """Orders that the exchange made for the account: liquidations and deleveragings."""
    kind, span, limit = call.params.get("autoCloseType"), parse_range(call), call.params.get_limit(50, 100)
    symbols = [market.rules.symbol for market in call.get_markets()]
    forced = [
        order
        for order in call.ledger.orders.by_id.values()
        if order.close_kind in ((kind,) if kind else ("LIQUIDATION", "ADL"))
        and order.symbol in symbols
        and span.check_holds(order.created_ms)
    ]
    return [build_forced_reply(call.ledger.markets[order.symbol].rules, order) for order in forced[-limit:]]


def get_income(call: Call) -> list[Json]:
    kind, span, limit = call.params.get("incomeType"), parse_range(call), call.params.get_limit(100, 1000)
    symbols = [market.rules.symbol for market in call.get_markets()]
    incomes = [
        income
        for income in call.ledger.account.incomes
        if kind in (None, income.kind) and income.symbol in symbols and span.check_holds(income.at_ms)
    ]
    return [build_income(income) for income in incomes[-limit:]]
