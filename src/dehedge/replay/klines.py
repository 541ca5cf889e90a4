"""Candles from the files of Binance's public archive, and from those that resemble them, as columns of integers.

With a header or without, CSV or ZIP, times in seconds, milliseconds or microseconds, several files for a market. Every line
is checked, nothing is guessed and nothing half read: the first that is wrong is a ``ConfigError`` with its place. Called by
``request``.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dehedge.errors import ConfigError
from dehedge.replay.model import Bars
from dehedge.replay.sheets import (
    TIME_SHAPE,
    Form,
    Shape,
    Sheet,
    find_columns,
    format_time,
    parse_time,
    read_sheets,
    scale,
    split_fields,
    split_header,
)

PLACES = 8
"""Decimals of a price column; ``PRICE_UNITS`` is ten to the power of this."""
STEP_DEFAULT_S = 60
"""Of a file with one bar."""

ARCHIVE = ("open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume")
NEEDED = ("open_time", "open", "high", "low", "close")
PRICES = NEEDED[1:]
VOLUMES = ("volume", "quote_volume")
NAMES: Mapping[str, Sequence[str]] = {
    "open_time": ("timestamp", "opentime", "time", "datetime", "date"),
    **dict.fromkeys(PRICES, ()),
    "volume": (),
    "quote_volume": ("quote_asset_volume", "quotevolume"),
}
_PRICE = Shape(r"[0-9]{1,7}(?:\.[0-9]{1,30})?", "a decimal number above 0 and below 10000000")
_VOLUME = Shape(r"(?:[0-9]{1,20}(?:\.[0-9]{0,30})?(?:[eE][-+]?[0-9]{1,2})?)?", "a decimal number of 0 or more, or nothing")
SHAPES = {"open_time": TIME_SHAPE, **dict.fromkeys(PRICES, _PRICE), **dict.fromkeys(VOLUMES, _VOLUME)}

Column = NDArray[np.int64]


class Gap(NamedTuple):
    """No bars from then on for so long."""

    from_s: int
    missing_s: int


class _Part(NamedTuple):
    """What one sheet holds: ``prices`` has a row for each of open, high, low and close."""

    place: str
    lines: Column
    start_s: Column
    prices: Column
    quote_volume: NDArray[np.float64]


def read_klines(market: str, paths: Sequence[Path]) -> Bars:
    """All files of a market as one history; what they have twice must agree. Raises ``ConfigError``."""
    parts = [_read_part(sheet) for path in paths for sheet in read_sheets(path)]
    step_s = _find_step(parts)
    start_s, prices, quote_volume = _join(parts)
    _check_grid(market, start_s, step_s)
    opened, high, low, close = prices
    return Bars(market, start_s, step_s, opened, high, low, close, quote_volume)


def find_gaps(bars: Bars) -> list[Gap]:
    """Where bars are missing between the first and the last."""
    distance = np.diff(bars.start_s)
    return [
        Gap(int(bars.start_s[place]) + bars.step_s, int(distance[place]) - bars.step_s)
        for place in np.flatnonzero(distance > bars.step_s)
    ]


def _read_part(sheet: Sheet) -> _Part:
    rows = _Rows(sheet.place)
    for number, line in sheet.lines:
        rows.add(number, line)
    return rows.build()


class _Rows:
    """The columns of one sheet as they grow."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._form: Form | None = None
        self._lines, self._start_s = array("q"), array("q")
        self._prices = [array("q") for _ in PRICES]
        self._quote_volume = array("d")

    def add(self, number: int, line: str) -> None:
        place = f"{self._place}:{number}"
        if self._form is None:
            header = split_header(place, line)
            self._form = self._build_form(header, len(split_fields(place, line)))
            if header is not None:
                return
        match = self._form.read(place, line)
        at_s = self._parse_time(place, match["open_time"])
        self._lines.append(number)
        self._start_s.append(at_s)
        for name, column in zip(PRICES, self._prices, strict=True):
            column.append(scale(match[name], PLACES))
        self._quote_volume.append(_compute_volume(match, self._form.columns))

    def _build_form(self, header: list[str] | None, width: int) -> Form:
        columns = (
            {name: place for place, name in enumerate(ARCHIVE[:width]) if name in SHAPES}
            if header is None
            else find_columns(self._place, header, NAMES)
        )
        missing = [name for name in NEEDED if name not in columns]
        if missing:
            raise ConfigError(f"{self._place}:1: has no column {', '.join(missing)}")
        return Form.build(columns, SHAPES, width)

    def _parse_time(self, place: str, text: str) -> int:
        try:
            at_s = parse_time(text)
        except ValueError as error:
            raise ConfigError(f"{place}: open_time {error}") from None
        if self._start_s and at_s <= self._start_s[-1]:
            raise ConfigError(f"{place}: {format_time(at_s)} is not after the line before; sort the lines by time")
        return at_s

    def build(self) -> _Part:
        if not self._start_s:
            raise ConfigError(f"{self._place}: has no bars")
        prices = np.array(self._prices, dtype=np.int64)
        self._check_prices(prices)
        return _Part(
            self._place,
            np.array(self._lines, dtype=np.int64),
            np.array(self._start_s, dtype=np.int64),
            prices,
            np.array(self._quote_volume),
        )

    def _check_prices(self, prices: Column) -> None:
        opened, high, low, close = prices
        wrong = (low < 1) | (low > np.minimum(opened, close)) | (high < np.maximum(opened, close))
        if wrong.any():
            number = self._lines[int(np.argmax(wrong))]
            raise ConfigError(f"{self._place}:{number}: wants 0 < low <= open and close <= high")


def _compute_volume(match: re.Match[str], columns: Mapping[str, int]) -> float:
    """In dollars; by the close where the file has the coins alone."""
    if "quote_volume" in columns:
        return float(match["quote_volume"] or 0)
    return float(match["volume"] or 0) * float(match["close"]) if "volume" in columns else 0.0


def _find_step(parts: Sequence[_Part]) -> int:
    """The distance of most bars, which all files share: a single bar off the grid is a fault and no finer grid."""
    steps = {part.place: _find_usual(np.diff(part.start_s)) for part in parts if len(part.start_s) > 1}
    if len(set(steps.values())) > 1:
        told = ", ".join(f"{place} has bars of {step_s} s" for place, step_s in list(steps.items())[:3])
        raise ConfigError(f"files of one market have bars of different length: {told}; give files of one interval")
    return next(iter(steps.values()), STEP_DEFAULT_S)


def _find_usual(distances: Column) -> int:
    """The least of those that come most often."""
    values, counts = np.unique(distances, return_counts=True)
    return int(values[np.argmax(counts)])


def _join(parts: Sequence[_Part]) -> tuple[Column, Column, NDArray[np.float64]]:
    start_s = np.concatenate([part.start_s for part in parts])
    prices = np.concatenate([part.prices for part in parts], axis=1)
    quote_volume = np.concatenate([part.quote_volume for part in parts])
    order = np.argsort(start_s, kind="stable")
    start_s, prices = start_s[order], prices[:, order]
    is_twice = np.diff(start_s) == 0
    differs = is_twice & (prices[:, 1:] != prices[:, :-1]).any(axis=0)
    if differs.any():
        first = int(np.argmax(differs))
        one, other = (_name_row(parts, int(order[place])) for place in (first, first + 1))
        raise ConfigError(f"{other}: {format_time(int(start_s[first]))} is another bar than in {one}; give one of the two files")
    kept = np.concatenate(([True], ~is_twice))
    return start_s[kept], prices[:, kept], quote_volume[order][kept]


def _name_row(parts: Sequence[_Part], row: int) -> str:
    for part in parts:
        if row < len(part.lines):
            return f"{part.place}:{part.lines[row]}"
        row -= len(part.lines)
    raise AssertionError("no part has this row")


def _check_grid(market: str, start_s: Column, step_s: int) -> None:
    off = np.diff(start_s) % step_s != 0
    if off.any():
        at_s = int(start_s[int(np.argmax(off)) + 1])
        raise ConfigError(f"{market}: the bar of {format_time(at_s)} does not begin on a step of {step_s} s, as most bars do")
