"""Klines in every form that the archive and its readers have give the same bars; what is wrong is told by its line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.errors import ConfigError
from dehedge.replay.klines import find_gaps, read_klines
from dehedge.replay.model import Bars
from tests.replay.kit import HEADER, ROWS, START_S, write_klines


def check_same(one: Bars, other: Bars) -> None:
    assert one.step_s == other.step_s
    for name in ("start_s", "open", "high", "low", "close"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert np.allclose(one.quote_volume, other.quote_volume)


def test_bars_are_exact(tmp_path: Path):
    bars = read_klines("BTC-USD", [write_klines(tmp_path / "a.csv")])

    assert (bars.market, bars.step_s, bars.start_s.tolist()) == ("BTC-USD", 60, [START_S, START_S + 60, START_S + 120])
    assert bars.open.tolist() == [608_280_000_000, 598_520_000_000, 591_276_000_000]
    assert bars.low.tolist()[1] == 590_000_000_000
    assert bars.quote_volume[0] == pytest.approx(1234.697 * 5985.20)


@pytest.mark.parametrize(
    "form",
    [
        {"unit": 1}, {"unit": 1_000_000}, {"header": ""}, {"header": "", "unit": 1_000_000},
        {"header": "timestamp,Open,HIGH,low,close,Volume"}, {"header": '"open_time","open","high","low","close","volume"'},
    ],
)  # fmt: skip
def test_forms_of_a_file_give_the_same_bars(tmp_path: Path, form: dict[str, object]):
    plain = read_klines("M", [write_klines(tmp_path / "a.csv")])

    check_same(plain, read_klines("M", [write_klines(tmp_path / "b.csv", **form)]))


def test_archive_columns_zip_iso_times_and_other_orders_give_the_same_bars(tmp_path: Path):
    plain = write_klines(tmp_path / "a.csv")
    volumes = [float(row.split(",")[3]) * float(row.split(",")[4]) for row in ROWS]
    full = [f"{row},{(START_S + 60 * (n + 1)) * 1000 - 1},{volumes[n]:.10f},7,1,2,0" for n, row in enumerate(ROWS)]
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(write_klines(tmp_path / "inner.csv", full, header=""), "BTCUSDT-1m-2020-03.csv")
        archive.writestr("BTCUSDT-1m-2020-03.csv.CHECKSUM", "no bars")
    iso = tmp_path / "c.csv"
    iso.write_text(
        "close,datetime,low,high,open,volume\r\n"
        + "".join(
            f"{close},2020-03-12 11:{41 + n}:00+00:00,{low},{high},{opened},{volume}\r\n"
            for n, (opened, high, low, close, volume) in enumerate(row.split(",") for row in ROWS)
        )
    )

    for path in (tmp_path / "b.zip", iso):
        check_same(read_klines("M", [plain]), read_klines("M", [path]))


def test_files_are_joined_in_any_order_and_may_overlap(tmp_path: Path):
    late = write_klines(tmp_path / "late.csv", ROWS[1:], first_s=START_S + 60)
    early = write_klines(tmp_path / "early.csv", ROWS[:2])

    check_same(read_klines("M", [write_klines(tmp_path / "all.csv")]), read_klines("M", [late, early]))


def test_overlap_that_disagrees_is_refused_when_read(tmp_path: Path):
    one = write_klines(tmp_path / "one.csv")
    other = write_klines(tmp_path / "two.csv", [ROWS[1].replace("5912.76", "5912.77")], first_s=START_S + 60)

    with pytest.raises(ConfigError, match=r"two\.csv:2: 2020-03-12T11:42:00Z is another bar than in .*one\.csv:3"):
        read_klines("M", [one, other])


def test_gaps_are_told(tmp_path: Path):
    text = write_klines(tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "a.csv").write_text("\n".join([*text, f"{(START_S + 600) * 1000},1,1,1,1,1"]))

    bars = read_klines("M", [tmp_path / "a.csv"])

    assert find_gaps(bars) == [(START_S + 180, 420)]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["5,4,3,4,1"], r"a\.csv:2: wants 0 < low <= open and close <= high"),
        (["5,6,5.5,6,1"], r"a\.csv:2: wants 0 < low"),
        (["0,0,0,0,1"], r"a\.csv:2: wants 0 < low"),
        ([ROWS[0], "5,nan,3,4,1"], r"a\.csv:3: high is 'nan'"),
        ([ROWS[0], "5,-6,3,4,1"], r"a\.csv:3: high is '-6'"),
        ([ROWS[0], "5,1e3,3,4,1"], r"a\.csv:3: high is '1e3'"),
        ([ROWS[0], "5,6"], r"a\.csv:3: has 3 fields where the columns are 6"),
        ([ROWS[0], "oops,6,3,4,1"], r"a\.csv:3: open is 'oops'; give a decimal number above 0 and below 10000000$"),
        ([ROWS[0], '"6,082.80",6,3,4,1'], r"a\.csv:3: open is '6,082.80'; give a decimal number .* without thousands separators"),
        ([ROWS[0], "6,082.80,6,3,4,1"], r"a\.csv:3: has 7 fields where the columns are 6; give numbers without thousands separators"),
        ([ROWS[0], "5,6,3,4,-1"], r"a\.csv:3: volume is '-1'; give a decimal number of 0 or more, or nothing"),
        (["5,66666666,3,4,1"], r"a\.csv:2: high is '66666666'"),
        (["5,6,3,\u0664,1"], r"a\.csv:2: close is"),
    ],
)  # fmt: skip
def test_line_that_is_wrong_is_told_with_its_reason_when_read(tmp_path: Path, rows: list[str], reason: str):
    with pytest.raises(ConfigError, match=reason):
        read_klines("M", [write_klines(tmp_path / "a.csv", rows)])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no bars"), (HEADER, "has no bars"), ("a,b,c", "has none of the columns"), ("open_time,open\n1,2", "has no column high"),
        ("1584013260,1,1,1", "has no column close"), (f"{HEADER}\n\n1584013260,1,1,1,1,1\n1584013260,1,1,1,1,1", ":4: .* is not after"),
        (f"{HEADER}\n99999999999,1,1,1,1,1", ":2: open_time .* is not a time from 1970 to 2099"),
        (f"{HEADER}\n2020-13-01,1,1,1,1,1", ":2: open_time .* is not a time"),
        (f"{HEADER}\n60,1,1,1,1,1\n120,1,1,1,1,1\n190,1,1,1,1,1", "00:03:10Z does not begin on a step of 60 s"),
        (f"{HEADER}\n60,1,1,1,1,1\n120,1,1,1,1,1\n150,1,1,1,1,1\n240,1,1,1,1,1\n300,1,1,1,1,1", "00:02:30Z does not begin on a step of 60 s"),
        ("x" * 3_000, "has more than 2000 characters"), ("\udc80".encode("utf-8", "surrogateescape"), "is not UTF-8 text"),
    ],
)  # fmt: skip
def test_file_that_is_none_is_told_in_one_line_when_read(tmp_path: Path, text: str | bytes, reason: str):
    path = tmp_path / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(ConfigError, match=reason) as caught:
        read_klines("M", [path])

    assert str(path) in str(caught.value) or "step" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_of_different_steps_are_refused_when_read(tmp_path: Path):
    hours = tmp_path / "h.csv"
    hours.write_text(f"{HEADER}\n3600,1,1,1,1,1\n7200,1,1,1,1,1\n")

    with pytest.raises(ConfigError, match="bars of different length: .* has bars of 60 s, .* has bars of 3600 s"):
        read_klines("M", [write_klines(tmp_path / "a.csv"), hours])


def test_zip_that_is_none_or_holds_nothing_is_told_when_read(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("a.txt", "no bars")
    with zipfile.ZipFile(tmp_path / "cut.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", HEADER + "\n" + "1584013260,1,1,1,1,1\n" * 50)
    content = (tmp_path / "cut.zip").read_bytes()
    (tmp_path / "half.zip").write_bytes(content[: len(content) // 2])
    (tmp_path / "cut.zip").write_bytes(content[:50] + b"\xff" * 8 + content[58:])

    for name, reason in (("empty.zip", "has no .csv inside"), ("cut.zip", "cannot be read"), ("half.zip", "is not a whole ZIP file"), ("gone.zip", "is not a file")):
        with pytest.raises(ConfigError, match=reason):
            read_klines("M", [tmp_path / name])


prices = st.decimals(min_value="0.00000001", max_value="9999999", places=8, allow_nan=False)


@given(st.lists(st.tuples(prices, prices, prices, prices).map(sorted), min_size=1, max_size=20), st.sampled_from([1, 1_000, 1_000_000]))
def test_bars_come_back_to_the_last_decimal_when_written(tmp_path_factory: pytest.TempPathFactory, quads, unit: int):
    path = tmp_path_factory.mktemp("k") / "a.csv"
    rows = [f"{opened:f},{high:f},{low:f},{close:f},1" for low, opened, close, high in quads]

    bars = read_klines("M", [write_klines(path, rows, unit=unit)])

    expected = [tuple(int(price * 10**8) for price in (opened, high, low, close)) for low, opened, close, high in quads]
    assert list(zip(bars.open.tolist(), bars.high.tolist(), bars.low.tolist(), bars.close.tolist(), strict=True)) == expected
