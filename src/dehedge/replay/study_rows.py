"""The pooled figures of many books for people, in the order in which they are read, and for programs, exact.

One row for each figure, one column for each policy. Called by the table of the terminal, the page and the JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from dehedge import __version__
from dehedge.replay.assumptions import build_options_data
from dehedge.replay.headlines import format_share
from dehedge.replay.request import Inputs
from dehedge.replay.rows import Cells, Data, build_costs_data, build_figures_data, make_plain
from dehedge.replay.study import Pooled, Sample, pool, pool_windows
from dehedge.reporting.rows import round_usd

ALL = "all together"


class Row(NamedTuple):
    """A figure: what people call it, what it means, and how it is shown."""

    name: str
    meaning: str
    show: Callable[[Pooled], str]


class Group(NamedTuple):
    """A window, or all of them, with what each policy came to."""

    name: str
    pooled: Mapping[str, Pooled]


def _format_fine(share: Decimal | None) -> str:
    return f"{round(share * 100, 2) + 0:,.2f} %" if share is not None else "n/a"


def _describe_harm(pooled: Pooled) -> str:
    harm = pooled.harm
    if harm is None:
        return "none"
    place = f"{harm.window}, " if harm.window else ""
    moment = "at worst" if harm.moment == "worst" else "at the end"
    return f"{_format_fine(harm.share)} {moment}: {place}seed={harm.seed}"


class Section(NamedTuple):
    """Figures of one moment, or of one kind, under a title."""

    title: str
    rows: Sequence[Row]


SECTIONS: Sequence[Section] = (
    Section("At the worst moments", (
        Row("loss, unhedged", "what the vaults lack at their worst moments without hedges, summed", lambda it: round_usd(it.loss)),
        Row("avoided, before cost", "how much less that is with hedges that cost nothing; their worst moments may be others", lambda it: round_usd(it.avoided)),
        Row("protection, before cost", "avoided, as a share of the summed loss", lambda it: format_share(it.protection)),
        Row("protection, after cost", "the same with what the hedges cost until then", lambda it: format_share(it.net_protection)),
        Row("median of the books, before cost", "of the same share, over the books that lose", lambda it: format_share(it.median_protection)),
        Row("median of the books, after cost", "of the same share, over the books that lose", lambda it: format_share(it.median_net)),
    )),
    Section("Cost, to the end", (
        Row("cost", "fees, funding and slippage of all runs, to their ends", lambda it: round_usd(it.cost)),
        Row("cost, of what is avoided at worst", "cost as a share of what is avoided, before cost", lambda it: format_share(it.cost_share)),
        Row("cost by vault and year", "cost as a share of the vaults, a year of it", lambda it: _format_fine(it.cost_per_year)),
    )),
    Section("Counts", (
        Row("books", "books times windows", lambda it: f"{it.books:,}"),
        Row("books that lose", "whose vault at its worst moment is below its beginning, unhedged", lambda it: f"{it.losing:,}"),
        Row("worse than unhedged, at worst", "books, by more than 0.1 % of what is open at first", lambda it: f"{it.harmed_at_worst:,}"),
        Row("worse than unhedged, at the end", "the same at the end, cost included", lambda it: f"{it.harmed_at_last:,}"),
        Row("the worst of them", "by how much of what is open at first, at which moment, and the book's seed", _describe_harm),
    )),
)  # fmt: skip
ROWS: Sequence[Row] = [row for section in SECTIONS for row in section.rows]


def build_groups(samples: Sequence[Sample], names: Sequence[str]) -> list[Group]:
    """All together, and where there are several windows each of them."""
    groups = [Group(ALL, {name: pool(samples, name) for name in names})]
    windows = {name: pool_windows(samples, name) for name in names}
    places = dict.fromkeys(each.window for each in samples)
    if len(places) > 1:
        groups += [Group(place, {name: windows[name][place] for name in names}) for place in places]
    return groups


def build_cells(group: Group) -> Cells:
    """A column for each policy."""
    return {
        section.title: [[row.name, *map(row.show, group.pooled.values())] for row in section.rows]
        for section in SECTIONS
    }


def explain_cells() -> Cells:
    """What each row means."""
    return {section.title: [[row.name, row.meaning] for row in section.rows] for section in SECTIONS}


def build_study_data(inputs: Inputs, notes: Sequence[str], samples: Sequence[Sample]) -> Data:
    """Everything that came out, each book's figures with it: amounts as strings that lose nothing."""
    names = [policy.name for policy in inputs.policies]
    return {
        "version": __version__,
        "notes": list(notes),
        "options": build_options_data(inputs.options),
        "settings": {policy.name: dict(policy.settings) for policy in inputs.policies},
        "costs": build_costs_data(inputs.costs),
        "groups": [
            {"name": group.name, "policies": {name: build_pooled(each) for name, each in group.pooled.items()}}
            for group in build_groups(samples, names)
        ],
        "books": [
            {
                "window": each.window,
                "seed": each.seed,
                "gross": make_plain(each.gross),
                "policies": {name: build_figures_data(figures) for name, figures in each.figures.items()},
            }
            for each in samples
        ],
    }


def build_pooled(pooled: Pooled) -> Data:
    """One policy's, by the names of its fields."""
    data = {name: make_plain(getattr(pooled, name)) for name in Pooled.__slots__ if name != "harm"}
    harm = pooled.harm
    told = {name: make_plain(value) for name, value in harm._asdict().items()} if harm is not None else None
    return {**data, "harm": told}
