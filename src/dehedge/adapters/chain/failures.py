"""Why a read failed, as far as the reader acts on it: what to repeat, what to halve, what to leave alone.

Every class is a ``ChainUnavailable``, so that nothing above the adapter has to know them. Messages are one line and
hold no URL; ``source`` puts the endpoint's host in front. Also turns a node's JSON-RPC error into one of them: nodes
agree neither on codes nor on words, hence the patterns. Used by every module of this package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from dehedge.errors import ChainUnavailable

TEXT_LENGTH_MAX = 160
"""A node or a contract may say anything at any length; a log line holds this much of it."""

TEXT_READ_MAX = 2_000
"""What is looked at of a message at all: the patterns below take their time over a long one."""

RETRY_AFTER_MAX_S = 300.0
"""A node may ask for any wait; a daemon that must see asks again after this one."""


class NodeFailed(ChainUnavailable):
    """A dropped connection, a server error or a garbled reply: worth another try at once."""


class NodeHung(ChainUnavailable):
    """No reply in time. Not repeated: the next endpoint is the better use of the time."""


class NodeThrottled(ChainUnavailable):
    """The node asked us to come back later; ``retry_after_s`` where it said when."""


class CallTooLarge(ChainUnavailable):
    """Refused for its gas, its size or the node's own time limit: ask for less."""


class CallReverted(ChainUnavailable):
    """The contract itself refused; ``data`` is what it gave as the reason."""

    def __init__(self, data: bytes = b"") -> None:
        super().__init__(f"the contract reverted{describe_revert(data)}")
        self.data = data


class BlockGone(ChainUnavailable):
    """The node does not have the block, or has an older one: start over from a fresh head."""


_TOO_LARGE = re.compile(
    r"out ?of ?gas|memory ?oog|gas (limit|cap|required exceeds)|exceeds .*\bgas"
    r"|time-?d? ?-?out|deadline exceeded|too (large|big)|size exceeded|exceeds .*size",
    re.IGNORECASE,
)
_BLOCK_GONE = re.compile(
    r"(header|block|hash)\b.*(not found|unknown|not (currently )?canonical)|unknown block|blocknotfound"
    r"|missing trie node|state .*not available|resource ?not ?found",
    re.IGNORECASE,
)
_THROTTLED = re.compile(r"rate ?-?limit|too many requests|request limit|capacity exceeded|quota", re.IGNORECASE)
_REVERTED = re.compile(r"revert|panic|invalid opcode|vm exception|stack underflow|invalid jump", re.IGNORECASE)
_THROTTLED_CODES = frozenset({-32005, -32029, 429})
_TOO_LARGE_CODES = frozenset({-32008, 413})
_REVERTED_CODE = 3
CODE_MAX = 10**6


def build_failure(error: Mapping[str, Any], hide: Callable[[bytes], bytes] = bytes) -> ChainUnavailable:
    """What a JSON-RPC error object means. Words before codes, because nodes share the words more than the codes.

    ``hide`` takes out of revert data what must not be told.
    """
    code, message = _read_code(error.get("code")), _read_text(error.get("message"))
    line = build_line(message)
    if code == _REVERTED_CODE or _REVERTED.search(message):
        return CallReverted(hide(_read_revert_data(error.get("data"))))
    if _BLOCK_GONE.search(message):
        return BlockGone(f"does not have the block any more: {line}")
    if _THROTTLED.search(message):
        return NodeThrottled(f"limits our requests: {line}")
    if code in _TOO_LARGE_CODES or _TOO_LARGE.search(message):
        return CallTooLarge(f"refused a call for its gas, size or time: {line}")
    if code in _THROTTLED_CODES:
        return NodeThrottled(f"limits our requests: {line}")
    return ChainUnavailable(f"refused: {line} (code {code})")


def _read_code(code: object) -> int | None:
    """A node may put anything there; what is no small number is no code."""
    return code if isinstance(code, int) and abs(code) < CODE_MAX else None


def _read_text(message: object) -> str:
    return message[:TEXT_READ_MAX] if isinstance(message, str) else "no message"


def build_line(text: str) -> str:
    """Foreign text as one printable, bounded line."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= TEXT_LENGTH_MAX else line[: TEXT_LENGTH_MAX - 3] + "..."


def describe_revert(data: bytes) -> str:
    """The reason that a contract gave, or nothing: ``Error(string)`` and ``Panic(uint256)`` are Solidity's own."""
    if data[:4] == bytes.fromhex("08c379a0"):
        length = int.from_bytes(data[36:68], "big")
        return f": {build_line(data[68 : 68 + min(length, 1024)].decode('utf-8', 'replace'))}"
    if data[:4] == bytes.fromhex("4e487b71"):
        return f": panic 0x{int.from_bytes(data[4:36], 'big'):02x}"
    return ""


def _read_revert_data(data: object) -> bytes:
    """Most nodes give the data as hex, some inside an object; without it the reason is merely unknown."""
    if isinstance(data, Mapping):
        data = data.get("data")
    if not isinstance(data, str) or not data.startswith("0x"):
        return b""
    try:
        return bytes.fromhex(data[2:])
    except ValueError:
        return b""
