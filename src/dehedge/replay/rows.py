"""The figures of a replay for people, in the order in which they are read, and for programs, exact.

One row for each figure, one column for each policy. Called by the table of the terminal, the page and the JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any, NamedTuple

from dehedge import __version__
from dehedge.replay.model import Costs, Figures, Run, Series, Trade
from dehedge.replay.request import Request
from dehedge.reporting.rows import round_usd, show

Data = dict[str, Any]
NOTHING = "n/a"
"""Where there is nothing to divide by."""


def format_share(share: Decimal | None) -> str:
    """A share as a percentage, to a tenth."""
    return f"{round(share * 100, 1) + 0:,.1f} %" if share is not None else NOTHING


def format_span(seconds: float) -> str:
    """In the largest unit that says something."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.0f} s"


def _format_rate(cost: Decimal | None) -> str:
    return f"{cost:,.3f}" if cost is not None else NOTHING


def _format_count(count: int) -> str:
    return f"{count:,}"


class Row(NamedTuple):
    """A figure: its field, what people call it, what it means, and how it is shown."""

    field: str
    name: str
    meaning: str
    show: Callable[[Any], str]


ROWS: Sequence[Row] = (
    Row("vault_start", "vault at first", "what the vault had at the beginning", round_usd),
    Row(
        "vault_unhedged", "vault at last, unhedged", "and at the end without any hedge, open profits counted", round_usd
    ),
    Row("vault_hedged", "vault at last, hedged", "the same with the hedges' profit and all they cost", round_usd),
    Row("worst_unhedged", "vault at worst, unhedged", "the least at any moment, without any hedge", round_usd),
    Row("worst_hedged", "vault at worst, hedged", "the least at any moment, with the hedges and their cost", round_usd),
    Row("worst_hedged_free", "the same, cost left out", "the least with the hedges, had they cost nothing", round_usd),
    Row("loss", "loss unhedged", "what the vault lacks at the end without any hedge", round_usd),
    Row("avoided", "loss avoided", "what the hedges earned of that, before their cost", round_usd),
    Row("protection", "protection", "loss avoided as a share of the loss", format_share),
    Row("worst_protection", "protection at worst", "the same of the worst moments, cost included", format_share),
    Row("hedge_profit", "profit of the hedges", "from prices alone", round_usd),
    Row("fees", "fees", "the exchange's", round_usd),
    Row("funding", "funding", "paid to the other side; below zero it was received", round_usd),
    Row("slippage", "slippage", "fills against the prices at the decision", round_usd),
    Row("cost", "cost", "fees, funding and slippage", round_usd),
    Row("cost_per_dollar", "cost per dollar avoided", "cost by loss avoided", _format_rate),
    Row("net", "net", "profit of the hedges less their cost", round_usd),
    Row("hedge_error", "hedge error", "what the traders won beyond the shield, less what the hedges earned", round_usd),
    Row("opens", "opens", "hedges opened", _format_count),
    Row("closes", "closes", "hedges closed", _format_count),
    Row("resizes", "resizes", "hedges made larger or smaller", _format_count),
    Row("unhedged_s", "time unhedged at risk", "for how long something at risk had no hedge", format_span),
    Row("margin_peak", "margin at peak", "the most that the exchange held as margin", round_usd),
    Row("liquidations", "liquidations of hedges", "times that the exchange closed the hedges", _format_count),
    Row("opens_refused", "opens refused", "by the exchange, for want of margin, or by a limit of yours", _format_count),
)


def list_cells(row: Row, runs: Sequence[Run]) -> list[str]:
    """A figure of each run."""
    return [row.show(getattr(run.figures, row.field)) for run in runs]


def build_data(request: Request, runs: Sequence[Run]) -> Data:
    """Everything that came out: amounts as strings that lose nothing, times in seconds since the epoch, series as numbers."""
    history = request.history
    return {
        "version": __version__,
        "notes": list(request.notes),
        "vault": history.vault,
        "shield": history.shield,
        "positions": len(history.traders),
        "costs": build_costs_data(request.costs),
        "policies": [
            {
                "name": run.policy.name,
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
