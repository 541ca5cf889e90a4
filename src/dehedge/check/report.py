"""The lines of a check and how they are told: one line each as they come, or all as JSON at the end.

Knows nothing of what is checked. Every line goes through the redactor, because details quote other people's messages.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from dehedge.logs import Redactor


class Verdict(StrEnum):
    """WARN is for what works but may not be meant."""

    PASS = "pass"  # noqa: S105  (a verdict, no password)
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Line:
    """One part of the configuration: how it is, and what to do about it where it is not well."""

    verdict: Verdict
    what: str
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.verdict}  {self.what}: {self.detail}"
        return " ".join((f"{text}; {self.remedy}" if self.remedy else text).split("\n"))


@dataclass(slots=True)
class Report:
    """Collects lines; tells each at once unless all are wanted as JSON."""

    use_json: bool
    redactor: Redactor = field(default_factory=lambda: Redactor(()))
    lines: list[Line] = field(default_factory=list)

    @property
    def is_passed(self) -> bool:
        return all(line.verdict is not Verdict.FAIL for line in self.lines)

    def add(self, *lines: Line) -> None:
        self.lines += lines
        if not self.use_json:
            for line in lines:
                self._write(str(line))

    def finish(self) -> None:
        if self.use_json:
            answer = {"passed": self.is_passed, "checks": [asdict(line) for line in self.lines]}
            self._write(json.dumps(answer, indent=2))
        else:
            counts = [sum(line.verdict is verdict for line in self.lines) for verdict in Verdict]
            passed, warned, failed = counts
            self._write(f"{passed} passed, {warned} {'warning' if warned == 1 else 'warnings'}, {failed} failed")

    def _write(self, text: str) -> None:
        sys.stdout.write(f"{self.redactor.redact(text)}\n")
        sys.stdout.flush()


def build_pass(what: str, detail: str) -> Line:
    return Line(Verdict.PASS, what, detail)


def build_warning(what: str, detail: str, remedy: str = "") -> Line:
    return Line(Verdict.WARN, what, detail, remedy)


def build_failure(what: str, detail: str, remedy: str = "") -> Line:
    return Line(Verdict.FAIL, what, detail, remedy)
