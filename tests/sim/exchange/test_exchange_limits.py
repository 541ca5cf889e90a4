"""Rate limits: fixed windows, 429 with a wait, 418 for not waiting."""

import pytest

from dehedge.sim.exchange import LimitSettings, Refused
from dehedge.sim.exchange.limits import Limits

MINUTE_MS = 60_000
NOON_MS = 1_789_478_280_000 // MINUTE_MS * MINUTE_MS
HERE = "127.0.0.1"


def refusal_of(charge, *args) -> Refused:
    with pytest.raises(Refused) as caught:
        charge(*args)
    return caught.value


def test_weight_is_refused_with_the_rest_of_the_minute_when_used_up():
    limits = Limits(LimitSettings(weight_1m=100))
    limits.charge_weight(HERE, 100, NOON_MS)

    refused = refusal_of(limits.charge_weight, HERE, 1, NOON_MS + 45_000)

    assert (refused.status, refused.code, refused.retry_after_s) == (429, -1003, 15.0)
    assert limits.build_weight_header(HERE, NOON_MS + 45_000) == {"X-MBX-USED-WEIGHT-1M": "101"}


def test_weight_starts_anew_with_the_minute_of_the_clock():
    limits = Limits(LimitSettings(weight_1m=100))
    limits.charge_weight(HERE, 100, NOON_MS + 59_999)

    limits.charge_weight(HERE, 100, NOON_MS + 60_000)

    assert limits.build_weight_header(HERE, NOON_MS + 60_000) == {"X-MBX-USED-WEIGHT-1M": "100"}


def test_weight_is_counted_by_address():
    limits = Limits(LimitSettings(weight_1m=100))
    limits.charge_weight(HERE, 100, NOON_MS)

    limits.charge_weight("127.0.0.2", 100, NOON_MS)


def test_caller_is_banned_when_it_does_not_wait():
    limits = Limits(LimitSettings(strikes_max=3))
    limits.throttle(HERE, NOON_MS, 30)

    statuses = [refusal_of(limits.charge_weight, HERE, 1, NOON_MS + n).status for n in range(5)]

    assert statuses == [429, 429, 429, 418, 418]
    banned = refusal_of(limits.charge_weight, HERE, 1, NOON_MS + 31_000)
    assert (banned.status, banned.code, f"until {NOON_MS + 3 + 120_000}" in banned.msg) == (418, -1003, True)
    limits.charge_weight(HERE, 1, NOON_MS + 3 + 120_000)


def test_next_ban_lasts_twice_as_long():
    limits = Limits(LimitSettings(strikes_max=0))
    for start_ms, seconds in ((NOON_MS, 120.0), (NOON_MS + 200_000, 240.0)):
        limits.throttle(HERE, start_ms, 30)
        assert refusal_of(limits.charge_weight, HERE, 1, start_ms).retry_after_s == seconds


def test_caller_that_waits_is_let_in_again():
    limits = Limits(LimitSettings())
    limits.throttle(HERE, NOON_MS, 30)
    refusal_of(limits.charge_weight, HERE, 1, NOON_MS)

    limits.charge_weight(HERE, 1, NOON_MS + 30_000)


@pytest.mark.parametrize(
    ("settings", "wait_s", "words"),
    [
        (LimitSettings(orders_10s=5), 6.0, "5 orders per 10 SECOND"),
        (LimitSettings(orders_1m=5), 56.0, "5 orders per 1 MINUTE"),
    ],
)
def test_orders_are_refused_until_the_window_ends(settings, wait_s, words):
    limits = Limits(settings)
    for _ in range(5):
        limits.charge_orders(1, 1, NOON_MS + 4000)

    refused = refusal_of(limits.charge_orders, 1, 1, NOON_MS + 4000)

    assert (refused.code, refused.retry_after_s, words in refused.msg) == (-1015, wait_s, True)
    limits.charge_orders(1, 1, NOON_MS + 4000 + int(wait_s * 1000))


def test_batch_counts_five_in_ten_seconds_and_one_in_the_minute():
    limits = Limits(LimitSettings())
    limits.charge_orders(5, 1, NOON_MS)

    assert limits.build_order_headers(NOON_MS) == {"X-MBX-ORDER-COUNT-10S": "5", "X-MBX-ORDER-COUNT-1M": "1"}
