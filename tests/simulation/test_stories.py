"""Random stories around the whole daemon, and one of them twice."""

from __future__ import annotations

import pytest

from tests.simulation.command import run


@pytest.mark.timeout(900)
def test_simulation_comes_to_rest_when_stories_are_played() -> None:
    done = run("--seeds", "30", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30 runs, 0 failed" in done.stdout


@pytest.mark.timeout(300)
def test_simulation_comes_to_rest_when_positions_are_judged_together() -> None:
    done = run("--scope", "portfolio", "--seeds", "20", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 runs, 0 failed" in done.stdout


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [2004, 700012])
def test_simulation_replays_a_seed_byte_for_byte(seed: int) -> None:
    """In the second one the journal cannot be read, and the daemon says where it lies."""
    once, again = (run("--replay", str(seed), hash_seed=hash_seed).stdout for hash_seed in (1, 2))
    assert once == again
    assert len(once.splitlines()) > 10
