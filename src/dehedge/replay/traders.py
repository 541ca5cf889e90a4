"""Trader books as CSV: who held what from when to when, and what vault and shield had, to the last base unit.

A book that was written is read back the same. Columns and units are told in docs/replay.md. What is wrong is a
``ConfigError`` with path, line and reason; nothing is half read. Called by ``request`` and by ``dehedge snapshot``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from dehedge.errors import ConfigError
from dehedge.replay.model import Trader
from dehedge.replay.sheets import (
    Sheet,
    build_pattern,
    explain_line,
    find_columns,
    format_time,
    parse_time,
    read_sheets,
    scale,
    split_header,
    unscale,
)

COLUMNS = ("market", "user", "side", "size", "collateral", "entry_price", "opened", "closed")
NEEDED = ("market", "side", "size", "collateral", "opened")
NAMES: Mapping[str, Sequence[str]] = {
    "market": (), "user": ("trader",), "side": (), "size": (), "collateral": (), "entry_price": ("entry",),
    "opened": ("opened_s", "opened_at"), "closed": ("closed_s", "closed_at"),
}  # fmt: skip
USD_PLACES, PRICE_PLACES = 6, 18
_TIME = r"[0-9][0-9T:.+Z -]{0,40}"
SHAPES = {
    "market": r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}",
    "user": r"(?:0x[0-9a-fA-F]{40})?",
    "side": r"(?i:long|short)",
    "size": r"[0-9]{1,72}(?:\.[0-9]{1,6})?",
    "collateral": r"[0-9]{1,72}(?:\.[0-9]{1,6})?",
    "entry_price": r"(?:[0-9]{1,72}(?:\.[0-9]{1,18})?)?",
    "opened": _TIME,
    "closed": f"(?:{_TIME})?",
}
MARKET = re.compile(SHAPES["market"])
_CAPITAL = re.compile(r"# *(vault|shield) +([0-9]{1,72}(?:\.[0-9]{1,6})?) *")


class Book(NamedTuple):
    """The traders, and the vault and the shield in base units where the file says them."""

    traders: Sequence[Trader]
    vault: int | None = None
    shield: int | None = None


def read_book(path: Path) -> Book:
    """Raises ``ConfigError``."""
    traders: list[Trader] = []
    places: list[str] = []
    capital: dict[str, int] = {}
    for sheet in read_sheets(path):
        _read_sheet(sheet, (traders, places), capital)
    if not traders:
        raise ConfigError(f"{path}: has no traders")
    _check_one_at_a_time(traders, places)
    return Book(traders, capital.get("vault"), capital.get("shield"))


def render_book(book: Book) -> str:
    """As ``read_book`` takes it."""
    lines = [
        f"# {name} {unscale(amount, USD_PLACES)}"
        for name, amount in (("vault", book.vault), ("shield", book.shield))
        if amount is not None
    ]
    return "\n".join([*lines, ",".join(COLUMNS), *map(_render_trader, book.traders), ""])


def check_market_name(name: str) -> bool:
    """True for what a book can hold."""
    return MARKET.fullmatch(name) is not None


def _render_trader(trader: Trader) -> str:
    entry, closed_s = trader.entry_price, trader.closed_s
    return ",".join((
        trader.market, trader.user, "long" if trader.is_long else "short",
        unscale(trader.size, USD_PLACES), unscale(trader.collateral, USD_PLACES),
        unscale(entry, PRICE_PLACES) if entry is not None else "",
        format_time(trader.opened_s), format_time(closed_s) if closed_s is not None else "",
    ))  # fmt: skip


def _read_sheet(sheet: Sheet, found: tuple[list[Trader], list[str]], capital: dict[str, int]) -> None:
    traders, places = found
    columns: dict[str, int] = {}
    for number, line in sheet.lines:
        place = f"{sheet.place}:{number}"
        if line.startswith("#"):
            said = _CAPITAL.fullmatch(line)
            if said:
                capital[said[1]] = scale(said[2], USD_PLACES)
            continue
        if not columns:
            columns = _find_columns(place, line)
            pattern = build_pattern(columns, SHAPES)
            continue
        bare = line.replace('"', "")
        match = pattern.fullmatch(bare)
        if match is None:
            raise ConfigError(f"{place}: {explain_line(bare, columns, SHAPES)}")
        traders.append(_build_trader(place, match.groupdict(), len(traders)))
        places.append(place)


def _find_columns(place: str, line: str) -> dict[str, int]:
    header = split_header(line)
    columns = find_columns(place.rpartition(":")[0], header, NAMES) if header is not None else {}
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise ConfigError(f"{place}: the header has no column {', '.join(missing)}; a book has {','.join(COLUMNS)}")
    return columns


def _build_trader(place: str, fields: Mapping[str, str], number: int) -> Trader:
    size = scale(fields["size"], USD_PLACES)
    if size == 0:
        raise ConfigError(f"{place}: size is 0")
    entry, closed = fields.get("entry_price"), fields.get("closed")
    try:
        opened_s = parse_time(fields["opened"])
        closed_s = parse_time(closed) if closed else None
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None
    if closed_s is not None and closed_s <= opened_s:
        raise ConfigError(f"{place}: is closed at {format_time(closed_s)}, not after it was opened")
    return Trader(
        fields["market"], fields.get("user") or build_user(number), fields["side"].lower() == "long", size,
        scale(fields["collateral"], USD_PLACES), scale(entry, PRICE_PLACES) if entry else None, opened_s, closed_s,
    )  # fmt: skip


def build_user(number: int) -> str:
    """An address that is nobody's, for a trader without one. Numbers are from 0 on."""
    return f"0x{number + 1:040x}"


def _check_one_at_a_time(traders: Sequence[Trader], places: Sequence[str]) -> None:
    """A trader has one position in a market at a time, as on chain."""
    last: dict[tuple[str, str], tuple[Trader, str]] = {}
    for trader, place in sorted(zip(traders, places, strict=True), key=lambda item: attrgetter("opened_s")(item[0])):
        key = (trader.user.lower(), trader.market)
        before = last.get(key)
        if before is not None and (before[0].closed_s is None or before[0].closed_s > trader.opened_s):
            raise ConfigError(f"{place}: this trader has a position in {trader.market} already, of {before[1]}")
        last[key] = (trader, place)
