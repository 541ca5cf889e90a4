"""A pause outlives the process that it was told to."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from dehedge.connectors.binance.pause_file import LONGEST_S, PauseFile


class SettableClock:
    now_s = 1_795_346_400.0

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return SettableClock()


def test_pause_is_found_again_until_it_is_over(tmp_path, clock):
    path = str(tmp_path / "j.db.pause")
    PauseFile(path, clock).keep(30.0)

    clock.now_s += 10
    assert PauseFile(path, clock).read_rest_s() == 20.0
    clock.now_s += 30
    assert PauseFile(path, clock).read_rest_s() <= 0
    assert [file.name for file in tmp_path.iterdir()] == ["j.db.pause"]


@pytest.mark.parametrize(("told_s", "rest_s"), [(30.0, 30.0), (30 * 86_400.0, LONGEST_S)])
def test_pause_lasts_no_longer_than_it_was_told_to_when_the_clock_was_set_back(tmp_path, clock, told_s, rest_s):
    path = str(tmp_path / "pause")
    PauseFile(path, clock).keep(told_s)

    clock.now_s -= 10 * 365 * 86_400

    assert PauseFile(path, clock).read_rest_s() == rest_s


@pytest.mark.parametrize("content", [b"", b"soon", b"\xff\xfe", b"5", b"1 nan", b"nan 1", b"1 -inf", b"1 2 3"])
def test_file_of_something_else_is_no_pause(tmp_path, clock, content):
    path = tmp_path / "pause"
    path.write_bytes(content)

    assert PauseFile(str(path), clock).read_rest_s() == 0.0


def test_nothing_is_kept_without_a_path_or_before_a_pause(tmp_path, clock):
    PauseFile("", clock).keep(30.0)

    assert PauseFile("", clock).read_rest_s() == 0.0
    with capture_logs() as logs:
        assert PauseFile(str(tmp_path / "none"), clock).read_rest_s() == 0.0
    assert logs == []


def test_pause_that_cannot_be_kept_is_told_and_no_error(tmp_path, clock):
    with capture_logs() as logs:
        PauseFile(str(tmp_path / "no" / "folder"), clock).keep(30.0)

    assert [entry["event"] for entry in logs] == ["pause_not_kept"]
