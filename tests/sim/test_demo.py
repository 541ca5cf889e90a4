"""The demo, played fast: the whole story with the real daemon must end in agreement."""

from __future__ import annotations

import pytest

from dehedge.sim.demo import run_demo


@pytest.mark.timeout(120)
async def test_demo_tells_its_story_and_ends_in_agreement(capsys):
    assert await run_demo(pace=0.12) == 0

    told = capsys.readouterr().out
    for line in (
        "trader 2 in ETH-USD is at risk",
        "trader 1 in BTC-USD is at risk",
        "hedge closed, its position is gone",
        "no longer at risk",
        "its risk has been gone for long enough",
        "hedges found in its journal, 0 orders sent",
        "0.166 -> 0.250",
        "They agree.",
    ):
        assert line in told
