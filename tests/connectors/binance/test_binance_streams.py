"""The websockets: they reconnect for ever, notice silence, poll meanwhile, and keep the listen key to themselves."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
import structlog
from tests.fuzz.hostile_server import HostileServer, build_http
from websockets.asyncio.server import serve

from dehedge import metrics
from dehedge.connectors.binance.account_stream import AccountStream
from dehedge.connectors.binance.gateway import Credentials, Gateway
from dehedge.connectors.binance.marks import MarkFeed
from dehedge.connectors.binance.rows import MalformedPayload
from dehedge.connectors.binance.streams import Stream
from dehedge.connectors.binance.timing import StreamTiming, Timing
from dehedge.core.model import Side
from dehedge.core.orders import OrderStatus
from dehedge.errors import VenueUnavailable
from dehedge.sim.exchange import Ask, ExchangeSettings, Executes, FaultRule
from dehedge.sim.exchange.faults import Answer, Fault, html_page, refused

QUICK = StreamTiming(silence_s=0.3, backoff_min_s=0.01, backoff_max_s=0.05, open_s=1.0, steady_s=0.5)
TIMING = Timing(
    request_s=1.0,
    repeats_s=(0.0,),
    mark_stream=QUICK,
    account_stream=replace(QUICK, silence_s=None),
    poll_s=0.05,
    overdue_s=0.3,
    extend_s=600.0,
    extend_again_s=0.05,
)
MARK = {"e": "markPriceUpdate", "E": 1795346238795, "s": "BTCUSDT", "p": "60000", "st": 1}


class Owner:
    """Owns a stream and remembers; ``wait_for`` returns once enough has happened."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.urls_given, self.opened = 0, 0
        self.events: list[object] = []
        self._changed = asyncio.Event()

    async def build_url(self) -> str:
        self.urls_given += 1
        self._changed.set()
        return self.url

    def on_open(self) -> None:
        self.opened += 1
        self._changed.set()

    def on_event(self, event) -> None:
        self._changed.set()
        if event.values.get("is_bad"):
            raise MalformedPayload("bad")
        self.events.append(event.values)

    async def wait_for(self, condition) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def a_server(handler):
    async with serve(handler, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/private/ws?listenKey=pqia91"


def events_named(logs, *names):
    return [entry["event"] for entry in logs if entry["event"] in names]


async def test_stream_survives_malformed_messages(running):
    async def handler(socket):
        for message in ("{", b"\x00\xff", "[1]", "7", '{"is_bad": true}', '{"e": "fine"}'):
            await socket.send(message)
        await socket.wait_closed()

    async with a_server(handler) as url:
        owner = Owner(url)
        stream = Stream("test", replace(QUICK, silence_s=None), owner)
        with structlog.testing.capture_logs() as logs:
            async with running(stream.run()):
                await owner.wait_for(lambda: owner.events)

    assert owner.events == [{"e": "fine"}]
    assert owner.opened == 1
    assert stream.malformed_count == 5
    assert events_named(logs, "message_malformed") == ["message_malformed"]


async def test_stream_reconnects_for_ever_and_logs_once_each_way(running):
    connections = 0

    async def handler(socket):
        nonlocal connections
        connections += 1
        if connections > 8:
            await socket.send('{"e": "back"}')
            await socket.wait_closed()

    async with a_server(handler) as url:
        owner = Owner(url)
        stream = Stream("test", QUICK, owner)
        assert metrics.REGISTRY.get_sample_value("dehedge_stream_up", {"stream": "test"}) == 0
        with structlog.testing.capture_logs() as logs:
            async with running(stream.run()):
                await owner.wait_for(lambda: owner.events)
                assert stream.is_live
                assert metrics.REGISTRY.get_sample_value("dehedge_stream_up", {"stream": "test"}) == 1

    assert events_named(logs, "stream_failed", "stream_recovered") == ["stream_failed", "stream_recovered"]


async def test_stream_reconnects_when_the_connection_is_silent(running):
    async def handler(socket):
        await socket.wait_closed()

    async with a_server(handler) as url:
        owner = Owner(url)
        stream = Stream("test", replace(QUICK, silence_s=0.05), owner)
        with structlog.testing.capture_logs() as logs:
            async with running(stream.run()):
                await owner.wait_for(lambda: owner.opened >= 3)
                assert not stream.is_live

    assert [entry["reason"] for entry in logs] == ["connected but silent"]


async def test_stream_reconnects_when_the_peer_is_gone_without_a_goodbye(running):
    async def handler(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(
            line.split(b": ")[1] for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        await reader.read()
        writer.close()

    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    owner = Owner(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    stream = Stream("test", replace(QUICK, silence_s=None, ping_s=0.05), owner)
    async with running(stream.run()):
        await owner.wait_for(lambda: owner.opened >= 2)
    server.close()


async def test_stream_renews_an_old_connection_without_an_alarm(running):
    async def handler(socket):
        await socket.send('{"e": "hello"}')
        await socket.wait_closed()

    async with a_server(handler) as url:
        owner = Owner(url)
        stream = Stream("test", replace(QUICK, life_s=0.05), owner)
        with structlog.testing.capture_logs() as logs:
            async with running(stream.run()):
                await owner.wait_for(lambda: len(owner.events) >= 3)

    assert owner.urls_given >= 3
    assert logs == []


async def test_stream_waits_and_asks_again_when_there_is_no_address(running):
    class Homeless(Owner):
        async def build_url(self) -> str:
            await super().build_url()
            raise VenueUnavailable("no listen key")

    owner = Homeless("")
    with structlog.testing.capture_logs() as logs:
        async with running(Stream("test", QUICK, owner).run()):
            await owner.wait_for(lambda: owner.urls_given >= 3)

    assert [entry["reason"] for entry in logs] == ["no listen key"]


async def test_error_of_the_owner_ends_the_stream():
    class Broken(Owner):
        def on_event(self, event) -> None:
            raise AssertionError("our own bug")

    async def handler(socket):
        await socket.send("{}")
        await socket.wait_closed()

    async with a_server(handler) as url:
        with pytest.raises(AssertionError, match="our own bug"):
            await Stream("test", QUICK, Broken(url)).run()


def test_backoff_doubles_to_its_limit_with_jitter():
    stream = Stream("test", StreamTiming(silence_s=None), Owner(""))

    delays = [stream._next_delay_s() for _ in range(12)]

    for number, delay in enumerate(delays):
        longest = min(0.5 * 2**number, 30.0)
        assert longest / 2 <= delay <= longest


@pytest.fixture
def exchange_settings():
    return ExchangeSettings(beat_s=0.02)


@pytest.fixture
async def gateway(exchange, clock):
    gateway = Gateway(exchange.url, Credentials("sim-api-key", "sim-api-secret"), clock, TIMING)
    yield gateway
    await gateway.close()


@pytest.fixture
def feed(gateway, exchange):
    feed = MarkFeed(gateway, exchange.ws_url, TIMING)
    feed.watch(["BTCUSDT", "ETHUSDT"])
    return feed


def count_polls(exchange):
    return len(exchange.api.record.select("GET", "/premiumIndex"))


async def test_marks_are_streamed_on_the_market_route(feed, sink, running):
    async with running(feed.run(sink.on_marks)):
        await sink.wait_for(lambda: feed.stream.is_live and len(feed.get()) == 2)

    assert feed.get()["ETHUSDT"].price == 3000


async def test_marks_are_polled_in_one_request_while_the_stream_is_down(feed, exchange, sink, running):
    exchange.streams.refused.add("market")
    async with running(feed.run(sink.on_marks)):
        await sink.wait_for(lambda: len(feed.get()) == 2)
        exchange.set_mark("BTCUSDT", Decimal(59000))
        await sink.wait_for(lambda: feed.get()["BTCUSDT"].price == 59000)
        assert not feed.stream.is_live
        assert all("symbol" not in r.params for r in exchange.api.record.select("GET", "/premiumIndex"))
        exchange.streams.refused.clear()
        await sink.wait_for(lambda: feed.stream.is_live)


async def test_marks_are_polled_when_the_stream_is_connected_but_silent(feed, exchange, sink, running):
    exchange.streams.silent.add("market")
    with structlog.testing.capture_logs() as logs:
        async with running(feed.run(sink.on_marks)):
            await sink.wait_for(lambda: len(feed.get()) == 2)
            await exchange.streams.wait_for_listeners(1, "market")
            await exchange.streams.wait_for_listeners(0, "market")
            exchange.streams.silent.clear()
            await sink.wait_for(lambda: feed.stream.is_live)

    assert [entry["reason"] for entry in logs if entry["event"] == "stream_failed"] == ["connected but silent"]


async def test_symbol_is_polled_alone_when_the_live_stream_leaves_it_out(gateway, running, sink, exchange):
    async def handler(socket):
        while True:
            await socket.send(json.dumps({"stream": "btcusdt@markPrice@1s", "data": MARK}))
            try:
                async with asyncio.timeout(0.02):
                    await socket.recv()
            except TimeoutError:
                continue

    async with a_server(handler) as url:
        feed = MarkFeed(gateway, url.partition("/private")[0], TIMING)
        feed.watch(["BTCUSDT", "ETHUSDT"])
        async with running(feed.run(sink.on_marks)):
            await sink.wait_for(lambda: feed.stream.is_live)
            await sink.wait_for(
                lambda: any(r.params.get("symbol") == "ETHUSDT" for r in exchange.requests) and "ETHUSDT" in feed.get()
            )

    assert feed.get()["ETHUSDT"].price == 3000


async def test_poll_failure_is_logged_once_and_heals(feed, exchange, sink, running):
    exchange.streams.refused.add("market")
    exchange.faults.add(FaultRule(html_page(Executes.NEVER), "GET", "/premiumIndex", times=8))
    with structlog.testing.capture_logs() as logs:
        async with running(feed.run(sink.on_marks)):
            await sink.wait_for(lambda: len(feed.get()) == 2)

    assert events_named(logs, "mark_poll_failed") == ["mark_poll_failed"]


async def test_watching_others_reconnects_with_their_names(feed, exchange, sink, running):
    async with running(feed.run(sink.on_marks)):
        await sink.wait_for(lambda: feed.stream.is_live)
        feed.watch(["SOLUSDT"])
        await sink.wait_for(lambda: "SOLUSDT" in feed.get())
        await exchange.streams.wait_for_listeners(1, "market")
        (listener,) = exchange.streams.listeners

    assert "solusdt@markPrice@1s" in listener.streams
    assert "btcusdt@markPrice@1s" not in listener.streams


async def test_nothing_is_connected_or_polled_while_nothing_is_watched(gateway, exchange, sink, running):
    feed = MarkFeed(gateway, exchange.ws_url, TIMING)
    async with running(feed.run(sink.on_marks)):
        feed.watch([])
        assert await feed.fetch([]) == {}
        feed.watch(["BTCUSDT"])
        await sink.wait_for(lambda: "BTCUSDT" in feed.get())


async def test_older_mark_never_replaces_a_newer_one(gateway, running, sink):
    async def handler(socket):
        for time_ms, price in ((2000, "2"), (1000, "1"), (2000, "2.5"), (1500, "1.5")):
            await socket.send(json.dumps(MARK | {"E": time_ms, "p": price}))
        await socket.wait_closed()

    async with a_server(handler) as url:
        feed = MarkFeed(gateway, url.partition("/private")[0], replace(TIMING, poll_s=60.0))
        feed.watch(["BTCUSDT"])
        async with running(feed.run(sink.on_marks)):
            await sink.wait_for(lambda: sink.marks >= 4)

    assert feed.get()["BTCUSDT"] == ("BTCUSDT", Decimal("2.5"), 2.0) or feed.get()["BTCUSDT"].price == Decimal("2.5")


@pytest.fixture
def account(gateway, exchange):
    return AccountStream(gateway, exchange.ws_url, TIMING)


async def test_account_is_looked_at_after_each_connection(account, exchange, sink, running):
    async with running(account.run(sink)):
        for connection in range(1, 4):
            await sink.wait_for(lambda wanted=connection: sink.account_changes >= wanted)
            await exchange.streams.wait_for_listeners(1, "private")
            assert sink.account_changes == connection
            exchange.streams.drop("private")


async def test_new_key_is_taken_when_the_old_one_expires(account, exchange, sink, running):
    async with running(account.run(sink)):
        await sink.wait_for(lambda: sink.account_changes == 1)
        await exchange.streams.wait_for_listeners(1, "private")
        before = exchange.api.venue.listen_keys.current
        exchange.expire_listen_key()
        await sink.wait_for(lambda: sink.account_changes == 2)
        await exchange.streams.wait_for_listeners(1, "private")
        exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.010")))
        await sink.wait_for(lambda: sink.orders)

    assert exchange.api.venue.listen_keys.current not in (None, before)


async def test_key_is_extended_in_time(gateway, exchange, sink, running, eventually):
    account = AccountStream(gateway, exchange.ws_url, replace(TIMING, extend_s=0.05))
    async with running(account.run(sink)):
        await sink.wait_for(lambda: sink.account_changes == 1)
        await eventually(lambda: len(exchange.api.record.select("PUT", "/listenKey")) >= 3)

    assert len(exchange.api.record.select("POST", "/listenKey")) == 1


async def test_connection_is_renewed_when_the_exchange_has_lost_the_key(gateway, exchange, sink, running):
    exchange.faults.add(FaultRule(refused(-1125), "PUT", "/listenKey"))
    account = AccountStream(gateway, exchange.ws_url, replace(TIMING, extend_s=0.05))
    async with running(account.run(sink)):
        await sink.wait_for(lambda: sink.account_changes == 2)

    assert len(exchange.api.record.select("POST", "/listenKey")) == 2


async def test_failed_extension_is_tried_again(gateway, exchange, sink, running, eventually):
    exchange.faults.add(FaultRule(html_page(Executes.NEVER), "PUT", "/listenKey", times=4))
    account = AccountStream(gateway, exchange.ws_url, replace(TIMING, extend_s=0.05))
    async with running(account.run(sink)):
        await sink.wait_for(lambda: sink.account_changes == 1)
        await eventually(lambda: any(r.status == 200 for r in exchange.api.record.select("PUT", "/listenKey")))

    assert sink.account_changes == 1


async def test_order_of_somebody_else_asks_for_a_look_at_the_account(account, exchange, sink, running):
    async with running(account.run(sink)):
        await sink.wait_for(lambda: sink.account_changes == 1)
        await exchange.streams.wait_for_listeners(1, "private")
        exchange.trade_manually(Ask("BTCUSDT", "SELL", Decimal("0.020")))
        await sink.wait_for(lambda: sink.account_changes == 2)

    assert (sink.orders[-1].side, sink.orders[-1].report.filled_quantity) == (Side.SELL, Decimal("0.020"))


@pytest.mark.parametrize("kind", ["autoclose-", "adl_autoclose", "settlement_autoclose-"])
async def test_forced_order_is_told_and_asks_for_a_look(account, exchange, sink, running, kind):
    exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.020"), client_id="dh-ours"))
    force = {
        "autoclose-": lambda: exchange.liquidate("BTCUSDT"),
        "adl_autoclose": lambda: exchange.deleverage("BTCUSDT", Decimal("0.020")),
        "settlement_autoclose-": lambda: exchange.settle("BTCUSDT"),
    }[kind]
    async with running(account.run(sink)):
        await sink.wait_for(lambda: sink.account_changes == 1)
        await exchange.streams.wait_for_listeners(1, "private")
        force()
        await sink.wait_for(lambda: sink.account_changes >= 2 and any(o.report.status.is_terminal for o in sink.orders))

    order = next(order for order in sink.orders if order.report.status.is_terminal)
    assert order.report.client_order_id.startswith(kind)
    assert (order.report.status, order.report.filled_quantity) == (OrderStatus.FILLED, Decimal("0.020"))


async def test_changed_leverage_asks_for_a_look(account, exchange, sink, running):
    settings_changes = []
    account.on_settings = lambda: settings_changes.append(1)
    async with running(account.run(sink)):
        await sink.wait_for(lambda: sink.account_changes == 1)
        await exchange.streams.wait_for_listeners(1, "private")
        exchange.set_leverage("BTCUSDT", 7)
        await sink.wait_for(lambda: sink.account_changes == 2)

    assert len(settings_changes) == 2


async def test_listen_key_is_never_logged(account, exchange, sink, running, caplog):
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logs:
        async with running(account.run(sink)):
            await sink.wait_for(lambda: sink.account_changes == 1)
            await exchange.streams.wait_for_listeners(1, "private")
            key = exchange.api.venue.listen_keys.current
            exchange.streams.refused.add("private")
            exchange.streams.drop("private")
            await exchange.streams.wait_for_listeners(0, "private")
            exchange.streams.refused.clear()
            await sink.wait_for(lambda: sink.account_changes == 2)
            await exchange.down()
            exchange.expire_listen_key()
            await exchange.up()
            await sink.wait_for(lambda: sink.account_changes == 3)

    assert key
    assert key not in str(logs) + caplog.text + repr(account)
    assert events_named(logs, "stream_failed")


REDIRECTS = {
    "elsewhere": ["Location: ws://127.0.0.1:1/"],
    "nowhere": ["Location: http://["],
    "two places": ["Location: /a", "Location: /b"],
    "nothing": ["Location: "],
}


@pytest.mark.parametrize("name", REDIRECTS)
async def test_stream_follows_no_redirect_and_goes_on(running, name):
    async with HostileServer(lambda _: build_http(b"", *REDIRECTS[name], status=302)) as server:
        owner = Owner(server.url.replace("http", "ws"))
        with structlog.testing.capture_logs() as logs:
            async with running(Stream("test", QUICK, owner).run()):
                await owner.wait_for(lambda: owner.urls_given >= 3)

    assert [entry["reason"] for entry in logs] == ["refused with HTTP 302"]


@pytest.mark.parametrize("key", ["", "\ud800", "a b", "a\n", "x" * 257, 7, None, ["k"], {"k": "k"}])
async def test_connection_is_tried_again_when_the_listen_key_is_none(gateway, exchange, sink, running, key):
    account = AccountStream(gateway, exchange.ws_url, TIMING)
    lie = Answer(200, json.dumps({"listenKey": key}))
    exchange.faults.add(FaultRule(Fault("lie", Executes.NEVER, lie), path="/listenKey", times=2))

    async with running(account.run(sink)):
        await sink.wait_for(lambda: sink.account_changes == 1)

    assert len(exchange.api.record.select("POST", "/listenKey")) == 3


async def test_mark_of_a_time_to_come_is_passed_over(gateway, running, sink, clock):
    now_ms = int(clock.time() * 1000)

    async def handler(socket):
        for time_ms, price in ((now_ms + 600_000, "9"), (now_ms, "1"), (now_ms + 2**40, "8"), (now_ms + 1, "2")):
            await socket.send(json.dumps(MARK | {"E": time_ms, "p": price}))
        await socket.wait_closed()

    async with a_server(handler) as url:
        feed = MarkFeed(gateway, url.partition("/private")[0], replace(TIMING, poll_s=60.0))
        feed.watch(["BTCUSDT"])
        async with running(feed.run(sink.on_marks)):
            await sink.wait_for(lambda: sink.marks >= 4)

    assert feed.get()["BTCUSDT"].price == Decimal(2)


async def test_mark_of_a_time_to_come_is_told_to_who_asks(gateway, exchange, clock):
    feed = MarkFeed(gateway, exchange.ws_url, TIMING)
    row = {"symbol": "BTCUSDT", "markPrice": "9", "time": int(clock.time() * 1000) + 600_000}
    exchange.faults.add(FaultRule(Fault("lie", Executes.NEVER, Answer(200, json.dumps(row))), path="/premiumIndex"))

    assert (await feed.fetch(["BTCUSDT"]))["BTCUSDT"].price == Decimal(9)
    assert "BTCUSDT" not in feed.get()
