"""Every error of the project, one branch per thing its catcher does.

``ConfigError`` ends the process with exit 78, ``JournalError`` ends it with exit 1 (78 at start, unless it may pass; 75
when another daemon holds the journal), a ``SourceError`` leaves the last good value in place to age, and a ``ConnectorError`` says what is known of a
request to the exchange. Adapters translate third-party exceptions into these; nothing above them knows httpx, web3
or binance. An ``AssertionError`` is our own bug: the process ends, restarts and replays its journal.
"""

from __future__ import annotations


class DehedgeError(Exception):
    """Base of every error that the project raises on purpose."""


class QuestionInvalid(DehedgeError):
    """What was asked for is not there or means nothing: exit 2, HTTP 400. Says what to ask instead."""


class ConfigError(DehedgeError):
    """The configuration cannot work. Fatal, exit 78; carries every mistake, one line each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class JournalError(DehedgeError):
    """The journal cannot be read or written. Fatal: without a journal we do not trade."""


class JournalLocked(JournalError):
    """Another daemon holds the journal. Fatal, exit 75."""


class JournalFailed(JournalError):
    """The disk or another program refuses for now. Fatal, exit 1 even at start: the next start may find it well."""


class SourceError(DehedgeError):
    """A source gave nothing usable. Expected: the feed keeps its last value, which ages."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ChainUnavailable(SourceError):
    """No complete snapshot could be read from the node."""


class PriceUnavailable(SourceError):
    """The price service gave no usable prices."""


class ConnectorError(DehedgeError):
    """A request to the exchange did not give the answer asked for."""


class OrderRejected(ConnectorError):
    """The exchange definitively refused: nothing was executed. May be tried again later as a new order."""

    def __init__(self, reason: str, *, code: int = 0) -> None:
        super().__init__(reason)
        self.code = code


class OrderTooLarge(OrderRejected):
    """Refused for its size (margin, leverage bracket, maximum): a smaller order may pass."""


class RateLimited(ConnectorError):
    """Not accepted, and nothing may be sent before ``retry_after_s`` seconds have passed."""

    def __init__(self, reason: str, *, retry_after_s: float) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class VenueUnavailable(ConnectorError):
    """The request never reached the exchange, or a read failed: nothing changed there, and nothing is known."""


class OutcomeUnknown(ConnectorError):
    """A write may or may not have been executed: ask until it is known, never send it again."""


class AuthenticationFailed(ConnectorError):
    """The exchange refuses the key, the signature or the permission. Fatal at start, not ready afterwards."""
