"""Who is calling, and when: API keys, signatures, the time window, and the listen keys of user streams.

A signed request carries an HMAC-SHA256 over exactly the bytes of its query followed by its body, and a timestamp that the
exchange's clock must find neither too old nor a second ahead. Never logs or shows a secret, a signature or a key. The API
asks here before it looks at anything else.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dehedge.sim.exchange.params import Params
from dehedge.sim.exchange.refusals import Refused

RECV_WINDOW_DEFAULT_MS = 5_000
RECV_WINDOW_MAX_MS = 60_000
AHEAD_MAX_MS = 1_000
LISTEN_KEY_LIFE_MS = 3_600_000
_SIGNATURE = re.compile(r"(^|&)signature=[^&]*")


@dataclass(frozen=True, slots=True, repr=False)
class ApiKey:
    """A key of the account. Without ``trades`` it may read but not write; a ``bound`` one works from known addresses only."""

    secret: str
    trades: bool = True
    locked: bool = False
    withdraws: bool = False
    bound: bool = True


@dataclass(frozen=True, slots=True, repr=False)
class ApiRequest:
    """A request as it came over the wire: raw query and raw body, nothing decoded."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    api_key: str | None = None
    address: str = "127.0.0.1"


def get_key(keys: Mapping[str, ApiKey], request: ApiRequest) -> ApiKey:
    """The caller's key. Raises ``Refused`` when it is missing, unknown or locked."""
    if not request.api_key:
        raise Refused(-2014)
    key = keys.get(request.api_key)
    if key is None:
        raise Refused(-2015)
    if key.locked:
        raise Refused(-2017)
    return key


def sign(secret: str, payload: str) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def check_signature(key: ApiKey, request: ApiRequest, params: Params) -> None:
    """Verify over the raw bytes: what a client signed unencoded and sent encoded does not match, as on the exchange."""
    signature = params.require("signature")
    payload = "".join(_SIGNATURE.sub("", part) for part in (request.query, request.body))
    if not hmac.compare_digest(signature.encode(), sign(key.secret, payload).encode()):
        raise Refused(-1022)


class TimeWindow:
    """When a signed request may be executed; asked on arrival, and again when it reaches the matching engine."""

    def __init__(self, params: Params) -> None:
        self.sent_ms = params.require_integer("timestamp")
        self.window_ms = params.get_integer("recvWindow") or RECV_WINDOW_DEFAULT_MS
        if self.window_ms > RECV_WINDOW_MAX_MS:
            raise Refused(-1130, "recvWindow")

    def check(self, now_ms: int) -> None:
        if self.sent_ms >= now_ms + AHEAD_MAX_MS:
            refused = Refused(-1021)
            refused.msg = "Timestamp for this request was 1000ms ahead of the server's time."
            raise refused
        if now_ms - self.sent_ms > self.window_ms:
            raise Refused(-1021)

    def check_matching(self, now_ms: int) -> None:
        """A request that was held up inside the exchange is not executed after its window."""
        if now_ms - self.sent_ms > self.window_ms:
            raise Refused(-5028)


class EndedKey(NamedTuple):
    """A listen key that no longer serves; only an expired one is told to its listeners."""

    listen_key: str
    expired: bool


class ListenKeys:
    """The account's one listen key: made or extended, kept alive, closed, expired."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.current: str | None = None
        self._expires_ms = 0
        self._ended: list[EndedKey] = []

    def obtain(self, now_ms: int) -> str:
        """Extend and return the key there is, or make one."""
        self.expire_due(now_ms)
        if self.current is None:
            self.current = "".join(self._rng.choices(string.ascii_letters + string.digits, k=64))
        self._expires_ms = now_ms + LISTEN_KEY_LIFE_MS
        return self.current

    def extend(self, now_ms: int) -> str:
        """Raises ``Refused`` when there is none left to extend."""
        self.expire_due(now_ms)
        if self.current is None:
            raise Refused(-1125)
        return self.obtain(now_ms)

    def expire_due(self, now_ms: int) -> None:
        if now_ms >= self._expires_ms:
            self.end(expired=True)

    def end(self, *, expired: bool) -> None:
        """Make the key useless, by its owner's wish or by time."""
        if self.current is not None:
            self._ended.append(EndedKey(self.current, expired))
        self.current = None

    def take_ended(self) -> list[EndedKey]:
        ended, self._ended = self._ended, []
        return ended
