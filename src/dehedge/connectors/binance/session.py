"""The HTTP session under python-binance: what it takes of a reply, and what it keeps.

A reply is bounded, for the library reads a body whole before it looks at it; cookies are not kept, for a sender that sets
ever more of them would fill every request. What went wrong with a request is told in our own words, for the library's may
hold the address that was called, signature and all. Redirects are the gateway's business. Called by ``gateway``.
"""

from __future__ import annotations

from typing import Any

import aiohttp

from dehedge.errors import DehedgeError

KEEP_ALIVE_S = 15.0
REPLY_BYTES_MAX = 16 * 2**20
"""The largest answer, exchangeInfo, has a few; unpacked, where it came packed."""

CONTAINERS_MAX = 250_000
"""Lists and objects of a reply; exchangeInfo has some ten thousand. Millions of them would hold the loop for seconds."""

_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (TimeoutError, "no answer in time"),
    (aiohttp.ClientConnectorDNSError, "its name cannot be resolved"),
    (aiohttp.ClientSSLError, "it has no certificate that we accept"),
)


class BoundedResponse(aiohttp.ClientResponse):
    """Ends a reply that is too long instead of reading it whole."""

    async def read(self) -> bytes:
        if self._body is None:
            self._body = await self._read_bounded()
        return await super().read()

    async def _read_bounded(self) -> bytes:
        chunks, length = [], 0
        async for chunk in self.content.iter_any():
            chunks.append(chunk)
            length += len(chunk)
            if length > REPLY_BYTES_MAX:
                self.close()
                raise aiohttp.ClientPayloadError("the reply is too long")
        body = b"".join(chunks)
        if body.count(b"[") + body.count(b"{") > CONTAINERS_MAX:
            raise aiohttp.ClientPayloadError("the reply has too many parts")
        return body


def build_session_options(trace: aiohttp.TraceConfig) -> dict[str, Any]:
    """What ``aiohttp.ClientSession`` is made with."""
    return {
        "connector": aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE_S),
        "cookie_jar": aiohttp.DummyCookieJar(),
        "response_class": BoundedResponse,
        "trace_configs": [trace],
    }


def describe(error: Exception) -> str:
    """Why a request got no answer that could be used."""
    if isinstance(error, DehedgeError):
        return str(error)
    words = next((words for kind, words in _WORDS if isinstance(error, kind)), None)
    if words is None and isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or type(error.os_error).__name__
    if words is None and isinstance(error, aiohttp.ClientConnectionError | OSError):
        return "the connection was dropped"
    return words or f"the answer could not be read ({type(error).__name__})"
