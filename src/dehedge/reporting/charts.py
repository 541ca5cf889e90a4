"""Two charts as SVG: how the money ran over time, and what each market came to. No script, no font, no outside address.

Colors are classes, so that the page's style says what they are in light and in dark. Every figure is also in the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape
from itertools import accumulate

from dehedge.core.report import Report
from dehedge.reporting.rows import round_usd
from dehedge.reporting.spans import format_moment

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 240, 90, 24, 12
POINTS_MAX = 600
BAR_HEIGHT = 26

Line = Sequence[tuple[float, Decimal]]


def draw_course(report: Report) -> str:
    """Net profit of the hedges, and what the vault would have lost without them, added up over time."""
    times = [report.since, *(flow.at for flow in report.flows), report.until]
    start = times[1] if report.since <= 0 and len(times) > 2 else times[0]
    net = _add_up([flow.sums.net_usd for flow in report.flows])
    gain = _add_up([flow.sums.trader_gain_usd for flow in report.flows])
    span = (start, max(report.until, start + 1))
    lines = [_thin(list(zip(times[1:-1], amounts, strict=True))) for amounts in (net, gain)]
    low, high = _get_range([amount for line in lines for _, amount in line])
    scale = _Scale(span, (low, high))
    drawn = [scale.draw(line, name) for line, name in zip(lines, ("net", "gain"), strict=True)]
    labels = [scale.label(low), scale.label(high), *([scale.label(Decimal(0))] if low < 0 < high else [])]
    foot = (
        f'<text x="{LEFT}" y="{HEIGHT - 6}">{escape(format_moment(span[0]))}</text>'
        f'<text x="{WIDTH - 4}" y="{HEIGHT - 6}" class="end">{escape(format_moment(span[1]))}</text>'
    )
    return _frame(HEIGHT, "Net profit and the vault's loss without hedges over time", [*labels, *drawn, foot])


def draw_markets(report: Report) -> str:
    """One bar for each market: its net profit."""
    bars = [(market.market, market.sums.net_usd) for market in report.markets]
    most = max((abs(amount) for _, amount in bars), default=Decimal(0)) or Decimal(1)
    middle, reach = LEFT + (WIDTH - LEFT) / 2, (WIDTH - LEFT) / 2 - 90
    parts = []
    for place, (name, amount) in enumerate(bars):
        y, length = place * BAR_HEIGHT + 4, float(abs(amount) / most) * reach
        left = middle - length if amount < 0 else middle
        kind, at = ("loss", "end") if amount < 0 else ("profit", "")
        shown = left - 6 if amount < 0 else left + length + 6
        parts.append(
            f'<text x="4" y="{y + 14}">{escape(name[:14])}</text>'
            f'<rect class="{kind}" x="{left:.1f}" y="{y}" width="{max(length, 1):.1f}" height="{BAR_HEIGHT - 8}"/>'
            f'<text x="{shown:.1f}" y="{y + 14}" class="{at}">{round_usd(amount)}</text>'
        )
    return _frame(len(bars) * BAR_HEIGHT + 8, "Net profit by market", parts)


class _Scale:
    """From times and amounts to places on the chart."""

    def __init__(self, span: tuple[float, float], amounts: tuple[Decimal, Decimal]) -> None:
        self._span = span
        self._amounts = amounts

    def draw(self, line: Line, name: str) -> str:
        """As steps: nothing moves between two moments."""
        path = [f"M{LEFT},{self.y(Decimal(0)):.1f}"]
        for at, amount in line:
            path.append(f"H{self.x(at):.1f}V{self.y(amount):.1f}")
        return f'<path class="line {name}" d="{"".join(path)}H{WIDTH}"/>'

    def label(self, amount: Decimal) -> str:
        y = self.y(amount)
        return (
            f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="end">{round_usd(amount)}</text>'
        )

    def x(self, at: float) -> float:
        start, end = self._span
        return LEFT + (WIDTH - LEFT) * min(max((at - start) / (end - start), 0.0), 1.0)

    def y(self, amount: Decimal) -> float:
        low, high = self._amounts
        return TOP + (HEIGHT - TOP - BOTTOM) * float((high - amount) / (high - low))


def _add_up(amounts: Sequence[Decimal]) -> list[Decimal]:
    return list(accumulate(amounts))


def _thin(line: Line) -> Line:
    """No more points than can be seen; the last is among them."""
    step = len(line) // POINTS_MAX + 1
    return [*line[:-1:step], *line[-1:]]


def _get_range(amounts: Sequence[Decimal]) -> tuple[Decimal, Decimal]:
    low, high = min([Decimal(0), *amounts]), max([Decimal(0), *amounts])
    return (low, high) if low < high else (Decimal(-1), Decimal(1))


def _frame(height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH + 8} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
