"""The nouns of the daemon: markets, positions, snapshots, prices and trading rules.

Frozen data without logic beyond naming. Amounts of an asset are integers in its base units (USDC: 6 decimals), prices
and funding tracers integers scaled by 1e18 as on chain, exchange quantities ``Decimal``, times seconds since the epoch.
Everything here is observed; nothing here is ever changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

PRICE_SCALE = 10**18
"""Chain prices and funding tracers are integers scaled by this."""
PRICE_AHEAD_MAX_S = 5
"""A price from further in the future says that the clock is wrong, and nothing of its own age."""


class Side(StrEnum):
    """The side of an order, and of the hedge that it builds."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1


class Leg(StrEnum):
    """The exchange's position side: BOTH nets per symbol (one-way mode), LONG and SHORT are kept apart (hedge mode)."""

    BOTH = "BOTH"
    LONG = "LONG"
    SHORT = "SHORT"


class HedgeKey(NamedTuple):
    """Names a position on chain and the hedge held for it. ``position_id`` is ``user|asset``."""

    market: str
    position_id: str

    def __str__(self) -> str:
        return f"{self.market}|{self.position_id}"


class Position(NamedTuple):
    """A trader's open position, as stored on chain. Unique per (user, asset, market); its side may flip between blocks."""

    user: str
    asset: str
    market: str
    is_long: bool
    size: int
    collateral: int
    funding_tracer: int
    entry_price: int
    opened_at: int

    @property
    def key(self) -> HedgeKey:
        return HedgeKey(self.market, f"{self.user}|{self.asset}")

    @property
    def hedge_side(self) -> Side:
        """A trader's long is hedged by BUY, a short by SELL: the hedge earns what the vault loses."""
        return Side.BUY if self.is_long else Side.SELL


@dataclass(frozen=True, slots=True)
class Market:
    """A DePerp market. ``pyth_feed`` is 64 hex digits without 0x; ``feed_max_age_s`` of 0 sets no limit."""

    name: str
    pyth_feed: str
    feed_max_age_s: int
    is_live: bool = True
    is_reduce_only: bool = False


@dataclass(frozen=True, slots=True)
class ChainSnapshot:
    """Everything the daemon reads from the chain, at one block: complete, or never built.

    ``vault`` and ``shield`` are in USDC base units, ``funding`` maps (asset, market) to its current tracer. Addresses are
    EIP-55 checksummed. ``host`` names the node that said all this.
    """

    block_number: int
    block_hash: str
    block_time: int
    vault: int
    shield: int
    positions: Mapping[HedgeKey, Position]
    funding: Mapping[tuple[str, str], int]
    markets: Mapping[str, Market]
    host: str = ""


class PriceTick(NamedTuple):
    """One price of one market; price and confidence scaled by 1e18, publish time in seconds."""

    market: str
    price: int
    confidence: int
    publish_time: int


@dataclass(frozen=True, slots=True)
class TradingRules:
    """What the exchange accepts for a market order in one symbol. ``notional_min`` is in the quote asset.

    ``margin_asset`` is the asset of the account that carries a position in the symbol.
    """

    symbol: str
    quantity_step: Decimal
    quantity_min: Decimal
    quantity_max: Decimal
    notional_min: Decimal
    price_tick: Decimal
    is_trading: bool = True
    margin_asset: str = "USDT"


@dataclass(frozen=True, slots=True)
class Stance:
    """How the traders' positions stand together, and what is to be held against them; see ``core.stance``.

    ``profit`` is the sum of what the traders win, ``limit`` what fires a check, ``ahead`` what the profit gains in the seconds
    that are looked ahead, ``swing`` what a minute may change, ``exposure`` what their net coins are worth: base units of the
    asset. ``held`` is the share of the net coins that is hedged, ``level`` what it is to be. ``targets`` are the quantities of
    the hedges to get there; None where all is to stay as it is, and a key that is not named stays in any case. ``is_known``
    once prices were seen for a minute: before, the swing may be more. ``misplaced`` is what is hedged on the
    wrong side, or beyond the net coins of its market.
    """

    profit: int
    limit: int
    ahead: int
    swing: int
    exposure: int
    held: Fraction
    level: Fraction
    is_fast: bool
    targets: Mapping[HedgeKey, Decimal] | None = None
    is_known: bool = True
    misplaced: int = 0

    @property
    def room(self) -> int:
        """What the profit may still grow before a check fires, looking ahead."""
        return self.limit - self.profit - self.ahead


@dataclass(frozen=True, slots=True)
class Observation:
    """All that one pass may know, frozen. ``marks`` are the exchange's mark prices by symbol.

    ``previous`` is the complete snapshot that was read just before ``snapshot``, by the same or by another node;
    ``objection`` the newest one that had positions of hedges which the one before it lacked. ``stance`` is there where
    positions are hedged together.
    """

    snapshot: ChainSnapshot
    prices: Mapping[str, PriceTick]
    marks: Mapping[str, Decimal]
    taken_at: float
    previous: ChainSnapshot | None = None
    objection: ChainSnapshot | None = None
    stance: Stance | None = None
