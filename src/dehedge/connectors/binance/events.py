"""Messages of the exchange's websockets as the daemon's own types.

Pure parsing, beside ``payloads``. An event that is of no use to us is None; one that is not as documented raises
``MalformedPayload``, and the stream that carried it counts it and goes on. Never decides anything.
"""

from __future__ import annotations

import json
from enum import Enum, auto

from dehedge.connectors.binance.payloads import parse_fill_price, parse_leg, parse_status
from dehedge.connectors.binance.rows import MalformedPayload, Row, build_row
from dehedge.core.model import Side
from dehedge.core.orders import ClientOrderId, OrderReport
from dehedge.ports import MarkPrice, VenueOrder

USD_M = 1
"""The stream tag of USD-M symbols; since the integration of COIN-M, market streams carry its symbols as well."""

EXPIRY_REASONS = {
    "1": "self-trade prevention",
    "2": "remainder of an immediate order",
    "3": "self-trade prevention",
    "4": "reduce-only: the position shrank",
    "5": "liquidation",
    "6": "good-till expiry",
    "7": "delisted",
    "8": "trigger",
    "9": "the book was exhausted",
}


CONTAINERS_MAX = 10_000
"""Lists and objects of a message; an order's event has three."""


class Notice(Enum):
    """An account event without an order in it."""

    ACCOUNT_CHANGED = auto()
    SETTINGS_CHANGED = auto()
    KEY_EXPIRED = auto()


def parse_message(raw: str | bytes) -> Row:
    """The event of a message, raw or wrapped in ``{"stream", "data"}``."""
    text = raw if isinstance(raw, str) else raw.decode("utf-8", "replace")
    if text.count("[") + text.count("{") > CONTAINERS_MAX:
        raise MalformedPayload("the exchange sent a message of too many parts")
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        raise MalformedPayload("the exchange sent a message that is not JSON") from None
    row = build_row("a message", payload)
    return row.get_row("data") if "data" in row.values and "e" not in row.values else row


def parse_mark_event(row: Row) -> MarkPrice | None:
    if row.values.get("e") != "markPriceUpdate" or row.values.get("st", USD_M) != USD_M:
        return None
    mark = MarkPrice(row.get_text("s"), row.get_amount("p"), row.get_seconds("E"))
    return mark if mark.price else None


def parse_account_event(row: Row) -> VenueOrder | Notice | None:
    match row.values.get("e"):
        case "ORDER_TRADE_UPDATE":
            return parse_order_event(row)
        case "ACCOUNT_UPDATE":
            return parse_account_update(row)
        case "ACCOUNT_CONFIG_UPDATE":
            return Notice.SETTINGS_CHANGED
        case "MARGIN_CALL":
            return Notice.ACCOUNT_CHANGED
        case "listenKeyExpired":
            return Notice.KEY_EXPIRED
    return None


def parse_account_update(row: Row) -> Notice | None:
    """Positions that change by an order come with that order's own event, and funding changes balances alone."""
    return None if row.get_row("a").values.get("m") in ("ORDER", "FUNDING_FEE") else Notice.ACCOUNT_CHANGED


def parse_order_event(row: Row) -> VenueOrder:
    order = row.get_row("o")
    filled = order.get_amount("z")
    report = OrderReport(
        client_order_id=ClientOrderId(order.get_text("c")),
        status=parse_status(order.get_text("X"), filled, order.values.get("q")),
        filled_quantity=filled,
        average_price=parse_fill_price(order, "ap"),
        venue_order_id=str(order.get_integer("i")),
        reason=EXPIRY_REASONS.get(str(order.values.get("er", "0")), ""),
    )
    return VenueOrder(
        symbol=order.get_text("s"),
        side=order.get_choice("S", Side),
        leg=parse_leg(order, "ps"),
        report=report,
        updated_at=order.get_seconds("T"),
    )
