"""``SimHermes``: the stand-in's HTTP server and the handles by which a test or a story moves it.

Owns the listening socket, the repeated publishing and the log of requests. It decides nothing about prices; ``set`` does.
Used by the demo and by tests; nothing in the daemon knows it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from types import TracebackType
from typing import Self

from aiohttp import web
from multidict import MultiMapping

from dehedge.sim.hermes.faults import STATUS_TEXT, Fault, FaultPlan, Route, build_answer, reset
from dehedge.sim.hermes.prices import DEFAULT_EXPO, PriceBoard, Wanted, read_feed_id, without
from dehedge.sim.hermes.streams import StreamClient, Streams, build_event

REQUESTS_KEPT = 10_000
DAY_CUT = "Connection timeout reached (24h)"
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class SimRequest:
    """One request as it came in. ``key_in`` is ``header``, ``query``, or empty when no key was sent."""

    at: float
    route: Route
    query: str
    feed_ids: tuple[str, ...]
    key_in: str


class SimHermes:
    """A price service on 127.0.0.1. ``api_key`` of None asks for no key; the clock gives the publish times."""

    def __init__(
        self,
        *,
        api_key: str | None = None,
        interval_s: float = 1.0,
        keep_alive_s: float = 15.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        port: int = 0,
    ) -> None:
        self.requests: deque[SimRequest] = deque(maxlen=REQUESTS_KEPT)
        self._api_key = api_key
        self._intervals_s = (interval_s, keep_alive_s)
        self._clock, self._sleep = clock, sleep
        self._board, self._faults, self._streams = PriceBoard(clock), FaultPlan(), Streams()
        self._moved, self._released = asyncio.Event(), asyncio.Event()
        self._port = port
        self._excluded: set[str] = set()
        self._runner: web.AppRunner | None = None
        self._repeats: list[asyncio.Task[None]] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        await self.up()
        interval_s, keep_alive_s = self._intervals_s
        self._repeats = [
            asyncio.create_task(self._repeat(interval_s, self.publish)),
            asyncio.create_task(self._repeat(keep_alive_s, self._streams.keep_alive)),
        ]

    async def stop(self) -> None:
        for task in self._repeats:
            task.cancel()
        await asyncio.gather(*self._repeats, return_exceptions=True)
        await self.down()

    async def up(self) -> None:
        """Listen, on the same port as before."""
        self._released.clear()
        app = web.Application()
        app.router.add_get(Route.LATEST, self._answer_latest)
        app.router.add_get(Route.STREAM, self._answer_stream)
        app.router.add_get(Route.FEEDS, self._answer_feeds)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Drop every connection and stop listening; the prices stay."""
        self._streams.drop()
        self._released.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def define(self, feed_id: str, *, symbol: str, expo: int = DEFAULT_EXPO) -> None:
        """Give a feed its symbol and exponent, before its first price."""
        self._board.define(feed_id, symbol=symbol, expo=expo)

    def set(
        self, feed_id: str, price: Decimal, confidence: Decimal | None = None, *, publish_time: int | None = None
    ) -> None:
        """Set a price and push it at once; with a publish time it is back-dated (or ahead) until published again."""
        self._board.set(feed_id, price, confidence, publish_time)
        self._push()

    def remove(self, feed_id: str) -> None:
        """Make a feed unknown."""
        self._board.remove(feed_id)

    def exclude(self, feed_id: str) -> None:
        """Make a feed one that the plan of the key does not cover."""
        self._excluded.add(read_feed_id(feed_id))

    def publish(self) -> None:
        """Publish every price again, as happens each interval: under a new time unless frozen."""
        self._board.renew()
        self._push()

    def freeze(self, feed_id: str | None = None) -> None:
        """Stop the publish time of one feed, or of all, while publishing goes on."""
        self._board.freeze(feed_id)

    def thaw(self, feed_id: str | None = None) -> None:
        self._board.thaw(feed_id)

    def fail(self, fault: Fault, *routes: Route, retry_after: str | None = None, times: int | None = None) -> None:
        """Answer the routes (all, when none is named) with the fault, for so many requests or until healed."""
        self._faults.fail(fault, routes, retry_after=retry_after, times=times)

    def heal(self, *routes: Route) -> None:
        self._faults.heal(routes)
        self._released.set()
        self._released.clear()

    def silence_streams(self) -> None:
        """Send keep-alive comments only."""
        self._streams.is_silent = True

    def speak(self) -> None:
        """Undo ``silence_streams``."""
        self._streams.is_silent = False

    def keep_alive(self) -> None:
        self._streams.keep_alive()

    def end_streams(self, error: str | None = DAY_CUT) -> None:
        """End every stream in order, as Hermes does after a day."""
        self._streams.end(error)

    def cut_streams(self) -> None:
        """Reset the connection of every stream."""
        self._streams.drop()

    def push_data(self, data: str, *, event: str | None = None) -> None:
        """Send an event with this text to every stream, sense or nonsense."""
        chunk = build_event(data, event)
        self._streams.send(lambda _: chunk)

    async def wait_until(self, check: Callable[[], bool]) -> None:
        """Wait until the check holds; it is tried after every request and whenever a stream opens or closes."""
        while not check():
            await self._moved.wait()

    async def _repeat(self, interval_s: float, action: Callable[[], None]) -> None:
        while True:
            await self._sleep(interval_s)
            action()

    def _push(self) -> None:
        self._streams.send(self._build_event)

    def _build_event(self, wanted: Wanted) -> bytes | None:
        if len(self._board.find_unknown(wanted)) == len(wanted.feed_ids):
            return None
        return build_event(self._build_body(wanted))

    def _build_body(self, wanted: Wanted) -> str:
        return json.dumps(self._board.build_payload(wanted), separators=(",", ":"))

    def _note_move(self) -> None:
        self._moved.set()
        self._moved.clear()

    async def _answer_latest(self, request: web.Request) -> web.StreamResponse:
        fault, retry_after = self._admit(request, Route.LATEST)
        wanted = self._read_wanted(request.query, fault)
        body = self._build_body(wanted)
        if fault is not None and fault is not Fault.ONE_EVENT:
            return await self._fail(request, fault, body, retry_after)
        return web.Response(text=body, content_type="application/json")

    async def _answer_feeds(self, request: web.Request) -> web.StreamResponse:
        fault, retry_after = self._admit(request, Route.FEEDS)
        feeds = self._board.build_feeds(
            query=request.query.get("query", ""), asset_type=request.query.get("asset_type", "")
        )
        body = json.dumps(feeds, separators=(",", ":"))
        if fault is not None and fault is not Fault.ONE_EVENT:
            return await self._fail(request, fault, body, retry_after)
        return web.Response(text=body, content_type="application/json")

    async def _answer_stream(self, request: web.Request) -> web.StreamResponse:
        fault, retry_after = self._admit(request, Route.STREAM)
        wanted = self._read_wanted(request.query, fault)
        event = build_event(self._build_body(wanted))
        if fault is not None and fault is not Fault.ONE_EVENT:
            return await self._fail(request, fault, event.decode(), retry_after)
        return await self._stream(request, wanted, only=event if fault else None)

    async def _stream(self, request: web.Request, wanted: Wanted, *, only: bytes | None) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        client = StreamClient(request, wanted)
        if only is not None:
            client.send(only)
            client.end()
        self._streams.add(client)
        self._note_move()
        try:
            await client.write_all(response)
        finally:
            self._streams.discard(client)
            self._note_move()
        return response

    async def _fail(self, request: web.Request, fault: Fault, body: str, retry_after: str | None) -> web.StreamResponse:
        if fault is Fault.HANG:
            await self._released.wait()
        if fault in (Fault.HANG, Fault.RESET):
            reset(request)
            return web.Response()
        media_type = "text/event-stream" if request.path == Route.STREAM else "application/json"
        return build_answer(fault, body, retry_after=retry_after, media_type=media_type)

    def _admit(self, request: web.Request, route: Route) -> tuple[Fault | None, str | None]:
        """Log the request and say what it meets; without the right key that is a refusal."""
        key, key_in = _read_key(request)
        feed_ids = tuple(request.query.getall("ids[]", []))
        self.requests.append(SimRequest(self._clock(), route, request.query_string, feed_ids, key_in))
        self._note_move()
        if self._api_key is not None and key != self._api_key:
            return Fault.UNAUTHORIZED, None
        return self._faults.take(route)

    def _read_wanted(self, query: MultiMapping[str], fault: Fault | None) -> Wanted:
        wanted = _parse_query(query)
        if self._excluded.intersection(wanted.feed_ids):
            raise web.HTTPForbidden(text=STATUS_TEXT[Fault.FORBIDDEN])
        unknown = self._board.find_unknown(wanted)
        if unknown and not wanted.ignores_unknown and fault is None:
            raise web.HTTPNotFound(text="Price ids not found: " + ", ".join(f"0x{feed_id}" for feed_id in unknown))
        return without(wanted, unknown)


def _read_key(request: web.Request) -> tuple[str | None, str]:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key:
        return key, "header"
    key = request.query.get("ACCESS_TOKEN", "")
    return (key, "query") if key else (None, "")


def _parse_query(query: MultiMapping[str]) -> Wanted:
    try:
        feed_ids = tuple(dict.fromkeys(read_feed_id(text) for text in query.getall("ids[]")))
        encoding = _read_encoding(query.get("encoding", "hex"))
        is_parsed = _BOOLEANS[query.get("parsed", "true")]
        ignores_unknown = _BOOLEANS[query.get("ignore_invalid_price_ids", "false")]
    except KeyError as error:
        raise _refuse_query(f"missing field or bad boolean: {error}") from None
    except ValueError as error:
        raise _refuse_query(str(error)) from None
    return Wanted(feed_ids, encoding, is_parsed, ignores_unknown)


def _read_encoding(text: str) -> str:
    if text not in ("hex", "base64"):
        raise ValueError(f"unknown variant `{text}`, expected `hex` or `base64`")
    return text


def _refuse_query(reason: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=f"Failed to deserialize query string: {reason}")
