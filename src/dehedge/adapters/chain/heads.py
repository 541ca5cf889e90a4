"""New blocks as they come, over a node's websocket: a hint to read the chain now, and never more than that.

Owns one connection at a time, to the first URL that works, and the back-off between them. Asks for the chain's id,
subscribes to new heads, and to everything that the contract with the positions logs, once its address is known. What
comes is taken for a block's number and hash or it is dropped; nothing else of it is believed, and the poll finds whatever is lost here. A URL may hold a key:
its host alone is ever told. Run by ``daemon``, tried by ``check``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from dehedge.adapters.chain.transport import build_host
from dehedge.errors import ChainUnavailable

MESSAGE_BYTES_MAX = 256 * 1024
"""A head has some 2 kB, and the log of one event less."""

_log = structlog.get_logger()
_quiet = logging.getLogger("dehedge.heads")
_quiet.setLevel(logging.WARNING)  # the library's debug log shows the address of the handshake

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,16}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_HEADS_ID, _LOGS_ID, _CHAIN_ID = 1, 2, 3
_NAMES = (("number", "blockNumber"), ("hash", "blockHash"))
"""In a head and in a log."""


class HeadTiming(NamedTuple):
    """``silence_s`` is how long no block may come before another connection is tried."""

    open_s: float = 10.0
    ping_s: float = 20.0
    silence_s: float = 30.0
    backoff_min_s: float = 0.5
    backoff_max_s: float = 30.0


DEFAULT_TIMING = HeadTiming()


class Block(NamedTuple):
    """What a message tells."""

    number: int
    hash: str


class _Connect(connect):
    """Connects to the address given and to no other: the library would follow a redirect to wherever it leads."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class HeadWatch:
    """Listens at one of ``urls``. ``get_address`` is that of the contract with the positions, None while it is unknown."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        chain_id: int,
        get_address: Callable[[], str | None],
        on_block: Callable[[int, str], None],
        timing: HeadTiming = DEFAULT_TIMING,
    ) -> None:
        self._urls = urls
        self._chain_id = chain_id
        self._get_address = get_address
        self._on_block = on_block
        self._timing = timing
        self._failures = 0
        self._is_live = False
        self._is_down = False

    async def run(self) -> NoReturn:
        """Listen until canceled; whatever goes wrong is answered with the next URL, and the first after the last."""
        for url in cycle(self._urls):
            host = build_host(urlsplit(url))
            try:
                await self._listen(url, host)
            except (WebSocketException, OSError, ChainUnavailable) as error:
                self._mark_down(host, error)
            await asyncio.sleep(self._next_delay_s())
        raise AssertionError("there is at least one URL")

    def _next_delay_s(self) -> float:
        delay_s = min(self._timing.backoff_min_s * (1 << self._failures), self._timing.backoff_max_s)
        self._failures = min(self._failures + 1, 16)
        return delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load and guards nothing

    async def _listen(self, url: str, host: str) -> NoReturn:
        async with _open(url, self._timing) as socket:
            async with asyncio.timeout(self._timing.open_s):
                await _check_chain(socket, self._chain_id)
            await _subscribe(socket, _HEADS_ID, "newHeads")
            address = None
            while True:
                if address != (found := self._get_address()):
                    address = found
                    await _subscribe(socket, _LOGS_ID, "logs", {"address": address})
                block = await self._receive(socket)
                self._mark_live(host)
                self._on_block(*block)

    async def _receive(self, socket: ClientConnection) -> Block:
        """The next block. Raises where none comes for too long, however much else does."""
        try:
            async with asyncio.timeout(self._timing.silence_s):
                while (block := _read_block(await socket.recv())) is None:
                    pass
        except TimeoutError:
            raise ChainUnavailable(f"told of no block for {self._timing.silence_s:g} s") from None
        return block

    def _mark_live(self, host: str) -> None:
        self._failures = 0
        if not self._is_live:
            self._is_live, self._is_down = True, False
            _log.info("heads_followed", endpoint=host)

    def _mark_down(self, host: str, error: Exception) -> None:
        self._is_live = False
        if not self._is_down:
            self._is_down = True
            _log.warning("heads_failed", endpoint=host, error=describe(error))


async def fetch_subscription(url: str, chain_id: int, timing: HeadTiming = DEFAULT_TIMING) -> None:
    """Raises ``ChainUnavailable`` unless new heads of that chain can be subscribed to there."""
    try:
        async with asyncio.timeout(timing.open_s), _open(url, timing) as socket:
            await _check_chain(socket, chain_id)
            await _subscribe(socket, _HEADS_ID, "newHeads")
            while _read_reply(_parse(await socket.recv())) is None:
                pass
    except (WebSocketException, OSError) as error:
        raise ChainUnavailable(describe(error)) from None


def describe(error: Exception) -> str:
    """What broke a connection, without the address that a library's own words may hold."""
    match error:
        case ChainUnavailable():
            return str(error)
        case InvalidStatus():
            return f"refused us with HTTP {error.response.status_code}"
        case TimeoutError():
            return "did not answer in time"
        case OSError():
            return "cannot be reached"
        case _:
            return f"broke the connection ({type(error).__name__})"


def _open(url: str, timing: HeadTiming) -> connect:
    return _Connect(
        url,
        proxy=None,
        compression=None,
        logger=_quiet,
        open_timeout=timing.open_s,
        ping_interval=timing.ping_s,
        ping_timeout=timing.ping_s,
        close_timeout=1,
        max_size=MESSAGE_BYTES_MAX,
    )


async def _check_chain(socket: ClientConnection, chain_id: int) -> None:
    """Raises where the node is on another chain: each of its blocks would be news for ever, or none of them."""
    await _request(socket, _CHAIN_ID, "eth_chainId")
    while (reply := _parse(await socket.recv())).get("id") != _CHAIN_ID:
        pass
    found = str(reply.get("result"))
    if not _QUANTITY.fullmatch(found):
        raise ChainUnavailable("does not say which chain it is on")
    if int(found, 16) != chain_id:
        raise ChainUnavailable(f"is on chain {int(found, 16)}, not {chain_id}: check NETWORKS_WS and CHAIN_ID")


async def _subscribe(socket: ClientConnection, identity: int, *params: Any) -> None:
    await _request(socket, identity, "eth_subscribe", *params)


async def _request(socket: ClientConnection, identity: int, method: str, *params: Any) -> None:
    await socket.send(json.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params}))


def _read_block(message: str | bytes) -> Block | None:
    """The block that a head or a log names; None for everything else. Raises where heads are refused."""
    document = _parse(message)
    _read_reply(document)
    params = document.get("params")
    result = params.get("result") if isinstance(params, dict) else None
    if not isinstance(result, dict):
        return None
    number, block_hash = (str(result.get(name, result.get(other))) for name, other in _NAMES)
    if not _QUANTITY.fullmatch(number) or not _HASH.fullmatch(block_hash):
        return None
    return Block(int(number, 16), block_hash.lower())


def _read_reply(document: dict[str, Any]) -> object:
    """The subscription to heads, None where this is not about it. Raises where it is refused."""
    if document.get("id") != _HEADS_ID:
        return None
    if document.get("error") is not None:
        raise ChainUnavailable("does not let us subscribe to new heads")
    return document.get("result")


def _parse(message: str | bytes) -> dict[str, Any]:
    """An object, empty for everything else."""
    try:
        document = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
