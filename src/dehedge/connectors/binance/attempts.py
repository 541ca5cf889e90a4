"""One attempt at a request, as the HTTP session sees it: the last look before it goes out, and what came back.

The library between us and the session knows nothing of this: the attempt travels in the task's context. Decides nothing;
called by the gateway.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp

from dehedge.connectors.binance.endpoints import Endpoint
from dehedge.connectors.binance.session import build_session_options


@dataclass(slots=True)
class Attempt:
    """What the session saw of a request: whether it went out, and what status and wait came back.

    ``let_out`` is asked before its first byte, and raises when it must not go.
    """

    endpoint: Endpoint
    let_out: Callable[[Attempt], None]
    sent_at: float
    is_sent: bool = False
    status: int = 0
    retry_after_s: float | None = None


current: ContextVar[Attempt] = ContextVar("attempt")


class GuardedRequest(aiohttp.ClientRequest):
    """A request that has its connection and is about to be written: the first time, or again by the session's own doing."""

    async def send(self, conn: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        attempt = current.get()
        attempt.let_out(attempt)
        return await super().send(conn)


OnResponse = Callable[[aiohttp.ClientSession, SimpleNamespace, aiohttp.TraceRequestEndParams], Awaitable[None]]


def build_session_params(on_sent: Callable[..., Awaitable[None]], on_response: OnResponse) -> dict[str, object]:
    """``on_sent`` is called as the first bytes leave."""
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(on_sent)
    trace.on_request_end.append(on_response)
    return {**build_session_options(trace), "request_class": GuardedRequest}
