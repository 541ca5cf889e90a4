"""The prices that the Hermes stand-in publishes, and the exact shape in which Hermes writes them.

A price is set by a person or a story and published with a time; publishing again renews the time, unless it is frozen.
Pure but for the clock it is given: no sockets here. Called by ``server`` only.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NamedTuple

FEED_IDS = {
    "BTC/USD": "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43",
    "ETH/USD": "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace",
    "SOL/USD": "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d",
    "BNB/USD": "2f95862b045670cd22bee3114c39763a4a08beeb663b145d283c31d7d1101c4f",
    "XRP/USD": "ec5d399846a9209f3fe5881d70aae9268c94339ff9817e8d18ff19fa05eea1c8",
    "DOGE/USD": "dcef50dd0a4cd2dcc17e45df1676dcb336a11a61c69df7a0299b0150c672d25c",
    "AVAX/USD": "93da3352f9f1d105fdfe4971cfa80e9dd777bfc5d0f683ebb6e1294b92137bb7",
    "LINK/USD": "8ac0c70fff57e9aefdf5edf44b51d62c2d433653cbb2cf5cc06bb115af04d221",
    "USDC/USD": "eaa020c61cc479712813461ce153894a96a6c00b21ed0cfc2798d1f9a9e9c94a",
}
"""Pyth's public feed ids, by symbol."""

DEFAULT_EXPO = -8
DEFAULT_CONFIDENCE = Decimal("0.0005")
"""Of the price; recorded crypto feeds show 3 to 12 basis points."""

_BINARY_BYTES = 1440
_FEED_ID = re.compile(r"(?:0x)?([0-9a-f]{64})", re.IGNORECASE)


class Quote(NamedTuple):
    """One published price, in units of 10^expo."""

    feed_id: str
    price: int
    confidence: int
    expo: int
    publish_time: int
    previous_time: int
    slot: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one request asks for, as its query says."""

    feed_ids: tuple[str, ...]
    encoding: str = "hex"
    is_parsed: bool = True
    ignores_unknown: bool = False


def read_feed_id(text: str) -> str:
    """The id as 64 lower-case hex digits. Raises ``ValueError`` for anything else."""
    match = _FEED_ID.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a feed id: 64 hex digits are expected")
    return match[1].lower()


class PriceBoard:
    """The newest quote of every feed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._quotes: dict[str, Quote] = {}
        self._expos: dict[str, int] = {}
        self._symbols = {feed_id: symbol for symbol, feed_id in FEED_IDS.items()}
        self._frozen: set[str] = set()
        self._is_all_frozen = False
        self._slot = 138_881_186

    def __contains__(self, feed_id: str) -> bool:
        return feed_id in self._quotes

    def define(self, feed_id: str, *, symbol: str, expo: int = DEFAULT_EXPO) -> None:
        """Give a feed its symbol and exponent; without it a feed has -8 and a made-up symbol."""
        self._symbols[read_feed_id(feed_id)] = symbol
        self._expos[read_feed_id(feed_id)] = expo

    def set(self, feed_id: str, price: Decimal, confidence: Decimal | None, publish_time: int | None) -> None:
        feed_id = read_feed_id(feed_id)
        confidence = abs(price) * DEFAULT_CONFIDENCE if confidence is None else confidence
        expo = self._expos.get(feed_id, DEFAULT_EXPO)
        self._slot += 1
        time_s = self._next_time(feed_id) if publish_time is None else publish_time
        before = self._quotes[feed_id].publish_time if feed_id in self._quotes else time_s
        self._quotes[feed_id] = Quote(
            feed_id, _in_units(price, expo), _in_units(confidence, expo), expo, time_s, before, self._slot
        )

    def remove(self, feed_id: str) -> None:
        self._quotes.pop(read_feed_id(feed_id), None)

    def freeze(self, feed_id: str | None = None) -> None:
        if feed_id is None:
            self._is_all_frozen = True
        else:
            self._frozen.add(read_feed_id(feed_id))

    def thaw(self, feed_id: str | None = None) -> None:
        if feed_id is None:
            self._is_all_frozen = False
            self._frozen.clear()
        else:
            self._frozen.discard(read_feed_id(feed_id))

    def renew(self) -> None:
        """Publish every price again under the time that is now."""
        self._slot += 1
        for feed_id, quote in self._quotes.items():
            self._quotes[feed_id] = quote._replace(
                publish_time=self._next_time(feed_id), previous_time=quote.publish_time, slot=self._slot
            )

    def find_unknown(self, wanted: Wanted) -> list[str]:
        return [feed_id for feed_id in wanted.feed_ids if feed_id not in self._quotes]

    def build_payload(self, wanted: Wanted) -> dict[str, Any]:
        """The reply of ``/v2/updates/price/latest``, and the data of one event of the stream."""
        quotes = [self._quotes[feed_id] for feed_id in wanted.feed_ids if feed_id in self._quotes]
        binary = [_encode(_build_binary(self._slot), wanted.encoding)] if quotes else []
        payload: dict[str, Any] = {"binary": {"encoding": wanted.encoding, "data": binary}}
        if wanted.is_parsed:
            payload["parsed"] = [_build_parsed(quote) for quote in quotes]
        return payload

    def build_feeds(self, *, query: str = "", asset_type: str = "") -> list[dict[str, Any]]:
        """The reply of ``/v2/price_feeds``, filtered as Hermes filters it."""
        feeds = [_build_feed(feed_id, self._symbols.get(feed_id)) for feed_id in self._quotes]
        return [
            feed
            for feed in feeds
            if query.lower() in feed["attributes"]["symbol"].lower()
            and asset_type.lower() in ("", feed["attributes"]["asset_type"].lower())
        ]

    def _next_time(self, feed_id: str) -> int:
        is_frozen = self._is_all_frozen or feed_id in self._frozen
        if is_frozen and feed_id in self._quotes:
            return self._quotes[feed_id].publish_time
        return int(self._clock())


def without(wanted: Wanted, unknown: Iterable[str]) -> Wanted:
    return replace(wanted, feed_ids=tuple(feed_id for feed_id in wanted.feed_ids if feed_id not in set(unknown)))


def _in_units(value: Decimal, expo: int) -> int:
    return int(value.scaleb(-expo).to_integral_value())


def _build_parsed(quote: Quote) -> dict[str, Any]:
    price = {
        "price": str(quote.price),
        "conf": str(quote.confidence),
        "expo": quote.expo,
        "publish_time": quote.publish_time,
    }
    return {
        "id": quote.feed_id,
        "price": price,
        "ema_price": dict(price),
        "metadata": {
            "slot": quote.slot,
            "proof_available_time": quote.publish_time + 1,
            "prev_publish_time": quote.previous_time,
        },
    }


def _build_feed(feed_id: str, symbol: str | None) -> dict[str, Any]:
    symbol = symbol or f"SIM{feed_id[:6].upper()}/USD"
    base, _, quote = symbol.partition("/")
    return {
        "id": feed_id,
        "attributes": {
            "asset_type": "Crypto",
            "base": base,
            "description": f"{base} / US DOLLAR",
            "display_symbol": symbol,
            "generic_symbol": f"{base}{quote}",
            "quote_currency": quote,
            "symbol": f"Crypto.{symbol}",
        },
    }


def _build_binary(slot: int) -> bytes:
    """An accumulator update by its first bytes and its size; what follows is noise."""
    head = bytes.fromhex("504e41550100000003b801000000040d00")
    return head + hashlib.shake_128(slot.to_bytes(8, "big")).digest(_BINARY_BYTES)


def _encode(data: bytes, encoding: str) -> str:
    return data.hex() if encoding == "hex" else base64.b64encode(data).decode()
