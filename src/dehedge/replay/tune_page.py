"""A search as one HTML page that needs nothing else, and its chart.

It runs no script and loads nothing. Whatever comes from a file or an option is escaped. Called by ``tune_session``.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from html import escape

from dehedge.replay.assumptions import build_assumptions, list_study_assumptions
from dehedge.replay.drawing import draw_chart
from dehedge.replay.model import Policy
from dehedge.replay.page import NOT_SHOWN, STYLE
from dehedge.replay.plots import TRADE_OFF, Chart, Curve, Marks, check_comparable
from dehedge.replay.request import Inputs
from dehedge.replay.tune_rows import (
    LINES,
    Panel,
    build_folds_panel,
    build_front_panel,
    build_tried_panel,
    describe,
    list_settings,
)
from dehedge.replay.tuning import Tuned
from dehedge.reporting.page import build_document, build_row, build_table

NAMES_MAX = 12
"""Names beside dots; more cover each other."""


def render_tuned(inputs: Inputs, notes: Sequence[str], tuned: Tuned, protection: Decimal) -> str:
    parts = [
        "<h1>Settings that were chosen on one part, and shown on another</h1>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        *_build_panel(build_folds_panel(tuned)),
        *(f"<p>{escape(sentence)}</p>" for sentence in describe(tuned, protection)),
        f"<p>{LINES}:</p><pre>{escape(chr(10).join(list_settings(tuned)))}</pre>",
        *map(draw_chart, build_tune_charts(tuned)),
        *_build_panel(build_front_panel(tuned)),
        *_build_panel(build_tried_panel(tuned)),
        "<h2>What was assumed</h2>",
        build_assumptions(list_study_assumptions(inputs), list_chosen(inputs, tuned)),
        f"<p>{escape(NOT_SHOWN)}</p>",
    ]
    return build_document("dehedge tune", parts, STYLE)


def list_chosen(inputs: Inputs, tuned: Tuned) -> list[Policy]:
    """On everything, and by each fold; what all of those tried have would be no table."""
    names = dict.fromkeys([tuned.overall, *(chosen.name for chosen in tuned.folds)])
    return [policy for name in names for policy in inputs.policies if policy.name == name]


def _build_panel(panel: Panel) -> list[str]:
    rows = [build_row(row[: panel.texts], row[panel.texts :]) for row in panel.rows]
    return [
        f"<h2>{escape(panel.title)}</h2>",
        build_table(panel.heads[: panel.texts], panel.heads[panel.texts :], rows),
    ]


def build_tune_charts(tuned: Tuned) -> list[Chart]:
    """All that was tried, by cost and what is avoided, and the line of those that no other beats; none of a single one."""
    points = [(float(each.cost), float(each.avoided), name) for name, each in tuned.tried.items()]
    if not check_comparable(points):
        return []
    best = [point for name in tuned.front for point in points if point[2] == name]
    others = [point for point in points if point[2] not in tuned.front]
    names = tuned.front if len(best) <= NAMES_MAX else ()
    marks = [
        Marks("others", [cost for cost, _, _ in others], [gain for _, gain, _ in others], 0, "dot"),
        Marks("the best of these", [cost for cost, _, _ in best], [gain for _, gain, _ in best], 1, "dot", names),
    ]
    front = Curve("no other beats these", marks[1].x, marks[1].y, 1, is_dashed=True)
    title = f"{TRADE_OFF}, of {len(tuned.tried):,} settings"
    shown = [each for each in marks if each.x]
    axes = "cost to the end, USD", "avoided at the worst moment, USD"
    return [Chart("trade-off", title, *axes, [front], shown, is_time=False)]
