"""A whole local world: a chain, a price service, an exchange, and the real daemon as a process of its own.

Used by the demo and by end-to-end tests. The daemon is started as an operator would start it, with environment variables
and a ``markets.toml`` in a folder of its own, and is ended by its own pid. Nothing leaves 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from dehedge.errors import DehedgeError
from dehedge.sim.chain import AnvilChain, AnvilUnavailable, InProcessChain, SimChain, SimMarket, SimPosition
from dehedge.sim.exchange import BTCUSDT, ETHUSDT, ExchangeSettings, SimExchange, SymbolRules
from dehedge.sim.hermes import FEED_IDS, SimHermes

SYMBOLS = {"BTC-USD": "BTCUSDT", "ETH-USD": "ETHUSDT"}
FEEDS = {market: FEED_IDS[market.replace("-", "/")] for market in SYMBOLS}
USD = 10**6
PRICE = 10**18
LEVERAGE = 20
PYTH_KEY = "demo-pyth-key"
HTTP_TOKEN = "demo-only-http-token"  # noqa: S105  (a local world has no secrets)
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "COVERAGE_PROCESS_START")
START_S = 60.0
POLL_S = 0.05


class WorldStuck(DehedgeError):
    """What should have happened in a local world did not."""


def get_symbol(market: str) -> str:
    """What a market is hedged with in these worlds."""
    return SYMBOLS.get(market) or market.replace("-USD", "USDT")


def get_feed(market: str) -> str:
    """A made-up feed id where Pyth's own is not known."""
    name = market.replace("-", "/")
    return FEED_IDS.get(name) or hashlib.sha256(name.encode()).hexdigest()


def build_rules(market: str) -> SymbolRules:
    """BTC and ETH have their own trading rules, and every other market has those of ETH."""
    symbol = get_symbol(market)
    return BTCUSDT if symbol == BTCUSDT.symbol else replace(ETHUSDT, symbol=symbol, base_asset=market.partition("-")[0])


class World:
    """The three services that a daemon needs, with a market for each of the prices."""

    def __init__(self, prices: Mapping[str, Decimal], *, use_anvil: bool = True, hedge_mode: bool = False) -> None:
        marks = {build_rules(market): price for market, price in prices.items()}
        self.exchange = SimExchange(ExchangeSettings(marks=marks, dual_side=hedge_mode))
        self.hermes = SimHermes(api_key=PYTH_KEY)
        self.chain: SimChain = InProcessChain()
        self._use_anvil = use_anvil
        self._prices = prices

    @property
    def chain_name(self) -> str:
        return "anvil, a real EVM" if isinstance(self.chain, AnvilChain) else "an in-process JSON-RPC server"

    async def start(self) -> None:
        await self._start_chain()
        await self.hermes.start()
        await self.exchange.start()
        for market, price in self._prices.items():
            await self.chain.set_market(SimMarket(market=market, name=market, pyth_feed=get_feed(market)))
            self.set_price(market, price)

    async def _start_chain(self) -> None:
        if self._use_anvil:
            chain = AnvilChain()
            try:
                await chain.start()
            except AnvilUnavailable:
                pass  # No binary on this machine: the in-process chain answers the same reads.
            else:
                self.chain = chain
                return
        await self.chain.start()

    async def stop(self) -> None:
        await self.exchange.stop()
        await self.hermes.stop()
        await self.chain.stop()

    def set_price(self, market: str, price: Decimal) -> None:
        """Move the market: the exchange's mark and Pyth's price."""
        self.exchange.set_mark(get_symbol(market), price)
        self.hermes.set(get_feed(market), price)

    def build_environment(self, **changes: str) -> dict[str, str]:
        """The variables of a daemon that runs against this world."""
        settings = self.exchange.settings
        return {
            "NETWORKS": self.chain.url,
            "PYTH_PRICE_SERVICE": self.hermes.base_url,
            "PYTH_API_KEY": PYTH_KEY,
            "BINANCE_API_KEY": settings.api_key,
            "BINANCE_API_SECRET": settings.api_secret,
            "BINANCE_FUTURES_URL": self.exchange.url,
            "BINANCE_FUTURES_WS_URL": self.exchange.ws_url,
            "HTTP_TOKEN": HTTP_TOKEN,
            "LEVERAGE": str(LEVERAGE),
            **changes,
        }


def build_position(
    user: int, market: str, *, is_long: bool, size_usd: int, price: Decimal, opened_at: int = 0
) -> SimPosition:
    """A trader's position in USDC; ``user`` is a number that becomes an address."""
    return SimPosition(
        user=f"0x{user:040x}",
        market=market,
        is_long=is_long,
        size=size_usd * USD,
        collateral=size_usd * USD // 10,
        price=int(price * PRICE),
        timestamp=opened_at,
    )


async def wait_until(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = START_S) -> None:
    """Look again and again until the condition holds. Raises ``WorldStuck`` naming what was waited for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not await condition():
        if loop.time() > deadline:
            raise WorldStuck(f"waited {timeout_s:.0f} s for {what}")
        await asyncio.sleep(POLL_S)


class DaemonProcess:
    """The real daemon: ``python -m dehedge run`` in its own folder, or a module that stands in for it."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *, module: str = "dehedge", markets: Iterable[str] = SYMBOLS
    ) -> None:
        self.folder = folder
        self._environment = {**environment, "HTTP_PORT": "0", "LOG_FORMAT": "json"}
        self._process: asyncio.subprocess.Process | None = None
        self._module = module
        self._client = httpx.AsyncClient(timeout=5)
        self._url = ""
        self._log = folder / "daemon.log"
        tables = "".join(f'"{market}" = "{get_symbol(market)}"\n' for market in markets)
        (folder / "markets.toml").write_text(f"[binance]\n{tables}", encoding="utf-8")

    @property
    def pid(self) -> int:
        assert self._process is not None, "start the daemon first"
        return self._process.pid

    @property
    def url(self) -> str:
        """Where it listens, once it has been started."""
        return self._url

    @property
    def log_text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    async def start(self) -> None:
        """Start it and wait until it listens."""
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        offset = len(self.log_text)
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, "run",
                cwd=self.folder, env={**kept, **self._environment}, stdin=asyncio.subprocess.DEVNULL,
                stdout=output, stderr=output,
            )  # fmt: skip
        port = await self._wait_for_port(offset)
        self._url = f"http://127.0.0.1:{port}"

    def keep_port(self) -> None:
        """Listen where it listens now after the next start as well: whoever looks at it goes on looking."""
        self._environment["HTTP_PORT"] = str(urlsplit(self._url).port)

    async def _wait_for_port(self, offset: int) -> int:
        async def check_listening() -> bool:
            if self._process is not None and self._process.returncode is not None:
                said = " ".join(self.log_text[offset:].split())
                raise WorldStuck(f"the daemon did not start: {said[-500:]}")
            return '"http_started"' in self.log_text[offset:]

        await wait_until(check_listening, "the daemon to listen")
        lines = (json.loads(line) for line in self.log_text[offset:].splitlines() if '"http_started"' in line)
        return int(next(lines)["port"])

    async def check_ready(self) -> bool:
        answer = await self.fetch("/readyz")
        return bool(answer and answer["ready"])

    async def fetch(self, path: str) -> Any:
        """GET a path of its API; None while it does not answer."""
        try:
            return (await self._client.get(self._url + path)).json()
        except (httpx.HTTPError, ValueError):
            return None

    async def post(self, path: str) -> int:
        """POST with the token; the status code."""
        headers = {"Authorization": f"Bearer {HTTP_TOKEN}"}
        return (await self._client.post(self._url + path, headers=headers)).status_code

    async def kill(self) -> None:
        """Kill -9."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        return await self._end(signal.SIGTERM)

    async def close(self) -> None:
        await self._end(signal.SIGKILL)
        await self._client.aclose()

    async def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        return await process.wait()
