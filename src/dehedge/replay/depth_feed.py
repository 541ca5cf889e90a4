"""Recorded order books of USD-M futures, a message a line: what a websocket said, or a snapshot that was asked for.

A line is ``{"recv_ns": ..., "msg": MESSAGE}`` or a message, with ``{"stream": ..., "data": ...}`` around it or bare. Messages that tell
nothing of the book are passed over; what is wrong is one ``ConfigError`` with the path, the line and the reason. Called by
``depth``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from dehedge.errors import ConfigError
from dehedge.replay.sheets import show

LINE_LENGTH_MAX = 5_000_000
"""A snapshot of a thousand levels has sixty thousand."""
LEVELS_MAX = 20_000
_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
_PARTIAL = re.compile(r"@depth(?:5|10|20)(?:@|$)")

Levels = Sequence[tuple[Decimal, Decimal]]


class Change(NamedTuple):
    """New quantities at prices. Ids are those of the exchange; ``is_whole`` where they are all that there is, as in a snapshot."""

    symbol: str
    at_ms: int
    first_id: int
    last_id: int
    before_id: int
    bids: Levels
    asks: Levels
    is_whole: bool = False


class Touch(NamedTuple):
    """The best prices."""

    symbol: str
    at_ms: int
    bid: Decimal
    ask: Decimal


def read_feed(path: Path) -> Iterator[Change | Touch]:
    """In the order of the lines. A snapshot has no symbol: that of the file's messages is its. Raises ``ConfigError``."""
    symbol = ""
    waiting: list[Change] = []
    for number, line in _read_lines(path):
        try:
            event = _parse_line(line)
        except ValueError as error:
            raise ConfigError(f"{path}:{number}: {show(str(error))}") from None
        if event is None:
            continue
        if event.symbol:
            symbol = event.symbol
            yield from (each._replace(symbol=symbol) for each in waiting)
            waiting.clear()
            yield event
        elif symbol:
            yield event._replace(symbol=symbol)
        elif isinstance(event, Change):
            waiting = [event]
    yield from (each._replace(symbol=path.stem) for each in waiting)


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            number = 0
            while line := file.readline(LINE_LENGTH_MAX + 1):
                number += 1
                if len(line) > LINE_LENGTH_MAX:
                    raise ConfigError(f"{path}:{number}: has more than {LINE_LENGTH_MAX} characters")
                if not line.isspace():
                    yield number, line
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _parse_line(line: str) -> Change | Touch | None:
    """Raises ``ValueError`` with the reason."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    message = _check_object(message)
    message = _check_object(message["msg"]) if "msg" in message else message
    stream = message.get("stream", "")
    data = _check_object(message["data"]) if "data" in message else message
    if "lastUpdateId" in data:
        return _parse_snapshot(data)
    if data.get("e") == "depthUpdate":
        return _parse_change(data, is_whole=isinstance(stream, str) and _PARTIAL.search(stream) is not None)
    if data.get("e") == "bookTicker":
        touch = Touch(_get_symbol(data), _get_id(data, "E"), _get_number(data, "b"), _get_number(data, "a"))
        if not 0 < touch.bid < touch.ask:
            raise ValueError(f"wants 0 < bid < ask, and has {touch.bid} and {touch.ask}")
        return touch
    return None


def _parse_snapshot(data: Mapping[str, object]) -> Change:
    last_id = _get_id(data, "lastUpdateId")
    bids, asks = _get_levels(data, "bids"), _get_levels(data, "asks")
    symbol = _get_symbol(data) if "s" in data else ""
    return Change(symbol, _get_id(data, "E"), last_id, last_id, last_id, bids, asks, is_whole=True)


def _parse_change(data: Mapping[str, object], *, is_whole: bool) -> Change:
    first_id, last_id, before_id = (_get_id(data, name) for name in ("U", "u", "pu"))
    bids, asks = _get_levels(data, "b"), _get_levels(data, "a")
    return Change(_get_symbol(data), _get_id(data, "E"), first_id, last_id, before_id, bids, asks, is_whole)


def _check_object(value: object) -> Mapping[str, object]:
    if isinstance(value, dict):
        return value
    raise ValueError("is not a message: wants an object")


def _get_symbol(data: Mapping[str, object]) -> str:
    symbol = data.get("s")
    if not isinstance(symbol, str) or not re.fullmatch(r"[A-Z0-9_]{1,40}", symbol):
        raise ValueError(f"s is {symbol!r}, not a symbol")
    return symbol


def _get_id(data: Mapping[str, object], name: str) -> int:
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"{name} is {value!r}, not a whole number")
    return value


def _get_number(data: Mapping[str, object], name: str) -> Decimal:
    return _parse_number(name, data.get(name))


def _parse_number(name: str, value: object) -> Decimal:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise ValueError(f"{name} has {value!r}, not a number")
    return Decimal(value)


def _get_levels(data: Mapping[str, object], name: str) -> Levels:
    rows = data.get(name)
    if not isinstance(rows, list) or len(rows) > LEVELS_MAX:
        raise ValueError(f"{name} is not a list of at most {LEVELS_MAX} levels")
    if not all(isinstance(row, list) and len(row) >= 2 for row in rows):
        raise ValueError(f"{name} has a level that is not [price, quantity]")
    return [(_parse_number(name, row[0]), _parse_number(name, row[1])) for row in rows]
