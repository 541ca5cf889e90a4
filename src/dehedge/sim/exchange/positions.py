"""Arithmetic of one position: fills, profit, isolated margin, liquidation price.

Pure functions over frozen positions. Never reads an account or a clock; ``account`` and ``margin`` add these up. Profit
and fees are rounded to 1e-8 where they are booked, so that a wallet is the exact sum of its bookings.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from dehedge.sim.exchange.model import SATOSHI, ZERO, Fill, Position


def book_amount(amount: Decimal) -> Decimal:
    """Round an amount to the grid on which money is booked."""
    return amount.quantize(SATOSHI, ROUND_HALF_EVEN)


class Split(NamedTuple):
    """How a signed trade divides into the part that closes and the part that opens; both signed like the trade."""

    closed: Decimal
    opened: Decimal


def split_trade(amount: Decimal, signed_quantity: Decimal) -> Split:
    if amount * signed_quantity >= ZERO:
        return Split(ZERO, signed_quantity)
    if abs(signed_quantity) <= abs(amount):
        return Split(signed_quantity, ZERO)
    return Split(-amount, signed_quantity + amount)


def compute_realized(position: Position, signed_quantity: Decimal, price: Decimal) -> Decimal:
    """Profit of the closing part of a trade, on the booking grid."""
    closed = split_trade(position.amount, signed_quantity).closed
    return book_amount(-closed * (price - position.entry_price))


def apply_fill(position: Position, fill: Fill, leverage: int | None) -> Position:
    """The position after a fill; ``leverage`` is given when it is isolated, and then moves margin with it."""
    split = split_trade(position.amount, fill.signed_quantity)
    amount = position.amount + fill.signed_quantity
    isolated = ZERO if leverage is None else compute_isolated_wallet(position, split, fill.price / leverage)
    return replace(
        position,
        amount=amount,
        entry_price=compute_entry(position, split, fill.price),
        isolated_wallet=isolated if amount else ZERO,
        realized=position.realized + fill.realized,
        open_fees=compute_open_fees(position, split, fill.commission),
        updated_ms=fill.at_ms,
    )


def compute_entry(position: Position, split: Split, price: Decimal) -> Decimal:
    kept = position.amount + split.closed
    amount = kept + split.opened
    if not amount:
        return ZERO
    return (kept * position.entry_price + split.opened * price) / amount if split.opened else position.entry_price


def compute_isolated_wallet(position: Position, split: Split, margin_price: Decimal) -> Decimal:
    """Margin kept with an isolated position: released in proportion, added at the price paid over the leverage."""
    kept = position.isolated_wallet
    if split.closed:
        kept -= position.isolated_wallet * abs(split.closed / position.amount)
    return book_amount(kept + abs(split.opened) * margin_price)


def compute_open_fees(position: Position, split: Split, commission: Decimal) -> Decimal:
    if position.amount + split.closed + split.opened == ZERO:
        return ZERO
    return commission if split.closed and split.opened else position.open_fees + commission


def compute_break_even(position: Position) -> Decimal:
    """The price at which the position pays back its commissions."""
    return ZERO if position.is_flat else position.entry_price + position.open_fees / position.amount


def compute_unrealized(position: Position, mark: Decimal) -> Decimal:
    return position.amount * (mark - position.entry_price)


def compute_liquidation_price(position: Position, cushion: Decimal, ratio: Decimal) -> Decimal:
    """Where the margin is used up: ``cushion`` is the margin besides this position's profit, plus its deduction."""
    if position.is_flat:
        return ZERO
    denominator = abs(position.amount) * ratio - position.amount
    price = (cushion - position.amount * position.entry_price) / denominator if denominator else ZERO
    return max(price, ZERO)
