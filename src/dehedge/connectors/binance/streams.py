"""A supervised websocket: it connects, listens, notices silence, and reconnects for ever.

Owns one connection at a time and the back-off between them. What it carries is its owner's business: the owner gives
the address anew for each connection and takes each event. A malformed message is counted and dropped. Never logs an
address, for the private one holds the listen key. Used by ``marks`` and ``account_stream``.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import NoReturn, Protocol

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from dehedge import metrics
from dehedge.connectors.binance.events import parse_message
from dehedge.connectors.binance.rows import MalformedPayload, Row
from dehedge.connectors.binance.timing import StreamTiming
from dehedge.errors import ConnectorError

log = structlog.get_logger()

quiet = logging.getLogger("dehedge.websocket")
quiet.setLevel(logging.WARNING)  # the library's debug log shows the address of the handshake


class Connect(connect):
    """Connects to the address given and to no other: the library would follow a redirect to wherever it leads."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class StreamOwner(Protocol):
    """Gives a stream its address, and takes what it carries. All but the address is synchronous and cheap."""

    async def build_url(self) -> str:
        """The address for the next connection. Raises a ``ConnectorError`` when there is none now."""

    def on_open(self) -> None: ...

    def on_event(self, event: Row) -> None:
        """Raises ``MalformedPayload`` for what it cannot read."""


class Renewal(Exception):
    """Ends a connection on purpose, to begin the next."""


class SocketSilent(Exception):
    """The connection stands and carries nothing."""


class Stream:
    """One websocket, kept alive. ``is_live`` while a connection carries what it should."""

    def __init__(self, name: str, timing: StreamTiming, owner: StreamOwner) -> None:
        self.is_live = False
        self.malformed_count = 0
        self._name = name
        self._timing = timing
        self._owner = owner
        self._renew = asyncio.Event()
        self._failures = 0
        self._is_down = False
        metrics.STREAM_UP.labels(name).set(0)

    def renew(self) -> None:
        """Connect anew, with a new address."""
        self._renew.set()

    async def run(self) -> NoReturn:
        """Listen until canceled; whatever goes wrong is answered with another connection."""
        loop = asyncio.get_running_loop()
        while True:
            started_at = loop.time()
            reason = await self._run_connection()
            self._mark_down(reason)
            if loop.time() - started_at >= self._timing.steady_s:
                self._failures = 0
            await asyncio.sleep(self._next_delay_s())

    def _next_delay_s(self) -> float:
        delay_s = min(self._timing.backoff_min_s * (1 << self._failures), self._timing.backoff_max_s)
        self._failures = min(self._failures + 1, 16)
        return delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load and guards nothing

    async def _run_connection(self) -> str:
        """One connection from start to end; returns what broke it, empty when it was ended on purpose."""
        error = await run_until_first_ends(self._listen(), self._await_renewal(), self._await_end_of_life())
        match error:
            case Renewal():
                return ""
            case WebSocketException() | OSError() | ConnectorError() | SocketSilent():
                return describe(error)
        raise error

    async def _listen(self) -> NoReturn:
        self._renew.clear()
        url, timing = await self._owner.build_url(), self._timing
        async with Connect(
            url,
            proxy=None,
            compression=None,
            logger=quiet,
            open_timeout=timing.open_s,
            ping_interval=timing.ping_s,
            ping_timeout=timing.ping_s,
            close_timeout=1,
        ) as socket:
            self._open()
            while True:
                self._take(await self._receive(socket))

    async def _receive(self, socket: ClientConnection) -> str | bytes:
        try:
            async with asyncio.timeout(self._timing.silence_s):
                return await socket.recv()
        except TimeoutError:
            raise SocketSilent("connected but silent") from None

    def _open(self) -> None:
        """Where silence is normal, to be connected is to be live; elsewhere the first event proves it."""
        if self._timing.silence_s is None:
            self._mark_live()
        self._owner.on_open()

    def _take(self, message: str | bytes) -> None:
        try:
            self._owner.on_event(parse_message(message))
        except MalformedPayload as error:
            self.malformed_count += 1
            if self.malformed_count == 1:
                log.warning("message_malformed", stream=self._name, reason=str(error))
        else:
            self._mark_live()

    async def _await_renewal(self) -> NoReturn:
        await self._renew.wait()
        raise Renewal

    async def _await_end_of_life(self) -> NoReturn:
        await asyncio.sleep(self._timing.life_s)
        raise Renewal

    def _mark_live(self) -> None:
        self.is_live = True
        metrics.STREAM_UP.labels(self._name).set(1)
        if self._is_down:
            self._is_down = False
            log.info("stream_recovered", stream=self._name)

    def _mark_down(self, reason: str) -> None:
        self.is_live = False
        metrics.STREAM_UP.labels(self._name).set(0)
        if reason and not self._is_down:
            self._is_down = True
            log.warning("stream_failed", stream=self._name, reason=reason)


async def run_until_first_ends(*works: Coroutine[None, None, NoReturn]) -> Exception:
    """Run endless works until one fails, end the others, and return the failure.

    A task group would do, were it not that in Python 3.11 one that failed can swallow a cancellation from outside.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    return next(result for result in results if isinstance(result, Exception))


def describe(error: Exception) -> str:
    """What broke a connection, without the address that a library's own words may hold."""
    if isinstance(error, (SocketSilent, ConnectorError)):
        return str(error)
    if isinstance(error, InvalidStatus):
        return f"refused with HTTP {error.response.status_code}"
    return type(error).__name__
