"""The audit of the dependencies: what it finds, and that it never takes silence for safety."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("dependency", "is_trusted"),
    [
        ({"vulns": [{"id": "PYSEC-2014-8", "fix_versions": []}]}, True),
        ({"vulns": []}, False),
        ({"skip_reason": "not on the index"}, False),
    ],
    ids=["tells", "knows no advisories", "knows nothing"],
)
def test_service_is_doubted_when_it_does_not_tell_what_everybody_knows(
    audit: ModuleType, dependency: dict[str, Any], is_trusted: bool
):
    asked = []

    def answer(*command: str | Path, **_: Any) -> str:
        asked.append(Path(command[command.index("-r") + 1]).read_text())
        return json.dumps({"dependencies": [{"name": "jinja2", "version": "2.4.1"} | dependency]})

    audit.run = answer

    assert (audit.find_doubt(Path(sys.executable)) is None) is is_trusted
    assert asked == ["jinja2==2.4.1\n"]


def test_nothing_is_audited_and_that_is_said_when_the_service_cannot_be_reached(
    audit: ModuleType, capsys: pytest.CaptureFixture[str]
):
    def fail(*_: Any, **__: Any) -> None:
        raise audit.ToolFailed("pip_audit failed:\nno route to host")

    audit.prepare_tool = lambda: Path(sys.executable)
    audit.audit = fail

    assert audit.main() == 0
    assert capsys.readouterr().out == "not audited: the advisory service cannot be reached (no route to host)\n"


def test_audit_fails_when_its_tool_cannot_be_installed(audit: ModuleType, capsys: pytest.CaptureFixture[str]):
    def fail() -> Path:
        raise audit.ToolFailed("pip failed:\nno such hash")

    audit.prepare_tool = fail

    assert audit.main() == 1
    assert capsys.readouterr().out == "audit: pip failed:\nno such hash\n"


def a_report(**changes: Any) -> dict[str, Any]:
    flaw = {"id": "CVE-2099-1", "fix_versions": ["99.0"], "aliases": ["GHSA-1"]}
    return {
        "dependencies": [
            {"name": "idna", "version": "3.20", "vulns": []},
            {"name": "x", "version": "1", "vulns": [flaw]} | changes,
        ]
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ["x 1: CVE-2099-1 GHSA-1, fixed in 99.0"]),
        ({"vulns": [{"id": "CVE-2099-1", "fix_versions": []}]}, ["x 1: CVE-2099-1, not fixed yet"]),
        ({"vulns": []}, []),
        ({"skip_reason": "not on the index"}, ["x: not audited: not on the index"]),
    ],
)
def test_every_advisory_is_a_line_with_its_remedy(audit: ModuleType, changes: dict[str, Any], told: list[str]):
    assert audit.find_problems(a_report(**changes)) == told


@pytest.mark.parametrize(("problems", "code"), [([], 0), (["x 1: CVE-2099-1"], 1)])
def test_audit_fails_when_there_is_an_advisory(
    audit: ModuleType, capsys: pytest.CaptureFixture[str], problems: list[str], code: int
):
    audit.find_doubt = lambda _: None
    audit.prepare_tool = lambda: Path(sys.executable)
    audit.audit = lambda *_: None
    audit.find_problems = lambda _: problems

    assert audit.main() == code
    assert f"audited requirements.lock: {len(problems)} problems" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "accepted", "told"),
    [
        ("import sys; print('x'); sys.exit(2)", (0, 1), "failed"),
        ("import sys; sys.exit(1)", (0, 1), "failed"),
        ("import sys; print('x'); sys.exit(1)", (0,), "failed"),
        ("import threading; threading.Event().wait()", (0,), "did not end within 0.5 s"),
    ],
)
def test_tool_that_fails_is_a_failure(audit: ModuleType, script: str, accepted: tuple[int, ...], told: str):
    with pytest.raises(audit.ToolFailed, match=told):
        audit.run(sys.executable, "-c", script, limit_s=0.5 if "Event" in script else 20, accepted=accepted)


def test_tool_that_found_something_is_none(audit: ModuleType):
    script = "import sys; print('report'); sys.exit(1)"

    assert audit.run(sys.executable, "-c", script, limit_s=20, accepted=(0, 1)) == "report\n"


def test_every_ignored_advisory_has_a_reason(audit: ModuleType):
    assert all(len(reason) > 20 for reason in audit.IGNORED.values())
