"""The stream of events: what a page is told, how often, how many may watch, and who is dropped; on virtual time, over sockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import httpx
import pytest
from web_requests import Onlooker

from dehedge.adapters.web import Dashboard, WebServer
from dehedge.adapters.web.connection import HEADERS, LIFE_S
from dehedge.adapters.web.stream import BEAT_S, STREAM_LIFE_S, STREAMS_MAX, WRITE_S, Hub, Stream, build_frame

pytestmark = pytest.mark.looptime

TOPICS = {"hello", "beat", "status", "inputs", "hedges", "now", "events", "exposure"}
Told = list[tuple[str, object]]


class Watcher:
    """One page, as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read_head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def read_for(self, seconds: float) -> Told:
        """What is told in this time."""
        read = bytearray()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while piece := await self.reader.read(65_536):
                    read += piece
        frames = [line for line in read.decode().splitlines() if line.startswith(("event: ", "data: "))]
        names, contents = frames[::2], frames[1::2]
        return [
            (name.removeprefix("event: "), json.loads(content.removeprefix("data: ")))
            for name, content in zip(names, contents, strict=True)
        ]

    async def leave(self) -> None:
        self.writer.close()
        await asyncio.sleep(2 * BEAT_S)


async def watch(server: WebServer, *headers: str) -> Watcher:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**26)
    lines = ["GET /api/v1/stream HTTP/1.1", "Host: localhost", *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    return Watcher(reader, writer)


async def test_page_is_told_every_topic_at_once_and_then_only_what_is_new(server: WebServer, onlooker: Onlooker):
    watcher = await watch(server)
    head = await watcher.read_head()
    first = await watcher.read_for(0.5)
    onlooker.padding = "new"
    second = await watcher.read_for(BEAT_S)

    assert head.startswith("HTTP/1.1 200")
    assert "Content-Type: text/event-stream" in head
    assert all(f"{name}: {value}" in head for name, value in HEADERS.items())
    assert {name for name, _ in first} == TOPICS
    assert dict(first)["status"] == {"version": "1", "vault": "12.5"}
    assert second == [("now", {"vault": "12.5", "padding": "new"})]
    await watcher.leave()


async def test_page_is_greeted_with_what_the_daemon_is_and_the_paths_it_has(server: WebServer):
    watcher = await watch(server)
    await watcher.read_head()
    hello = dict(await watcher.read_for(0.5))["hello"]

    assert (hello["account"], hello["endpoint"]) == ("custom", "127.0.0.1:1")
    assert {"/api/v1/status", "/api/v1/series", "/"} <= set(hello["paths"])
    assert "/api/v1/nothing" not in hello["paths"]
    await watcher.leave()


async def test_topic_is_told_once_a_second_at_most(server: WebServer, onlooker: Onlooker):
    watcher = await watch(server)
    await watcher.read_head()
    await watcher.read_for(0.5)
    told = []
    for number in range(50):
        onlooker.now += 1
        onlooker.padding = str(number)
        told += await watcher.read_for(0.1)

    assert 4 <= len([name for name, _ in told if name == "beat"]) <= 6
    assert 4 <= len([name for name, _ in told if name == "now"]) <= 6
    await watcher.leave()


async def test_nothing_is_built_while_nobody_watches(server: WebServer, dashboard: Dashboard, onlooker: Onlooker):
    await asyncio.sleep(5 * BEAT_S)
    assert (dashboard.hub.is_idle, onlooker.asked) == (True, [])
    watcher = await watch(server)
    await watcher.read_head()
    await watcher.read_for(BEAT_S)
    assert not dashboard.hub.is_idle
    onlooker.now += 1
    await watcher.leave()
    onlooker.now += 1
    await asyncio.sleep(2 * BEAT_S)
    asked = len(onlooker.asked)

    await asyncio.sleep(5 * BEAT_S)

    assert (dashboard.hub.is_idle, len(dashboard.hub), len(onlooker.asked)) == (True, 0, asked)


async def test_stream_outlives_a_connection_and_ends_at_last(server: WebServer):
    watcher = await watch(server)
    await watcher.read_head()
    await watcher.read_for(3 * LIFE_S)
    assert not watcher.reader.at_eof()

    await watcher.read_for(STREAM_LIFE_S)

    assert watcher.reader.at_eof()
    watcher.writer.close()


async def test_many_pages_are_told_the_same_and_one_too_many_is_refused(
    server: WebServer, dashboard: Dashboard, onlooker: Onlooker
):
    watchers = [await watch(server) for _ in range(STREAMS_MAX)]
    for watcher in watchers:
        await watcher.read_head()
    assert len(dashboard.hub) == STREAMS_MAX
    refused = await watch(server)
    assert (await refused.read_head()).startswith("HTTP/1.1 503")
    refused.writer.close()
    told = [await watcher.read_for(0.1) for watcher in watchers]
    assert all({name for name, _ in rows} == TOPICS for rows in told)
    assert onlooker.asked.count("now") == 1

    await watchers[0].leave()
    onlooker.now += 1
    await asyncio.sleep(2 * BEAT_S)
    again = await watch(server)
    assert (await again.read_head()).startswith("HTTP/1.1 200")
    for watcher in [*watchers[1:], again]:
        watcher.writer.close()


async def test_page_that_reads_nothing_is_dropped_and_the_others_are_told_on(
    server: WebServer, dashboard: Dashboard, onlooker: Onlooker
):
    lazy = await watch(server)
    lazy.writer.transport.pause_reading()
    keen = await watch(server)
    await keen.read_head()
    told = 0
    for number in range(30):
        onlooker.padding = f"{number}" * 2_000_000
        told += len(await keen.read_for(BEAT_S))
        if len(dashboard.hub) == 1:
            break

    assert len(dashboard.hub) == 1
    assert number < 10 + WRITE_S
    assert told >= number
    lazy.writer.close()
    await keen.leave()


@pytest.mark.parametrize("header", ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"])
async def test_page_of_another_site_takes_no_place(server: WebServer, dashboard: Dashboard, header: str):
    watcher = await watch(server, header)

    assert (await watcher.read_head()).startswith("HTTP/1.1 403")
    assert len(dashboard.hub) == 0
    watcher.writer.close()


async def test_head_of_the_stream_is_not_answered(http: httpx.AsyncClient, dashboard: Dashboard):
    assert (await http.head("/api/v1/stream")).status_code == 405
    assert len(dashboard.hub) == 0


async def test_shutdown_ends_the_streams_at_once(server: WebServer):
    watcher = await watch(server)
    await watcher.read_head()
    began = asyncio.get_running_loop().time()
    await server.close()

    await watcher.read_for(10)

    assert watcher.reader.at_eof()
    assert asyncio.get_running_loop().time() - began < 1
    watcher.writer.close()


async def test_view_that_fails_ends_the_streams_with_a_log_and_the_next_page_begins_anew(
    server: WebServer, dashboard: Dashboard, onlooker: Onlooker, caplog: pytest.LogCaptureFixture
):
    watcher = await watch(server)
    await watcher.read_head()
    onlooker.error = ZeroDivisionError("inner words")
    told = await watcher.read_for(2 * BEAT_S)
    assert watcher.reader.at_eof()
    assert "inner words" not in str(told)
    watcher.writer.close()
    assert dashboard.hub.is_idle

    onlooker.error = None
    watcher = await watch(server)
    await watcher.read_head()
    assert {name for name, _ in await watcher.read_for(0.5)} == TOPICS
    await watcher.leave()


async def test_slow_reader_finds_the_newest_of_each_topic_only():
    stream = Stream()
    for number in range(3):
        stream.put("now", build_frame("now", number))
    stream.put("beat", build_frame("beat", 1))

    assert await stream.take() == b"event: now\ndata: 2\n\nevent: beat\ndata: 1\n\n"


async def test_topic_that_takes_long_comes_rarely(monkeypatch: pytest.MonkeyPatch):
    spent = [0.0]
    built = []
    monkeypatch.setattr("dehedge.adapters.web.stream.time.thread_time", lambda: spent[0])

    async def build() -> object:
        built.append(asyncio.get_running_loop().time())
        spent[0] += 0.2
        return len(built)

    hub = Hub({"slow": build})
    stream = hub.open()
    await asyncio.sleep(35)
    hub.leave(stream)

    assert built == pytest.approx([0, 10, 20, 30], abs=2 * BEAT_S)
