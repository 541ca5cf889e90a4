"""The contract ABI's building blocks: words, strings, arrays and offsets, written and read.

A general library takes 0.1 ms and more per position and stops the event loop for seconds at scale, so the few types
that we need are done by hand. Reading refuses what eth-abi refuses (offsets into the heads or past the end, padding
that is not zero, text that is not UTF-8) and never reads outside the buffer. Pure; knows no contract; used by
``codec``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

WORD = 32
INT_MAX = 2**255 - 1
TEXT_BYTES_MAX = 1_024
"""A name is shorter; without a limit many offsets to one long text would unfold into any amount of memory."""

ITEMS_MAX = 10_000
"""Of an array that is read as a whole."""
_ADDRESS_PADDING = bytes(12)


class Malformed(ValueError):
    """A reply that is not an encoding of the type it should have."""


def encode_uint(value: int) -> bytes:
    return value.to_bytes(WORD, "big")


def encode_address(address: str) -> bytes:
    return _ADDRESS_PADDING + bytes.fromhex(address[2:])


def encode_bytes(data: bytes) -> bytes:
    return encode_uint(len(data)) + data + bytes(-len(data) % WORD)


def encode_string(text: str) -> bytes:
    return encode_bytes(text.encode())


def encode_offsets(tails: Sequence[bytes], heads_length: int = 0) -> bytes:
    """Offsets to the tails and the tails themselves, behind ``heads_length`` bytes of other heads."""
    place = heads_length + WORD * len(tails)
    offsets = []
    for tail in tails:
        offsets.append(encode_uint(place))
        place += len(tail)
    return b"".join((*offsets, *tails))


def encode_dynamic_array(items: Sequence[bytes]) -> bytes:
    """An array of items of dynamic type."""
    return encode_uint(len(items)) + encode_offsets(items)


def encode_static_array(items: Sequence[bytes]) -> bytes:
    """An array of items that are one word each."""
    return encode_uint(len(items)) + b"".join(items)


def read_uint(data: bytes, place: int) -> int:
    if place + WORD > len(data):
        raise Malformed(f"the reply ends at byte {len(data)}, a word is due at {place}")
    return int.from_bytes(data[place : place + WORD], "big")


def read_int(data: bytes, place: int) -> int:
    value = read_uint(data, place)
    return value if value <= INT_MAX else value - 2**256


def read_bool(data: bytes, place: int) -> bool:
    value = read_uint(data, place)
    if value > 1:
        raise Malformed(f"{value} at byte {place} is not a bool")
    return value == 1


def read_address(data: bytes, place: int) -> bytes:
    """The 20 bytes of an address."""
    if place + WORD > len(data) or data[place : place + 12] != _ADDRESS_PADDING:
        raise Malformed(f"there is no address at byte {place}")
    return data[place + 12 : place + WORD]


def read_bytes(data: bytes, place: int) -> bytes:
    length = read_uint(data, place)
    begin = place + WORD
    end, padded_end = begin + length, begin + length + -length % WORD
    if padded_end > len(data):
        raise Malformed(f"the reply ends at byte {len(data)}, inside {length} bytes that begin at {begin}")
    if data[end:padded_end].strip(b"\0"):
        raise Malformed(f"the padding at byte {end} is not zero")
    return data[begin:end]


def read_string(data: bytes, place: int) -> str:
    length = read_uint(data, place)
    if length > TEXT_BYTES_MAX:
        raise Malformed(f"the text at byte {place} has {length} bytes, above {TEXT_BYTES_MAX}")
    content = read_bytes(data, place)
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Malformed(f"the text at byte {place} is not UTF-8") from None


def follow(data: bytes, frame: int, slot: int, heads: int) -> int:
    """Where the offset in a head slot points to; offsets count from the frame and lie behind all its heads."""
    offset = read_uint(data, frame + WORD * slot)
    if offset < WORD * heads or frame + offset >= len(data):
        raise Malformed(f"the offset {offset} in slot {slot} at byte {frame} leads outside the reply")
    return frame + offset


def open_reply(data: bytes) -> int:
    """The place of a reply's only value of dynamic type: Solidity puts it right behind its offset."""
    place = follow(data, 0, 0, 1)
    if place != WORD:
        raise Malformed(f"the reply begins with {place} instead of {WORD}")
    return place


def open_list(data: bytes) -> int:
    """The same for an array that is read as a whole, and is no longer than one can be."""
    place = open_reply(data)
    if read_uint(data, place) > ITEMS_MAX:
        raise Malformed(f"the array has {read_uint(data, place)} items, above {ITEMS_MAX}")
    return place


def iterate_words(data: bytes, place: int) -> Iterator[int]:
    """The places of the items of an array whose items are one word each; reading one tells whether it is there."""
    begin = place + WORD
    return iter(range(begin, begin + WORD * read_uint(data, place), WORD))


def iterate_tails(data: bytes, place: int) -> Iterator[int]:
    """The places of the items of an array whose items are of dynamic type."""
    frame, count = place + WORD, read_uint(data, place)
    return (follow(data, frame, slot, count) for slot in range(count))
