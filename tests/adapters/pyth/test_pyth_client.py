"""One request to a Hermes that sends what it should not: bounded, never unpacked, and quoted without the key."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import traceback

import pytest
from tests.fuzz.hostile import hurried
from tests.fuzz.hostile_server import HostileServer, build_http

from dehedge.adapters.pyth.client import REPLY_BYTES_MAX, HermesClient
from dehedge.adapters.pyth.pace import Pace
from dehedge.errors import PriceUnavailable

START = 1_800_000_000
KEY = "k3y-of-the-test"
BTC = "e6" * 32


class FixedClock:
    def time(self) -> float:
        return START


async def ask(answer: bytes, *, is_stream: bool, key: str = KEY) -> tuple[list[str], list[str]]:
    """What the client makes of one answer, and the heads of its requests."""
    heads: list[str] = []

    def build(request):
        heads.append(request.head)
        return answer

    async with HostileServer(build) as server:
        client = HermesClient(server.url.replace("127.0.0.1", "localhost"), key, clock=FixedClock(), pace=Pace())
        try:
            for _ in range(2):
                with contextlib.suppress(asyncio.CancelledError):
                    if not is_stream:
                        await client.fetch_latest([BTC])
                        continue
                    async with client.open_stream([BTC]) as events:
                        async for _text in events:
                            break
            return [], heads
        except PriceUnavailable as error:
            return traceback.format_exception(error), heads
        finally:
            await client.close()


EVENT = b'data:{"parsed":[]}\n\n'
STREAM = "Content-Type: text/event-stream"


@pytest.mark.parametrize("charset", ["undefined", "hex", "unicode_escape", "idna", "no-such", "utf-16", "rot13"])
async def test_client_reads_a_stream_whatever_charset_it_names(charset):
    assert (await ask(build_http(EVENT, f"{STREAM}; charset={charset}"), is_stream=True))[0] == []


@pytest.mark.parametrize("is_stream", [True, False])
async def test_client_refuses_what_it_would_have_to_unpack(is_stream):
    packed = gzip.compress(bytes(200 * 2**20))

    with hurried():
        told, heads = await ask(build_http(packed, STREAM, "Content-Encoding: gzip"), is_stream=is_stream)

    assert "a compressed reply, which was not asked for" in told[-1]
    assert "accept-encoding: identity" in heads[0].lower()


@pytest.mark.parametrize(
    ("is_stream", "body"),
    [
        (False, b" " * (REPLY_BYTES_MAX + 1)),
        (True, b"data:" + b"x" * REPLY_BYTES_MAX),
        (True, b"data:x\n" * (REPLY_BYTES_MAX // 7 + 1)),
        (True, b":\n" * (REPLY_BYTES_MAX // 2 + 1)),
    ],
    ids=["a reply", "a line", "an event", "comments"],
)
async def test_client_ends_what_does_not_end(is_stream, body):
    told, _ = await ask(build_http(body, STREAM), is_stream=is_stream)

    assert f"Hermes sent more than {REPLY_BYTES_MAX} bytes at once" in told[-1]


async def test_client_reads_a_stream_of_any_length():
    """The limit is one of each event."""
    events = (b"data:" + b"x" * 2**20 + b"\n\n") * 8
    seen = []

    async def follow(client: HermesClient) -> None:
        async with client.open_stream([BTC]) as texts:
            async for text in texts:
                seen.append(len(text))  # noqa: PERF401  (a comprehension would be lost with the error at the end)

    async with HostileServer(lambda _: build_http(events, STREAM)) as server:
        client = HermesClient(server.url, KEY, clock=FixedClock(), pace=Pace())
        with pytest.raises(PriceUnavailable, match="the stream of Hermes ended"):
            await follow(client)
        await client.close()

    assert seen == [2**20] * 8


@pytest.mark.parametrize(
    ("is_stream", "answer"),
    [
        (True, build_http(f"event: error\ndata:no more for Bearer {KEY}\n\n".encode(), STREAM)),
        (True, build_http(b"", f"Content-Type: text/{KEY}")),
        (False, f"HTTP/1.1 200 {KEY}\r\nno header but {KEY}\r\n\r\n".encode()),
        (False, build_http(KEY.encode(), f"X-Key: {KEY}", status=500)),
    ],
    ids=["event", "media type", "header", "body"],
)
async def test_client_never_shows_the_key_that_is_quoted(is_stream, answer):
    told, _ = await ask(answer, is_stream=is_stream)

    assert told
    assert KEY not in "".join(told)


async def test_client_never_shows_the_password_in_its_url():
    async with HostileServer(lambda _: build_http(b"event: error\ndata:no user pass-word-1\n\n", STREAM)) as server:
        client = HermesClient(server.url.replace("//", "//u:pass-word-1@"), None, clock=FixedClock(), pace=Pace())
        with pytest.raises(PriceUnavailable, match=r"the stream of Hermes ended: no user \*\*\*$"):
            async with client.open_stream([BTC]) as texts:
                await anext(texts)
        await client.close()


async def test_client_keeps_no_cookies():
    _, heads = await ask(build_http(b"{}", "Set-Cookie: heavy=load; Path=/"), is_stream=False)

    assert len(heads) == 2
    assert "cookie" not in heads[1].lower()
