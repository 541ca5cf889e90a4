"""What the charts of many books show: protection against cost, and the books from the worst to the best.

Pure. Called by ``study_page`` and ``session``.
"""

from __future__ import annotations

from collections.abc import Sequence

from dehedge.replay.plots import Chart, Curve, build_trade_off
from dehedge.replay.study import Sample, get_protection
from dehedge.replay.study_rows import Group


def build_study_charts(samples: Sequence[Sample], groups: Sequence[Group]) -> list[Chart]:
    """Those of all windows together, and then the books."""
    hedged = {name: pooled for name, pooled in groups[0].pooled.items() if pooled.cost or pooled.avoided}
    points = [(float(each.cost), float(each.avoided), name) for name, each in hedged.items()]
    return [*build_trade_off(points), _plot_books(samples, list(hedged))] if hedged else []


def _plot_books(samples: Sequence[Sample], names: Sequence[str]) -> Chart:
    curves = []
    for color, name in enumerate(names, start=1):
        shares = sorted(share for each in samples if (share := get_protection(each.figures[name])) is not None)
        # Below nothing there is no end: a hedge may lose more than a small loss that it meets.
        shown = [max(float(share) * 100, -100.0) for share in shares]
        places = [place * 100 / max(len(shown) - 1, 1) for place in range(len(shown))]
        curves.append(Curve(name, places, shown, color))
    title = "Share of the loss at worst avoided, book by book"
    return Chart("books", title, "% of the books that lose, from the worst", "%, before cost", curves, is_time=False)
