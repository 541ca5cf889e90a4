"""How the lines of a check are told."""

from __future__ import annotations

import json

import pytest

from dehedge.check.report import Line, Report, Status, build_failure, build_pass, build_warning
from dehedge.logs import Redactor


def test_report_tells_each_line_at_once_and_counts_them(capsys: pytest.CaptureFixture[str]):
    report = Report(use_json=False)
    report.add(build_pass("a", "fine"), build_warning("b", "odd"), build_failure("c", "two\nlines", "mend it"))
    told = capsys.readouterr().out
    report.finish()

    assert told.splitlines() == ["pass  a: fine", "warn  b: odd", "fail  c: two lines; mend it"]
    assert capsys.readouterr().out == "1 passed, 1 warning, 1 failed\n"
    assert not report.is_passed


def test_report_for_programs_is_one_document(capsys: pytest.CaptureFixture[str]):
    report = Report(use_json=True)
    report.add(build_pass("a", "fine"), Line(Status.WARN, "b", "odd", "look", 1.5))
    assert capsys.readouterr().out == ""
    report.finish()

    assert json.loads(capsys.readouterr().out) == [
        {"name": "a", "status": "pass", "detail": "fine", "remedy": "", "seconds": 0.0},
        {"name": "b", "status": "warn", "detail": "odd", "remedy": "look", "seconds": 1.5},
    ]
    assert report.is_passed


@pytest.mark.parametrize("use_json", [True, False])
def test_report_shows_no_secret(capsys: pytest.CaptureFixture[str], use_json: bool):
    report = Report(use_json, Redactor(["the-secret"]))
    report.add(build_failure("a", "GET https://h/the-secret failed"))
    report.finish()

    assert "the-secret" not in capsys.readouterr().out


def test_report_keeps_its_order_when_lines_come_in_another(capsys: pytest.CaptureFixture[str]):
    report = Report(use_json=False)
    first, second, third = (report.reserve() for _ in range(3))

    report.fill(third, [build_pass("c", "last")])
    report.fill(second, [])
    assert capsys.readouterr().out == ""
    report.fill(first, [build_pass("a", "one"), build_pass("b", "two")])

    assert capsys.readouterr().out.splitlines() == ["pass  a: one", "pass  b: two", "pass  c: last"]
