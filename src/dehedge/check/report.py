"""The lines of a check and how they are told: one line each in a fixed order as they come, or all as JSON at the end.

Knows nothing of what is checked. Every line goes through the redactor, because details quote other people's messages.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from dehedge.logs import Redactor


class Status(StrEnum):
    """WARN is for what works but may not be meant."""

    PASS = "pass"  # noqa: S105  (a verdict, no password)
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Line:
    """One part of the configuration: how it is, and what to do about it where it is not well."""

    status: Status
    name: str
    detail: str
    remedy: str = ""
    seconds: float = 0.0
    """How long it took to find out."""

    def __str__(self) -> str:
        text = f"{self.status}  {self.name}: {self.detail}"
        return " ".join((f"{text}; {self.remedy}" if self.remedy else text).split("\n"))


@dataclass(slots=True)
class Report:
    """Collects lines in places that are given out beforehand; tells each as soon as those before it are there."""

    use_json: bool
    redactor: Redactor = field(default_factory=lambda: Redactor(()))
    _places: list[Sequence[Line] | None] = field(default_factory=list)
    _told: int = 0

    @property
    def lines(self) -> list[Line]:
        return [line for place in self._places for line in place or ()]

    @property
    def is_passed(self) -> bool:
        return all(line.status is not Status.FAIL for line in self.lines)

    def reserve(self) -> int:
        """A place for lines to come."""
        self._places.append(None)
        return len(self._places) - 1

    def fill(self, place: int, lines: Sequence[Line]) -> None:
        self._places[place] = lines
        while self._told < len(self._places) and (due := self._places[self._told]) is not None:
            self._told += 1
            if not self.use_json:
                for line in due:
                    self._write(str(line))

    def add(self, *lines: Line) -> None:
        self.fill(self.reserve(), lines)

    def finish(self) -> None:
        if self.use_json:
            self._write(json.dumps([asdict(line) for line in self.lines], indent=2))
        else:
            passed, warned, failed = (sum(line.status is status for line in self.lines) for status in Status)
            self._write(f"{passed} passed, {warned} {'warning' if warned == 1 else 'warnings'}, {failed} failed")

    def _write(self, text: str) -> None:
        sys.stdout.write(f"{self.redactor.redact(text)}\n")
        sys.stdout.flush()


def build_pass(name: str, detail: str) -> Line:
    return Line(Status.PASS, name, detail)


def build_warning(name: str, detail: str, remedy: str = "") -> Line:
    return Line(Status.WARN, name, detail, remedy)


def build_failure(name: str, detail: str, remedy: str = "") -> Line:
    return Line(Status.FAIL, name, detail, remedy)
