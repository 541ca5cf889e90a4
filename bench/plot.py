"""The cost of a price against the size of the book, as a small SVG with logarithmic axes."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.figures import Figure

SERIES = {
    "index, nothing changes": re.compile(r"tick that changes nothing, ([\d,]+) positions"),
    "index, 100 change": re.compile(r"tick that changes 100, ([\d,]+) positions"),
    "exact check of all": re.compile(r"exact check of all of ([\d,]+) positions"),
    "JavaScript loop": re.compile(r"JavaScript loop over ([\d,]+) positions"),
}
COLORS = ("#1f6feb", "#8250df", "#bf8700", "#cf222e")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 420, 70, 50, 30, 170
X_RANGE, Y_RANGE = (3, 6), (0, 7)
"""Powers of ten: positions, and microseconds."""

Point = tuple[float, float]


def write_plot(path: Path, figures: Iterable[Figure]) -> None:
    lines = collect(figures)
    parts = [
        *_draw_axes(),
        *(part for place, (name, points) in enumerate(lines.items()) for part in _draw(name, points, COLORS[place])),
    ]
    style = "font-family='sans-serif' font-size='12'"
    content = f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>" + "".join(parts)
    path.write_text(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' {style}>{content}</svg>\n",
        encoding="utf-8",
    )


def collect(figures: Iterable[Figure]) -> dict[str, list[Point]]:
    """By series, the positions and the microseconds of each figure that is part of it."""
    found: defaultdict[str, list[Point]] = defaultdict(list)
    for figure in figures:
        for name, pattern in SERIES.items():
            match = pattern.fullmatch(figure.name)
            if match is not None:
                found[name].append((float(match[1].replace(",", "")), figure.median))
    return {name: sorted(found[name]) for name in SERIES if name in found}


def _place(point: Point) -> Point:
    across = (math.log10(point[0]) - X_RANGE[0]) / (X_RANGE[1] - X_RANGE[0])
    up = (math.log10(point[1]) - Y_RANGE[0]) / (Y_RANGE[1] - Y_RANGE[0])
    return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)


def _draw_axes() -> Iterable[str]:
    for power in range(X_RANGE[0], X_RANGE[1] + 1):
        x, y = _place((10.0**power, 10.0 ** Y_RANGE[0]))
        yield f"<line x1='{x:.0f}' y1='{y:.0f}' x2='{x:.0f}' y2='{TOP}' stroke='#ddd'/>"
        yield f"<text x='{x:.0f}' y='{y + 18:.0f}' text-anchor='middle'>{10**power:,}</text>"
    for power in range(Y_RANGE[0], Y_RANGE[1] + 1):
        x, y = _place((10.0 ** X_RANGE[0], 10.0**power))
        yield f"<line x1='{x:.0f}' y1='{y:.0f}' x2='{WIDTH - RIGHT}' y2='{y:.0f}' stroke='#ddd'/>"
        yield f"<text x='{x - 8:.0f}' y='{y + 4:.0f}' text-anchor='end'>{_name_time(power)}</text>"
    yield f"<text x='{LEFT}' y='{HEIGHT - 10}'>open positions</text><text x='{LEFT}' y='18'>one price costs</text>"


def _name_time(power: int) -> str:
    unit, factor = ("us", 0) if power < 3 else ("ms", 3) if power < 6 else ("s", 6)
    return f"{10 ** (power - factor)} {unit}"


def _draw(name: str, points: Sequence[Point], color: str) -> Iterable[str]:
    places = [_place(point) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2'/>"
    yield from (f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{color}'/>" for x, y in places)
    x, y = places[-1]
    yield f"<text x='{x + 8:.0f}' y='{y + 4:.0f}' fill='{color}'>{name}</text>"
