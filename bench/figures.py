"""What a benchmark gives: figures with their spread, the machine they were taken on, one table and one JSON file.

Everything is told in one run, so that ratios compare like with like; a target that is missed is said, and fails nothing.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from dehedge import __version__

UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6}


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: the median, and what one in ten was below and above.

    ``target`` is the most that it should be, or the least.
    """

    name: str
    unit: str
    median: float
    low: float
    high: float
    count: int
    target: float | None = None
    notes: Mapping[str, object] = field(default_factory=dict)
    least: bool = False

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        times = self.target / self.median if self.least else self.median / self.target
        return "within" if times <= 1 else f"missed by {times:.1f}x"


def build_figure(
    name: str, unit: str, values: Sequence[float], target: float | None = None, *, least: bool = False, **notes: object
) -> Figure:
    """``values`` are in seconds where the unit is one of time, and in the unit otherwise."""
    scaled = sorted(value * UNITS.get(unit, 1.0) for value in values)
    low, high = (scaled[0], scaled[-1]) if len(scaled) < 10 else (_get_part(scaled, 0.1), _get_part(scaled, 0.9))
    return Figure(name, unit, statistics.median(scaled), low, high, len(scaled), target, notes, least)


def build_percentiles(name: str, unit: str, values: Sequence[float], targets: Mapping[str, float]) -> list[Figure]:
    """The median, the 99th and the 99.9th percentile, each a line of its own."""
    scaled = sorted(value * UNITS[unit] for value in values)
    parts = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    return [
        Figure(
            f"{name}, {label}", unit, _get_part(scaled, part), scaled[0], scaled[-1], len(scaled), targets.get(label)
        )
        for label, part in parts.items()
    ]


def _get_part(ordered: Sequence[float], part: float) -> float:
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def measure(work: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each round."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return seconds


def describe_machine() -> dict[str, object]:
    return {
        "processor": _read_processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "dehedge": __version__,
    }


def _read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def format_table(figures: Iterable[Figure]) -> str:
    rows = [("", "median", "one in ten below", "above", "unit", "target", "")]
    for figure in figures:
        shown = [_format(value) for value in (figure.median, figure.low, figure.high)]
        target = _format_target(figure)
        rows.append((figure.name, *shown, figure.unit, target, figure.verdict))
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _format_target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{'>' if figure.least else '<'} {_format(figure.target)}"


def _format(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_json(path: Path, figures: Iterable[Figure]) -> None:
    content = {
        "machine": describe_machine(),
        "figures": [asdict(figure) | {"verdict": figure.verdict} for figure in figures],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
