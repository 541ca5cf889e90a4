"""One search from options to report: reads, runs all that is tried over all books, chooses, shows and writes.

What can fail early fails before the first run. Called by ``cli_replay``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from rich.console import Console
from rich.text import Text

from dehedge.errors import QuestionInvalid
from dehedge.replay.candidates import TRIES_MAX, list_candidates, list_idle, parse_varied
from dehedge.replay.choices import IDEAL, NONE, PRESETS, check_each_once
from dehedge.replay.options import Options, parse_number
from dehedge.replay.pool import Job, run_jobs
from dehedge.replay.ranges import fix_words, read_seed
from dehedge.replay.request import Inputs, read_inputs
from dehedge.replay.session import Made, Wanted, build_figure_table, check_wanted, deliver, list_notes, open_bars
from dehedge.replay.tune_page import build_tune_charts, render_tuned
from dehedge.replay.tune_rows import (
    LINES,
    Panel,
    build_folds_panel,
    build_front_panel,
    build_tuned_data,
    describe,
    list_settings,
)
from dehedge.replay.tuning import Fold, Tuned, build_folds, tune
from dehedge.replay.windows import split_window

FOLDS_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """As it is typed; ``folds`` is None where nobody said it."""

    vary: Sequence[str] = ()
    tries: int = 100
    folds: int | None = None
    protection_percent: str = "80%"


def tune_history(options: Options, search: Search, wanted: Wanted, console: Console) -> int:
    """Exit 0; raises what is wrong with the options and the files."""
    check_wanted(wanted)
    protection = parse_number("--protection", search.protection_percent.removesuffix("%"), 100) / 100
    names = list_tried(options, search)
    inputs, folds = _fold(read_inputs(replace(options, policies=names)), search.folds)
    tuned = _run(inputs, names, folds, protection)
    idle = list_idle(_list_presets(options), parse_varied(search.vary))
    notes = [*list_notes(inputs), _describe_search(names, protection), *idle]
    if not wanted.use_json:
        _show(notes, tuned, protection, console)
    data, page = (build(inputs, notes, tuned, protection) for build in (build_tuned_data, render_tuned))
    return deliver(Made(data, str(page), build_tune_charts(tuned)), wanted)


def list_tried(options: Options, search: Search) -> list[str]:
    """Policies by their texts. Raises ``QuestionInvalid``."""
    if not 1 <= search.tries <= TRIES_MAX:
        raise QuestionInvalid(f"--tries: {search.tries} is not a number from 1 to {TRIES_MAX}")
    check_each_once(options.policies)
    presets = _list_presets(options)
    fixed = [name for name in presets if name.partition(":")[0] in (NONE, IDEAL)]
    if fixed:
        raise QuestionInvalid(f"--policy: {fixed[0][:40]} has nothing to choose; give one that hedges")
    seed = read_seed(fix_words(options.generate, 0))
    return list_candidates(presets, parse_varied(search.vary), search.tries, seed)


def _list_presets(options: Options) -> list[str]:
    return list(options.policies) or [name for name in PRESETS if name not in (NONE, IDEAL)]


def _fold(inputs: Inputs, count: int | None) -> tuple[Inputs, list[Fold]]:
    """One history is cut into parts; of several each is left out once."""
    if count is not None and not 1 <= count <= FOLDS_MAX:
        raise QuestionInvalid(f"--folds: {count} is not a number from 1 to {FOLDS_MAX}")
    if len(inputs.windows) > 1:
        if count is not None:
            raise QuestionInvalid("--folds cuts one history; of several --window each is left out once")
        return inputs, build_folds([window.name for window in inputs.windows], are_in_order=False)
    parts = split_window(inputs.windows[0], (count or 3) + 1)
    return inputs._replace(windows=parts), build_folds([part.name for part in parts], are_in_order=True)


def _run(inputs: Inputs, names: Sequence[str], folds: Sequence[Fold], protection: Decimal) -> Tuned:
    """Each window has books of its own, so what is shown was chosen neither on its prices nor on its books."""
    books = inputs.options.books
    jobs = [Job(window, window * books + number) for window in range(len(inputs.windows)) for number in range(books)]
    with open_bars() as bars:
        task = bars.add_task(f"{len(names)} settings, {len(jobs)} books", total=1.0)
        samples = run_jobs(inputs, jobs, lambda share: bars.update(task, completed=share))
    return tune(samples, names, folds, protection)


def _describe_search(names: Sequence[str], protection: Decimal) -> str:
    return (
        f"{len(names):,} settings; chosen is the cheapest of those that avoid {protection * 100:f} % of the loss at worst"
        " before cost, else the most protective; each window has books of its own"
    )


def _show(notes: Sequence[str], tuned: Tuned, protection: Decimal, console: Console) -> None:
    for note in notes:
        console.print(Text(note))
    for panel in (build_folds_panel(tuned), build_front_panel(tuned)):
        _show_panel(panel, console)
    for line in [*describe(tuned, protection), f"{LINES}:", *list_settings(tuned)]:
        console.print(Text(line))


def _show_panel(panel: Panel, console: Console) -> None:
    table = build_figure_table(panel.heads, panel.rows, panel.texts)
    table.title = Text(panel.title)
    console.print(table)
