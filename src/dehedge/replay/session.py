"""One replay from options to report: reads, runs each policy with a progress bar, shows and writes what came out.

What can fail early fails before the first run. Called by ``cli_replay``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dehedge.errors import QuestionInvalid
from dehedge.replay.choices import fit_costs
from dehedge.replay.engine import run_story
from dehedge.replay.headlines import describe_runs
from dehedge.replay.model import Policy, Run
from dehedge.replay.options import Options
from dehedge.replay.page import render_page
from dehedge.replay.pictures import check_drawable, check_folder, write_pictures
from dehedge.replay.plain_bars import PlainBars
from dehedge.replay.plots import Chart, build_charts
from dehedge.replay.pool import list_jobs, run_jobs
from dehedge.replay.request import (
    SHIELD_DEFAULT,
    VAULT_DEFAULT,
    Inputs,
    Request,
    build_request,
    describe_book,
    describe_prices,
    read_inputs,
)
from dehedge.replay.rows import Cells, build_cells, build_data
from dehedge.replay.sheets import check_writable, write_text
from dehedge.replay.story import Story, build_story
from dehedge.replay.study_page import render_study
from dehedge.replay.study_plots import build_study_charts
from dehedge.replay.study_rows import Group, build_groups, build_study_data
from dehedge.replay.study_rows import build_cells as build_study_cells
from dehedge.replay.windows import describe_window

DEFAULT = Options()


class Wanted(NamedTuple):
    """What is to be made of the runs."""

    outs: Sequence[Path] = ()
    pictures: Path | None = None
    use_json: bool = False


class Made(NamedTuple):
    """What came out, as data, as a page and as charts."""

    data: object
    page: str
    charts: Sequence[Chart]


def replay_history(options: Options, wanted: Wanted, console: Console) -> int:
    """Exit 0; raises what is wrong with the options and the files."""
    check_wanted(wanted)
    return _replay_books(options, wanted, console) if options.are_many else _replay_once(options, wanted, console)


def _replay_once(options: Options, wanted: Wanted, console: Console) -> int:
    request = build_request(options)
    runs = run_policies(request)
    if not wanted.use_json:
        show_runs(request, runs, console)
    return deliver(Made(build_data(request, runs), render_page(request, runs), build_charts(runs)), wanted)


def _replay_books(options: Options, wanted: Wanted, console: Console) -> int:
    inputs = read_inputs(options)
    jobs = list_jobs(inputs)
    with open_bars() as bars:
        task = bars.add_task(f"{len(jobs)} books", total=1.0)
        samples = run_jobs(inputs, jobs, lambda share: bars.update(task, completed=share))
    notes = list_notes(inputs)
    groups = build_groups(samples, [policy.name for policy in inputs.policies])
    if not wanted.use_json:
        show_groups(notes, groups, console)
    charts = build_study_charts(samples, groups)
    return deliver(Made(build_study_data(inputs, notes, samples), render_study(inputs, notes, samples), charts), wanted)


def list_notes(inputs: Inputs) -> list[str]:
    """What was read and how the books are made, in words."""
    options = inputs.options
    made_up = f"{options.books:,} made-up books of {options.generate or 'seed=1'} in each window, seeds counting up"
    books = [made_up] if inputs.book is None else [note for each in inputs.windows for note in describe_book(inputs, each)]
    usual = "" if options.book is None else "what the book says, else "
    vault, shield = options.vault or f"{usual}{VAULT_DEFAULT}", options.shield or f"{usual}{SHIELD_DEFAULT}"
    notes = [note for window in inputs.windows for note in describe_window(window)]
    notes += [*describe_prices(inputs), *books, f"vault: {vault}; shield: {shield}; percentages are of what is open at first"]
    rough = f"--roughness: noise of {options.roughness_percent} % of each bar's range within it"
    return [*notes, rough] if options.roughness_percent != DEFAULT.roughness_percent else notes


def deliver(made: Made, wanted: Wanted) -> int:
    """Print and write what was asked for."""
    if wanted.use_json:
        print(json.dumps(made.data, indent=2))
    for path in _write(made, wanted):
        Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print(f"written: {path}")
    return 0


def check_wanted(wanted: Wanted) -> None:
    """Raises what would fail after a long run."""
    for path in wanted.outs:
        if path.suffix not in (".html", ".json"):
            raise QuestionInvalid(f"--out: {path}: is neither .html nor .json")
        if not path.parent.is_dir():
            raise QuestionInvalid(f"--out: {path}: there is no such folder")
        check_writable("--out", path)
    if wanted.pictures is not None:
        check_drawable()
        check_folder(wanted.pictures)


def run_policies(request: Request) -> list[Run]:
    """Each in turn over one story, with a bar on standard error where that is a terminal."""
    story = build_story(request.history)
    with open_bars() as bars:
        return [_run(request, story, policy, bars) for policy in request.policies]


@contextmanager
def open_bars() -> Iterator[Progress | PlainBars]:
    """Bars on standard error, where that is a terminal, and else a line now and then."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, markup=False, highlight=False)
    if not console.is_terminal:
        with PlainBars() as lines:
            yield lines
        return
    with Progress(*columns, console=console, transient=True) as bars:
        yield bars


def _run(request: Request, story: Story, policy: Policy, bars: Progress | PlainBars) -> Run:
    task = bars.add_task(policy.name, total=1.0)
    costs = fit_costs(request.costs, policy)
    run = run_story(story, request.history, costs, policy, lambda share: bars.update(task, completed=share))
    bars.update(task, completed=1.0)
    return run


def show_runs(request: Request, runs: Sequence[Run], console: Console) -> None:
    """The figures side by side."""
    for note in [*request.notes, *describe_runs(runs)]:
        console.print(Text(note))
    console.print(build_section_table(["USD", *(run.policy.name for run in runs)], build_cells(runs)))


def show_groups(notes: Sequence[str], groups: Sequence[Group], console: Console) -> None:
    """A table for all windows together, and one for each."""
    for note in notes:
        console.print(Text(note))
    for group in groups:
        table = build_section_table(["USD", *group.pooled], build_study_cells(group))
        table.title = Text(group.name)
        console.print(table)


def build_section_table(names: Sequence[str], cells: Cells) -> Table:
    """A line for each title, and its rows under it."""
    table = build_figure_table(names, [])
    for title, rows in cells.items():
        table.add_section()
        table.add_row(Text(title, style="bold"))
        for row in rows:
            table.add_row(*map(Text, row))
    return table


def build_figure_table(names: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> Table:
    """So many columns of words, and then figures; nothing in them is markup."""
    table = Table()
    for place, name in enumerate(names):
        table.add_column(Text(name), justify="right" if place >= texts else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _write(made: Made, wanted: Wanted) -> list[Path]:
    for path in wanted.outs:
        write_text(path, made.page if path.suffix == ".html" else json.dumps(made.data, indent=1))
    pictures = write_pictures(wanted.pictures, made.charts) if wanted.pictures is not None else []
    return [*wanted.outs, *pictures]
