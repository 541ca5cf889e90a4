"""The tables of ``docs/configuration.md``: what the settings say of each variable, beside what the page says it is for.

Default and what is accepted are the settings' own; the last column is written by hand and kept. ``python -m
tests.configuration_page`` brings the page up to date, and a test fails while it is not.
"""

from __future__ import annotations

import re
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from dehedge.config import Settings
from dehedge.environment import SECRETS

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
ROW = re.compile(r"^\| `([A-Z_]+)` \|.*\| ([^|]*) \|$", re.MULTILINE)
"""A row of a variable: its name, and what it is for."""


def render_page(text: str) -> str:
    """The page with the columns of each row as the settings are."""
    return ROW.sub(lambda row: _render_row(row[1], row[2]), text)


def list_rows(text: str) -> dict[str, str]:
    """What each variable is for, by its name, in the page's order."""
    return dict(ROW.findall(text))


def _render_row(name: str, purpose: str) -> str:
    field = Settings.model_fields[name.lower()]
    return f"| `{name}` | {_describe_default(field)} | {_describe_accepted(name, field)} | {purpose} |"


def _describe_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "none" if field.default is None else f"`{_write(field.default)}`"


def _describe_accepted(name: str, field: FieldInfo) -> str:
    return f"{field.description}; or `{name}_FILE`" if name in SECRETS else str(field.description)


def _write(value: Any) -> str:
    """As it would stand in ``.env``."""
    assert not isinstance(value, SecretStr), "no secret has a default"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return str(value.value)
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(render_page(text), encoding="utf-8")


if __name__ == "__main__":
    main()
