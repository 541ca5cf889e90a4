"""The door: signatures, clock, rate limits, headers, and what is written down."""

import pytest
from exchange_builders import a_client, market_order, refusal_of, set_client_clock


async def test_unknown_symbol_is_refused(client):
    refused = await refusal_of(client.futures_create_order(**{**market_order(), "symbol": "NOPEUSDT"}))

    assert (refused.status_code, refused.code, refused.message) == (400, -1121, "Invalid symbol.")


async def test_wrong_secret_and_wrong_key_are_refused(exchange, clock):
    for others, code, status in (({"secret": "wrong"}, -1022, 400), ({"key": "wrong"}, -2015, 401)):
        stranger = a_client(exchange, **others)
        set_client_clock(stranger, clock)
        refused = await refusal_of(stranger.futures_account())
        assert (refused.code, refused.status_code) == (code, status)
        await stranger.close_connection()


async def test_client_clock_is_refused_when_ahead_or_behind(client):
    client.timestamp_offset += 60_000
    assert (await refusal_of(client.futures_account())).code == -1021
    client.timestamp_offset -= 120_000
    assert (await refusal_of(client.futures_create_order(**market_order()))).code == -1021


async def test_client_id_with_a_colon_fails_the_signature(client):
    refused = await refusal_of(client.futures_create_order(**market_order(newClientOrderId="a:b")))

    assert refused.code == -1022


async def test_conditional_order_is_sent_elsewhere(client):
    order = {**market_order(), "type": "STOP_MARKET", "stopPrice": "50000"}

    refused = await refusal_of(client._request_futures_api("post", "order", True, data=order))

    assert refused.code == -4120


async def test_headers_count_weight_and_orders(client):
    await client.futures_account()
    assert client.response.headers["X-MBX-USED-WEIGHT-1M"] == "5"

    await client.futures_create_order(**market_order())
    headers = client.response.headers
    assert (headers["X-MBX-ORDER-COUNT-10S"], headers["X-MBX-ORDER-COUNT-1M"]) == ("1", "1")
    assert headers["X-MBX-USED-WEIGHT-1M"] == "5"

    refused = await refusal_of(client.futures_create_order(**market_order(quantity="0")))
    assert "X-MBX-ORDER-COUNT-10S" not in refused.response.headers
    assert "X-MBX-USED-WEIGHT-1M" in refused.response.headers


async def test_orders_are_refused_when_the_ten_seconds_are_full(client, exchange, clock):
    exchange.api.venue.limits.orders_10s.limit = 2
    for _ in range(2):
        await client.futures_create_order(**market_order())

    refused = await refusal_of(client.futures_create_order(**market_order()))

    assert (refused.status_code, refused.code, refused.response.headers["Retry-After"]) == (429, -1015, "5")
    assert len(exchange.orders) == 2


async def test_weight_is_refused_when_the_minute_is_full(client, exchange):
    exchange.api.venue.limits.get_caller("127.0.0.1").weight.limit = 60
    for _ in range(2):
        await client.futures_get_position_mode()

    refused = await refusal_of(client.futures_ping())

    assert (refused.status_code, refused.code, refused.response.headers["Retry-After"]) == (429, -1003, "35")


@pytest.mark.parametrize(
    ("quantity", "code"), [("0.0001", -1111), ("200", -4005), ("0.0005", -1111), ("1e-05", -1100), ("90", -2019)]
)
async def test_order_is_refused_over_the_wire_with_its_code(client, quantity, code):
    assert (await refusal_of(client.futures_create_order(**market_order(quantity=quantity)))).code == code


async def test_good_orders_are_written_down_beside_the_refused(client, exchange):
    await client.futures_create_order(**market_order())
    await refusal_of(client.futures_create_order(**market_order(quantity="0")))

    posted = exchange.api.record.select("POST", "/order")

    assert [(row.status, row.code) for row in posted] == [(200, 0), (400, -4003)]
    assert all("signature" not in row.params for row in exchange.requests)
