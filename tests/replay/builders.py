"""Small histories: random ones from a seed, and ones that are written down price by price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache

import numpy as np

from dehedge.core.guards import GuardLimits
from dehedge.core.model import TradingRules
from dehedge.replay.choices import build_choice
from dehedge.replay.model import PRICE_UNITS, Bars, Costs, FundingRate, History, Policy, Trader

BTC, ETH = "BTC-USD", "ETH-USD"
START_S = 1_700_000_040
MINUTE_S = 60
USDC = 10**6
FINE = {
    symbol: TradingRules(symbol, *map(Decimal, ("1E-8", "1E-8", "1E9", "0", "1E-8")))  # type: ignore[arg-type]
    for symbol in ("BTCUSDT", "ETHUSDT")
}
"""An exchange that takes every quantity."""
FREE = Costs(
    taker_fee=Decimal(0), half_spread_bps=Decimal(0), depth_usd=Decimal(0), latency_s=0.0, exchange_latency_s=0.0,
    margin_usd=Decimal(10**12), rules=FINE,
)  # fmt: skip
"""Hedging at no cost, at once."""
NO_LIMITS = GuardLimits(opens_per_hour=10**9, forced_per_hour=10**9, orders_per_minute=10**9)
"""What the rule does, and not what a limit holds."""


@cache
def choose(text: str) -> Policy:
    """A policy by its text, without limits."""
    return replace(build_choice(text, {BTC: "BTCUSDT", ETH: "ETHUSDT"}), limits=NO_LIMITS)


def a_user(number: int) -> str:
    return f"0x{number:040x}"


def make_bars(market: str, rows: Sequence[tuple[float, float, float, float]], step_s: int = MINUTE_S) -> Bars:
    """Open, high, low and close of each bar."""
    columns = np.array([[round(price * PRICE_UNITS) for price in row] for row in rows], dtype=np.int64).T
    count = len(rows)
    return Bars(market, START_S + np.arange(count, dtype=np.int64) * step_s, step_s, *columns, np.zeros(count))


def make_walk(market: str, chance: np.random.Generator, count: int, price: float, swing: float) -> Bars:
    """A random walk of so many minutes; ``swing`` is the spread of an eighth of a minute."""
    seen = np.exp(np.cumsum(chance.normal(0, swing, count * 8))).reshape(count, 8) * price
    opened = np.concatenate([[price], seen[:-1, -1]])
    every = np.column_stack([opened, seen])
    return make_bars(market, list(zip(opened, every.max(1), every.min(1), seen[:, -1], strict=True)))


def a_trader(
    number: int = 1, *, market: str = BTC, is_long: bool = True, size_usd: int = 10_000, **changes: object
) -> Trader:
    trader = Trader(market, a_user(number), is_long, size_usd * USDC, size_usd * USDC // 5, None, START_S, None)
    return trader._replace(**changes)  # type: ignore[arg-type]


def a_history(bars: Sequence[Bars], traders: Sequence[Trader], *, shield_usd: int = 100) -> History:
    return History({one.market: one for one in bars}, {}, traders, 1_000_000 * USDC, shield_usd * USDC)


def make_history(seed: int) -> History:
    """Traders who come and go, in one or two markets, for some minutes."""
    chance = np.random.default_rng(seed)
    count, swing = int(chance.integers(5, 40)), float(chance.choice([1e-4, 3e-4, 1e-3]))
    bars = [make_walk(BTC, chance, count, 60_000.0, swing), make_walk(ETH, chance, count, 3_000.0, swing)]
    bars = bars[: int(chance.integers(1, 3))]
    hold_s = float(chance.choice([180, 600, 3_600]))
    traders = [
        trader
        for number in range(int(chance.integers(2, 25)))
        for trader in _make_lives(chance, a_user(number), bars, hold_s)
    ]
    history = a_history(bars, traders, shield_usd=int(chance.choice([0, 50, 300, 1_000])))
    rates = [FundingRate(START_S + at_s, Decimal("0.0003")) for at_s in range(90, count * MINUTE_S, 600)]
    return replace(history, funding={one.market: rates for one in bars})


def _make_lives(chance: np.random.Generator, user: str, bars: Sequence[Bars], hold_s: float) -> list[Trader]:
    """One user's positions in one market, one after the other, now and then without a pause."""
    market = bars[int(chance.integers(len(bars)))].market
    end_s = START_S + len(bars[0].start_s) * MINUTE_S
    opened_s, lives = START_S - int(chance.integers(0, 600)), []
    while opened_s < end_s:
        closed_s = opened_s + int(chance.exponential(hold_s)) + MINUTE_S
        size = int(np.exp(chance.normal(np.log(1e4), 1.3)) * USDC)
        collateral = max(size // int(chance.integers(5, 50)), 1)
        left_s = closed_s if closed_s < end_s else None
        lives.append(Trader(market, user, bool(chance.random() < 0.5), size, collateral, None, opened_s, left_s))
        opened_s = closed_s + int(chance.integers(0, 2)) * int(chance.integers(0, 300))
    return lives


def make_costs(seed: int) -> Costs:
    """Accounts of all sorts: rich and poor, quick and slow, some with an outage."""
    chance = np.random.default_rng(seed + 1)
    return Costs(
        latency_s=float(chance.choice([0, 0.5, 3])), leverage=int(chance.choice([20, 100])),
        is_isolated=seed % 2 == 0, maintenance=Decimal(str(chance.choice(["0.005", "0.02"]))),
        margin_usd=Decimal(int(chance.choice([500, 5_000, 1_000_000]))),
        outages=[(START_S + 200, START_S + 290)] if chance.random() < 0.4 else (),
    )  # fmt: skip
