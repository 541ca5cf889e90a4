"""Faults on the wire: what python-binance sees, and what was executed."""

import asyncio
from decimal import Decimal

import aiohttp
import pytest
from binance.exceptions import BinanceRequestException
from exchange_builders import DEADLINE_S, a_client, market_order, refusal_of, set_client_clock

from dehedge.sim.exchange import Executes, FaultRule, faults

POST_ORDER = {"method": "POST", "path": "/order"}


def arrange(exchange, fault, **others) -> None:
    exchange.faults.add(FaultRule(fault, **{**POST_ORDER, **others}))


async def place(client, **others):
    return await client.futures_create_order(**market_order(newClientOrderId="mine", **others))


@pytest.mark.parametrize(
    ("fault", "status", "code", "words", "executed"),
    [
        (faults.refused(-2019), 400, -2019, "Margin is insufficient.", False),
        (faults.refused(-4400), 400, -4400, "only reduceOnly order is allowed", False),
        (faults.refused(-4999, 403, "Something new."), 403, -4999, "Something new.", False),
        (faults.unknown_503(Executes.NOW), 503, None, "Unknown error, please check", True),
        (faults.unknown_503(Executes.NEVER), 503, None, "Unknown error, please check", False),
        (faults.unavailable_503(), 503, None, "Service Unavailable.", False),
        (faults.overloaded_503(), 503, -1008, "Request throttled by system-level protection", False),
        (faults.internal_503(), 503, -1001, "Internal error", False),
        (faults.internal_503(Executes.NOW), 503, -1001, "Internal error", True),
        (faults.timeout_408(Executes.NOW), 408, -1007, "Timeout waiting for response", True),
        (faults.timeout_408(Executes.NEVER), 408, -1007, "Timeout waiting for response", False),
        (faults.unexpected_response(Executes.NOW), 400, -1006, "unexpected response", True),
        (faults.stale_timestamp(), 400, -1021, "outside of the recvWindow", False),
        (faults.html_page(Executes.NOW), 502, 0, "Invalid JSON", True),
        (faults.html_page(Executes.NEVER, 403), 403, 0, "Invalid JSON", False),
    ],
)
async def test_answer_is_a_lie_and_execution_is_as_chosen(client, exchange, fault, status, code, words, executed):
    arrange(exchange, fault)

    refused = await refusal_of(place(client))

    assert (refused.status_code, refused.code) == (status, code)
    assert words in refused.message or code == 0
    assert exchange.net("BTCUSDT") == (Decimal("0.010") if executed else 0)
    assert exchange.faults.taken == [fault]
    assert (await place(client))["status"] == "NEW"


@pytest.mark.parametrize(("fault", "executed"), [(faults.reset_before(), False), (faults.reset_after(), True)])
async def test_connection_is_reset_before_or_after_execution(client, exchange, fault, executed):
    arrange(exchange, fault)

    with pytest.raises(aiohttp.ClientError):
        await place(client)

    assert bool(exchange.orders) == executed


@pytest.mark.parametrize(("fault", "executed"), [(faults.hang_before(), False), (faults.hang_after(), True)])
async def test_reply_never_comes_before_or_after_execution(client, exchange, fault, executed):
    arrange(exchange, fault)
    waiting = asyncio.create_task(place(client))

    async with asyncio.timeout(DEADLINE_S):
        await exchange.wait_until(lambda: bool(exchange.requests))

    assert not waiting.done()
    assert bool(exchange.orders) == executed
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


async def test_malformed_body_is_a_broken_success(client, exchange):
    arrange(exchange, faults.malformed_json())

    with pytest.raises(BinanceRequestException):
        await place(client)

    assert exchange.net("BTCUSDT") == Decimal("0.010")


async def test_empty_body_is_an_empty_success(client, exchange):
    arrange(exchange, faults.empty_body())

    assert await place(client) == {}
    assert exchange.net("BTCUSDT") == Decimal("0.010")


async def test_error_body_comes_under_a_status_of_success(client, exchange):
    arrange(exchange, faults.code_in_200(-1000))

    assert (await place(client))["code"] == -1000
    assert exchange.orders == []


async def test_page_comes_under_a_status_of_success(client, exchange):
    arrange(exchange, faults.html_page(Executes.NOW, 200))

    with pytest.raises(aiohttp.ContentTypeError):
        await place(client)


async def test_overload_lets_a_reduction_through(client, exchange):
    await place(client)
    arrange(exchange, faults.overloaded_503(), times=None)

    assert (await refusal_of(place(client))).code == -1008
    await place(client, side="SELL", reduceOnly="true")
    assert exchange.net("BTCUSDT") == 0


async def test_throttled_caller_is_banned_when_it_goes_on_and_let_in_when_the_ban_ends(client, exchange, clock):
    arrange(exchange, faults.throttled(30))
    refused = await refusal_of(place(client))
    assert (refused.status_code, refused.code, refused.response.headers["Retry-After"]) == (429, -1003, "30")

    statuses = [(await refusal_of(client.futures_ping())).status_code for _ in range(10)]
    assert statuses == [429] * 9 + [418]
    banned = await refusal_of(client.futures_ping())
    assert ("IP banned until" in banned.message, banned.response.headers["Retry-After"]) == (True, "120")
    clock.advance(120)
    assert await client.futures_ping() == {}
    assert exchange.orders == []


async def test_partial_fill_is_seen_in_reply_query_and_position(client, exchange):
    arrange(exchange, faults.partial_fill(Decimal("0.45")))

    placed = await place(client, newOrderRespType="RESULT")

    assert (placed["status"], placed["executedQty"], placed["origQty"]) == ("EXPIRED", "0.004", "0.010")
    assert exchange.net("BTCUSDT") == Decimal("0.004")


async def test_hidden_order_is_found_late(client, exchange, clock):
    arrange(exchange, faults.hidden_order(2.0))
    placed = await place(client, newOrderRespType="RESULT")
    assert placed["status"] == "FILLED"

    clock.advance(1.999)
    missing = await refusal_of(client.futures_get_order(symbol="BTCUSDT", origClientOrderId="mine"))
    assert missing.code == -2013
    assert await client.futures_get_all_orders(symbol="BTCUSDT") == []
    assert len(await client.futures_position_information()) == 1

    clock.advance(0.001)
    found = await client.futures_get_order(symbol="BTCUSDT", origClientOrderId="mine")
    assert found["orderId"] == placed["orderId"]


async def test_order_is_executed_after_its_answer(client, exchange):
    arrange(exchange, faults.executed_late(0.01, faults.unknown_503(Executes.NEVER)))

    assert (await refusal_of(place(client))).status_code == 503

    assert exchange.orders == []
    async with asyncio.timeout(DEADLINE_S):
        await exchange.wait_until(lambda: bool(exchange.orders))
    assert exchange.net("BTCUSDT") == Decimal("0.010")


async def test_late_order_is_not_executed_when_its_window_has_passed(client, exchange, clock):
    arrange(exchange, faults.executed_late(0.01, faults.timeout_408(Executes.NEVER)))
    assert (await refusal_of(place(client))).code == -1007

    clock.advance(30)

    async with asyncio.timeout(DEADLINE_S):
        await exchange.wait_until(lambda: bool(exchange.requests))
    assert [(row.code, row.fault) for row in exchange.requests] == [(-5028, "late_timeout_408")]
    assert exchange.orders == []


async def test_held_up_order_is_refused_when_its_window_has_passed(client, exchange, clock):
    arrange(exchange, faults.delayed(before_s=0.01))
    waiting = asyncio.create_task(place(client))
    async with asyncio.timeout(DEADLINE_S):
        await exchange.wait_until(lambda: bool(exchange.faults.taken))

    clock.advance(30)

    assert (await refusal_of(waiting)).code == -5028
    assert exchange.orders == []


async def test_delayed_order_is_executed_although_the_client_left(exchange, clock):
    arrange(exchange, faults.delayed(before_s=0.05))
    impatient = a_client(exchange)
    set_client_clock(impatient, clock)
    waiting = asyncio.create_task(place(impatient))
    async with asyncio.timeout(DEADLINE_S):
        await exchange.wait_until(lambda: bool(exchange.faults.taken))

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await impatient.close_connection()

    async with asyncio.timeout(DEADLINE_S):
        await exchange.wait_until(lambda: bool(exchange.orders))


async def test_fault_binds_to_the_second_order_of_a_symbol(client, exchange):
    arrange(exchange, faults.refused(-1001, 503), symbol="BTCUSDT", nth=2)

    await place(client)

    assert (await refusal_of(place(client))).code == -1001
    await place(client)
    assert len(exchange.orders) == 2


async def test_faulty_requests_are_written_down(client, exchange):
    arrange(exchange, faults.unknown_503(Executes.NOW))
    arrange(exchange, faults.unavailable_503(), nth=2)
    for _ in range(2):
        await refusal_of(place(client))

    assert [(row.status, row.code, row.fault) for row in exchange.requests] == [
        (200, 0, "unknown_503"),
        (0, 0, "unavailable_503"),
    ]


async def test_reads_may_fail_too(client, exchange):
    exchange.faults.add(FaultRule(faults.html_page(Executes.NEVER), method="GET", path="/positionRisk"))

    assert (await refusal_of(client.futures_position_information())).status_code == 502
    assert await client.futures_position_information() == []
