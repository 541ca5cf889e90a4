"""No secret leaves the daemon, whatever quotes it: canaries are planted in the real process, and everything is searched.

The node, the price service and the exchange of this world repeat whatever they were sent, keys and signatures included, in
every kind of error; then the process is made to crash with its secrets in the message. What is searched: the log, the
journal and its companions, every HTTP answer, the command line, and what the commands print.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import pytest
from aiohttp import web

from dehedge.config import read_settings
from dehedge.daemon import Daemon
from dehedge.sim.exchange import BTCUSDT, ETHUSDT, ExchangeSettings, SimExchange
from dehedge.sim.hermes import SimHermes
from dehedge.sim.hermes.faults import Fault, Route
from dehedge.sim.world import KEPT_VARIABLES, USD, DaemonProcess, World, build_position, wait_until
from tests.fuzz.hostile_server import HostileServer, Request, build_http

pytestmark = pytest.mark.timeout(180)

PRICES = {"BTC-USD": Decimal(60_000), "ETH-USD": Decimal(3_000)}
TARGET = Decimal("0.166")
WINDOW = 12
"""So many characters in a row of a secret are a leak: messages are cut, and half a key may be enough."""

NAMES = ("api_key", "api_secret", "pyth", "token", "private_key", "password", "path_key", "query_key", "exchange_password", "hook", "ping")
CANARIES = {name: hashlib.sha256(name.encode()).hexdigest() for name in NAMES}
PATHS = ("/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/hedges", "/api/v1/positions", "/api/v1/flat", "/nothing")
CRASH = """
import os, pathlib, signal

def fall(*_):
    files = [pathlib.Path(os.environ[name]).read_text() for name in ("BINANCE_API_SECRET_FILE", "HTTP_TOKEN_FILE")]
    raise RuntimeError(" ".join([*files, *(value for name, value in os.environ.items() if name.isupper())]))

signal.signal(signal.SIGUSR1, fall)
"""
"""Read by the interpreter before anything else: gives a process an error that nothing in it expects."""


class Quoter:
    """An exchange behind a gateway that quotes the request, for as many requests of a path as it is told to."""

    def __init__(self, target: str) -> None:
        self.quoted = 0
        self.told: list[str] = []
        self.pings = 0
        self.signatures: set[str] = set()
        self._target = target
        self._due: dict[str, int] = {}

    def quote(self, path: str, times: int) -> None:
        self._due[path] = times

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        if request.path == f"/{CANARIES['hook']}":
            self.told.append(body)
            return web.Response(status=500 if len(self.told) == 1 else 200, text=str(request.url))
        if request.path == f"/{CANARIES['ping']}":
            self.pings += 1
            return web.Response(status=500, text=str(request.url))
        sent = f"{request.method} {request.url} {body} {dict(request.headers)}"
        self.signatures |= set(re.findall(r"signature=(\w+)", sent))
        path = next((path for path in self._due if request.path.endswith(path) and self._due[path]), None)
        if path is not None:
            self._due[path] -= 1
            self.quoted += 1
            return self._build_answer(request, sent)
        headers = {name: value for name, value in request.headers.items() if name.startswith(("X-MBX", "Content-Type"))}
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, self._target + request.raw_path, data=body, headers=headers) as reply,
        ):
            kept = {name: value for name, value in reply.headers.items() if name.startswith("X-MBX")}
            return web.Response(status=reply.status, text=await reply.text(), content_type="application/json", headers=kept)

    def _build_answer(self, request: web.Request, sent: str) -> web.StreamResponse:
        key = request.headers.get("X-MBX-APIKEY", "")
        words = [f"Margin is insufficient. {sent}", f"no {request.query_string} for {key}", f"the key {key[:40]}... is none"]
        message = words[self.quoted % len(words)]
        answers = [
            web.json_response({"code": -2019, "msg": message}, status=400),
            web.json_response({"code": -1000, "msg": message}, status=500),
            web.Response(text=f"<html>{sent}</html>", status=502, content_type="text/html"),
            web.json_response({"code": -1008, "msg": message}),
            web.Response(text=f'{{"msg": "{message}', content_type="application/json"),
            web.json_response([sent]),
            web.Response(status=307, headers={"Location": f"/elsewhere?{request.query_string}"}),
        ]
        return answers[self.quoted % len(answers)]


class QuotingNode:
    """A node that answers every request with its URL and the headers, in another way each time."""

    def __init__(self) -> None:
        self.asked = 0

    def answer(self, request: Request) -> bytes:
        self.asked += 1
        sent = f"{request.path} {request.head}".replace("\r\n", " ")
        identity = json.loads(request.body)["id"] if request.body else 1
        revert = (b"\x08\xc3\x79\xa0" + (32).to_bytes(32, "big") + len(sent).to_bytes(32, "big") + sent.encode()).hex()
        errors: list[Any] = [
            {"code": -32000, "message": f"no project for {sent}"},
            {"code": 3, "message": "execution reverted", "data": f"0x{revert}"},
            {"code": -32005, "message": f"rate limit of {sent}"},
            {"code": sent, "message": sent, "data": {"data": sent}},
            sent,
        ]
        bodies = [json.dumps({"jsonrpc": "2.0", "id": identity, "error": error}) for error in errors]
        answers = [
            *(build_http(body.encode()) for body in bodies),
            *(build_http(body.encode(), status=400) for body in bodies[:2]),
            build_http(f"<html>{sent}".encode(), status=404),
            build_http(b"", f"Location: {request.path}", status=302),
            build_http(json.dumps({"jsonrpc": "2.0", "id": identity, "result": sent}).encode()),
            f"HTTP/1.1 200 {request.path}\r\n{sent}\r\n\r\n".encode(),
        ]
        return answers[self.asked % len(answers)]


@asynccontextmanager
async def serve(quoter: Quoter) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", quoter.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    world = World(PRICES, use_anvil=False)
    marks = {BTCUSDT: PRICES["BTC-USD"], ETHUSDT: PRICES["ETH-USD"]}
    keys = {"api_key": CANARIES["api_key"], "api_secret": CANARIES["api_secret"]}
    world.exchange = SimExchange(ExchangeSettings(marks=marks, **keys))
    world.hermes = SimHermes(api_key=CANARIES["pyth"])
    await world.start()
    try:
        await world.chain.set_vault(100_000 * USD)
        await world.chain.set_shield(20 * USD)
        yield world
    finally:
        await world.stop()


def build_node_url(url: str) -> str:
    parts = urlsplit(url)
    canaries = CANARIES
    return (
        f"http://operator:{canaries['password']}@{parts.netloc}/v2/{canaries['path_key']}?apikey={canaries['query_key']}"
    )


def build_environment(folder: Path, world: World, *, node_url: str, exchange_port: int) -> dict[str, str]:
    secrets, hooks = folder / "secrets", folder / "hooks"
    for made in (secrets, hooks):
        made.mkdir()
    (secrets / "secret").write_text(CANARIES["api_secret"] + "\n")
    (secrets / "token").write_text(CANARIES["token"] + "\n")
    (hooks / "sitecustomize.py").write_text(CRASH)
    variables = world.build_environment(
        NETWORKS=",".join(build_node_url(url) for url in (node_url, node_url, node_url, world.chain.url)),
        NETWORKS_WS=",".join(build_node_url(url).replace("http", "ws", 1) for url in (node_url, world.chain.url)),
        KEY=f"0x{CANARIES['private_key']}",
        PYTH_API_KEY=CANARIES["pyth"],
        BINANCE_API_SECRET_FILE=str(secrets / "secret"),
        HTTP_TOKEN_FILE=str(secrets / "token"),
        BINANCE_FUTURES_URL=f"http://operator:{CANARIES['exchange_password']}@127.0.0.1:{exchange_port}",
        NOTIFY_URLS=f"json://127.0.0.1:{exchange_port}/{CANARIES['hook']}",
        NOTIFY_AFTER_SECONDS="0",
        HEARTBEAT_URL=f"http://127.0.0.1:{exchange_port}/{CANARIES['ping']}",
        HEARTBEAT_SECONDS="1",
        HEDGE_SIZING="notional",
        POLL_INTERVAL_SECONDS="0.2",
        PRICE_INTERVAL_SECONDS="0.2",
        LOG_LEVEL="DEBUG",
        PYTHONPATH=os.pathsep.join([str(hooks), os.environ.get("PYTHONPATH", "")]),
    )
    return {name: value for name, value in variables.items() if name not in ("BINANCE_API_SECRET", "HTTP_TOKEN")}


def find_leaks(text: str, secrets: Iterable[str]) -> list[str]:
    """Every piece of a secret that stands in the text."""
    pieces = {secret[place : place + WINDOW] for secret in secrets for place in range(len(secret) - WINDOW + 1)}
    found = sorted(piece for piece in pieces if piece in text)
    return [text[max(0, text.index(piece) - 120) : text.index(piece) + 60] for piece in found[:3]]


def list_secrets(quoter: Quoter, listen_keys: Iterable[str | None]) -> list[str]:
    """The canaries, what was made of them, and the keys and signatures that came up on the way."""
    pairs = [f"operator:{CANARIES[name]}" for name in ("password", "exchange_password")]
    encoded = [b64encode(pair.encode()).decode()[12:] for pair in pairs]
    upper = [secret.upper() for secret in CANARIES.values()]
    return [*CANARIES.values(), *upper, *encoded, *quoter.signatures, *(key for key in listen_keys if key)]


async def run_command(daemon: DaemonProcess, environment: dict[str, str], *words: str) -> str:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dehedge", *words, cwd=daemon.folder, env={**kept, **environment, "HTTP_PORT": "0"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return output.decode(errors="replace")


async def fetch_all(daemon: DaemonProcess) -> str:
    """Everything that its HTTP address says, also to a stranger who wants to change something."""
    async with httpx.AsyncClient(base_url=daemon._url, timeout=5) as client:
        answers = [await client.get(path) for path in PATHS]
        answers += [await client.post("/api/v1/pause", headers={"Authorization": "Bearer wrong"})]
        answers += [await client.post("/api/v1/pause", headers={"Authorization": f"Bearer {CANARIES['token']}"})]
        answers += [await client.post("/api/v1/resume", headers={"Authorization": f"Bearer {CANARIES['token']}"})]
    assert [answer.status_code for answer in answers[-2:]] == [202, 202]
    return "\n".join(f"{answer.headers} {answer.text}" for answer in answers)


async def crash(daemon: DaemonProcess) -> None:
    """Until an error that is told with its trace has ended the process; some are caught by the loop, and told as well."""
    process = daemon._process
    assert process is not None

    async def check_ended() -> bool:
        if process.returncode is None:
            process.send_signal(signal.SIGUSR1)
        return process.returncode is not None

    await wait_until(check_ended, "the daemon to crash")


async def test_no_secret_leaves_the_daemon_whatever_quotes_it(tmp_path: Path):
    node = QuotingNode()
    async with a_world() as world, HostileServer(node.answer) as server:
        quoter = Quoter(world.exchange.url)
        async with serve(quoter) as port:
            environment = build_environment(tmp_path, world, node_url=server.url, exchange_port=port)
            daemon = DaemonProcess(tmp_path, environment)
            try:
                seen, listen_keys = await live(world, daemon, environment, quoter)
            finally:
                await daemon.close()
    files = [path for path in tmp_path.iterdir() if path.is_file()]  # noqa: ASYNC240
    seen += [path.read_bytes().decode("utf-8", "replace") for path in files]

    assert {"dehedge.db", "dehedge.db.lock", "daemon.log"} <= {path.name for path in files}
    seen += quoter.told
    assert quoter.told
    assert quoter.pings
    assert "notification_failed" in daemon.log_text
    assert "heartbeat_failed" in daemon.log_text
    assert node.asked > 10
    assert quoter.quoted > 12
    assert len(quoter.signatures) > 12
    assert "RuntimeError" in daemon.log_text
    assert "Margin is insufficient" in daemon.log_text
    assert find_leaks("\n".join(seen), list_secrets(quoter, listen_keys)) == []


async def live(
    world: World, daemon: DaemonProcess, environment: dict[str, str], quoter: Quoter
) -> tuple[list[str], list[str | None]]:
    """A life in a hostile world, to its crash; gives what was seen outside, and the listen keys there were."""
    for path in ("/time", "/accountConfig", "/leverage", "/listenKey"):
        quoter.quote(path, 2)
    quoter.quote("/order", 2)
    await daemon.start()
    seen = [Path(f"/proc/{daemon.pid}/cmdline").read_text()]  # noqa: ASYNC240
    seen.append(await fetch_all(daemon))
    await wait_until(daemon.check_ready, "the daemon to be ready")
    listen_keys = [world.exchange.api.venue.listen_keys.current]

    await world.chain.put(build_position(1, "BTC-USD", is_long=True, size_usd=10_000, price=Decimal(57_000)))
    seen.append(await fetch_all(daemon))
    await wait_until(lambda: check_net(world, TARGET), "the hedge")
    for path in ("/positionRisk", "/balance", "/allOrders", "/userTrades", "/ping", "/listenKey"):
        quoter.quote(path, 3)
    world.exchange.expire_listen_key()
    world.exchange.streams.drop()
    await world.chain.remove(build_position(1, "BTC-USD", is_long=True, size_usd=1, price=Decimal(1)).key)
    await wait_until(lambda: check_net(world, Decimal(0)), "the hedge to be closed")
    seen += await disturb_prices(world, daemon)
    seen += await asyncio.gather(*(run_command(daemon, environment, *words) for words in list_commands(daemon)))
    listen_keys.append(world.exchange.api.venue.listen_keys.current)
    seen.append(await fetch_all(daemon))
    await crash(daemon)
    return seen, listen_keys


async def disturb_prices(world: World, daemon: DaemonProcess) -> list[str]:
    """Hermes quotes the key in its stream's last event, and then refuses it."""
    seen = []
    world.hermes.push_data(f"Bearer {CANARIES['pyth']} is out of quota", event="error")
    for fault in (Fault.HTML, Fault.UNAUTHORIZED):
        world.hermes.fail(fault, Route.LATEST, Route.STREAM)
        world.hermes.cut_streams()
        count = len(world.hermes.requests)
        await wait_until(lambda count=count: check_asked(world, count + 1), "another request for prices")
        seen.append(await fetch_all(daemon))
        world.hermes.heal()
    return seen


async def check_asked(world: World, count: int) -> bool:
    return len(world.hermes.requests) >= count


async def check_net(world: World, quantity: Decimal) -> bool:
    return world.exchange.net("BTCUSDT") == quantity


def list_commands(daemon: DaemonProcess) -> list[list[str]]:
    asking = [["status"], ["hedges"], ["status", "--json"], ["pause", "--reason", "a test"], ["resume"]]
    return [*([*words, "--url", daemon._url] for words in asking), ["check"], ["check", "--json"], ["notify"], ["status"]]


def walk(root: object) -> list[object]:
    """Every object of ours that is reachable from one, and what of other libraries they hold."""
    found, queue, known = [], [root], set()
    while queue:
        item = queue.pop()
        if id(item) in known or isinstance(item, str | bytes | type | int | Decimal):
            continue
        known.add(id(item))
        if isinstance(item, list | tuple | set | frozenset | dict):
            queue += item.values() if isinstance(item, dict) else item
            continue
        found.append(item)
        if type(item).__module__.startswith("dehedge"):
            slots = [name for kind in type(item).__mro__ for name in getattr(kind, "__slots__", ())]
            queue += [*getattr(item, "__dict__", {}).values(), *(getattr(item, name, None) for name in slots)]
    return found


async def test_no_object_of_the_daemon_shows_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text(CANARIES["token"])
    variables = {
        "NETWORKS": build_node_url("http://127.0.0.1:1"), "KEY": CANARIES["private_key"], "PYTH_API_KEY": CANARIES["pyth"],
        "BINANCE_API_KEY": CANARIES["api_key"], "BINANCE_API_SECRET": CANARIES["api_secret"], "HTTP_TOKEN_FILE": "token",
        "BINANCE_FUTURES_URL": f"https://h.example/{CANARIES['path_key']}?k={CANARIES['query_key']}",
        "PYTH_PRICE_SERVICE": f"https://operator:{CANARIES['password']}@h.example",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    daemon = Daemon(settings, {"BTC-USD": "BTCUSDT"})
    daemon._connector._gateway._get_client()  # type: ignore[attr-defined]

    objects = walk([daemon, settings])
    kinds = {type(item).__name__ for item in objects}
    shown = "\n".join(f"{item!r} {item!s}" for item in objects)
    await daemon._close()

    assert {"Settings", "Transport", "HermesClient", "Gateway", "Credentials", "WebServer", "AsyncClient"} <= kinds
    assert find_leaks(shown, CANARIES.values()) == []


def test_search_finds_a_piece_of_a_secret():
    secret = CANARIES["pyth"]

    assert find_leaks(f"key {secret[20:34]}", [secret])
    assert not find_leaks(f"key {secret[20:30]}", [secret])
