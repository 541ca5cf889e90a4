"""What a search came to, as tables of text for people and as plain data for programs.

Called by ``tune_session`` and ``tune_page``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from dehedge import __version__
from dehedge.replay.assumptions import build_options_data
from dehedge.replay.choices import list_lines
from dehedge.replay.headlines import format_share
from dehedge.replay.request import Inputs
from dehedge.replay.rows import Data, build_costs_data
from dehedge.replay.study import Pooled
from dehedge.replay.study_rows import build_pooled
from dehedge.replay.tuning import Chosen, Tuned, check_cost_holds, check_protection_holds
from dehedge.reporting.rows import round_usd

LINES = "What is chosen on everything, as lines of .env; what they do not name is as you have it"
TRIED_MAX = 1_000
"""Rows of the page; the JSON has all."""


class Panel(NamedTuple):
    """A table with a title; the first ``texts`` columns are words."""

    title: str
    heads: Sequence[str]
    texts: int
    rows: Sequence[Sequence[str]]


def build_folds_panel(tuned: Tuned) -> Panel:
    """What each fold chose, in and out of sample side by side."""
    heads = [
        "chosen on", "shown on", "chosen", "in: protection", "out: protection", "in: cost, of what is avoided",
        "out: cost, of what is avoided", "out: cost", "out: worse than unhedged",
    ]  # fmt: skip
    return Panel("Chosen on one part, shown on another", heads, 3, [_build_fold(chosen) for chosen in tuned.folds])


def _build_fold(chosen: Chosen) -> list[str]:
    inside, outside = chosen.inside, chosen.outside
    return [
        ", ".join(chosen.fold.chosen_on), chosen.fold.shown_on, chosen.name, format_share(inside.protection),
        format_share(outside.protection), format_share(inside.cost_share), format_share(outside.cost_share),
        round_usd(outside.cost), f"{outside.harmed_at_worst + outside.harmed_at_last:,}",
    ]  # fmt: skip


def build_front_panel(tuned: Tuned) -> Panel:
    """Those that no other beats over all windows, by cost."""
    title = "The best of all tried, over everything (in sample)"
    return _build_tried(title, tuned, tuned.front)


def build_tried_panel(tuned: Tuned) -> Panel:
    """All that was tried, by cost."""
    names = sorted(tuned.tried, key=lambda name: (tuned.tried[name].cost, name))
    return _build_tried("All tried, over everything (in sample)", tuned, names[:TRIED_MAX])


def _build_tried(title: str, tuned: Tuned, names: Iterable[str]) -> Panel:
    heads = [
        "setting",
        "protection, before cost",
        "protection, after cost",
        "median",
        "cost",
        "cost, of what is avoided",
        "worse than unhedged",
    ]
    return Panel(title, heads, 1, [[name, *_list_cells(tuned.tried[name])] for name in names])


def _list_cells(pooled: Pooled) -> list[str]:
    return [
        format_share(pooled.protection), format_share(pooled.net_protection), format_share(pooled.median_protection),
        round_usd(pooled.cost), format_share(pooled.cost_share), f"{pooled.harmed_at_worst + pooled.harmed_at_last:,}",
    ]  # fmt: skip


def describe(tuned: Tuned, protection: Decimal) -> list[str]:
    """In sentences what is chosen on everything, and each doubt about what was chosen."""
    target = format_share(protection)
    first = f"Chosen on everything together, and so shown on nothing: {tuned.overall}"
    if all(each.protection is not None and each.protection < protection for each in tuned.tried.values()):
        first += f" (none avoids {target}, so it is the most protective)"
    return [first, *(doubt for chosen in tuned.folds for doubt in _list_doubts(chosen))]


def list_settings(tuned: Tuned) -> list[str]:
    """What is chosen on everything, as lines to paste into `.env`."""
    return list_lines(tuned.overall)


def _list_doubts(chosen: Chosen) -> Iterable[str]:
    inside, outside, place = chosen.inside, chosen.outside, chosen.fold.shown_on
    if inside.loss <= 0:
        yield f"{place}: nothing was lost where it was chosen, so the cheapest was."
    if outside.loss <= 0:
        yield f"{place}: nothing is lost there, so it says what the setting costs and not what it protects."
    if not check_protection_holds(chosen):
        yield (
            f"{place}: out of sample it avoids {format_share(outside.protection)} and not {format_share(inside.protection)}"
            " as in sample, less than half: do not count on what was chosen there."
        )
    if not check_cost_holds(chosen):
        yield (
            f"{place}: out of sample a dollar avoided costs {format_share(outside.cost_share)} and not"
            f" {format_share(inside.cost_share)} as in sample, more by over a half."
        )


def build_tuned_data(inputs: Inputs, notes: Sequence[str], tuned: Tuned, protection: Decimal) -> Data:
    """Everything that came out: amounts as strings that lose nothing."""
    return {
        "version": __version__,
        "notes": list(notes),
        "options": build_options_data(inputs.options),
        "settings": {policy.name: dict(policy.settings) for policy in inputs.policies},
        "costs": build_costs_data(inputs.costs),
        "protection": str(protection),
        "sentences": describe(tuned, protection),
        "overall": tuned.overall,
        "env": list_settings(tuned),
        "front": list(tuned.front),
        "folds": [
            {
                "chosen_on": list(each.fold.chosen_on),
                "shown_on": each.fold.shown_on,
                "chosen": each.name,
                "env": list_lines(each.name),
                "in_sample": build_pooled(each.inside),
                "out_of_sample": build_pooled(each.outside),
                "protection_holds": check_protection_holds(each),
                "cost_holds": check_cost_holds(each),
            }
            for each in tuned.folds
        ],
        "tried": {name: build_pooled(each) for name, each in tuned.tried.items()},
    }
