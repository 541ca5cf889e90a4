"""HTTP to Hermes: one reply or one stream, and every failure of it as ``PriceUnavailable``.

The only module that knows httpx. The API key goes into the Authorization header and nowhere else; messages name the
host and the remedy, never a URL, a header or a body, and a Hermes that quotes the key is redacted. Replies are bounded,
and taken as they are: nothing is unpacked. Repeats nothing: when to ask again is decided in ``source``.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing, asynccontextmanager
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
from httpx_sse import EventSource

from dehedge.adapters.pyth.pace import Pace
from dehedge.adapters.pyth.payload import MalformedReply
from dehedge.addresses import SECRET_LENGTH_MIN, find_url_secrets
from dehedge.errors import ConfigError, PriceUnavailable
from dehedge.ports import Clock

LATEST_PATH = "v2/updates/price/latest"
FEEDS_PATH = "v2/price_feeds"
STREAM_PATH = "v2/updates/price/stream"

REPLY_BYTES_MAX = 4 * 2**20
"""Of a reply, and of the stream between two events; a hundred feeds with their signatures take a tenth of it."""

ASKING_PLAIN = {"Accept-Encoding": "identity"}
"""A few bytes that unpack to gigabytes are then no answer."""


class KeyRefused(PriceUnavailable):
    """401 or 403: asking again soon does not help."""


class FeedRefused(KeyRefused):
    """403: the key is good, and some feed is not covered by its plan."""


class Throttled(PriceUnavailable):
    """429: nothing may be sent for ``retry_after_s``."""


def silence_request_logs() -> None:
    """Every request with its URL (httpx, INFO) and every step of it (httpcore, DEBUG) is nothing for an operator."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


class BoundedStream(httpx.AsyncByteStream):
    """The bytes of a response until there are too many; who reads on without end sets ``length`` back."""

    def __init__(self, response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream), "the client is asynchronous"
        self.length = 0
        self._stream = response.stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self.length += len(chunk)
            if self.length > REPLY_BYTES_MAX:
                raise MalformedReply(f"Hermes sent more than {REPLY_BYTES_MAX} bytes at once")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class HermesClient:
    """One connection pool to one Hermes."""

    def __init__(self, base_url: str, api_key: str | None, *, clock: Clock, pace: Pace) -> None:
        silence_request_logs()
        self._has_key = bool(api_key)
        self._clock = clock
        self._pace = pace
        self._http = httpx.AsyncClient(
            base_url=_read_base_url(base_url),
            headers=_build_headers(api_key),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            verify=_get_ssl_context(),
            timeout=httpx.Timeout(pace.read_timeout_s, connect=pace.connect_timeout_s),
        )
        self._secrets = [api_key or "", *find_url_secrets(base_url)]
        self._host = self._http.base_url.netloc.decode("ascii", "replace").rpartition("@")[2]

    async def close(self) -> None:
        await self._http.aclose()

    async def fetch_latest(self, feed_ids: Collection[str]) -> bytes:
        """The body of one ``/latest`` reply for all feeds. Raises ``PriceUnavailable``."""
        return await self._fetch(LATEST_PATH, _build_params(feed_ids))

    async def fetch_feeds(self) -> bytes:
        """The body of the list of every feed that there is. Raises ``PriceUnavailable``."""
        return await self._fetch(FEEDS_PATH, httpx.QueryParams())

    async def _fetch(self, path: str, params: httpx.QueryParams) -> bytes:
        try:
            async with (
                asyncio.timeout(self._pace.request_timeout_s),
                self._http.stream("GET", path, params=params) as response,
            ):
                self._check_status(response)
                response.stream = BoundedStream(response)
                return await response.aread()
        except (httpx.HTTPError, OSError) as error:
            # TimeoutError is an OSError: the whole request took too long.
            raise self._translate(error) from None

    @asynccontextmanager
    async def open_stream(self, feed_ids: Collection[str]) -> AsyncIterator[AsyncIterator[str]]:
        """The data of each event, once connected. Raises ``PriceUnavailable`` on every end of the stream."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        try:
            async with self._http.stream(
                "GET", STREAM_PATH, params=_build_params(feed_ids), headers=headers
            ) as response:
                self._check_status(response)
                self._check_media_type(response)
                async with aclosing(self._iterate(response)) as events:
                    yield events
        except (httpx.HTTPError, OSError) as error:
            raise self._translate(error) from None

    async def _iterate(self, response: httpx.Response) -> AsyncGenerator[str, None]:
        response.stream = stream = BoundedStream(response)
        # Events are UTF-8 whatever the header says; there are codecs in it that give no text at all.
        response.encoding = "utf-8"
        async with aclosing(EventSource(response).aiter_sse()) as events:
            async for event in events:
                stream.length = 0
                if event.event == "error":
                    raise PriceUnavailable(f"the stream of Hermes ended: {self._quote(event.data)}")
                if event.data:
                    yield event.data
        raise PriceUnavailable("the stream of Hermes ended")

    def _check_status(self, response: httpx.Response) -> None:
        """Raise what the status means, unless it is 200 with a body as it was asked for."""
        status = response.status_code
        if status == httpx.codes.OK:
            if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
                raise MalformedReply("Hermes sent a compressed reply, which was not asked for")
            return
        if status == httpx.codes.TOO_MANY_REQUESTS:
            wait_s = self._read_retry_after(response.headers.get("Retry-After"))
            raise Throttled(f"Hermes is asked too often (429): waiting {wait_s:.0f} s", retry_after_s=wait_s)
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            kind = FeedRefused if status == httpx.codes.FORBIDDEN else KeyRefused
            raise kind(self._describe_refusal(status), retry_after_s=self._pace.refused_retry_s)
        raise PriceUnavailable(_describe_status(status))

    def _describe_refusal(self, status: int) -> str:
        if status == httpx.codes.FORBIDDEN:
            return "Hermes refuses a feed (403): the plan of PYTH_API_KEY does not cover every market; extend the plan"
        if not self._has_key:
            return "Hermes demands an API key (401): set PYTH_API_KEY"
        return "Hermes refuses the API key (401): PYTH_API_KEY is wrong or expired; correct it"

    def _read_retry_after(self, value: str | None) -> float:
        """Seconds, or a date; what is neither counts as absent."""
        wait_s = self._pace.throttled_s if value is None else self._parse_wait_s(value.strip())
        return min(max(wait_s, 0.0), self._pace.throttled_max_s)

    def _parse_wait_s(self, value: str) -> float:
        if value.isascii() and value.isdigit():
            return float(value)
        try:
            until = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return self._pace.throttled_s
        return until.replace(tzinfo=until.tzinfo or UTC).timestamp() - self._clock.time()

    def _check_media_type(self, response: httpx.Response) -> None:
        media_type = response.headers.get("Content-Type", "")
        if "text/event-stream" not in media_type:
            raise MalformedReply(f"Hermes sent {self._quote(media_type) or 'nothing'} instead of a stream")

    def _quote(self, text: str) -> str:
        """A little of what Hermes said, without the keys that it may quote."""
        for secret in self._secrets:
            text = text.replace(secret, "***") if len(secret) >= SECRET_LENGTH_MIN else text
        return "".join(character for character in text[:80] if character.isprintable())

    def _translate(self, error: Exception) -> PriceUnavailable:
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            return PriceUnavailable(f"Hermes at {self._host} gave no answer in time")
        if isinstance(error, httpx.ConnectError):
            return PriceUnavailable(f"cannot connect to Hermes at {self._host}: check PYTH_PRICE_SERVICE")
        # The class alone: the text of a protocol error can quote a header.
        return PriceUnavailable(f"the connection to Hermes at {self._host} failed: {type(error).__name__}")


@functools.cache
def _get_ssl_context() -> ssl.SSLContext:
    """One for every client: reading the certificates stalls the loop for tens of milliseconds."""
    return httpx.create_ssl_context()


def _read_base_url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text.rstrip("/") + "/")
    except httpx.InvalidURL:
        raise ConfigError("PYTH_PRICE_SERVICE is not a URL: give Hermes' base URL, without a path of it") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError("PYTH_PRICE_SERVICE must begin with https:// (or http://) and name a host")
    return url


def _build_headers(api_key: str | None) -> dict[str, str]:
    if not api_key:
        return ASKING_PLAIN
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise ConfigError("PYTH_API_KEY holds a character that no key has: copy it again, without quotes or spaces")
    return {**ASKING_PLAIN, "Authorization": f"Bearer {api_key}"}


def _build_params(feed_ids: Collection[str]) -> httpx.QueryParams:
    return httpx.QueryParams({"ids[]": sorted(feed_ids), "ignore_invalid_price_ids": "true"})


def _describe_status(status: int) -> str:
    if status == httpx.codes.NOT_FOUND:
        return "Hermes answered 404: it knows none of the feeds, or PYTH_PRICE_SERVICE is not its base URL"
    if httpx.codes.is_redirect(status):
        return f"Hermes redirects ({status}): set PYTH_PRICE_SERVICE to the URL that it redirects to"
    return f"Hermes answered {status}"
