"""Who else trades on the account with orders like ours, and which of the two must stop opening.

An account has one writer. A journal names itself when it is made; the name (the deployment) is a part of every client order
id and orders by age: six base-36 digits of seconds and three random ones. Names of earlier versions have six random
characters and no age: they are older than all that have one, and among themselves the lesser text is the older.

The rule. An order of another name counts when it was sent after our own journal was made: what lies before that is of
a predecessor whose journal was deleted, and must lock nobody out. The younger of two opens nothing, the older goes on. An
order under our own name whose number our journal has not reached is of a copy of the journal: no copy is older, so each one
that notices stops. Whoever has been silent for an hour is gone. Called by the shell's ``writers``.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from dehedge.core.orders import ID_PREFIX

SILENT_S = 3600.0
"""A daemon that has sent no order for this long no longer counts as trading."""
EPOCH_S = 1_704_067_200
"""2024-01-01: counted from here, six digits last until 2092."""
TIME_LENGTH = 6
SUFFIX_LENGTH = 3
DIGITS = string.digits + string.ascii_lowercase

_ID = re.compile(
    f"{ID_PREFIX}([0-9a-z]{{6}}|[0-9a-z]{{{TIME_LENGTH + SUFFIX_LENGTH}}})-([0-9a-f]{{1,16}})-[0-9a-f]{{10}}"
)


class Seniority(StrEnum):
    """Another daemon's age beside ours; a copy of our journal has none."""

    OLDER = "older"
    YOUNGER = "younger"
    COPY = "copy"


class OrderName(NamedTuple):
    """What a client order id says: whose order it is, and where in that journal it stands."""

    deployment: str
    sequence: int


@dataclass(frozen=True, slots=True)
class OwnJournal:
    """Our side of the rule, times in seconds. Orders of others count from ``counts_from``, of copies from ``started_at``."""

    deployment: str
    last_sequence: int
    counts_from: float
    started_at: float


class OtherWriter(NamedTuple):
    """Another daemon, as its newest order shows it."""

    deployment: str
    seniority: Seniority
    client_order_id: str
    symbol: str
    sent_at: float


def build_deployment(made_at: float, chance: int) -> str:
    """The name of a journal made at that time (seconds); ``chance`` is random and keeps names of one second apart."""
    seconds = min(max(int(made_at) - EPOCH_S, 0), 36**TIME_LENGTH - 1)
    return _encode(seconds, TIME_LENGTH) + _encode(chance, SUFFIX_LENGTH)


def _encode(number: int, length: int) -> str:
    """The last digits of a number, in base 36."""
    return "".join(DIGITS[number // 36**place % 36] for place in reversed(range(length)))


def get_made_at(deployment: str) -> float:
    """When the journal of this name was made, in seconds; 0 for a name that does not tell."""
    if len(deployment) != TIME_LENGTH + SUFFIX_LENGTH:
        return 0.0
    return float(int(deployment[:TIME_LENGTH], 36) + EPOCH_S)


def parse_client_order_id(text: str) -> OrderName | None:
    """None for an id that no daemon gives."""
    match = _ID.fullmatch(text)
    return OrderName(match[1], int(match[2], 16)) if match else None


def check_ours(client_order_id: str, deployment: str) -> bool:
    """True for an id that a journal of this name gives."""
    return client_order_id.startswith(f"{ID_PREFIX}{deployment}-")


def check_older(deployment: str, than: str) -> bool:
    """A total order: of two different names exactly one is the older, whoever asks."""
    return (len(deployment), deployment) < (len(than), than)


def find_other_writer(own: OwnJournal, client_order_id: str, symbol: str, sent_at: float) -> OtherWriter | None:
    """The other daemon that an order on the account tells of, if it does."""
    name = parse_client_order_id(client_order_id)
    if name is None:
        return None
    if name.deployment == own.deployment:
        is_copy = name.sequence > own.last_sequence and sent_at > own.started_at
        seniority = Seniority.COPY if is_copy else None
    elif sent_at > own.counts_from:
        seniority = Seniority.OLDER if check_older(name.deployment, own.deployment) else Seniority.YOUNGER
    else:
        seniority = None
    return OtherWriter(name.deployment, seniority, client_order_id, symbol, sent_at) if seniority is not None else None


def check_silent(writer: OtherWriter, now: float) -> bool:
    """True once the other daemon has sent nothing for so long that it counts as gone."""
    return now - writer.sent_at > SILENT_S
