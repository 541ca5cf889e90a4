"""JSON of the user data stream, one builder for each kind of event.

Shapes follow events recorded in 2026. Builds dictionaries and decides nothing; the stream hub sends what comes out, in
order.
"""

from __future__ import annotations

from dehedge.sim.exchange.ledger import Ledger
from dehedge.sim.exchange.model import (
    SATOSHI,
    ZERO,
    AccountEvent,
    ConfigEvent,
    LiteEvent,
    MarginCallEvent,
    OrderEvent,
    Position,
    UserEvent,
)
from dehedge.sim.exchange.payloads import Json, show, show_money, show_price, show_quantity
from dehedge.sim.exchange.positions import compute_break_even
from dehedge.sim.exchange.symbols import SymbolRules


def build_user_event(ledger: Ledger, event: UserEvent) -> Json:
    """The event as the account's owner is told of it."""
    if isinstance(event, OrderEvent):
        return build_order_update(ledger, event)
    if isinstance(event, LiteEvent):
        return build_trade_lite(ledger.markets[event.order.symbol].rules, event)
    if isinstance(event, AccountEvent):
        return build_account_update(ledger, event)
    if isinstance(event, ConfigEvent):
        return build_config_update(event)
    return build_margin_call(ledger, event)


def build_order_update(ledger: Ledger, event: OrderEvent) -> Json:
    order, fill = event.order, event.fill
    body = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.ask.order_type,
        "f": order.ask.time_in_force,
        "q": show(order.quantity),
        "p": show(order.ask.price),
        "ap": show(order.average_price.quantize(ledger.markets[order.symbol].rules.tick / 1000)),
        "sp": "0",
        "x": event.execution,
        "X": order.status,
        "i": order.order_id,
        "l": show(fill.quantity) if fill else "0",
        "z": show(order.executed),
        "L": show(fill.price) if fill else "0",
        "n": show(fill.commission) if fill else "0",
        "N": "USDT",
        "T": event.at_ms,
        "t": fill.trade_id if fill else 0,
        **_build_exposure(ledger, event),
        "m": fill.is_maker if fill else False,
        "R": order.ask.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": order.ask.order_type,
        "ps": order.leg,
        "cp": False,
        "rp": show(fill.realized) if fill else "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": "EXPIRE_MAKER",
        "pm": "NONE",
        "gtd": order.ask.good_till_ms,
        "er": str(order.expiry_reason),
    }
    return {"e": "ORDER_TRADE_UPDATE", "T": event.at_ms, "E": event.at_ms, "o": body}


def _build_exposure(ledger: Ledger, event: OrderEvent) -> Json:
    exposure = ledger.margin.compute_exposure(event.order.symbol)
    return {"b": show(exposure.bids), "a": show(exposure.asks)}


def build_trade_lite(rules: SymbolRules, event: LiteEvent) -> Json:
    order, fill = event.order, event.fill
    return {
        "e": "TRADE_LITE",
        "E": event.at_ms,
        "T": event.at_ms,
        "s": order.symbol,
        "q": show_quantity(rules, order.quantity),
        "p": show_price(rules, order.ask.price),
        "m": fill.is_maker,
        "c": order.client_id,
        "S": order.side,
        "L": show_price(rules, fill.price),
        "l": show_quantity(rules, fill.quantity),
        "t": fill.trade_id,
        "i": order.order_id,
    }


def build_account_update(ledger: Ledger, event: AccountEvent) -> Json:
    balance = {
        "a": "USDT",
        "wb": show_money(event.wallet),
        "cw": show_money(event.cross_wallet),
        "bc": show(event.balance_change),
    }
    changed = {
        "B": [] if event.reason == "MARGIN_TYPE_CHANGE" else [balance],
        "P": [build_position_row(ledger, position) for position in event.positions],
        "m": event.reason,
    }
    return {"e": "ACCOUNT_UPDATE", "T": event.at_ms, "E": event.at_ms, "a": changed}


def build_position_row(ledger: Ledger, position: Position) -> Json:
    return {
        "s": position.symbol,
        "pa": show(position.amount),
        "ep": show(position.entry_price.quantize(ledger.markets[position.symbol].rules.tick / 10**6)),
        "cr": show(position.realized),
        "up": show(ledger.margin.compute_unrealized(position).quantize(SATOSHI)),
        "mt": "isolated" if ledger.account.get_settings(position.symbol).isolated else "cross",
        "iw": show(position.isolated_wallet),
        "ps": position.leg,
        "ma": "USDT",
        "bep": show(compute_break_even(position).quantize(ledger.markets[position.symbol].rules.tick / 10**6)),
    }


def build_config_update(event: ConfigEvent) -> Json:
    if event.symbol:
        change: Json = {"ac": {"s": event.symbol, "l": event.leverage}}
    else:
        change = {"ai": {"j": event.multi_assets}}
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": event.at_ms, "T": event.at_ms, **change}


def build_margin_call(ledger: Ledger, event: MarginCallEvent) -> Json:
    return {
        "e": "MARGIN_CALL",
        "E": event.at_ms,
        "cw": show_money(event.cross_wallet),
        "p": [_build_margin_row(ledger, position) for position in event.positions],
    }


def _build_margin_row(ledger: Ledger, position: Position) -> Json:
    isolated = ledger.account.get_settings(position.symbol).isolated
    return {
        "s": position.symbol,
        "ps": position.leg,
        "pa": show(position.amount),
        "mt": "ISOLATED" if isolated else "CROSSED",
        "iw": show(position.isolated_wallet) if isolated else show(ZERO),
        "mp": show_money(ledger.margin.get_mark(position.symbol)),
        "up": show_money(ledger.margin.compute_unrealized(position)),
        "mm": show_money(ledger.margin.compute_maintenance(position)),
    }


def build_listen_key_expired(listen_key: str, now_ms: int) -> Json:
    return {"e": "listenKeyExpired", "E": now_ms, "listenKey": listen_key}
