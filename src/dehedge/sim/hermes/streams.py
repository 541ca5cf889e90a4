"""The open streams of the Hermes stand-in.

Each client has a queue of what is still to be written; a client that does not read is told so and let go, as Hermes
does. Called by ``server`` only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from aiohttp import web

from dehedge.sim.hermes.faults import reset
from dehedge.sim.hermes.prices import Wanted

KEEP_ALIVE = b":\n\n"
QUEUE_MAX = 1024


def build_event(data: str, name: str | None = None) -> bytes:
    head = f"event:{name}\n" if name else ""
    return f"{head}data:{data}\n\n".encode()


class StreamClient:
    """One connected client: what it wants, and what waits to be written to it."""

    def __init__(self, request: web.Request, wanted: Wanted) -> None:
        self.wanted = wanted
        self._request = request
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE_MAX)

    async def write_all(self, response: web.StreamResponse) -> None:
        """Write until the stream is ended by ``end`` or ``drop``."""
        while (chunk := await self._queue.get()) is not None:
            await response.write(chunk)

    def send(self, chunk: bytes) -> None:
        if self._queue.qsize() >= QUEUE_MAX - 1:
            self._replace_queue(build_event("Slow consumer: disconnected", "error"), None)
        else:
            self._queue.put_nowait(chunk)

    def end(self, error: str | None = None) -> None:
        """End the stream in order, after an error event if one is given."""
        if error is not None:
            self.send(build_event(error, "error"))
        if not self._queue.full():
            self._queue.put_nowait(None)

    def drop(self) -> None:
        reset(self._request)
        self._replace_queue(None)

    def _replace_queue(self, *chunks: bytes | None) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()
        for chunk in chunks:
            self._queue.put_nowait(chunk)


class Streams:
    """Every open stream. A silent set passes keep-alive comments only."""

    def __init__(self) -> None:
        self.is_silent = False
        self._clients: set[StreamClient] = set()

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[StreamClient]:
        return iter(tuple(self._clients))

    def add(self, client: StreamClient) -> None:
        self._clients.add(client)

    def discard(self, client: StreamClient) -> None:
        self._clients.discard(client)

    def send(self, build_chunk: Callable[[Wanted], bytes | None]) -> None:
        """Send to each client what is built for its wishes; None is not sent."""
        if self.is_silent:
            return
        for client in self:
            chunk = build_chunk(client.wanted)
            if chunk is not None:
                client.send(chunk)

    def keep_alive(self) -> None:
        for client in self:
            client.send(KEEP_ALIVE)

    def end(self, error: str | None = None) -> None:
        for client in self:
            client.end(error)

    def drop(self) -> None:
        for client in self:
            client.drop()
