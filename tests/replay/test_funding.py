"""Funding rates in the archive's form and in simple ones are the same, exact and in order."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from dehedge.errors import ConfigError
from dehedge.replay.funding import read_funding

EXPECTED = [(1_701_388_800, Decimal("0.0001")), (1_701_417_600, Decimal("-0.00003"))]


@pytest.mark.parametrize(
    "text",
    [
        "calc_time,funding_interval_hours,last_funding_rate\n1701388800004,8,0.00010000\n1701417600000,8,-0.00003000\n",
        "1701388800000,8,0.0001\n1701417600000,8,-3e-05",
        "1701388800000,0.0001\n1701417600000,-0.00003\n",
        "open_time,funding_rate\n1701388800000,0.0001\n1701417600000,-3E-5\n",
        "time,rate\n2023-12-01,0.0001\n2023-12-01T08:00:00Z,-0.00003\n",
        "rate,time\n-0.00003,1701417600\n0.0001,1701388800\n",
    ],
)
def test_forms_of_a_file_give_the_same_rates(tmp_path: Path, text: str):
    (tmp_path / "f.csv").write_text(text)

    assert read_funding([tmp_path / "f.csv"] * 2) == EXPECTED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no rates"), ("time,price\n1,2", "has no column rate"), ("x,y", "has none of the columns"),
        ("time,rate\n1701388800,1", ":2: rate 1 is no share of the notional"), ("time,rate\n1701388800,nan", ":2: rate is 'nan'; give a decimal number such as 0.0001"),
        ("1701388800", ":1: has 1 field where the columns are 2"), ("time,rate\n1701388800", ":2: has 1 field where the columns are 2"), ("time,rate\n2023-99-01,0", ":2: time .* is not a time"),
        ("time,rate\n60,0.1\n\n60,0.01", r":4: 1970-01-01T00:01:00Z has another rate than in .*f\.csv:2"),
    ],
)  # fmt: skip
def test_line_that_is_wrong_is_told_with_its_reason_when_read(tmp_path: Path, text: str, reason: str):
    (tmp_path / "f.csv").write_text(text)

    with pytest.raises(ConfigError, match=reason):
        read_funding([tmp_path / "f.csv"])
