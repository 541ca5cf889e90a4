"""Books in processes: the same as in this one, in the order of the jobs, and what is wrong is told as it is told here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

from dehedge.errors import ConfigError, QuestionInvalid
from dehedge.exits import EXIT_INTERRUPTED
from dehedge.replay import pool
from dehedge.replay.engine import run_policy
from dehedge.replay.model import PRICE_UNITS, Bars
from dehedge.replay.options import Options
from dehedge.replay.pool import PIECES_MIN, Job, list_jobs, run_jobs
from dehedge.replay.request import Inputs, build_request, read_inputs
from tests.replay.builders import make_walk
from tests.replay.kit import START_S, write_klines

GENERATE = "traders=20,long=0.1..0.9"


def write_walk(path: Path, seed: int, count: int = 20) -> Bars:
    bars = make_walk("BTC-USD", np.random.default_rng(seed), count, 6_000.0, 2e-3)
    columns = (bars.open, bars.high, bars.low, bars.close)
    rows = [",".join(f"{price / PRICE_UNITS:.8f}" for price in row) + ",1" for row in zip(*columns, strict=True)]
    write_klines(path, rows, first_s=START_S)
    return bars


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("one", "two")):
        write_walk(tmp_path / f"{name}.csv", seed)
    yield tmp_path
    pool._given.clear()


def make_inputs(**options: object) -> Inputs:
    given = {"windows": ["one:BTC-USD=one.csv", "two:BTC-USD=two.csv"], "generate": GENERATE, "shield": "0.1%..1%", "books": 3}
    return read_inputs(Options(**{**given, "policies": ["none", "delta:max_opens_per_hour=99"], **options}))


def test_processes_give_what_this_one_gives():
    inputs, told = make_inputs(), []
    jobs = list_jobs(inputs)

    here = run_jobs(inputs, jobs, told.append, processes=1)

    assert [(each.window, each.seed) for each in here] == [(window, seed) for window in ("one", "two") for seed in (1, 2, 3)]
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert any(each.figures["delta:max_opens_per_hour=99"].opens for each in here)
    assert run_jobs(inputs, jobs, lambda _: None, processes=2) == here


def test_book_alone_is_the_book_among_many():
    inputs = make_inputs()
    (sample,) = run_jobs(inputs, [Job(1, 2)], lambda _: None)
    alone = build_request(
        Options(prices=["BTC-USD=two.csv"], generate=f"seed=3,{GENERATE}", shield="0.1%..1%", policies=["delta:max_opens_per_hour=99"])
    )

    run = run_policy(alone.history, alone.costs, alone.policies[0])
    assert sample.figures[run.policy.name] == run.figures
    assert any("drawn from 0.1%..1%" in note for note in alone.notes)


def test_policies_of_few_books_are_shared_out_and_put_together_again():
    names = ["none", *(f"delta:max_opens_per_hour={count}" for count in range(1, 30))]
    told: list[float] = []

    (sample,) = run_jobs(make_inputs(policies=names), [Job(0, 1)], told.append, processes=1)
    (alone,) = run_jobs(make_inputs(policies=names[20:21]), [Job(0, 1)], told.append, processes=1)

    assert list(sample.figures) == names
    assert len(told) == PIECES_MIN + 1
    assert sample.figures[names[20]] == alone.figures[names[20]]


def test_leverage_of_a_name_is_that_of_the_account():
    names = ["delta:max_opens_per_hour=99:leverage=2", "delta:max_opens_per_hour=99:leverage=20"]
    samples = run_jobs(make_inputs(policies=names), [Job(0, number) for number in range(3)], lambda _: None)

    peaks = [[each.figures[name].margin_peak for name in names] for each in samples]
    assert any(high for high, _ in peaks)
    assert all(high > 5 * low for high, low in peaks if high)


def test_error_of_a_process_is_the_error_of_the_run():
    inputs = make_inputs(generate="traders=5,size=0..0")

    with pytest.raises(QuestionInvalid, match="--generate: size=0 is not a number from 1"):
        run_jobs(inputs, list_jobs(inputs), lambda _: None, processes=2)


def test_interrupt_ends_the_processes_at_once(folder: Path):
    write_walk(folder / "one.csv", 1, 20_000)
    inputs = make_inputs(windows=["one:BTC-USD=one.csv"], books=40)
    jobs, told = list_jobs(inputs), list[float]()

    def interrupt(share: float) -> None:
        told.append(share)
        raise KeyboardInterrupt

    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_jobs(inputs, jobs, interrupt, processes=2)

    assert len(told) == 1
    assert active_children() == []
    assert time.monotonic() - began_s < 30, "nobody ran forty books to their ends"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"prices": ["BTC-USD=one.csv"]}, "--prices and --window: give one of them"),
        ({"windows": ["BTC-USD=one.csv"]}, "'BTC-USD=one.csv' is not such as NAME:BTC-USD=FILE"),
        ({"windows": ["a:one.csv"]}, "--window: 'one.csv' is not such as BTC-USD=FILE"),
        ({"books": 2, "generate": "", "book": Path("b.csv")}, "with --book there is one"),
        ({"books": 1, "generate": "", "shield": "1%..2%", "book": Path("b.csv")}, "--shield: a range is drawn for made-up books"),
        ({"books": 0}, "--books: 0 is not a number"), ({"funding": ["ETH-USD=one.csv"]}, "ETH-USD has no --prices"),
    ],
)  # fmt: skip
def test_option_that_means_nothing_is_refused_in_one_line_when_given(options: dict[str, object], reason: str):
    with pytest.raises(QuestionInvalid, match=reason):
        make_inputs(**options)


def test_book_of_a_file_is_opened_in_each_window(folder: Path):
    (folder / "b.csv").write_text("market,side,size,collateral,opened\nBTC-USD,short,1000,50,2026-11-22\n")
    inputs = make_inputs(generate="", shield="", books=1, book=Path("b.csv"), at_start=True)
    assert [each.gross for each in run_jobs(inputs, list_jobs(inputs), lambda _: None)] == [1_000, 1_000]

    late = make_inputs(generate="", shield="", books=1, book=Path("b.csv"))
    with pytest.raises(ConfigError, match=r"b\.csv: none of its positions in BTC-USD is of this time, 2020-03-12T11:41:00Z to .*; --at-start opens"):
        run_jobs(late, list_jobs(late), lambda _: None)


def list_children(parent: int) -> list[int]:
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(pid) for pid, of in map(str.split, told.splitlines()) if int(of) == parent]


def check_runs(pid: int) -> bool:
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(told.strip()) and not told.startswith("Z")


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core begins no other process")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("sent", "code", "words"),
    [
        (signal.SIGINT, EXIT_INTERRUPTED, "dehedge: interrupted before it was done\n"),
        (signal.SIGTERM, -signal.SIGTERM, ""),
        (signal.SIGKILL, -signal.SIGKILL, ""),
    ],
)
def test_no_process_outlives_the_one_that_began_it(tmp_path: Path, sent: signal.Signals, code: int, words: str) -> None:
    write_walk(tmp_path / "btc.csv", 1, 500)
    process = subprocess.Popen(
        [sys.executable, "-m", "dehedge", "replay", "--prices", "BTC-USD=btc.csv", "--books", "5000", "--policy", "delta"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while len(begun := list_children(process.pid)) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(sent)
    _, errors = process.communicate()

    assert process.returncode == code
    assert words in errors
    while any(map(check_runs, begun)):
        time.sleep(0.05)
