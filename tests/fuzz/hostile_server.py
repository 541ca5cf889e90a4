"""An HTTP server that sends whatever bytes it is told to, down to the status line, and closes the connection.

aiohttp would not let a test send what is not HTTP. One connection carries one request.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import Callable
from random import Random
from typing import NamedTuple, Self

STATUSES = (200, 200, 200, 200, 200, 204, 301, 307, 400, 401, 403, 404, 408, 413, 418, 429, 451, 500, 502, 503, 504, 999)
HEADERS = (
    *("Retry-After: 5", "Retry-After: -1", "Retry-After: " + "9" * 400, "Retry-After: \u0665", "Retry-After: soon"),
    *("Retry-After: Mon, 1 Jan 99999999999999999999 00:00:00 GMT", "Retry-After: Mon, 1 Jan 2020 00:00:00 +99999999999"),
    *("Location: http://[", "Location: /elsewhere", "Content-Type: text/html", "Content-Type: application/json; charset=hex"),
    *("Content-Type: text/event-stream; charset=undefined", "Content-Type: \x00", "Content-Type: a/b; charset=idna"),
    *("Content-Type: text/event-stream; charset=hex", "Content-Type: text/event-stream; charset=unicode_escape"),
    *("X-MBX-USED-WEIGHT-1M: " + "9" * 5_000, "X-MBX-ORDER-COUNT-10S: -3", "Set-Cookie: a=b", "Content-Encoding: gzip"),
    *("Content-Encoding: br", "Content-Encoding: nonsense", "Transfer-Encoding: chunked", "X-Long: " + "y" * 9_000, "nothing"),
)


STATUS_LINES = (b"101 Switching Protocols", b"200 OK", b"301 X", b"302 X", b"404 X", b"503 X", b"999999 X", b"101")


class Request(NamedTuple):
    """What was asked."""

    method: str
    path: str
    body: bytes
    head: str = ""


Answer = Callable[[Request], bytes]


def build_http(body: bytes, *headers: str, status: int = 200) -> bytes:
    """A proper answer around the body, unless the headers say otherwise."""
    named = {header.partition(":")[0].lower() for header in headers}
    lines = [f"HTTP/1.1 {status} X", *headers, "Connection: close"]
    if "content-type" not in named:
        lines.append("Content-Type: application/json")
    if not named & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def build_hostile_http(random: Random, body: bytes) -> bytes:
    """Mostly HTTP: a status and headers of all kinds around the body; now and then cut, or no HTTP at all."""
    if random.randrange(25) == 0:
        return random.choice((b"", b"\x00" * 50, b"HTTP/1.1 200", b"GET / HTTP/1.1\r\n\r\n", random.randbytes(40), body))
    headers = [header for header in (random.choice(HEADERS),) if random.randrange(2)]
    status = random.choice(STATUSES)
    if headers == ["Content-Encoding: gzip"]:
        body = gzip.compress(body)
    elif headers and headers[0].startswith("Retry-After"):
        status = random.choice((429, 429, 418, 503))
    if random.randrange(20) == 0:
        headers.append(f"Content-Length: {random.choice((0, 1, len(body) + 5, 10**30))}")
    answer = build_http(body, *headers, status=status)
    return answer if random.randrange(15) else answer[: random.randrange(len(answer))]


def build_handshake(random: Random) -> bytes:
    """What may answer somebody who wants a websocket; never one."""
    location = random.choice((b"http://[", b"ws://127.0.0.1:1/", b"\xff", b"//", b"ws://127.0.0.1:99999/", b""))
    headers = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: AAAA", b"Location: " + location,
               random.choice(HEADERS).encode("latin-1", "replace"), b"Sec-WebSocket-Extensions: permessage-deflate"]  # fmt: skip
    chosen = random.sample(headers, random.randrange(len(headers) + 1))
    if random.randrange(3) == 0:
        chosen.append(b"Location: " + location)
    head = b"HTTP/1.1 " + random.choice(STATUS_LINES) + b"\r\n" + b"\r\n".join(chosen)
    return random.choice((head + b"\r\n\r\n" + random.randbytes(random.randrange(50)), head, random.randbytes(30)))


class HostileServer:
    """Listens on 127.0.0.1 and gives each request to ``answer``."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.port = 0
        self.served = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.served += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            writer.write(self.answer(await read_request(reader)))
            await writer.drain()
        writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, path, _ = head.split(" ", 2)
    lengths = [line.partition(":")[2] for line in head.splitlines() if line.lower().startswith("content-length:")]
    return Request(method, path, await reader.readexactly(int(lengths[0])) if lengths else b"", head)
