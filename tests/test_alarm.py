"""The reconciler's bell: rung once or often, it is one pass, and what rang it is remembered until then."""

from __future__ import annotations

import asyncio

import pytest

from dehedge.alarm import Alarm

pytestmark = pytest.mark.looptime


async def test_change_is_told_once_and_a_price_is_none():
    alarm = Alarm()
    assert [alarm.take(), alarm.take()] == [True, False]

    alarm.note_price()
    assert not alarm.take()
    alarm.note_change()
    alarm.note_price()
    assert [alarm.take(), alarm.take()] == [True, False]


@pytest.mark.parametrize("ring", [Alarm.note_price, Alarm.note_change])
async def test_wait_ends_at_once_when_it_rings_or_has_rung(ring):
    alarm, loop = Alarm(), asyncio.get_running_loop()
    began = loop.time()
    loop.call_later(0.25, ring, alarm)

    await alarm.wait(1.0)
    assert loop.time() - began == pytest.approx(0.25)
    await alarm.wait(1.0)
    assert loop.time() - began == pytest.approx(0.25)
    alarm.take()
    await alarm.wait(1.0)
    assert loop.time() - began == pytest.approx(1.25)
