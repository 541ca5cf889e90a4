"""Handlers of the account endpoints: balances, positions, settings, modes, listen key.

Each gives the JSON of what the account is, or applies one of the owner's choices through ``settings``. The route table
names these.
"""

from __future__ import annotations

from dehedge.sim.exchange import settings
from dehedge.sim.exchange.calls import Call
from dehedge.sim.exchange.market_payloads import build_brackets, build_fee_rates, build_order_limits
from dehedge.sim.exchange.model import Position
from dehedge.sim.exchange.payloads import (
    Json,
    build_account_config,
    build_account_v2,
    build_account_v3,
    build_balances,
    build_key_restrictions,
    build_position_v2,
    build_position_v3,
    build_symbol_config,
    show,
)
from dehedge.sim.exchange.refusals import Refused

SUCCESS: Json = {"code": 200, "msg": "success"}


def list_positions(call: Call) -> list[Position]:
    """Every leg of the symbols asked for, flat ones too."""
    account = call.ledger.account
    return [p for market in call.get_markets() for p in account.get_symbol_positions(market.rules.symbol)]


def list_live_positions(call: Call) -> list[Position]:
    """The legs with a position, and the flat ones of symbols with open orders."""
    resting = {(o.symbol, o.leg) for o in call.ledger.orders.get_open()}
    return [p for p in list_positions(call) if not p.is_flat or (p.symbol, p.leg) in resting]


def get_positions_v2(call: Call) -> list[Json]:
    return [build_position_v2(call.ledger, position) for position in list_positions(call)]


def get_positions_v3(call: Call) -> list[Json]:
    return [build_position_v3(call.ledger, position) for position in list_live_positions(call)]


def get_account_v2(call: Call) -> Json:
    return build_account_v2(call.ledger, list_positions(call))


def get_account_v3(call: Call) -> Json:
    return build_account_v3(call.ledger, list_live_positions(call))


def get_balances(call: Call) -> list[Json]:
    return build_balances(call.ledger)


def get_account_config(call: Call) -> Json:
    return build_account_config(call.ledger)


def get_symbol_config(call: Call) -> list[Json]:
    return [build_symbol_config(call.ledger, market.rules.symbol) for market in call.get_markets()]


def get_leverage_brackets(call: Call) -> list[Json]:
    return [build_brackets(market.rules) for market in call.get_markets()]


def get_commission_rate(call: Call) -> Json:
    account = call.ledger.account
    return build_fee_rates(call.require_market().rules.symbol, show(account.maker_rate), show(account.taker_rate))


def get_order_limits(call: Call) -> list[Json]:
    return build_order_limits(call.venue.limits.settings)


def get_key_restrictions(call: Call) -> Json:
    """Of the account's one key. On the spot exchange's host in reality."""
    (key,) = call.venue.keys.values()
    return build_key_restrictions(trades=key.trades, withdraws=key.withdraws, bound=key.bound)


def get_trading_status(call: Call) -> Json:
    return {"indicators": {}, "updateTime": call.now_ms}


def change_leverage(call: Call) -> Json:
    market, leverage = call.require_market(), call.params.require_integer("leverage")
    settings.set_leverage(call.ledger, market.rules.symbol, leverage)
    notional_max = market.rules.get_notional_max(leverage)
    return {"symbol": market.rules.symbol, "leverage": leverage, "maxNotionalValue": show(notional_max)}


def change_margin_type(call: Call) -> Json:
    market, margin_type = call.require_market(), call.params.require("marginType")
    if margin_type not in ("ISOLATED", "CROSSED"):
        raise Refused(-1130, "marginType")
    settings.set_isolated(call.ledger, market.rules.symbol, isolated=margin_type == "ISOLATED")
    return SUCCESS


def get_position_mode(call: Call) -> Json:
    return {"dualSidePosition": call.ledger.account.dual_side}


def change_position_mode(call: Call) -> Json:
    call.params.require("dualSidePosition")
    settings.set_dual_side(call.ledger, dual_side=call.params.get_flag("dualSidePosition"))
    return SUCCESS


def get_multi_assets_mode(call: Call) -> Json:
    return {"multiAssetsMargin": call.ledger.account.multi_assets}


def change_multi_assets_mode(call: Call) -> Json:
    call.params.require("multiAssetsMargin")
    settings.set_multi_assets(call.ledger, multi_assets=call.params.get_flag("multiAssetsMargin"))
    return SUCCESS


def open_listen_key(call: Call) -> Json:
    return {"listenKey": call.venue.listen_keys.obtain(call.now_ms)}


def extend_listen_key(call: Call) -> Json:
    return {"listenKey": call.venue.listen_keys.extend(call.now_ms)}


def close_listen_key(call: Call) -> Json:
    call.venue.listen_keys.end(expired=False)
    return {}
