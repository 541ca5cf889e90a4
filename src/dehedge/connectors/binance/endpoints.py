"""The exchange's endpoints that we use, as data: python-binance's method and what a call costs.

A new endpoint is a line here. ``gateway`` reads these; everything else of the package names them.
"""

from __future__ import annotations

from typing import NamedTuple


class Endpoint(NamedTuple):
    """One endpoint. ``weight`` counts against the address, ``orders`` against the account's order limits.

    ``window_ms`` is the recvWindow to sign with, 0 for what is not signed. A write may change the account, so it is
    sent once and never repeated; to ask for a listen key or to extend it changes nothing that could be done twice.
    """

    method: str
    weight: int
    window_ms: int = 0
    is_write: bool = False
    orders: int = 0


READ_WINDOW_MS = 5000
WRITE_WINDOW_MS = 2000
"""Short, for it bounds how long a lost order can still be executed."""

PING = Endpoint("futures_ping", 1)
TIME = Endpoint("futures_time", 1)
EXCHANGE_INFO = Endpoint("futures_exchange_info", 1)
MARK_PRICE = Endpoint("futures_mark_price", 1)
ALL_MARK_PRICES = Endpoint("futures_mark_price", 10)
DEPTH = Endpoint("futures_order_book", 2)
OPEN_KEY = Endpoint("futures_stream_get_listen_key", 1)
EXTEND_KEY = Endpoint("futures_stream_keepalive", 1)

ACCOUNT_CONFIG = Endpoint("futures_account_config", 5, READ_WINDOW_MS)
SYMBOL_CONFIG = Endpoint("futures_symbol_config", 5, READ_WINDOW_MS)
BRACKETS = Endpoint("futures_leverage_bracket", 1, READ_WINDOW_MS)
RESTRICTIONS = Endpoint("get_account_api_permissions", 1, READ_WINDOW_MS)
"""Of the key; asked of the spot exchange's host."""
POSITIONS = Endpoint("futures_position_information", 5, READ_WINDOW_MS)
BALANCES = Endpoint("futures_account_balance", 5, READ_WINDOW_MS)
ORDER = Endpoint("futures_get_order", 1, READ_WINDOW_MS)
ALL_ORDERS = Endpoint("futures_get_all_orders", 5, READ_WINDOW_MS)
TRADES = Endpoint("futures_account_trades", 5, READ_WINDOW_MS)
INCOME = Endpoint("futures_income_history", 30, READ_WINDOW_MS)

PLACE = Endpoint("futures_create_order", 0, WRITE_WINDOW_MS, is_write=True, orders=1)
MODIFY = Endpoint("futures_modify_order", 0, WRITE_WINDOW_MS, is_write=True, orders=1)
CANCEL = Endpoint("futures_cancel_order", 1, WRITE_WINDOW_MS, is_write=True)
LEVERAGE = Endpoint("futures_change_leverage", 1, READ_WINDOW_MS, is_write=True)
MARGIN_TYPE = Endpoint("futures_change_margin_type", 1, READ_WINDOW_MS, is_write=True)
