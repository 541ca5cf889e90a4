"""From the text of a Hermes reply to prices scaled by 1e18, with integers only.

Pure. Whatever the text is, the outcome is a ``Reply`` or ``MalformedReply``, never another error: replies come from
the network. One unreadable entry costs its own feed only. Whether a price may be believed is decided in ``screen``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from dehedge.core.model import PRICE_SCALE
from dehedge.errors import PriceUnavailable

EXPO_MIN, EXPO_MAX = -18, 12
TIME_MAX = 1 << 40
"""Later than this, in seconds, is not a time but a mistake (about 34,000 years)."""

CONTAINERS_MAX = 100_000
"""Lists and objects of a reply: a feed has four. Millions of them would hold the loop for seconds."""

_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_FEED_ID = re.compile(r"(?:0x)?([0-9a-f]{64})", re.ASCII)


class FeedPrice(NamedTuple):
    """One price of one feed; price and confidence scaled by 1e18. ``slot`` orders the prices of one second."""

    feed_id: str
    price: int
    confidence: int
    publish_time: int
    slot: int | None = None


class Reply(NamedTuple):
    """What a reply, or one event of the stream, says. ``malformed`` maps a feed to what is wrong with its entry."""

    prices: tuple[FeedPrice, ...]
    malformed: Mapping[str, str]

    @property
    def feed_ids(self) -> frozenset[str]:
        return frozenset(self.malformed) | {price.feed_id for price in self.prices}


class MalformedReply(PriceUnavailable):
    """Hermes, or something before it, sent what cannot be read."""


class _EntryError(ValueError):
    """An entry cannot be read; the others may be."""


def read_feed_id(text: str) -> str | None:
    """The id as 64 lower-case hex digits, or None when it is not one."""
    match = _FEED_ID.fullmatch(text.strip().lower())
    return match[1] if match else None


def parse_reply(text: str | bytes) -> Reply:
    """Read a reply. Raises ``MalformedReply`` when it cannot be read at all."""
    prices: list[FeedPrice] = []
    malformed: dict[str, str] = {}
    for entry in _parse_entries(text if isinstance(text, str) else text.decode("utf-8", "replace")):
        feed_id = _parse_feed_id(entry)
        try:
            prices.append(_parse_price(feed_id, entry))
        except _EntryError as error:
            malformed[feed_id] = str(error)
    return Reply(tuple(prices), malformed)


def parse_feeds(text: str | bytes) -> dict[str, str]:
    """The ids of all feeds by what they price, such as ``BTC/USD``; what is priced twice is left out."""
    ids: dict[str, set[str]] = {}
    feeds = _load(text if isinstance(text, str) else text.decode("utf-8", "replace"))
    if not isinstance(feeds, list):
        raise MalformedReply("Hermes sent JSON that is no list of feeds: is PYTH_PRICE_SERVICE a Hermes?")
    for entry in feeds:
        attributes = entry.get("attributes") if isinstance(entry, dict) else None
        if isinstance(attributes, dict):
            symbol = str(attributes.get("symbol")).rpartition(".")[2]
            ids.setdefault(symbol, set()).add(_parse_feed_id(entry))
    return {symbol: found.pop() for symbol, found in ids.items() if len(found) == 1}


def _parse_entries(text: str) -> list[Any]:
    document = _load(text)
    entries = document.get("parsed") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise MalformedReply("Hermes sent JSON without a list of parsed prices: is PYTH_PRICE_SERVICE a Hermes?")
    return entries


def _load(text: str) -> Any:
    if not text.strip():
        raise MalformedReply("Hermes sent an empty reply")
    if text.count("[") + text.count("{") > CONTAINERS_MAX:
        raise MalformedReply(_describe_broken(text))
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        # RecursionError: a reply nested deeper than the interpreter's stack is as broken as one cut short.
        raise MalformedReply(_describe_broken(text)) from None


def _describe_broken(text: str) -> str:
    if text[:64].lstrip().startswith("<"):
        return "Hermes sent HTML instead of JSON: is PYTH_PRICE_SERVICE its base URL?"
    return f"Hermes sent malformed or truncated JSON of {len(text)} characters"


def _parse_feed_id(entry: Any) -> str:
    text = entry.get("id") if isinstance(entry, dict) else None
    feed_id = read_feed_id(text) if isinstance(text, str) else None
    if feed_id is None:
        raise MalformedReply("Hermes sent a price without a feed id")
    return feed_id


def _parse_price(feed_id: str, entry: dict[str, Any]) -> FeedPrice:
    price = entry.get("price")
    if not isinstance(price, dict):
        raise _EntryError("there is no price in it")
    expo = _parse_integer(price, "expo")
    if not EXPO_MIN <= expo <= EXPO_MAX:
        raise _EntryError(f"expo {expo} is outside {EXPO_MIN} to {EXPO_MAX}")
    scale = PRICE_SCALE * 10**expo if expo >= 0 else PRICE_SCALE // 10**-expo
    publish_time = _parse_integer(price, "publish_time")
    if not 0 < publish_time < TIME_MAX:
        raise _EntryError(f"publish_time {publish_time} is not a time in seconds")
    return FeedPrice(
        feed_id,
        _parse_integer(price, "price") * scale,
        _parse_integer(price, "conf") * scale,
        publish_time,
        _parse_slot(entry.get("metadata")),
    )


def _parse_integer(price: dict[str, Any], name: str) -> int:
    """An integer, as a JSON number or as a string of plain digits."""
    value = price.get(name)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64:
        return value
    raise _EntryError(f"{name} is not an integer")


def _parse_slot(metadata: Any) -> int | None:
    slot = metadata.get("slot") if isinstance(metadata, dict) else None
    return slot if isinstance(slot, int) and not isinstance(slot, bool) else None
