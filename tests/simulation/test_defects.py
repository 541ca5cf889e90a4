"""The simulation's own honesty: it notices daemons that lose money."""

from __future__ import annotations

import pytest

from tests.simulation.command import run
from tests.simulation.sabotage import DEFECTS, DEFECTS_TOGETHER

FIRST = {"send-again": 1_010, "believe-in-full-fills": 1_090, "keep-misplaced": 160}
"""A seed or two dozen before one that shows it; of the others nearly every seed does."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("defect", DEFECTS)
def test_simulation_notices_a_defect_when_one_is_put_in(defect: str) -> None:
    check_noticed(defect, "--seeds", "300")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("defect", DEFECTS_TOGETHER)
def test_simulation_notices_a_defect_when_positions_are_judged_together(defect: str) -> None:
    """Few seeds: what is never at rest takes long to play."""
    scope = "portfolio-default" if defect == "keep-misplaced" else "portfolio"
    check_noticed(defect, "--seeds", "5", "--scope", scope)


def check_noticed(defect: str, *chosen: str) -> None:
    first = str(FIRST.get(defect, 1))
    done = run(*chosen, "--first", first, "--jobs", "1", "--until-failure", "--sabotage", defect)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "seed " in done.stdout
