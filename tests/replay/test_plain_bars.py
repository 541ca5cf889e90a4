"""Lines that say how far a run is, by the clock: none of a quick one."""

from __future__ import annotations

import time

import pytest

from dehedge.replay.plain_bars import PlainBars


def wait_for_line(capsys: pytest.CaptureFixture[str], line: str) -> None:
    end_s = time.monotonic() + 10
    while line not in capsys.readouterr().err:
        assert time.monotonic() < end_s, line
        time.sleep(0.005)


def test_line_is_told_now_and_then_also_while_nothing_is_done(capsys: pytest.CaptureFixture[str]):
    with PlainBars(pace_s=0.01) as bars:
        task = bars.add_task("20 books", total=1.0)
        wait_for_line(capsys, "20 books: 0 % done\n")
        bars.update(task, completed=0.254)
        wait_for_line(capsys, "20 books: 25 % done\n")
        bars.update(bars.add_task("delta", total=4.0), completed=3.0)
        wait_for_line(capsys, "delta: 75 % done\n")
    capsys.readouterr()
    time.sleep(0.03)

    assert capsys.readouterr() == ("", "")


def test_quick_run_says_nothing(capsys: pytest.CaptureFixture[str]):
    with PlainBars() as bars:
        bars.update(bars.add_task("delta", total=1.0), completed=1.0)

    assert capsys.readouterr() == ("", "")
