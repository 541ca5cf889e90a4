"""What is wrong with an endpoint: lasting conditions to set, and single faults to inject into its next answers.

Owns the vocabulary of misbehavior and which fault is due next; performs none of it. Set by tests and the demo, obeyed
by ``Machine`` (inside a call), ``Node`` (one JSON-RPC answer) and ``SimRpc`` (the HTTP reply).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum, auto
from types import MappingProxyType
from typing import NamedTuple

JSON_TYPE = "application/json"


class Reply(NamedTuple):
    """An HTTP reply in place of the answer."""

    status: int
    body: str = ""
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = MappingProxyType({})


class ErrorReply(NamedTuple):
    """A JSON-RPC error in place of the result, in a proper 200."""

    code: int
    message: str


class Damage(Enum):
    """The true answer, damaged on its way."""

    TRUNCATED = auto()
    """Half of the JSON text, in a complete HTTP reply."""
    CUT = auto()
    """The connection ends in the middle of the body."""
    WRONG_ID = auto()
    """The answer to some other request."""
    HANG = auto()
    """No byte until the endpoint stops."""
    RESET = auto()
    """The connection is reset before any byte."""


Fault = Reply | ErrorReply | Damage


class PageLimit(NamedTuple):
    """One ``eth_call`` may return so many positions, over all its pages; what is said to more."""

    positions: int
    refusal: Reply | ErrorReply
    inside: bool = False
    """Within a multicall only the expensive calls fail, with empty data, as when one of them eats the gas."""


@dataclass(slots=True)
class _Injected:
    fault: Fault
    method: str | None
    times: int | None

    def check_due(self, methods: Sequence[str]) -> bool:
        return self.times != 0 and (self.method is None or self.method in methods)


@dataclass(slots=True, kw_only=True)
class Faults:
    """The conditions of one endpoint, all of them healthy by default. Change the fields at any time."""

    chain_id: int | None = None
    """Claim to be another chain."""
    lag_blocks: int = 0
    """Stay so many blocks behind the head."""
    stuck_at: int | None = None
    """See no block above this one."""
    has_multicall: bool = True
    page_limit: PageLimit | None = None
    call_gas_max: int | None = None
    """Refuse calls that ask for more gas than this."""
    batch_max: int | None = None
    """Refuse larger JSON-RPC batches; 0 refuses all."""
    request_max_bytes: int | None = None
    """Refuse larger request bodies with 413."""
    hides_positions: bool = False
    """Have lost every position, and count none."""
    empties_pages: bool = False
    """Count the positions and return none of them."""
    reverting: dict[str, bytes] = field(default_factory=dict)
    """Contract functions that revert, by name, with their revert data."""
    unregistered: set[str] = field(default_factory=set)
    """Registry keys that answer zero, whatever the chain says."""
    is_silent: bool = False
    """Tell subscribers of no block."""
    refuses_sockets: bool = False
    """Answer 403 to every websocket."""
    refuses_subscriptions: bool = False
    latency: Callable[[Sequence[str]], Awaitable[None]] | None = None
    """Awaited with the methods of each request before it is answered."""
    _injected: list[_Injected] = field(default_factory=list)

    def inject(self, fault: Fault, *, times: int | None = 1, method: str | None = None) -> None:
        """Spoil the next requests, or only those that contain a method; without ``times`` until cleared."""
        self._injected.append(_Injected(fault, method, times))

    def take_fault(self, methods: Sequence[str]) -> Fault | None:
        """The fault that is due for a request of these methods, counted as used."""
        due = next((injected for injected in self._injected if injected.check_due(methods)), None)
        if due is None:
            return None
        if due.times is not None:
            due.times -= 1
        return due.fault

    def clear(self) -> None:
        """Be healthy again: no condition, no fault to come."""
        healthy = Faults()
        for condition in fields(self):
            setattr(self, condition.name, getattr(healthy, condition.name))


def build_rate_limited(retry_after_s: int | None = None) -> Reply:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    body = '{"jsonrpc":"2.0","error":{"code":-32005,"message":"rate limit exceeded"},"id":null}'
    return Reply(429, body, headers=headers)


def build_server_error(status: int = 503) -> Reply:
    return Reply(status, "upstream connect error or disconnect/reset before headers", "text/plain")


def build_html_page(status: int = 200) -> Reply:
    return Reply(status, "<!DOCTYPE html><html><body>Checking your browser</body></html>", "text/html")


GETH_OUT_OF_GAS = ErrorReply(-32000, "out of gas")
RETH_OUT_OF_GAS = ErrorReply(-32003, "out of gas: gas required exceeds: 50000000")
RETH_OUT_OF_MEMORY = ErrorReply(-32003, "out of gas: gas exhausted during memory expansion: 50000000")
ANVIL_OUT_OF_GAS = ErrorReply(-32603, "EVM error OutOfGas")
ANVIL_OUT_OF_MEMORY = ErrorReply(-32603, "EVM error MemoryOOG")
TOO_LARGE = Reply(413, "<html><body><h1>413 Request Entity Too Large</h1></body></html>", "text/html")
GATEWAY_TIMEOUT = Reply(504, "<html><body><h1>504 Gateway Time-out</h1></body></html>", "text/html")
EMPTY_BODY = Reply(200)
UNKNOWN_BLOCK = ErrorReply(-32000, "header not found")
