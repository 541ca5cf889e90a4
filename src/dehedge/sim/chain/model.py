"""The nouns of the stand-in chain: positions and markets in contract units, and where the contracts live.

Shared by both chains, the in-process one and anvil, so that one value means the same on either. Frozen data without
logic beyond naming and the check that it fits the contract's types. Knows nothing of the daemon's own model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

CHAIN_ID = 8453
DATA_REGISTRY = "0x5Dc939df0cf253873cf77B786A24d51BaA72cF75"
USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
ZERO_ADDRESS = "0x" + "00" * 20

CONTRACT_ADDRESSES = {
    "DataRegistry": DATA_REGISTRY,
    "Positions": "0x" + "de" * 19 + "01",
    "Vault": "0x" + "de" * 19 + "02",
    "VaultUtils": "0x" + "de" * 19 + "03",
    "FundingRate": "0x" + "de" * 19 + "04",
    "TradingMarket": "0x" + "de" * 19 + "05",
    "Token": USDC,
    "Multicall3": MULTICALL3,
}
"""Where each contract of DePerp.sol lives, on both chains."""

REGISTERED = ("Positions", "Vault", "VaultUtils", "FundingRate", "TradingMarket")
"""The keys that the registry knows."""

UINT_MAX = 2**256 - 1
INT_MIN, INT_MAX = -(2**255), 2**255 - 1

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_WORD = re.compile(r"(0x)?[0-9a-fA-F]{64}")


class UnknownPosition(LookupError):
    """There is no position under this key, so it cannot be removed."""


class Paging(IntEnum):
    """How ``getPositions(length, offset)`` pages. The numbers are those of the contract's enum."""

    INDEX = 0
    """The offset is an index and the length is cut to what is left."""
    CAP = 1
    """Any offset but 0 reverts with Panic 0x32, as in the published ancestor."""
    PADDED = 2
    """The page is as long as was asked for, and what does not exist is a zeroed struct."""


class PositionKey(NamedTuple):
    """What makes a position unique on chain; addresses in lower case."""

    user: str
    asset: str
    market: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SimPosition:
    """A trader's position: size and collateral in the asset's units, price and tracer 1e18, times seconds."""

    user: str
    asset: str = USDC
    market: str
    is_long: bool
    size: int
    collateral: int
    funding_tracer: int = 0
    price: int
    timestamp: int = 0

    def __post_init__(self) -> None:
        assert check_address(self.user), f"{self.user} is not an address"
        assert check_address(self.asset), f"{self.asset} is not an address"
        assert check_uints(self.size, self.collateral, self.price, self.timestamp), f"{self}: not uint256"
        assert INT_MIN <= self.funding_tracer <= INT_MAX, f"{self.funding_tracer} is not an int256"

    @property
    def key(self) -> PositionKey:
        return PositionKey(self.user.lower(), self.asset.lower(), self.market)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimMarket:
    """A market under its id (``BTC-USD``): fees, thresholds and factors in bps, ages in seconds."""

    market: str
    name: str = ""
    category: str = "crypto"
    de_feed: str = ZERO_ADDRESS
    max_leverage: int = 50
    max_price_shift: int = 500
    fee: int = 10
    liq_threshold: int = 8000
    funding_factor: int = 3000
    min_order_age: int = 0
    feed_max_age: int = 60
    pyth_feed: str
    market_live: bool = True
    is_reduce_only: bool = False

    def __post_init__(self) -> None:
        assert check_address(self.de_feed), f"{self.de_feed} is not an address"
        assert _WORD.fullmatch(self.pyth_feed), f"{self.pyth_feed} is not a 32-byte feed id in hex"
        assert check_uints(*self.numbers), f"{self}: not uint256"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The contract's seven uint256 fields, in its order."""
        limits = (self.max_leverage, self.max_price_shift, self.fee, self.liq_threshold)
        return (*limits, self.funding_factor, self.min_order_age, self.feed_max_age)


def check_address(text: str) -> bool:
    return _ADDRESS.fullmatch(text) is not None


def check_uints(*values: int) -> bool:
    return all(0 <= value <= UINT_MAX for value in values)
