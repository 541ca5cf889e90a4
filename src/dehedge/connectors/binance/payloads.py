"""REST payloads of the exchange as the daemon's own types.

Pure parsing: JSON in, frozen data out, every number a ``Decimal``, every time in seconds. Never does IO, never lets
a ``KeyError`` out: what is not as documented raises ``MalformedPayload``. Called by the connector and its parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple, TypeVar

import structlog

from dehedge.connectors.binance.rows import (
    DIGITS_MAX,
    Json,
    MalformedPayload,
    Row,
    build_row,
    clip,
    iterate_rows,
    parse_decimal,
)
from dehedge.core.model import Leg, Side, TradingRules
from dehedge.core.orders import ClientOrderId, OrderReport, OrderStatus
from dehedge.ports import Balance, MarkPrice, OrderBook, VenueFunding, VenueOrder, VenuePosition, VenueTrade

log = structlog.get_logger()

Parsed = TypeVar("Parsed")

PERPETUALS = frozenset({"PERPETUAL", "TRADIFI_PERPETUAL"})
"""Contract types that never expire; a hedge in a dated future would be settled under us."""

STATUSES = {status.value: status for status in OrderStatus} | {"EXPIRED_IN_MATCH": OrderStatus.EXPIRED}
"""The exchange's order statuses; EXPIRED_IN_MATCH is an order ended by self-trade prevention."""

FORCED_STATUSES = frozenset({"NEW_INSURANCE", "NEW_ADL"})
"""Statuses of liquidation orders that say who takes them over; how far they are is in their quantities."""

FUNDING = "FUNDING_FEE"
"""The kind of a booking of funding."""


class RateLimit(NamedTuple):
    """One of the exchange's limits: so much ``limit`` in each fixed window of ``interval_s``, shown as ``label``."""

    kind: str
    interval_s: int
    limit: int
    label: str


class AccountConfig(NamedTuple):
    """What holds for the whole account."""

    can_trade: bool
    hedge_mode: bool
    multi_assets: bool


class SymbolConfig(NamedTuple):
    """What holds for one symbol; ``margin_type`` is CROSSED or ISOLATED."""

    leverage: int
    margin_type: str


INTERVALS_S = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86400}
INTERVAL_COUNT_MAX = 1_000
MARGIN_TYPES = frozenset({"CROSSED", "ISOLATED"})


def parse_rate_limits(payload: Json) -> list[RateLimit]:
    """The limits of an exchangeInfo; those of an interval that we do not know are left out."""
    return list(parse_readable(parse_rate_limit, build_row("exchangeInfo", payload).get_rows("rateLimits")))


def parse_rate_limit(row: Row) -> RateLimit:
    interval, count = row.get_text("interval"), row.get_integer("intervalNum")
    if interval not in INTERVALS_S or not 0 < count <= INTERVAL_COUNT_MAX:
        raise MalformedPayload(f"the exchange sent a limit for each {count} {clip(interval)}")
    return RateLimit(
        kind=row.get_text("rateLimitType"),
        interval_s=INTERVALS_S[interval] * count,
        limit=row.get_integer("limit"),
        label=f"{count}{interval[0]}",
    )


def parse_trading_rules(payload: Json) -> dict[str, TradingRules]:
    """The rules of every symbol of an exchangeInfo, but for those that cannot be read."""
    rows = build_row("exchangeInfo", payload).get_rows("symbols")
    return {rule.symbol: rule for rule in parse_readable(parse_symbol, rows)}


def parse_readable(parse: Callable[[Row], Parsed], rows: Iterable[Row]) -> Iterator[Parsed]:
    """Parse a list of everything that the exchange has: one row that is odd must not cost all the others."""
    for row in rows:
        try:
            yield parse(row)
        except MalformedPayload as error:
            log.debug("row_skipped", symbol=clip(row.values.get("symbol")), reason=str(error))


def parse_symbol(row: Row) -> TradingRules:
    """A market order must pass LOT_SIZE and MARKET_LOT_SIZE both, so the stricter of each bound holds."""
    filters = {item.get_text("filterType"): item for item in row.get_rows("filters")}
    lots = [get_filter(row, filters, "LOT_SIZE"), get_filter(row, filters, "MARKET_LOT_SIZE")]
    rules = TradingRules(
        symbol=row.get_text("symbol"),
        quantity_step=combine_steps([lot.get_amount("stepSize") for lot in lots]),
        quantity_min=max(lot.get_amount("minQty") for lot in lots),
        quantity_max=min(lot.get_positive("maxQty") for lot in lots),
        notional_min=get_filter(row, filters, "MIN_NOTIONAL").get_amount("notional"),
        price_tick=combine_steps([get_filter(row, filters, "PRICE_FILTER").get_amount("tickSize")]),
        is_trading=check_tradable(row),
        margin_asset=row.get_text("quoteAsset"),
    )
    if rules.quantity_max < max(rules.quantity_min, rules.quantity_step):
        raise MalformedPayload(f"the exchange sent {rules.symbol} with rules that no order can meet")
    return rules


def get_filter(symbol: Row, filters: dict[str, Row], name: str) -> Row:
    if name not in filters:
        raise MalformedPayload(f"the exchange sent {symbol.get_text('symbol')} without the filter {name}")
    return filters[name]


def check_tradable(row: Row) -> bool:
    """Open for trading, without an expiry, and quoted in a dollar, for our figures are in dollars."""
    return (
        row.get_text("status") == "TRADING"
        and row.get_text("contractType") in PERPETUALS
        and "USD" in row.get_text("quoteAsset")
    )


def combine_steps(steps: Sequence[Decimal]) -> Decimal:
    """The smallest step that is a whole multiple of each; a step of 0 sets no limit."""
    given = [step for step in steps if step > 0]
    if not given:
        raise MalformedPayload("the exchange sent a symbol without a step")
    exponent = min(int(step.normalize().as_tuple().exponent) for step in given)
    combined = math.lcm(*(int(step.scaleb(-exponent)) for step in given))
    if combined >= 10**DIGITS_MAX:
        raise MalformedPayload("the exchange sent a symbol with steps that do not fit together")
    return Decimal(combined).scaleb(exponent)


def parse_mark_prices(payload: Json) -> dict[str, MarkPrice]:
    """A premiumIndex: one object for one symbol, a list for all, where an unreadable one leaves the others be.

    A symbol that was never traded has a mark of 0, which is none.
    """
    if isinstance(payload, dict):
        marks = [parse_mark_price(build_row("premiumIndex", payload))]
    else:
        marks = list(parse_readable(parse_mark_price, iterate_rows("premiumIndex", payload)))
    return {mark.symbol: mark for mark in marks if mark.price}


def parse_mark_price(row: Row) -> MarkPrice:
    return MarkPrice(row.get_text("symbol"), row.get_amount("markPrice"), row.get_seconds("time"))


def parse_order_book(symbol: str, payload: Json) -> OrderBook:
    row = build_row("depth", payload)
    return OrderBook(symbol, bids=parse_levels(row.get("bids")), asks=parse_levels(row.get("asks")))


def parse_levels(payload: Json) -> tuple[tuple[Decimal, Decimal], ...]:
    if not isinstance(payload, list) or not all(isinstance(level, list) and len(level) >= 2 for level in payload):
        raise MalformedPayload("the exchange sent depth with unusable levels")
    levels = tuple((parse_decimal("depth price", level[0]), parse_decimal("depth size", level[1])) for level in payload)
    if any(price <= 0 or size < 0 for price, size in levels):
        raise MalformedPayload("the exchange sent depth with unusable levels")
    return levels


def parse_order(payload: Json) -> VenueOrder:
    """An order as a write replies it, or as a query or the history shows it. Only the latter know a fill price."""
    row = build_row("an order", payload)
    report = OrderReport(
        client_order_id=ClientOrderId(row.get_text("clientOrderId")),
        status=parse_status(row.get_text("status"), row.get_amount("executedQty"), row.values.get("origQty")),
        filled_quantity=row.get_amount("executedQty"),
        average_price=parse_fill_price(row, "avgPrice"),
        venue_order_id=str(row.get_integer("orderId")),
    )
    return VenueOrder(
        symbol=row.get_text("symbol"),
        side=row.get_choice("side", Side),
        leg=parse_leg(row, "positionSide"),
        report=report,
        updated_at=row.get_seconds("updateTime"),
    )


def parse_status(text: str, filled: Decimal, quantity: Json) -> OrderStatus:
    if text in STATUSES:
        return STATUSES[text]
    if text not in FORCED_STATUSES:
        raise MalformedPayload(f"the exchange sent an order with the unknown status {clip(text)}")
    if filled and filled == parse_decimal("an order quantity", quantity):
        return OrderStatus.FILLED
    return OrderStatus.PARTIALLY_FILLED if filled else OrderStatus.NEW


def parse_fill_price(row: Row, key: str) -> Decimal | None:
    """None where the price is absent, as in replies to writes, or 0, as before the first fill."""
    return row.get_amount(key) or None if key in row.values else None


def parse_leg(row: Row, key: str) -> Leg:
    return row.get_choice(key, Leg) if key in row.values else Leg.BOTH


def parse_trade(row: Row) -> VenueTrade:
    return VenueTrade(
        symbol=row.get_text("symbol"),
        side=row.get_choice("side", Side),
        leg=parse_leg(row, "positionSide"),
        venue_order_id=str(row.get_integer("orderId")),
        price=row.get_positive("price"),
        quantity=row.get_amount("qty"),
        fee=row.get_decimal("commission"),
        fee_asset=row.get_text("commissionAsset"),
        realized_profit=row.get_decimal("realizedPnl"),
        traded_at=row.get_seconds("time"),
    )


def parse_funding(row: Row) -> VenueFunding:
    """A booking of the income history that was asked for by its kind."""
    if row.get_text("incomeType") != FUNDING:
        raise MalformedPayload("the exchange was asked for funding and sent other bookings")
    return VenueFunding(
        symbol=row.get_text("symbol"),
        amount=row.get_decimal("income"),
        asset=row.get_text("asset"),
        paid_at=row.get_seconds("time"),
        venue_id=str(row.get_integer("tranId")),
    )


def parse_positions(payload: Json) -> list[VenuePosition]:
    """The positions of a positionRisk that are not flat; a flat symbol with a resting order shows as a zero row."""
    positions = [parse_position(row) for row in iterate_rows("positionRisk", payload)]
    return [position for position in positions if position.quantity]


def parse_position(row: Row) -> VenuePosition:
    return VenuePosition(
        symbol=row.get_text("symbol"),
        leg=parse_leg(row, "positionSide"),
        quantity=row.get_decimal("positionAmt"),
        entry_price=row.get_amount("entryPrice"),
        liquidation_price=parse_liquidation_price(row),
    )


def parse_liquidation_price(row: Row) -> Decimal | None:
    """None where nothing can be liquidated, which the exchange says by a price that is none."""
    price = row.get_decimal("liquidationPrice") if "liquidationPrice" in row.values else Decimal(0)
    return price if price > 0 else None


def parse_balances(payload: Json) -> list[Balance]:
    return [
        Balance(row.get_text("asset"), row.get_decimal("balance"), row.get_decimal("availableBalance"))
        for row in iterate_rows("balance", payload)
    ]


def parse_account_config(payload: Json) -> AccountConfig:
    row = build_row("accountConfig", payload)
    return AccountConfig(row.get_flag("canTrade"), row.get_flag("dualSidePosition"), row.get_flag("multiAssetsMargin"))


def parse_symbol_config(symbol: str, payload: Json) -> SymbolConfig:
    for row in iterate_rows("symbolConfig", payload):
        if row.get_text("symbol") == symbol:
            return build_symbol_config(row)
    raise MalformedPayload(f"the exchange sent no symbolConfig of {symbol}")


def build_symbol_config(row: Row) -> SymbolConfig:
    config = SymbolConfig(row.get_integer("leverage"), parse_margin_type(row.get_text("marginType")))
    if config.leverage < 1 or config.margin_type not in MARGIN_TYPES:
        raise MalformedPayload("the exchange sent a symbolConfig with an unusable leverage or margin type")
    return config


def parse_margin_type(text: str) -> str:
    """CROSSED or ISOLATED, which elsewhere in the exchange's payloads read cross and isolated."""
    return {"CROSS": "CROSSED"}.get(text.upper(), text.upper())


def format_decimal(value: Decimal) -> str:
    """Plain decimal without exponent: the only way in which the exchange reads a number."""
    return format(value, "f")


def floor_to(step: Decimal, value: Decimal) -> Decimal:
    """The multiple of the step nearest to the value toward zero."""
    return (value / step).to_integral_value(ROUND_DOWN) * step
