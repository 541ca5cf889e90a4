"""How long a refused hedge is left alone."""

from __future__ import annotations

import asyncio

import pytest

from dehedge.backoff import Backoff
from dehedge.core.model import HedgeKey
from dehedge.core.orders import Action

pytestmark = pytest.mark.looptime

KEYS = [HedgeKey("BTC-USD", f"{number}|b") for number in range(8)]
KEY = KEYS[0]


async def measure_delays(action: Action, times: int, **more: float) -> list[float]:
    backoff, loop = Backoff(), asyncio.get_running_loop()
    delays = []
    for _ in range(times):
        backoff.fail([KEY], action, **more)
        failed_at = loop.time()
        while KEY in backoff.get_waiting(action):  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        delays.append(round(loop.time() - failed_at, 3))
    return delays


async def test_backoff_grows_to_half_a_minute_when_an_open_keeps_failing():
    assert await measure_delays(Action.INCREASE, 7) == [1, 2, 4, 8, 16, 30, 30]


async def test_backoff_holds_a_close_for_five_seconds_at_most_and_twenty_when_it_was_refused_for_a_minute():
    assert await measure_delays(Action.REDUCE, 14) == [1, 2, 4] + [5] * 9 + [20] * 2


async def test_backoff_waits_at_least_as_long_as_the_exchange_asks():
    assert await measure_delays(Action.REDUCE, 2, at_least_s=12.5) == [12.5, 12.5]


async def test_backoff_of_an_open_does_not_hold_the_close():
    backoff = Backoff()

    backoff.fail([KEY], Action.INCREASE)

    assert backoff.get_waiting(Action.INCREASE) == {KEY}
    assert backoff.get_waiting(Action.REDUCE) == set()


async def test_backoff_begins_anew_when_an_order_was_filled():
    backoff = Backoff()
    for _ in range(5):
        backoff.fail([KEY], Action.INCREASE)
    backoff.clear("BTCUSDT", KEYS, Action.INCREASE)
    assert backoff.get_waiting(Action.INCREASE) == set()

    backoff.fail([KEY], Action.INCREASE)
    await asyncio.sleep(1)

    assert backoff.get_waiting(Action.INCREASE) == set()


async def test_backoff_halves_what_was_too_much_and_probes_once_a_single_hedge_is():
    backoff = Backoff()
    sizes = []
    keys = KEYS
    while len(keys) > 1:
        backoff.refuse_size("BTCUSDT", keys)
        sizes.append(backoff.group_max[KEY])
        keys = keys[: backoff.group_max[KEY]]
    assert sizes == [4, 2, 1]
    assert backoff.get_exhausted() == {}

    backoff.refuse_size("BTCUSDT", [KEY])
    assert backoff.get_exhausted() == {"BTCUSDT": False}
    await asyncio.sleep(1)
    assert backoff.get_exhausted() == {"BTCUSDT": True}

    backoff.clear("BTCUSDT", [KEY], Action.INCREASE)
    assert backoff.get_exhausted() == {}
    assert KEY not in backoff.group_max
