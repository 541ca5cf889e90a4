"""Slow, endless and too many clients hold nothing for long; on virtual time, over real sockets."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from web_requests import Operator, build_post

from dehedge.adapters.web import WebServer
from dehedge.adapters.web.connection import CONNECTIONS_MAX, LIFE_S
from dehedge.adapters.web.guard import BODY_S

pytestmark = pytest.mark.looptime

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(server: WebServer) -> Streams:
    return await asyncio.open_connection("127.0.0.1", server.port)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    with suppress(ConnectionError):
        return await reader.read()
    return b""


def count_connections(server: WebServer) -> int:
    assert server._runner is not None
    assert server._runner.server is not None
    return len(server._runner.server.connections)


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /heal",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n",
    ],
)
async def test_client_that_does_not_finish_its_request_is_cut_off(server: WebServer, beginning: bytes):
    started = asyncio.get_running_loop().time()
    reader, writer = await connect(server)
    writer.write(beginning)

    assert await read_all(reader) == b""
    assert asyncio.get_running_loop().time() - started == pytest.approx(LIFE_S, abs=1)
    writer.close()


async def test_client_that_sends_byte_by_byte_is_cut_off(server: WebServer):
    reader, writer = await connect(server)
    started = asyncio.get_running_loop().time()
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
    ending = asyncio.ensure_future(read_all(reader))
    while not ending.done() and asyncio.get_running_loop().time() - started < 60:
        writer.write(b"X-Slow: 1\r\n")
        await asyncio.sleep(1)

    assert await ending == b""
    assert asyncio.get_running_loop().time() - started == pytest.approx(LIFE_S, abs=2)
    writer.close()


async def test_headers_without_end_are_refused(server: WebServer):
    reader, writer = await connect(server)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"X-Many: 1\r\n" * 1_000 + b"\r\n")

    assert (await read_all(reader)).startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
    writer.close()


async def test_body_that_never_comes_is_not_waited_for(server: WebServer, operator: Operator):
    reader, writer = await connect(server)
    started = asyncio.get_running_loop().time()
    writer.write(build_post(b"Host: localhost", b"Content-Type: application/json", b"Content-Length: 10", body=b"{"))

    answer = await read_all(reader)

    assert answer.startswith(b"HTTP/1.1 408")
    assert asyncio.get_running_loop().time() - started < BODY_S + 3
    assert operator.commands == []
    writer.close()


async def test_body_without_end_is_not_taken_in(server: WebServer, operator: Operator):
    reader, writer = await connect(server)
    started = asyncio.get_running_loop().time()
    writer.write(build_post(b"Host: localhost", b"Content-Type: application/json", b"Transfer-Encoding: chunked"))
    ending = asyncio.ensure_future(read_all(reader))
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    with suppress(ConnectionError):
        while not ending.done():
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0.1)

    assert (await ending)[:12] in (b"HTTP/1.1 413", b"")
    assert asyncio.get_running_loop().time() - started < LIFE_S + 1
    assert operator.commands == []
    writer.close()


async def test_client_that_does_not_read_its_answer_is_cut_off(server: WebServer, operator: Operator):
    operator.positions = [{"padding": "x" * 100_000_000}]
    reader, writer = await connect(server)
    writer.write(b"GET /api/v1/positions HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.sleep(1)
    assert count_connections(server) == 1

    await asyncio.sleep(LIFE_S + 1)

    assert count_connections(server) == 0
    writer.close()


async def test_second_request_on_a_connection_is_not_answered(server: WebServer):
    reader, writer = await connect(server)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)

    assert (await read_all(reader)).count(b"HTTP/1.1 ") == 1
    writer.close()


async def test_connections_beyond_the_most_are_dropped_and_served_again_when_the_others_are_gone(server: WebServer):
    held = [await connect(server) for _ in range(CONNECTIONS_MAX)]
    await asyncio.sleep(0.1)
    reader, writer = await connect(server)

    assert await read_all(reader) == b""
    assert count_connections(server) == CONNECTIONS_MAX
    writer.close()
    await asyncio.sleep(LIFE_S + 1)
    reader, writer = await connect(server)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await read_all(reader)).startswith(b"HTTP/1.1 200")
    for _, other in [*held, (reader, writer)]:
        other.close()


async def test_upgrade_is_not_taken_up(server: WebServer):
    reader, writer = await connect(server)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")

    assert (await read_all(reader)).startswith(b"HTTP/1.1 200")
    writer.close()
