"""The account: wallet, positions, modes and per-symbol settings, and the booking of money.

The only place where the wallet changes, and every change leaves an ``Income``: the wallet is at all times the opening
balance plus the sum of its incomes. Knows no orders and no prices. The ledger books fills here; funding, liquidation and
settlement book here too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Literal

from dehedge.sim.exchange.model import ZERO, Fill, Income, Leg, Position
from dehedge.sim.exchange.positions import apply_fill, book_amount

Permission = Literal["ALL", "REDUCE_ONLY", "NONE"]
Key = tuple[str, Leg]


@dataclass(slots=True)
class SymbolSettings:
    """What the account has chosen for one symbol."""

    leverage: int = 20
    isolated: bool = False


@dataclass(slots=True)
class Account:
    """One futures account, USDT-margined. Fee rates are fractions."""

    opening_balance: Decimal = Decimal(100000)
    maker_rate: Decimal = Decimal("0.000200")
    taker_rate: Decimal = Decimal("0.000500")
    dual_side: bool = False
    multi_assets: bool = False
    permission: Permission = "ALL"
    wallet: Decimal = ZERO
    settings: dict[str, SymbolSettings] = field(default_factory=dict)
    positions: dict[Key, Position] = field(default_factory=dict)
    incomes: list[Income] = field(default_factory=list)
    tran_id: int = 9_689_322_000

    def __post_init__(self) -> None:
        self.wallet = self.opening_balance

    @property
    def legs(self) -> tuple[Leg, ...]:
        return ("LONG", "SHORT") if self.dual_side else ("BOTH",)

    @property
    def cross_wallet(self) -> Decimal:
        return self.wallet - sum((p.isolated_wallet for p in self.positions.values()), ZERO)

    def get_settings(self, symbol: str) -> SymbolSettings:
        return self.settings.setdefault(symbol, SymbolSettings())

    def get_position(self, symbol: str, leg: Leg) -> Position:
        return self.positions.get((symbol, leg)) or Position(symbol, leg)

    def get_symbol_positions(self, symbol: str) -> list[Position]:
        """The legs of a symbol under the present position mode, flat ones too."""
        return [self.get_position(symbol, leg) for leg in self.legs]

    def get_open_positions(self) -> list[Position]:
        return [p for p in self.positions.values() if not p.is_flat]

    def get_net(self, symbol: str) -> Decimal:
        return sum((p.amount for p in self.positions.values() if p.symbol == symbol), ZERO)

    def book(self, income: Income) -> None:
        """Change the wallet; nothing is booked for zero."""
        if not income.amount:
            return
        self.tran_id += 1
        self.wallet += income.amount
        self.incomes.append(income._replace(tran_id=self.tran_id))

    def apply_fill(self, fill: Fill) -> Position:
        """Book a fill's profit and commission, and move its position."""
        self.book(Income(fill.symbol, "REALIZED_PNL", fill.realized, fill.at_ms, fill.trade_id))
        self.book(Income(fill.symbol, "COMMISSION", -fill.commission, fill.at_ms, fill.trade_id))
        settings = self.get_settings(fill.symbol)
        before = self.get_position(fill.symbol, fill.leg)
        after = apply_fill(before, fill, settings.leverage if settings.isolated else None)
        self.positions[(fill.symbol, fill.leg)] = after
        return after

    def apply_funding(self, position: Position, payment: Decimal, at_ms: int) -> Position:
        """Pay (negative) or receive funding, out of the isolated margin where there is one."""
        amount = book_amount(payment)
        self.book(Income(position.symbol, "FUNDING_FEE", amount, at_ms))
        isolated = self.get_settings(position.symbol).isolated
        wallet = position.isolated_wallet + amount if isolated else position.isolated_wallet
        after = replace(position, isolated_wallet=wallet)
        self.positions[(position.symbol, position.leg)] = after
        return after
