"""The process killed at every point at which that matters, enumerated: one position mode, one restart, the worst outcome."""

from __future__ import annotations

import pytest

from tests.simulation.command import run


@pytest.mark.timeout(900)
def test_simulation_comes_to_rest_when_the_process_dies_at_any_point() -> None:
    done = run("--crashes", "short", "--outcome", "filled, reply lost", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout
