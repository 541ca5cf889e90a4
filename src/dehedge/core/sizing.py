"""From a position to an order quantity that the exchange accepts.

Exact throughout: quantities are floored to the step, so a hedge is never larger than the position asks for. The two
ways of sizing are the operator's choice (``HEDGE_SIZING``).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from math import ceil

from dehedge.core.model import PRICE_SCALE, Position, TradingRules


class Sizing(StrEnum):
    """DELTA: the trader's own quantity, size / entry price, so the hedge earns what the vault loses.
    NOTIONAL: size / mark price, the trader's dollars."""

    DELTA = "delta"
    NOTIONAL = "notional"


def floor_to_step(quantity: Fraction | Decimal, step: Decimal) -> Decimal:
    """The largest multiple of the step that is not above the quantity."""
    return _floor_ratio(*quantity.as_integer_ratio(), step)


def _floor_ratio(numerator: int, denominator: int, step: Decimal) -> Decimal:
    """The same of a ratio, of which a crash takes thousands: it need not be in its lowest terms."""
    step_numerator, step_denominator = step.as_integer_ratio()
    return numerator * step_denominator // (denominator * step_numerator) * step


def get_target_quantity(
    position: Position, mark: Decimal, sizing: Sizing, *, asset_unit: int, step: Decimal
) -> Decimal:
    """The hedge that the position asks for, in the base coin, on the step. ``asset_unit`` is 1e6 for USDC."""
    price, scale = (position.entry_price, PRICE_SCALE) if sizing is Sizing.DELTA else mark.as_integer_ratio()
    if price <= 0:
        return Decimal(0)
    return _floor_ratio(position.size * scale, asset_unit * price, step)


def get_order_max(rules: TradingRules) -> Decimal:
    """The largest quantity of one order, on the step."""
    return floor_to_step(rules.quantity_max, rules.quantity_step)


def check_large_enough(quantity: Decimal, mark: Decimal, rules: TradingRules) -> bool:
    """True when the exchange takes an order that adds this quantity."""
    return quantity >= rules.quantity_min and quantity * mark >= rules.notional_min


def get_size_min(collateral_min_usd: Decimal, leverage: int, asset_unit: int) -> int:
    """The size of the smallest position whose hedge binds that much margin, which is size / leverage; in base units."""
    return ceil(Fraction(collateral_min_usd) * leverage * asset_unit)
