"""Tables as files: CSV, or ZIPs of CSV, a line at a time, each with the name and the number that an error tells.

Knows neither prices nor traders. Whatever a file holds, it is read in bounded memory, and what is wrong with it is one
``ConfigError`` with the path, the line and the reason. Called by the readers of klines, funding and traders.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from errno import EISDIR
from os import strerror
from pathlib import Path
from typing import IO, NamedTuple, Self

from dehedge.errors import ConfigError, DehedgeError

LINE_LENGTH_MAX = 2_000
BYTES_MAX = 1_000_000_000
"""A decade of minutes is a tenth of this; a ZIP may claim more than any memory."""
MEMBERS_MAX = 10_000
SHOWN_LENGTH_MAX = 60
TIME_MIN_S, TIME_MAX_S = 0, 4_102_444_800
"""The years 1970 to 2099."""

ZIP_BEGINNING = b"PK\x03\x04"

_WHOLE_TIME = re.compile(r"([0-9]{1,16})(?:\.0{1,6})?")
_MS_MIN, _US_MIN = 10**11, 10**14
"""From here on a whole number counts milliseconds, and from there on microseconds; seconds get there in the year 5138."""

Lines = Iterator[tuple[int, str]]


class Sheet(NamedTuple):
    """One CSV: how errors name it, and its lines with their numbers, from 1 on, without empty ones."""

    place: str
    lines: Lines


def read_sheets(path: Path) -> Iterator[Sheet]:
    """The file itself, or the CSV files in the ZIP, each to be read before the next. Raises ``ConfigError``."""
    with _telling(str(path)):
        if not path.is_file():
            raise ConfigError(f"{path}: is not a file")
        if path.stat().st_size > BYTES_MAX:
            raise ConfigError(f"{path}: is longer than {BYTES_MAX} bytes; give it in parts")
        if not zipfile.is_zipfile(path):
            with path.open("rb") as file:
                if file.read(len(ZIP_BEGINNING)) == ZIP_BEGINNING:
                    raise ConfigError(f"{path}: is not a whole ZIP file: its end is missing; get it once more")
                file.seek(0)
                yield Sheet(str(path), _read_lines(str(path), file))
            return
        with zipfile.ZipFile(path) as archive:
            yield from _read_members(path, archive)


def _read_members(path: Path, archive: zipfile.ZipFile) -> Iterator[Sheet]:
    members = [member for member in archive.infolist() if member.filename.lower().endswith(".csv")]
    if not members:
        raise ConfigError(f"{path}: has no .csv inside")
    if len(members) > MEMBERS_MAX or sum(member.file_size for member in members) > BYTES_MAX:
        raise ConfigError(f"{path}: unpacks to more than {BYTES_MAX} bytes or {MEMBERS_MAX} files; give it in parts")
    for member in members:
        place = f"{path}:{show(member.filename)}"
        with archive.open(member) as file:
            yield Sheet(place, _read_lines(place, file))


def _read_lines(place: str, file: IO[bytes]) -> Lines:
    number = 0
    with _telling(place), io.TextIOWrapper(file, encoding="utf-8-sig") as text:
        while line := text.readline(LINE_LENGTH_MAX + 1):
            number += 1
            if len(line) > LINE_LENGTH_MAX:
                raise ConfigError(f"{place}:{number}: has more than {LINE_LENGTH_MAX} characters")
            line = line.rstrip("\n")
            if line and not line.isspace():
                yield number, line


@contextmanager
def _telling(place: str) -> Iterator[None]:
    """What the system, the ZIP and the text have against it, in one line."""
    try:
        yield
    except UnicodeDecodeError:
        raise ConfigError(f"{place}: is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{place}: cannot be read: {_name_cause(error)}") from None
    # The library raises what it meets: a wrong sum, a method or a password that it does not know, an end too early.
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise ConfigError(f"{place}: cannot be read: {show(str(error))}") from None


def split_header(place: str, first: str) -> list[str] | None:
    """The names of the columns, in lower case; None where the first line already holds figures."""
    fields = [field.strip().lower().replace(" ", "_") for field in split_fields(place, first)]
    return None if fields[0][:1].isdigit() else fields


def find_columns(place: str, header: Sequence[str], names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Where each column stands that the header has under one of its names; the first of several counts."""
    found = {}
    for name, aliases in names.items():
        positions = [header.index(alias) for alias in (name, *aliases) if alias in header]
        if positions:
            found[name] = positions[0]
    if not found:
        raise ConfigError(f"{place}:1: has none of the columns {', '.join(names)}")
    return found


class Shape(NamedTuple):
    """What a field may look like, and the same in words for whoever has to mend it."""

    pattern: str
    wanted: str


TIME_SHAPE = Shape(r"[0-9][0-9T:.+Z -]{0,40}", "a time such as 2020-03-12T11:42:00Z or 1584013320000")


class Form(NamedTuple):
    """How every line of a sheet is to look: ``width`` fields, or as many as ``columns`` reach, and those have their shapes.

    Whole lines are matched at once, because files have millions.
    """

    columns: Mapping[str, int]
    shapes: Mapping[str, Shape]
    width: int
    pattern: re.Pattern[str]

    @classmethod
    def build(cls, columns: Mapping[str, int], shapes: Mapping[str, Shape], width: int) -> Self:
        by_position = {position: name for name, position in columns.items()}
        width = max(width, *(position + 1 for position in by_position))
        parts = [
            f" *(?P<{by_position[position]}>{shapes[by_position[position]].pattern}) *" if position in by_position else "[^,]*"
            for position in range(width)
        ]  # fmt: skip
        return cls(columns, shapes, width, re.compile(",".join(parts)))

    def read(self, place: str, line: str) -> re.Match[str]:
        """The fields by name. Raises ``ConfigError`` with the first that is wrong."""
        match = self.pattern.fullmatch(line if '"' not in line else self._unquote(place, line))
        if match is None:
            raise ConfigError(f"{place}: {self._explain(split_fields(place, line))}")
        return match

    def _unquote(self, place: str, line: str) -> str:
        """A comma within quotes ends no field. Only columns that nobody reads may have one."""
        fields = split_fields(place, line)
        has_comma = any("," in field for position, field in enumerate(fields) if position in self.columns.values())
        return line if has_comma else ",".join(field.replace(",", " ") for field in fields)

    def _explain(self, fields: Sequence[str]) -> str:
        if len(fields) != self.width:
            has_more, noun = len(fields) > self.width, "field" if len(fields) == 1 else "fields"
            hint = "numbers without thousands separators" if has_more else "commas also for what is empty"
            return f"has {len(fields)} {noun} where the columns are {self.width}; give {hint}"
        for name, position in sorted(self.columns.items(), key=lambda item: item[1]):
            pattern, wanted = self.shapes[name]
            if not re.fullmatch(f" *(?:{pattern}) *", fields[position]):
                separated = " without thousands separators" if "," in fields[position] else ""
                return f"{name} is {show(fields[position].strip())!r}; give {wanted}{separated}"
        return f"cannot be read: {show(','.join(fields))!r}"


def split_fields(place: str, line: str) -> list[str]:
    """As every CSV has them. Raises ``ConfigError`` for quotes that do not end in this line."""
    if '"' not in line:
        return line.split(",")
    try:
        return next(csv.reader([line], strict=True, skipinitialspace=True))
    except csv.Error:
        raise ConfigError(f"{place}: has quotes that do not go around one field: {show(line)!r}") from None


def parse_time(text: str) -> int:
    """Seconds since the epoch, of a whole number (s, ms or us) or of an ISO time, which is UTC unless it says otherwise.

    Parts of a second are cut off. Raises ``ValueError`` with the reason.
    """
    whole = _WHOLE_TIME.fullmatch(text)
    at_s = _scale_time(int(whole[1])) if whole else _parse_iso(text)
    if not TIME_MIN_S <= at_s < TIME_MAX_S:
        raise ValueError(f"{show(text)!r} is not a time from 1970 to 2099")
    return at_s


def _scale_time(count: int) -> int:
    if count < _MS_MIN:
        return count
    return count // 1_000 if count < _US_MIN else count // 1_000_000


def _parse_iso(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise ValueError(
            f"{show(text)!r} is not a time: give seconds, milliseconds, microseconds or an ISO time"
        ) from None


def format_time(at_s: int) -> str:
    """As books have it: ISO, to the second, in UTC."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def scale(text: str, places: int) -> int:
    """Plain decimal digits as an integer of so many decimals; what is beyond them is cut off."""
    whole, _, part = text.partition(".")
    return int(whole + part[:places].ljust(places, "0"))


def unscale(amount: int, places: int) -> str:
    """The inverse of ``scale``, without zeros that say nothing."""
    whole, part = divmod(amount, 10**places)
    return f"{whole}.{part:0{places}d}".rstrip("0").rstrip(".")


def show(text: str) -> str:
    """Foreign text as a part of one line."""
    line = "".join(sign if sign.isprintable() else "?" for sign in text)
    return line if len(line) <= SHOWN_LENGTH_MAX else f"{line[: SHOWN_LENGTH_MAX - 3]}..."


def check_writable(option: str, path: Path) -> None:
    """Before a long run rather than after it, by writing beside the file. Raises ``DehedgeError`` naming both."""
    beside = _name_beside(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(EISDIR, strerror(EISDIR))
        with beside.open("wb"):
            pass
        beside.unlink()
    except (OSError, ValueError) as error:
        raise DehedgeError(f"{option}: {path}: {_name_cause(error)}; give another place") from None


def write_text(path: Path, text: str) -> None:
    """Whole or not at all. Raises ``DehedgeError`` naming the file."""
    beside = _name_beside(path)
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except (OSError, ValueError) as error:
        raise DehedgeError(f"{path}: cannot be written: {_name_cause(error)}") from None


def _name_cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or show(str(error))


def _name_beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
