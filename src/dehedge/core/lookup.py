"""Which position a person means: by its whole id, by its trader's address, or by the beginning of that, or by both its ends,
as narrow tables show it.

Pure; called by the operator's views. What is not there, or could be several, is one line that says what to type instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from dehedge.core.model import HedgeKey, Position
from dehedge.errors import QuestionInvalid

SHOWN_MAX = 3
"""Positions that are named where several begin alike."""
SEEN_MAX = 1_000
TEXT_LENGTH_MAX = 100

_ID = re.compile(r"0x(?P<digits>[0-9a-f]{1,40})(?:…(?P<end>[0-9a-f]{1,40}))?(?:\|(?P<asset>[0-9a-fx]*))?")


@runtime_checkable
class Searchable(Protocol):
    """Positions that need not be walked to be found by their trader."""

    def find_by_user(self, market: str, digits: str, count: int) -> list[HedgeKey]: ...


def check_market(market: str, known: Iterable[str]) -> None:
    """Raises ``QuestionInvalid`` for a market that is not among these."""
    names = sorted(set(known))
    if market not in names:
        raise QuestionInvalid(f"market {show(market)} is not known; known are: {', '.join(names) or 'none yet'}")


def find_key(
    positions: Mapping[HedgeKey, Position], hedged: Iterable[HedgeKey], market: str, position_id: str
) -> HedgeKey:
    """The one position, or hedge without a position, of this market. Raises ``QuestionInvalid`` unless it is one."""
    exact = HedgeKey(market, position_id)
    keys = [key for key in hedged if key.market == market]
    if exact in positions or exact in keys:
        return exact
    match = _ID.fullmatch(position_id.strip().lower())
    if match is None:
        raise QuestionInvalid(
            f"{show(position_id)} is no position: give the trader's address, or its beginning with 0x"
        )
    found = dict.fromkeys([*_find_by_user(positions, market, match), *keys])
    named = [key for key in found if _check_named(key, match)]
    if len(named) == 1:
        return named[0]
    if not named:
        raise QuestionInvalid(
            f"no position or hedge in {market} begins with {show(position_id)}; `dehedge trips` names some"
        )
    shown = ", ".join(key.position_id for key in named[:SHOWN_MAX])
    more = ", ..." if len(named) > SHOWN_MAX else ""
    raise QuestionInvalid(
        f"several positions in {market} begin with {show(position_id)}: {shown}{more}; give more of one"
    )


def show(text: str) -> str:
    """Foreign text as a part of one line."""
    line = "".join(sign if sign.isprintable() else "?" for sign in text)
    return f"'{line}'" if len(line) <= TEXT_LENGTH_MAX else f"'{line[:TEXT_LENGTH_MAX]}...'"


def _find_by_user(positions: Mapping[HedgeKey, Position], market: str, match: re.Match[str]) -> Iterable[HedgeKey]:
    if isinstance(positions, Searchable):
        is_beginning = match["end"] is None and match["asset"] is None
        return positions.find_by_user(market, match["digits"], SHOWN_MAX + 1 if is_beginning else SEEN_MAX)
    return (key for key in positions if key.market == market)


def _check_named(key: HedgeKey, match: re.Match[str]) -> bool:
    user, _, of = key.position_id.lower().partition("|")
    is_user = user.startswith(f"0x{match['digits']}") and user.endswith(match["end"] or "")
    return is_user and of.startswith(match["asset"] or "")
