"""The exchange's clock: the quickest sample counts, and requests are dated a little into the past."""

from __future__ import annotations

import asyncio

import pytest

from dehedge.connectors.binance.clock import SAFETY_S, SAMPLES, ExchangeClock, Sample, choose_offset
from dehedge.connectors.binance.failures import Verdict
from dehedge.connectors.binance.repeats import BUDGET_S, Repeats
from dehedge.errors import VenueUnavailable


class Wire:
    """An exchange whose clock is ahead by ``ahead_s``, and whose answers take as long as listed."""

    def __init__(self, ahead_s: float, delays_s: list[tuple[float, float]]) -> None:
        self.now_s = 1000.0
        self.ahead_s = ahead_s
        self.delays_s = delays_s
        self.asked = 0

    def time(self) -> float:
        return self.now_s

    async def fetch_time(self) -> float:
        there_s, back_s = self.delays_s[self.asked % len(self.delays_s)]
        self.asked += 1
        self.now_s += there_s
        answer = self.now_s + self.ahead_s
        await asyncio.sleep(0)
        self.now_s += back_s
        return answer


@pytest.mark.parametrize("ahead_s", [0.0, 7.25, -1.5])
async def test_clock_takes_the_quickest_sample(ahead_s):
    wire = Wire(ahead_s, [(0.4, 0.0), (0.001, 0.001), (0.0, 0.9), (0.1, 0.3), (0.2, 0.1)])
    clock = ExchangeClock(wire)

    await clock.synchronize(wire.fetch_time)

    assert clock.offset_s == pytest.approx(ahead_s, abs=0.001)
    assert clock.time() == pytest.approx(wire.now_s + ahead_s, abs=0.001)
    assert wire.asked == SAMPLES


async def test_requests_are_dated_into_the_past():
    wire = Wire(3.0, [(0.001, 0.001)])
    clock = ExchangeClock(wire)
    await clock.synchronize(wire.fetch_time)

    assert clock.get_timestamp() == pytest.approx(wire.now_s + 3.0 - SAFETY_S, abs=0.001)


async def test_concurrent_synchronizations_ask_once():
    wire = Wire(1.0, [(0.001, 0.001)])
    clock = ExchangeClock(wire)

    await asyncio.gather(*(clock.synchronize(wire.fetch_time) for _ in range(10)))
    assert wire.asked == SAMPLES
    await clock.synchronize(wire.fetch_time)

    assert wire.asked == 2 * SAMPLES


async def test_clock_keeps_what_it_has_when_samples_fail_later():
    wire = Wire(2.0, [(0.001, 0.001)])
    clock = ExchangeClock(wire)

    async def fetch_once() -> float:
        if wire.asked:
            raise VenueUnavailable("down")
        return await wire.fetch_time()

    await clock.synchronize(fetch_once)

    assert clock.offset_s == pytest.approx(2.0, abs=0.01)


async def test_synchronization_fails_when_the_first_sample_does():
    clock = ExchangeClock(Wire(2.0, []))

    async def fail() -> float:
        raise VenueUnavailable("down")

    with pytest.raises(VenueUnavailable):
        await clock.synchronize(fail)
    assert clock.offset_s == 0.0


def test_sample_is_left_out_when_our_clock_was_set_back_during_it():
    samples = [Sample(1000.0, 1005.0, 990.0), Sample(1000.0, 1002.0, 1000.2)]

    assert choose_offset(samples) == pytest.approx(1.9)


@pytest.mark.parametrize("verdict", [Verdict.REFUSED, Verdict.PAUSED, Verdict.FORBIDDEN, Verdict.BUSY])
def test_read_is_not_repeated_when_it_was_answered(verdict):
    assert Repeats(0.0, [0.2, 0.5]).next_delay_s(verdict, 0.1) is None


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.NOT_EXECUTED])
def test_read_is_repeated_a_bounded_number_of_times(verdict):
    repeats = Repeats(0.0, [0.2, 0.5])

    delays = [repeats.next_delay_s(verdict, 0.1) for _ in range(3)]

    assert all(delay is not None and delay > 0 for delay in delays[:-1])
    assert delays[-1] is None


def test_read_is_not_repeated_when_it_took_too_long():
    assert Repeats(0.0, [0.2, 0.5]).next_delay_s(Verdict.UNKNOWN, BUDGET_S + 0.1) is None


def test_read_is_repeated_once_after_the_clock_was_set():
    repeats = Repeats(0.0, [0.2, 0.5])

    assert repeats.next_delay_s(Verdict.CLOCK, 0.1) == 0.0
    assert repeats.next_delay_s(Verdict.CLOCK, 0.1) is None
