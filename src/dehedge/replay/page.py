"""A replay as one HTML page that needs nothing else: figures side by side, charts, and what was assumed; light and dark.

It runs no script and loads nothing. Whatever comes from a file or an option is escaped. Called by ``session``.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dehedge.replay.assumptions import build_assumptions, list_assumptions
from dehedge.replay.drawing import draw_chart
from dehedge.replay.headlines import describe_runs
from dehedge.replay.model import Run
from dehedge.replay.plots import build_charts, explain_left_out
from dehedge.replay.request import Request
from dehedge.replay.rows import Cells, build_cells, explain_cells
from dehedge.reporting.page import build_document, build_row, build_table

STYLE = """
:root{--c0:#57606a;--c1:#0a58ca;--c2:#a15c00;--c3:#116329;--c4:#7a3ea8;--c5:#b3261e;--c6:#0b7285;--c7:#8a6d00}
@media(prefers-color-scheme:dark){:root{--c0:#9198a1;--c1:#6cb0ff;--c2:#e3a04f;--c3:#57c06a;--c4:#c297ff;--c5:#ff8a80;--c6:#5cc8d7;
--c7:#d8bf4a}}
body{overflow-wrap:anywhere}td,th{white-space:normal}td:not(.number),th:not(.number){min-width:8rem}
.number{min-width:5rem}th.number{min-width:6.5rem}td.number{white-space:nowrap}th{vertical-align:bottom}
figure{margin:1.4rem 0}figure svg{min-width:36rem}figcaption{font-weight:600}figcaption small,.legend span{color:var(--faint);font-weight:400}
.legend span{display:inline-block;margin-right:1rem}.middle{text-anchor:middle}.curve{fill:none;stroke-width:1.8}
.dashed{stroke-dasharray:5 4}.mark{stroke:var(--page);stroke-width:.6}
pre{overflow-x:auto}tr.section td{font-weight:600;padding-top:1rem}.headline{color:var(--ink);font-weight:600}
""" + "".join(
    f".c{color}{{stroke:var(--c{color})}}.m{color}{{fill:var(--c{color})}}.k{color}{{color:var(--c{color})}}"
    for color in range(8)
)
NOT_SHOWN = (
    "Prices are recorded, the traders' behavior is not: they do not react to prices here, and their own hedges and later"
    " deposits are unknown. Between the open and the close of a bar the price takes the way that hurts first. The exchange's"
    " depth is a model. A replay shows what would have been, not what will be."
)


def render_page(request: Request, runs: Sequence[Run]) -> str:
    """Of at least one run."""
    parts = [
        "<h1>What hedging would have done</h1>",
        *(f'<p class="headline">{escape(sentence)}</p>' for sentence in describe_runs(runs)),
        *(f"<p>{escape(note)}</p>" for note in request.notes),
        "<h2>Figures</h2><p>in USD, one column for each policy</p>",
        build_sections(["figure", *(run.policy.name for run in runs)], build_cells(runs)),
        "<h2>Over time</h2>",
        *map(draw_chart, build_charts(runs)),
        *(f"<p>{escape(sentence)}</p>" for sentence in explain_left_out(runs)),
        "<h2>What the figures mean</h2>",
        build_sections(["figure", "meaning"], explain_cells(), texts=2),
        "<h2>What was assumed</h2>",
        build_assumptions(list_assumptions(request), request.policies),
        f"<p>{escape(NOT_SHOWN)}</p>",
    ]
    return build_document("dehedge replay", parts, STYLE)


def build_sections(heads: Sequence[str], cells: Cells, texts: int = 1) -> str:
    """A table whose rows stand under the titles of its parts; the first ``texts`` columns are words."""
    rows = []
    for title, lines in cells.items():
        rows.append(build_row([title, *[""] * (texts - 1)], [""] * (len(heads) - texts), kind="section"))
        rows += [build_row(line[:texts], line[texts:]) for line in lines]
    return build_table(heads[:texts], heads[texts:], rows)
