"""What a failed request means: the exchange's codes and statuses as data, and the errors made of them.

One rule decides everything: a write is refused only when the exchange said so in a way that cannot mean anything else;
whatever is left may have been executed and is ``OutcomeUnknown``. The words of a message are looked at only where the
exchange gives nothing else: to tell its two 503s apart, and for the end of a ban. Pure; called by the gateway.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from dehedge.errors import (
    AuthenticationFailed,
    ConnectorError,
    OrderRejected,
    OrderTooLarge,
    OutcomeUnknown,
    RateLimited,
    VenueUnavailable,
)


class Verdict(Enum):
    """What is known of a request that failed."""

    REFUSED = auto()
    UNKNOWN = auto()
    NOT_EXECUTED = auto()
    BUSY = auto()
    PAUSED = auto()
    ORDERS_PAUSED = auto()
    CLOCK = auto()
    FORBIDDEN = auto()


class Failure(NamedTuple):
    """A request that gave no answer: what came back, and whether it went out at all.

    ``status`` and ``code`` are 0 when there was none; ``message`` is the exchange's, or what went wrong here.
    """

    status: int
    code: int
    message: str
    retry_after_s: float | None = None
    is_sent: bool = True

    def __str__(self) -> str:
        label = str(self.code) if self.code else f"HTTP {self.status}" if self.status else ""
        return f"{label} {self.message}".strip()


class RequestRefused(VenueUnavailable):
    """A read that the exchange answered with an error code."""

    def __init__(self, reason: str, *, code: int) -> None:
        super().__init__(reason)
        self.code = code


NO_SUCH_ORDER, UNKNOWN_ORDER, NO_SUCH_KEY, ORDER_REFUSED = -2013, -2011, -1125, -2010
SAME_MARGIN_TYPE, NOTHING_TO_MODIFY, WRONG_MODE, DUPLICATE_ID = -4046, -5027, -4061, -4116

_UNKNOWN = (-1000, -1001, -1006, -1007, DUPLICATE_ID)
_REFUSED = (
    *(-1102, -1106, -1111, -1116, -1117, -1121, NO_SUCH_KEY, -1130),
    *(ORDER_REFUSED, UNKNOWN_ORDER, NO_SUCH_ORDER, -2018, -2019, -2020, -2021, -2022, -2023, -2024, -2025),
    *(-2026, -2027, -2028),
    *(-4003, -4004, -4005, -4013, -4014, -4015, -4016, -4023, -4024, -4028, SAME_MARGIN_TYPE, -4047, -4048),
    *(-4050, -4051, -4059, -4060, WRONG_MODE, -4062, -4067, -4068, -4087, -4088, -4118, -4120, -4131, -4140),
    *(-4141, -4161, -4164, -4167, -4168, -4170, -4171, -4192, *range(-4209, -4201), -4400, -4401, -4531),
    *(-5021, -5022, -5024, -5025, -5026, NOTHING_TO_MODIFY, -5029, -5041, -5043, -5047),
)
CODES: dict[int, Verdict] = {
    **dict.fromkeys(_REFUSED, Verdict.REFUSED),
    **dict.fromkeys(_UNKNOWN, Verdict.UNKNOWN),
    **dict.fromkeys((-1021, -5028), Verdict.CLOCK),
    **dict.fromkeys((-1002, -1022, -2014, -2015, -2017, -4109, -4402, -4403), Verdict.FORBIDDEN),
    -1003: Verdict.PAUSED,
    -1008: Verdict.BUSY,
    -1015: Verdict.ORDERS_PAUSED,
}
"""The exchange's error codes. A code that is not here is refused with a 4xx, else unknown."""

STATUSES: dict[int, Verdict] = {
    401: Verdict.FORBIDDEN,
    403: Verdict.PAUSED,
    408: Verdict.UNKNOWN,
    418: Verdict.PAUSED,
    429: Verdict.PAUSED,
    451: Verdict.FORBIDDEN,
}
"""What an HTTP status means when its body has no code: 403 is the firewall, 451 a refused country."""

TOO_LARGE = frozenset({-2018, -2019, -2027, -2028, -4005, -4050, -4051})
"""Refused for want of margin or for the position's size: less of it may pass."""

REMEDIES: dict[int, str] = {
    -1022: "BINANCE_API_SECRET does not belong to BINANCE_API_KEY",
    -2014: "BINANCE_API_KEY is malformed",
    -2015: "check BINANCE_API_KEY, BINANCE_API_SECRET, BINANCE_ENVIRONMENT, the key's futures permission and addresses",
    -2017: "the keys of the account are locked: unlock them on the exchange",
    -2019: "add margin to the futures account",
    -2027: "lower LEVERAGE, or ask the exchange for a larger position limit",
    -2028: "raise LEVERAGE, or add margin to the futures account",
    -4028: "LEVERAGE is more than the exchange allows for this symbol",
    -4047: "cancel the symbol's open orders before MARGIN_TYPE can change",
    -4048: "close the symbol's position before MARGIN_TYPE can change",
    -4061: "the account's position mode was changed",
    -4161: "LEVERAGE cannot be lowered while the symbol has an isolated position",
    -4402: "the exchange does not serve this account's region",
    -4403: "the exchange does not serve this account's region",
    -4168: "the account is in multi-assets mode: set MARGIN_TYPE=CROSSED, or leave that mode on the exchange",
}

BUSY_S = 1.0
"""How long to leave an overloaded exchange alone."""

PAUSE_MAX_S = 3 * 86_400.0
"""The exchange's longest ban; whoever asks for more is not the exchange."""

FIREWALL_S, BAN_S = 60.0, 120.0
"""Pauses after a 403 and a 418 that do not say how long; a ban lasts two minutes at least."""

_BANNED_UNTIL = re.compile(r"until (\d{13})")


def classify(failure: Failure) -> Verdict:
    """What a failed request means, for reads and writes alike."""
    if not failure.is_sent:
        return Verdict.NOT_EXECUTED
    if failure.status in (418, 429):
        return Verdict.PAUSED
    if failure.status == 503 and failure.message.startswith("Service Unavailable"):
        return Verdict.NOT_EXECUTED
    verdict = CODES.get(failure.code) or STATUSES.get(failure.status)
    if verdict is None:
        return Verdict.REFUSED if 400 <= failure.status < 500 and failure.code < 0 else Verdict.UNKNOWN
    if verdict is Verdict.REFUSED and failure.status >= 500:
        return Verdict.UNKNOWN
    return verdict


def get_pause_s(failure: Failure, *, now_s: float, window_rest_s: float) -> float:
    """How long to send nothing: as told by the header, else by the ban's text, else until the window is over.

    The text names a moment of the exchange's clock, which we may not know yet when we begin in the middle of a ban.
    """
    told = [failure.retry_after_s] if failure.retry_after_s is not None else []
    told = told or [int(found) / 1000 - now_s for found in _BANNED_UNTIL.findall(failure.message)]
    if told:
        return min(max(*told, BUSY_S), PAUSE_MAX_S)
    return {403: FIREWALL_S, 418: BAN_S}.get(failure.status, window_rest_s)


def build_write_error(failure: Failure, verdict: Verdict, *, retry_after_s: float) -> ConnectorError:
    match verdict:
        case Verdict.REFUSED | Verdict.CLOCK:
            kind = OrderTooLarge if failure.code in TOO_LARGE else OrderRejected
            return kind(f"the exchange refused: {_explain(failure)}", code=failure.code)
        case Verdict.NOT_EXECUTED:
            return VenueUnavailable(_explain_unavailable(failure))
        case Verdict.BUSY | Verdict.PAUSED | Verdict.ORDERS_PAUSED | Verdict.FORBIDDEN:
            return _build_common_error(failure, verdict, retry_after_s)
    return OutcomeUnknown(f"the exchange may or may not have executed the request: {failure}")


def build_read_error(failure: Failure, verdict: Verdict, *, retry_after_s: float) -> ConnectorError:
    match verdict:
        case Verdict.REFUSED | Verdict.CLOCK:
            return RequestRefused(f"the exchange refused: {_explain(failure)}", code=failure.code)
        case Verdict.BUSY | Verdict.PAUSED | Verdict.ORDERS_PAUSED | Verdict.FORBIDDEN:
            return _build_common_error(failure, verdict, retry_after_s)
    return VenueUnavailable(_explain_unavailable(failure))


def _build_common_error(failure: Failure, verdict: Verdict, retry_after_s: float) -> ConnectorError:
    if verdict is Verdict.FORBIDDEN:
        return AuthenticationFailed(_explain_forbidden(failure))
    return RateLimited(f"the exchange asks us to wait: {failure}", retry_after_s=retry_after_s)


def _explain(failure: Failure) -> str:
    remedy = REMEDIES.get(failure.code)
    return f"{failure} ({remedy})" if remedy else str(failure)


def _explain_forbidden(failure: Failure) -> str:
    if failure.status == 451:
        return f"the exchange does not serve this machine's location: {failure}"
    remedy = REMEDIES.get(failure.code, "check BINANCE_API_KEY and BINANCE_API_SECRET")
    return f"the exchange refused BINANCE_API_KEY / BINANCE_API_SECRET: {failure} ({remedy})"


def _explain_unavailable(failure: Failure) -> str:
    if failure.is_sent:
        is_stranger = failure.code == 0 and 200 <= failure.status < 500
        return f"the exchange gave no usable answer: {failure}{' (check BINANCE_FUTURES_URL)' if is_stranger else ''}"
    return f"the exchange cannot be reached: {failure.message} (check BINANCE_FUTURES_URL and the network)"
