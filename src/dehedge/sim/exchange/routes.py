"""The route table: every endpoint with its weight, its security and its handler.

Data only. Weights are those of the exchange's documentation of 2026; placing and changing orders cost no weight but count
as orders. ``api`` looks a request up here.
"""

from __future__ import annotations

from dehedge.sim.exchange import accounts, public, trading
from dehedge.sim.exchange.calls import Route, Routes
from dehedge.sim.exchange.params import Params


def weigh_depth(params: Params) -> int:
    limit = params.get("limit") or ""
    return public.DEPTH_WEIGHTS.get(int(limit) if limit.isdigit() else public.DEPTH_DEFAULT, 2)


def weigh_premium_index(params: Params) -> int:
    return 1 if "symbol" in params else 10


def weigh_ticker_price(params: Params) -> int:
    return 1 if "symbol" in params else 2


def weigh_book_ticker(params: Params) -> int:
    return 2 if "symbol" in params else 5


def weigh_open_orders(params: Params) -> int:
    return 1 if "symbol" in params else 40


def weigh_force_orders(params: Params) -> int:
    return 20 if "symbol" in params else 50


_PUBLIC: Routes = {
    ("GET", "/api/v3/ping"): Route(public.ping, 1, "NONE"),
    ("GET", "/api/v3/time"): Route(public.get_time, 1, "NONE"),
    ("GET", "/fapi/v1/ping"): Route(public.ping, 1, "NONE"),
    ("GET", "/fapi/v1/time"): Route(public.get_time, 1, "NONE"),
    ("GET", "/fapi/v1/exchangeInfo"): Route(public.get_exchange_info, 1, "NONE"),
    ("GET", "/fapi/v1/premiumIndex"): Route(public.get_premium_index, weigh_premium_index, "NONE"),
    ("GET", "/fapi/v1/depth"): Route(public.get_depth, weigh_depth, "NONE"),
    ("GET", "/fapi/v1/ticker/bookTicker"): Route(public.get_book_ticker, weigh_book_ticker, "NONE"),
    ("GET", "/fapi/v1/ticker/price"): Route(public.get_ticker_price, weigh_ticker_price, "NONE"),
    ("GET", "/fapi/v2/ticker/price"): Route(public.get_ticker_price, weigh_ticker_price, "NONE"),
    ("GET", "/fapi/v1/fundingRate"): Route(public.get_funding_rates, 0, "NONE"),
    ("GET", "/fapi/v1/fundingInfo"): Route(public.get_funding_info, 0, "NONE"),
}

_TRADING: Routes = {
    ("POST", "/fapi/v1/order"): Route(trading.place_order, 0, writes=True, orders=(1, 1)),
    ("PUT", "/fapi/v1/order"): Route(trading.amend_order, 0, writes=True, orders=(1, 1)),
    ("GET", "/fapi/v1/order"): Route(trading.get_order, 1),
    ("DELETE", "/fapi/v1/order"): Route(trading.cancel_order, 1, writes=True),
    ("POST", "/fapi/v1/batchOrders"): Route(trading.place_batch, 5, writes=True, orders=(5, 1)),
    ("GET", "/fapi/v1/openOrder"): Route(trading.get_open_order, 1),
    ("GET", "/fapi/v1/openOrders"): Route(trading.get_open_orders, weigh_open_orders),
    ("GET", "/fapi/v1/allOrders"): Route(trading.get_all_orders, 5),
    ("DELETE", "/fapi/v1/allOpenOrders"): Route(trading.cancel_all_orders, 1, writes=True),
    ("POST", "/fapi/v1/countdownCancelAll"): Route(trading.set_countdown, 10, writes=True),
    ("GET", "/fapi/v1/userTrades"): Route(trading.get_user_trades, 5),
    ("GET", "/fapi/v1/forceOrders"): Route(trading.get_force_orders, weigh_force_orders),
    ("GET", "/fapi/v1/income"): Route(trading.get_income, 30),
}

_ACCOUNT: Routes = {
    ("POST", "/fapi/v1/leverage"): Route(accounts.change_leverage, 1, writes=True),
    ("POST", "/fapi/v1/marginType"): Route(accounts.change_margin_type, 1, writes=True),
    ("GET", "/fapi/v1/positionSide/dual"): Route(accounts.get_position_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): Route(accounts.change_position_mode, 1, writes=True),
    ("GET", "/fapi/v1/multiAssetsMargin"): Route(accounts.get_multi_assets_mode, 30),
    ("POST", "/fapi/v1/multiAssetsMargin"): Route(accounts.change_multi_assets_mode, 1, writes=True),
    ("GET", "/fapi/v1/symbolConfig"): Route(accounts.get_symbol_config, 5),
    ("GET", "/fapi/v1/accountConfig"): Route(accounts.get_account_config, 5),
    ("GET", "/fapi/v1/leverageBracket"): Route(accounts.get_leverage_brackets, 1),
    ("GET", "/fapi/v1/commissionRate"): Route(accounts.get_commission_rate, 20),
    ("GET", "/fapi/v1/rateLimit/order"): Route(accounts.get_order_limits, 1),
    ("GET", "/fapi/v1/apiTradingStatus"): Route(accounts.get_trading_status, 10),
    ("GET", "/sapi/v1/account/apiRestrictions"): Route(accounts.get_key_restrictions, 1),
    ("GET", "/fapi/v2/account"): Route(accounts.get_account_v2, 5),
    ("GET", "/fapi/v3/account"): Route(accounts.get_account_v3, 5),
    ("GET", "/fapi/v2/balance"): Route(accounts.get_balances, 5),
    ("GET", "/fapi/v3/balance"): Route(accounts.get_balances, 5),
    ("GET", "/fapi/v2/positionRisk"): Route(accounts.get_positions_v2, 5),
    ("GET", "/fapi/v3/positionRisk"): Route(accounts.get_positions_v3, 5),
    ("POST", "/fapi/v1/listenKey"): Route(accounts.open_listen_key, 1, "KEY"),
    ("PUT", "/fapi/v1/listenKey"): Route(accounts.extend_listen_key, 1, "KEY"),
    ("DELETE", "/fapi/v1/listenKey"): Route(accounts.close_listen_key, 1, "KEY"),
}

ROUTES: Routes = {**_PUBLIC, **_TRADING, **_ACCOUNT}
