"""A daemon that crashes at once does not write each time."""

from __future__ import annotations

from pathlib import Path

from dehedge.adapters.notify.starts import HOUR_S, KEPT_MAX, check_worth_telling, note_start

NOW = 1_790_000_000.0


def test_starts_within_an_hour_are_counted_over_restarts(tmp_path: Path):
    path = tmp_path / "starts"

    assert [note_start(path, NOW + second) for second in range(5)] == [1, 2, 3, 4, 5]
    assert note_start(path, NOW + HOUR_S + 2) == 3
    assert note_start(path, NOW - 10) == 1, "starts of a time to come count for nothing"


def test_starts_are_told_less_and_less_often():
    assert [start for start in range(1, 1_201) if check_worth_telling(start)] == [
        1, 2, 3, 4, 8, 16, 32, 64, 128, 256, 512, 1_024,
    ]  # fmt: skip


def test_file_that_cannot_be_used_keeps_nothing_from_starting(tmp_path: Path):
    path = tmp_path / "starts"
    path.write_bytes(b"\xff\xfe no times")
    assert note_start(path, NOW) == 1
    assert note_start(path, NOW + 1) == 2
    assert note_start(tmp_path / "missing" / "starts", NOW) == 1
    path.write_text("".join(f"{NOW - 1}\n" for _ in range(KEPT_MAX * 2)))
    assert note_start(path, NOW) == KEPT_MAX + 1
