"""What a replay comes to in two sentences, one for each moment that counts: the vault's worst, and the end.

A crash whose prices come back within the window has no loss at its end, so neither moment may stand for the other. Called by the
table of the terminal, the page and the JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from dehedge.replay.model import Figures, Run
from dehedge.replay.sheets import format_time
from dehedge.reporting.rows import round_usd

NOTHING = "n/a"
"""Where there is nothing to divide by."""


def format_share(share: Decimal | None) -> str:
    """A share as a percentage, to a tenth."""
    return f"{round(share * 100, 1) + 0:,.1f} %" if share is not None else NOTHING


def describe_runs(runs: Sequence[Run]) -> list[str]:
    """Of at least one run: unhedged all runs are the same one."""
    first, series = runs[0].figures, runs[0].series
    worst_s, last_s = (int(series.time_s[place]) for place in (series.vault_unhedged.argmin(), -1))
    hedged = [run for run in runs if run.policy.hedging is not None]
    at_worst, at_end = (_list_told(hedged, tell) for tell in (_tell_at_worst, _tell_at_end))
    came_back = ": prices have come back" if first.worst_loss > 0 and first.loss <= 0 else ""
    return [
        f"At its worst moment, {format_time(worst_s)}, the vault lacks {_say_loss(first.worst_loss)} without hedges."
        + (f" Of that is avoided: {at_worst}." if at_worst and first.worst_loss > 0 else ""),
        f"At the end, {format_time(last_s)}, it lacks {_say_loss(first.loss)} without hedges{came_back}."
        + (f" With hedges it has, after all their cost: {at_end}." if at_end else ""),
    ]


def _say_loss(loss: Decimal) -> str:
    return f"{round_usd(loss)} USD" if loss > 0 else "nothing"


def _list_told(hedged: Sequence[Run], tell: Callable[[Figures], str]) -> str:
    return "; ".join(f"{run.policy.name} {tell(run.figures)}" for run in hedged)


def _tell_at_worst(figures: Figures) -> str:
    return f"{format_share(figures.worst_protection_free)}, after cost {format_share(figures.worst_protection)}"


def _tell_at_end(figures: Figures) -> str:
    return f"{round_usd(abs(figures.net))} USD {'less' if figures.net < 0 else 'more'}"
