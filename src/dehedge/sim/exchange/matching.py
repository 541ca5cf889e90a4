"""What happens to an accepted order at once: taken, resting, or expired.

Pure: reads one market and gives a plan, which the ledger carries out. Never touches the account, so that margin and
matching stay two questions.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from dehedge.sim.exchange.market import Level, Market
from dehedge.sim.exchange.model import EXPIRED_IOC, EXPIRED_MARKET, EXPIRED_NONE, ZERO, Ask
from dehedge.sim.exchange.refusals import Refused


class Plan(NamedTuple):
    """The trades of an order on arrival, and why its rest expires; with reason 0 the rest stays in the book."""

    levels: tuple[Level, ...]
    expiry_reason: int


def plan_market(market: Market, ask: Ask, quantity: Decimal) -> Plan:
    best = market.get_levels(ask.side, 1)[0]
    if not market.check_within(ask.side, best.price, None):
        raise Refused(-4131)
    return Plan(tuple(market.take(ask.side, quantity, None)), EXPIRED_MARKET)


def plan_limit(market: Market, ask: Ask, quantity: Decimal) -> Plan:
    if ask.time_in_force == "GTX" and market.check_crosses(ask.side, ask.price):
        raise Refused(-5022)
    levels = tuple(market.take(ask.side, quantity, ask.price))
    if ask.time_in_force == "FOK" and sum((level.quantity for level in levels), ZERO) < quantity:
        raise Refused(-5021)
    return Plan(levels, EXPIRED_IOC if ask.time_in_force == "IOC" else EXPIRED_NONE)


def plan_execution(market: Market, ask: Ask, quantity: Decimal, fill_ratio: Decimal | None) -> Plan:
    """Plan an order's arrival; ``fill_ratio`` leaves only that part of the quantity to be had."""
    plan = (plan_market if ask.order_type == "MARKET" else plan_limit)(market, ask, quantity)
    if fill_ratio is None:
        return plan
    return Plan(cut_levels(plan.levels, market.rules.floor_quantity(quantity * fill_ratio)), plan.expiry_reason)


def cut_levels(levels: tuple[Level, ...], quantity: Decimal) -> tuple[Level, ...]:
    """The first so many units of what was taken."""
    kept: list[Level] = []
    for level in levels:
        size = min(level.quantity, quantity)
        if size > ZERO:
            kept.append(Level(level.price, size))
            quantity -= size
    return tuple(kept)
