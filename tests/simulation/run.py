"""One run from its seed to its verdict.

The trouble of the story, the world mended, and then patience: within ``REST_S`` of virtual time everything must be as the
rules want it, and stay so. A run depends on its seed and on the code alone.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from dehedge.config import Settings, read_settings
from dehedge.core.book import TradingMode
from dehedge.sim.world import HTTP_TOKEN, PYTH_KEY
from tests.simulation.judgment import find_unrest, find_wrongs
from tests.simulation.machine import virtual_machine
from tests.simulation.world import EXCHANGE_PORT, HERMES_PORT, NODE_PORTS, World

REST_S = 180.0
"""How long after the end of all trouble the world may take to come to rest."""
LOOK_S = 2.0
QUIET_S = 4.0
COLLECT_EVERY = 10
"""Runs whose garbage is collected together: in the middle of one it would only cost time."""

ENVIRONMENT = {
    "NETWORKS": ",".join(f"http://127.0.0.1:{port}" for port in NODE_PORTS),
    "PYTH_PRICE_SERVICE": f"http://127.0.0.1:{HERMES_PORT}",
    "PYTH_API_KEY": PYTH_KEY,
    "BINANCE_API_KEY": "sim-api-key",
    "BINANCE_API_SECRET": "sim-api-secret",
    "BINANCE_FUTURES_URL": f"http://127.0.0.1:{EXCHANGE_PORT}",
    "BINANCE_FUTURES_WS_URL": f"ws://127.0.0.1:{EXCHANGE_PORT}",
    "HTTP_TOKEN": HTTP_TOKEN,
    "HEDGE_EXPIRY_SECONDS": "10",
    "LEVERAGE": "20",
    # What passes decided is for people: nothing reads it back, and its thread would cost more than all else.
    "RECORD_MAX_MB": "0",
}

SWITCH = {
    "RISK_SCOPE": "portfolio",
    "PORTFOLIO_EARLY": "0",
    "PORTFOLIO_LEAD_SECONDS": "0",
    "PORTFOLIO_GATE": "0",
    "PORTFOLIO_SLACK": "0",
}
"""A switch at the limit: what must be held depends on the world as it stands, and not on how it came to be so."""
SCOPES: dict[str, dict[str, str]] = {"position": {}, "portfolio": SWITCH, "portfolio-default": {"RISK_SCOPE": "portfolio"}}
"""What a run adds to the environment, by how positions are judged."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a run plays: a scene before the daemon starts, then a tale that ends in a mended world."""

    name: str
    hedge_mode: bool
    set_scene: Callable[[World], None]
    tell: Callable[[World], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a script. ``digest`` is of the whole trace; ``rest_s`` how long coming to rest took."""

    name: str
    problems: tuple[str, ...]
    digest: str
    rest_s: float
    trace: tuple[str, ...] = ()


class Simulator:
    """Runs seeds one after another, in a folder of its own that is gone afterwards."""

    def __init__(self, folder: Path, scope: str) -> None:
        self._path = folder / "journal.db"
        self._world: World | None = None
        self._runs = 0
        self._settings = _read_settings(folder, scope)
        structlog.configure(processors=[self._take_log_line])
        logging.disable()

    def run(self, script: Script, *, keep_trace: bool = False) -> Verdict:
        for file in self._path.parent.glob(f"{self._path.name}*"):
            file.unlink()
        with virtual_machine(script.name) as loop:
            self._world = world = World(loop, self._settings, hedge_mode=script.hedge_mode)
            rest_s = loop.run_until_complete(live(world, script))
            problems = (*([] if rest_s < REST_S else find_unrest_at_end(world)), *find_wrongs(world))
            loop.forget()
        lines = [" ".join(str(part) for part in entry) for entry in world.trace]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        self._world = None
        self._runs += 1
        if self._runs % COLLECT_EVERY == 0:
            gc.collect()
        return Verdict(script.name, problems, digest[:16], rest_s, tuple(lines) if keep_trace or problems else ())

    def _take_log_line(self, _logger: object, method: str, event: Any) -> str:
        if self._world is not None:
            words = [f"{name}={value}" for name, value in sorted(event.items()) if name not in ("event", "exc_info")]
            self._world.note("log", method, event["event"], *words)
            if event["event"] == "invariant_broken":
                self._world.problems.append(f"broken law: {' '.join(words)}")
        raise structlog.DropEvent


async def live(world: World, script: Script) -> float:
    """The whole script. Returns how long coming to rest took, in seconds."""
    script.set_scene(world)
    await world.start()
    await script.tell(world)
    rest_s = await wait_for_rest(world)
    world.unrest = find_unrest(world)
    if world.book is not None and not world.book.in_flight:
        world.final_book = dict(world.book.get_all_hedged_positions())
    for order in world.exchange.orders:
        world.note("order", order.client_id, order.side, order.quantity, order.executed, order.status)
    world.end()
    return rest_s


async def wait_for_rest(world: World) -> float:
    """Look until all is as it must be, and still is a moment later without another order."""
    start_s = world.loop.time()
    while world.loop.time() - start_s < REST_S:
        await asyncio.sleep(LOOK_S)
        if world.book is not None and (world.book.mode is not TradingMode.ACTIVE or world.book.is_flattening):
            await world.post("/api/v1/resume")
        if not find_unrest(world):
            orders = len(world.exchange.orders)
            await asyncio.sleep(QUIET_S)
            if not find_unrest(world) and len(world.exchange.orders) == orders:
                return world.loop.time() - start_s
    return REST_S


def find_unrest_at_end(world: World) -> list[str]:
    return [f"no rest: {line}" for line in world.unrest] or ["no rest: it came and went"]


def _read_settings(folder: Path, scope: str = "position") -> Settings:
    """Of this module alone: neither a variable of the shell's nor a ``.env`` where the command was given has a say."""
    kept = dict(os.environ)
    os.environ.clear()
    os.environ.update(ENVIRONMENT | SCOPES[scope], STATE_URL=f"sqlite:///{folder / 'journal.db'}")
    try:
        with chdir(folder):
            return read_settings()
    finally:
        os.environ.clear()
        os.environ.update(kept)


@contextmanager
def simulator(scope: str = "position") -> Iterator[Simulator]:
    """In memory where the machine has a file system for that: a power cut is not what is tested here."""
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        # What was killed complains when it is collected.
        sys.unraisablehook = lambda _: None
        warnings.simplefilter("ignore")
        gc.collect()
        gc.freeze()
        gc.disable()
        yield Simulator(Path(folder), scope)
        gc.enable()
