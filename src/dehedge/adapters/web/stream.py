"""Tells the pages that watch what is new, once a second, and costs nothing while nobody watches.

Every topic is built once for all of them, and sent where it differs from what was sent before. A page that reads slowly
finds the newest of each topic and nothing of what was between; one that does not read at all is dropped. A topic that takes
long to build comes more rarely, so that watching never takes more than a small part of the loop. Used by ``dashboard``.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import structlog
from aiohttp import web

from dehedge.adapters.web.connection import HEADERS, Connection
from dehedge.adapters.web.guard import Refusal, check_site

log = structlog.get_logger()

STREAMS_MAX = 8
STREAM_LIFE_S = 3_600.0
"""Then the page connects again by itself."""
BEAT_S = 1.0
WRITE_S = 5.0
"""A page that takes nothing for so long is dropped."""
SHARE_MAX = 0.02
"""Of the loop's time, for one topic."""

Build = Callable[[], Awaitable[object]]


class Stream:
    """What one page has not been told yet."""

    def __init__(self) -> None:
        self._frames: dict[str, bytes] = {}
        self._is_ended = False
        self._news = asyncio.Event()

    def put(self, topic: str, frame: bytes) -> None:
        """The newest of a topic takes the place of what was not sent."""
        self._frames[topic] = frame
        self._news.set()

    def end(self) -> None:
        self._is_ended = True
        self._news.set()

    async def take(self) -> bytes:
        """All that is new, once there is something; empty at the end."""
        await self._news.wait()
        self._news.clear()
        taken, self._frames = b"".join(self._frames.values()), {}
        if self._is_ended:
            self._news.set()
            return b""
        return taken


class Hub:
    """Builds the topics while there are streams, and hands them out."""

    def __init__(self, topics: Mapping[str, Build]) -> None:
        self._topics = topics
        self._streams: set[Stream] = set()
        self._sent: dict[str, bytes] = {}
        self._due: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def is_idle(self) -> bool:
        """True while nothing is built."""
        return self._task is None

    def open(self) -> Stream:
        """One more; raises ``Refusal`` where there are enough."""
        if len(self._streams) >= STREAMS_MAX:
            words = f"{STREAMS_MAX} pages are watching already; close one"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, words, {"Retry-After": "10"})
        stream = Stream()
        for topic, frame in self._sent.items():
            stream.put(topic, frame)
        self._streams.add(stream)
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        return stream

    def leave(self, stream: Stream) -> None:
        self._streams.discard(stream)
        if not self._streams and self._task is not None:
            self._task.cancel()
            self._forget()

    async def close(self) -> None:
        """End every stream."""
        for stream in self._streams:
            stream.end()

    def _forget(self) -> None:
        self._task, self._sent, self._due = None, {}, {}

    async def _run(self) -> None:
        try:
            while True:
                await self._beat()
                await asyncio.sleep(BEAT_S)
        except Exception:
            # A view that fails must end no daemon; the pages see their stream end, and say so.
            log.exception("stream_failed")
            await self.close()
            self._forget()

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        for topic, build in self._topics.items():
            if loop.time() < self._due.get(topic, 0.0):
                continue
            # Of this thread's own work: waiting for a busy machine costs the loop nothing.
            began = time.thread_time()
            frame = build_frame(topic, await build())
            self._due[topic] = loop.time() + (time.thread_time() - began) / SHARE_MAX
            if frame != self._sent.get(topic):
                self._sent[topic] = frame
                for stream in self._streams:
                    stream.put(topic, frame)


def build_frame(topic: str, content: object) -> bytes:
    """One event, as ``text/event-stream`` wants it."""
    return f"event: {topic}\ndata: {json.dumps(content)}\n\n".encode()


async def serve_stream(request: web.Request, hub: Hub) -> web.StreamResponse:
    """Until the page goes, is too slow, or the hub ends it. Another site's page is refused, for it would take a place."""
    check_site(request)
    stream = hub.open()
    try:
        return await _send(request, stream)
    finally:
        hub.leave(stream)


async def _send(request: web.Request, stream: Stream) -> web.StreamResponse:
    assert isinstance(request.protocol, Connection), "every connection is one of ours"
    request.protocol.live(STREAM_LIFE_S)
    response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    response.force_close()
    await response.prepare(request)
    try:
        while frames := await stream.take():
            async with asyncio.timeout(WRITE_S):
                await response.write(frames)
    except ConnectionError:
        pass  # The page has gone.
    except TimeoutError:
        request.protocol.live(0.0)
    return response
