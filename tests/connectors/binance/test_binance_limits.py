"""The limits: fixed windows by the exchange's clock, headers believed, a reserve for reduces."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.connectors.binance.limits import LAG_S, ORDERS, WEIGHT, Limits
from dehedge.connectors.binance.payloads import RateLimit
from dehedge.errors import RateLimited
from dehedge.ports import LimitUse, Traffic

START_S = 1_795_346_400.0
"""The beginning of a minute."""


class SettableClock:
    now_s = START_S

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return SettableClock()


@pytest.fixture
def limits(clock):
    return Limits(clock, monotonic=clock.time)


def send_orders(limits, count):
    for _ in range(count):
        limits.admit(weight=0, orders=1)


def test_orders_are_admitted_up_to_the_window_limit(limits):
    send_orders(limits, 300)

    with pytest.raises(RateLimited) as caught:
        send_orders(limits, 1)
    assert caught.value.retry_after_s == 10.0 + LAG_S


def test_orders_are_admitted_again_once_no_window_can_hold_them_all(limits, clock):
    """What was sent at the end of a window may arrive in the next."""
    clock.now_s = START_S + 9.9
    send_orders(limits, 299)
    clock.now_s += 1
    send_orders(limits, 1)

    clock.now_s = START_S + 9.8 + 10 + LAG_S
    with pytest.raises(RateLimited) as caught:
        send_orders(limits, 1)
    clock.now_s += caught.value.retry_after_s

    send_orders(limits, 299)
    with pytest.raises(RateLimited):
        send_orders(limits, 1)


def test_orders_are_held_back_when_the_wall_clock_leaps(limits, clock):
    still = Limits(clock, monotonic=lambda: 0.0)
    send_orders(still, 300)

    clock.now_s += 3600

    with pytest.raises(RateLimited):
        send_orders(still, 1)


def test_steady_stream_of_orders_is_forgotten_bit_by_bit(limits, clock):
    """Sixteen orders a second are 240 in the 15 s for which one may still count."""
    for _ in range(600):
        send_orders(limits, 1)
        clock.now_s += 0.0625

    assert limits.get_used(ORDERS, "10S") <= 241


def test_orders_of_one_moment_are_forgotten_with_the_last_of_them(limits, clock):
    send_orders(limits, 299)
    clock.now_s += 0.09
    send_orders(limits, 1)
    clock.now_s = START_S + 10 + LAG_S

    with pytest.raises(RateLimited) as caught:
        send_orders(limits, 1)
    assert caught.value.retry_after_s == pytest.approx(0.09)


def test_minute_limit_holds_across_short_windows(limits, clock):
    for burst in range(4):
        clock.now_s = START_S + 15 * burst
        send_orders(limits, 300)
    clock.now_s = START_S + 60

    with pytest.raises(RateLimited) as caught:
        send_orders(limits, 1)
    assert caught.value.retry_after_s == LAG_S
    clock.now_s += LAG_S
    send_orders(limits, 300)


def test_weight_limit_holds_within_any_minute(limits, clock):
    clock.now_s = START_S + 59
    limits.admit(weight=2160, orders=0)
    clock.now_s = START_S + 61

    with pytest.raises(RateLimited):
        limits.admit(weight=1, orders=0)
    clock.now_s = START_S + 59 + 60 + LAG_S
    limits.admit(weight=1, orders=0)


moments = st.tuples(
    st.sampled_from((0.0, 0.03, 0.06, 0.09)) | st.floats(0, 12), st.integers(1, 6), st.floats(0, LAG_S, exclude_max=True), st.sampled_from((0.0, 0.0, -30.0, 90.0))
)
"""A wait, an attempt at so many orders, how long each of them is on its way, and a leap of the wall clock."""


@given(st.lists(moments, max_size=40))
def test_exchange_counts_no_more_than_its_limit_wherever_its_windows_begin_and_however_late_orders_arrive(walk):
    clock, monotonic = SettableClock(), SettableClock()
    limits = Limits(clock, monotonic=monotonic.time)
    limits.set_limits([RateLimit(ORDERS, 10, 5, "10S"), RateLimit(ORDERS, 60, 12, "1M")])
    arrived: list[float] = []
    for wait_s, orders, way_s, leap_s in walk:
        clock.now_s += wait_s + leap_s
        monotonic.now_s += wait_s
        for _ in range(orders):
            with contextlib.suppress(RateLimited):
                limits.admit(weight=0, orders=1)
                arrived.append(monotonic.now_s + way_s)

    for interval_s, limit in ((10, 5), (60, 12)):
        for first in arrived:
            assert sum(first <= at < first + interval_s for at in arrived) <= limit


def test_refused_order_is_not_counted(limits, clock):
    send_orders(limits, 300)
    for _ in range(5):
        with pytest.raises(RateLimited):
            limits.admit(weight=0, orders=1)

    assert limits.get_used(ORDERS, "10S") == 300


def test_reserve_is_kept_for_reduces(limits):
    send_orders(limits, 200)

    assert limits.check_orders(40, is_reduce=False)
    assert not limits.check_orders(41, is_reduce=False)
    assert limits.check_orders(100, is_reduce=True)
    assert not limits.check_orders(101, is_reduce=True)


def test_reserve_covers_the_minute_window_too(limits, clock):
    for burst in range(3):
        clock.now_s = START_S + 15 * burst
        send_orders(limits, 300)
    clock.now_s = START_S + 45

    assert limits.check_orders(60, is_reduce=False)
    assert not limits.check_orders(61, is_reduce=False)


def test_header_is_believed_when_it_is_above_our_count(limits):
    send_orders(limits, 1)

    limits.apply_headers({"X-MBX-ORDER-COUNT-10S": "290", "X-MBX-ORDER-COUNT-1M": "290"}, START_S)

    assert not limits.check_orders(1, is_reduce=False)
    assert limits.check_orders(10, is_reduce=True)
    assert not limits.check_orders(11, is_reduce=True)


def test_header_is_not_believed_when_it_is_below_our_count(limits):
    send_orders(limits, 100)

    limits.apply_headers({"X-MBX-ORDER-COUNT-10S": "3"}, START_S)

    assert limits.get_used(ORDERS, "10S") == 100


def test_header_is_ignored_when_it_may_tell_of_the_window_before(limits, clock):
    clock.now_s = START_S + 10.1

    limits.apply_headers({"X-MBX-ORDER-COUNT-10S": "300", "X-MBX-ORDER-COUNT-1M": "300"}, START_S + 9.9)

    assert limits.get_used(ORDERS, "10S") == 0
    assert limits.get_used(ORDERS, "1M") == 300


@pytest.mark.parametrize("value", ["", "many", "-1", "²", "9" * 10, "9" * 5_000])
def test_header_is_ignored_when_it_is_no_number(limits, value):
    limits.apply_headers({"X-MBX-USED-WEIGHT-1M": value}, START_S)

    assert limits.get_used(WEIGHT, "1M") == 0


def test_reads_leave_weight_for_writes(limits):
    limits.apply_headers({"X-MBX-USED-WEIGHT-1M": "2158"}, START_S)

    limits.admit(weight=2, orders=0)
    with pytest.raises(RateLimited, match="2400"):
        limits.admit(weight=5, orders=0)
    limits.admit(weight=0, orders=1)


def test_nothing_is_admitted_while_paused(limits, clock):
    limits.pause(30.0, "429")

    with pytest.raises(RateLimited) as caught:
        limits.admit(weight=1, orders=0)
    assert caught.value.retry_after_s == 30.0
    assert not limits.check_orders(1, is_reduce=True)
    clock.now_s += 30.0
    limits.admit(weight=1, orders=0)


def test_longer_pause_stays_when_a_shorter_one_comes(limits, clock):
    limits.pause(120.0, "418")
    limits.pause(5.0, "429")
    clock.now_s += 60.0

    with pytest.raises(RateLimited):
        limits.admit(weight=1, orders=0)


def test_order_pause_lets_reads_through(limits, clock):
    clock.now_s = START_S + 4.0

    assert limits.pause_orders("-1015") == 6.0
    limits.admit(weight=1, orders=0)
    with pytest.raises(RateLimited):
        limits.admit(weight=0, orders=1)
    clock.now_s = START_S + 10.0
    limits.admit(weight=0, orders=1)


def test_order_pause_lasts_the_minute_when_the_short_one_did_not_help(limits, clock):
    clock.now_s = START_S + 4.0
    limits.pause_orders("-1015")
    clock.now_s = START_S + 12.0

    assert limits.pause_orders("-1015") == 48.0


def test_limit_that_is_new_to_us_counts_what_was_sent_before(limits):
    send_orders(limits, 50)

    limits.set_limits([RateLimit(ORDERS, 30, 60, "30S")])

    assert limits.check_orders(10, is_reduce=True)
    assert not limits.check_orders(11, is_reduce=True)


def test_limits_of_the_exchange_replace_the_defaults_and_keep_the_count(limits):
    send_orders(limits, 50)

    limits.set_limits([RateLimit(ORDERS, 10, 60, "10S"), RateLimit("RAW_REQUESTS", 300, 1, "5M")])

    assert limits.check_orders(10, is_reduce=True)
    assert not limits.check_orders(11, is_reduce=True)
    limits.admit(weight=5, orders=0)
    assert limits.get_used(WEIGHT, "1M") == 5


def test_traffic_tells_what_is_used_of_every_limit_and_how_long_a_pause_lasts(limits, clock):
    send_orders(limits, 7)
    limits.admit(weight=40, orders=0)

    assert limits.get_traffic() == Traffic(
        (LimitUse("request_weight", "1M", 40, 2400), LimitUse("orders", "10S", 7, 300), LimitUse("orders", "1M", 7, 1200))
    )
    limits.pause(30, "told")
    clock.now_s += 10
    assert limits.get_traffic().pause_s == 20
    clock.now_s += 60
    assert limits.get_traffic().pause_s == 0
