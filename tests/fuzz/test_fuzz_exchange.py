"""What the exchange may send over REST and websockets: sound values, or one of the connector's errors."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import urlsplit

from hypothesis import given

from dehedge.connectors.binance import BinanceConnector
from dehedge.connectors.binance.account_stream import AccountStream
from dehedge.connectors.binance.events import parse_account_event, parse_mark_event, parse_message
from dehedge.connectors.binance.failures import PAUSE_MAX_S
from dehedge.connectors.binance.gateway import KEYLESS, Gateway
from dehedge.connectors.binance.marks import MarkFeed
from dehedge.connectors.binance.payloads import (
    parse_account_config,
    parse_balances,
    parse_funding,
    parse_mark_prices,
    parse_order,
    parse_order_book,
    parse_positions,
    parse_rate_limits,
    parse_symbol_config,
    parse_trade,
    parse_trading_rules,
)
from dehedge.connectors.binance.rows import MalformedPayload, iterate_rows
from dehedge.connectors.binance.timing import StreamTiming, Timing
from dehedge.core.model import Leg, Side, TradingRules
from dehedge.core.orders import ClientOrderId, OrderReport, OrderRequest, OrderStatus
from dehedge.errors import ConfigError, ConnectorError, OrderRejected, OutcomeUnknown, RateLimited
from dehedge.ports import MarkPrice, VenueFunding, VenueOrder, VenuePosition, VenueTrade
from tests.fuzz.exchange_documents import DOCUMENTS, EVENTS, REFUSAL
from tests.fuzz.hostile import attack, build_message, fuzz, hurried, seeds
from tests.fuzz.hostile_server import HostileServer, Request, build_handshake, build_hostile_http, build_http

LINE_MAX = 800
MAGNITUDE_MAX = Decimal(10) ** 31
MESSAGE_BYTES_MAX = 2**20
"""The websocket library refuses longer ones."""

KEY, SECRET = "KEY5f3a9c", "SECRET7d21bb"
ORDER = OrderRequest(ClientOrderId("dh-abc-1"), "BTCUSDT", Side.BUY, Leg.BOTH, Decimal("0.010"), reduce_only=False)


class SystemClock:
    def time(self) -> float:
        return time.time()


class QuietSink:
    """Takes what a connector tells, and looks at it."""

    def __init__(self) -> None:
        self.orders = 0

    def on_order(self, order: VenueOrder) -> None:
        self.orders += 1
        check_order(order)

    def on_marks(self) -> None:
        pass

    def on_account_changed(self) -> None:
        pass


def check_number(value: Decimal) -> None:
    """Finite, and short enough to be written down without an exponent."""
    assert value.is_finite()
    assert abs(value) < MAGNITUDE_MAX
    assert len(f"{value:f}") < 80


def check_report(report: OrderReport) -> None:
    check_number(report.filled_quantity)
    assert report.filled_quantity >= 0
    assert isinstance(report.status, OrderStatus)
    if report.average_price is not None:
        check_number(report.average_price)
        assert report.average_price > 0


def check_order(order: VenueOrder) -> None:
    check_report(order.report)
    assert isinstance(order.side, Side)
    assert isinstance(order.leg, Leg)
    assert 0 <= order.updated_at < 2**33


def check_mark(mark: MarkPrice) -> None:
    check_number(mark.price)
    assert mark.price > 0
    assert 0 <= mark.time_s < 2**33


def check_rules(rules: TradingRules) -> None:
    for number in (rules.quantity_step, rules.quantity_max, rules.price_tick):
        check_number(number)
        assert number > 0
    assert min(rules.quantity_min, rules.notional_min) >= 0
    assert rules.quantity_max >= max(rules.quantity_step, rules.quantity_min)


def check_position(position: VenuePosition) -> None:
    check_number(position.quantity)
    assert position.quantity
    assert position.entry_price >= 0
    assert position.liquidation_price is None or position.liquidation_price > 0


def check_trade(trade: VenueTrade) -> None:
    for number in (trade.price, trade.quantity, trade.fee, trade.realized_profit):
        check_number(number)
    assert trade.price > 0
    assert trade.quantity >= 0


def check_funding(funding: VenueFunding) -> None:
    check_number(funding.amount)
    assert funding.venue_id.lstrip("-").isdigit()


def parse_all(parse: Callable[[Any], Any], check: Callable[[Any], None]) -> Callable[[Any], None]:
    def run(payload: Any) -> None:
        parsed = parse(payload)
        for item in parsed.values() if isinstance(parsed, dict) else parsed:
            check(item)

    return run


def check_limits(payload: Any) -> None:
    for limit in parse_rate_limits(payload):
        assert 0 < limit.interval_s < 10**9


def check_book(payload: Any) -> None:
    book = parse_order_book("BTCUSDT", payload)
    for price, size in (*book.bids, *book.asks):
        check_number(price)
        check_number(size)
        assert price > 0 <= size


def check_symbol_config(payload: Any) -> None:
    config = parse_symbol_config("BTCUSDT", payload)
    assert config.leverage >= 1
    assert config.margin_type in ("CROSSED", "ISOLATED")


CHECKS: dict[str, list[Callable[[Any], object]]] = {
    "/exchangeInfo": [check_limits, parse_all(parse_trading_rules, check_rules)],
    "/premiumIndex": [parse_all(parse_mark_prices, check_mark)],
    "/depth": [check_book],
    "/accountConfig": [parse_account_config],
    "/symbolConfig": [check_symbol_config],
    "/positionRisk": [parse_all(parse_positions, check_position)],
    "/balance": [parse_all(parse_balances, lambda balance: check_number(balance.total))],
    "/order": [lambda payload: check_order(parse_order(payload))],
    "/income": [parse_all(lambda payload: map(parse_funding, iterate_rows("income", payload)), check_funding)],
    "/userTrades": [parse_all(lambda payload: map(parse_trade, iterate_rows("trades", payload)), check_trade)],
}


@fuzz(120)
@given(seeds)
def test_payload_becomes_sound_values_or_is_malformed(random: Random):
    path = random.choice(list(CHECKS))

    def check(payload: bytes) -> None:
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError):
            return
        for check_values in CHECKS[path]:
            try:
                check_values(document)
            except MalformedPayload as error:
                check_line(str(error))

    attack(random, lambda random: build_message(random, DOCUMENTS[path]), check)


def check_line(text: str) -> None:
    assert len(text) < LINE_MAX
    assert text.isprintable()


@fuzz(100)
@given(seeds)
def test_message_of_a_stream_becomes_a_sound_event_or_is_malformed(random: Random):
    asyncio.run(take_messages(random))


async def take_messages(random: Random) -> None:
    gateway = Gateway("http://127.0.0.1:1", KEYLESS, SystemClock())
    marks, account = MarkFeed(gateway, "ws://127.0.0.1:1", Timing()), AccountStream(gateway, "ws://127.0.0.1:1", Timing())
    marks.watch(["BTCUSDT"])
    account._sink = QuietSink()

    def check(payload: bytes) -> None:
        for stream in (marks.stream, account.stream):
            stream._take(payload if random.randrange(2) else payload.decode("utf-8", "replace"))
        for mark in marks.get().values():
            check_mark(mark)
            assert mark.time_s < time.time() + 120

    attack(random, lambda random: build_message(random, random.choice(EVENTS))[:MESSAGE_BYTES_MAX], check)


def test_good_messages_are_events():
    """What the others spoil is sound."""
    for event in EVENTS:
        row = parse_message(json.dumps(event))
        assert (parse_account_event(row), parse_mark_event(row)) != (None, None)


CALLS: dict[str, Callable[[BinanceConnector], Awaitable[Any]]] = {
    "connect": lambda connector: connector.connect(["BTCUSDT"]),
    "rules": lambda connector: connector.fetch_trading_rules(),
    "marks": lambda connector: connector.fetch_mark_prices(["BTCUSDT", "ETHUSDT"]),
    "mark": lambda connector: connector.fetch_mark_prices(["BTCUSDT"]),
    "book": lambda connector: connector.fetch_order_book("BTCUSDT", 5),
    "positions": lambda connector: connector.fetch_positions(),
    "balances": lambda connector: connector.fetch_balances(),
    "order": lambda connector: connector.fetch_order("BTCUSDT", "dh-abc-1"),
    "orders": lambda connector: connector.fetch_order_history("BTCUSDT", time.time() - 60),
    "funding": lambda connector: connector.fetch_funding(time.time() - 60),
    "trades": lambda connector: connector.fetch_trade_history("BTCUSDT", time.time() - 60),
    "settings": lambda connector: connector.standing.fetch_symbol_config("BTCUSDT"),
    "brackets": lambda connector: connector.standing.fetch_brackets("BTCUSDT"),
    "key": lambda connector: connector._account_stream.build_url(),
}
WRITES: dict[str, Callable[[BinanceConnector], Awaitable[Any]]] = {
    "place": lambda connector: connector.place_order(ORDER),
    "cancel": lambda connector: connector.cancel_order("BTCUSDT", "dh-abc-1"),
    "modify": lambda connector: connector.modify_order("BTCUSDT", "dh-abc-1", Decimal(1), Decimal(1)),
}


@fuzz(50)
@given(seeds)
def test_connector_gives_sound_values_or_its_own_errors_whatever_the_exchange_answers(random: Random):
    asyncio.run(call_liars(random))


async def call_liars(random: Random) -> None:
    last = [b""]

    def answer(request: Request) -> bytes:
        path = urlsplit(request.path).path
        document = next(DOCUMENTS[name] for name in DOCUMENTS if path.endswith(name))
        if random.randrange(3) == 0:
            return build_http(json.dumps(document).encode())
        is_refusal = random.randrange(4) == 0
        body = build_message(random, REFUSAL if is_refusal else document)
        status = random.choice((400, 401, 503)) if is_refusal else 200
        last[0] = build_http(body, status=status) if random.randrange(2) else build_hostile_http(random, body)
        return last[0]

    async with HostileServer(answer) as server:
        for _ in range(8):
            connector = build_connector(server.url)
            name = random.choice([*CALLS, *WRITES])
            try:
                with hurried():
                    await call(connector, name)
            except BaseException as error:
                error.add_note(f"{name}, last answer: {last[0][:2_000]!r}")
                raise
            finally:
                await connector.close()


def build_connector(url: str) -> BinanceConnector:
    return BinanceConnector(
        api_key=KEY, api_secret=SECRET, rest_url=url, ws_url=url.replace("http", "ws"), leverage=20,
        margin_type="ISOLATED", clock=SystemClock(), timing=Timing(request_s=0.3, connect_s=0.3, repeats_s=(0.0,)),
    )  # fmt: skip


async def call(connector: BinanceConnector, name: str) -> None:
    try:
        value = await (CALLS | WRITES)[name](connector)
    except (ConnectorError, ConfigError) as error:
        check_error(error, is_write=name in WRITES)
    else:
        check_answer(name, value)


def check_error(error: Exception, *, is_write: bool) -> None:
    check_line(str(error))
    assert KEY not in str(error)
    assert SECRET not in str(error)
    if isinstance(error, RateLimited):
        assert 0 <= error.retry_after_s <= PAUSE_MAX_S
    assert is_write or not isinstance(error, OrderRejected | OutcomeUnknown)


def check_answer(name: str, value: Any) -> None:
    match name:
        case "place" | "cancel" | "modify":
            check_report(value)
            assert value.client_order_id == "dh-abc-1"
        case "order" if value is not None:
            check_report(value)
        case "orders":
            for order in value:
                check_order(order)
        case "rules":
            for rules in value.values():
                check_rules(rules)
        case "marks" | "mark":
            for mark in value.values():
                check_mark(mark)
        case "key":
            assert urlsplit(value).path == "/private/ws"


@fuzz(15)
@given(seeds)
def test_stream_goes_on_whatever_answers_the_handshake(random: Random):
    asyncio.run(shake_hands_with_liars(random))


async def shake_hands_with_liars(random: Random) -> None:
    async with HostileServer(lambda _: build_handshake(random)) as server:
        timing = Timing(mark_stream=StreamTiming(silence_s=0.05, open_s=0.3))
        for _ in range(8):
            marks = MarkFeed(Gateway(server.url, KEYLESS, SystemClock()), server.url.replace("http", "ws"), timing)
            marks.watch(["BTCUSDT"])
            reason = await marks.stream._run_connection()
            check_line(reason)
            assert reason
