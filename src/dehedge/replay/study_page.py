"""Many books as one HTML page that needs nothing else: pooled figures, each window's, charts, and what was assumed.

It runs no script and loads nothing. Whatever comes from a file or an option is escaped. Called by ``session``.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dehedge.replay.assumptions import build_assumptions, list_study_assumptions
from dehedge.replay.drawing import draw_chart
from dehedge.replay.page import NOT_SHOWN, STYLE, build_sections
from dehedge.replay.plots import NO_TRADE_OFF, TRADE_OFF
from dehedge.replay.request import Inputs
from dehedge.replay.study import Sample
from dehedge.replay.study_plots import build_study_charts
from dehedge.replay.study_rows import Group, build_cells, build_groups, explain_cells
from dehedge.reporting.page import build_document


def render_study(inputs: Inputs, notes: Sequence[str], samples: Sequence[Sample]) -> str:
    """Of at least one sample."""
    groups = build_groups(samples, [policy.name for policy in inputs.policies])
    charts = build_study_charts(samples, groups)
    parts = [
        "<h1>What hedging would have done, over many books</h1>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        *(part for group in groups for part in _build_group(group)),
        *map(draw_chart, charts),
        *([] if any(chart.title == TRADE_OFF for chart in charts) else [f"<p>{escape(NO_TRADE_OFF)}</p>"]),
        "<h2>What the figures mean</h2>",
        build_sections(["figure", "meaning"], explain_cells(), texts=2),
        "<h2>What was assumed</h2>",
        build_assumptions(list_study_assumptions(inputs), inputs.policies),
        f"<p>{escape(NOT_SHOWN)}</p>",
    ]
    return build_document("dehedge replay", parts, STYLE)


def _build_group(group: Group) -> list[str]:
    return [f"<h2>{escape(group.name)}</h2>", build_sections(["USD", *group.pooled], build_cells(group))]
