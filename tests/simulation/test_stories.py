"""Some hundred random stories around the whole daemon, and one of them twice."""

from __future__ import annotations

import pytest

from tests.simulation.command import run


@pytest.mark.timeout(900)
def test_simulation_comes_to_rest_when_three_hundred_stories_are_played() -> None:
    done = run("--seeds", "300", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "300 runs, 0 failed" in done.stdout


@pytest.mark.timeout(120)
def test_simulation_replays_a_seed_byte_for_byte() -> None:
    once, again = (run("--replay", "2004", hash_seed=seed).stdout for seed in (1, 2))
    assert once == again
    assert len(once.splitlines()) > 10
