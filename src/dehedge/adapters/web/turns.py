"""Answers that take a while, one after the other, so that no price waits for a question.

Sixty clients that ask for a thousand hedges each at once would hold the loop for seconds otherwise: whatever is ready runs before
the loop turns. Whoever hedges comes between two answers. Used by ``server``, ``questions`` and ``dashboard``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def queue(handle: Handler) -> Handler:
    """The same handler, which makes one answer at a time; those of other paths do not wait for it."""
    turn = asyncio.Lock()

    async def answer(request: web.Request) -> web.StreamResponse:
        async with turn:
            found = await handle(request)
            await asyncio.sleep(0)
        return found

    return answer
