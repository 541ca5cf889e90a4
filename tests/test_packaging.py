"""What is beside the code: examples, locks, supervisors and the image say what the code does."""

from __future__ import annotations

import ast
import asyncio
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.build import build_wheel
from packaging.requirements import Requirement
from prometheus_client import CollectorRegistry

from dehedge.adapters.web import WebServer
from dehedge.config import Settings, read_configuration
from dehedge.daemon import SHUTDOWN_S, SUPERVISE_INTERVAL_S
from dehedge.exits import EXIT_CONFIG
from dehedge.markets import read_markets

ROOT = Path(__file__).resolve().parents[1]
MADE = {".git", ".venv", ".tools", "build", "dist", "node_modules"}
"""Folders, beside caches, that are no part of the project."""


def list_files() -> list[Path]:
    """The project's own files: what git knows or would add; without git everything but what is made."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if shutil.which("git") is not None:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode == 0:
            return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]
    return list(walk())


def walk() -> Iterator[Path]:
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in MADE and "cache" not in name and name != ".hypothesis"]
        yield from (Path(folder) / name for name in files if name != ".coverage")


SOURCES = sorted((ROOT / "src").rglob("*.py"))


def read_lock(name: str) -> dict[str, tuple[Requirement, int]]:
    """Each pinned requirement and how many hashes it has."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        requirement, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in hashes)
        found[normalize(Requirement(requirement).name)] = (Requirement(requirement), len(hashes))
    return found


def normalize(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def read_examples() -> dict[str, str]:
    """Name and value of every variable of .env.example, in use or behind a ``#``."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(match.groups() for line in lines if (match := re.fullmatch(r"#?([A-Z_]+)=(.*)", line)))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_says_what_it_is_and_stays_readable(path: Path):
    text = path.read_text()
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    assert ast.get_docstring(tree)
    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 50] == []


def test_no_file_names_a_machine_or_a_registry():
    private = ["/" + name + "/" for name in ("home", "Users", "root")]
    registries = ["files.pythonhosted", "pypi.org", "registry.npmjs", "index-url", "find-links"]
    texts = {path: path.read_text(errors="replace") for path in list_files()}

    offenders = [
        (str(path.relative_to(ROOT)), word)
        for path, text in texts.items()
        for word in private + (registries if path.suffix == ".lock" else [])
        if word in text
    ]

    assert (ROOT / "pyproject.toml") in texts
    assert offenders == []


def test_no_file_knows_where_this_copy_lies():
    if str(ROOT).startswith("/opt/dehedge") or len(ROOT.parts) < 3:
        pytest.skip("the copy lies where an example says")

    assert [path for path in list_files() if str(ROOT) in path.read_text(errors="replace")] == []


def test_example_lists_exactly_the_settings():
    assert set(read_examples()) == {name.upper() for name in Settings.model_fields}


def test_example_explains_every_group_of_variables():
    lines = (ROOT / ".env.example").read_text().splitlines()
    blocks = re.split(r"\n(?=# )", "\n".join(lines))

    assert all(block.startswith("# ") for block in blocks)
    assert all(len(re.findall(r"^#?[A-Z_]+=", block, re.MULTILINE)) <= 3 for block in blocks)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_example_shows_the_default(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    shown = read_examples()[name.upper()]
    default = Settings.model_fields[name].get_default()
    if not shown:
        assert default is None or Settings.model_fields[name].is_required()
        return
    monkeypatch.setenv("NETWORKS", "http://127.0.0.1:1")
    monkeypatch.setenv(name.upper(), shown)

    value = getattr(Settings(), name)

    # console is what the absence of a format means in development
    assert value == ("console" if name == "log_format" else default)


def test_example_works_once_filled_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    example = (ROOT / ".env.example").read_text()
    (tmp_path / ".env").write_text(example.replace("NETWORKS=\n", "NETWORKS=http://127.0.0.1:1\n") + "CONNECTOR=paper\n")
    shutil.copy(ROOT / "markets.toml", tmp_path)
    monkeypatch.chdir(tmp_path)

    settings, symbols = read_configuration()

    assert settings.connector == "paper"
    assert symbols == {"BTC-USD": "BTCUSDT", "ETH-USD": "ETHUSDT"}


def test_markets_of_both_connectors_are_there():
    assert read_markets("binance", ROOT / "markets.toml") == read_markets("paper", ROOT / "markets.toml")


def test_locks_pin_everything_with_hashes():
    runtime, development = read_lock("requirements.lock"), read_lock("requirements-dev.lock")
    tools = [read_lock(f"requirements-{name}.lock") for name in ("mutation", "audit", "docs")]

    assert all(name in lock for name, lock in zip(("mutmut", "pip-audit", "zensical"), tools, strict=True))
    for requirement, hashes in [entry for lock in (runtime, development, *tools) for entry in lock.values()]:
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes > 0
    assert {name: development[name][0].specifier for name in runtime} == {
        name: requirement.specifier for name, (requirement, _) in runtime.items()
    }


def test_tests_of_the_core_need_nothing_else_of_the_package():
    # Mutation testing runs them beside nothing that the daemon needs.
    imported = {
        name
        for path in (ROOT / "tests/core").glob("*.py")
        for name in re.findall(r"^(?:from|import) (dehedge[.\w]*|tests[.\w]*)", path.read_text(), re.MULTILINE)
    }

    assert [name for name in imported if not name.startswith(("dehedge.core", "dehedge.errors", "tests.core"))] == []


def test_locks_hold_what_the_project_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, development = read_lock("requirements.lock"), read_lock("requirements-dev.lock")
    wanted = {
        "requirements.lock": (runtime, project["project"]["dependencies"]),
        "requirements-dev.lock": (
            development,
            [*project["project"]["optional-dependencies"]["dev"], *project["build-system"]["requires"], "editables"],
        ),
    }

    for lock, lines in wanted.values():
        for line in lines:
            requirement = Requirement(line)
            (pin,) = lock[normalize(requirement.name)][0].specifier
            assert requirement.specifier.contains(pin.version), line
    assert not {"pytest", "ruff", "mypy", "hypothesis"} & set(runtime)


def test_supervisord_does_not_restart_what_a_restart_cannot_mend():
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "supervisord.conf")
    program = parser["program:dehedge"]

    assert program["autorestart"] == "unexpected"
    assert {int(code) for code in program["exitcodes"].split(",")} == {0, EXIT_CONFIG}
    assert program["startsecs"] == "0", "an exit within startsecs is tried again whatever its code"
    assert program["stopsignal"] == "TERM"
    assert int(program["stopwaitsecs"]) > SHUTDOWN_S
    assert program["command"].endswith(".venv/bin/python -m dehedge run")


def test_systemd_unit_fits_the_daemon():
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "dehedge.service")
    service = parser["Service"]

    assert service["Type"] == "notify"
    assert float(service["WatchdogSec"]) > 10 * SUPERVISE_INTERVAL_S
    assert float(service["TimeoutStopSec"]) > SHUTDOWN_S
    assert service["TimeoutStartSec"] == "infinity"
    assert service["Restart"] == "on-failure"
    assert int(service["RestartPreventExitStatus"]) == EXIT_CONFIG
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert f"sqlite:////var/lib/{service['StateDirectory']}/" in service["Environment"]


def test_image_runs_as_nobody_in_particular():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    last_stage = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]

    assert any(re.fullmatch(r"USER [1-9]\d*:[1-9]\d*", line) for line in last_stage)
    assert "STOPSIGNAL SIGTERM" in last_stage
    assert 'VOLUME ["/data"]' in last_stage
    assert "WORKDIR /data" in last_stage


class Operator:
    """As much of ``surfaces.Operator`` as health needs."""

    def __init__(self, *, is_alive: bool) -> None:
        self.is_alive = is_alive

    def check_alive(self) -> bool:
        return self.is_alive

    def __getattr__(self, _: str) -> object:
        return lambda: ()


@pytest.mark.parametrize(("is_alive", "code"), [(True, 0), (False, 1)])
async def test_health_check_of_the_image_tells_health(is_alive: bool, code: int):
    dockerfile = (ROOT / "Dockerfile").read_text()  # noqa: ASYNC240
    match = re.search(r"HEALTHCHECK.*\\\n\s+CMD (\[.*\])", dockerfile)
    assert match is not None
    _, *arguments = json.loads(match[1])
    server = WebServer(Operator(is_alive=is_alive), registry=CollectorRegistry(), token=None)  # type: ignore[arg-type]
    await server.start("127.0.0.1", 0)

    check = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env={"HTTP_PORT": str(server.port)}, stderr=asyncio.subprocess.DEVNULL
    )

    assert await check.wait() == code
    await server.close()


def test_wheel_and_image_hold_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = ROOT / "src/dehedge/adapters/web/static"
    wanted = {f"dehedge/adapters/web/static/{path.relative_to(page)}" for path in page.rglob("*") if path.is_file()}
    monkeypatch.chdir(ROOT)
    with ZipFile(tmp_path / build_wheel(str(tmp_path))) as archive:
        held = set(archive.namelist())

    assert len(wanted) > 20
    assert wanted - held == set()
    # The image takes the folder as it is.
    assert "COPY src/dehedge /build/dehedge" in (ROOT / "Dockerfile").read_text()
    assert "!src/dehedge" in (ROOT / ".dockerignore").read_text()


def test_image_is_built_of_files_that_reach_the_builder():
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(\S+) ", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    admitted = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)

    assert sorted(copied) == sorted(admitted)
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
@pytest.mark.parametrize("target", ["help", "demo", "test", "fuzz", "check", "audit", "install", "tools", "screenshot", "docs"])
def test_target_of_the_makefile_exists(target: str):
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
def test_ci_script_can_be_run():
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert subprocess.run(["bash", "-n", script], check=False, timeout=30).returncode == 0


def test_import_contracts_hold():
    lint_imports = Path(sys.executable).with_name("lint-imports")
    if not lint_imports.exists():
        pytest.skip("import-linter is not installed beside this Python")

    done = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout
