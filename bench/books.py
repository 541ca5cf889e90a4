"""Made-up books of any size: the same positions each time, and no market that behaves better than a real one would.

Sizes are lognormal around 10,000 USDC, entries within a tenth of the market's price, two in five are long, funding has
been charged for a while. The vault and the shield are large enough that few positions are at risk at the market's price.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dehedge.core.hedging import HedgingPolicy, VenueState
from dehedge.core.model import ChainSnapshot, HedgeKey, Market, Observation, Position, PriceTick, TradingRules
from dehedge.core.risk import RiskFactors
from dehedge.core.sizing import Sizing
from dehedge.core.trigger import Columns

USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
MARKETS = tuple(f"M{number}-USD" for number in range(10))
SYMBOLS = {market: market.replace("-USD", "USDT") for market in MARKETS}
PRICE = 60_000 * 10**18
NOW = 1_800_000_000.0
SHIELD = 20_000 * 10**6
SEED = 7


class Book(NamedTuple):
    """Positions as columns, in whole base units that floats hold exactly; also a ``trigger.Rows``."""

    market: NDArray[np.int32]
    is_long: NDArray[np.bool_]
    size: NDArray[np.float64]
    entry_price: NDArray[np.float64]
    funding_tracer: NDArray[np.float64]

    def get_columns(self) -> Columns:
        asset = np.zeros(len(self.market), dtype=np.int32)
        return Columns(
            self.market, asset, self.is_long, self.size, self.entry_price, self.funding_tracer, MARKETS, (USDC,)
        )

    def get_key(self, row: int) -> HedgeKey:
        return HedgeKey(MARKETS[self.market[row]], f"0x{row:040x}|{USDC}")

    def get_position(self, row: int) -> Position:
        return Position(
            f"0x{row:040x}", USDC, MARKETS[self.market[row]], bool(self.is_long[row]), int(self.size[row]),
            int(self.size[row]) // 10, int(self.funding_tracer[row]), int(self.entry_price[row]), int(NOW) - 3_600,
        )  # fmt: skip

    def build_positions(self) -> dict[HedgeKey, Position]:
        """All as objects: what a plain loop walks over."""
        return {self.get_key(row): self.get_position(row) for row in range(len(self.market))}


class Positions(dict[HedgeKey, Position]):
    """The positions of a book by key, each made when asked for; only what is asked for is there."""

    def __init__(self, book: Book) -> None:
        super().__init__()
        self._book = book

    def __missing__(self, key: HedgeKey) -> Position:
        return self._book.get_position(int(key.position_id[:42], 16))

    def get(self, key: HedgeKey, default: Position | None = None) -> Position | None:
        return self[key]

    def __contains__(self, key: object) -> bool:
        return True

    def __len__(self) -> int:
        return len(self._book.market)


def build_book(count: int) -> Book:
    chance = np.random.default_rng(SEED)
    return Book(
        market=chance.integers(0, len(MARKETS), count, dtype=np.int32),
        is_long=chance.random(count) < 0.4,
        size=np.floor(chance.lognormal(np.log(10_000), 1.0, count).clip(1_000, 10_000_000) * 1e6),
        entry_price=np.floor(PRICE * chance.uniform(0.9, 1.1, count)),
        funding_tracer=np.floor(chance.normal(0, 1e20, count)),
    )


def build_observation(positions: dict[HedgeKey, Position], prices: dict[str, int], at: float = NOW) -> Observation:
    snapshot = ChainSnapshot(
        1, "0x01", int(NOW), 10**15, SHIELD, positions, {(USDC, market): 0 for market in MARKETS},
        {market: Market(market, "", 0) for market in MARKETS},
    )  # fmt: skip
    ticks = {market: PriceTick(market, price, 0, int(NOW)) for market, price in prices.items()}
    marks = {SYMBOLS[market]: Decimal(price) / 10**18 for market, price in prices.items()}
    return Observation(snapshot, ticks, marks, at, snapshot)


POLICY = HedgingPolicy(
    factors=RiskFactors(Fraction(1), Fraction(1), Fraction(2, 5), 10_000), sizing=Sizing.DELTA, asset=USDC,
    symbols=SYMBOLS, leverage=20, size_min=1_000 * 10**6, expiry_s=60.0, max_price_age_s=10.0, max_snapshot_age_s=60.0,
)  # fmt: skip
VENUE = VenueState(
    {
        symbol: TradingRules(symbol, *map(Decimal, ("0.001", "0.001", "1000", "50", "0.1")))
        for symbol in SYMBOLS.values()
    }
)
