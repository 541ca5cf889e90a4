"""Times and amounts as they are written in files, and what files are made of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.errors import ConfigError, DehedgeError
from dehedge.replay.sheets import check_writable, format_time, parse_time, read_sheets, scale, unscale, write_text


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "at_s"),
    [
        ("1584013260", 1_584_013_260), ("1584013260999", 1_584_013_260), ("1584013260999999", 1_584_013_260),
        ("1584013260.0", 1_584_013_260), ("2020-03-12", 1_583_971_200), ("2020-03-12 11:41:00", 1_584_013_260),
        ("2020-03-12T11:41:00Z", 1_584_013_260), ("2020-03-12T20:41:00.5+09:00", 1_584_013_260), ("0", 0),
    ],
)  # fmt: skip
def test_time_is_the_same_wherever_it_is_read(far_east: None, text: str, at_s: int):
    assert parse_time(text) == at_s
    assert parse_time(format_time(at_s)) == at_s


@pytest.mark.parametrize("text", ["", "-1", "4102444800", "99999999999999999", "2100-01-01", "1969-12-31", "noon", "1e9", "\u0661"])
def test_what_is_no_time_is_refused_when_read(text: str):
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text)


@given(st.integers(0, 2**256), st.integers(0, 18))
def test_amount_comes_back_when_written(amount: int, places: int):
    assert scale(unscale(amount, places), places) == amount


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfa,b\r\n\r\n 1,2\n\n3")

    (sheet,) = [(sheet.place, list(sheet.lines)) for sheet in read_sheets(tmp_path / "a.csv")]

    assert sheet == (str(tmp_path / "a.csv"), [(1, "a,b"), (3, " 1,2"), (5, "3")])


def test_file_stays_as_it_was_when_it_cannot_be_written_whole(tmp_path: Path):
    (tmp_path / "a.csv").write_text("before")
    (tmp_path / "a.csv.part").mkdir()

    with pytest.raises(DehedgeError, match=r"a\.csv: cannot be written: Is a directory"):
        write_text(tmp_path / "a.csv", "after")

    assert (tmp_path / "a.csv").read_text() == "before"


def test_place_that_can_be_written_is_left_as_it_was(tmp_path: Path):
    (tmp_path / "a.json").write_text("before")

    check_writable("--out", tmp_path / "a.json")
    check_writable("--out", tmp_path / "b.json")

    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize(("name", "reason"), [("", "Is a directory"), ("x" * 300, "File name too long"), ("no/a", "No such file or directory")])
def test_place_that_cannot_be_written_is_told_before(tmp_path: Path, name: str, reason: str):
    with pytest.raises(DehedgeError, match=f"^--out: .*: {reason}; give another place$") as caught:
        check_writable("--out", tmp_path / name)

    assert not isinstance(caught.value, ConfigError)
