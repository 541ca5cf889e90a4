"""The other side of every trade: mark price, book and status of one symbol.

A synthetic book of fixed depth is laid around the mark; an explicit one may be set instead. It refills after every
order, so an order's outcome depends on the settings alone. Pure: takes prices and gives levels, and never knows who
trades. The ledger asks it what an order would take.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from dehedge.sim.exchange.model import ZERO, Side
from dehedge.sim.exchange.symbols import SymbolRules

BASIS_POINTS = Decimal(10_000)
FUNDING_INTERVAL_MS = 8 * 3600 * 1000


class Level(NamedTuple):
    """A price and the quantity that rests, or is taken, at it."""

    price: Decimal
    quantity: Decimal


@dataclass(slots=True)
class Market:
    """The moving state of one symbol. ``depth`` is what one order finds on a side, None without bound."""

    rules: SymbolRules
    mark: Decimal
    status: str = "TRADING"
    depth: Decimal | None = None
    slippage_bps: Decimal = ZERO
    spread_ticks: int = 1
    funding_rate: Decimal = Decimal("0.00010000")
    bids: tuple[Level, ...] = ()
    asks: tuple[Level, ...] = ()
    update_id: int = 11_563_384_751_926
    last: Decimal = ZERO

    def __post_init__(self) -> None:
        self.last = self.bid.price

    @property
    def bid(self) -> Level:
        return self.get_levels("SELL", 1)[0]

    @property
    def ask(self) -> Level:
        return self.get_levels("BUY", 1)[0]

    def set_mark(self, mark: Decimal) -> None:
        """Move the price; an explicit book is dropped, as it belonged to the old one."""
        self.mark, self.bids, self.asks = mark, (), ()
        self.update_id += 1
        self.last = self.bid.price

    def set_book(self, bids: tuple[Level, ...], asks: tuple[Level, ...]) -> None:
        """Lay an explicit book; a side left empty stays synthetic."""
        self.bids, self.asks = bids, asks
        self.update_id += 1

    def get_levels(self, side: Side, count: int) -> tuple[Level, ...]:
        """The levels that a taker of this side meets, best first."""
        explicit = self.asks if side == "BUY" else self.bids
        return explicit[:count] if explicit else self._build_levels(side, count)

    def _build_levels(self, side: Side, count: int) -> tuple[Level, ...]:
        """The first level holds the whole depth: one order, one price. Those behind are for show."""
        tick = self.rules.tick
        best_bid = self.rules.nearest_price(self.mark) - tick * (self.spread_ticks // 2)
        best = best_bid if side == "SELL" else best_bid + tick * self.spread_ticks
        away = tick if side == "BUY" else -tick
        first = self.rules.market_quantity_max * 10 if self.depth is None else self.depth
        behind = (Level(best + away * n, self.rules.step * (1 + n * 7 % 23)) for n in range(1, count))
        return (Level(best, first), *behind)

    def _takeable(self, side: Side) -> tuple[Level, ...]:
        explicit = self.asks if side == "BUY" else self.bids
        return explicit or self._build_levels(side, 1)

    def take(self, side: Side, quantity: Decimal, limit: Decimal | None) -> list[Level]:
        """What an order of this size takes, slippage included, no worse than the limit or the market bound."""
        taken: list[Level] = []
        for level in self._takeable(side):
            if quantity <= ZERO or not self.check_within(side, level.price, limit):
                break
            size = min(quantity, level.quantity)
            if size > ZERO:
                taken.append(Level(self.slip(side, level.price, limit), size))
                quantity -= size
        return taken

    def slip(self, side: Side, price: Decimal, limit: Decimal | None = None) -> Decimal:
        sign = 1 if side == "BUY" else -1
        slipped = self.rules.round_price(price * (1 + sign * self.slippage_bps / BASIS_POINTS), up=side == "BUY")
        if limit is None:
            return slipped
        return min(slipped, limit) if side == "BUY" else max(slipped, limit)

    def check_within(self, side: Side, price: Decimal, limit: Decimal | None) -> bool:
        """Whether a level's price meets the limit; for a market order, whether its slipped price meets the bound."""
        bound = self.get_market_bound(side) if limit is None else limit
        reached = self.slip(side, price) if limit is None else price
        return reached <= bound if side == "BUY" else reached >= bound

    def get_market_bound(self, side: Side) -> Decimal:
        sign = 1 if side == "BUY" else -1
        return self.mark * (1 + sign * self.rules.market_take_bound)

    def check_crosses(self, side: Side, price: Decimal) -> bool:
        """Whether a limit order at this price would trade at once."""
        return self.ask.price <= price if side == "BUY" else self.bid.price >= price


def get_next_funding_ms(now_ms: int) -> int:
    return (now_ms // FUNDING_INTERVAL_MS + 1) * FUNDING_INTERVAL_MS
