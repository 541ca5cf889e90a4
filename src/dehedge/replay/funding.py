"""Funding rates of a market, from the files of Binance's public archive or from simple tables of time and rate.

Exact decimals, in the order of time. What is wrong is a ``ConfigError`` with path, line and reason; nothing is half read.
Called by ``request``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from dehedge.errors import ConfigError
from dehedge.replay.model import FundingRate
from dehedge.replay.sheets import (
    TIME_SHAPE,
    Form,
    Shape,
    Sheet,
    find_columns,
    format_time,
    parse_time,
    read_sheets,
    split_fields,
    split_header,
)

ARCHIVE = {"time": 0, "rate": 2}
SIMPLE = {"time": 0, "rate": 1}
NAMES: Mapping[str, Sequence[str]] = {
    "time": ("calc_time", "funding_time", "fundingtime", "open_time", "timestamp", "datetime", "date"),
    "rate": ("last_funding_rate", "funding_rate", "fundingrate"),
}
SHAPES = {
    "time": TIME_SHAPE,
    "rate": Shape(r"[-+]?[0-9]{1,3}(?:\.[0-9]{0,30})?(?:[eE][-+]?[0-9]{1,2})?", "a decimal number such as 0.0001"),
}
RATE_MAX = Decimal("0.1")
"""Of the notional, and far above what the exchange charges at once; more than that is a percentage by mistake."""


def read_funding(paths: Sequence[Path]) -> list[FundingRate]:
    """All files of a market; a time that several have must have one rate. Raises ``ConfigError``."""
    found: dict[int, tuple[Decimal, str]] = {}
    for path in paths:
        for sheet in read_sheets(path):
            _read_sheet(sheet, found)
    return [FundingRate(at_s, rate) for at_s, (rate, _) in sorted(found.items())]


def _read_sheet(sheet: Sheet, found: dict[int, tuple[Decimal, str]]) -> None:
    form: Form | None = None
    for number, line in sheet.lines:
        place = f"{sheet.place}:{number}"
        if form is None:
            header = split_header(place, line)
            columns = _find_columns(sheet.place, header, line)
            form = Form.build(columns, SHAPES, len(split_fields(place, line)))
            if header is not None:
                continue
        match = form.read(place, line)
        _note(found, place, match["time"], Decimal(match["rate"]))
    if form is None:
        raise ConfigError(f"{sheet.place}: has no rates")


def _find_columns(place: str, header: list[str] | None, line: str) -> dict[str, int]:
    if header is None:
        return ARCHIVE if line.count(",") > 1 else SIMPLE
    columns = find_columns(place, header, NAMES)
    missing = [name for name in NAMES if name not in columns]
    if missing:
        raise ConfigError(f"{place}:1: has no column {', '.join(missing)}")
    return columns


def _note(found: dict[int, tuple[Decimal, str]], place: str, text: str, rate: Decimal) -> None:
    try:
        at_s = parse_time(text)
    except ValueError as error:
        raise ConfigError(f"{place}: time {error}") from None
    if abs(rate) > RATE_MAX:
        raise ConfigError(f"{place}: rate {rate} is no share of the notional: at most {RATE_MAX}, 0.0001 is 1 bp")
    before = found.setdefault(at_s, (rate, place))
    if before[0] != rate:
        raise ConfigError(f"{place}: {format_time(at_s)} has another rate than in {before[1]}")
