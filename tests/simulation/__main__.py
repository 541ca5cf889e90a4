"""Runs scripts on all cores.

``--seeds 1000 --first 1``: random stories; ``--replay 7``: one of them, with all that happens in it; ``--crashes all``:
every point of death, enumerated. ``--scope portfolio``: positions are judged together, by a switch at the limit;
``portfolio-default``: with the default settings, of which only the bounds can be judged.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from tests.simulation import crashes, story
from tests.simulation.run import SCOPES, Verdict, simulator
from tests.simulation.sabotage import DEFECTS, DEFECTS_TOGETHER

CHUNK = 25
CHUNK_UNTIL_FAILURE = 2
"""What is under way when a failure is seen was for nothing."""
CHUNKS_PER_PROCESS = 20
TOLD_EVERY = 2_500


def run_seeds(scope: str, seeds: range) -> list[Verdict]:
    with simulator(scope) as machine:
        return [machine.run(story.build_script(seed)) for seed in seeds]


def run_family(family: crashes.Case) -> list[Verdict]:
    with simulator() as machine:
        return [*crashes.run_family(machine, family)]


def run_all(work: Callable[[Any], list[Verdict]], parts: Iterable[Any], jobs: int) -> Iterator[Verdict]:
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=CHUNKS_PER_PROCESS) as pool:
        for verdicts in pool.imap(work, parts):
            yield from verdicts


def replay(seed: int, scope: str) -> int:
    with simulator(scope) as machine:
        verdict = machine.run(story.build_script(seed), keep_trace=True)
    say(*verdict.trace, *tell(verdict))
    return 1 if verdict.problems else 0


def tell(verdict: Verdict) -> Sequence[str]:
    return [f"{verdict.name}: {problem}" for problem in verdict.problems]


def say(*lines: str) -> None:
    print(*lines, sep="\n", end="\n" if lines else "", flush=True)  # noqa: T201  (a command speaks)


def main() -> int:
    defects = DEFECTS | DEFECTS_TOGETHER
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--replay", type=int, metavar="SEED", help="run one seed and print all that happens in it")
    parser.add_argument("--crashes", choices=["all", "short"], help="enumerate the points of death instead")
    parser.add_argument("--outcome", choices=[*crashes.OUTCOMES], help="only this one of the order under way")
    parser.add_argument("--until-failure", action="store_true", help="stop at the first failure")
    parser.add_argument("--scope", choices=[*SCOPES], default="position", help="how positions are judged (stories only)")
    parser.add_argument("--sabotage", choices=[*defects], help="put a defect into the daemon first")
    options = parser.parse_args()
    if options.sabotage:
        defects[options.sabotage]()
    if options.replay is not None:
        return replay(options.replay, options.scope)
    if options.crashes:
        families = crashes.list_families(is_short=options.crashes == "short", outcome=options.outcome)
        verdicts = run_all(run_family, families, options.jobs)
    else:
        last = options.first + options.seeds
        chunk = CHUNK_UNTIL_FAILURE if options.until_failure else CHUNK
        chunks = [range(start, min(start + chunk, last)) for start in range(options.first, last, chunk)]
        verdicts = run_all(partial(run_seeds, options.scope), chunks, options.jobs)
    return judge(verdicts, options)


def judge(verdicts: Iterable[Verdict], options: argparse.Namespace) -> int:
    """Say what failed as it comes, and the figures at the end."""
    started, failed, rests = time.perf_counter(), 0, []
    for verdict in verdicts:
        rests.append(verdict.rest_s)
        failed += bool(verdict.problems)
        say(*tell(verdict))
        if len(rests) % TOLD_EVERY == 0:
            say(f"{len(rests)} runs, {failed} failed, {time.perf_counter() - started:.0f} s")
        if failed and options.until_failure:
            break
    seconds = time.perf_counter() - started
    say(
        f"{len(rests)} runs, {failed} failed; {seconds:.0f} s on {options.jobs} cores, {len(rests) / seconds * 60:.0f} a minute; "
        f"at rest after {sorted(rests)[len(rests) // 2]:.0f} s of virtual time (median), {max(rests):.0f} s (worst)"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
