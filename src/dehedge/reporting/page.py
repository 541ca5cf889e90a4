"""A report as one HTML page that needs nothing else: light and dark, on a phone as on a desk.

It runs no script and loads nothing, and its policy forbids both. Whatever comes from the chain or the exchange is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from dehedge import __version__
from dehedge.core.flows import Sums
from dehedge.core.report import HedgeReport, Report
from dehedge.reporting.charts import draw_course, draw_markets
from dehedge.reporting.rows import round_bps, round_price, round_usd, show
from dehedge.reporting.spans import format_moment
from dehedge.reporting.text import MONEY, list_counts, list_money, list_notes

STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--page:#fff;--faint:#59636e;--rule:#d1d9e0;--net:#0a58ca;--gain:#a15c00;
--good:#116329;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--page:#0d1117;--faint:#9198a1;--rule:#30363d;--net:#6cb0ff;
--gain:#e3a04f;--good:#57c06a;--bad:#ff8a80}}
*{box-sizing:border-box}body{margin:0 auto;max-width:75rem;padding:1rem;background:var(--page);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
p{color:var(--faint);margin:.3rem 0}dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.6rem;margin:1rem 0}
dl div{border:1px solid var(--rule);border-radius:.5rem;padding:.5rem .7rem}dt{color:var(--faint);font-size:.85rem}
dd{margin:0;font-size:1.2rem;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:.3rem .5rem;border-bottom:1px solid var(--rule);text-align:left;white-space:nowrap}th{color:var(--faint)}
.number{text-align:right;font-variant-numeric:tabular-nums}tr.all td{font-weight:600}.below{color:var(--bad)}
code{font-size:.85em}svg{width:100%;height:auto;display:block}svg text{fill:var(--faint);font-size:11px}.end{text-anchor:end}
.grid{stroke:var(--rule)}.line{fill:none;stroke-width:2}.net{stroke:var(--net)}.gain{stroke:var(--gain);stroke-dasharray:5 4}
.profit{fill:var(--good)}.loss{fill:var(--bad)}.key b{font-weight:600}.key .n{color:var(--net)}.key .g{color:var(--gain)}
@media print{body{max-width:none}}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render_page(report: Report) -> str:
    span = f"{format_moment(report.since)} to {format_moment(report.until)} UTC"
    parts = [
        f"<h1>What the hedges earned and cost</h1><p>{escape(span)}</p>",
        _build_tiles(report.sums),
        *(_build_body(report) if report.markets else ["<p>There were no hedges in this time.</p>"]),
        *(f"<p>{escape(note)}</p>" for note in list_notes(report)),
    ]
    return build_document(f"dehedge report: {span}", parts)


def build_document(title: str, parts: Iterable[str], style: str = "") -> str:
    """A whole page of parts that are HTML already; the title is not."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head>"
        f"<body><main>{''.join(parts)}<p>dehedge {escape(__version__)}</p></main></body></html>\n"
    )


def _build_body(report: Report) -> list[str]:
    key = (
        '<p class="key"><b class="n">solid</b>: net profit of the hedges, added up; '
        '<b class="g">dashed</b>: what the vault would have lost without them</p>'
    )
    tables = [f"<h2>{escape(market.market)}</h2>{_build_hedges(market.hedges)}" for market in report.markets]
    return [
        f"<h2>Over time</h2>{key}{draw_course(report)}",
        f"<h2>By market</h2>{draw_markets(report)}{_build_markets(report)}",
        *tables,
    ]


def _build_tiles(sums: Sums) -> str:
    tiles = [
        ("net profit", round_usd(sums.net_usd)),
        ("realized", round_usd(sums.realized_usd)),
        ("fees", round_usd(sums.fees_usd)),
        ("funding", round_usd(sums.funding_usd)),
        ("slippage", f"{round_usd(sums.slippage_usd)} ({round_bps(sums.slippage_bps) or '-'} bps)"),
        ("vault's loss without", round_usd(sums.trader_gain_usd)),
        ("opened, closed", f"{int(sums.opened)}, {int(sums.closed)}"),
    ]
    return f"<dl>{''.join(f'<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>' for name, value in tiles)}</dl>"


def _build_markets(report: Report) -> str:
    rows = [
        build_row([market.market], [*list_counts(market.sums), *list_money(market.sums)]) for market in report.markets
    ]
    rows.append(build_row(["all"], [*list_counts(report.sums), *list_money(report.sums)], kind="all"))
    return build_table(["market"], ["opened", "closed", "traded", *MONEY], rows)


def _build_hedges(hedges: Iterable[HedgeReport]) -> str:
    names = ["position", "side", "opened", "why", "closed", "why"]
    return build_table(names, ["quantity", "in", "out", *MONEY, "open: profit"], [_build_hedge(hedge) for hedge in hedges])


def _build_hedge(hedge: HedgeReport) -> str:
    life, standing = hedge.life, hedge.standing
    closed_at = life.closed_at
    texts = [
        life.key.position_id.split("|")[0], life.side.value, format_moment(life.opened_at), life.fills[0].reason,
        format_moment(closed_at) if closed_at is not None else "open", life.fills[-1].reason if closed_at is not None else "",
    ]  # fmt: skip
    figures = [show(hedge.quantity) or "", round_price(hedge.price_in), round_price(hedge.price_out)]
    open_profit = round_usd(standing.unrealized_usd) if standing is not None else ""
    return build_row(texts, [*figures, *list_money(hedge.sums), open_profit])


def build_table(texts: Iterable[str], figures: Iterable[str], rows: Iterable[str]) -> str:
    """Columns of text and then of figures; the rows are of ``build_row``."""
    heads = [f"<th>{escape(name)}</th>" for name in texts]
    heads += [f'<th class="number">{escape(name)}</th>' for name in figures]
    return f'<div class="wide"><table><thead><tr>{"".join(heads)}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def build_row(texts: Iterable[str], figures: Iterable[str], kind: str = "") -> str:
    """Whatever it is given is escaped."""
    cells = [f"<td>{escape(text)}</td>" for text in texts]
    cells += [f'<td class="number{" below" if text.startswith("-") else ""}">{escape(text)}</td>' for text in figures]
    return f'<tr class="{kind}">{"".join(cells)}</tr>'
