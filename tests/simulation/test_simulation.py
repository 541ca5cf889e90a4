"""The simulation as part of the suite: some hundred seeds, the deaths that matter most, and its own honesty.

Each test runs the command that anybody can run, in a process of its own, for it takes over clock, chance and logs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.sabotage import DEFECTS

ROOT = Path(__file__).parents[2]


def run(*arguments: str, hash_seed: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": str(hash_seed)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.timeout(900)
def test_simulation_comes_to_rest_when_three_hundred_stories_are_played() -> None:
    done = run("--seeds", "300", "--jobs", "1")
    assert done.returncode == 0, done.stdout
    assert "300 runs, 0 failed" in done.stdout


@pytest.mark.timeout(900)
def test_simulation_comes_to_rest_when_the_process_dies_at_any_point() -> None:
    done = run("--crashes", "short", "--jobs", "1")
    assert done.returncode == 0, done.stdout
    assert " 0 failed" in done.stdout


def test_simulation_replays_a_seed_byte_for_byte() -> None:
    once, again = (run("--replay", "2004", hash_seed=seed).stdout for seed in (1, 2))
    assert once == again
    assert len(once.splitlines()) > 10


@pytest.mark.parametrize("defect", DEFECTS)
def test_simulation_notices_a_defect_when_one_is_put_in(defect: str) -> None:
    done = run("--seeds", "60", "--jobs", "1", "--until-failure", "--sabotage", defect)
    assert done.returncode == 1, done.stdout
    assert "seed " in done.stdout
