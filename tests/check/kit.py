"""What the tests of the check ask of its lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dehedge.check.report import Line, Status

Check = Callable[..., Any]


def list_failed(lines: Mapping[str, Line]) -> list[str]:
    return [name for name, line in lines.items() if line.status is Status.FAIL]


def get_endpoint(lines: Mapping[str, Line], number: int) -> Line:
    (line,) = (line for name, line in lines.items() if name.startswith(f"RPC {number} ("))
    return line
