"""Made-up books of any size: the same positions each time, and no market that behaves better than a real one would.

Sizes are lognormal around 10,000 USDC, entries within a tenth of the market's price, two in five are long, funding has
been charged for a while. The vault and the shield are large enough that few positions are at risk at the market's price.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

import numpy as np

from dehedge.core.model import ChainSnapshot, HedgeKey, Market, Observation, Position, PriceTick, TradingRules
from dehedge.core.policy import HedgingPolicy, VenueState
from dehedge.core.risk import RiskFactors
from dehedge.core.sizing import Sizing
from dehedge.core.trigger import Columns

USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
MARKETS = tuple(f"M{number}-USD" for number in range(10))
SYMBOLS = {market: market.replace("-USD", "USDT") for market in MARKETS}
PRICE = 60_000 * 10**18
NOW = 1_800_000_000.0
OPENED_AT = 1_700_000_000
SHIELD = 20_000 * 10**6
SEED = 7


class Book(Mapping[HedgeKey, Position]):
    """Positions as columns of whole base units that floats hold exactly; each is made when it is asked for.

    The row of a position is its user. Also a ``trigger.Rows``.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns.size)

    def __iter__(self) -> Iterator[HedgeKey]:
        return map(self.get_key, range(len(self)))

    def __getitem__(self, key: HedgeKey) -> Position:
        row = int(key.position_id[:42], 16)
        if not 0 <= row < len(self) or self._get_market(row) != key.market:
            raise KeyError(key)
        return self._get_position(row)

    def get_columns(self) -> Columns:
        return self._columns

    def get_key(self, row: int) -> HedgeKey:
        return HedgeKey(self._get_market(row), f"0x{row:040x}|{USDC}")

    def _get_market(self, row: int) -> str:
        return self._columns.markets[self._columns.market[row]]

    def _get_position(self, row: int) -> Position:
        columns = self._columns
        return Position(
            f"0x{row:040x}", USDC, self._get_market(row), bool(columns.is_long[row]), int(columns.size[row]),
            int(columns.size[row]) // 10, int(columns.funding_tracer[row]), int(columns.entry_price[row]), OPENED_AT,
        )  # fmt: skip


def build_book(count: int, markets: tuple[str, ...] = MARKETS) -> Book:
    chance = np.random.default_rng(SEED)
    market, is_long = chance.integers(0, len(markets), count, dtype=np.int32), chance.random(count) < 0.4
    size = np.floor(chance.lognormal(np.log(10_000), 1.0, count).clip(1_000, 10_000_000) * 1e6)
    return Book(
        Columns(
            market=market,
            asset=np.zeros(count, dtype=np.int32),
            is_long=is_long,
            size=size,
            entry_price=np.floor(PRICE * chance.uniform(0.9, 1.1, count)),
            funding_tracer=np.floor(chance.normal(0, 1e20, count)),
            collateral=np.floor(size / 10),
            markets=markets,
            assets=(USDC,),
        )
    )


def build_observation(positions: Mapping[HedgeKey, Position], prices: Mapping[str, int]) -> Observation:
    snapshot = ChainSnapshot(
        1, "0x01", int(NOW), 10**15, SHIELD, positions, {(USDC, market): 0 for market in MARKETS},
        {market: Market(market, "", 0) for market in MARKETS},
    )  # fmt: skip
    ticks = {market: PriceTick(market, price, 0, int(NOW)) for market, price in prices.items()}
    marks = {SYMBOLS[market]: Decimal(price) / 10**18 for market, price in prices.items()}
    return Observation(snapshot, ticks, marks, NOW, snapshot)


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
