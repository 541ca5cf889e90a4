"""The audit of the dependencies: what it finds, and that it never takes silence for safety."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fuzz.hostile_server import HostileServer, build_http

ROOT = Path(__file__).resolve().parents[1]
TOLD = json.dumps({"vulnerabilities": [{"id": "PYSEC-2014-8"}]}).encode()


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def ask(audit: ModuleType, answer: bytes) -> str | None:
    async with HostileServer(lambda _: answer) as server:
        return await asyncio.to_thread(audit.find_doubt, server.url)


async def test_service_is_trusted_when_it_knows_what_everybody_knows(audit: ModuleType):
    assert await ask(audit, build_http(TOLD)) is None


@pytest.mark.parametrize(
    "answer",
    [
        build_http(TOLD, status=404),
        build_http(b'{"vulnerabilities": []}'),
        build_http(b'{"info": {}}'),
        build_http(b"[]"),
        build_http(b"<html>"),
        build_http(b"[" * 100_000),
        build_http(b"\xff\xfe"),
        b"nonsense",
        b"",
    ],
    ids=["no such page", "no advisories", "no word of them", "list", "page", "nest", "no text", "no HTTP", "nothing"],
)
async def test_service_is_doubted_when_it_answers_something_else(audit: ModuleType, answer: bytes):
    assert await ask(audit, answer)


def test_nothing_is_audited_and_that_is_said_when_the_service_cannot_be_reached(
    audit: ModuleType, capsys: pytest.CaptureFixture[str]
):
    audit.CONTROL_URL = "http://127.0.0.1:1/"
    audit.prepare_tool = None

    assert audit.main() == 0
    assert capsys.readouterr().out.startswith("not audited: the advisory service cannot be reached (")


def a_report(**changes: Any) -> dict[str, Any]:
    flaw = {"id": "CVE-2099-1", "fix_versions": ["99.0"], "aliases": ["GHSA-1"]}
    return {"dependencies": [{"name": "idna", "version": "3.20", "vulns": []}, {"name": "x", "version": "1", "vulns": [flaw]} | changes]}


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
    audit.audit = lambda _: None
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
    with pytest.raises(SystemExit, match=told):
        audit.run(sys.executable, "-c", script, limit_s=0.5 if "Event" in script else 20, accepted=accepted)


def test_tool_that_found_something_is_none(audit: ModuleType):
    script = "import sys; print('report'); sys.exit(1)"

    assert audit.run(sys.executable, "-c", script, limit_s=20, accepted=(0, 1)) == "report\n"


def test_every_ignored_advisory_has_a_reason(audit: ModuleType):
    assert all(len(reason) > 20 for reason in audit.IGNORED.values())
