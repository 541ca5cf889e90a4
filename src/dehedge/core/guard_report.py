"""What the guards have to show: of each limit that is set, how much is used now, and which one a ``Hold`` speaks of.

For the status and the log; decides nothing. Pure; called by the engine's ``guards``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from dehedge.core.decisions import Decision, Hold, Reason
from dehedge.core.guards import (
    ACCOUNT_AGE_MAX_S,
    GuardInputs,
    GuardLimits,
    check_account_known,
    get_divergence_bps,
    get_fees_usd,
    get_free_margin,
    get_notionals,
)

ALL = "all"
"""The scope of a limit that holds for all symbols together."""

GUARDS: Mapping[Reason, str] = {
    Reason.ORDER_NOTIONAL_LIMIT: "MAX_ORDER_NOTIONAL_USD",
    Reason.MARKET_NOTIONAL_LIMIT: "MAX_MARKET_NOTIONAL_USD",
    Reason.TOTAL_NOTIONAL_LIMIT: "MAX_TOTAL_NOTIONAL_USD",
    Reason.ORDER_RATE_LIMIT: "MAX_ORDERS_PER_MINUTE",
    Reason.PRICE_DIVERGED: "MAX_DIVERGENCE_BPS",
    Reason.FREE_MARGIN_LOW: "MIN_FREE_MARGIN_USD",
    Reason.LIQUIDATION_NEAR: "MIN_LIQUIDATION_DISTANCE_BPS",
    Reason.ACCOUNT_UNKNOWN: "MIN_FREE_MARGIN_USD, MIN_LIQUIDATION_DISTANCE_BPS",
    Reason.FEE_LIMIT: "MAX_FEES_USD_PER_HOUR",
    Reason.OPENS_LIMIT: "MAX_OPENS_PER_HOUR",
    Reason.FORCED_LIMIT: "MAX_FORCED_PER_HOUR",
}
"""Every guard, and the variable that sets it."""

OF_A_SYMBOL = frozenset(
    {Reason.MARKET_NOTIONAL_LIMIT, Reason.PRICE_DIVERGED, Reason.LIQUIDATION_NEAR, Reason.FORCED_LIMIT}
)
"""The guards that hold one symbol and leave the others alone."""

Place = tuple[Reason, str]
"""A guard and its scope: a symbol, or ``ALL``."""


class GuardUse(NamedTuple):
    """How much of one limit is used; None where that is unknown or means nothing.

    Of a guard with MIN in its name, ``used`` is what is there. Of an unknown account it is the age of the last reading in
    seconds.
    """

    guard: Reason
    scope: str
    used: Decimal | None
    limit: Decimal


def count_held(decisions: Iterable[Decision], symbols: Mapping[str, str]) -> Counter[Place]:
    """How many positions each guard holds. ``symbols`` maps markets to symbols."""
    held: Counter[Place] = Counter()
    for decision in decisions:
        if isinstance(decision, Hold) and decision.reason in GUARDS:
            market = decision.key.market
            scope = symbols.get(market, market) if decision.reason in OF_A_SYMBOL else ALL
            held[decision.reason, scope] += 1
    return held


def measure_guards(inputs: GuardInputs, limits: GuardLimits, symbols: Mapping[str, str]) -> list[GuardUse]:
    """Every limit that is set, and what is used of it."""
    found = [*_measure_shared(inputs, limits), *_measure_counts(inputs, limits)]
    for symbol in sorted(set(symbols.values())):
        markets = [market for market, name in symbols.items() if name == symbol]
        found += _measure_symbol(inputs, limits, symbol, markets)
    return found


def _measure_shared(inputs: GuardInputs, limits: GuardLimits) -> Iterator[GuardUse]:
    """The limits in USD that hold for all symbols together."""
    if limits.order_notional_usd is not None:
        yield GuardUse(Reason.ORDER_NOTIONAL_LIMIT, ALL, None, limits.order_notional_usd)
    if limits.total_notional_usd is not None:
        used = sum(get_notionals(inputs).values(), Decimal(0))
        yield GuardUse(Reason.TOTAL_NOTIONAL_LIMIT, ALL, used, limits.total_notional_usd)
    if limits.fees_usd_per_hour is not None:
        yield GuardUse(Reason.FEE_LIMIT, ALL, get_fees_usd(inputs, limits), limits.fees_usd_per_hour)
    if limits.free_margin_usd is not None:
        assets = {
            rules.margin_asset for symbol, rules in inputs.venue.rules.items() if symbol in inputs.observation.marks
        }
        free = min((get_free_margin(inputs, limits, asset) for asset in assets), default=None)
        known = free if check_account_known(inputs) else None
        yield GuardUse(Reason.FREE_MARGIN_LOW, ALL, known, limits.free_margin_usd)
    if limits.needs_account:
        read_at = inputs.account.read_at if inputs.account is not None else None
        age_s = Decimal(round(inputs.observation.taken_at - read_at)) if read_at is not None else None
        yield GuardUse(Reason.ACCOUNT_UNKNOWN, ALL, age_s, Decimal(ACCOUNT_AGE_MAX_S))


def _measure_counts(inputs: GuardInputs, limits: GuardLimits) -> Iterator[GuardUse]:
    """The limits that count; of opens, those of the position with the most."""
    orders = inputs.usage.get_orders_per_minute(inputs.observation.taken_at)
    yield GuardUse(Reason.ORDER_RATE_LIMIT, ALL, Decimal(orders), Decimal(limits.orders_per_minute))
    opens = max(inputs.usage.opens.totals.values(), default=Decimal(0))
    yield GuardUse(Reason.OPENS_LIMIT, ALL, opens, Decimal(limits.opens_per_hour))


def _measure_symbol(
    inputs: GuardInputs, limits: GuardLimits, symbol: str, markets: Iterable[str]
) -> Iterator[GuardUse]:
    if limits.market_notional_usd is not None:
        used = get_notionals(inputs).get(symbol, Decimal(0))
        yield GuardUse(Reason.MARKET_NOTIONAL_LIMIT, symbol, used, limits.market_notional_usd)
    divergence = _measure_divergence(inputs, symbol, markets)
    yield GuardUse(Reason.PRICE_DIVERGED, symbol, divergence, Decimal(limits.divergence_bps))
    if limits.liquidation_distance_bps is not None:
        distance = _measure_distance(inputs, symbol)
        yield GuardUse(Reason.LIQUIDATION_NEAR, symbol, distance, Decimal(limits.liquidation_distance_bps))
    yield GuardUse(Reason.FORCED_LIMIT, symbol, inputs.usage.forced.get(symbol), Decimal(limits.forced_per_hour))


def _measure_divergence(inputs: GuardInputs, symbol: str, markets: Iterable[str]) -> Decimal | None:
    observation = inputs.observation
    if not observation.marks.get(symbol):
        return None
    known = (market for market in markets if market in observation.prices)
    largest = max((get_divergence_bps(observation, market, symbol) for market in known), default=None)
    return _round(largest) if largest is not None else None


def _measure_distance(inputs: GuardInputs, symbol: str) -> Decimal | None:
    mark, account = inputs.observation.marks.get(symbol), inputs.account
    if not mark or account is None:
        return None
    held = [found for (name, _), found in account.liquidations.items() if name == symbol]
    return min((found.get_distance_bps(mark) for found in held), default=None)


def _round(bps: Fraction) -> Decimal:
    """To a tenth of a basis point, for display."""
    return Decimal(round(bps * 10)) / 10
