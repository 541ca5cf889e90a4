"""One RPC URL's HTTP: posts JSON, gives JSON, and says in one line why it could not.

Holds the URL, which may carry a key in its path, query or user part, and lets nothing of it out but scheme, host and
port: neither in a message nor in a ``repr``, and a node that quotes the key is redacted. One kept-alive session, an
explicit time limit, a bounded reply, no redirects, no retries. Knows nothing of JSON-RPC but the error object. Called
by ``endpoint``.
"""

from __future__ import annotations

import json
from binascii import unhexlify
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import aiohttp

from dehedge.adapters.chain.aside import LARGE_BYTES, run_aside
from dehedge.adapters.chain.failures import (
    RETRY_AFTER_MAX_S,
    CallTooLarge,
    NodeFailed,
    NodeHung,
    NodeThrottled,
    build_failure,
    build_line,
)
from dehedge.addresses import SECRET_LENGTH_MIN, build_basic
from dehedge.errors import ChainUnavailable, ConfigError
from dehedge.ports import Clock

REPLY_BYTES_MAX = 64 * 2**20
MARKS_MAX = 200_000
"""Commas and brackets of a reply: a snapshot's are few strings, however long, and a block lists some thousand hashes."""

CONNECTIONS_MAX = 8
_PLACE = b'"0x?'
"""What stands for the data while the rest is read; a result that is this by itself is no data either way."""

_HEADERS = {"Content-Type": "application/json", "User-Agent": "dehedge"}
_THROTTLING = frozenset({429, 503})
_TOO_LARGE = frozenset({413, 504, 524})


class Transport:
    """Posts to one URL."""

    def __init__(self, url: str, clock: Clock, timeout_s: float) -> None:
        parts = _split_url(url)
        self.host = build_host(parts)
        self._url = url
        self._secrets = _collect_secrets(parts)
        self._clock = clock
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"Transport({self.host})"

    async def post(self, body: bytes) -> Any:
        """The reply's JSON. Raises a ``ChainUnavailable`` of ``failures`` for everything else."""
        try:
            async with self._open_session().post(self._url, data=body, allow_redirects=False) as response:
                status, headers, payload = response.status, response.headers, await _read_bounded(response)
        except TimeoutError:
            raise NodeHung(f"did not answer within {self._timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NodeFailed(_describe(error)) from None
        if status != 200:
            raise self._build_refusal(status, headers, payload)
        return await run_aside(len(payload), _parse, payload)

    def build_failure(self, error: object) -> ChainUnavailable:
        """What a JSON-RPC error object means, without the key that it may quote."""
        if not isinstance(error, Mapping):
            return NodeFailed("answered with an error that is not a JSON-RPC error")
        message = error.get("message")
        return build_failure({**error, "message": self._redact(message) if isinstance(message, str) else None}, self.hide)

    def hide(self, data: bytes) -> bytes:
        """The data of a contract's or a node's error, without the key that it may quote."""
        for secret in self._secrets:
            data = data.replace(secret.encode(), b"*" * len(secret.encode()))
        return data

    async def close(self) -> None:
        """For good: a request under way must not open a session that nobody closes."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open_session(self) -> aiohttp.ClientSession:
        """Made on first use, because a session belongs to the loop that runs it."""
        if self._is_closed:
            raise ChainUnavailable("is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Above the threshold aiohttp rounds a limit up to a whole second of the loop's clock.
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, ceil_threshold=2 * self._timeout_s),
                headers=_HEADERS,
            )
        return self._session

    def _build_refusal(self, status: int, headers: Mapping[str, str], payload: bytes | bytearray) -> ChainUnavailable:
        """What a status means; some nodes put a JSON-RPC error that says more behind one."""
        retry_after_s = self._read_retry_after(headers.get("Retry-After"))
        if status == 429 or (status in _THROTTLING and retry_after_s is not None):
            return NodeThrottled(f"limits our requests (HTTP {status})", retry_after_s=retry_after_s)
        if status in _TOO_LARGE:
            return CallTooLarge(f"refused a call for its size or time (HTTP {status})")
        reply = _parse_leniently(payload)
        if isinstance(reply, Mapping) and isinstance(reply.get("error"), Mapping):
            return self.build_failure(reply["error"])
        return _build_status_failure(status)

    def _read_retry_after(self, value: str | None) -> float | None:
        """Seconds from now, from a number or a date."""
        if value is None:
            return None
        if value.strip().isdecimal():
            return min(float(value), RETRY_AFTER_MAX_S)
        try:
            wait_s = parsedate_to_datetime(value).timestamp() - self._clock.time()
        except (ValueError, OverflowError):
            return None
        return min(max(wait_s, 0.0), RETRY_AFTER_MAX_S)

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _split_url(url: str) -> SplitResult:
    problem = "NETWORKS: an entry is not an http:// or https:// URL"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConfigError(problem) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(problem)
    return parts


def build_host(parts: SplitResult) -> str:
    """Scheme, host and port: what of a URL may be told."""
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{name}:{parts.port or (443 if parts.scheme in {'https', 'wss'} else 80)}"


def _collect_secrets(parts: SplitResult) -> tuple[str, ...]:
    """Whatever of the URL may be a key, longest first so that no part of one survives."""
    words = [parts.username or "", parts.password or "", build_basic(parts), *parts.path.split("/"), parts.query]
    words += [value for _, value in parse_qsl(parts.query)]
    found = {word for raw in words for word in (raw, unquote(raw)) if len(word) >= SECRET_LENGTH_MIN}
    return tuple(sorted(found, key=len, reverse=True))


async def _read_bounded(response: aiohttp.ClientResponse) -> bytearray:
    """Chunk by chunk as they come: whatever else aiohttp offers joins them first, which takes every page once more."""
    payload = bytearray()
    async for chunk, _ in response.content.iter_chunks():
        payload += chunk
        if len(payload) > REPLY_BYTES_MAX:
            raise CallTooLarge(f"answered with more than {REPLY_BYTES_MAX} bytes")
    return payload


def _parse(payload: bytes | bytearray) -> Any:
    """The JSON; a result of much hex is bytes already, for as text it would be made and copied three times."""
    begin, end = _find_data(payload)
    if sum(payload.count(mark, 0, begin) + payload.count(mark, end) for mark in b",[{") > MARKS_MAX:
        # As objects it would take thirty times its size of memory.
        raise NodeFailed("answered with something that is not a JSON-RPC reply")
    try:
        return (_parse_around(payload, begin, end) if end - begin > LARGE_BYTES else None) or json.loads(payload)
    except (ValueError, RecursionError):
        raise NodeFailed("answered with something that is not JSON") from None


def _find_data(payload: bytes | bytearray) -> tuple[int, int]:
    """From where to where the first hex string goes, without its last quote; what is no string there is no JSON."""
    begin = payload.find(b'"0x')
    end = payload.find(b'"', begin + 1) if begin >= 0 else -1
    return (begin, end) if end >= 0 else (0, 0)


def _parse_around(payload: bytes | bytearray, begin: int, end: int) -> Any:
    """The reply with the string there as its result in bytes; None where it is not the result, or no hex."""
    try:
        data = unhexlify(memoryview(payload)[begin + 3 : end])
    except ValueError:
        return None
    reply = json.loads(b"".join([payload[:begin], _PLACE, payload[end:]]))
    if not isinstance(reply, dict) or reply.get("result") != json.loads(_PLACE + b'"'):
        return None
    return {**reply, "result": data}


def _parse_leniently(payload: bytes | bytearray) -> Any:
    try:
        return _parse(payload)
    except NodeFailed:
        return None


def _build_status_failure(status: int) -> ChainUnavailable:
    if status in {401, 403}:
        return ChainUnavailable(f"refuses us (HTTP {status}): check the key in its URL in NETWORKS")
    if status >= 500 or status == 408:
        return NodeFailed(f"failed with HTTP {status}")
    return ChainUnavailable(f"answered HTTP {status}: check its URL in NETWORKS")


def _describe(error: Exception) -> str:
    """In our own words: the library's hold the URL."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "has a name that cannot be resolved"
        case aiohttp.ClientSSLError():
            return "has no certificate that we accept"
        case aiohttp.ClientConnectorError():
            return f"cannot be reached: {build_line(error.os_error.strerror or type(error.os_error).__name__)}"
        case aiohttp.ClientConnectionError() | OSError():
            return "dropped the connection"
        case _:
            return f"does not speak HTTP as it should ({type(error).__name__})"
