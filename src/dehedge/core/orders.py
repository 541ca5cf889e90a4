"""Orders: what we ask of the exchange, what it says of them, and how a fill is shared out.

Rules of this file: reports of an order are merged part by part, and of each part the greatest is kept: the highest filled
quantity wins and a terminal status is never left, so that late, repeated and reordered reports change nothing. The
client order id is a pure function of its inputs: it lets us ask what became of an order, and never makes a re-send safe.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, NewType

from dehedge.core.model import HedgeKey, Leg, Side

ClientOrderId = NewType("ClientOrderId", str)

ID_PREFIX = "dh-"
"""Begins every client order id of ours; an order without it is somebody else's."""

FORCED_PREFIXES = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
"""Client order ids of the exchange's own orders: liquidation, auto-deleveraging, settlement of a delisted symbol."""


class OrderStatus(StrEnum):
    """In the order in which one replaces another: of two that were told, the later one counts. The last four are final."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    CANCELED = "CANCELED"
    FILLED = "FILLED"

    @property
    def rank(self) -> int:
        return list(OrderStatus).index(self)

    @property
    def is_terminal(self) -> bool:
        return self not in (OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED)


class Action(StrEnum):
    """What an order does to the hedges that share it."""

    INCREASE = "increase"
    REDUCE = "reduce"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A market order as it goes out. ``quantity`` is on the step; ``reduce_only`` only in one-way mode."""

    client_order_id: ClientOrderId
    symbol: str
    side: Side
    leg: Leg
    quantity: Decimal
    reduce_only: bool


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What the exchange says of an order. ``filled_quantity`` is cumulative; ``average_price`` is None when unknown."""

    client_order_id: ClientOrderId
    status: OrderStatus
    filled_quantity: Decimal
    average_price: Decimal | None = None
    venue_order_id: str = ""
    reason: str = ""


class Share(NamedTuple):
    """One hedge's part of an order: its quantity, and the target and basis that its hedge has once it is filled.

    ``price`` is the market's that it was decided at, for the accounts only; None where none was fresh.
    """

    key: HedgeKey
    quantity: Decimal
    target: Decimal
    size: int
    entry_price: int
    reason: str
    price: Decimal | None = None


def client_order_id(deployment: str, action: Action, shares: Sequence[Share], sequence: int) -> ClientOrderId:
    """At most 36 characters of ``[A-Za-z0-9_-]``: prefix, deployment, journal sequence, digest of what is ordered.

    The sequence numbers the intents of one journal, so no id is used twice; the digest keeps ids apart even when a
    journal is restored from a copy. A deployment of nine characters leaves twelve hex digits for the sequence.
    """
    text = "\n".join(f"{share.key}={share.quantity}" for share in shares)
    digest = hashlib.sha256(f"{deployment}\n{action}\n{sequence}\n{text}".encode()).hexdigest()[:10]
    return ClientOrderId(f"{ID_PREFIX}{deployment}-{sequence:x}-{digest}")


def check_sequence(order_id: ClientOrderId, sequence: int) -> bool:
    """True when the id was made for that entry of the journal; no two entries share a number, so no two orders an id."""
    return order_id.split("-")[2:3] == [f"{sequence:x}"]


def apply_report(known: OrderReport | None, report: OrderReport) -> OrderReport:
    """Merge a report into what is known of the order; any order and any repetition gives the same result.

    It does because each part is the greatest that was told, by a total order. The price goes with the quantity that it was
    told with, the reason with the status.
    """
    if known is None:
        return report
    assert known.client_order_id == report.client_order_id, "a report of another order"
    told = (known, report)
    last = max(told, key=lambda one: (one.status.rank, one.reason))
    most = max(told, key=lambda one: (one.filled_quantity, one.average_price or 0))
    venue_order_id = max(known.venue_order_id, report.venue_order_id)
    return replace(most, status=last.status, reason=last.reason, venue_order_id=venue_order_id)


def allocate(filled: Decimal, shares: Sequence[Share]) -> list[tuple[Share, Decimal]]:
    """Share a fill out: each hedge in turn gets all it asked for until the fill is spent, so one at most is left partial.

    The parts sum to ``filled``, and stay on the step, for fills and shares are on it.
    """
    parts: list[tuple[Share, Decimal]] = []
    for share in shares:
        part = min(share.quantity, filled)
        parts.append((share, part))
        filled -= part
    assert not filled, "an order was filled beyond its quantity"
    return parts


def get_leg(hedge_side: Side, *, hedge_mode: bool) -> Leg:
    """The exchange's leg that a hedge of this side lives on."""
    if not hedge_mode:
        return Leg.BOTH
    return Leg.LONG if hedge_side is Side.BUY else Leg.SHORT
