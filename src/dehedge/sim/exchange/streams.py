"""The websocket side: market streams, the user stream, and everything that can go wrong with them.

Owns the open connections and what each may hear. Each stream belongs to a route (``/public``, ``/market``, ``/private``); on
the wrong route a connection is accepted, acknowledged, and hears nothing, as on the exchange. Publishing is synchronous
and ordered: messages go to a queue per connection, and one task per connection sends them. Never decides what happened;
``server`` publishes the ledger's events here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from aiohttp import WSCloseCode, WSMsgType, web

from dehedge.sim.exchange.api import dump
from dehedge.sim.exchange.payloads import Json

Path = Literal["public", "market", "private", ""]
STREAMS_MAX = 1024
FRAMES_PER_SECOND_MAX = 10
PING_EVERY_S = 180.0
LIFE_S = 86_400.0
ROUTE_OF: dict[str, Path] = {"bookTicker": "public", "depth": "public"}
"""Streams by the start of their kind; every other kind is on the market route."""


def get_route(stream: str) -> Path:
    """The route on which a stream is really served."""
    kind = stream.partition("@")[2] if "@" in stream and not stream.startswith("!") else stream.lstrip("!")
    return next((route for start, route in ROUTE_OF.items() if kind.startswith(start)), "market")


@dataclass(slots=True, eq=False)
class Listener:
    """One open connection. ``allowed`` limits the user events, None allows all."""

    socket: web.WebSocketResponse
    path: Path
    wrapped: bool
    streams: set[str]
    transport: asyncio.WriteTransport | None
    listen_key: str | None = None
    allowed: frozenset[str] | None = None
    outbox: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    frames: list[float] = field(default_factory=list)

    def put(self, stream: str, payload: Json | list[Json]) -> None:
        self.outbox.put_nowait(dump({"stream": stream, "data": payload} if self.wrapped else payload))

    def check_frame_rate(self, now_s: float) -> bool:
        self.frames = [at for at in self.frames if now_s - at < 1.0] + [now_s]
        return len(self.frames) <= FRAMES_PER_SECOND_MAX

    def abort(self) -> None:
        """Cut the connection without a goodbye."""
        if self.transport is not None:
            self.transport.abort()


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Bends the next user events of a kind (None: any): ``drop``, ``duplicate``, or ``reorder`` with the one after."""

    kind: Literal["drop", "duplicate", "reorder"]
    event: str | None = None
    times: int = 1


class Disturber:
    """Applies disturbances to the sequence of user events. Pure."""

    def __init__(self) -> None:
        self._rules: list[Disturbance] = []
        self._held: list[Json] = []

    def add(self, rule: Disturbance) -> None:
        self._rules.append(rule)

    def apply(self, payload: Json) -> list[Json]:
        """What is sent in the place of one event, now."""
        index = next((i for i, rule in enumerate(self._rules) if rule.event in (None, payload["e"])), None)
        if index is None or (self._rules[index].kind == "reorder" and self._held):
            return [payload, *self._take_held()]
        kind = self._use(index)
        if kind == "reorder":
            self._held.append(payload)
        return [payload, payload, *self._take_held()] if kind == "duplicate" else []

    def _use(self, index: int) -> str:
        """Count a rule down, and forget it at zero."""
        rule = self._rules.pop(index)
        if rule.times > 1:
            self._rules.insert(index, replace(rule, times=rule.times - 1))
        return rule.kind

    def _take_held(self) -> list[Json]:
        held, self._held = self._held, []
        return held


class Streams:
    """All connections, and the switches that break them."""

    def __init__(self, charge_handshake: Callable[[str], None], get_listen_key: Callable[[], str | None]) -> None:
        self._charge_handshake, self._get_listen_key = charge_handshake, get_listen_key
        self.listeners: set[Listener] = set()
        self.silent: set[Path] = set()
        self.refused: set[Path] = set()
        self.life_s = LIFE_S
        self.user_events: list[Json] = []
        self._disturber = Disturber()
        self._changed = asyncio.Event()

    def disturb(self, rule: Disturbance) -> None:
        """Bend user events to come."""
        self._disturber.add(rule)

    def undisturb(self) -> None:
        """Bend no more."""
        self._disturber = Disturber()

    def drop(self, path: Path | None = None) -> int:
        """Cut the connections of a route, or all; says how many."""
        dropped = [listener for listener in self.listeners if path in (None, listener.path)]
        for listener in dropped:
            listener.abort()
        return len(dropped)

    async def wait_for_listeners(self, count: int, path: Path | None = None) -> None:
        """Return once exactly so many connections are open on a route, or in all."""
        while sum(path in (None, listener.path) for listener in self.listeners) != count:
            self._changed.clear()
            await self._changed.wait()

    def publish(self, stream: str, build: Callable[[], Json | list[Json]]) -> None:
        """Send a market event to those who may hear it; the payload is built only when somebody does."""
        route = get_route(stream)
        hearing = [
            listener
            for listener in self.listeners
            if stream in listener.streams and listener.path == route and route not in self.silent
        ]
        if hearing:
            payload = build()
            for listener in hearing:
                listener.put(stream, payload)

    def publish_user(self, payload: Json, listen_key: str | None = None) -> None:
        """Send a user event to the listeners of the account's key."""
        self.user_events.append(payload)
        key = listen_key or self._get_listen_key()
        for event in self._disturber.apply(payload):
            for listener in self._find_private(key, event["e"]):
                listener.put(key or "", event)

    def _find_private(self, key: str | None, event: str) -> Iterable[Listener]:
        if "private" in self.silent or key is None:
            return []
        return [
            listener
            for listener in self.listeners
            if listener.listen_key == key and (listener.allowed is None or event in listener.allowed)
        ]

    async def close_key(self, listen_key: str) -> None:
        """End the connections of a key that its owner closed."""
        for listener in [each for each in self.listeners if each.listen_key == listen_key]:
            await listener.socket.close(code=WSCloseCode.OK)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Take a connection from handshake to end."""
        path, shape = _split_path(request.path)
        if path in self.refused:
            return web.Response(status=503)
        self._charge_handshake(request.remote or "")
        socket = web.WebSocketResponse(heartbeat=PING_EVERY_S, max_msg_size=2**20)
        await socket.prepare(request)
        listener = _build_listener(socket, path, shape, request)
        await self._listen(listener)
        return socket

    async def _listen(self, listener: Listener) -> None:
        sender = asyncio.create_task(self._send(listener))
        self.listeners.add(listener)
        self._changed.set()
        try:
            async with asyncio.timeout(self.life_s):
                await self._receive(listener)
        except TimeoutError:
            await listener.socket.close(code=WSCloseCode.GOING_AWAY)
        finally:
            self.listeners.discard(listener)
            self._changed.set()
            sender.cancel()

    async def _send(self, listener: Listener) -> None:
        while True:
            text = await listener.outbox.get()
            try:
                await listener.socket.send_str(text)
            except ConnectionError:
                return

    async def _receive(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        async for message in listener.socket:
            if message.type != WSMsgType.TEXT or not listener.check_frame_rate(loop.time()):
                await listener.socket.close(code=WSCloseCode.POLICY_VIOLATION)
                return
            listener.outbox.put_nowait(dump(answer_frame(listener, message.data)))


def _split_path(path: str) -> tuple[Path, str]:
    """Divide ``/market/ws/btcusdt@markPrice`` into its route and the rest."""
    for route in ("public", "market", "private"):
        if path.startswith(f"/{route}/"):
            return route, path.removeprefix(f"/{route}/")
    return "", path.removeprefix("/")


def _build_listener(socket: web.WebSocketResponse, path: Path, shape: str, request: web.Request) -> Listener:
    query, (kind, _, rest) = request.query, shape.partition("/")
    named = [*rest.split("/"), *query.get("streams", "").split("/")]
    key = query.get("listenKey") or (rest if path == "private" else None)
    events = query.get("events")
    return Listener(
        socket,
        path,
        wrapped=kind == "stream",
        streams={name for name in named if name},
        transport=cast("asyncio.WriteTransport | None", request.transport),
        listen_key=key if path == "private" else None,
        allowed=frozenset(events.split("/")) if events else None,
    )


def answer_frame(listener: Listener, text: str) -> Json:
    """Carry out a control frame. It is acknowledged whatever the route serves."""
    try:
        frame = json.loads(text)
        method, names, number = frame["method"], frame.get("params") or [], frame.get("id")
    except (ValueError, TypeError, KeyError, AttributeError):
        return {"error": {"code": 2, "msg": "Invalid request: unable to parse the frame"}}
    if method == "SUBSCRIBE" and len(listener.streams | set(names)) <= STREAMS_MAX:
        listener.streams |= set(names)
    elif method == "UNSUBSCRIBE":
        listener.streams -= set(names)
    elif method == "LIST_SUBSCRIPTIONS":
        return {"result": sorted(listener.streams), "id": number}
    else:
        return {"error": {"code": 2, "msg": "Invalid request: unknown method or too many streams"}, "id": number}
    return {"result": None, "id": number}
