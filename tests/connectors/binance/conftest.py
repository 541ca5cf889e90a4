"""A server that answers REST calls as a test tells it to, for the replies that no healthy exchange gives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]] | None
"""None is an answer that never comes."""


async def tell_time(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"serverTime": int(time.time() * 1000)})


class ScriptedExchange:
    """Answers each request with the next answer of its list; the last one stays. The clock is always there."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str]] = []
        self.answers: list[Answer] = []
        self.tell_time = tell_time
        self.asked, self.ended = asyncio.Event(), asyncio.Event()
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        self.asked.set()
        if request.path.endswith("/time"):
            return await self.tell_time(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await (self.hang(request) if answer is None else answer(request))

    async def hang(self, _request: web.Request) -> web.StreamResponse:
        """Never answer, until the end of the test."""
        await self.ended.wait()
        return web.Response()

    def count(self, method: str, path: str) -> int:
        return sum(1 for seen in self.requests if seen[0] == method and seen[1].endswith(path))


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedExchange]:
    exchange = ScriptedExchange()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", exchange.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    exchange.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield exchange
    exchange.ended.set()
    await runner.cleanup()
