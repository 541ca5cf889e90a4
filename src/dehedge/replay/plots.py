"""What the charts of a replay show, before anything is drawn: curves, marks and points, for the page and for the pictures alike.

Pure. Each chart has a name, which is its picture's file name. Called by ``page`` and ``pictures``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dehedge.replay.model import Run, Trade

TRADES_MAX = 1_500
"""Marks of one chart; more are a smear. The first and the last are among those that are shown."""

TRADE_OFF = "Avoided at the worst moment against its cost"
NO_TRADE_OFF = (
    f"{TRADE_OFF} is not drawn: that takes two policies that opened hedges, at least one of which avoids something."
)
Point = tuple[float, float, str]
"""Cost, what is avoided for it, and a name."""


class Curve(NamedTuple):
    """``color`` is a number; ``is_dashed`` tells what is there for comparison."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: int
    is_dashed: bool = False


class Marks(NamedTuple):
    """Places in a chart: ``shape`` is up, down or dot, and ``names`` stand beside the dots."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: int
    shape: str
    names: Sequence[str] = ()


class Chart(NamedTuple):
    """``is_time`` where x is seconds since the epoch."""

    name: str
    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    marks: Sequence[Marks] = ()
    is_time: bool = True


def build_charts(runs: Sequence[Run]) -> list[Chart]:
    """Of at least one run; those that have nothing to show are left out."""
    hedged = [run for run in runs if run.policy.hedging is not None]
    return [
        _plot_vault(runs, hedged),
        *(chart for run in hedged for chart in _plot_prices(run)),
        *([_plot_cost(hedged)] if hedged else []),
        *build_trade_off(_list_points(hedged)),
    ]


def _plot_vault(runs: Sequence[Run], hedged: Sequence[Run]) -> Chart:
    first = runs[0].series
    without = Curve("without hedges", first.time_s.tolist(), first.vault_unhedged.tolist(), 0, is_dashed=True)
    curves = [
        Curve(run.policy.name, run.series.time_s.tolist(), run.series.vault_hedged.tolist(), color)
        for color, run in enumerate(hedged, start=1)
    ]
    return Chart("vault", "The vault with and without hedges", "UTC", "USD", [without, *curves])


def _plot_prices(run: Run) -> list[Chart]:
    """A chart for each market in which this policy traded."""
    charts = []
    for market, prices in run.series.prices.items():
        trades = [trade for trade in run.trades if trade.market == market]
        if not trades:
            continue
        curve = Curve(market, run.series.time_s.tolist(), prices.tolist(), 0)
        marks = [
            _mark(label, [trade for trade in trades if trade.kind in kinds], color, shape)
            for label, kinds, color, shape in (("opens", ("open",), 3, "up"), ("closes", ("close",), 5, "down"))
        ]
        title = f"{market} with opens and closes of {run.policy.name}"
        name = f"price-{market}-{run.policy.name}"
        charts.append(Chart(name, title, "UTC", "USD", [curve], [each for each in marks if each.x]))
    return charts


def _mark(label: str, trades: Sequence[Trade], color: int, shape: str) -> Marks:
    step = len(trades) // TRADES_MAX + 1
    shown = [*trades[:-1:step], *trades[-1:]]
    return Marks(
        f"{len(trades):,} {label}",
        [trade.at_s for trade in shown],
        [float(trade.price) for trade in shown],
        color,
        shape,
    )


def _plot_cost(hedged: Sequence[Run]) -> Chart:
    """What the hedges have cost so far, and what they have earned before that."""
    curves = []
    for color, run in enumerate(hedged, start=1):
        series, name = run.series, run.policy.name
        earned = np.subtract(series.vault_hedged, series.vault_unhedged) + series.cost
        curves.append(Curve(f"{name}: profit", series.time_s.tolist(), earned.tolist(), color))
        curves.append(Curve(f"{name}: cost", series.time_s.tolist(), series.cost.tolist(), color, is_dashed=True))
    return Chart("cost", "Profit of the hedges before cost, and cost", "UTC", "USD", curves)


def explain_left_out(runs: Sequence[Run]) -> list[str]:
    """A sentence in place of the chart of what is avoided against its cost, where that would show nothing."""
    hedged = [run for run in runs if run.policy.hedging is not None]
    return [NO_TRADE_OFF] if hedged and not build_trade_off(_list_points(hedged)) else []


def _list_points(hedged: Sequence[Run]) -> list[Point]:
    """Of those that did anything: what never opened a hedge is no way of hedging to compare."""
    points = [(float(run.figures.cost), float(run.figures.worst_avoided), run.policy.name) for run in hedged]
    return [point for point in points if point[0] or point[1]]


def build_trade_off(points: Sequence[Point]) -> list[Chart]:
    """A point for each policy, and the line of those that no other beats in both; nothing where there is nothing to compare."""
    if not check_comparable(points):
        return []
    axes = "cost to the end, USD", "avoided at the worst moment, USD"
    return [
        Chart("trade-off", TRADE_OFF, *axes, [build_front(points)], build_points(points), is_time=False)
    ]


def check_comparable(points: Sequence[Point]) -> bool:
    """False for a single point, and where nothing is avoided."""
    return len(points) > 1 and any(gain > 0 for _, gain, _ in points)


def build_points(points: Sequence[Point]) -> list[Marks]:
    """A dot for each of cost, gain and name."""
    return [
        Marks(name, [cost], [gain], color, "dot", [name]) for color, (cost, gain, name) in enumerate(points, start=1)
    ]


def build_front(points: Sequence[Point]) -> Curve:
    """The line through those that no other beats."""
    best = _find_best(points)
    return Curve("the best of these", [cost for cost, _ in best], [gain for _, gain in best], 0, is_dashed=True)


def _find_best(points: Sequence[Point]) -> list[tuple[float, float]]:
    """By cost, those that avoid more than every cheaper one."""
    best: list[tuple[float, float]] = []
    for cost, gain, _ in sorted(points, key=lambda point: (point[0], -point[1])):
        if not best or gain > best[-1][1]:
            best.append((cost, gain))
    return best
