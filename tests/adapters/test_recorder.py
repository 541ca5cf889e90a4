"""The ring of recorded passes: bounded, readable at any moment, and never in anybody's way."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from structlog.testing import capture_logs
from tests.core.builders import BTC, NOW, RISKY, a_book, a_policy, a_position, a_venue, an_observation
from tests.core.test_hedging_properties import World, worlds

from dehedge.adapters import recorder
from dehedge.adapters.pass_rows import decode_pass, encode_decisions, encode_pass
from dehedge.adapters.recorder import (
    FILES,
    FILES_MAX,
    QUIET_INTERVAL_S,
    RETRY_S,
    WAITING_MAX,
    FileRecorder,
    Ring,
    list_files,
    read_lines,
)
from dehedge.core.decisions import Hold, Reason
from dehedge.core.hedging import plan
from dehedge.core.passes import PassView, freeze, run_again, view_pass
from dehedge.core.risk import RiskFactors
from dehedge.errors import DehedgeError
from dehedge.sim.world import wait_until


def a_view(taken_at: float = NOW) -> PassView:
    observation = an_observation(prices={BTC: RISKY}, positions=[a_position()], taken_at=taken_at)
    policy = replace(a_policy(), factors=RiskFactors(Fraction(1, 3), Fraction(2, 7), Fraction(2, 5), 10_000))
    decisions = plan(observation, a_book(), policy, a_venue())
    return view_pass(a_book(), observation, (policy, a_venue()), decisions)


async def wait_for_thread(keeper: FileRecorder) -> None:
    async def check() -> bool:
        return not keeper._waiting

    await wait_until(check, "the recorder's thread")


def read(folder: Path) -> list[float]:
    return [decode_pass(line).recorded.taken_at for line in read_lines(folder, 0.0)]


@settings(max_examples=40)
@given(worlds())
def test_line_holds_a_pass_without_loss(world: World):
    decisions = plan(world.observation, world.book, world.policy, world.venue)
    view = view_pass(world.book, world.observation, (world.policy, world.venue), decisions)
    row = decode_pass(encode_pass(view, decisions))

    assert row.recorded == freeze(view)
    assert row.decisions == encode_decisions(run_again(row.recorded)) == encode_decisions(decisions)
    assert row.held == []


def test_line_says_what_the_limits_held():
    view = a_view()
    held = Hold(view.decisions[0].key, Reason.FEE_LIMIT)

    assert decode_pass(encode_pass(view, [held])).held == encode_decisions([held])


@pytest.mark.parametrize("line", ["", "{}", "[]", '{"pass":{},"decisions":[],"held":[]}', "x" * 99])
def test_line_of_another_version_is_not_understood(line: str):
    with pytest.raises(DehedgeError, match="version that recorded it"):
        decode_pass(line)


def test_ring_is_readable_while_it_is_written_and_private(tmp_path: Path):
    folder = tmp_path / "ring"
    ring = Ring(folder, 1_000_000)
    for number in range(3):
        ring.write(a_view(NOW + number), ())
        assert read(folder) == [NOW + each for each in range(number + 1)]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in list_files(folder)} == {0o600}
    ring.close()

    again = Ring(folder, 1_000_000)
    again.write(a_view(NOW + 9), ())
    assert [path.stem for path in list_files(folder)] == ["00000001", "00000002"]
    assert read(folder) == [NOW, NOW + 1, NOW + 2, NOW + 9]


def test_ring_stays_within_its_size_and_forgets_the_oldest(tmp_path: Path):
    ring, size_max = Ring(tmp_path / "ring", 16_000), 16_000
    most = 0
    for number in range(400):
        ring.write(a_view(NOW + number), ())
        most = max(most, sum(path.stat().st_size for path in list_files(tmp_path / "ring")))

    found = read(tmp_path / "ring")
    assert size_max * (FILES - 2) // FILES < most < size_max + 2_000
    assert found[-1] == NOW + 399
    assert found == [NOW + number for number in range(400 - len(found), 400)]
    assert len(found) < 400


def test_ring_does_not_fill_its_folder_with_files_of_failed_tries(tmp_path: Path):
    for number in range(1, 2 * FILES_MAX):
        (tmp_path / f"{number:08d}.passes").touch()
    Ring(tmp_path, 1_000_000).write(a_view(), ())

    found = list_files(tmp_path)
    assert (len(found), found[-1].stem) == (FILES_MAX, f"{2 * FILES_MAX:08d}")
    assert read(tmp_path) == [NOW]


@pytest.mark.parametrize("damage", [lambda data: data[:-7], lambda data: data + b"\xff" * 50, lambda data: data[:200]])
def test_what_a_kill_left_behind_is_passed_over(tmp_path: Path, damage):
    ring = Ring(tmp_path, 1_000_000)
    for number in range(3):
        ring.write(a_view(NOW + number), ())
    (path,) = list_files(tmp_path)
    path.write_bytes(damage(path.read_bytes()))

    found = read(tmp_path)
    assert found == [NOW + number for number in range(len(found))]


@pytest.mark.looptime
async def test_recorder_wants_every_trade_and_little_else(tmp_path: Path):
    keeper = FileRecorder(tmp_path, 1_000_000)

    assert [keeper.check_wanted(is_trading=False) for _ in range(3)] == [True, False, False]
    assert [keeper.check_wanted(is_trading=True) for _ in range(3)] == [True] * 3
    await asyncio.sleep(QUIET_INTERVAL_S)
    assert keeper.check_wanted(is_trading=False)
    keeper.close()


@pytest.mark.looptime
async def test_recorder_stops_loudly_and_begins_anew_when_the_disk_was_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    keeper = FileRecorder(tmp_path, 1_000_000)
    write = os.write

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with capture_logs() as logs:
        keeper.note(a_view(NOW), ())
        await asyncio.sleep(1)
        monkeypatch.setattr(recorder.os, "write", fail)
        keeper.note(a_view(NOW + 1), ())
        await asyncio.sleep(1)
        assert not keeper.check_wanted(is_trading=True)
        monkeypatch.setattr(recorder.os, "write", write)
        await asyncio.sleep(RETRY_S)
        assert keeper.check_wanted(is_trading=True)
        keeper.note(a_view(NOW + 2), ())
        await asyncio.sleep(1)
    keeper.close()

    stopped = [log for log in logs if log["event"] == "recording_stopped"]
    assert len(stopped) == 1
    assert "No space left" in stopped[0]["error"]
    assert "RECORD_MAX_MB=0" in stopped[0]["remedy"]
    assert read(tmp_path) == [NOW, NOW + 2]


async def test_recorder_leaves_passes_out_when_the_disk_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    keeper = FileRecorder(tmp_path, 1_000_000)
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(keeper._ring, "write", lambda *_: asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(10))

    with capture_logs() as logs:
        for _ in range(WAITING_MAX + 5):
            keeper.note(a_view(), ())
        gate.set()
        await wait_for_thread(keeper)
    await asyncio.to_thread(keeper.close)

    assert [log["count"] for log in logs if log["event"] == "passes_not_recorded"] == [5]
