"""The quick way to read a page of positions: all structs at once, in numpy.

Solidity lays a page out evenly while every market's name fits one word: 32 bytes of offset and 352 of struct for each
position. This reads such a page and no other. Everything that ``codec.iterate_positions`` would have looked at is looked
at here, and whatever is not exactly as it should be gives None: then the careful reader says what it is. So this one never
refuses anything, and never reads anything that the other one does not read to the same values. Pure, and busy in calls
that let other threads run; called by ``paging``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dehedge.adapters.chain import codec
from dehedge.adapters.chain.abi import WORD
from dehedge.adapters.chain.entries import Codes, Entries, Words

_PROLOGUE = 2 * WORD
_STRUCT_WORDS = 11
_STRUCT = _STRUCT_WORDS * WORD
_NAME_OFFSET = 9 * WORD

# Below, a word is four columns of 64 bits or eight of 32, and a column is where its struct has it.
_ZERO_HALVES = [0, 1, 2, 8, 9, 10]
"""The padding of user and asset, in columns of 32 bits."""
_USER, _ASSET = slice(3, 8), slice(11, 16)
_ZEROS = [8, 9, 10, 12, 13, 14, 36, 37, 38]
"""The high parts of the name's offset, of the side and of the name's length."""
_OFFSET, _IS_LONG, _OPENED_AT, _LENGTH = 11, 15, 35, 39
_SIZE, _COLLATERAL, _PRICE, _NAME = slice(18, 20), slice(22, 24), slice(30, 32), slice(40, 44)
_TRACER_SIGN, _TRACER = slice(24, 26), slice(26, 28)
_WIDE = [16, 17, 20, 21, 28, 29, 32, 33, 34]
"""The high parts of numbers that fit their column in practice."""

_BIG = np.dtype(">u8")
_MIX = np.uint64(0x9E37_79B9_7F4A_7C15)
_TURN = np.uint64(29)


def read_entries(data: bytes, count_max: int) -> Entries | None:
    """The entries of an evenly laid out page of no more than so many; None for any other."""
    count = (len(data) - _PROLOGUE) // (WORD + _STRUCT)
    if not 0 < count <= count_max or not _check_layout(data, count):
        return None
    structs = np.frombuffer(data, _BIG, offset=_PROLOGUE + WORD * count).reshape(count, 4 * _STRUCT_WORDS)
    halves = structs.view(np.uint32)
    sides = structs[:, _IS_LONG]
    if halves[:, _ZERO_HALVES].any() or structs[:, _ZEROS].any():
        return None
    if (structs[:, _OFFSET] != _NAME_OFFSET).any() or (sides > 1).any():
        return None
    asset, market = _read_assets(halves[:, _ASSET]), _read_names(structs)
    if asset is None or market is None:
        return None
    return Entries(
        user=halves[:, _USER].copy(),
        asset=asset,
        market=market,
        is_long=sides == 1,
        size=_read_column(structs, _SIZE),
        collateral=_read_column(structs, _COLLATERAL),
        funding_tracer=_read_column(structs, _TRACER),
        entry_price=_read_column(structs, _PRICE),
        opened_at=_read_column(structs, _OPENED_AT),
        wide={row: codec.read_position(data, _get_place(count, row)) for row in _find_wide(structs)},
    )


def _check_layout(data: bytes, count: int) -> bool:
    """True where each struct begins where the one before it ends, and the last one ends the page."""
    if len(data) != _PROLOGUE + count * (WORD + _STRUCT):
        return False
    words = np.frombuffer(data, _BIG, 4 * count + 8).reshape(count + 2, 4)
    expected = WORD * count + _STRUCT * np.arange(count, dtype=np.int64)
    head = (words[0, 3], words[1, 3]) == (WORD, count)
    return bool(head and not words[:, :3].any() and (words[2:, 3] == expected).all())


def _get_place(count: int, row: int) -> int:
    return _PROLOGUE + WORD * count + _STRUCT * row


def _read_column(structs: NDArray[Any], columns: int | slice) -> Words:
    """In the machine's own byte order."""
    return structs[:, columns].astype(np.uint64)


def _find_wide(structs: NDArray[Any]) -> list[int]:
    """The rows with a number that does not fit its column."""
    sign = np.where(structs[:, _TRACER.start] >> 63 == 1, np.uint64(2**64 - 1), np.uint64(0))
    is_wide = structs[:, _WIDE].any(axis=1) | (structs[:, _TRACER_SIGN] != sign[:, None]).any(axis=1)
    return [int(row) for row in np.flatnonzero(is_wide)]


def _read_assets(words: NDArray[np.uint32]) -> Codes | None:
    found = _encode(words.astype(np.uint64))
    if found is None:
        return None
    rows, numbers = found
    return Codes(numbers, tuple(codec.build_checksum_address(words[row].tobytes()) for row in rows))


def _read_names(structs: NDArray[Any]) -> Codes | None:
    """The market names: text of no more than a word, and zeros behind it."""
    lengths = structs[:, _LENGTH]
    if (lengths > WORD).any():
        return None
    found = _encode(structs[:, _LENGTH : _NAME.stop].astype(np.uint64))
    if found is None:
        return None
    rows, numbers = found
    names = [_read_name(structs[row, _NAME].tobytes(), int(lengths[row])) for row in rows]
    return Codes(numbers, tuple(name for name in names if name is not None)) if None not in names else None


def _read_name(word: bytes, length: int) -> str | None:
    try:
        return word[:length].decode() if not word[length:].strip(b"\0") else None
    except UnicodeDecodeError:
        return None


def _encode(words: Words) -> tuple[Sequence[int], NDArray[np.int32]] | None:
    """A row for each distinct one, and which of these every row is equal to. None where a hash says too little."""
    key = words[:, 0] * _MIX
    for column in range(1, words.shape[1]):
        key = ((key ^ (key >> _TURN)) + words[:, column]) * _MIX
    _, rows, numbers = np.unique(key, return_index=True, return_inverse=True)
    if (words != words[rows][numbers]).any():
        return None
    return rows.tolist(), numbers.astype(np.int32)
