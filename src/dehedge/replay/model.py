"""What goes into a replay of price history, and what comes out.

Frozen data that the readers of files build, the engine runs over, and the report shows; nothing here computes. Amounts of
the traders and of the vault are integers in USDC base units, as on chain. What comes out is money in USD: ``Decimal`` in
the figures, and floats in the series alone, which are for charts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dehedge.core.guards import GuardLimits
from dehedge.core.model import Side, TradingRules
from dehedge.core.policy import HedgingPolicy

PRICE_UNITS = 10**8
"""Price columns are integers of so many parts of a dollar."""
USDC_UNIT = 10**6
"""Base units of a dollar of the asset."""

Prices = NDArray[np.int64]
Floats = NDArray[np.float64]
Progress = Callable[[float], None]
"""Is told which share of a run is done."""


class Bars(NamedTuple):
    """One market's candles, in the order of time; ``start_s`` may have gaps. ``quote_volume`` is 0 where not known."""

    market: str
    start_s: NDArray[np.int64]
    step_s: int
    open: Prices
    high: Prices
    low: Prices
    close: Prices
    quote_volume: Floats


class FundingRate(NamedTuple):
    """What a long pays a short of its notional at that time."""

    at_s: int
    rate: Decimal


class Trader(NamedTuple):
    """A position's whole life. ``entry_price`` is scaled by 1e18; None is the price at which the replay opens it.

    ``size`` and ``collateral`` are in base units; ``closed_s`` is None for one that is open at the end.
    """

    market: str
    user: str
    is_long: bool
    size: int
    collateral: int
    entry_price: int | None
    opened_s: int
    closed_s: int | None


@dataclass(frozen=True, slots=True)
class History:
    """What happened: prices and traders by market, and what the vault and the shield had at the beginning (base units).

    ``roughness`` is that of the way within a candle, as a share of its range.
    """

    bars: Mapping[str, Bars]
    funding: Mapping[str, Sequence[FundingRate]]
    traders: Sequence[Trader]
    vault: int
    shield: int
    roughness: float = 0.0


@dataclass(frozen=True, slots=True)
class Costs:
    """What hedging costs, and what stands in its way.

    ``depth_usd`` is the notional that moves the exchange's price by a basis point, 0 for a book without end. ``latency_s`` is
    from a price to the order, ``exchange_latency_s`` from there to the fill. In ``outages`` (from, until, in seconds since the
    epoch) the exchange takes nothing. ``margin_usd`` is what the hedge account has at the beginning, ``maintenance`` the
    share of the notional below which it is liquidated: each symbol by itself where it ``is_isolated``, else all together. ``rules``
    are by symbol; others are made up from the price.
    """

    taker_fee: Decimal = Decimal("0.0005")
    half_spread_bps: Decimal = Decimal("0.5")
    depth_usd: Decimal = Decimal(500_000)
    latency_s: float = 0.5
    exchange_latency_s: float = 0.25
    outages: Sequence[tuple[int, int]] = ()
    margin_usd: Decimal = Decimal(1_000_000)
    leverage: int = 20
    is_isolated: bool = True
    maintenance: Decimal = Decimal("0.005")
    rules: Mapping[str, TradingRules] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """A way of hedging, by a name of its own; ``hedging`` is None for none at all.

    ``settings`` are what decides in it, by the names of `.env`, for people.
    ``is_ideal`` asks for the bound: what that policy's triggers would earn if they were known beforehand and cost nothing.
    """

    name: str
    hedging: HedgingPolicy | None = None
    limits: GuardLimits = field(default_factory=GuardLimits)
    settings: Mapping[str, str] = field(default_factory=dict)
    is_ideal: bool = False


class Trade(NamedTuple):
    """One hedge's part of a fill. ``kind`` is open, resize or close; money in USD, ``decided_price`` what was seen."""

    at_s: float
    market: str
    kind: str
    side: Side
    quantity: Decimal
    price: Decimal
    decided_price: Decimal
    fee: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Figures:
    """A run in numbers, in USD: the worst moment, the end, the cost to the end, and counts.

    ``worst_unhedged`` and ``worst_hedged`` are the least that the vault was worth at any moment, open profits counted;
    ``worst_hedged_free`` is that of hedges which cost nothing. ``worst_loss`` is what it lacks then unhedged, ``worst_avoided``
    how much less that is with free hedges, ``worst_net`` with what they cost until then; ``worst_protection_free`` and
    ``worst_protection`` are these two as shares of the loss. ``loss`` is what it lacks at the end unhedged, ``avoided`` what
    the hedges earned of that before their cost, ``protection`` that share. Shares are None where there is no loss. ``cost`` is
    fees, funding and slippage to the end; ``cost_share`` is of ``worst_avoided`` and ``cost_per_dollar`` of ``avoided``, None
    where nothing was. ``price_moved`` is what prices went against the hedges between decision and fill; it is within
    ``hedge_profit``. ``hedge_error`` is what the traders won beyond the shield, less what the hedges earned. ``opens``,
    ``closes`` and ``resizes`` are of hedges, ``orders`` were sent for them. ``unhedged_s`` is for how long something at risk
    had no hedge.
    """

    worst_loss: Decimal
    worst_avoided: Decimal
    worst_protection_free: Decimal | None
    worst_net: Decimal
    worst_protection: Decimal | None
    vault_start: Decimal
    worst_unhedged: Decimal
    worst_hedged: Decimal
    worst_hedged_free: Decimal
    loss: Decimal
    avoided: Decimal
    protection: Decimal | None
    net: Decimal
    vault_unhedged: Decimal
    vault_hedged: Decimal
    hedge_profit: Decimal
    hedge_error: Decimal
    fees: Decimal
    funding: Decimal
    slippage: Decimal
    cost: Decimal
    cost_share: Decimal | None
    cost_per_dollar: Decimal | None
    price_moved: Decimal
    opens: int
    closes: int
    resizes: int
    orders: int
    unhedged_s: float
    margin_peak: Decimal
    liquidations: int
    opens_refused: int


@dataclass(frozen=True, slots=True)
class Series:
    """Columns of one length for charts, in USD, at most 2,000 points; ``time_s`` is in seconds since the epoch."""

    time_s: Floats
    vault_unhedged: Floats
    vault_hedged: Floats
    shield: Floats
    prices: Mapping[str, Floats]
    hedged_notional: Floats
    margin_used: Floats
    cost: Floats


@dataclass(frozen=True, slots=True)
class Run:
    """What one policy made of a history."""

    policy: Policy
    figures: Figures
    series: Series
    trades: Sequence[Trade]
