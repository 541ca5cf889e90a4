"""The nouns of the ledger: orders, fills, positions, incomes, and the events that tell of them.

Frozen data without logic beyond naming: the ledger replaces, it never changes. Quantities, prices and amounts are
``Decimal``, times milliseconds since the epoch. Everything else of the package speaks in these.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

Side = Literal["BUY", "SELL"]
Leg = Literal["BOTH", "LONG", "SHORT"]
OrderType = Literal["LIMIT", "MARKET"]
TimeInForce = Literal["GTC", "IOC", "FOK", "GTX", "GTD"]
OrderStatus = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "EXPIRED"]
Execution = Literal["NEW", "TRADE", "CALCULATED", "CANCELED", "EXPIRED", "AMENDMENT"]

ZERO = Decimal(0)
SATOSHI = Decimal("0.00000001")
"""Money is booked on this grid, so that sums are exact."""

EXPIRED_NONE, EXPIRED_IOC, EXPIRED_REDUCE_ONLY, EXPIRED_LIQUIDATION, EXPIRED_DELISTED, EXPIRED_MARKET = 0, 2, 4, 5, 7, 9
"""The expiry reasons (``er``) that this exchange gives."""


def get_sign(side: Side) -> int:
    return 1 if side == "BUY" else -1


class Ask(NamedTuple):
    """What an order asks for: side, kind and size, before the exchange has looked at it."""

    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType = "MARKET"
    leg: Leg = "BOTH"
    price: Decimal = ZERO
    time_in_force: TimeInForce = "GTC"
    reduce_only: bool = False
    client_id: str = ""
    good_till_ms: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the exchange holds it; ``quantity`` may be smaller than asked for when reduce-only capped it."""

    order_id: int
    ask: Ask
    quantity: Decimal
    created_ms: int
    updated_ms: int
    status: OrderStatus = "NEW"
    executed: Decimal = ZERO
    quote: Decimal = ZERO
    expiry_reason: int = EXPIRED_NONE
    close_kind: str = ""

    @property
    def symbol(self) -> str:
        return self.ask.symbol

    @property
    def client_id(self) -> str:
        return self.ask.client_id

    @property
    def side(self) -> Side:
        return self.ask.side

    @property
    def leg(self) -> Leg:
        return self.ask.leg

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed

    @property
    def is_open(self) -> bool:
        return self.status in ("NEW", "PARTIALLY_FILLED")

    @property
    def reduces(self) -> bool:
        """Whether it can only shrink a position: reduce-only, or the closing side of a hedge-mode leg."""
        return self.ask.reduce_only or check_closes_leg(self.side, self.leg)

    @property
    def average_price(self) -> Decimal:
        return self.quote / self.executed if self.executed else ZERO


def check_closes_leg(side: Side, leg: Leg) -> bool:
    return (side, leg) in (("SELL", "LONG"), ("BUY", "SHORT"))


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade of the account. ``quantity`` is positive, the side tells the direction."""

    trade_id: int
    order_id: int
    client_id: str
    symbol: str
    side: Side
    leg: Leg
    price: Decimal
    quantity: Decimal
    realized: Decimal
    commission: Decimal
    is_maker: bool
    at_ms: int

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity * get_sign(self.side)

    @property
    def quote(self) -> Decimal:
        return self.price * self.quantity


@dataclass(frozen=True, slots=True)
class Position:
    """One leg of one symbol. ``amount`` is signed; ``realized`` and ``fees`` are sums since the account began."""

    symbol: str
    leg: Leg
    amount: Decimal = ZERO
    entry_price: Decimal = ZERO
    isolated_wallet: Decimal = ZERO
    realized: Decimal = ZERO
    open_fees: Decimal = ZERO
    updated_ms: int = 0

    @property
    def is_flat(self) -> bool:
        return self.amount == ZERO


class Income(NamedTuple):
    """One booking in the wallet, as the income history shows it; the account numbers it."""

    symbol: str
    kind: str
    amount: Decimal
    at_ms: int
    trade_id: int | None = None
    tran_id: int = 0


class OrderEvent(NamedTuple):
    """An order changed: ORDER_TRADE_UPDATE."""

    order: Order
    execution: Execution
    fill: Fill | None
    at_ms: int


class LiteEvent(NamedTuple):
    """A fill, told before its order update: TRADE_LITE."""

    order: Order
    fill: Fill
    at_ms: int


class AccountEvent(NamedTuple):
    """Balances and the changed positions: ACCOUNT_UPDATE. ``balance_change`` excludes profit, loss and commission."""

    reason: str
    wallet: Decimal
    cross_wallet: Decimal
    balance_change: Decimal
    positions: tuple[Position, ...]
    at_ms: int


class ConfigEvent(NamedTuple):
    """Leverage of a symbol, or the multi-assets mode, changed: ACCOUNT_CONFIG_UPDATE."""

    symbol: str
    leverage: int
    multi_assets: bool
    at_ms: int


class MarginCallEvent(NamedTuple):
    """The margin runs out: MARGIN_CALL."""

    cross_wallet: Decimal
    positions: tuple[Position, ...]
    at_ms: int


class PublicTradeEvent(NamedTuple):
    """A trade that everybody sees: aggTrade."""

    symbol: str
    price: Decimal
    quantity: Decimal
    buyer_is_maker: bool
    at_ms: int


UserEvent = OrderEvent | LiteEvent | AccountEvent | ConfigEvent | MarginCallEvent
Event = UserEvent | PublicTradeEvent
