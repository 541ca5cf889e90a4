"""The gateway: one attempt per write, what a lost or lying reply means, pauses, and no secret anywhere."""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
import socket
import ssl
import time
import traceback
from base64 import b64encode

import aiohttp
import pytest
import structlog
from aiohttp import web
from aiohttp.client_reqrep import ConnectionKey
from tests.fuzz.hostile import hurried

from dehedge.connectors.binance import endpoints
from dehedge.connectors.binance.failures import RequestRefused
from dehedge.connectors.binance.gateway import Credentials, Gateway
from dehedge.connectors.binance.limits import ORDERS, WEIGHT, Limits
from dehedge.connectors.binance.payloads import RateLimit
from dehedge.connectors.binance.session import REPLY_BYTES_MAX, describe
from dehedge.connectors.binance.timing import Timing
from dehedge.core.invariants import Law
from dehedge.errors import (
    ConfigError,
    ConnectorError,
    OrderRejected,
    OutcomeUnknown,
    RateLimited,
    VenueUnavailable,
)

KEY, SECRET = "KEY5f3a9c", "SECRET7d21bb"
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1", "newClientOrderId": "dh-x-1"}
QUERY = {"symbol": "BTCUSDT", "origClientOrderId": "dh-x-1"}
LIST_OF_ERRORS = [{"code": -2019, "msg": "no"}]


def json_answer(payload, status=200, **headers):
    async def answer(_request):
        return web.json_response(payload, status=status, headers=headers)

    return answer


def text_answer(text, status=200, content_type="text/html", **headers):
    async def answer(_request):
        return web.Response(text=text, status=status, content_type=content_type, headers=headers)

    return answer


async def cut(request):
    request.transport.abort()
    return web.Response()


async def cut_in_the_body(request):
    response = web.StreamResponse(headers={"Content-Length": "100", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"orderId": 1')
    request.transport.abort()
    return response


@pytest.fixture
async def gateway(scripted, clock):
    gateway = Gateway(scripted.url, Credentials(KEY, SECRET), clock, Timing(request_s=0.5, repeats_s=(0.0, 0.0)))
    yield gateway
    await gateway.close()


NO_ANSWERS = {
    "error list": json_answer(LIST_OF_ERRORS, 400),
    "html with 200": text_answer("<html>"),
    "html with 502": text_answer("<html>", 502),
    "html with 404": text_answer("<html>", 404),
    "broken json": text_answer('{"orderId": 1', content_type="application/json"),
    "empty": text_answer(""),
    "empty object": json_answer({}),
    "list": json_answer([1]),
    "null": json_answer(None),
    "unknown code in a 200": json_answer({"code": -9999, "msg": "tomorrow"}),
    "error without code": json_answer({"msg": "what"}, 500),
    "error with odd types": json_answer({"code": "x", "msg": 7}, 400),
    "error that is a number": text_answer("5", 400, "application/json"),
    "hang": None,
    "cut": cut,
    "cut in the body": cut_in_the_body,
    "redirect": text_answer("", 307, Location="/fapi/v1/elsewhere"),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
async def test_write_has_an_unknown_outcome_and_is_sent_once_when_there_is_no_answer(gateway, scripted, name):
    scripted.answers = [NO_ANSWERS[name]]

    with pytest.raises(OutcomeUnknown):
        await gateway.send(endpoints.PLACE, **ORDER)

    assert [path for _, path in scripted.requests] == ["/fapi/v1/order"]


@pytest.mark.parametrize("name", [name for name in NO_ANSWERS if name not in ("empty", "empty object", "list", "null")])
async def test_read_is_unavailable_when_there_is_no_answer(gateway, scripted, name):
    scripted.answers = [NO_ANSWERS[name]]

    with pytest.raises(VenueUnavailable):
        await gateway.fetch(endpoints.ORDER, **QUERY)


@pytest.mark.parametrize("name", [*NO_ANSWERS, "refused", "wrong key"])
async def test_no_secret_is_told_when_a_request_fails(gateway, scripted, caplog, name):
    caplog.set_level(logging.DEBUG)
    echo = {"code": -2015, "msg": f"key {KEY} and {SECRET}, signature=abcdef0123 listenKey=pqia91ma19"}
    answers = {**NO_ANSWERS, "refused": json_answer({**echo, "code": -2019}, 400), "wrong key": json_answer(echo, 401)}
    scripted.answers = [answers[name]]
    told = []

    with structlog.testing.capture_logs() as logs:
        for request in (gateway.send(endpoints.PLACE, **ORDER), gateway.fetch(endpoints.ORDER, **QUERY)):
            try:
                told.append(repr(await request))
            except ConnectorError as error:
                told += traceback.format_exception(error, chain=True)
    text = "".join([*told, str(logs), caplog.text, repr(gateway), repr(vars(gateway))])

    assert not re.search("signature=[0-9a-f]", text)
    assert not any(word in text for word in (KEY, SECRET, "abcdef0123", "pqia91ma19", "timestamp="))


async def test_write_is_unavailable_when_nobody_listens(clock, unused_port):
    gateway = Gateway(f"http://127.0.0.1:{unused_port}", Credentials(KEY, SECRET), clock)
    try:
        with pytest.raises(VenueUnavailable, match="BINANCE_FUTURES_URL") as caught:
            await gateway.send(endpoints.PLACE, **ORDER)
    finally:
        await gateway.close()
    assert str(caught.value).startswith("the exchange cannot be reached: Connect call failed (")


async def test_read_says_what_happened_when_the_connection_was_dropped(gateway, scripted):
    scripted.answers = [cut]

    with pytest.raises(VenueUnavailable, match="gave no usable answer: the connection was dropped$"):
        await gateway.fetch(endpoints.ORDER, **QUERY)


NAMED = ConnectionKey("a.example", 443, is_ssl=True, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError(), "no answer in time"),
        (aiohttp.ServerTimeoutError(), "no answer in time"),
        (aiohttp.ClientConnectorDNSError(NAMED, socket.gaierror(-2, "Name or service not known")), "its name cannot be resolved"),
        (aiohttp.ClientConnectorSSLError(NAMED, ssl.SSLError(1, f"https://{KEY}")), "it has no certificate that we accept"),
        (aiohttp.ClientConnectorError(NAMED, OSError(113, "No route to host")), "No route to host"),
        (aiohttp.ClientConnectorError(NAMED, ConnectionRefusedError()), "ConnectionRefusedError"),
        (aiohttp.ServerDisconnectedError(f"signature={KEY}"), "the connection was dropped"),
        (aiohttp.ClientPayloadError(f"signature={KEY}"), "the answer could not be read (ClientPayloadError)"),
        (KeyError(KEY), "the answer could not be read (KeyError)"),
        (VenueUnavailable("a write goes out once"), "a write goes out once"),
    ],
)
def test_error_of_the_library_is_told_in_our_own_words(error, words):
    assert describe(error) == words


@pytest.fixture
async def unused_port():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_read_is_repeated_when_it_failed_in_passing(gateway, scripted):
    scripted.answers = [text_answer("<html>", 502), cut, json_answer({"orderId": 1})]

    assert await gateway.fetch(endpoints.ORDER, **QUERY) == {"orderId": 1}


async def test_read_is_not_repeated_when_it_was_refused(gateway, scripted):
    scripted.answers = [json_answer({"code": -1121, "msg": "Invalid symbol."}, 400)]

    with pytest.raises(RequestRefused) as caught:
        await gateway.fetch(endpoints.ORDER, **QUERY)

    assert caught.value.code == -1121
    assert scripted.count("GET", "/order") == 1


@pytest.mark.parametrize("status", [200, 400])
async def test_write_is_rejected_when_the_exchange_says_so(gateway, scripted, status):
    scripted.answers = [json_answer({"code": -2019, "msg": "Margin is insufficient."}, status)]

    with pytest.raises(OrderRejected, match="Margin is insufficient") as caught:
        await gateway.send(endpoints.PLACE, **ORDER)
    assert caught.value.code == -2019


async def test_success_code_in_a_200_is_no_error(gateway, scripted):
    scripted.answers = [json_answer({"code": 200, "msg": "success"})]

    assert await gateway.send(endpoints.MARGIN_TYPE, symbol="BTCUSDT", marginType="ISOLATED") == {
        "code": 200,
        "msg": "success",
    }


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        (json_answer({"code": -1003, "msg": "Too many requests"}, 429, **{"Retry-After": "30"}), 30),
        (text_answer("<html>", 403), 60),
        (json_answer({"code": -1003, "msg": "banned"}, 418, **{"Retry-After": "120"}), 120),
    ],
)
async def test_nothing_is_sent_while_the_exchange_wants_us_to_wait(gateway, scripted, answer, wait_s):
    scripted.answers = [answer]
    with pytest.raises(RateLimited) as first:
        await gateway.fetch(endpoints.POSITIONS)

    for request in (
        gateway.fetch(endpoints.POSITIONS),
        gateway.send(endpoints.PLACE, **ORDER),
        gateway.fetch(endpoints.OPEN_KEY),
        gateway.synchronize(),
    ):
        with pytest.raises(RateLimited) as later:
            await request
        assert wait_s - 5 < later.value.retry_after_s <= wait_s

    assert first.value.retry_after_s == wait_s
    assert len(scripted.requests) == 1
    assert not gateway.limits.check_orders(1, is_reduce=True)


async def test_pause_is_kept_by_the_next_life_of_the_daemon(scripted, clock, tmp_path):
    path = str(tmp_path / "pause")
    scripted.answers = [json_answer({"code": -1003, "msg": ""}, 429, **{"Retry-After": "30"}), json_answer({})]
    first = Gateway(scripted.url, Credentials(KEY, SECRET), clock, pause_path=path)
    with pytest.raises(RateLimited):
        await first.fetch(endpoints.PING)
    await first.close()

    second = Gateway(scripted.url, Credentials(KEY, SECRET), clock, pause_path=path)
    with pytest.raises(RateLimited) as caught:
        await second.fetch(endpoints.PING)
    await second.close()

    assert 25 < caught.value.retry_after_s <= 30
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("is_write", [False, True])
async def test_request_that_waited_for_a_connection_is_held_back_when_a_pause_began_meanwhile(
    gateway, scripted, eventually, is_write
):
    """The session keeps a hundred connections, here two; whoever comes later waits for one that is free."""
    gateway._get_client().session.connector._limit = 2
    released = asyncio.Event()

    async def answer(_request):
        await released.wait()
        return web.json_response({"code": -1003, "msg": "Too many requests"}, status=429, headers={"Retry-After": "30"})

    def call():
        return gateway.send(endpoints.PLACE, **ORDER) if is_write else gateway.fetch(endpoints.PING)

    scripted.answers = [answer]
    callers = [asyncio.create_task(call()) for _ in range(6)]
    await eventually(lambda: len(scripted.requests) == 2)
    released.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {RateLimited}
    assert len(scripted.requests) == 2


async def test_nothing_is_sent_while_the_body_of_a_429_is_still_coming(gateway, scripted, eventually):
    told = asyncio.Event()

    async def answer(request):
        response = web.StreamResponse(status=429, headers={"Retry-After": "30", "Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        told.set()
        await scripted.ended.wait()
        return response

    scripted.answers = [answer]
    first = asyncio.create_task(gateway.fetch(endpoints.PING))
    await told.wait()
    await eventually(lambda: not gateway.limits.check_orders(1, is_reduce=True))

    with pytest.raises(RateLimited):
        await gateway.send(endpoints.PLACE, **ORDER)
    assert not first.done()
    assert scripted.count("POST", "/order") == 0
    with pytest.raises(RateLimited):
        await first


async def test_read_that_the_session_library_tries_again_is_counted_twice(gateway, scripted):
    scripted.answers = [json_answer({}), cut, json_answer({})]
    await gateway.fetch(endpoints.PING)

    assert await gateway.fetch(endpoints.PING) == {}

    assert len(scripted.requests) == 3
    assert gateway.limits.get_used(WEIGHT, "1M") == 3


class Spendthrift(Limits):
    """A limiter that holds nothing back."""

    def admit(self, *, weight: int, orders: int) -> None:
        pass

    def check_pauses(self, *, orders: int) -> None:
        pass


@pytest.fixture
def breaches():
    return []


@pytest.fixture
async def reckless(scripted, clock, breaches):
    """The real gateway around a limiter that is wrong."""
    gateway = Gateway(
        scripted.url, Credentials(KEY, SECRET), clock, Timing(request_s=0.5, repeats_s=()), on_breach=breaches.append
    )
    gateway.limits = Spendthrift(gateway.clock)
    yield gateway
    await gateway.close()


async def test_request_in_a_pause_is_noticed_although_the_limiter_let_it_through(reckless, scripted, breaches):
    scripted.answers = [json_answer({"code": -1003, "msg": ""}, 429, **{"Retry-After": "30"}), json_answer({})]
    with pytest.raises(RateLimited):
        await reckless.fetch(endpoints.PING)
    assert breaches == []

    await reckless.fetch(endpoints.PING)

    assert [(breach.law, breach.subject) for breach in breaches] == [(Law.PAUSE, "futures_ping")]


async def test_orders_above_the_limit_are_noticed_although_the_limiter_let_them_through(reckless, scripted, breaches):
    scripted.answers = [json_answer({"orderId": 1})]
    reckless.set_limits([RateLimit(ORDERS, 10, 3, "10S")])
    for _ in range(3):
        await reckless.send(endpoints.PLACE, **ORDER)
    assert breaches == []

    await reckless.send(endpoints.PLACE, **ORDER)

    assert breaches == [(Law.RATE, "ORDERS 10S", "4 of 3 within 10 s")]


async def test_write_that_goes_out_twice_is_noticed_when_nothing_holds_it_back(reckless, scripted, breaches):
    reckless._let_out = lambda _: None
    scripted.answers = [json_answer({}), cut, json_answer({"orderId": 1})]
    await reckless.fetch(endpoints.PING)

    await reckless.send(endpoints.CANCEL, symbol="BTCUSDT", origClientOrderId="dh-x-1")

    assert scripted.count("DELETE", "/order") == 2
    assert [(breach.law, breach.subject) for breach in breaches] == [(Law.ONCE, "futures_cancel_order")]


async def test_ban_lasts_until_the_moment_in_its_text(gateway, scripted):
    until_ms = int(time.time() * 1000) + 600_000
    text = f"Way too many requests; IP banned until {until_ms}. Please use the websocket."
    scripted.answers = [json_answer({"code": -1003, "msg": text}, 418)]

    with pytest.raises(RateLimited) as caught:
        await gateway.send(endpoints.PLACE, **ORDER)
    assert 590 < caught.value.retry_after_s <= 600


async def test_overload_refuses_one_order_and_pauses_nothing(gateway, scripted):
    throttled = json_answer({"code": -1008, "msg": "Request throttled by system-level protection."}, 503)
    scripted.answers = [throttled, json_answer({"orderId": 1})]

    with pytest.raises(RateLimited):
        await gateway.send(endpoints.PLACE, **ORDER)

    assert await gateway.send(endpoints.PLACE, **ORDER) == {"orderId": 1}


async def test_order_rate_refusal_pauses_orders_only(gateway, scripted):
    scripted.answers = [json_answer({"code": -1015, "msg": "Too many new orders"}, 400), json_answer([])]

    with pytest.raises(RateLimited):
        await gateway.send(endpoints.PLACE, **ORDER)
    with pytest.raises(RateLimited):
        await gateway.send(endpoints.PLACE, **ORDER)

    assert await gateway.fetch(endpoints.POSITIONS) == []
    assert scripted.count("POST", "/order") == 1


@pytest.mark.parametrize("code", [-1021, -5028])
async def test_read_is_repeated_once_with_the_clock_set_when_its_timestamp_was_refused(gateway, scripted, code):
    stale = json_answer({"code": code, "msg": "Timestamp for this request is outside of the recvWindow."}, 400)
    scripted.answers = [stale, json_answer([])]

    assert await gateway.fetch(endpoints.POSITIONS) == []
    assert scripted.count("GET", "/time") == 5


async def test_read_is_refused_when_its_timestamp_is_refused_twice(gateway, scripted):
    scripted.answers = [json_answer({"code": -1021, "msg": "Timestamp"}, 400)]

    with pytest.raises(RequestRefused):
        await gateway.fetch(endpoints.POSITIONS)
    assert scripted.count("GET", "/positionRisk") == 2


async def test_order_is_rejected_and_the_clock_set_when_its_timestamp_was_refused(gateway, scripted):
    scripted.answers = [json_answer({"code": -1021, "msg": "Timestamp"}, 400)]

    with pytest.raises(OrderRejected) as caught:
        await gateway.send(endpoints.PLACE, **ORDER)

    assert caught.value.code == -1021
    assert (scripted.count("POST", "/order"), scripted.count("GET", "/time")) == (1, 5)


async def test_synchronization_ends_when_even_the_time_is_refused(gateway, scripted):
    scripted.tell_time = json_answer({"code": -1021, "msg": "Timestamp"}, 400)

    with pytest.raises(VenueUnavailable):
        async with asyncio.timeout(5):
            await gateway.synchronize()


async def test_headers_of_every_response_are_counted(gateway, scripted):
    headers = {"X-MBX-ORDER-COUNT-10S": "299", "X-MBX-ORDER-COUNT-1M": "299", "X-MBX-USED-WEIGHT-1M": "7"}
    scripted.answers = [json_answer({"code": -2019, "msg": "no"}, 400, **headers)]

    with pytest.raises(OrderRejected):
        await gateway.send(endpoints.PLACE, **ORDER)

    assert gateway.limits.get_used(ORDERS, "1M") == 299
    assert not gateway.limits.check_orders(1, is_reduce=False)


async def test_write_is_seen_through_when_its_caller_is_canceled(gateway, scripted):
    released = asyncio.Event()

    async def answer(_request):
        await released.wait()
        return web.json_response({"orderId": 1})

    scripted.answers = [answer]
    with structlog.testing.capture_logs() as logs:
        caller = asyncio.create_task(gateway.send(endpoints.PLACE, **ORDER))
        await scripted.asked.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        released.set()
        await gateway.close()

    told = [entry for entry in logs if entry["event"] == "write_finished_unobserved"]
    assert [(entry["client_order_id"], entry["error"]) for entry in told] == [("dh-x-1", None)]


async def test_failed_write_is_told_when_its_caller_was_canceled(gateway, scripted):
    released = asyncio.Event()

    async def answer(request):
        await released.wait()
        return await cut(request)

    scripted.answers = [answer]
    with structlog.testing.capture_logs() as logs:
        caller = asyncio.create_task(gateway.send(endpoints.PLACE, **ORDER))
        await scripted.asked.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        released.set()
        await gateway.close()

    assert "may or may not" in next(e["error"] for e in logs if e["event"] == "write_finished_unobserved")


async def test_nothing_is_sent_after_closing(gateway, scripted):
    scripted.answers = [json_answer([])]
    await gateway.close()

    with pytest.raises(VenueUnavailable, match="closed"):
        await gateway.fetch(endpoints.POSITIONS)
    with pytest.raises(VenueUnavailable, match="closed"):
        await gateway.send(endpoints.PLACE, **ORDER)
    assert scripted.requests == []


async def test_only_the_futures_interface_is_called(gateway, scripted):
    scripted.answers = [json_answer([])]

    await gateway.synchronize()
    await gateway.fetch(endpoints.POSITIONS)

    assert {path.split("/")[1] for _, path in scripted.requests} == {"fapi"}


async def test_client_of_another_gateway_has_its_own_limits(gateway, scripted, clock):
    other = Gateway(scripted.url, Credentials(), clock)
    scripted.answers = [json_answer({"code": -1003, "msg": ""}, 429, **{"Retry-After": "9"}), json_answer({})]
    try:
        with pytest.raises(RateLimited):
            await other.fetch(endpoints.PING)
        assert await gateway.fetch(endpoints.PING) == {}
    finally:
        await other.close()


@pytest.mark.parametrize(
    ("key", "secret", "named"),
    [
        ("", SECRET, "BINANCE_API_KEY"),
        (KEY, "", "BINANCE_API_SECRET"),
        (f"{KEY}\n", SECRET, "BINANCE_API_KEY"),
        (KEY, f" {SECRET}", "BINANCE_API_SECRET"),
        ("kéy", SECRET, "BINANCE_API_KEY"),
    ],
)
def test_key_pair_is_refused_when_it_cannot_be_one(key, secret, named):
    with pytest.raises(ConfigError) as caught:
        Credentials(key, secret).check()

    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(named)
    assert KEY not in str(caught.value)
    assert SECRET not in str(caught.value)


LONG_WORDS = {"colons": "signature" + ":" * 2**20, "names": "listenKey " * 2**17, "letters": "a" * 2**21, "unprintable": "\x1b[2J\n" * 2**16}


@pytest.mark.parametrize("name", LONG_WORDS)
async def test_long_message_is_made_one_short_line_at_once(gateway, scripted, name):
    scripted.answers = [json_answer({"code": -2019, "msg": LONG_WORDS[name]}, 400)]

    with hurried(), pytest.raises(OrderRejected) as caught:
        await gateway.send(endpoints.PLACE, **ORDER)

    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


async def test_reply_that_does_not_end_is_ended(gateway, scripted):
    scripted.answers = [text_answer("[" + " " * REPLY_BYTES_MAX + "]", content_type="application/json")]

    with pytest.raises(VenueUnavailable, match="ClientPayloadError"):
        await gateway.fetch(endpoints.POSITIONS)


async def test_reply_that_unpacks_without_end_is_ended(gateway, scripted):
    async def answer(_request):
        packed = gzip.compress(bytes(4 * REPLY_BYTES_MAX), 1)
        return web.Response(body=packed, content_type="application/json", headers={"Content-Encoding": "gzip"})

    scripted.answers = [answer]
    with pytest.raises(VenueUnavailable, match="ClientPayloadError"):
        await gateway.fetch(endpoints.POSITIONS)


@pytest.mark.parametrize("code", [10**40, -(10**6), 1e400, [], {}, True])
async def test_code_that_is_none_is_left_out(gateway, scripted, code):
    scripted.answers = [json_answer({"code": code, "msg": "no"}, 400)]

    with pytest.raises(VenueUnavailable) as caught:
        await gateway.fetch(endpoints.POSITIONS)

    assert len(str(caught.value)) < 80


async def test_keys_without_their_names_are_not_told(gateway, scripted):
    sent = []

    async def answer(request):
        sent.append(re.search(r"signature=(\w+)", request.url.query_string)[1])
        return web.json_response({"code": -1100, "msg": f"illegal {sent[0]} of {'k3y' * 21} for autoclose-1795346298000123"}, status=400)

    scripted.answers = [answer]
    with pytest.raises(RequestRefused) as caught:
        await gateway.fetch(endpoints.ORDER, **QUERY)

    assert len(sent[0]) == 64
    assert str(caught.value) == "the exchange refused: -1100 illegal *** of *** for autoclose-1795346298000123"


async def test_secrets_of_the_address_are_not_told(scripted, clock):
    password = "pass-word-1"
    gateway = Gateway(scripted.url.replace("//", f"//operator:{password}@"), Credentials(KEY, SECRET), clock)
    sent = b64encode(f"operator:{password}".encode()).decode()
    scripted.answers = [json_answer({"code": -1100, "msg": f"operator {password} {sent}"}, 400)]
    try:
        with pytest.raises(RequestRefused, match=r"-1100 \*\*\* \*\*\* \*\*\*$"):
            await gateway.fetch(endpoints.POSITIONS)
    finally:
        await gateway.close()


async def test_cookies_are_not_kept(scripted, clock):
    cookies = []

    async def answer(request):
        cookies.append(request.headers.get("Cookie"))
        return web.json_response([], headers={"Set-Cookie": "heavy=load; Path=/"})

    scripted.answers = [answer]
    # Cookies of addresses are not kept in any case.
    gateway = Gateway(scripted.url.replace("127.0.0.1", "localhost"), Credentials(KEY, SECRET), clock)
    await gateway.fetch(endpoints.POSITIONS)
    await gateway.fetch(endpoints.POSITIONS)
    await gateway.close()

    assert cookies == [None, None]


async def test_reply_of_many_parts_is_refused_at_once(gateway, scripted):
    scripted.answers = [text_answer("[" + "[]," * 3_000_000 + "0]", content_type="application/json")]

    with hurried(), pytest.raises(VenueUnavailable, match="ClientPayloadError"):
        await gateway.fetch(endpoints.POSITIONS)
