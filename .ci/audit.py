"""Holds the pinned dependencies against the known vulnerabilities: ``make audit``, a step of ``.ci/run``.

pip-audit runs from an environment of its own under ``.tools``, made of ``requirements-audit.lock``; the product's never sees
it. It is first asked for a release that is known to be vulnerable: where it does not tell of that (a service without
advisories, no network) it would not tell of ours either, and then nothing was audited, which is said and is no failure.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
TOOL_LOCK = ROOT / "requirements-audit.lock"
CONTROL = "jinja2==2.4.1"
"""Of 2010, with advisories that nobody will take back."""

INSTALL_S, AUDIT_S = 180, 180

IGNORED: Mapping[str, str] = {}
"""Advisories that do not concern us, each with the reason and the date; whoever adds one looks again at the next release."""


class ToolFailed(Exception):
    """A tool could not do its work; in its own words."""


def main() -> int:
    try:
        python = prepare_tool()
        doubt = find_doubt(python)
        if doubt is not None:
            print(f"not audited: the advisory service cannot be reached ({doubt})")
            return 0
        problems = find_problems(audit(python, LOCK, "--require-hashes"))
    except ToolFailed as error:
        print(f"audit: {error}")
        return 1
    print(*problems, sep="\n")
    print(f"audited {LOCK.name}: {len(problems)} problems, {len(IGNORED)} advisories ignored")
    return 1 if problems else 0


def find_doubt(python: Path) -> str | None:
    """Why the service's silence would say nothing; None where it knows what everybody knows."""
    with tempfile.TemporaryDirectory() as folder:
        control = Path(folder) / "control.txt"
        control.write_text(f"{CONTROL}\n", encoding="utf-8")
        try:
            report = audit(python, control, "--no-deps")
        except ToolFailed as error:
            return str(error).splitlines()[-1]
    is_known = any(dependency.get("vulns") for dependency in report["dependencies"])
    return None if is_known else "what answers in its place knows no advisories"


def prepare_tool() -> Path:
    """The Python of pip-audit's own environment, which is made once for each state of its lock."""
    folder = ROOT / ".tools" / f"audit-{hashlib.sha256(TOOL_LOCK.read_bytes()).hexdigest()[:12]}"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if not stamp.exists():
        print("installing pip-audit")
        venv.create(folder, clear=True, with_pip=True)
        run(python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", TOOL_LOCK, limit_s=INSTALL_S)
        stamp.touch()
    return python


def audit(python: Path, requirements: Path, *options: str) -> Any:
    """pip-audit's report."""
    fixed = ["--disable-pip", "--format=json", "--desc=off", "--progress-spinner=off"]
    ignored = [f"--ignore-vuln={advisory}" for advisory in IGNORED]
    told = run(python, "-m", "pip_audit", "-r", requirements, *options, *fixed, *ignored, limit_s=AUDIT_S, accepted=(0, 1))
    return json.loads(told)


def run(*command: str | Path, limit_s: float, accepted: Sequence[int] = (0,)) -> str:
    """Standard output. Raises ``ToolFailed`` with what the command said where it failed or took too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise ToolFailed(f"{command[2]} did not end within {limit_s} s") from None
    if done.returncode not in accepted or (done.returncode and not done.stdout.strip()):
        raise ToolFailed(f"{command[2]} failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout


def find_problems(report: Any) -> list[str]:
    """A line for each advisory, and for each dependency of which nothing is known."""
    found = []
    for dependency in report["dependencies"]:
        if "skip_reason" in dependency:
            found.append(f"{dependency['name']}: not audited: {dependency['skip_reason']}")
            continue
        for flaw in dependency["vulns"]:
            remedy = f"fixed in {', '.join(flaw['fix_versions'])}" if flaw["fix_versions"] else "not fixed yet"
            names = " ".join([flaw["id"], *flaw.get("aliases", ())])
            found.append(f"{dependency['name']} {dependency['version']}: {names}, {remedy}")
    return found


if __name__ == "__main__":
    sys.exit(main())
