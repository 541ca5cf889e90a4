"""The whole world of one run: chain nodes, Hermes, exchange and daemon, in one process on virtual time.

Everything is the real thing but the wires, the disk's speed and the clock: the daemon with all its adapters as
``dehedge run`` builds it, and the stand-ins with their servers. A supervisor starts the daemon again when it ends, on the
same journal file. ``trace`` is all that happened, in order; two runs of one seed have the same.
"""

from __future__ import annotations

import asyncio
import random
import re
import signal
import sqlite3
from collections.abc import Coroutine, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

from dehedge.config import Settings
from dehedge.core.book import HedgeBook, HedgedPosition
from dehedge.core.model import HedgeKey
from dehedge.daemon import Daemon
from dehedge.errors import DehedgeError, JournalError
from dehedge.sim.chain import SimMarket, SimPosition
from dehedge.sim.chain.rpc import SimRpc
from dehedge.sim.chain.state import ChainState
from dehedge.sim.exchange import BTCUSDT, ETHUSDT, ExchangeSettings, SimExchange
from dehedge.sim.hermes import SimHermes
from dehedge.sim.world import FEEDS, HTTP_TOKEN, SYMBOLS
from tests.simulation.loop import VirtualLoop
from tests.simulation.machine import EPOCH_S

NODE_PORTS = (8545, 8546)
HERMES_PORT, EXCHANGE_PORT, DAEMON_PORT = 8600, 9000, 8780
DAEMON = "daemon"
SUPERVISOR_S = 2.0
NONSENSE_S = 2.5
DEPTH = 8
"""Blocks over the first scene, so that no reorganization undoes the deployment."""
EXPECTED_END = re.compile("disk is full|full or failing")
"""What the daemon says when it ends because it must: the supervisor tries again."""
RULES = {rules.symbol: rules for rules in (BTCUSDT, ETHUSDT)}


class DaemonClock:
    """The wall clock of the daemon's machine, which somebody may set."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.offset_s = 0.0

    def time(self) -> float:
        return EPOCH_S + self._loop.now_s + self.offset_s


class FailingDisk(sqlite3.Connection):
    """SQLite on a disk that cannot be read where the facts are."""

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        if "FROM events" in sql:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *arguments)


class World:
    """The services, and the daemon among them."""

    def __init__(self, loop: VirtualLoop, settings: Settings, *, hedge_mode: bool) -> None:
        self.loop, self.settings = loop, settings
        self.clock = DaemonClock(loop)
        self.prices = {"BTC-USD": Decimal(60_000), "ETH-USD": Decimal(3_000)}
        self.trace: list[tuple[object, ...]] = []
        self.problems: list[str] = []
        self.touched: set[str] = set()
        self.delisted: set[str] = set()
        self.misset: set[str] = set()
        self.put: dict[tuple[str, str, str], list[SimPosition]] = {}
        self.disk_full = False
        self.unreadable_starts = 0
        self.unrest: list[str] = []
        self.final_book: Mapping[HedgeKey, HedgedPosition] | None = None
        self.daemon: Daemon | None = None
        self._task: asyncio.Task[Any] | None = None
        self._work: set[asyncio.Task[Any]] = set()
        self._down: set[str] = set()
        self._is_over = False
        self._build_services(hedge_mode=hedge_mode)
        loop.set_exception_handler(self._note_unhandled)

    def _build_services(self, *, hedge_mode: bool) -> None:
        self.chain = ChainState(clock=self.get_true_time, history_blocks=64)
        self.nodes = [SimRpc(self.chain, auto_mine=True, port=port) for port in NODE_PORTS]
        self.hermes = SimHermes(clock=self.get_true_time, port=HERMES_PORT)
        marks = {RULES[SYMBOLS[market]]: price for market, price in self.prices.items()}
        chosen = ExchangeSettings(marks=marks, dual_side=hedge_mode, balance=Decimal(1_000_000), liquidates=False)
        self.exchange = SimExchange(
            chosen, clock=self.get_true_time, rng=random.Random(self.loop.rng.random()), port=EXCHANGE_PORT
        )

    @property
    def path(self) -> Path:
        return self.settings.state_path

    @property
    def book(self) -> HedgeBook | None:
        return self.daemon._ledger.book if self.daemon is not None else None

    def get_true_time(self) -> float:
        return EPOCH_S + self.loop.now_s

    def note(self, *what: object) -> None:
        self.trace.append((round(self.loop.now_s, 6), *what))

    async def start(self) -> None:
        for market in SYMBOLS:
            self.chain.set_market(SimMarket(market=market, name=market, pyth_feed=FEEDS[market]))
        self.chain.mine(DEPTH)
        for node in self.nodes:
            await node.start()
        await self.hermes.start()
        await self.exchange.start()
        for market, price in self.prices.items():
            self.set_price(market, price)
        self.ensure_daemon()

    def end(self) -> None:
        """No more daemons; what was going on is left where it is."""
        self._is_over = True
        self.kill_daemon()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = self.loop.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def set_price(self, market: str, price: Decimal) -> None:
        self.prices[market] = price
        self.exchange.set_mark(SYMBOLS[market], price)
        self.hermes.set(FEEDS[market], price)

    def restore_price(self, feed: str) -> None:
        """Nonsense does not last."""
        market = next(market for market, known in FEEDS.items() if known == feed)
        self.loop.call_later(NONSENSE_S, lambda: self.hermes.set(feed, self.prices[market]))

    def put_position(self, position: SimPosition) -> None:
        self.put.setdefault(position.key, []).append(position)
        self.chain.put(position)

    def take_down(self, name: str) -> None:
        if name not in self._down:
            self._down.add(name)
            self.spawn(self._get_service(name).down())

    async def bring_up_all(self) -> None:
        await asyncio.gather(*self._work, return_exceptions=True)
        for name in sorted(self._down):
            await self._get_service(name).up()
        self._down.clear()

    def _get_service(self, name: str) -> Any:
        services = {"hermes": self.hermes, "exchange": self.exchange, "node0": self.nodes[0], "node1": self.nodes[1]}
        return services[name]

    def ensure_daemon(self) -> None:
        """What a supervisor does: start the daemon when it does not run."""
        if self.daemon is not None or self._is_over:
            return
        is_unreadable, self.unreadable_starts = self.unreadable_starts > 0, max(self.unreadable_starts - 1, 0)
        try:
            with mock.patch.object(sqlite3, "connect", FailingDisk if is_unreadable else sqlite3.connect):
                self.daemon = daemon = Daemon(self.settings, SYMBOLS, self.clock)
        except DehedgeError as error:
            self._note_end(error)
            return
        self._spoil_disk(daemon)
        self._task = self.loop.start_process(DAEMON, daemon.run())
        self._task.add_done_callback(self._on_end)

    def kill_daemon(self) -> None:
        """Kill -9: the kernel lets go of the files."""
        if self.daemon is not None:
            assert self._task is not None
            self._task.remove_done_callback(self._on_end)
            self.loop.kill(DAEMON)
            self.daemon._journal.close()
            self.daemon = self._task = None

    def terminate_daemon(self) -> None:
        if self.daemon is not None and (DAEMON, signal.SIGTERM) in self.loop.on_signal:
            self.loop.send_signal(DAEMON, signal.SIGTERM)

    def fill_disk(self) -> None:
        self.disk_full = True
        if self.daemon is not None:
            self._spoil_disk(self.daemon)

    def free_disk(self) -> None:
        self.disk_full = False
        self.unreadable_starts = 0
        if self.daemon is not None:
            self.daemon._journal._db.execute("PRAGMA max_page_count=1000000")

    def _spoil_disk(self, daemon: Daemon) -> None:
        """SQLite itself says that the disk is full when its file may not grow."""
        if self.disk_full:
            database: sqlite3.Connection = daemon._journal._db
            (pages,) = database.execute("PRAGMA page_count").fetchone()
            database.execute(f"PRAGMA max_page_count={pages}")

    def fail_reading(self, starts: int) -> None:
        """The process dies, and the disk gives its journal back only after so many starts."""
        self.unreadable_starts = starts
        self.kill_daemon()
        self.ensure_daemon()

    async def post(self, path: str) -> bool:
        """An operator's request over the wire; True when it was accepted."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", DAEMON_PORT)
        except OSError:
            return False
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{DAEMON_PORT}\r\nAuthorization: Bearer {HTTP_TOKEN}\r\n"
            "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        try:
            status = await reader.readline()
        except OSError:
            status = b"lost"
        self.note("operator", path, status.decode().strip())
        writer.close()
        return b" 202 " in status

    def _on_end(self, task: asyncio.Task[Any]) -> None:
        """The process has ended by itself."""
        self.daemon = self._task = None
        self.loop.kill(DAEMON)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._note_end(error)
        else:
            self.loop.call_later(SUPERVISOR_S, self.ensure_daemon)

    def _note_end(self, error: BaseException) -> None:
        leaves = list_leaves(error)
        self.note(
            "daemon_ended", [f"{type(leaf).__name__}: {leaf}".replace(str(self.path), "journal.db") for leaf in leaves]
        )
        if any(isinstance(leaf, JournalError) and EXPECTED_END.search(str(leaf)) for leaf in leaves):
            self.loop.call_later(SUPERVISOR_S, self.ensure_daemon)
        else:
            self.problems.append(f"the daemon ended: {leaves!r}")

    def _note_unhandled(self, _loop: object, context: dict[str, Any]) -> None:
        owner = context.get("task") or context.get("future")
        if getattr(owner, "process", DAEMON) != DAEMON:
            return  # The stand-ins' server stumbles over clients that die in the middle of a request.
        error = context.get("exception")
        self.problems.append(f"unhandled: {context['message']}: {error!r}")


def list_leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in list_leaves(part)]
    return [error]
