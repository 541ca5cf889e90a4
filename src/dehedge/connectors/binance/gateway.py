"""The one door to the exchange's REST interface, through python-binance's ``AsyncClient``.

Owns the client and its session, the exchange's clock and limits, and the translation of everything that can go wrong
into ``dehedge.errors``. Sends nothing while the exchange told us to wait, asked once more at the very door because a
request may have waited for a connection; repeats reads only, and sees a write through to its end even when its caller
is canceled. Never lets a key, a signature or a URL into an error or a log: the original
exceptions carry them, so they end here. Called by the connector and its parts.
"""

from __future__ import annotations

import asyncio
import re
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import aiohttp
import structlog

from dehedge.addresses import SECRET_LENGTH_MIN, find_url_secrets
from dehedge.connectors.binance import attempts, endpoints
from dehedge.connectors.binance.attempts import Attempt
from dehedge.connectors.binance.clock import ExchangeClock
from dehedge.connectors.binance.endpoints import Endpoint
from dehedge.connectors.binance.failures import (
    BUSY_S,
    STATUSES,
    Failure,
    Verdict,
    build_read_error,
    build_write_error,
    classify,
    get_pause_s,
)
from dehedge.connectors.binance.limits import ORDERS, WEIGHT, Limits
from dehedge.connectors.binance.pause_file import PauseFile
from dehedge.connectors.binance.payloads import RateLimit
from dehedge.connectors.binance.repeats import Repeats
from dehedge.connectors.binance.rows import Json, build_row
from dehedge.connectors.binance.session import describe
from dehedge.connectors.binance.tally import OnBreach, Tally, ignore_breach
from dehedge.connectors.binance.timing import DEFAULT_TIMING, Timing
from dehedge.errors import ConfigError, ConnectorError, RateLimited, VenueUnavailable
from dehedge.ports import Clock

with warnings.catch_warnings():
    # python-binance imports the legacy websockets client, which we do not use and which warns of itself.
    warnings.simplefilter("ignore", DeprecationWarning)
    from binance import AsyncClient
    from binance.exceptions import BinanceAPIException

log = structlog.get_logger()

CLOSE_GRACE_S = 6.0
"""How long closing waits for writes under way: longer than a write can take."""

HEADER_TOKEN = re.compile(r"[!-~]*")
SIGNED = re.compile(r"(?i)(signature|listenKey)(=|%3D|[^\w:]*+:\W*+)\w+")
KEY_LIKE = re.compile(r"[0-9A-Za-z]{20,}")
"""Signatures, listen keys and API keys without their names, or most of one; nothing that the exchange says looks so, and
what we say ourselves must not: the names of the library's errors do."""

ECHO_LENGTH_MAX, MESSAGE_LENGTH_MAX = 2_000, 200
CODE_MAX = 10**6


@dataclass(frozen=True, slots=True)
class Credentials:
    """The key pair of the account; empty for public data. Neither half appears in a repr."""

    api_key: str = field(default="", repr=False)
    api_secret: str = field(default="", repr=False)

    def check(self) -> None:
        """Raises ``ConfigError`` for what cannot be a key pair."""
        named = {"BINANCE_API_KEY": self.api_key, "BINANCE_API_SECRET": self.api_secret}
        missing = [f"{name} is missing: create an API key with futures permission" for name in named if not named[name]]
        broken = [
            f"{name} contains blanks or characters that no key has: copy it again"
            for name, value in named.items()
            if not HEADER_TOKEN.fullmatch(value)
        ]
        if missing or broken:
            raise ConfigError(*missing, *broken)


KEYLESS = Credentials()


class Gateway:
    """Sends requests and gives decoded JSON back, or raises one of ``dehedge.errors``."""

    def __init__(
        self,
        rest_url: str,
        credentials: Credentials,
        clock: Clock,
        timing: Timing = DEFAULT_TIMING,
        *,
        on_breach: OnBreach = ignore_breach,
        pause_path: str = "",
    ) -> None:
        self.clock = ExchangeClock(clock)
        self.limits = Limits(self.clock, lag_s=timing.request_s)
        self._tally = Tally(on_breach)
        self._pause_file = PauseFile(pause_path, clock)
        rest_s = self._pause_file.read_rest_s()
        if rest_s > 0:
            self.limits.pause(rest_s, "told before the restart")
        self._rest_url = rest_url.rstrip("/")
        self._credentials = credentials
        self._repeats_s = timing.repeats_s
        self._timeout = aiohttp.ClientTimeout(total=timing.request_s, connect=timing.connect_s)
        self._client: AsyncClient | None = None
        self._is_closed = False
        self._writes: set[asyncio.Task[Json]] = set()

    async def fetch(self, endpoint: Endpoint, **params: str) -> Json:
        """Read, and read again what failed in passing. Raises what ``ports.Connector`` says of reads."""
        loop = asyncio.get_running_loop()
        repeats = Repeats(loop.time(), list(self._repeats_s))
        while True:
            self._check_open()
            reply = await self._request(endpoint, params)
            if not isinstance(reply, Failure):
                return reply
            verdict = classify(reply)
            error = build_read_error(reply, verdict, retry_after_s=await self._heed(reply, verdict))
            delay_s = repeats.next_delay_s(verdict, loop.time())
            if delay_s is None:
                raise error
            await asyncio.sleep(delay_s)

    async def send(self, endpoint: Endpoint, **params: str) -> Json:
        """Write once. Raises what ``ports.Connector`` says of writes.

        A canceled caller is let go at once; the write runs on to its end, which is then logged.
        """
        self._check_open()
        task = asyncio.create_task(self._send(endpoint, params))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(partial(_log_unobserved, get_client_order_id(params)))
            raise

    async def synchronize(self) -> None:
        """Measure the exchange's clock. Raises ``VenueUnavailable`` or ``RateLimited``."""
        await self.clock.synchronize(self._fetch_time)

    def set_limits(self, limits: Sequence[RateLimit]) -> None:
        """Take over what the exchange says of its limits."""
        self.limits.set_limits(limits)
        self._tally.set_limits(limits)

    async def close(self) -> None:
        """Wait for the writes under way, then end the session."""
        self._is_closed = True
        if self._writes:
            await asyncio.wait(set(self._writes), timeout=CLOSE_GRACE_S)
        client, self._client = self._client, None
        if client is not None:
            await client.close_connection()

    def _check_open(self) -> None:
        if self._is_closed:
            raise VenueUnavailable("the connection to the exchange has been closed")

    async def _send(self, endpoint: Endpoint, params: dict[str, str]) -> Json:
        reply = await self._request(endpoint, params)
        if not isinstance(reply, Failure):
            return reply
        verdict = classify(reply)
        raise build_write_error(reply, verdict, retry_after_s=await self._heed(reply, verdict))

    async def _request(self, endpoint: Endpoint, params: dict[str, str]) -> Json | Failure:
        """One attempt. Raises ``RateLimited`` without sending while the exchange wants us to wait."""
        self.limits.admit(weight=endpoint.weight, orders=endpoint.orders)
        attempt = Attempt(endpoint, self._let_out, self.clock.time())
        token = attempts.current.set(attempt)
        try:
            reply = await self._call(endpoint, params)
        except RateLimited:
            raise  # Held back at the door.
        except BinanceAPIException as error:
            return self._build_failure(attempt, error.code, get_words(error))
        except Exception as error:  # noqa: BLE001
            # The library lets through whatever it stumbles over in a reply (AttributeError, KeyError and others), and
            # the session its own family. Each means the same: no answer. Their words may hold a signed URL.
            return self._build_failure(attempt, 0, describe(error))
        finally:
            attempts.current.reset(token)
        return self._check_reply(endpoint, attempt, reply)

    def _let_out(self, attempt: Attempt) -> None:
        """The last moment to hold a request back: it may have waited for its connection, or the library tries it again."""
        endpoint = attempt.endpoint
        if not attempt.is_sent:
            self.limits.check_pauses(orders=endpoint.orders)
        elif endpoint.is_write:
            raise VenueUnavailable("a write goes out once")
        else:
            self.limits.admit(weight=endpoint.weight, orders=endpoint.orders)

    async def _call(self, endpoint: Endpoint, params: dict[str, str]) -> Json:
        """The library dates a request when it is called, so its offset is set just before."""
        client = self._get_client()
        client.timestamp_offset = round((self.clock.get_timestamp() - time.time()) * 1000)
        window = {"recvWindow": str(endpoint.window_ms)} if endpoint.window_ms else {}
        return await getattr(client, endpoint.method)(**params, **window)

    def _check_reply(self, endpoint: Endpoint, attempt: Attempt, reply: Json) -> Json | Failure:
        """An error may come with a 200, and an empty answer says nothing of a write."""
        if isinstance(reply, dict) and "code" in reply and "msg" in reply and reply["code"] != 200:
            return self._build_failure(attempt, reply["code"], reply["msg"])
        if endpoint.is_write and not (isinstance(reply, dict) and reply):
            return self._build_failure(attempt, 0, "the reply was empty or no object")
        return reply

    def _build_failure(self, attempt: Attempt, code: object, message: object) -> Failure:
        return Failure(
            status=attempt.status,
            code=code if isinstance(code, int) and abs(code) < CODE_MAX else 0,
            message=self._clean(message if isinstance(message, str) else "the reply had no message"),
            retry_after_s=attempt.retry_after_s,
            is_sent=attempt.is_sent,
        )

    def _clean(self, message: str) -> str:
        """One short line without our secrets, whatever the exchange or something in between has echoed."""
        for secret in (self._credentials.api_key, self._credentials.api_secret, *find_url_secrets(self._rest_url)):
            message = message.replace(secret, "***") if len(secret) >= SECRET_LENGTH_MIN else message
        shown = "".join(sign if sign.isprintable() else " " for sign in message[:ECHO_LENGTH_MAX])
        line = KEY_LIKE.sub("***", SIGNED.sub(r"\1=***", " ".join(shown.split())))
        return line[:MESSAGE_LENGTH_MAX]

    async def _heed(self, failure: Failure, verdict: Verdict) -> float:
        """Pause or synchronize as a failure demands; returns how long to wait, in seconds."""
        match verdict:
            case Verdict.PAUSED:
                kind = ORDERS if failure.code == -1015 else WEIGHT
                rest_s = self.limits.get_window_rest_s(kind)
                seconds = get_pause_s(failure, now_s=self.clock.time(), window_rest_s=rest_s)
                self._pause(seconds, str(failure))
                return seconds
            case Verdict.ORDERS_PAUSED:
                return self.limits.pause_orders(str(failure))
            case Verdict.CLOCK:
                await self._try_synchronize()
        return BUSY_S

    def _pause(self, seconds: float, reason: str) -> None:
        if self.limits.pause(seconds, reason):
            self._pause_file.keep(seconds)

    async def _try_synchronize(self) -> None:
        try:
            await self.synchronize()
        except ConnectorError as error:
            log.warning("clock_synchronization_failed", reason=str(error))

    async def _fetch_time(self) -> float:
        self._check_open()
        reply = await self._request(endpoints.TIME, {})
        if isinstance(reply, Failure):
            verdict = classify(reply)
            # To synchronize because asking for the time failed would wait for itself.
            wait_s = 0.0 if verdict is Verdict.CLOCK else await self._heed(reply, verdict)
            raise build_read_error(reply, verdict, retry_after_s=wait_s)
        return build_row("time", reply).get_seconds("serverTime")

    def _get_client(self) -> AsyncClient:
        """The client, made on first use because its session belongs to the running loop."""
        if self._client is None:
            self._client = self._build_client()
        return self._client

    def _build_client(self) -> AsyncClient:
        """Constructed directly: ``AsyncClient.create`` would call the spot exchange and take its clock.

        Redirects are not followed: a POST could be sent twice, and the key would go to another host.
        """
        client = AsyncClient(
            self._credentials.api_key,
            self._credentials.api_secret,
            requests_params={"timeout": self._timeout, "allow_redirects": False},
            session_params=attempts.build_session_params(self._on_headers_sent, self._on_response),
        )
        client.FUTURES_URL = f"{self._rest_url}/fapi"
        client.FUTURES_DATA_URL = f"{self._rest_url}/futures/data"
        client.MARGIN_API_URL = f"{self._rest_url}/sapi"
        client.REQUEST_RECVWINDOW = 0  # 0 lets the window of each call through; anything else would replace it
        return client

    async def _on_headers_sent(self, *_: object) -> None:
        attempt = attempts.current.get()
        self._tally.note_sent(attempt.endpoint, is_again=attempt.is_sent)
        attempt.is_sent = True

    async def _on_response(
        self, _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        attempt, headers = attempts.current.get(), params.response.headers
        attempt.status = params.response.status
        wait = headers.get("Retry-After", "")
        attempt.retry_after_s = float(wait) if wait.isascii() and wait.isdigit() else None
        self._tally.note_reply(attempt.status, attempt.retry_after_s)
        self.limits.apply_headers(headers, attempt.sent_at)
        if STATUSES.get(attempt.status) is Verdict.PAUSED:
            # The body, which may tell of a longer pause, can be a while in coming; others must not go out meanwhile.
            self._pause(attempt.retry_after_s or BUSY_S, f"HTTP {attempt.status}")


def get_words(error: BinanceAPIException) -> object:
    """The exchange's words; for a body that is not JSON the library puts the response itself there, address and all."""
    message: object = error.message
    is_opaque = isinstance(message, str) and message.startswith("Invalid JSON error message")
    return "the reply was not JSON" if is_opaque else message


def get_client_order_id(params: dict[str, str]) -> str:
    return params.get("newClientOrderId") or params.get("origClientOrderId", "")


def _log_unobserved(client_order_id: str, task: asyncio.Task[Json]) -> None:
    """Tell how a write ended whose caller had been canceled; the journal's order is resolved by its id."""
    if task.cancelled():
        log.warning("write_abandoned", client_order_id=client_order_id)
        return
    error = task.exception()
    log.warning("write_finished_unobserved", client_order_id=client_order_id, error=str(error) if error else None)
