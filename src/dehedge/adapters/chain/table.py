"""A million positions as one immutable mapping: columns, and an index of their keys, some 115 bytes each.

A ``Position`` or a key is made when it is asked for. The index is the sorted 64-bit hashes of the keys with the rows that
they belong to; what a hash finds is compared in full. Building one takes a while and lets other threads run. Made by
``paging``; read by whoever reads a snapshot's positions, as a mapping, or by its columns.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from hashlib import blake2b
from struct import Struct

import numpy as np
from numpy.typing import NDArray

from dehedge.adapters.chain.codec import build_checksum_address
from dehedge.adapters.chain.entries import USER_WORDS, Codes, Entries, Words
from dehedge.core.model import HedgeKey, Position
from dehedge.core.trigger import Columns

_MASK = 2**64 - 1
_MIX = 0x9E37_79B9_7F4A_7C15
_TURN = 29
_HALF = 64
RUN = 16_384
NAMED_MAX = 50_000
"""Keys that are remembered, some 200 bytes each."""
_USER = Struct(f"={USER_WORDS}I")


class PositionTable(Mapping[HedgeKey, Position]):
    """Distinct positions by key, in the order of the chain; implements ``core.trigger.Rows``."""

    __slots__ = ("_codes", "_hashes", "_named", "_order", "_rows", "_seek", "entries")

    def __init__(self, entries: Entries) -> None:
        hashes = _hash_rows(entries)
        order = np.argsort(hashes)
        self.entries = entries
        self._hashes = hashes[order]
        self._order = order.astype(np.uint32)
        self._seek = self._hashes.data
        self._named: dict[int, HedgeKey] = {}
        self._rows: dict[HedgeKey, int] = {}
        self._codes = tuple(_number(codes) for codes in (entries.market, entries.asset))

    def __len__(self) -> int:
        return self.entries.count

    def __iter__(self) -> Iterator[HedgeKey]:
        return (position.key for position in self.entries.iterate())

    def __getitem__(self, key: HedgeKey) -> Position:
        row = self.find_row(key)
        if row is None:
            raise KeyError(key)
        return self.get_position(row)

    def __contains__(self, key: object) -> bool:
        return self.find_row(key) is not None

    def __repr__(self) -> str:
        return f"PositionTable({len(self)} positions)"

    def keys(self) -> KeysView[HedgeKey]:
        return TableKeys(self)

    def items(self) -> ItemsView[HedgeKey, Position]:
        return _Items(self)

    def values(self) -> ValuesView[Position]:
        return _Values(self)

    def get_key(self, row: int) -> HedgeKey:
        known = self._named.get(row)
        return known if known is not None else self._name(row)

    def _name(self, row: int) -> HedgeKey:
        """Remembered both ways: what has been named once is what a price names again, and is asked for by its key."""
        entries = self.entries
        user = build_checksum_address(entries.get_user(row))
        key = HedgeKey(entries.market.get(row), f"{user}|{entries.asset.get(row)}")
        if len(self._named) >= NAMED_MAX:
            self._named, self._rows = {}, {}
        self._named[row], self._rows[key] = key, row
        return key

    def get_position(self, row: int) -> Position:
        return self.entries.get(row)

    def find_row(self, key: object) -> int | None:
        """The row of a key that is exactly this one, capital letters included."""
        known = self._rows.get(key) if isinstance(key, HedgeKey) else None
        return known if known is not None else self._seek_row(key)

    def _seek_row(self, key: object) -> int | None:
        words = self._parse(key)
        if words is None:
            return None
        sought = _hash(words)
        place = bisect_left(self._seek, sought)
        while place < len(self) and self._seek[place] == sought:
            row = int(self._order[place])
            if self.get_key(row) == key:
                return row
            place += 1
        return None

    def find_by_user(self, market: str, digits: str, count: int) -> list[HedgeKey]:
        """Those of a market whose trader's address begins with these hex digits, so many at most."""
        entries = self.entries
        if market not in entries.market.names:
            return []
        rows = np.flatnonzero(entries.market.numbers == entries.market.names.index(market))
        users = entries.user.view(np.uint8)
        for place, digit in enumerate(digits):
            halves = users[rows, place // 2]
            rows = rows[(halves % 16 if place % 2 else halves // 16) == int(digit, 16)]
        return [self.get_key(row) for row in rows[:count].tolist()]

    def count_distinct(self) -> int:
        """How many keys there are, while it is not known yet that they are as many as the rows."""
        repeated = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        rows = {int(self._order[place]) for first in repeated for place in (first, first + 1)}
        entries = self.entries
        keys = {(entries.get_user(row), entries.asset.numbers[row], entries.market.numbers[row]) for row in rows}
        return len(self) - len(rows) + len(keys)

    def get_columns(self) -> Columns:
        """The float nearest to each number; made anew with every call, and kept nowhere."""
        entries = self.entries
        size, price = _join_runs(_join, entries.size), _join_runs(_join, entries.entry_price)
        tracer, collateral = _join_runs(_join_signed, entries.funding_tracer), _join_runs(_join, entries.collateral)
        for row, position in entries.wide.items():
            size[row], price[row], tracer[row] = position.size, position.entry_price, position.funding_tracer
            collateral[row] = position.collateral
        market, asset = entries.market, entries.asset
        figures = (size, price, tracer, collateral)
        return Columns(market.numbers, asset.numbers, entries.is_long, *figures, market.names, asset.names)

    def check_same_keys(self, other: PositionTable) -> bool | None:
        """None where the hashes are the same and their order does not tell."""
        if self is other or self.entries is other.entries:
            return True
        if not np.array_equal(self._hashes, other._hashes):
            return False
        return True if self._check_rows(other) else None

    def _check_rows(self, other: PositionTable) -> bool:
        mine, theirs = self.entries, other.entries
        users = np.array_equal(mine.user[self._order], theirs.user[other._order])
        pairs = ((mine.market, theirs.market), (mine.asset, theirs.asset))
        return users and all(_check_same(a, self._order, b, other._order) for a, b in pairs)

    def _parse(self, key: object) -> list[int] | None:
        """What is hashed of a key; None where none of the rows can have it."""
        if not isinstance(key, tuple) or len(key) != 2 or not all(isinstance(part, str) for part in key):
            return None
        user, _, asset = key[1].partition("|")
        market_hash, asset_hash = self._codes[0].get(key[0]), self._codes[1].get(asset)
        try:
            raw = bytes.fromhex(user[2:])
        except ValueError:
            return None
        if market_hash is None or asset_hash is None or len(raw) != _USER.size:
            return None
        return [market_hash, asset_hash, *_USER.unpack(raw)]


class TableKeys(KeysView[HedgeKey]):
    """Two tables are compared by their columns."""

    _mapping: PositionTable
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        same = self._mapping.check_same_keys(other._mapping) if isinstance(other, TableKeys) else None
        return bool(super().__eq__(other)) if same is None else same


class _Items(ItemsView[HedgeKey, Position]):
    _mapping: PositionTable

    def __iter__(self) -> Iterator[tuple[HedgeKey, Position]]:
        return ((position.key, position) for position in self._mapping.entries.iterate())


class _Values(ValuesView[Position]):
    _mapping: PositionTable

    def __iter__(self) -> Iterator[Position]:
        return self._mapping.entries.iterate()


def _number(codes: Codes) -> dict[str, int]:
    """A hash for each name: the same in every table, whatever its code."""
    texts = [name.encode("utf-8", "surrogatepass") for name in codes.names]
    hashes = [int.from_bytes(blake2b(text, digest_size=8).digest(), "big") for text in texts]
    return dict(zip(codes.names, hashes, strict=True))


def _hash(words: list[int]) -> int:
    found = 0
    for word in words:
        found = (found ^ (found >> _TURN)) + word & _MASK
        found = found * _MIX & _MASK
    return found


def _hash_rows(entries: Entries) -> Words:
    """``_hash`` of all rows at once."""
    found: Words = np.zeros(entries.count, np.uint64)
    users = [entries.user[:, column] for column in range(USER_WORDS)]
    columns: list[NDArray[np.uint64 | np.uint32]] = [_spread(entries.market), _spread(entries.asset), *users]
    for column in columns:
        found ^= found >> np.uint64(_TURN)
        found += column
        found *= np.uint64(_MIX)
    return found


def _spread(codes: Codes) -> Words:
    return np.array([*_number(codes).values()] or [0], np.uint64)[codes.numbers]


def _check_same(mine: Codes, my_order: NDArray[np.uint32], theirs: Codes, their_order: NDArray[np.uint32]) -> bool:
    """True when rows taken in these orders have the same names."""
    places = {name: number for number, name in enumerate(theirs.names)}
    same = np.array([places.get(name, -1) for name in mine.names] or [-1], np.int32)
    return bool(np.array_equal(same[mine.numbers[my_order]], theirs.numbers[their_order]))


def _join_runs(join: Callable[[Words], NDArray[np.float64]], halves: Words) -> NDArray[np.float64]:
    """Run by run, as long as fits a cache: that is quicker, and nobody waits long for the interpreter meanwhile."""
    floats = np.empty(len(halves))
    for begin in range(0, len(halves), RUN):
        floats[begin : begin + RUN] = join(halves[begin : begin + RUN])
    return floats


def _join(halves: Words) -> NDArray[np.float64]:
    """The float nearest to each number: of more than 64 bits the highest ones, and one more that tells of the others."""
    high, low = halves[:, 0], halves[:, 1]
    _, exponents = np.frexp(high.astype(np.float64))
    shift = np.minimum(exponents, _HALF).astype(np.uint64)
    rest = low & ((np.uint64(1) << shift) - np.uint64(1))
    upper = (high << (np.uint64(_HALF) - shift)) | (low >> shift) | (rest != 0)
    floats: NDArray[np.float64] = np.ldexp(upper.astype(np.float64), shift.astype(np.int32))
    return floats


def _join_signed(halves: Words) -> NDArray[np.float64]:
    is_negative = halves[:, 0] >= np.uint64(2**63)
    positive = np.where(is_negative[:, None], ~halves, halves)
    # Minus a number is its complement and one: the one goes over to the high half where the low half is full.
    positive[:, 1] += is_negative
    positive[:, 0] += is_negative & (positive[:, 1] == 0)
    return np.where(is_negative, -_join(positive), _join(positive))
