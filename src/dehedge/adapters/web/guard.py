"""What is refused before anything is done: foreign hosts, cross-site posts, wrong tokens, and bodies that are not ours.

A browser can be made to send requests here by any page it shows. It then names the page's own host (DNS rebinding) or says
that it comes from elsewhere (``Origin``, ``Sec-Fetch-Site``): both are refused, whatever else the request holds. Nothing of
a request is repeated or logged before its token was right. Used by ``server``.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from aiohttp import HttpVersion10, web

from dehedge.adapters.web.connection import build_error
from dehedge.core.book import TradingMode
from dehedge.core.switch import PAUSED

BODY_MAX_BYTES = 4_096
BODY_S = 5.0
REASON_LENGTH_MAX = 200
PAGE_LENGTH_MAX = 1_000
"""Positions in one answer, which holds the loop for some 30 ms."""
ANYWHERE = {"0.0.0.0", "::"}  # noqa: S104  (listened on, and nobody's name)
WITHOUT_EFFECT = ("GET", "HEAD")

_TIME = re.compile(r"[0-9]{1,11}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[^\s:@/?#\[\]\\]+))(?::\d{1,5})?")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Refusal(Exception):
    """The request is not obeyed; carries the answer."""

    def __init__(self, status: HTTPStatus, words: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(words)
        self.answer = build_error(status, words, headers)


class Command(NamedTuple):
    """What the body of a command says; an empty body says nothing."""

    level: TradingMode | None = None
    reason: str = ""


class Page(NamedTuple):
    """A part of a list that may be long."""

    offset: int = 0
    limit: int = PAGE_LENGTH_MAX


class Span(NamedTuple):
    """What happened since a time, the newest of it."""

    since: int = 0
    limit: int = 200


class Guard:
    """Knows the hosts that we are called by and the token that is obeyed."""

    def __init__(self, hosts: Collection[str], token: str | None) -> None:
        self._hosts = {host.lower() for host in hosts} - ANYWHERE
        self._token = token

    @web.middleware
    async def refuse(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A middleware: every path goes through it, those that do not exist as well."""
        try:
            self._check_host(request)
            if request.method not in WITHOUT_EFFECT:
                check_site(request)
            return await handler(request)
        except Refusal as refusal:
            return refusal.answer

    def check_token(self, request: web.Request) -> None:
        """Compared in constant time; without a configured token nobody is obeyed."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        # Bytes that are not UTF-8 arrive as surrogates.
        given, wanted = (text.encode("utf-8", "surrogateescape") for text in (token.strip(), self._token or ""))
        if not (hmac.compare_digest(given, wanted) and wanted and scheme.lower() == "bearer"):
            words = "a valid bearer token is needed (HTTP_TOKEN)"
            raise Refusal(HTTPStatus.UNAUTHORIZED, words, {"WWW-Authenticate": "Bearer"})

    def _check_host(self, request: web.Request) -> None:
        given = request.headers.getall("Host", [])
        if not given and request.version == HttpVersion10:
            return  # A health check of the old school; no browser leaves the host out.
        match = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if match is None:
            raise Refusal(HTTPStatus.BAD_REQUEST, "exactly one host must be named")
        if not self._check_known((match["address"] or match["name"]).lower(), request):
            raise Refusal(HTTPStatus.FORBIDDEN, "this daemon is not known by that host (HTTP_ALLOWED_HOSTS)")

    def _check_known(self, host: str, request: web.Request) -> bool:
        if host == "localhost" or host in self._hosts:
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        own = request.transport.get_extra_info("sockname") if request.transport is not None else None
        # The address that the connection came to is ours, whatever we listen on.
        return address.is_loopback or (own is not None and address == ip_address(own[0]))


def check_site(request: web.Request) -> None:
    """Refuse what a page of somebody else's made a browser send."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    is_ours = origin is None or urlsplit(origin).netloc.lower() == request.headers.get("Host", "").lower()
    if not is_ours or site not in (None, "same-origin", "none"):
        raise Refusal(HTTPStatus.FORBIDDEN, "cross-site requests are not obeyed")


def read_page(request: web.Request) -> Page:
    """Which part is asked for by ``offset`` and ``limit``, no more than ``PAGE_LENGTH_MAX`` rows."""
    return Page(read_number(request, "offset", 0), min(read_number(request, "limit", PAGE_LENGTH_MAX), PAGE_LENGTH_MAX))


def read_span(request: web.Request) -> Span:
    """Which time is asked for by ``since``, in whole seconds since 1970, and how much of it by ``limit``."""
    since = request.query.get("since", "0")
    if not _TIME.fullmatch(since):
        raise Refusal(HTTPStatus.BAD_REQUEST, "since is a number of whole seconds since 1970")
    return Span(int(since), min(read_number(request, "limit", Span().limit), PAGE_LENGTH_MAX))


def read_number(request: web.Request, name: str, default: int) -> int:
    """A whole number of the query."""
    text = request.query.get(name, str(default))
    if not _NUMBER.fullmatch(text):
        raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} is a number of at most nine digits")
    return int(text)


async def read_command(request: web.Request, *, takes_level: bool) -> Command:
    """The command in the body, if there is one. Raises ``Refusal`` for everything that is not one."""
    raw = await _read_body(request)
    if not raw:
        return Command()
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body must be application/json, not encoded")
    try:
        body = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
    return _parse_command(body, takes_level=takes_level)


async def _read_body(request: web.Request) -> bytes:
    too_large = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has {BODY_MAX_BYTES} bytes at most")
    if (request.content_length or 0) > BODY_MAX_BYTES:
        raise too_large
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise too_large from None
    except TimeoutError:
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, "the body did not come in time") from None
    except web.RequestPayloadError:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is not as announced") from None


def _parse_command(body: Any, *, takes_level: bool) -> Command:
    known = {"level", "reason"} if takes_level else {"reason"}
    if not isinstance(body, dict) or not body.keys() <= known:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"the body may hold: {', '.join(sorted(known))}")
    level, reason = body.get("level"), body.get("reason", "")
    if level is not None and level not in list(PAUSED):
        raise Refusal(HTTPStatus.BAD_REQUEST, f"level is one of: {', '.join(PAUSED)}")
    if not isinstance(reason, str) or len(reason) > REASON_LENGTH_MAX or not reason.isprintable():
        raise Refusal(HTTPStatus.BAD_REQUEST, f"reason is one line of {REASON_LENGTH_MAX} characters at most")
    return Command(TradingMode(level) if level is not None else None, reason)
