"""Orders: what we ask of the exchange, what it says of them, and how a fill is shared out.

Rules of this file: an order's state is a table, and reports about it are merged monotonically: the highest filled
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
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    REJECTED = "REJECTED"

    @property
    def is_terminal(self) -> bool:
        return not NEXT_STATUSES[self]


_LIVE = frozenset(OrderStatus)
NEXT_STATUSES: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.NEW: _LIVE - {OrderStatus.NEW},
    OrderStatus.PARTIALLY_FILLED: frozenset({OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED}),
    OrderStatus.FILLED: frozenset(),
    OrderStatus.CANCELED: frozenset(),
    OrderStatus.EXPIRED: frozenset(),
    OrderStatus.REJECTED: frozenset(),
}
"""From each status, the statuses that may follow; a status with none is terminal."""


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
    """One hedge's part of an order: its quantity, and the target and basis that its hedge has once it is filled."""

    key: HedgeKey
    quantity: Decimal
    target: Decimal
    size: int
    entry_price: int
    reason: str


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
    """Merge a report into what is known of the order; any order and any repetition gives the same result."""
    if known is None:
        return report
    assert known.client_order_id == report.client_order_id, "a report of another order"
    first, second = sorted((known, report), key=_progress)
    return replace(
        second,
        filled_quantity=max(first.filled_quantity, second.filled_quantity),
        average_price=_get_price_of_most(first, second),
        venue_order_id=second.venue_order_id or first.venue_order_id,
        reason=second.reason or first.reason,
    )


def _get_price_of_most(first: OrderReport, second: OrderReport) -> Decimal | None:
    """The average price belongs to the quantity it was told with: that of the larger fill, when any report has it."""
    most = max(first.filled_quantity, second.filled_quantity)
    told = [report.average_price for report in (first, second) if report.filled_quantity == most]
    return next((price for price in reversed(told) if price is not None), None)


def _progress(report: OrderReport) -> tuple[bool, Decimal, str, str, str]:
    """A total order on reports, so that merging does not depend on the order of arrival."""
    return (
        report.status.is_terminal,
        report.filled_quantity,
        report.status.value,
        str(report.average_price or ""),
        report.reason,
    )


def allocate(filled: Decimal, shares: Sequence[Share]) -> list[Decimal]:
    """Share a fill out: each hedge in turn gets all it asked for until the fill is spent, so one at most is left partial.

    The result is as long as ``shares``, sums to ``filled``, and stays on the step, for fills and shares are on it.
    """
    parts: list[Decimal] = []
    for share in shares:
        part = min(share.quantity, filled)
        parts.append(part)
        filled -= part
    assert filled == 0, "an order was filled beyond its quantity"
    return parts


def get_leg(hedge_side: Side, *, hedge_mode: bool) -> Leg:
    """The exchange's leg that a hedge of this side lives on."""
    if not hedge_mode:
        return Leg.BOTH
    return Leg.LONG if hedge_side is Side.BUY else Leg.SHORT
