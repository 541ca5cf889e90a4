"""What can go wrong between a client and Hermes, on demand.

A ``Fault`` is the whole answer to a request instead of the right one. ``FaultPlan`` says which route has which fault and
for how many requests. Called by ``server`` only; the plan is changed by tests and by the demo's story.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, replace
from enum import StrEnum

from aiohttp import web


class Route(StrEnum):
    """The three paths of Hermes that are served."""

    LATEST = "/v2/updates/price/latest"
    STREAM = "/v2/updates/price/stream"
    FEEDS = "/v2/price_feeds"


class Fault(StrEnum):
    """One way to fail. The last four send the right status and the wrong body."""

    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    THROTTLED = "429"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"
    HANG = "hang"
    RESET = "reset"
    HTML = "html"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    ONE_EVENT = "one_event"
    """The stream gives one good event and ends; the other routes have no such fault and answer well."""


STATUS_TEXT = {
    Fault.UNAUTHORIZED: "Unauthorized: missing or invalid API key",
    Fault.FORBIDDEN: "Not entitled to one or more price feeds",
    Fault.NOT_FOUND: "",
    Fault.THROTTLED: "Too Many Requests",
    Fault.SERVER_ERROR: "Internal Server Error",
    Fault.UNAVAILABLE: "Service Unavailable",
}

PAGE = "<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>"


@dataclass(frozen=True, slots=True)
class _Entry:
    fault: Fault
    retry_after: str | None
    requests_left: int | None

    @property
    def next(self) -> _Entry | None:
        """What is left of it after one more request."""
        if self.requests_left is None:
            return self
        return replace(self, requests_left=self.requests_left - 1) if self.requests_left > 1 else None


class FaultPlan:
    """The fault that the next request of each route meets, if any."""

    def __init__(self) -> None:
        self._entries: dict[Route, _Entry] = {}

    def fail(
        self, fault: Fault, routes: tuple[Route, ...], *, retry_after: str | None = None, times: int | None = None
    ) -> None:
        for route in routes or tuple(Route):
            self._entries[route] = _Entry(fault, retry_after, times)

    def heal(self, routes: tuple[Route, ...]) -> None:
        for route in routes or tuple(Route):
            self._entries.pop(route, None)

    def take(self, route: Route) -> tuple[Fault | None, str | None]:
        """The fault of this request and its Retry-After header; one of ``times`` is used up."""
        entry = self._entries.pop(route, None)
        if entry is None:
            return None, None
        if entry.next is not None:
            self._entries[route] = entry.next
        return entry.fault, entry.retry_after


def build_answer(fault: Fault, good_body: str, *, retry_after: str | None, media_type: str) -> web.Response:
    """The answer of every fault that is an answer; hang, reset and one event are not."""
    if fault in STATUS_TEXT:
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        return web.Response(status=int(fault.value), text=STATUS_TEXT[fault], headers=headers)
    if fault is Fault.HTML:
        return web.Response(text=PAGE, content_type="text/html")
    body = good_body[: len(good_body) // 2] if fault is Fault.TRUNCATED else ""
    return web.Response(text=body, content_type=media_type)


def reset(request: web.BaseRequest) -> None:
    """Drop the connection as a crashed peer would: with a reset, not an orderly end."""
    transport = request.transport
    if transport is None:
        return
    peer = transport.get_extra_info("socket")
    if peer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
