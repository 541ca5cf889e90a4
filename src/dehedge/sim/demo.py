"""``dehedge demo``: a story in two minutes, played by the real daemon against a local chain, price service and exchange.

A market crashes, recovers and crashes again. Traders turn risky and are hedged, one calms down and its hedge expires, one
closes and its hedge goes at once, one grows; the daemon is killed and comes back. Every line tells what was observed: on
the daemon's own API, and in the exchange's ledger. At the end the two are held side by side.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dehedge.sim.chain import SimPosition
from dehedge.sim.paths import FIRST_PRICES, read_path
from dehedge.sim.world import (
    HTTP_TOKEN,
    SYMBOLS,
    USD,
    DaemonProcess,
    World,
    WorldStuck,
    build_position,
    wait_until,
)

VAULT_USD, SHIELD_USD = 500_000, 600
EXPIRY_S = 10
STEPS_PER_SECOND = 2
LENGTH_S = 126
WATCH_S = 0.2
SETTLE_S = 20.0
READY_S = 60.0

TRADERS = {
    "trader 1": build_position(0xA1, "BTC-USD", is_long=False, size_usd=10_000, price=Decimal(60_000)),
    "trader 2": build_position(0xA2, "ETH-USD", is_long=False, size_usd=20_000, price=Decimal(3_000)),
    "trader 3": build_position(0xA3, "BTC-USD", is_long=False, size_usd=25_000, price=Decimal(57_300)),
    "trader 4": build_position(0xA4, "ETH-USD", is_long=True, size_usd=8_000, price=Decimal(2_990)),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """Something that happens at a second of the story."""

    at_s: int
    text: str
    act: Callable[[], Awaitable[None]]


async def run_demo(*, pace: float) -> int:
    """Play the story; exit 0 when book and exchange agree at its end, 1 otherwise. SIGTERM ends it like SIGINT."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="dehedge-demo-") as folder:
        story = Story(Path(folder), pace, Console(highlight=False))
        try:
            await story.prepare()
            return await story.play()
        finally:
            await story.close()


CLOSED = {
    "expired": "its risk has been gone for long enough",
    "position_closed": "its position is gone",
    "flattened": "by flatten",
}


class Story:
    """The world, the daemon, and the teller who watches both."""

    def __init__(self, folder: Path, pace: float, console: Console) -> None:
        self._world = World(FIRST_PRICES)
        self._pace = pace
        self._console = console
        self._folder = folder
        self._daemon: DaemonProcess | None = None
        self._second = 0.0
        self._told_hedges: dict[str, Mapping[str, Any]] = {}
        self._told_orders = 0
        self._last_hedges: list[Mapping[str, Any]] = []

    @property
    def daemon(self) -> DaemonProcess:
        assert self._daemon is not None, "prepare the story first"
        return self._daemon

    async def prepare(self) -> None:
        """Start everything, and wait until the daemon is ready."""
        self._console.print("Starting a local chain, a price service, an exchange, and the daemon ...")
        await self._world.start()
        await self._world.chain.set_vault(VAULT_USD * USD)
        await self._world.chain.set_shield(SHIELD_USD * USD)
        await self._world.chain.put(*(TRADERS[name] for name in ("trader 1", "trader 2", "trader 4")))
        environment = self._world.build_environment(
            HEDGE_EXPIRY_SECONDS=str(EXPIRY_S * self._pace), POLL_INTERVAL_SECONDS="0.5", PRICE_INTERVAL_SECONDS="0.5"
        )
        self._daemon = DaemonProcess(self._folder, environment)
        await self._start_daemon()
        self.daemon.keep_port()
        self._tell(
            f"The chain is {self._world.chain_name}. The vault holds {VAULT_USD:,} USDC, the shield {SHIELD_USD}:"
            " a trader who wins more than the shield is paid by the vault."
        )
        for name in ("trader 1", "trader 2", "trader 4"):
            self._tell(f"{name} is {_describe(TRADERS[name])}")

    async def play(self) -> int:
        """Move the market second by second, let the scenes happen, and tell what is seen."""
        paths = {market: read_path(market) for market in SYMBOLS}
        watcher = asyncio.create_task(self._watch())
        try:
            await self._move_market(paths)
            agrees = await self._wait_for_agreement()
        finally:
            watcher.cancel()
        return self._conclude(agrees=agrees)

    async def _move_market(self, paths: Mapping[str, Sequence[Decimal]]) -> None:
        scenes = self._build_scenes()
        loop = asyncio.get_running_loop()
        started = loop.time()
        for step in range(LENGTH_S * STEPS_PER_SECOND):
            self._second = step / STEPS_PER_SECOND
            for market, path in paths.items():
                self._world.set_price(market, path[int(self._second)])
            if step % (10 * STEPS_PER_SECOND) == 0:
                self._tell(", ".join(f"{m} {p[int(self._second)]:,}" for m, p in paths.items()), style="dim")
            began = loop.time()
            while scenes and scenes[0].at_s <= self._second:
                scene = scenes.pop(0)
                self._tell(scene.text, style="bold")
                await scene.act()
            started += loop.time() - began  # The market waits for the daemon to come back.
            await asyncio.sleep(max(started + (step + 1) / STEPS_PER_SECOND * self._pace - loop.time(), 0))

    def _build_scenes(self) -> list[Scene]:
        chain, first = self._world.chain, TRADERS["trader 1"]
        grown = replace(first, size=15_000 * USD)
        return [
            Scene(13, "The market begins to fall.", _nothing),
            Scene(46, "trader 2 takes its profit and closes.", lambda: chain.remove(TRADERS["trader 2"].key)),
            Scene(48, "The market bounces.", _nothing),
            Scene(66, f"trader 3 opens {_describe(TRADERS['trader 3'])}", lambda: chain.put(TRADERS["trader 3"])),
            Scene(81, "The market falls again.", _nothing),
            Scene(104, "kill -9: the daemon dies with its hedges open.", self.daemon.kill),
            Scene(107, "The supervisor starts it again.", self._restart),
            Scene(116, "trader 1 adds to its position: 15,000 USDC now.", lambda: chain.put(grown)),
        ]

    async def _restart(self) -> None:
        orders = len(self._world.exchange.orders)
        await self._start_daemon()
        hedges = (await self.daemon.fetch("/api/v1/hedges"))["hedges"]
        sent = len(self._world.exchange.orders) - orders
        self._tell(f"It is back: {len(hedges)} hedges found in its journal, {sent} orders sent.", style="bold green")

    async def _start_daemon(self) -> None:
        """Start it, say where it is, and wait until it is ready. Raises ``WorldStuck`` with the daemon's own reasons."""
        await self.daemon.start()
        self._tell(f"The daemon is at {self.daemon.url}; in another terminal: HTTP_TOKEN={HTTP_TOKEN} dehedge status --url"
                   f" {self.daemon.url} (or pause, flatten, resume)", style="dim")  # fmt: skip
        try:
            await wait_until(self.daemon.check_ready, "the daemon to be ready", READY_S)
        except WorldStuck as error:
            answer = await self.daemon.fetch("/readyz")
            raise WorldStuck(f"the demo ends: {error}: {'; '.join(answer['reasons']) if answer else 'no answer'}") from None

    async def _watch(self) -> None:
        """Tell every change of a hedge and every order that the exchange has filled."""
        while True:
            self._tell_orders()
            answer = await self.daemon.fetch("/api/v1/hedges")
            if answer is not None:
                await self._tell_hedges({row["position_id"]: row for row in answer["hedges"]})
            await asyncio.sleep(WATCH_S)

    def _tell_orders(self) -> None:
        orders = self._world.exchange.orders
        for order in orders[self._told_orders :]:
            self._tell(f"  exchange: {order.side} {order.executed} {order.symbol} filled, id {order.client_id}", style="cyan")
        self._told_orders = len(orders)

    async def _tell_hedges(self, hedges: dict[str, Mapping[str, Any]]) -> None:
        for key, row in hedges.items():
            before = self._told_hedges.get(key)
            who = f"{_name(key)} in {row['market']}"
            if before is None and row["status"] == "OPENING":
                continue
            if before is None:
                self._tell(f"  {who} is at risk ({row['reason']}): hedged by {row['side']} {row['quantity']}", style="yellow")
            elif row["is_cooling"] and not before["is_cooling"]:
                self._tell(f"  {who} is no longer at risk: the hedge stays for {EXPIRY_S} s more", style="green")
            elif before["is_cooling"] and not row["is_cooling"]:
                self._tell(f"  {who} is at risk again: the hedge stays", style="yellow")
            elif row["quantity"] != before["quantity"]:
                self._tell(f"  {who}: the hedge follows, {before['quantity']} -> {row['quantity']}", style="yellow")
        gone = self._told_hedges.keys() - hedges.keys()
        reasons = await self._fetch_reasons() if gone else {}
        for key in gone:
            why = reasons.get(key, "by an order that the journal tells of")
            self._tell(f"  {_name(key)} in {self._told_hedges[key]['market']}: hedge closed, {why}", style="green")
        self._told_hedges = {key: row for key, row in hedges.items() if row["status"] != "OPENING"}

    async def _fetch_reasons(self) -> dict[str, str]:
        """Why hedges were closed of late, by position."""
        answer = await self.daemon.fetch("/api/v1/history?limit=100")
        closed = [event for event in (answer or {"events": []})["events"] if event["kind"] == "hedge_closed"]
        reasons = {event["position_id"]: event["text"].rpartition(": ")[2] for event in closed}
        return {position_id: CLOSED.get(reason, reason) for position_id, reason in reasons.items()}

    async def _wait_for_agreement(self) -> bool:
        try:
            await wait_until(self._check_agreement, "book and exchange to agree", SETTLE_S)
        except WorldStuck:
            return False
        return True

    async def _check_agreement(self) -> bool:
        held = await self._fetch_held()
        return held is not None and all(held[symbol] == self._world.exchange.net(symbol) for symbol in held)

    async def _fetch_held(self) -> dict[str, Decimal] | None:
        """The book's net quantity by symbol."""
        answer = await self.daemon.fetch("/api/v1/hedges")
        if answer is None:
            return None
        self._last_hedges = answer["hedges"]
        held = dict.fromkeys(SYMBOLS.values(), Decimal(0))
        for row in answer["hedges"]:
            sign = 1 if row["side"] == "BUY" else -1
            held[row["symbol"]] += sign * Decimal(row["quantity"])
        return held

    def _conclude(self, *, agrees: bool) -> int:
        exchange = self._world.exchange
        table = Table("symbol", "the daemon's book", "sum", "the exchange", title="At the end")
        for symbol in SYMBOLS.values():
            rows = [row for row in self._last_hedges if row["symbol"] == symbol]
            book = ", ".join(f"{_name(row['position_id'])}: {row['side']} {row['quantity']}" for row in rows)
            total = sum((Decimal(r["quantity"]) * (1 if r["side"] == "BUY" else -1) for r in rows), Decimal(0))
            table.add_row(symbol, book or "-", f"{total:f}", f"{exchange.net(symbol):f}")
        self._console.print(table)
        verdict = "They agree." if agrees else "THEY DIFFER."
        self._console.print(f"{len(exchange.orders)} orders in all, no id used twice. {verdict}", style="bold")
        return 0 if agrees and self._check_ids() else 1

    def _check_ids(self) -> bool:
        ids = [order.client_id for order in self._world.exchange.orders]
        return len(ids) == len(set(ids))

    def _tell(self, text: str, style: str = "") -> None:
        minutes, seconds = divmod(int(self._second), 60)
        self._console.print(f"{minutes}:{seconds:02d}  {text}", style=style, soft_wrap=True)

    async def close(self) -> None:
        if self._daemon is not None:
            await self._daemon.close()
        await self._world.stop()


async def _nothing() -> None:
    pass


def _name(position_id: str) -> str:
    user = position_id.partition("|")[0].lower()
    return next((name for name, position in TRADERS.items() if position.user.lower() == user), user)


def _describe(position: SimPosition) -> str:
    side = "long" if position.is_long else "short"
    price = Decimal(position.price) / 10**18
    return f"{side} {position.size // USD:,} USDC of {position.market} from {price:,f}"
