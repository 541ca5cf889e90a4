"""The connector against the strict exchange: modes, settings, each fault of an order, histories, limits."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import pytest
import structlog

from dehedge.connectors.binance import BinanceConnector, BinanceMarketData
from dehedge.connectors.binance.connector import find_problems
from dehedge.connectors.binance.payloads import AccountConfig
from dehedge.connectors.binance.timing import StreamTiming, Timing
from dehedge.core.model import Leg, Side
from dehedge.core.orders import OrderStatus
from dehedge.errors import (
    AuthenticationFailed,
    ConfigError,
    OrderRejected,
    OrderTooLarge,
    OutcomeUnknown,
    RateLimited,
    VenueUnavailable,
)
from dehedge.ports import Connector, MarketData
from dehedge.sim.exchange import Ask, ExchangeSettings, Executes, Fault, FaultRule, LimitSettings, SimExchange
from dehedge.sim.exchange.faults import (
    Answer,
    code_in_200,
    empty_body,
    executed_late,
    hang_after,
    hang_before,
    hidden_order,
    html_page,
    internal_503,
    malformed_json,
    overloaded_503,
    partial_fill,
    refused,
    reset_after,
    reset_before,
    stale_timestamp,
    throttled,
    timeout_408,
    unavailable_503,
    unexpected_response,
    unknown_503,
)

QUICK = StreamTiming(silence_s=1.0, backoff_min_s=0.01, backoff_max_s=0.05)
TIMING = Timing(
    request_s=1.0, repeats_s=(0.0, 0.0), mark_stream=QUICK, account_stream=replace(QUICK, silence_s=None), touch_s=0.05
)
NOW_S = 1_795_346_400.0
DAY_S = 86_400.0


def build(exchange, clock, **changes) -> BinanceConnector:
    options = {
        "api_key": "sim-api-key",
        "api_secret": "sim-api-secret",
        "rest_url": exchange.url,
        "ws_url": exchange.ws_url,
        "leverage": 20,
        "margin_type": "ISOLATED",
        "clock": clock,
        "timing": TIMING,
    }
    return BinanceConnector(**(options | changes))


@pytest.fixture
async def connector(exchange, clock):
    connector = build(exchange, clock)
    await connector.connect(["BTCUSDT", "ETHUSDT"])
    yield connector
    await connector.close()


@pytest.fixture
async def closing():
    """Takes connectors that a test makes, and closes them."""
    made = []
    yield lambda connector: made.append(connector) or connector
    for connector in made:
        await connector.close()


def sent(exchange, method="POST", path="/order"):
    return [request.params for request in exchange.api.record.select(method, path)]


def a_limit(price="50000", client_id="dh-limit-1", quantity="0.010"):
    return Ask("BTCUSDT", "BUY", Decimal(quantity), "LIMIT", price=Decimal(price), client_id=client_id)


async def test_connector_is_one(exchange_settings, clock):
    exchange = SimExchange(exchange_settings)

    connector: Connector = build(exchange, clock)
    market_data: MarketData = BinanceMarketData(rest_url=exchange.url, ws_url=exchange.ws_url, clock=clock)

    assert connector.name == "binance"
    assert market_data.get_mark_prices() == {}


async def test_connect_is_refused_when_the_key_is_wrong(exchange, clock, closing):
    connector = closing(build(exchange, clock, api_key="another-key"))

    with pytest.raises(AuthenticationFailed, match=r"BINANCE_API_KEY.*BINANCE_API_SECRET"):
        await connector.connect(["BTCUSDT"])


async def test_connect_is_refused_when_the_secret_is_wrong(exchange, clock, closing):
    connector = closing(build(exchange, clock, api_secret="another-secret"))

    with pytest.raises(AuthenticationFailed, match="BINANCE_API_SECRET does not belong"):
        await connector.connect(["BTCUSDT"])


async def test_connect_is_refused_when_there_is_no_key(exchange, clock, closing):
    connector = closing(build(exchange, clock, api_key="", api_secret=""))

    with pytest.raises(ConfigError) as caught:
        await connector.connect(["BTCUSDT"])

    assert [problem.split()[0] for problem in caught.value.problems] == ["BINANCE_API_KEY", "BINANCE_API_SECRET"]
    assert exchange.requests == []


async def test_connect_fails_when_the_exchange_cannot_be_reached(exchange, clock, closing):
    await exchange.down()
    connector = closing(build(exchange, clock))

    with pytest.raises(VenueUnavailable, match="BINANCE_FUTURES_URL"):
        await connector.connect(["BTCUSDT"])


async def test_connect_ignores_symbols_that_are_not_listed(connector):
    await connector.connect(["BTCUSDT", "NOPEUSDT"])

    assert connector._marks.symbols == {"BTCUSDT"}


async def test_connect_needs_no_spot_exchange_and_no_mode_call(connector, exchange):
    assert {request.path for request in exchange.requests} == {
        "/fapi/v1/time",
        "/fapi/v1/accountConfig",
        "/fapi/v1/exchangeInfo",
    }


@pytest.mark.parametrize(
    ("config", "margin_type", "named"),
    [
        (AccountConfig(can_trade=True, hedge_mode=True, multi_assets=False), "ISOLATED", []),
        (AccountConfig(can_trade=True, hedge_mode=False, multi_assets=True), "CROSSED", []),
        (AccountConfig(can_trade=True, hedge_mode=False, multi_assets=True), "ISOLATED", ["MARGIN_TYPE"]),
        (AccountConfig(can_trade=False, hedge_mode=False, multi_assets=False), "CROSSED", ["BINANCE_API_KEY"]),
        (
            AccountConfig(can_trade=False, hedge_mode=False, multi_assets=True),
            "ISOLATED",
            ["BINANCE_API_KEY", "MARGIN_TYPE"],
        ),
    ],
)
def test_account_is_unfit_when_it_cannot_be_hedged_on(config, margin_type, named):
    assert [problem.split(":")[0] for problem in find_problems(config, margin_type)] == named


class TestMultiAssets:
    @pytest.fixture
    def exchange_settings(self):
        return ExchangeSettings(multi_assets=True)

    async def test_connect_is_refused_when_margin_is_to_be_isolated(self, exchange, clock, closing):
        connector = closing(build(exchange, clock))

        with pytest.raises(ConfigError, match="MARGIN_TYPE=CROSSED"):
            await connector.connect(["BTCUSDT"])

    async def test_connect_works_when_margin_is_crossed(self, exchange, clock, closing, an_order):
        connector = closing(build(exchange, clock, margin_type="CROSSED"))

        await connector.connect(["BTCUSDT"])
        await connector.prepare_symbol("BTCUSDT")

        assert (await connector.place_order(an_order())).status is OrderStatus.FILLED


class TestHedgeMode:
    @pytest.fixture
    def exchange_settings(self):
        return ExchangeSettings(dual_side=True)

    async def test_legs_are_kept_apart(self, connector, an_order):
        await connector.place_order(an_order(Side.BUY, "0.010", leg=Leg.LONG))
        await connector.place_order(an_order(Side.SELL, "0.030", leg=Leg.SHORT))

        assert connector.hedge_mode
        assert {(p.leg, p.quantity) for p in await connector.fetch_positions()} == {
            (Leg.LONG, Decimal("0.010")),
            (Leg.SHORT, Decimal("-0.030")),
        }

    async def test_reduce_only_is_never_sent(self, connector, exchange, an_order):
        await connector.place_order(an_order(Side.BUY, leg=Leg.LONG))
        await connector.place_order(an_order(Side.SELL, leg=Leg.LONG, reduce_only=True))

        assert [params.get("positionSide") for params in sent(exchange)] == ["LONG", "LONG"]
        assert not any("reduceOnly" in params for params in sent(exchange))
        assert await connector.fetch_positions() == []


async def test_order_is_sent_as_the_exchange_reads_it(connector, exchange, an_order):
    await connector.place_order(an_order(Side.BUY, "1E-2"))
    await connector.place_order(an_order(Side.SELL, "0.010", reduce_only=True))

    opened, closed = sent(exchange)
    assert {key: opened[key] for key in opened if key != "timestamp"} == {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "MARKET",
        "quantity": "0.01",
        "newClientOrderId": "dh-test-1",
        "newOrderRespType": "RESULT",
        "recvWindow": "2000",
    }
    assert closed["reduceOnly"] == "true"


async def test_reads_have_the_longer_window(connector, exchange):
    await connector.fetch_positions()

    assert sent(exchange, "GET", "/positionRisk")[0]["recvWindow"] == "5000"


async def test_unknown_window_is_the_order_window_and_a_lag(connector):
    assert connector.unknown_window_s == 5.0


async def test_unsafe_id_is_our_own_bug(connector, exchange, an_order):
    for identity in ("dh:1", "dh/1", "", "x" * 37):
        with pytest.raises(AssertionError):
            await connector.place_order(an_order(client_order_id=identity or "é"))
        with pytest.raises(AssertionError):
            await connector.fetch_order("BTCUSDT", identity)

    assert sent(exchange) == []


async def test_fill_price_is_unknown_in_the_reply_and_known_later(connector, an_order):
    request = an_order()

    placed = await connector.place_order(request)
    asked = await connector.fetch_order("BTCUSDT", request.client_order_id)

    assert placed.average_price is None
    assert asked.average_price == Decimal("60000.1")


NOW, NEVER = Executes.NOW, Executes.NEVER
ANOTHER_ORDER = {
    "orderId": 7,
    "symbol": "BTCUSDT",
    "status": "FILLED",
    "clientOrderId": "dh-another",
    "executedQty": "5",
    "side": "BUY",
    "updateTime": 1,
}
UNKNOWN = [
    unknown_503(NOW),
    unknown_503(NEVER),
    internal_503(),
    timeout_408(NOW),
    timeout_408(NEVER),
    unexpected_response(NOW),
    reset_before(),
    reset_after(),
    hang_before(),
    hang_after(),
    html_page(NOW),
    html_page(NEVER),
    malformed_json(NOW),
    malformed_json(NEVER),
    empty_body(NOW),
    empty_body(NEVER),
    code_in_200(-1000, NOW),
    executed_late(0.2, unknown_503(NEVER)),
    Fault("another order", NOW, Answer(200, json.dumps(ANOTHER_ORDER))),
    Fault("part of an order", NOW, Answer(200, '{"orderId": 1, "status": "FILLED"}')),
]


@pytest.mark.parametrize("fault", UNKNOWN, ids=lambda fault: f"{fault.name}-{fault.executes.value}")
async def test_outcome_is_unknown_and_nothing_is_sent_again(connector, exchange, an_order, fault, eventually):
    request = an_order()
    exchange.faults.add(FaultRule(fault, "POST", "/order"))

    with pytest.raises(OutcomeUnknown):
        await connector.place_order(request)

    if fault.executes is Executes.LATE:
        await eventually(lambda: exchange.orders)
    report = await connector.fetch_order("BTCUSDT", request.client_order_id)
    assert (report is None) is (fault.executes is NEVER)
    assert len(sent(exchange)) == 1
    assert exchange.net("BTCUSDT") == (Decimal(0) if fault.executes is NEVER else Decimal("0.010"))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (unavailable_503(), VenueUnavailable),
        (overloaded_503(), RateLimited),
        (refused(-2019), OrderTooLarge),
        (code_in_200(-2019), OrderTooLarge),
        (stale_timestamp(), OrderRejected),
        (refused(-5028), OrderRejected),
        (refused(-1015), RateLimited),
        (throttled(2.0), RateLimited),
        (refused(-2015), AuthenticationFailed),
        (html_page(NEVER, 403), RateLimited),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_outcome_is_certain_when_nothing_was_executed(connector, exchange, an_order, fault, expected):
    exchange.faults.add(FaultRule(fault, "POST", "/order"))

    with pytest.raises(expected) as caught:
        await connector.place_order(an_order())

    assert type(caught.value) is expected
    assert exchange.net("BTCUSDT") == 0


async def test_order_is_unavailable_when_the_exchange_went_away(connector, exchange, an_order):
    await exchange.down()

    with pytest.raises(VenueUnavailable):
        await connector.place_order(an_order())


async def test_partial_fill_ends_expired_with_what_was_executed(connector, exchange, an_order):
    exchange.faults.add(FaultRule(partial_fill(Decimal("0.4")), "POST", "/order"))

    report = await connector.place_order(an_order(quantity="0.010"))

    assert (report.status, report.filled_quantity) == (OrderStatus.EXPIRED, Decimal("0.004"))


async def test_order_is_none_while_the_exchange_hides_it(connector, exchange, an_order):
    exchange.faults.add(FaultRule(hidden_order(60.0), "POST", "/order"))
    request = an_order()

    assert (await connector.place_order(request)).status is OrderStatus.FILLED
    assert await connector.fetch_order("BTCUSDT", request.client_order_id) is None


async def test_order_query_never_says_none_when_it_failed(connector, exchange, an_order):
    request = an_order()
    await connector.place_order(request)
    exchange.faults.add(FaultRule(html_page(NEVER), "GET", "/order", times=None))

    with pytest.raises(VenueUnavailable):
        await connector.fetch_order("BTCUSDT", request.client_order_id)


async def test_positions_are_never_flat_when_the_query_failed(connector, exchange, an_order):
    await connector.place_order(an_order())
    for fault in (empty_body(), malformed_json(), code_in_200(-1000)):
        exchange.faults.clear()
        exchange.faults.add(FaultRule(fault, "GET", "/positionRisk", times=None))
        with pytest.raises(VenueUnavailable):
            await connector.fetch_positions()


async def test_outcome_is_unknown_when_an_open_order_has_the_id(connector, exchange, an_order):
    exchange.trade_manually(a_limit(client_id="dh-open"))

    with pytest.raises(OutcomeUnknown):
        await connector.place_order(an_order(client_order_id="dh-open"))


async def test_general_refusal_is_believed_only_when_there_is_no_such_order(connector, exchange, an_order):
    executed = Fault("refused although executed", NOW, Answer(400, '{"code":-2010,"msg":"Duplicate order sent."}'))
    exchange.faults.add(FaultRule(executed, "POST", "/order"), FaultRule(refused(-1000), "GET", "/nothing"))
    report = await connector.place_order(an_order())
    exchange.faults.clear()
    exchange.faults.add(FaultRule(Fault("x", NEVER, Answer(400, '{"code":-2010,"msg":"Rejected."}')), "POST", "/order"))

    with pytest.raises(OrderRejected) as caught:
        await connector.place_order(an_order())

    assert report.status is OrderStatus.FILLED
    assert caught.value.code == -2010


async def test_general_refusal_is_unknown_when_the_order_cannot_be_asked_for(connector, exchange, an_order):
    exchange.faults.add(
        FaultRule(Fault("x", NEVER, Answer(400, '{"code":-2010,"msg":"Rejected."}')), "POST", "/order"),
        FaultRule(html_page(NEVER), "GET", "/order", times=None),
    )

    with pytest.raises(OutcomeUnknown):
        await connector.place_order(an_order())


async def test_mode_is_read_again_when_an_order_does_not_fit_it(connector, exchange, an_order):
    exchange.set_dual_side(dual_side=True)

    with pytest.raises(OrderRejected) as caught:
        await connector.place_order(an_order())

    assert caught.value.code == -4061
    assert connector.hedge_mode
    assert (await connector.place_order(an_order(leg=Leg.LONG))).status is OrderStatus.FILLED


async def test_mode_is_read_again_when_the_account_stream_connects(connector, exchange, sink, running):
    async with running(connector.run(sink)):
        await exchange.streams.wait_for_listeners(1, "private")
        await sink.wait_for(lambda: sink.account_changes >= 1)
        exchange.set_dual_side(dual_side=True)
        seen = sink.account_changes
        exchange.streams.drop("private")
        await sink.wait_for(lambda: connector.hedge_mode and sink.account_changes >= seen + 2)


async def test_account_stream_is_renewed_when_it_tells_nothing_of_an_order(
    exchange, clock, closing, sink, running, an_order
):
    connector = closing(build(exchange, clock, timing=replace(TIMING, expect_s=0.05)))
    await connector.connect(["BTCUSDT"])
    async with running(connector.run(sink)):
        await sink.wait_for(lambda: sink.account_changes >= 1)
        await exchange.streams.wait_for_listeners(1, "private")
        await connector.place_order(an_order())
        await sink.wait_for(lambda: sink.orders)
        exchange.streams.silent.add("private")
        await connector.place_order(an_order())
        await exchange.streams.wait_for_listeners(0, "private")
        exchange.streams.silent.clear()
        await exchange.streams.wait_for_listeners(1, "private")

    assert len(exchange.api.record.select("POST", "/listenKey")) == 2


async def test_account_stream_is_kept_when_nothing_is_owed(
    exchange, clock, closing, sink, running, an_order, eventually
):
    connector = closing(build(exchange, clock, timing=replace(TIMING, expect_s=0.02)))
    await connector.connect(["BTCUSDT"])
    with structlog.testing.capture_logs() as logs:
        async with running(connector.run(sink)):
            await sink.wait_for(lambda: sink.account_changes >= 1)
            with pytest.raises(OrderRejected):
                await connector.place_order(an_order(quantity="0.0001"))
            await connector.place_order(an_order())
            pings = len(exchange.api.record.select("GET", "/ping"))
            await eventually(lambda: len(exchange.api.record.select("GET", "/ping")) >= pings + 3)

    assert "account_stream_silent" not in [entry["event"] for entry in logs]


async def test_clock_is_set_right_after_the_exchange_refused_a_timestamp(closing, clock, an_order):
    ahead_s = 3600.0
    async with SimExchange(clock=lambda: time.time() + ahead_s) as exchange:
        connector = closing(build(exchange, clock))
        await connector.connect(["BTCUSDT"])
        assert (await connector.place_order(an_order())).status is OrderStatus.FILLED

        ahead_s = -1800.0
        with pytest.raises(OrderRejected) as caught:
            await connector.place_order(an_order())
        assert caught.value.code == -1021
        assert (await connector.place_order(an_order())).status is OrderStatus.FILLED

        ahead_s = 900.0
        assert len(await connector.fetch_positions()) == 1


async def test_clock_and_connection_are_kept_in_touch_while_running(connector, exchange, sink, running, eventually):
    async with running(connector.run(sink)):
        await eventually(lambda: len(exchange.api.record.select("GET", "/ping")) >= 20)

    assert len(exchange.api.record.select("GET", "/time")) >= 10


async def test_symbol_is_set_up_only_where_it_differs(connector, exchange):
    await connector.prepare_symbol("BTCUSDT")
    await connector.prepare_symbol("BTCUSDT")

    settings = exchange.ledger.account.get_settings("BTCUSDT")
    assert (settings.isolated, settings.leverage) == (True, 20)
    assert len(sent(exchange, path="/marginType")) == 1
    assert len(sent(exchange, path="/leverage")) <= 1


async def test_margin_type_that_was_already_so_is_success(connector, exchange):
    exchange.faults.add(
        FaultRule(Fault("late", NOW, Answer(400, '{"code":-4046,"msg":"No need."}')), "POST", "/marginType")
    )

    await connector.prepare_symbol("BTCUSDT")

    assert len(exchange.api.record.select("POST", "/marginType")) == 1


@pytest.mark.parametrize(
    ("arrange", "changes", "code"),
    [
        (lambda exchange: exchange.trade_manually(a_limit()), {}, -4047),
        (lambda exchange: exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.010"))), {}, -4048),
        (lambda _: None, {"leverage": 151}, -4028),
    ],
)
async def test_symbol_cannot_be_prepared_when_the_exchange_refuses(exchange, clock, closing, arrange, changes, code):
    connector = closing(build(exchange, clock, **changes))
    await connector.connect(["BTCUSDT"])
    arrange(exchange)

    with pytest.raises(OrderRejected, match="BTCUSDT cannot be prepared") as caught:
        await connector.prepare_symbol("BTCUSDT")
    assert caught.value.code == code


async def test_leverage_cannot_be_lowered_under_an_isolated_position(connector, exchange):
    exchange.set_isolated("BTCUSDT", isolated=True)
    exchange.set_leverage("BTCUSDT", 50)
    exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.010")))

    with pytest.raises(OrderRejected, match="LEVERAGE cannot be lowered") as caught:
        await connector.prepare_symbol("BTCUSDT")
    assert caught.value.code == -4161


async def test_settings_are_read_back_when_the_exchange_only_says_that_it_took_them(connector, exchange):
    exchange.set_leverage("BTCUSDT", 7)
    exchange.faults.add(
        FaultRule(Fault("lie", NEVER, Answer(200, '{"symbol":"BTCUSDT","leverage":20}')), "POST", "/leverage")
    )

    with pytest.raises(OrderRejected, match="7x ISOLATED instead of 20x ISOLATED"):
        await connector.prepare_symbol("BTCUSDT")


async def test_unknown_outcome_of_a_setting_is_settled_by_reading_back(connector, exchange):
    exchange.set_leverage("BTCUSDT", 7)
    exchange.faults.add(FaultRule(reset_after(), "POST", "/leverage"), FaultRule(reset_after(), "POST", "/marginType"))

    await connector.prepare_symbol("BTCUSDT")

    assert exchange.ledger.account.get_settings("BTCUSDT").leverage == 20


async def test_symbol_is_not_prepared_when_a_setting_was_lost(connector, exchange):
    exchange.set_leverage("BTCUSDT", 7)
    exchange.faults.add(FaultRule(reset_before(), "POST", "/leverage"))

    with pytest.raises(VenueUnavailable, match="7x"):
        await connector.prepare_symbol("BTCUSDT")


async def test_open_order_is_canceled(connector, exchange):
    exchange.trade_manually(a_limit())

    assert (await connector.cancel_order("BTCUSDT", "dh-limit-1")).status is OrderStatus.CANCELED


async def test_cancel_goes_out_once_and_is_settled_by_asking_when_it_comes_again(connector, exchange):
    """The session library itself would send a DELETE or PUT again when a kept connection dies."""
    exchange.trade_manually(a_limit())
    await connector.fetch_positions()
    exchange.faults.add(FaultRule(reset_after(), "DELETE", "/order"))

    with pytest.raises(OutcomeUnknown):
        await connector.cancel_order("BTCUSDT", "dh-limit-1")
    assert [request.code for request in exchange.api.record.select("DELETE", "/order")] == [0]
    assert (await connector.cancel_order("BTCUSDT", "dh-limit-1")).status is OrderStatus.CANCELED
    assert [request.code for request in exchange.api.record.select("DELETE", "/order")] == [0, -2011]


async def test_open_order_is_modified(connector, exchange):
    exchange.trade_manually(a_limit())

    report = await connector.modify_order("BTCUSDT", "dh-limit-1", Decimal("0.020"), Decimal(51000))

    assert report.status is OrderStatus.NEW
    (order,) = exchange.orders
    assert (order.quantity, order.ask.price) == (Decimal("0.020"), Decimal(51000))


async def test_modify_goes_out_once_and_is_settled_by_asking_when_it_comes_again(connector, exchange):
    exchange.trade_manually(a_limit())
    exchange.faults.add(FaultRule(reset_after(), "PUT", "/order"))

    with pytest.raises(OutcomeUnknown):
        await connector.modify_order("BTCUSDT", "dh-limit-1", Decimal("0.020"), Decimal(51000))
    report = await connector.modify_order("BTCUSDT", "dh-limit-1", Decimal("0.020"), Decimal(51000))

    assert report.status is OrderStatus.NEW
    assert [request.code for request in exchange.api.record.select("PUT", "/order")] == [0, -5027]


async def test_modify_is_rejected_when_there_is_no_order(connector):
    with pytest.raises(OrderRejected) as caught:
        await connector.modify_order("BTCUSDT", "dh-none", Decimal("0.020"), Decimal(51000))
    assert caught.value.code == -2013


class TestOrderLimits:
    @pytest.fixture
    def exchange_settings(self):
        return ExchangeSettings(limits=LimitSettings(orders_10s=10, orders_1m=20))

    async def test_orders_stop_before_the_exchange_has_to_refuse(self, exchange, clock, closing, an_order):
        connector = closing(build(exchange, clock))
        await connector.connect(["BTCUSDT"])

        async def place_too_many():
            for _ in range(21):
                await connector.place_order(an_order())

        with pytest.raises(RateLimited) as caught:
            await place_too_many()

        assert 0 < caught.value.retry_after_s <= 60
        assert all(request.code == 0 for request in exchange.requests)

    async def test_increases_leave_a_reserve_for_reduces(self, exchange, clock, closing, an_order):
        connector = closing(build(exchange, clock))
        await connector.connect(["BTCUSDT"])

        assert connector.check_order_capacity(8, is_reduce=False)
        assert not connector.check_order_capacity(9, is_reduce=False)
        assert connector.check_order_capacity(10, is_reduce=True)
        assert not connector.check_order_capacity(11, is_reduce=True)

    async def test_orders_of_others_on_the_account_are_counted(self, exchange, clock, closing, an_order):
        connector, other = closing(build(exchange, clock)), closing(build(exchange, clock))
        await connector.connect(["BTCUSDT"])
        await other.connect(["BTCUSDT"])
        for _ in range(4):
            await other.place_order(an_order())

        await connector.place_order(an_order())

        used = [window.used for window in connector._gateway.limits._windows if window.limit.label == "1M"]
        assert max(used) >= 5


async def test_pause_of_the_exchange_is_kept(connector, exchange, an_order):
    exchange.faults.add(FaultRule(throttled(30.0), "GET", "/positionRisk"))
    with pytest.raises(RateLimited):
        await connector.fetch_positions()
    before = len(exchange.requests)

    for _ in range(5):
        with pytest.raises(RateLimited) as caught:
            await connector.place_order(an_order(reduce_only=True))
        assert 20 < caught.value.retry_after_s <= 30

    assert len(exchange.requests) == before
    assert not connector.check_order_capacity(1, is_reduce=True)


class TestHistory:
    @pytest.fixture
    async def exchange(self):
        self.now_s = NOW_S
        async with SimExchange(clock=lambda: self.now_s) as exchange:
            yield exchange

    @pytest.fixture
    def clock(self):
        """Ours; ahead of the exchange's by ``skew_s``."""
        self.skew_s = 0.0
        return SimpleNamespace(time=lambda: self.now_s + self.skew_s)

    @pytest.mark.parametrize("skew_s", [0.0, 7_200.0, -7_200.0])
    async def test_history_begins_in_time_when_our_clock_is_wrong(self, exchange, clock, closing, skew_s):
        self.skew_s = skew_s
        connector = closing(build(exchange, clock))
        await connector.connect(["BTCUSDT"])
        for name, age_s in {"long ago": 120, "just now": 10}.items():
            self.now_s = NOW_S - age_s
            exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.010"), client_id=name.replace(" ", "-")))
        self.now_s = NOW_S

        orders = await connector.fetch_order_history("BTCUSDT", clock.time() - 60)
        trades = await connector.fetch_trade_history("BTCUSDT", clock.time() - 60)

        assert [order.report.client_order_id for order in orders] == ["just-now"]
        assert len(trades) == 1

    async def test_funding_is_told_with_its_number_and_nothing_else_is(self, exchange, clock, closing):
        connector = closing(build(exchange, clock))
        exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.010")))
        exchange.trade_manually(Ask("ETHUSDT", "SELL", Decimal("0.1")))
        for symbol in ("ETHUSDT", "BTCUSDT"):
            exchange.pay_funding(symbol, Decimal("0.0001"))

        eth, btc = await connector.fetch_funding(clock.time() - 60)

        mark = exchange.get_market("BTCUSDT").mark
        assert (btc.symbol, btc.amount, btc.asset) == ("BTCUSDT", -mark * Decimal("0.010") * Decimal("0.0001"), "USDT")
        assert (eth.symbol, eth.amount > 0) == ("ETHUSDT", True)
        assert eth.venue_id != btc.venue_id
        assert btc.paid_at == NOW_S
        self.now_s += 120
        assert await connector.fetch_funding(clock.time() - 60) == []

    async def test_history_is_complete_when_it_spans_weeks(self, exchange, clock, closing):
        for days in (30, 13, 6.9, 1):
            self.now_s = NOW_S - days * DAY_S
            exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.010"), client_id=f"dh-{days}"))
        self.now_s = NOW_S
        connector = closing(build(exchange, clock))
        await connector.connect(["BTCUSDT"])

        orders = await connector.fetch_order_history("BTCUSDT", NOW_S - 20 * DAY_S)
        trades = await connector.fetch_trade_history("BTCUSDT", NOW_S - 20 * DAY_S)

        assert [order.report.client_order_id for order in orders] == ["dh-13", "dh-6.9", "dh-1"]
        assert len(trades) == 3
        assert all(request.code == 0 for request in exchange.requests)

    async def test_history_is_complete_when_it_has_more_rows_than_an_answer(self, exchange, clock, closing):
        patient = replace(TIMING, request_s=10.0)
        for number in range(1300):
            self.now_s = NOW_S - 3 * DAY_S + number * 0.005
            exchange.ledger.place(
                Ask("BTCUSDT", "BUY" if number % 2 else "SELL", Decimal("0.010"), client_id=f"n{number}")
            )
        self.now_s = NOW_S
        connector = closing(build(exchange, clock, timing=patient))
        await connector.connect(["BTCUSDT"])

        orders = await connector.fetch_order_history("BTCUSDT", NOW_S - 4 * DAY_S)
        trades = await connector.fetch_trade_history("BTCUSDT", NOW_S - 4 * DAY_S)

        assert [order.report.client_order_id for order in orders] == [f"n{number}" for number in range(1300)]
        assert len(trades) == 1300

    async def test_history_asks_for_what_the_exchange_still_tells(self, exchange, clock, closing):
        connector = closing(build(exchange, clock))
        await connector.connect(["BTCUSDT"])

        assert await connector.fetch_order_history("BTCUSDT", 0.0) == []
        assert len(sent(exchange, "GET", "/allOrders")) == 13

    async def test_history_includes_forced_orders(self, exchange, clock, closing):
        connector = closing(build(exchange, clock))
        await connector.connect(["BTCUSDT"])
        exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.010")))
        exchange.liquidate("BTCUSDT")

        history = await connector.fetch_order_history("BTCUSDT", NOW_S - 60)

        assert history[-1].report.client_order_id.startswith("autoclose-")
        assert history[-1].report.status is OrderStatus.FILLED


async def test_flat_symbol_with_a_resting_order_is_no_position(connector, exchange):
    exchange.trade_manually(a_limit())

    assert await connector.fetch_positions() == []


async def test_close_waits_for_an_order_under_way(exchange, clock, an_order, eventually):
    connector = build(exchange, clock)
    await connector.connect(["BTCUSDT"])
    exchange.faults.add(FaultRule(Fault("slow", delay_before_s=0.1), "POST", "/order"))
    caller = asyncio.create_task(connector.place_order(an_order()))
    await eventually(lambda: connector._gateway._writes)
    caller.cancel()

    await connector.close()

    assert exchange.net("BTCUSDT") == Decimal("0.010")
