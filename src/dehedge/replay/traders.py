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
    TIME_SHAPE,
    Form,
    Shape,
    Sheet,
    find_columns,
    format_time,
    parse_time,
    read_sheets,
    scale,
    show,
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
_USD = r"[0-9]{1,72}(?:\.[0-9]{1,6})?"
_DOLLARS = "USDC with up to six decimals, such as 400000.5"
SHAPES = {
    "market": Shape(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,63}", "a name such as BTC-USD"),
    "user": Shape(r"(?:0x[0-9a-fA-F]{40})?", "an address of 0x and 40 hex digits, or nothing"),
    "side": Shape(r"(?i:long|short)", "long or short"),
    "size": Shape(_USD, _DOLLARS),
    "collateral": Shape(_USD, _DOLLARS),
    "entry_price": Shape(r"(?:[0-9]{1,72}(?:\.[0-9]{1,18})?)?", "a decimal number above 0, or nothing"),
    "opened": TIME_SHAPE,
    "closed": Shape(f"(?:{TIME_SHAPE.pattern})?", f"{TIME_SHAPE.wanted}, or nothing"),
}
MARKET = re.compile(SHAPES["market"].pattern)
_CAPITAL = re.compile(rf"# *(vault|shield) +({_USD}) *")
_CAPITAL_MEANT = re.compile(r"#\s*(vault|shield)\b\s*[:=]?\s*(.*)", re.IGNORECASE)


class Book(NamedTuple):
    """The traders, and the vault and the shield in base units where the file says them."""

    traders: Sequence[Trader]
    vault: int | None = None
    shield: int | None = None


class _Found(NamedTuple):
    """What was read so far; ``places`` are the traders', and each capital has its own."""

    traders: list[Trader]
    places: list[str]
    capital: dict[str, tuple[int, str]]


def read_book(path: Path) -> Book:
    """Raises ``ConfigError``."""
    found = _Found([], [], {})
    for sheet in read_sheets(path):
        _read_sheet(sheet, found)
    if not found.traders:
        raise ConfigError(f"{path}: has no traders")
    _check_one_at_a_time(found.traders, found.places)
    vault, shield = (found.capital.get(name, (None,))[0] for name in ("vault", "shield"))
    return Book(found.traders, vault, shield)


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


def _read_sheet(sheet: Sheet, found: _Found) -> None:
    form: Form | None = None
    for number, line in sheet.lines:
        place = f"{sheet.place}:{number}"
        if line.startswith("#"):
            _read_comment(place, line, found.capital)
        elif form is None:
            form = _build_form(place, line)
        else:
            fields = form.read(place, line).groupdict()
            found.traders.append(_build_trader(place, fields, len(found.traders)))
            found.places.append(place)


def _read_comment(place: str, line: str, capital: dict[str, tuple[int, str]]) -> None:
    """What begins like vault or shield is never taken for a mere comment: without it the vault would be another."""
    meant = _CAPITAL_MEANT.match(line)
    if meant is None:
        return
    said = _CAPITAL.fullmatch(line)
    name = meant[1].lower()
    if said is None:
        raise ConfigError(f"{place}: {name} is {show(meant[2].strip())!r}; write it as: # {name} 5000000")
    if name in capital:
        raise ConfigError(f"{place}: {name} is said already, in {capital[name][1]}; leave one of the two")
    capital[name] = scale(said[2], USD_PLACES), place


def _build_form(place: str, line: str) -> Form:
    header = split_header(place, line)
    columns = find_columns(place.rpartition(":")[0], header, NAMES) if header is not None else {}
    missing = [name for name in NEEDED if name not in columns]
    if header is None or missing:
        raise ConfigError(f"{place}: the header has no column {', '.join(missing)}; a book has {','.join(COLUMNS)}")
    return Form.build(columns, SHAPES, len(header))


def _build_trader(place: str, fields: Mapping[str, str], number: int) -> Trader:
    size = scale(fields["size"], USD_PLACES)
    if size == 0:
        raise ConfigError(f"{place}: size is 0; give {_DOLLARS}")
    closed = fields.get("closed")
    try:
        opened_s = parse_time(fields["opened"])
        closed_s = parse_time(closed) if closed else None
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from None
    if closed_s is not None and closed_s <= opened_s:
        raise ConfigError(f"{place}: is closed at {format_time(closed_s)}, not after it was opened")
    return Trader(
        fields["market"], fields.get("user") or build_user(number), fields["side"].lower() == "long", size,
        scale(fields["collateral"], USD_PLACES), _read_entry(place, fields.get("entry_price")), opened_s, closed_s,
    )  # fmt: skip


def _read_entry(place: str, text: str | None) -> int | None:
    """None for the price of then. From a price of 0 a position would never win or lose."""
    entry = scale(text, PRICE_PLACES) if text else None
    if entry == 0:
        raise ConfigError(f"{place}: entry_price is 0; give a price above 0, or nothing for the price of then")
    return entry


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
