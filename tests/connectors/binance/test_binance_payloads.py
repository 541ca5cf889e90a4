"""Parsing: exact numbers, one table of statuses, and never a KeyError."""

from __future__ import annotations

import copy
import json
import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.hostile import hurried

from dehedge.connectors.binance.events import Notice, parse_account_event, parse_mark_event, parse_message
from dehedge.connectors.binance.payloads import (
    RateLimit,
    combine_steps,
    floor_to,
    format_decimal,
    parse_account_config,
    parse_balances,
    parse_mark_prices,
    parse_order,
    parse_order_book,
    parse_positions,
    parse_rate_limits,
    parse_symbol_config,
    parse_trade,
    parse_trading_rules,
)
from dehedge.connectors.binance.rows import DIGITS_MAX, MalformedPayload, Row
from dehedge.core.model import Leg, Side
from dehedge.core.orders import OrderStatus
from dehedge.errors import VenueUnavailable

SYMBOL = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "contractType": "PERPETUAL",
    "quoteAsset": "USDT",
    "pricePrecision": 2,
    "quantityPrecision": 8,
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "556.80", "maxPrice": "4529764", "tickSize": "0.10"},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "stepSize": "0.001", "maxQty": "1000"},
        {"filterType": "MARKET_LOT_SIZE", "stepSize": "0.001", "minQty": "0.001", "maxQty": "120"},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": "50"},
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ],
}
LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 2400},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300},
    {"rateLimitType": "ORDERS", "interval": "FORTNIGHT", "intervalNum": 1, "limit": 7},
]
ORDER = {
    "orderId": 199033476993,
    "symbol": "BTCUSDT",
    "status": "FILLED",
    "clientOrderId": "dh-abc-1",
    "avgPrice": "60000.10000",
    "origQty": "0.010",
    "executedQty": "0.010",
    "side": "SELL",
    "positionSide": "SHORT",
    "updateTime": 1795346238793,
}
EVENT = {
    "e": "ORDER_TRADE_UPDATE",
    "E": 1795346238795,
    "T": 1795346238793,
    "o": {
        "s": "BTCUSDT",
        "c": "dh-abc-1",
        "S": "BUY",
        "q": "0.010",
        "ap": "60000.1",
        "x": "TRADE",
        "X": "PARTIALLY_FILLED",
        "i": 199033476993,
        "z": "0.004",
        "T": 1795346238793,
        "ps": "BOTH",
        "er": "0",
    },
}
PARSERS = [
    parse_trading_rules,
    parse_rate_limits,
    lambda payload: parse_order_book("BTCUSDT", payload),
    parse_order,
    lambda payload: parse_trade(Row("a trade", payload if isinstance(payload, dict) else {})),
    parse_positions,
    parse_balances,
    parse_account_config,
    lambda payload: parse_symbol_config("BTCUSDT", payload),
]


def a_symbol(**changes):
    return {**copy.deepcopy(SYMBOL), **changes}


def a_symbol_with(name, **changes):
    symbol = a_symbol()
    for item in symbol["filters"]:
        if item["filterType"] == name:
            item.update(changes)
    return symbol


def rules_of(*symbols):
    return parse_trading_rules({"symbols": list(symbols), "rateLimits": []})


def test_trading_rules_come_from_the_filters_not_from_the_precisions():
    rules = rules_of(a_symbol())["BTCUSDT"]

    assert (rules.quantity_step, rules.quantity_min, rules.quantity_max) == (
        Decimal("0.001"),
        Decimal("0.001"),
        Decimal(120),
    )
    assert (rules.notional_min, rules.price_tick, rules.is_trading) == (Decimal(50), Decimal("0.1"), True)


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        ({"minQty": "0.005"}, "quantity_min", "0.005"),
        ({"maxQty": "2000"}, "quantity_max", "1000"),
        ({"stepSize": "0.01"}, "quantity_step", "0.01"),
        ({"stepSize": "0.0015"}, "quantity_step", "0.003"),
        ({"stepSize": "0"}, "quantity_step", "0.001"),
    ],
)
def test_trading_rules_take_the_stricter_bound_when_the_filters_differ(change, field, expected):
    rules = rules_of(a_symbol_with("MARKET_LOT_SIZE", **change))["BTCUSDT"]

    assert getattr(rules, field) == Decimal(expected)


@pytest.mark.parametrize(
    ("change", "tradable"),
    [
        ({}, True),
        ({"contractType": "TRADIFI_PERPETUAL"}, True),
        ({"quoteAsset": "USDC"}, True),
        ({"status": "SETTLING"}, False),
        ({"status": "PENDING_TRADING"}, False),
        ({"contractType": "CURRENT_QUARTER"}, False),
        ({"quoteAsset": "BTC"}, False),
    ],
)
def test_symbol_is_trading_only_when_open_perpetual_and_in_dollars(change, tradable):
    assert rules_of(a_symbol(**change))["BTCUSDT"].is_trading is tradable


def test_unreadable_symbol_is_left_out_when_others_are_fine():
    broken = a_symbol(symbol="BADUSDT", filters=[])

    assert sorted(rules_of(broken, a_symbol(), a_symbol(symbol="币安人生USDT"))) == ["BTCUSDT", "币安人生USDT"]


def test_rate_limits_keep_known_intervals():
    assert parse_rate_limits({"rateLimits": LIMITS}) == [
        RateLimit("REQUEST_WEIGHT", 60, 2400, "1M"),
        RateLimit("ORDERS", 10, 300, "10S"),
    ]


@given(st.lists(st.decimals("0.00000001", "1000", places=8).filter(bool), min_size=1, max_size=3))
def test_combined_step_is_the_least_multiple_of_each_unless_that_is_longer_than_a_number_may_be(steps):
    least = math.lcm(*(int(step.scaleb(8)) for step in steps))

    try:
        combined = combine_steps(steps)
    except MalformedPayload:
        assert least >= 10**DIGITS_MAX
    else:
        assert int(combined.scaleb(8)) == least


@given(st.decimals("-1000000", "1000000", places=8), st.sampled_from(["0.001", "1", "10", "0.00001", "0.5"]))
def test_floor_goes_toward_zero_onto_the_step(value, step):
    floored = floor_to(Decimal(step), value)

    assert floored % Decimal(step) == 0
    assert abs(floored) <= abs(value) < abs(floored) + Decimal(step)


@pytest.mark.parametrize(("value", "text"), [("1E-5", "0.00001"), ("1E+2", "100"), ("0.010", "0.010")])
def test_decimal_is_written_without_exponent(value, text):
    assert format_decimal(Decimal(value)) == text


def test_mark_prices_are_read_from_one_row_or_many():
    row = {"symbol": "BTCUSDT", "markPrice": "76916.95122464", "time": 1789478303000}

    one, many = parse_mark_prices(row), parse_mark_prices([row, {**row, "symbol": "ETHUSDT"}])

    assert one["BTCUSDT"].price == Decimal("76916.95122464")
    assert one["BTCUSDT"].time_s == 1789478303.0
    assert sorted(many) == ["BTCUSDT", "ETHUSDT"]


def test_unreadable_mark_is_left_out_when_others_are_fine():
    row = {"symbol": "BTCUSDT", "markPrice": "1", "time": 1000}

    assert sorted(parse_mark_prices([{**row, "symbol": "BADUSDT", "markPrice": ""}, row])) == ["BTCUSDT"]


@pytest.mark.parametrize("payload", [None, {}, [1], "text", {"symbol": "BTCUSDT", "markPrice": "", "time": 1}])
def test_mark_prices_are_malformed_when_nothing_can_be_read(payload):
    with pytest.raises(MalformedPayload):
        parse_mark_prices(payload)


def test_order_book_keeps_levels_in_order():
    book = parse_order_book("BTCUSDT", {"bids": [["2.0", "1"], ["1.9", "3"]], "asks": [["2.1", "1", []]]})

    assert book.bids == ((Decimal("2.0"), Decimal(1)), (Decimal("1.9"), Decimal(3)))
    assert book.asks == ((Decimal("2.1"), Decimal(1)),)


def test_order_is_read_with_its_price():
    order = parse_order(ORDER)

    assert (order.symbol, order.side, order.leg, order.updated_at) == ("BTCUSDT", Side.SELL, Leg.SHORT, 1795346238.793)
    assert order.report.client_order_id == "dh-abc-1"
    assert order.report.average_price == Decimal("60000.1")
    assert order.report.venue_order_id == "199033476993"


@pytest.mark.parametrize("price", [None, "0", "0.00000"])
def test_order_has_no_price_when_the_reply_has_none(price):
    payload = {key: value for key, value in ORDER.items() if key != "avgPrice"}
    payload |= {} if price is None else {"avgPrice": price}

    assert parse_order(payload).report.average_price is None


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("NEW", OrderStatus.NEW),
        ("PARTIALLY_FILLED", OrderStatus.PARTIALLY_FILLED),
        ("FILLED", OrderStatus.FILLED),
        ("CANCELED", OrderStatus.CANCELED),
        ("EXPIRED", OrderStatus.EXPIRED),
        ("EXPIRED_IN_MATCH", OrderStatus.EXPIRED),
        ("REJECTED", OrderStatus.REJECTED),
    ],
)
def test_order_status_is_read(text, status):
    assert parse_order({**ORDER, "status": text}).report.status is status


@pytest.mark.parametrize(
    ("filled", "status"),
    [("0", OrderStatus.NEW), ("0.004", OrderStatus.PARTIALLY_FILLED), ("0.01", OrderStatus.FILLED)],
)
@pytest.mark.parametrize("text", ["NEW_INSURANCE", "NEW_ADL"])
def test_forced_order_status_follows_its_quantities(text, filled, status):
    assert parse_order({**ORDER, "status": text, "executedQty": filled}).report.status is status


def test_flat_positions_are_left_out():
    row = {"symbol": "BTCUSDT", "positionSide": "BOTH", "entryPrice": "1", "liquidationPrice": "0"}

    positions = parse_positions([{**row, "positionAmt": "0.000"}, {**row, "positionAmt": "-3", "symbol": "ETHUSDT"}])

    assert [(position.symbol, position.quantity, position.liquidation_price) for position in positions] == [
        ("ETHUSDT", Decimal(-3), None)
    ]


@pytest.mark.parametrize("text", ["cross", "CROSSED", "crossed", "CROSS"])
def test_margin_type_has_one_spelling(text):
    config = parse_symbol_config("BTCUSDT", [{"symbol": "BTCUSDT", "marginType": text, "leverage": 20}])

    assert config == (20, "CROSSED")


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "payload", [None, {}, [1], "text", 7, {"symbols": 1}, {"bids": [[]], "asks": []}, [{}], {"bids": {}, "asks": 1}]
)
def test_malformed_payload_is_a_typed_error(parse, payload):
    with pytest.raises(VenueUnavailable):
        parse(payload)


@pytest.mark.parametrize("key", [key for key in ORDER if key not in ("avgPrice", "positionSide", "origQty")])
@pytest.mark.parametrize("value", [None, [], {}, True])
def test_order_is_malformed_when_a_field_is_of_another_kind(key, value):
    with pytest.raises(MalformedPayload, match=key):
        parse_order({**ORDER, key: value})


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1,5", "", "0x10"])
def test_number_is_malformed_when_it_is_none(value):
    with pytest.raises(MalformedPayload):
        parse_order({**ORDER, "executedQty": value})


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["e", "o", "a", "s", "p", "E", "data"]), inner),
    )
)
def test_any_event_is_read_or_malformed(payload):
    try:
        event = parse_message(json.dumps(payload))
        parse_mark_event(event)
        parse_account_event(event)
    except MalformedPayload:
        pass


@pytest.mark.parametrize("raw", ["", "{", b"\xff\xfe", "[" * 100_000, "null"])
def test_message_that_is_not_an_object_is_malformed(raw):
    with pytest.raises(MalformedPayload):
        parse_message(raw)


def test_event_is_unwrapped_when_it_came_on_a_combined_stream():
    wrapped = json.dumps({"stream": "key", "data": EVENT})

    assert parse_message(wrapped) == Row("a message data", EVENT)


def test_order_event_is_read():
    order = parse_account_event(parse_message(json.dumps(EVENT)))

    assert (order.symbol, order.side, order.leg, order.updated_at) == ("BTCUSDT", Side.BUY, Leg.BOTH, 1795346238.793)
    assert order.report.status is OrderStatus.PARTIALLY_FILLED
    assert (order.report.filled_quantity, order.report.average_price) == (Decimal("0.004"), Decimal("60000.1"))


@pytest.mark.parametrize(
    ("reason", "text"), [("0", ""), (0, ""), ("9", "the book was exhausted"), (4, "reduce-only: the position shrank")]
)
def test_order_event_tells_why_the_order_expired(reason, text):
    event = copy.deepcopy(EVENT)
    event["o"] |= {"X": "EXPIRED", "er": reason}

    assert parse_account_event(parse_message(json.dumps(event))).report.reason == text


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"e": "ACCOUNT_UPDATE", "a": {"m": "ORDER", "P": [{}]}}, None),
        ({"e": "ACCOUNT_UPDATE", "a": {"m": "FUNDING_FEE"}}, None),
        ({"e": "ACCOUNT_UPDATE", "a": {"m": "MARGIN_TYPE_CHANGE"}}, Notice.ACCOUNT_CHANGED),
        ({"e": "ACCOUNT_UPDATE", "a": {"m": "INSURANCE_CLEAR"}}, Notice.ACCOUNT_CHANGED),
        ({"e": "ACCOUNT_CONFIG_UPDATE", "ac": {"s": "BTCUSDT", "l": 25}}, Notice.SETTINGS_CHANGED),
        ({"e": "MARGIN_CALL"}, Notice.ACCOUNT_CHANGED),
        ({"e": "listenKeyExpired", "listenKey": "abc"}, Notice.KEY_EXPIRED),
        ({"e": "TRADE_LITE", "s": "BTCUSDT"}, None),
        ({"e": "ALGO_UPDATE"}, None),
        ({"result": None, "id": 1}, None),
    ],
)
def test_account_event_gives_a_notice(event, expected):
    assert parse_account_event(parse_message(json.dumps(event))) is expected


@pytest.mark.parametrize(("tag", "is_taken"), [({}, True), ({"st": 1}, True), ({"st": 2}, False)])
def test_mark_event_is_ignored_when_it_is_of_a_coin_margined_symbol(tag, is_taken):
    event = {"e": "markPriceUpdate", "E": 1000, "s": "BTCUSDT", "p": "1.5", "ap": "1.6", **tag}

    mark = parse_mark_event(parse_message(json.dumps(event)))

    assert (mark is not None) is is_taken


NUMBERS_BEYOND_MEASURE = ["1e999999999", "-1e999999999", "0e999999999", "1e-999999999", "9" * 29, "1" * 10**6, "1e31", "1e-31"]


@pytest.mark.parametrize("value", [*NUMBERS_BEYOND_MEASURE, "1_000", " 1", "\u0661", "\uff11", 10**40, 1e308, float("inf"), "sNaN"])
@pytest.mark.parametrize("key", ["executedQty", "orderId", "updateTime", "avgPrice"])
def test_number_is_malformed_when_it_is_beyond_all_measure(key, value):
    with hurried(), pytest.raises(MalformedPayload):
        parse_order({**ORDER, key: value})


@pytest.mark.parametrize(("key", "value"), [("executedQty", "-0.001"), ("avgPrice", "-1"), ("updateTime", -1), ("updateTime", 2**53)])
def test_order_is_malformed_when_a_number_is_none_of_an_order(key, value):
    with pytest.raises(MalformedPayload, match=key):
        parse_order({**ORDER, key: value})


@pytest.mark.parametrize("value", ["x" * 201, "\ud800", "a\nb", "\x1b[2J"])
def test_order_is_malformed_when_a_text_is_none_to_show(value):
    with pytest.raises(MalformedPayload, match="clientOrderId"):
        parse_order({**ORDER, "clientOrderId": value})


def test_symbol_may_have_a_name_in_any_script():
    assert sorted(rules_of(a_symbol(symbol="\u5e01\u5b89USDT"))) == ["\u5e01\u5b89USDT"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("LOT_SIZE", {"stepSize": "1.234567890123456789"}),
        ("LOT_SIZE", {"stepSize": "-0.001"}),
        ("LOT_SIZE", {"minQty": "-1"}),
        ("LOT_SIZE", {"minQty": "121"}),
        ("LOT_SIZE", {"stepSize": "1000"}),
        ("MARKET_LOT_SIZE", {"maxQty": "0"}),
        ("MARKET_LOT_SIZE", {"stepSize": "1e25"}),
        ("MIN_NOTIONAL", {"notional": "-5"}),
        ("PRICE_FILTER", {"tickSize": "-1"}),
    ],
)
def test_symbol_is_left_out_when_no_order_can_meet_its_rules(name, changes):
    assert sorted(rules_of(a_symbol_with(name, **changes), a_symbol(symbol="ETHUSDT"))) == ["ETHUSDT"]


@pytest.mark.parametrize("count", [0, -1, 1_001, "1e999999999", None])
def test_rate_limit_is_left_out_when_its_interval_is_none(count):
    limits = parse_rate_limits({"rateLimits": [{**LIMITS[0], "intervalNum": count}, LIMITS[1]]})

    assert [limit.kind for limit in limits] == ["ORDERS"]


@pytest.mark.parametrize("price", ["0", "0.00000000", 0])
def test_mark_of_zero_is_none(price):
    row = {"symbol": "BTCUSDT", "markPrice": price, "time": 1000}
    event = parse_message(json.dumps({"e": "markPriceUpdate", "E": 1000, "s": "BTCUSDT", "p": price}))

    assert parse_mark_prices(row) == {}
    assert parse_mark_prices([row]) == {}
    assert parse_mark_event(event) is None


def test_mark_is_malformed_when_it_is_negative():
    with pytest.raises(MalformedPayload, match="markPrice"):
        parse_mark_prices({"symbol": "BTCUSDT", "markPrice": "-5", "time": 1000})


@pytest.mark.parametrize("level", [["0", "1"], ["-1", "1"], ["1", "-1"], [[], "1"], [True, "1"]])
def test_order_book_is_malformed_when_a_level_is_none(level):
    with pytest.raises(MalformedPayload):
        parse_order_book("BTCUSDT", {"bids": [level], "asks": []})


@pytest.mark.parametrize(("price", "expected"), [("0", None), ("-3", None), ("5.5", Decimal("5.5"))])
def test_position_has_no_liquidation_price_when_there_is_none(price, expected):
    row = {"symbol": "BTCUSDT", "positionAmt": "1", "entryPrice": "5", "liquidationPrice": price}

    (position,) = parse_positions([row])
    assert position.liquidation_price == expected


@pytest.mark.parametrize("changes", [{"leverage": 0}, {"leverage": -20}, {"marginType": "PORTFOLIO"}, {"marginType": "x" * 99}])
def test_symbol_config_is_malformed_when_it_is_none_that_can_be_set(changes):
    row = {"symbol": "BTCUSDT", "leverage": 20, "marginType": "ISOLATED"}

    with pytest.raises(MalformedPayload, match="leverage or margin type"):
        parse_symbol_config("BTCUSDT", [{**row, **changes}])


@pytest.mark.parametrize("raw", ['{"data":[' + "[]," * 300_000 + "0]}", b'{"data":' * 100_000])
def test_message_of_many_parts_is_refused_at_once(raw):
    with hurried(0.2), pytest.raises(MalformedPayload, match="too many parts"):
        parse_message(raw)
