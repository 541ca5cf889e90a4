"""One connection: one request, one answer, within seconds, whatever the client does.

A stream of events is the one exception: ``stream`` lets it live for longer. A client that sends slowly, never stops sending or never reads is cut off; connections beyond the most that are served at a
time are dropped at once, for they take file descriptors from trading. Every answer leaves here with the same headers, and an
error says no more than its status: nothing of the request, nothing of ours. Used by ``server``.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web
from aiohttp.http import HttpProcessingError

CONNECTIONS_MAX = 64
LIFE_S = 15.0
"""From the first byte to the last; the slowest answer waits 8 s for the exchange."""
LINGERING_S = 1.0
"""How long a body that was refused is still taken in, so that the client reads why."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "dehedge",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
WORDS = {
    HTTPStatus.NOT_FOUND: "there is no such path",
    HTTPStatus.METHOD_NOT_ALLOWED: "the path does not know this method",
    HTTPStatus.INTERNAL_SERVER_ERROR: "an error of the daemon; its log tells more",
}


class Connection(web.RequestHandler):
    """aiohttp's, with an end."""

    __slots__ = ("_deadline", "_life_s")

    def __init__(self, manager: web.Server, life_s: float) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None is how aiohttp turns it off.
            lingering_time=LINGERING_S,
            auto_decompress=False,
            tcp_keepalive=False,
        )
        self._life_s = life_s
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.live(self._life_s)

    def live(self, life_s: float) -> None:
        """It ends so long from now, whatever was said before."""
        if self._deadline is not None:
            self._deadline.cancel()
        assert isinstance(self.transport, asyncio.Transport), "HTTP is spoken over streams"
        self._deadline = asyncio.get_running_loop().call_later(life_s, self.transport.abort)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  (aiohttp's words repeat what was sent)
    ) -> web.StreamResponse:
        """What is not HTTP is no news: anybody can send it, with any text in it. Our own errors are logged."""
        if not isinstance(exc, HttpProcessingError):
            self.log_exception("http_request_failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("half of another answer is sent already")
        return build_error(status)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Every answer comes through here, aiohttp's own as well."""
        if isinstance(resp, web.HTTPException):
            allowed = resp.headers.get("Allow")
            resp = build_error(resp.status, headers={"Allow": allowed} if allowed is not None else None)
        for name, value in HEADERS.items():
            resp.headers.setdefault(name, value)  # Pages have a policy of their own.
        resp.force_close()
        return await super().finish_response(request, resp, start_time)


class Refused(asyncio.Protocol):
    """A connection too many: dropped."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "HTTP is spoken over streams"
        transport.abort()


def build_error(status: int, words: str | None = None, headers: dict[str, str] | None = None) -> web.Response:
    """An error as JSON, in our own words only."""
    told = words or WORDS.get(HTTPStatus(status), HTTPStatus(status).phrase.lower())
    return web.json_response({"error": told}, status=status, headers=headers)
