"""One replay from options to report: reads, runs each policy with a progress bar, shows and writes what came out.

What can fail early fails before the first run. Called by ``cli_replay``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dehedge.errors import QuestionInvalid
from dehedge.replay.engine import run_story
from dehedge.replay.model import Policy, Run
from dehedge.replay.page import render_page
from dehedge.replay.pictures import check_drawable, write_pictures
from dehedge.replay.plots import build_charts
from dehedge.replay.request import Options, Request, build_request
from dehedge.replay.rows import ROWS, build_data, list_cells
from dehedge.replay.sheets import write_text
from dehedge.replay.story import Story, build_story


class Wanted(NamedTuple):
    """What is to be made of the runs."""

    outs: Sequence[Path] = ()
    pictures: Path | None = None
    use_json: bool = False


def replay_history(options: Options, wanted: Wanted, console: Console) -> int:
    """Exit 0; raises what is wrong with the options and the files."""
    _check_outs(wanted)
    if wanted.pictures is not None:
        check_drawable()
    request = build_request(options)
    runs = run_policies(request)
    if wanted.use_json:
        print(json.dumps(build_data(request, runs), indent=2))
    else:
        show_runs(request, runs, console)
    for path in [*_write(request, runs, wanted)]:
        Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print(f"written: {path}")
    return 0


def _check_outs(wanted: Wanted) -> None:
    for path in wanted.outs:
        if path.suffix not in (".html", ".json"):
            raise QuestionInvalid(f"--out: {path}: is neither .html nor .json")
        if not path.parent.is_dir():
            raise QuestionInvalid(f"--out: {path}: there is no such folder")


def run_policies(request: Request) -> list[Run]:
    """Each in turn over one story, with a bar on standard error where that is a terminal."""
    story = build_story(request.history)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True, markup=False, highlight=False)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        return [_run(request, story, policy, bars) for policy in request.policies]


def _run(request: Request, story: Story, policy: Policy, bars: Progress) -> Run:
    task = bars.add_task(policy.name, total=1.0)
    run = run_story(story, request.history, request.costs, policy, lambda share: bars.update(task, completed=share))
    bars.update(task, completed=1.0)
    return run


def show_runs(request: Request, runs: Sequence[Run], console: Console) -> None:
    """The figures side by side."""
    for note in request.notes:
        console.print(Text(note))
    table = Table("USD")
    for run in runs:
        table.add_column(Text(run.policy.name), justify="right")
    for row in ROWS:
        table.add_row(row.name, *list_cells(row, runs))
    console.print(table)


def _write(request: Request, runs: Sequence[Run], wanted: Wanted) -> list[Path]:
    for path in wanted.outs:
        is_page = path.suffix == ".html"
        write_text(path, render_page(request, runs) if is_page else json.dumps(build_data(request, runs), indent=1))
    pictures = write_pictures(wanted.pictures, build_charts(runs)) if wanted.pictures is not None else []
    return [*wanted.outs, *pictures]
