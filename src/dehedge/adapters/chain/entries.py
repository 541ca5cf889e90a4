"""Positions as they are stored on chain, in numpy columns: exact, immutable, 101 bytes each.

Numbers have the width that they need in practice; a row with a number beyond that is kept whole beside its columns, as
is. Addresses stay the raw bytes that they are, and an asset or a market is a code into the names. Built by ``decoder``
and ``paging``, looked up through ``table``; knows neither pages nor nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dehedge.adapters.chain.codec import build_checksum_address
from dehedge.core.model import Position

ROWS_AT_ONCE = 1_000
"""Read as Python objects together: one row alone costs some 15 times as much."""

USER_WORDS = 5
"""Of 32 bits each, in an address."""

_HALF = 64
_LOW = 2**_HALF - 1

Words = NDArray[np.uint64]


class Codes(NamedTuple):
    """What a column holds, as numbers: ``names[numbers[row]]``."""

    numbers: NDArray[np.int32]
    names: tuple[str, ...]

    def get(self, row: int) -> str:
        return self.names[self.numbers.item(row)]

    def read(self, run: slice) -> list[str]:
        return [self.names[number] for number in self.numbers[run].tolist()]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Entries:
    """Rows in the order of the chain. All numbers but times are a high and a low half, a tracer's in two's complement.

    What the columns say of a number in a row of ``wide`` means nothing; its user, asset, market and side count.
    """

    user: NDArray[np.uint32]
    asset: Codes
    market: Codes
    is_long: NDArray[np.bool_]
    size: Words
    collateral: Words
    funding_tracer: Words
    entry_price: Words
    opened_at: Words
    wide: Mapping[int, Position] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for column in self._get_columns().values():
            column.setflags(write=False)

    @property
    def count(self) -> int:
        return len(self.is_long)

    def check_same(self, other: Entries) -> bool:
        """True for the same rows in the same order, however they were read."""
        names = (self.asset.names, self.market.names, self.count) == (
            other.asset.names,
            other.market.names,
            other.count,
        )
        if not names or self.wide != other.wide:
            return False
        theirs = other._get_columns()
        return all(np.array_equal(column, theirs[name]) for name, column in self._get_columns().items())

    def find_open(self) -> NDArray[np.bool_]:
        """Which rows have a size."""
        is_open: NDArray[np.bool_] = np.any(self.size, axis=1)
        for row, position in self.wide.items():
            is_open[row] = position.size != 0
        return is_open

    def find_given(self) -> NDArray[np.bool_]:
        """Which rows have a user: the others are padding."""
        given: NDArray[np.bool_] = np.any(self.user, axis=1)
        return given

    def find_pairs(self) -> frozenset[tuple[str, str]]:
        """The (asset, market) pairs of rows that have a size."""
        width = max(1, len(self.market.names))
        codes = np.unique((self.asset.numbers.astype(np.int64) * width + self.market.numbers)[self.find_open()])
        assets, markets = self.asset.names, self.market.names
        return frozenset((assets[code // width], markets[code % width]) for code in codes.tolist())

    def cut(self, begin: int, end: int) -> Entries:
        """A run of rows, as a view."""
        wide = {row - begin: self.wide[row] for row in range(begin, end) if row in self.wide} if self.wide else {}
        return self._build({name: column[begin:end] for name, column in self._get_columns().items()}, wide)

    def keep(self, mask: NDArray[np.bool_]) -> Entries:
        """The rows of the mask; the same object where these are all."""
        if mask.all():
            return self
        places = np.cumsum(mask) - 1
        wide = {int(places[row]): position for row, position in self.wide.items() if mask[row]}
        return self._build({name: column[mask] for name, column in self._get_columns().items()}, wide)

    def iterate(self) -> Iterator[Position]:
        starts = range(0, self.count, ROWS_AT_ONCE)
        return chain.from_iterable(self._read(start, start + ROWS_AT_ONCE) for start in starts)

    def get(self, row: int) -> Position:
        if row in self.wide:
            return self.wide[row]
        return _build_position(
            self.get_user(row),
            (self.asset.get(row), self.market.get(row), self.is_long.item(row)),
            self.opened_at.item(row),
            [half for column in self._get_halves() for half in column[row].tolist()],
        )

    def get_user(self, row: int) -> bytes:
        return bytes(self.user[row])

    def _read(self, begin: int, end: int) -> Iterator[Position]:
        run = slice(begin, end)
        users = self.user[run].tobytes()
        times = self.opened_at[run].tolist()
        halves = np.concatenate([column[run] for column in self._get_halves()], axis=1).tolist()
        names = zip(self.asset.read(run), self.market.read(run), self.is_long[run].tolist(), strict=True)
        for place, row in enumerate(zip(names, times, halves, strict=True)):
            wide = self.wide.get(begin + place)
            yield wide or _build_position(users[20 * place : 20 * place + 20], *row)

    def _get_halves(self) -> tuple[Words, Words, Words, Words]:
        return self.size, self.collateral, self.funding_tracer, self.entry_price

    def _get_columns(self) -> dict[str, NDArray[Any]]:
        return {
            "user": self.user,
            "asset": self.asset.numbers,
            "market": self.market.numbers,
            "is_long": self.is_long,
            "size": self.size,
            "collateral": self.collateral,
            "funding_tracer": self.funding_tracer,
            "entry_price": self.entry_price,
            "opened_at": self.opened_at,
        }

    def _build(self, columns: dict[str, NDArray[Any]], wide: Mapping[int, Position]) -> Entries:
        asset, market = columns.pop("asset"), columns.pop("market")
        return Entries(
            asset=Codes(asset, self.asset.names), market=Codes(market, self.market.names), wide=wide, **columns
        )


def join_entries(parts: Sequence[Entries]) -> Entries:
    """All rows of all parts in their order, with names in the order of the alphabet, however they were cut."""
    wide: dict[int, Position] = {}
    begin = 0
    for part in parts:
        wide |= {begin + row: position for row, position in part.wide.items()}
        begin += part.count
    return Entries(
        user=np.concatenate([part.user for part in parts]),
        asset=_join_codes([part.asset for part in parts]),
        market=_join_codes([part.market for part in parts]),
        is_long=np.concatenate([part.is_long for part in parts]),
        size=np.concatenate([part.size for part in parts]),
        collateral=np.concatenate([part.collateral for part in parts]),
        funding_tracer=np.concatenate([part.funding_tracer for part in parts]),
        entry_price=np.concatenate([part.entry_price for part in parts]),
        opened_at=np.concatenate([part.opened_at for part in parts]),
        wide=wide,
    )


def build_entries(positions: Sequence[Position]) -> Entries:
    """The columns of positions that are there as objects."""
    wide = {row: position for row, position in enumerate(positions) if not _check_narrow(position)}
    shown = [position if row not in wide else _blank(position) for row, position in enumerate(positions)]
    users = b"".join(bytes.fromhex(position.user[2:]) for position in positions)
    return Entries(
        user=np.frombuffer(users, np.uint32).reshape(-1, USER_WORDS),
        asset=_encode([position.asset for position in positions]),
        market=_encode([position.market for position in positions]),
        is_long=np.array([position.is_long for position in positions], np.bool_),
        size=_split([position.size for position in shown]),
        collateral=_split([position.collateral for position in shown]),
        funding_tracer=_split([position.funding_tracer for position in shown]),
        entry_price=_split([position.entry_price for position in shown]),
        opened_at=np.array([position.opened_at for position in shown], np.uint64),
        wide=wide,
    )


def _check_narrow(position: Position) -> bool:
    words = max(position.size, position.collateral, position.entry_price) < 2**128
    return words and position.opened_at <= _LOW and -(2**127) <= position.funding_tracer < 2**127


def _blank(position: Position) -> Position:
    return position._replace(size=0, collateral=0, opened_at=0, entry_price=0, funding_tracer=0)


def _split(values: Sequence[int]) -> Words:
    halves = chain.from_iterable((value >> _HALF & _LOW, value & _LOW) for value in values)
    return np.fromiter(halves, np.uint64, 2 * len(values)).reshape(-1, 2)


def _build_position(user: bytes, names: tuple[str, str, bool], opened_at: int, halves: Sequence[int]) -> Position:
    size, collateral, tracer, price = (high << _HALF | low for high, low in zip(halves[::2], halves[1::2], strict=True))
    signed = tracer if tracer < 2**127 else tracer - 2**128
    return Position(build_checksum_address(user), *names, size, collateral, signed, price, opened_at)


def _encode(names: Sequence[str]) -> Codes:
    known = {name: number for number, name in enumerate(sorted(set(names)))}
    return Codes(np.fromiter((known[name] for name in names), np.int32, len(names)), tuple(known))


def _join_codes(parts: Sequence[Codes]) -> Codes:
    """Over the names that some row has: those that a part has only been cut from would stay for ever."""
    used = [np.unique(part.numbers).tolist() for part in parts]
    names = {part.names[number] for part, numbers in zip(parts, used, strict=True) for number in numbers}
    known = {name: number for number, name in enumerate(sorted(names))}
    maps = [np.array([known.get(name, 0) for name in part.names] or [0], np.int32) for part in parts]
    return Codes(np.concatenate([new[part.numbers] for new, part in zip(maps, parts, strict=True)]), tuple(known))
