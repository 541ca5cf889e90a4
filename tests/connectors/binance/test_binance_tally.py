"""The independent count of what really went out."""

from __future__ import annotations

import pytest

from dehedge.connectors.binance.endpoints import CANCEL, PLACE, POSITIONS
from dehedge.connectors.binance.limits import ORDERS, WEIGHT
from dehedge.connectors.binance.payloads import RateLimit
from dehedge.connectors.binance.tally import Tally
from dehedge.core.invariants import Breach, Law


class Told:
    """A tally on a clock that a test sets, and the breaches that it has told of."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.breaches: list[Breach] = []
        self.tally = Tally(self.breaches.append, monotonic=lambda: self.now_s)

    def send(self, count, endpoint=PLACE):
        for _ in range(count):
            self.tally.note_sent(endpoint, is_again=False)


@pytest.fixture
def told():
    return Told()


def test_orders_up_to_the_limit_break_nothing_wherever_the_windows_begin(told):
    told.send(150)
    told.now_s += 9.9
    told.send(150)
    told.now_s += 0.1
    told.send(150)

    assert told.breaches == []


def test_one_order_more_than_the_limit_within_ten_seconds_is_noticed(told):
    told.send(1)
    told.now_s += 9.9
    told.send(300)

    assert told.breaches == [(Law.RATE, "ORDERS 10S", "301 of 300 within 10 s")]


def test_one_order_more_than_the_limit_within_a_minute_is_noticed(told):
    for _ in range(4):
        told.send(300)
        told.now_s += 14
    told.send(1)

    assert told.breaches == [(Law.RATE, "ORDERS 1M", "1201 of 1200 within 60 s")]


def test_weight_above_the_limit_is_noticed(told):
    told.send(480, POSITIONS)
    assert told.breaches == []

    told.send(1, POSITIONS)

    assert told.breaches == [(Law.RATE, "REQUEST_WEIGHT 1M", "2405 of 2400 within 60 s")]


def test_order_weighs_nothing_where_the_weight_is_spent(told):
    told.send(481, POSITIONS)
    told.breaches.clear()

    told.send(1)

    assert told.breaches == []


def test_limits_that_the_exchange_tells_count_and_others_stay(told):
    told.tally.set_limits([RateLimit(WEIGHT, 60, 10, "1M"), RateLimit(ORDERS, 10, 0, "10S")])

    told.send(2, POSITIONS)
    assert told.breaches == []
    told.send(1, POSITIONS)
    told.send(300)

    assert told.breaches == [(Law.RATE, "REQUEST_WEIGHT 1M", "15 of 10 within 60 s")]


@pytest.mark.parametrize("status", [418, 429])
def test_request_before_the_exchange_wants_to_hear_of_us_is_noticed(told, status):
    told.tally.note_reply(status, 30.0)
    told.tally.note_reply(200, None)
    told.tally.note_reply(429, 1.0)
    told.now_s += 29.9
    told.send(1)
    told.now_s += 0.1
    told.send(1)

    assert told.breaches == [(Law.PAUSE, "futures_create_order", "0.1 s before the exchange wanted to hear of us again")]


def test_answer_that_asks_for_no_wait_sets_none(told):
    told.tally.note_reply(503, 30.0)
    told.tally.note_reply(429, None)
    told.send(1)

    assert told.breaches == []


def test_write_that_goes_out_again_is_noticed_and_a_read_is_not(told):
    told.tally.note_sent(POSITIONS, is_again=True)
    told.tally.note_sent(CANCEL, is_again=True)

    assert told.breaches == [(Law.ONCE, "futures_cancel_order", "the same request went out twice")]
