"""Charts as SVG for the page: no script, no font, no outside address; the page's style says what the colors are.

Whatever has a name is escaped. Called by ``page``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from dehedge.replay.plots import Chart, Curve, Marks

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 860, 300, 92, 16, 12, 44
COLORS = 8
POINTS_MAX = 1_000
TICKS = 5
MOMENTS_MAX = 7
"""Ticks of time of one chart."""
DAY_S, MONTH_S = 86_400, 2_629_800
STEPS_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, DAY_S, 2 * DAY_S, 5 * DAY_S, 7 * DAY_S,
)  # fmt: skip
STEPS_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240)
"""Months and then years, to a century and more."""
SHAPES = {
    "up": "M{x},{y}m0,-5l5,9h-10z",
    "down": "M{x},{y}m0,5l-5,-9h10z",
    "dot": "M{x},{y}m-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0",
}


def draw_chart(chart: Chart) -> str:
    """The figure with its title and its legend."""
    scale = _Scale(chart)
    parts = [
        *(_draw_level(scale, level) for level in list_ticks(*scale.y_range)),
        *(_draw_moment(scale, chart, level) for level in _list_places(chart, scale)),
        *(_draw_curve(scale, curve) for curve in chart.curves),
        *(_draw_marks(scale, marks) for marks in chart.marks),
        f'<text x="{LEFT}" y="{HEIGHT - 4}">{escape(_label_x(chart, scale))}</text>',
    ]
    title = escape(chart.title)
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}"><title>{title}</title>{"".join(parts)}</svg>'
    head = f"<figcaption>{title} <small>({escape(chart.y_label)})</small></figcaption>"
    return f'<figure>{head}<div class="wide">{svg}</div>{_build_legend(chart)}</figure>'


def list_ticks(low: float, high: float) -> list[float]:
    """Round numbers between the two, not many."""
    rough = (high - low) / TICKS
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * times for times in (1, 2, 5, 10) if size * times >= rough)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def get_range(values: Sequence[float]) -> tuple[float, float]:
    """A little wider than the values, and never empty."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = (high - low) * 0.04 or max(abs(high) * 0.01, 1.0)
    return low - room, high + room


class _Scale:
    """From values to places in the drawing."""

    def __init__(self, chart: Chart) -> None:
        shown: list[Curve | Marks] = [*chart.curves, *chart.marks]
        x = [value for each in shown for value in each.x]
        self.x_range = (min(x), max([*x, min(x) + 1])) if chart.is_time and x else get_range(x)
        self.y_range = get_range([value for each in shown for value in each.y])

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low), 1)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low), 1)


def _draw_level(scale: _Scale, level: float) -> str:
    y = scale.y(level)
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" class="grid"/>'
        f'<text x="{LEFT - 6}" y="{y + 4}" class="end">{format_amount(level)}</text>'
    )


def _list_places(chart: Chart, scale: _Scale) -> list[float]:
    return list_moments(*scale.x_range) if chart.is_time else list_ticks(*scale.x_range)


def list_moments(low_s: float, high_s: float) -> list[float]:
    """Round moments between the two, in UTC and not many: whole seconds, minutes, hours, days, months or years."""
    length_s = high_s - low_s
    step_s = next((step for step in STEPS_S if length_s <= step * MOMENTS_MAX), None)
    if step_s is not None:
        return [float(number * step_s) for number in range(math.ceil(low_s / step_s), math.floor(high_s / step_s) + 1)]
    months = next(count for count in STEPS_MONTHS if length_s <= count * MONTH_S * MOMENTS_MAX)
    first, last = (datetime.fromtimestamp(at_s, UTC).year * 12 for at_s in (low_s, high_s))
    starts = range(first // months * months, last + 12, months)
    moments = [datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC).timestamp() for number in starts]
    return [moment for moment in moments if low_s <= moment <= high_s]


def _draw_moment(scale: _Scale, chart: Chart, value: float) -> str:
    x = scale.x(value)
    text = _format_moment(value, scale.x_range) if chart.is_time else format_amount(value)
    kind = "end" if x > WIDTH - RIGHT - 30 else "middle" if x > LEFT + 30 else ""
    return f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" class="{kind}">{text}</text>'


def _format_moment(at_s: float, span: tuple[float, float]) -> str:
    length_s = span[1] - span[0]
    shape = "%Y-%m-%d" if length_s > MOMENTS_MAX * DAY_S else "%m-%d %H:%M" if length_s > DAY_S else "%H:%M"
    shape = shape if length_s > MOMENTS_MAX * 30 else "%H:%M:%S"
    return datetime.fromtimestamp(at_s, UTC).strftime(shape)


def _label_x(chart: Chart, scale: _Scale) -> str:
    """With the day, where the ticks do not say it."""
    low_s, high_s = scale.x_range
    if not chart.is_time or high_s - low_s > DAY_S:
        return chart.x_label
    return f"{chart.x_label}, {datetime.fromtimestamp(low_s, UTC):%Y-%m-%d}"


def format_amount(value: float) -> str:
    """Short enough for an axis."""
    for size, sign in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if sign == 'k' else size):,.4g}{sign}"
    return f"{value + 0:,.6g}"


def _draw_curve(scale: _Scale, curve: Curve) -> str:
    step = len(curve.x) // POINTS_MAX + 1
    points = list(zip(curve.x, curve.y, strict=True))
    shown = [*points[:-1:step], *points[-1:]]
    path = " ".join(f"{scale.x(x)},{scale.y(y)}" for x, y in shown)
    dashed = " dashed" if curve.is_dashed else ""
    return f'<polyline class="curve c{curve.color % COLORS}{dashed}" points="{path}"/>'


def _draw_marks(scale: _Scale, marks: Marks) -> str:
    places = [(scale.x(x), scale.y(y)) for x, y in zip(marks.x, marks.y, strict=True)]
    path = "".join(SHAPES[marks.shape].format(x=x, y=y) for x, y in places)
    names = [
        f'<text x="{x + 9 if x < WIDTH / 2 else x - 9}" y="{y + 4}" class="{"" if x < WIDTH / 2 else "end"}">{escape(name)}</text>'
        for (x, y), name in zip(places, marks.names, strict=False)
    ]
    return f'<path class="mark m{marks.color % COLORS}" d="{path}"/>{"".join(names)}'


def _build_legend(chart: Chart) -> str:
    keys = [(f"k{curve.color % COLORS}", "- -" if curve.is_dashed else "—", curve.label) for curve in chart.curves]
    keys += [
        (f"k{marks.color % COLORS}", {"up": "▲", "down": "▼", "dot": "●"}[marks.shape], marks.label)
        for marks in chart.marks
    ]
    items = [f'<span><b class="{kind}">{sign}</b> {escape(label)}</span>' for kind, sign, label in keys]
    return f'<p class="legend">{" ".join(items)}</p>'
