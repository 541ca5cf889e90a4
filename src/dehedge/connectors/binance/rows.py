"""One JSON object of the exchange, read field by field.

Owns the step from untrusted JSON to exact types: whatever is missing or of the wrong kind raises ``MalformedPayload``,
so that no ``KeyError`` or ``InvalidOperation`` leaves the parsers. Never guesses a value. Called by ``payloads`` and
``events`` only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, TypeVar

from dehedge.errors import VenueUnavailable

Json = Any
"""Decoded JSON as it arrived; only this package's parsers look into it."""

Choice = TypeVar("Choice", bound=StrEnum)


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
        if isinstance(value, str):
            return value
        raise self._build_error(key)

    def get_decimal(self, key: str) -> Decimal:
        value = self.get(key)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return parse_decimal(f"{self.name} {key}", value)
        raise self._build_error(key)

    def get_integer(self, key: str) -> int:
        value = self.get_decimal(key)
        if value != value.to_integral_value():
            raise self._build_error(key)
        return int(value)

    def get_seconds(self, key: str) -> float:
        """A time in milliseconds since the epoch, as seconds."""
        return self.get_integer(key) / 1000

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


def parse_decimal(name: str, value: str | float) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise MalformedPayload(f"the exchange sent {name} that is not a number")
    return number
