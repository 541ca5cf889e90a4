"""Runs seeds on all cores: ``python -m tests.simulation --seeds 1000 --first 1``, or replays one: ``--replay 7``."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator

from tests.simulation.run import Verdict, simulator

CHUNK = 25


def run_chunk(seeds: range) -> list[Verdict]:
    with simulator() as machine:
        verdicts = [machine.run(seed) for seed in seeds]
        gc.collect()
        return verdicts


def run_all(first: int, count: int, jobs: int) -> Iterator[Verdict]:
    chunks = [range(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    with multiprocessing.get_context("fork").Pool(jobs, maxtasksperchild=8) as pool:
        for verdicts in pool.imap(run_chunk, chunks):
            yield from verdicts


def replay(seed: int) -> int:
    with simulator() as machine:
        verdict = machine.run(seed, keep_trace=True)
    print(*verdict.trace, sep="\n")  # noqa: T201  (a command speaks)
    return tell([verdict])


def tell(verdicts: list[Verdict]) -> int:
    for verdict in verdicts:
        for problem in verdict.problems:
            print(f"seed {verdict.seed}: {problem}")  # noqa: T201  (a command speaks)
    return 1 if any(verdict.problems for verdict in verdicts) else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--replay", type=int, metavar="SEED", help="run one seed and print all that happens in it")
    options = parser.parse_args()
    if options.replay is not None:
        return replay(options.replay)
    started, failed, done, rests = time.perf_counter(), 0, 0, []
    for verdict in run_all(options.first, options.seeds, options.jobs):
        done += 1
        rests.append(verdict.rest_s)
        failed += tell([verdict])
        sys.stdout.flush()
    seconds = time.perf_counter() - started
    print(  # noqa: T201  (a command speaks)
        f"{done} seeds from {options.first}, {failed} failed; {seconds:.0f} s on {options.jobs} cores, "
        f"{done / seconds * 60:.0f} runs a minute; at rest after {sorted(rests)[len(rests) // 2]:.0f} s (median), {max(rests):.0f} s (worst)"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
