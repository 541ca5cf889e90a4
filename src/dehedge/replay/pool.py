"""Many books in many processes: each draws its book, makes its story once, and runs every policy over it.

What was read is handed to a process once, when it begins; what comes back are figures alone. One process is this one. Called by
``session`` and ``tuning``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from decimal import Decimal
from multiprocessing import active_children, get_context, parent_process
from signal import SIG_BLOCK, SIG_SETMASK, SIGINT, pthread_sigmask
from threading import Thread
from typing import NamedTuple

from dehedge.errors import DehedgeError
from dehedge.replay.choices import fit_costs
from dehedge.replay.engine import run_story
from dehedge.replay.model import USDC_UNIT, Progress
from dehedge.replay.request import Inputs, build_history
from dehedge.replay.story import build_story
from dehedge.replay.study import Sample
from dehedge.replay.windows import get_span

YEAR_S = 365 * 86_400
PIECES_MIN = 12
"""Of fewer the cores would not be shared well, nor would the bar tell much."""
DIED = "a process of the replay was ended, perhaps for want of memory; give fewer books or bars"


class Job(NamedTuple):
    """A book by its number in a window by its place; of the policies each ``every``-th from ``first`` on."""

    window: int
    number: int
    first: int = 0
    every: int = 1


def list_jobs(inputs: Inputs) -> list[Job]:
    """The same books in each window."""
    return [Job(window, number) for window in range(len(inputs.windows)) for number in range(inputs.options.books)]


def run_jobs(inputs: Inputs, jobs: Sequence[Job], tell: Progress, processes: int | None = None) -> list[Sample]:
    """In the order of the jobs; in processes on all cores where none are said. Raises what a job raises."""
    parts = min(-(-PIECES_MIN // len(jobs)), len(inputs.policies))
    pieces = [job._replace(first=first, every=parts) for job in jobs for first in range(parts)]
    count = min(processes or os.cpu_count() or 1, len(pieces))
    samples: list[Sample] = []
    for sample in _run_here(inputs, pieces) if count <= 1 else _run_apart(inputs, pieces, count):
        samples.append(sample)
        tell(len(samples) / len(pieces))
    return [_join(inputs, samples[place : place + parts]) for place in range(0, len(samples), parts)]


def _join(inputs: Inputs, parts: Sequence[Sample]) -> Sample:
    """The parts of a book's policies as one, in the order of these."""
    figures = {name: each for part in parts for name, each in part.figures.items()}
    return parts[0]._replace(figures={policy.name: figures[policy.name] for policy in inputs.policies})


def _run_here(inputs: Inputs, jobs: Sequence[Job]) -> Iterator[Sample]:
    return (run_job(inputs, job) for job in jobs)


def _run_apart(inputs: Inputs, jobs: Sequence[Job], count: int) -> Iterator[Sample]:
    """Processes that begin anew: a copy of this one would have the threads' locks without the threads."""
    with ProcessPoolExecutor(count, get_context("spawn"), _begin, (inputs,)) as executor:
        try:
            with _keeping_interrupts():
                futures = [executor.submit(_run_given, job) for job in jobs]
            for future in futures:
                yield future.result()
        except BrokenProcessPool:
            raise DehedgeError(DIED) from None
        except BaseException:
            # Whoever interrupts, or is told an error, waits for nobody's result.
            for process in active_children():
                process.terminate()
            raise


@contextmanager
def _keeping_interrupts() -> Iterator[None]:
    """Processes that are begun in it never see Ctrl-C, of which this one hears afterwards: it ends them, without their words."""
    before = pthread_sigmask(SIG_BLOCK, (SIGINT,))
    try:
        yield
    finally:
        pthread_sigmask(SIG_SETMASK, before)


_given: list[Inputs] = []
"""What this process was given when it began; empty in the first one."""


def _begin(inputs: Inputs) -> None:
    _given[:] = [inputs]
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """However that ends: nobody is left to take the result."""
    parent = parent_process()
    assert parent is not None, "only begun by another process"
    parent.join()
    os._exit(1)


def _run_given(job: Job) -> Sample:
    return run_job(_given[0], job)


def run_job(inputs: Inputs, job: Job) -> Sample:
    """The job's policies over one book, whose story they share."""
    window = inputs.windows[job.window]
    made = build_history(inputs, window, job.number)
    story = build_story(made.history)
    figures = {
        policy.name: run_story(story, made.history, fit_costs(inputs.costs, policy), policy).figures
        for policy in inputs.policies[job.first :: job.every]
    }
    first_s, last_s = get_span(window.bars)
    years = Decimal(last_s - first_s) / YEAR_S
    return Sample(window.name, made.seed, Decimal(made.gross) / USDC_UNIT, years, figures)
