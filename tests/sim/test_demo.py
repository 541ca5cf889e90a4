"""The demo, played fast: the whole story with the real daemon must end in agreement."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from dehedge.sim import demo
from dehedge.sim.demo import Story, run_demo
from dehedge.sim.world import World, WorldStuck

PRICES = {"BTC-USD": Decimal(60_000), "ETH-USD": Decimal(3_000)}


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


@pytest.mark.timeout(60)
async def test_demo_says_in_one_line_why_its_daemon_does_not_get_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(demo, "World", lambda prices: World(prices, use_anvil=False))
    story = Story(tmp_path, 1.0, Console(highlight=False))
    try:
        await story.prepare()
        assert f"HTTP_TOKEN=demo-only-http-token dehedge status --url {story.daemon.url} " in capsys.readouterr().out
        assert await story.daemon.post("/api/v1/pause") == 202
        await story.daemon.kill()
        monkeypatch.setattr(demo, "READY_S", 2.0)

        with pytest.raises(WorldStuck, match=r"^the demo ends: waited 2 s for the daemon to be ready: .*trading mode is no-opens"):
            await story._restart()
    finally:
        await story.close()


@pytest.mark.timeout(60)
def test_demo_takes_its_daemon_and_its_folder_with_it_on_sigterm(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-m", "dehedge", "demo"],
        cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    url = next(found[1] for line in process.stdout if (found := re.search(r"The daemon is at (http://\S+);", line)))
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (130, "")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
