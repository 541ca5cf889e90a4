"""The contract ABI by hand: canonical encoding, and bounds-checked reading of call data.

Written out because a general library takes 0.12 ms for one position and a stand-in has to serve thousands of them. The
encoding is the canonical one, so it equals the compiler's byte for byte. Used by the call interpreter and by the anvil
chain; decodes arguments only, never results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dehedge.sim.chain.model import SimMarket, SimPosition

WORD = 32


class Malformed(Exception):
    """Call data that a compiled contract would refuse to decode."""


class Tail(bytes):
    """An encoded value of dynamic type: it goes behind the heads, which hold its offset."""


def encode_uint(value: int) -> bytes:
    return value.to_bytes(WORD, "big")


def encode_int(value: int) -> bytes:
    return value.to_bytes(WORD, "big", signed=True)


def encode_address(address: str) -> bytes:
    return bytes.fromhex(address[2:]).rjust(WORD, b"\0")


def encode_bytes(data: bytes) -> Tail:
    return Tail(encode_uint(len(data)) + data + b"\0" * (-len(data) % WORD))


def encode_string(text: str) -> Tail:
    return encode_bytes(text.encode("utf-8", "surrogateescape"))


def encode_tuple(*parts: bytes) -> bytes:
    """Heads first, then the tails in order. Static parts must be whole words."""
    place = sum(WORD if isinstance(part, Tail) else len(part) for part in parts)
    heads: list[bytes] = []
    tails: list[bytes] = []
    for part in parts:
        if isinstance(part, Tail):
            heads.append(encode_uint(place))
            tails.append(part)
            place += len(part)
        else:
            heads.append(part)
    return b"".join(heads + tails)


def encode_array(items: Sequence[bytes]) -> Tail:
    """An array whose items are all static words or all tails."""
    return Tail(encode_uint(len(items)) + encode_tuple(*items))


def encode_position(position: SimPosition) -> Tail:
    return Tail(
        encode_tuple(
            encode_address(position.user),
            encode_address(position.asset),
            encode_string(position.market),
            encode_uint(position.is_long),
            encode_uint(position.size),
            encode_uint(position.collateral),
            encode_int(position.funding_tracer),
            encode_uint(position.price),
            encode_uint(position.timestamp),
        )
    )


def encode_market(market: SimMarket) -> Tail:
    """The market's struct; its id is not part of it."""
    return Tail(
        encode_tuple(
            encode_string(market.name),
            encode_string(market.category),
            encode_address(market.de_feed),
            *map(encode_uint, market.numbers),
            bytes.fromhex(market.pyth_feed.removeprefix("0x")),
            encode_uint(market.market_live),
            encode_uint(market.is_reduce_only),
        )
    )


class Arguments(NamedTuple):
    """A window on encoded values: slot ``i`` is the i-th head word behind ``start``, where offsets count from."""

    data: bytes
    start: int = 0

    def read_word(self, slot: int) -> bytes:
        place = self.start + slot * WORD
        word = self.data[place : place + WORD]
        if len(word) < WORD:
            raise Malformed
        return word

    def read_uint(self, slot: int) -> int:
        return int.from_bytes(self.read_word(slot), "big")

    def read_bool(self, slot: int) -> bool:
        value = self.read_uint(slot)
        if value > 1:
            raise Malformed
        return bool(value)

    def read_address(self, slot: int) -> str:
        word = self.read_word(slot)
        if any(word[:12]):
            raise Malformed
        return "0x" + word[12:].hex()

    def follow(self, slot: int) -> Arguments:
        """The window that the offset in this slot points to."""
        place = self.start + self.read_uint(slot)
        if place > len(self.data):
            raise Malformed
        return Arguments(self.data, place)

    def read_bytes(self, slot: int) -> bytes:
        window = self.follow(slot)
        begin = window.start + WORD
        content = self.data[begin : begin + window.read_uint(0)]
        if len(content) < window.read_uint(0):
            raise Malformed
        return content

    def read_string(self, slot: int) -> str:
        return self.read_bytes(slot).decode("utf-8", "surrogateescape")

    def read_array(self, slot: int) -> tuple[int, Arguments]:
        """The number of items and the window on their heads."""
        window = self.follow(slot)
        count = window.read_uint(0)
        if count * WORD > len(self.data) - window.start - WORD:
            raise Malformed
        return count, Arguments(self.data, window.start + WORD)
