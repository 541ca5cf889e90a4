"""What orders cost and what funding was paid, as journaled facts, and how a sum is shared out exactly.

Nothing here changes a hedge: the accounts alone are made of it. Amounts are kept with the asset they were booked in, for an
exchange may take its fee in a coin of its own. Made by the bookkeeper; read by the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import NamedTuple

from dehedge.core.orders import ClientOrderId

SHARE_PLACES = Decimal("1e-10")
"""Shares of a sum are multiples of this, but for one that takes the rest."""


class Fee(NamedTuple):
    """What an order cost in one asset; above 0 is paid."""

    asset: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class OrderPriced:
    """What a filled order came to, by the exchange's list of trades.

    ``client_order_id`` is empty for an order of the exchange's own, which ``venue_order_id`` names. ``quantity`` is what
    those trades add up to. Journals of earlier versions have the price alone.
    """

    client_order_id: ClientOrderId
    average_price: Decimal
    venue_order_id: str = ""
    quantity: Decimal | None = None
    fees: tuple[Fee, ...] | None = None
    realized_profit: Decimal | None = None


@dataclass(frozen=True, slots=True)
class FundingPaid:
    """The exchange booked funding for all that the account holds in a symbol; below 0 it was paid.

    ``paid_at`` is the exchange's time, and ``venue_id`` its number of the booking.
    """

    symbol: str
    amount: Decimal
    asset: str
    paid_at: float
    venue_id: str


def split_amount(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Share an amount out by weights, of either sign, whose sum is not 0; the parts sum to it exactly."""
    total = sum(weights, Decimal(0))
    parts: list[Decimal] = []
    reached, given = Decimal(0), Decimal(0)
    for weight in weights[:-1]:
        reached += weight
        part = (amount * reached / total).quantize(SHARE_PLACES, ROUND_DOWN) - given
        given += part
        parts.append(part)
    return [*parts, amount - given] if weights else []
