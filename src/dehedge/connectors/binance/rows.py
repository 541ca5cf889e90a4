"""One JSON object of the exchange, read field by field.

Owns the step from untrusted JSON to exact types: whatever is missing, of the wrong kind or beyond all measure raises
``MalformedPayload``, so that no ``KeyError`` or ``InvalidOperation`` leaves the parsers, and no number does that takes a
gigabyte to write down. Never guesses a value. Called by ``payloads`` and ``events`` only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from dehedge.errors import VenueUnavailable

Json = Any
"""Decoded JSON as it arrived; only this package's parsers look into it."""

Choice = TypeVar("Choice", bound=StrEnum)

DIGITS_MAX = 28
"""As many as sums of decimals keep; no price, quantity or id has more."""

PLACES_MAX = 30
"""No price or quantity has more digits on either side of the point."""

TEXT_LENGTH_MAX = 200
"""No symbol, id or word of the exchange is longer."""

SHOWN_LENGTH_MAX = 40

TIME_MAX_S = 2**33
"""Later than this (the year 2242) is not a time but a mistake."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,60}(\.[0-9]{0,60})?([eE][+-]?[0-9]{1,3})?")


class MalformedPayload(VenueUnavailable):
    """The exchange answered with something that is not what it documents: nothing is known."""


@dataclass(frozen=True, slots=True)
class Row:
    """A JSON object and what it is called in an error message."""

    name: str
    values: Mapping[str, Json]

    def get(self, key: str) -> Json:
        try:
            return self.values[key]
        except KeyError:
            raise MalformedPayload(f"the exchange sent {self.name} without {key}") from None

    def get_text(self, key: str) -> str:
        value = self.get(key)
        if isinstance(value, str) and len(value) <= TEXT_LENGTH_MAX and value.isprintable():
            return value
        raise self._build_error(key)

    def get_decimal(self, key: str) -> Decimal:
        value = self.get(key)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return parse_decimal(f"{self.name} {key}", value)
        raise self._build_error(key)

    def get_amount(self, key: str) -> Decimal:
        """A number of 0 or more."""
        value = self.get_decimal(key)
        if value < 0:
            raise self._build_error(key)
        return value

    def get_positive(self, key: str) -> Decimal:
        """A number above 0."""
        value = self.get_decimal(key)
        if value <= 0:
            raise self._build_error(key)
        return value

    def get_integer(self, key: str) -> int:
        value = self.get_decimal(key)
        if value != value.to_integral_value():
            raise self._build_error(key)
        return int(value)

    def get_seconds(self, key: str) -> float:
        """A time in milliseconds since the epoch, as seconds."""
        value = self.get_integer(key)
        if not 0 <= value < TIME_MAX_S * 1000:
            raise self._build_error(key)
        return value / 1000

    def get_flag(self, key: str) -> bool:
        value = self.get(key)
        if isinstance(value, bool):
            return value
        raise self._build_error(key)

    def get_choice(self, key: str, choices: type[Choice]) -> Choice:
        try:
            return choices(self.get_text(key))
        except ValueError:
            raise self._build_error(key) from None

    def get_row(self, key: str) -> Row:
        return build_row(f"{self.name} {key}", self.get(key))

    def get_rows(self, key: str) -> Iterator[Row]:
        return iterate_rows(f"{self.name} {key}", self.get(key))

    def _build_error(self, key: str) -> MalformedPayload:
        return MalformedPayload(f"the exchange sent {self.name} with an unusable {key}")


def build_row(name: str, payload: Json) -> Row:
    if not isinstance(payload, dict):
        raise MalformedPayload(f"the exchange sent {name} that is not an object")
    return Row(name, payload)


def iterate_rows(name: str, payload: Json) -> Iterator[Row]:
    """Every object of a list; an empty answer where a list belongs is malformed, not an empty list."""
    if not isinstance(payload, list):
        raise MalformedPayload(f"the exchange sent {name} that is not a list")
    return (build_row(name, item) for item in payload)


def parse_decimal(name: str, value: Json) -> Decimal:
    """The number exactly, as a JSON number or as text in plain ASCII."""
    text = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise MalformedPayload(f"the exchange sent {name} that is not a number")
    number = Decimal(text)
    parts = number.as_tuple()
    if int(parts.exponent) < -PLACES_MAX or number.adjusted() > PLACES_MAX or len(parts.digits) > DIGITS_MAX:
        raise MalformedPayload(f"the exchange sent {name} that is beyond all measure")
    return number


def clip(text: Json) -> str:
    """A little of what the exchange sent, for a message."""
    return text[:SHOWN_LENGTH_MAX] if isinstance(text, str) and text.isprintable() else "?"
