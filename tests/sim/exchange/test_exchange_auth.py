"""Keys, signatures and the time window, through the API without a server."""

import random

import pytest
from exchange_builders import START_S, FrozenClock, a_ledger

from dehedge.sim.exchange import Api, LimitSettings
from dehedge.sim.exchange.auth import ApiKey, ApiRequest, ListenKeys, sign
from dehedge.sim.exchange.calls import Treatment, Venue
from dehedge.sim.exchange.limits import Limits

NOW_MS = int(START_S * 1000)
ORDER = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01"


@pytest.fixture
def api() -> Api:
    clock = FrozenClock()
    venue = Venue(a_ledger(), Limits(LimitSettings()), {"key": ApiKey("secret")}, ListenKeys(random.Random(1)))
    return Api(venue, lambda: int(clock() * 1000))


def a_request(query: str = "", body: str = "", *, method: str = "POST", api_key: str | None = "key") -> ApiRequest:
    """A signed order, or whatever the method means, with the signature at the end of the body, or of the query."""
    signature = sign("secret", query + body)
    if body:
        return ApiRequest(method, "/fapi/v1/order", query, f"{body}&signature={signature}", api_key)
    return ApiRequest(method, "/fapi/v1/order", f"{query}&signature={signature}", "", api_key)


def timed(payload: str, *, sent_ms: int = NOW_MS, window_ms: int = 5000) -> str:
    return f"{payload}&timestamp={sent_ms}&recvWindow={window_ms}"


def test_order_is_accepted_when_signed_in_body_query_or_both(api):
    assert api.handle(a_request(body=timed(ORDER))).status == 200
    assert api.handle(a_request(query=timed(ORDER))).status == 200
    assert api.handle(a_request(query="symbol=BTCUSDT", body=timed("side=BUY&type=MARKET&quantity=0.01"))).status == 200


@pytest.mark.parametrize(
    ("api_key", "status", "code"), [(None, 401, -2014), ("", 401, -2014), ("stranger", 401, -2015)]
)
def test_order_is_refused_when_the_key_is_missing_or_unknown(api, api_key, status, code):
    reply = api.handle(a_request(body=timed(ORDER), api_key=api_key))

    assert (reply.status, reply.code) == (status, code)


def test_order_is_refused_when_the_key_may_not_trade_or_is_locked(api):
    api.venue.keys["key"] = ApiKey("secret", trades=False)
    assert api.handle(a_request(body=timed(ORDER))).code == -2015

    api.venue.keys["key"] = ApiKey("secret", locked=True)
    assert api.handle(a_request(body=timed(ORDER))).code == -2017


def test_order_is_refused_when_the_signature_covers_other_bytes(api):
    signature = sign("secret", timed(f"{ORDER}&newClientOrderId=a:b"))
    sent = timed(f"{ORDER}&newClientOrderId=a%3Ab")

    reply = api.handle(ApiRequest("POST", "/fapi/v1/order", "", f"{sent}&signature={signature}", "key"))

    assert (reply.status, reply.code) == (400, -1022)


@pytest.mark.parametrize("name", ["timestamp", "signature"])
def test_order_is_refused_when_unsigned(api, name):
    body = timed(ORDER) if name == "signature" else ORDER
    request = ApiRequest("POST", "/fapi/v1/order", "", body, "key")

    assert api.handle(request).code == -1102


@pytest.mark.parametrize(
    ("sent_ms", "accepted"),
    [(NOW_MS + 999, True), (NOW_MS + 1000, False), (NOW_MS - 5000, True), (NOW_MS - 5001, False)],
)
def test_timestamp_is_checked_on_both_sides(api, sent_ms, accepted):
    reply = api.handle(a_request(body=timed(ORDER, sent_ms=sent_ms)))

    assert reply.code == (0 if accepted else -1021)


def test_window_may_not_be_longer_than_a_minute(api):
    assert api.handle(a_request(body=timed(ORDER, window_ms=60_001))).code == -1130


def test_window_is_checked_again_when_the_request_was_held_up(api):
    late = a_request(body=timed(ORDER, sent_ms=NOW_MS - 6000))

    reply = api.handle(late, Treatment(arrived_ms=NOW_MS - 5000))

    assert (reply.status, reply.code) == (400, -5028)
    assert api.venue.ledger.fills == []


def test_public_and_key_only_endpoints_need_no_signature(api):
    assert api.handle(ApiRequest("GET", "/fapi/v1/time")).status == 200
    assert api.handle(ApiRequest("POST", "/fapi/v1/listenKey", api_key="key")).status == 200
    assert api.handle(ApiRequest("POST", "/fapi/v1/listenKey")).code == -2014


def test_unknown_path_is_named_in_the_refusal(api):
    reply = api.handle(ApiRequest("PATCH", "/fapi/v1/order"))

    assert (reply.status, reply.code, "PATCH" in reply.body) == (404, -5000, True)


def test_requests_are_written_down_without_secrets(api):
    api.handle(a_request(body=timed(ORDER)))

    (record,) = api.record.select("POST", "/order")
    assert (record.status, record.code, record.params["quantity"]) == (200, 0, "0.01")
    assert "signature" not in record.params


def test_listen_key_lives_an_hour_and_is_extended():
    keys = ListenKeys(random.Random(1))
    first = keys.obtain(NOW_MS)

    assert keys.obtain(NOW_MS + 1000) == first
    assert keys.extend(NOW_MS + 3_600_999) == first
    assert keys.obtain(NOW_MS + 2 * 3_600_999) != first
    assert keys.take_ended() == [(first, True)]
