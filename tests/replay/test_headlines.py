"""A replay in two sentences: the vault's worst moment and the end are told apart."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from dehedge.replay.headlines import describe_runs
from dehedge.replay.model import Figures, Run, Series
from tests.replay.builders import choose
from tests.replay.kit import START_S, build_figures


def a_run(name: str, figures: Figures) -> Run:
    time_s, vault = START_S + np.array([0.0, 60.0, 120.0]), np.array([9.0, 1.0, 9.0])
    return Run(choose(name), figures, Series(time_s, vault, vault, vault, {}, vault, vault, vault), [])


LOST = Decimal(8)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"worst_loss": LOST}, ("the vault lacks 8.00 USD without hedges. Of that is avoided: delta n/a, after cost n/a.", "it lacks nothing without hedges: prices have come back.")),
        ({"worst_loss": LOST, "worst_protection_free": Decimal(1), "worst_protection": Decimal("0.9"), "loss": Decimal(7), "net": Decimal(-2)},
         ("delta 100.0 %, after cost 90.0 %.", "it lacks 7.00 USD without hedges. With hedges it has, after all their cost: delta 2.00 USD less.")),
        ({}, ("the vault lacks nothing without hedges.", "it lacks nothing without hedges. With hedges")),
    ],
)  # fmt: skip
def test_both_moments_are_told(figures: dict[str, Decimal], words: tuple[str, str]):
    runs = [a_run(name, build_figures(**figures)) for name in ("none", "delta")]
    at_worst, at_end = describe_runs(runs)

    assert at_worst.startswith("At its worst moment, 2020-03-12T11:42:00Z, ")
    assert at_end.startswith("At the end, 2020-03-12T11:43:00Z, ")
    assert words[0] in at_worst
    assert words[1] in at_end


def test_run_without_hedges_tells_the_loss_alone():
    assert describe_runs([a_run("none", build_figures(worst_loss=LOST))]) == [
        "At its worst moment, 2020-03-12T11:42:00Z, the vault lacks 8.00 USD without hedges.",
        "At the end, 2020-03-12T11:43:00Z, it lacks nothing without hedges: prices have come back.",
    ]
