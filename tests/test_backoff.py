"""How long a refused hedge is left alone."""

from __future__ import annotations

from dehedge.backoff import Backoff
from dehedge.core.model import HedgeKey
from dehedge.core.orders import Action

KEY = HedgeKey("BTC-USD", "a|b")


def get_delays(action: Action, times: int, **more) -> list[float]:
    backoff = Backoff()
    delays = []
    for _ in range(times):
        backoff.fail([KEY], action, now=1_000.0, **more)
        delays.append(backoff.until[KEY] - 1_000.0)
    return delays


def test_backoff_grows_to_half_a_minute_when_an_open_keeps_failing():
    assert get_delays(Action.INCREASE, 8) == [1, 2, 4, 8, 16, 30, 30, 30]


def test_backoff_never_holds_a_close_for_more_than_five_seconds():
    assert get_delays(Action.REDUCE, 30)[2:] == [4] + [5] * 27


def test_backoff_waits_at_least_as_long_as_the_exchange_asks():
    assert get_delays(Action.REDUCE, 2, at_least_s=12.5) == [12.5, 12.5]


def test_backoff_begins_anew_when_an_order_was_filled():
    backoff = Backoff()
    for _ in range(5):
        backoff.fail([KEY], Action.INCREASE, now=0)
    backoff.clear([KEY, HedgeKey("ETH-USD", "a|b")])
    assert KEY not in backoff.until

    backoff.fail([KEY], Action.INCREASE, now=0)

    assert backoff.until[KEY] == 1
