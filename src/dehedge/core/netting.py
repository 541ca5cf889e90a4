"""A net position on an account: what a fill makes of it, and what it realizes.

As the exchange keeps it in one-way mode: growing averages the entry price, closing realizes against it. Pure arithmetic of
the paper account and of the virtual exchange of a replay; knows neither prices nor rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Holding:
    """A net position: signed quantity and average entry price."""

    quantity: Decimal = Decimal(0)
    entry_price: Decimal = Decimal(0)


def apply_fill(holding: Holding, signed_quantity: Decimal, price: Decimal) -> tuple[Holding, Decimal]:
    """The position after a fill, and the profit that its closing part realized."""
    total = holding.quantity + signed_quantity
    is_growing = holding.quantity * signed_quantity >= 0
    if is_growing:
        cost = holding.quantity * holding.entry_price + signed_quantity * price
        return Holding(total, cost / total), Decimal(0)
    closed = min(abs(signed_quantity), abs(holding.quantity))
    profit = closed * (price - holding.entry_price) * (1 if holding.quantity > 0 else -1)
    if not total:
        return Holding(), profit
    is_flipped = total * holding.quantity < 0
    return Holding(total, price if is_flipped else holding.entry_price), profit
