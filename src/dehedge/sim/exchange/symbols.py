"""The contracts on offer: filters, precision and leverage tiers of each symbol.

Frozen data only, in the shape of the live exchange of September 2026. Never holds a price or a status: those move and
live in ``market``. The ledger checks orders against these rules, ``payloads`` shows them as exchangeInfo.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal
from typing import NamedTuple


class Bracket(NamedTuple):
    """A leverage tier: notional in USDT from ``floor`` to ``cap``, with its maintenance ratio and deduction."""

    leverage_max: int
    floor: Decimal
    cap: Decimal
    maintenance_ratio: Decimal
    deduction: Decimal


@dataclass(frozen=True, slots=True)
class SymbolRules:
    """What exchangeInfo and leverageBracket say of one perpetual."""

    symbol: str
    base_asset: str
    price_precision: int
    quantity_precision: int
    tick: Decimal
    price_min: Decimal
    price_max: Decimal
    step: Decimal
    quantity_min: Decimal
    quantity_max: Decimal
    market_quantity_max: Decimal
    notional_min: Decimal
    brackets: tuple[Bracket, ...]
    percent_up: Decimal = Decimal("1.0500")
    percent_down: Decimal = Decimal("0.9500")
    market_take_bound: Decimal = Decimal("0.05")
    liquidation_fee: Decimal = Decimal("0.012500")
    orders_max: int = 200
    onboard_ms: int = 1569398400000

    def floor_quantity(self, quantity: Decimal) -> Decimal:
        return (quantity / self.step).to_integral_value(ROUND_DOWN) * self.step

    def round_price(self, price: Decimal, *, up: bool) -> Decimal:
        """Round to the tick, away from the taker's favor when ``up`` is chosen by its side."""
        return (price / self.tick).to_integral_value(ROUND_UP if up else ROUND_DOWN) * self.tick

    def nearest_price(self, price: Decimal) -> Decimal:
        return (price / self.tick).to_integral_value(ROUND_HALF_UP) * self.tick

    def get_bracket(self, notional: Decimal) -> Bracket:
        return next((b for b in self.brackets if notional <= b.cap), self.brackets[-1])

    def get_notional_max(self, leverage: int) -> Decimal:
        """Largest position in USDT that may be held at a leverage."""
        return max((b.cap for b in self.brackets if b.leverage_max >= leverage), default=Decimal(0))


def build_brackets(*tiers: tuple[int, str, str]) -> tuple[Bracket, ...]:
    """Build tiers from (leverage, cap, ratio); the deduction keeps the maintenance margin continuous."""
    brackets: list[Bracket] = []
    floor, ratio_before, deduction = Decimal(0), Decimal(0), Decimal(0)
    for leverage, cap, ratio in tiers:
        if brackets:
            deduction += floor * (Decimal(ratio) - ratio_before)
        brackets.append(Bracket(leverage, floor, Decimal(cap), Decimal(ratio), deduction))
        floor, ratio_before = Decimal(cap), Decimal(ratio)
    return tuple(brackets)


_MAJOR_TIERS = (
    (150, "300000", "0.004"),
    (100, "800000", "0.005"),
    (75, "3000000", "0.0065"),
    (50, "12000000", "0.01"),
)

BTCUSDT = SymbolRules(
    symbol="BTCUSDT",
    base_asset="BTC",
    price_precision=2,
    quantity_precision=3,
    tick=Decimal("0.10"),
    price_min=Decimal("556.80"),
    price_max=Decimal(4529764),
    step=Decimal("0.001"),
    quantity_min=Decimal("0.001"),
    quantity_max=Decimal(1000),
    market_quantity_max=Decimal(120),
    notional_min=Decimal(50),
    brackets=build_brackets(
        *_MAJOR_TIERS,
        (25, "70000000", "0.02"),
        (20, "100000000", "0.025"),
        (10, "230000000", "0.05"),
        (5, "480000000", "0.1"),
        (4, "600000000", "0.125"),
        (3, "800000000", "0.15"),
        (2, "1200000000", "0.25"),
        (1, "1800000000", "0.5"),
    ),
)

ETHUSDT = SymbolRules(
    symbol="ETHUSDT",
    base_asset="ETH",
    price_precision=2,
    quantity_precision=3,
    tick=Decimal("0.01"),
    price_min=Decimal("39.86"),
    price_max=Decimal(306177),
    step=Decimal("0.001"),
    quantity_min=Decimal("0.001"),
    quantity_max=Decimal(10000),
    market_quantity_max=Decimal(2000),
    notional_min=Decimal(20),
    brackets=build_brackets(
        *_MAJOR_TIERS,
        (25, "50000000", "0.02"),
        (20, "65000000", "0.025"),
        (10, "150000000", "0.05"),
        (5, "320000000", "0.1"),
        (4, "400000000", "0.125"),
        (3, "530000000", "0.15"),
        (2, "800000000", "0.25"),
        (1, "1200000000", "0.5"),
    ),
)

SOLUSDT = SymbolRules(
    symbol="SOLUSDT",
    base_asset="SOL",
    price_precision=4,
    quantity_precision=2,
    tick=Decimal("0.0100"),
    price_min=Decimal("0.4200"),
    price_max=Decimal(6857),
    step=Decimal("0.01"),
    quantity_min=Decimal("0.01"),
    quantity_max=Decimal(1000000),
    market_quantity_max=Decimal(80000),
    notional_min=Decimal(5),
    brackets=build_brackets(
        (100, "50000", "0.005"),
        (75, "400000", "0.0065"),
        (50, "1000000", "0.01"),
        (25, "4000000", "0.02"),
        (20, "8000000", "0.025"),
        (10, "40000000", "0.05"),
        (5, "80000000", "0.1"),
        (4, "100000000", "0.125"),
        (2, "200000000", "0.25"),
        (1, "400000000", "0.5"),
    ),
)

DEFAULT_MARKS: dict[SymbolRules, Decimal] = {
    BTCUSDT: Decimal(60000),
    ETHUSDT: Decimal(3000),
    SOLUSDT: Decimal(150),
}
"""The default symbols with the mark price that each starts at."""
