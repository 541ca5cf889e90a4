"""The figures of a replay for people, in the order in which they are read, and for programs, exact.

One row for each figure, one column for each policy. Called by the table of the terminal, the page and the JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any, NamedTuple

from dehedge import __version__
from dehedge.replay.assumptions import build_options_data
from dehedge.replay.headlines import describe_runs, format_share
from dehedge.replay.model import Costs, Figures, Run, Series, Trade
from dehedge.replay.request import Request
from dehedge.reporting.rows import round_usd, show

Data = dict[str, Any]
Cells = Mapping[str, Sequence[Sequence[str]]]
"""The rows of a table under the titles of its parts."""


def format_span(seconds: float) -> str:
    """In the largest unit that says something."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def _format_count(count: int) -> str:
    return f"{count:,}"


class Row(NamedTuple):
    """A figure: its field, what people call it, what it means, and how it is shown."""

    field: str
    name: str
    meaning: str
    show: Callable[[Any], str]


class Section(NamedTuple):
    """Figures of one moment, or of one kind, under a title."""

    title: str
    rows: Sequence[Row]


AT_WORST = Section("At the worst moment", (
    Row("worst_loss", "loss, unhedged", "what the vault lacks at its worst moment without hedges", round_usd),
    Row("worst_avoided", "avoided, before cost", "how much less that is with hedges that cost nothing; their worst moment may be another", round_usd),
    Row("worst_protection_free", "protection, before cost", "avoided, as a share of the loss", format_share),
    Row("worst_net", "avoided, after cost", "how much less that is with hedges and what they cost until then", round_usd),
    Row("worst_protection", "protection, after cost", "that, as a share of the loss", format_share),
    Row("vault_start", "vault at first", "what the vault had at the beginning", round_usd),
    Row("worst_unhedged", "vault at worst, unhedged", "the least at any moment, open profits counted, without any hedge", round_usd),
    Row("worst_hedged", "vault at worst, hedged", "the least at any moment, with the hedges and their cost", round_usd),
    Row("worst_hedged_free", "the same, cost left out", "the least with the hedges, had they cost nothing", round_usd),
))  # fmt: skip
AT_END = Section("At the end", (
    Row("loss", "loss, unhedged", "what the vault lacks at the end without hedges; nothing where prices have come back", round_usd),
    Row("avoided", "avoided, before cost", "what the hedges earned of that", round_usd),
    Row("protection", "protection, before cost", "avoided, as a share of the loss", format_share),
    Row("net", "hedged less unhedged", "the vault with the hedges less the one without: their profit less their cost", round_usd),
    Row("vault_unhedged", "vault at last, unhedged", "open profits counted, without any hedge", round_usd),
    Row("vault_hedged", "vault at last, hedged", "the same with the hedges' profit and all they cost", round_usd),
    Row("hedge_profit", "profit of the hedges", "from prices alone, before cost", round_usd),
    Row("hedge_error", "hedge error", "what the traders won beyond the shield, less what the hedges earned", round_usd),
))  # fmt: skip
COST = Section("Cost, to the end", (
    Row("fees", "fees", "the exchange's", round_usd),
    Row("funding", "funding", "paid to the other side; below zero it was received", round_usd),
    Row("slippage", "slippage", "what spread and depth take at the moment of the fill", round_usd),
    Row("cost", "cost", "fees, funding and slippage", round_usd),
    Row("cost_share", "cost, of what is avoided at worst", "cost as a share of what is avoided at the worst moment", format_share),
    Row("cost_per_dollar", "cost, of what is avoided at the end", "cost as a share of what is avoided at the end", format_share),
    Row("price_moved", "price moved before the fill", "against the hedges, from decision to fill; no part of the cost, it is in their profit already", round_usd),
))  # fmt: skip
COUNTS = Section("Counts", (
    Row("opens", "hedges opened", "one for each position", _format_count),
    Row("closes", "hedges closed", "one for each position", _format_count),
    Row("resizes", "hedges resized", "made larger or smaller", _format_count),
    Row("orders", "orders sent", "after grouping: one may be for many hedges, and the exchange limits these", _format_count),
    Row("unhedged_s", "time unhedged at risk", "for how long something at risk had no hedge", format_span),
    Row("margin_peak", "margin at peak, USD", "the most that the exchange held as margin", round_usd),
    Row("liquidations", "liquidations of hedges", "times that the exchange closed the hedges", _format_count),
    Row("opens_refused", "opens refused", "by the exchange, for want of margin, or by a limit of yours", _format_count),
))  # fmt: skip
SECTIONS = (AT_WORST, AT_END, COST, COUNTS)
ROWS: Sequence[Row] = [row for section in SECTIONS for row in section.rows]


def build_cells(runs: Sequence[Run]) -> Cells:
    """A column for each run."""
    return {
        section.title: [[row.name, *(row.show(getattr(run.figures, row.field)) for run in runs)] for row in section.rows]
        for section in SECTIONS
    }


def explain_cells() -> Cells:
    """What each row means."""
    return {section.title: [[row.name, row.meaning] for row in section.rows] for section in SECTIONS}


def build_data(request: Request, runs: Sequence[Run]) -> Data:
    """Everything that came out: amounts as strings that lose nothing, times in seconds since the epoch, series as numbers."""
    history = request.history
    return {
        "version": __version__,
        "notes": list(request.notes),
        "sentences": describe_runs(runs),
        "vault": history.vault,
        "shield": history.shield,
        "positions": len(history.traders),
        "options": build_options_data(request.options),
        "costs": build_costs_data(request.costs),
        "policies": [
            {
                "name": run.policy.name,
                "settings": dict(run.policy.settings),
                "figures": build_figures_data(run.figures),
                "series": _build_series(run.series),
                "trades": [_build_trade(trade) for trade in run.trades],
            }
            for run in runs
        ],
    }


def build_costs_data(costs: Costs) -> Data:
    return {
        each.name: make_plain(getattr(costs, each.name))
        for each in fields(costs)
        if each.name not in ("rules", "outages")
    } | {"outages": [list(outage) for outage in costs.outages]}


def build_figures_data(figures: Figures) -> Data:
    return {each.name: make_plain(getattr(figures, each.name)) for each in fields(figures)}


def make_plain(value: object) -> object:
    return show(value) if isinstance(value, Decimal) else value


def _build_series(series: Series) -> Mapping[str, object]:
    columns = {each.name: getattr(series, each.name) for each in fields(series)}
    prices = {market: column.tolist() for market, column in columns.pop("prices").items()}
    return {name: column.tolist() for name, column in columns.items()} | {"prices": prices}


def _build_trade(trade: Trade) -> Data:
    return {name: make_plain(value) for name, value in trade._asdict().items()}
