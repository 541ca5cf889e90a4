"""What a year of minutes takes to replay: two markets, a thousand traders who come and go, each policy from the same story.

Prices are a random walk with the swing of a lively year; sizes are lognormal around 10,000 USD, half of them long, held for three
days on average. With a shield of a hundredth of what is open the rule hardly ever fires, which leaves the search for
moments; with one that is soon spent every winner is hedged, which leaves the decisions.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from bench.figures import Figure, build_figure
from dehedge.replay.choices import build_choice
from dehedge.replay.engine import run_story
from dehedge.replay.model import PRICE_UNITS, USDC_UNIT, Bars, Costs, History, Trader
from dehedge.replay.story import Story, build_story

YEAR_BARS = 525_600
TRADERS = 1_000
HOLD_S = 3 * 86_400
START_S = 1_700_000_040
STEP_S = 60
SWING = 2e-4
"""Of an eighth of a minute."""
SHIELDS_USD = (230_000, 10_000)
COSTS = Costs(margin_usd=Decimal(20_000_000))
SYMBOLS = {"BTC-USD": "BTCUSDT", "ETH-USD": "ETHUSDT"}
UNLIMITED = ":max_opens_per_hour=100000:max_orders_per_minute=100000"
TARGET_S, TARGET_MB = 60.0, 1_024.0
SEED = 5


def run(bars: int = YEAR_BARS, shields_usd: tuple[int, ...] = SHIELDS_USD) -> Iterator[Figure]:
    for shield_usd in shields_usd:
        history = build_history(bars, shield_usd)
        began = time.perf_counter()
        story = build_story(history)
        seconds = time.perf_counter() - began
        shown = f"{bars:,} minutes, shield {shield_usd:,}"
        yield build_figure(f"story of {shown}", "s", [seconds], traders=len(story.positions))
        for name in ("delta", "portfolio", "ideal"):
            yield _measure(story, history, name, f"{name}, {shown}")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield build_figure("memory of it all", "MB", [peak_mb], TARGET_MB)


def _measure(story: Story, history: History, name: str, shown: str) -> Figure:
    began = time.perf_counter()
    done = run_story(story, history, COSTS, build_choice(f"{name}{UNLIMITED}", SYMBOLS))
    seconds = time.perf_counter() - began
    return build_figure(f"replay: {shown}", "s", [seconds], TARGET_S, trades=len(done.trades))


def build_history(count: int, shield_usd: int) -> History:
    chance = np.random.default_rng(SEED)
    bars = {name: build_walk(name, chance, count, price) for name, price in (("BTC-USD", 6e4), ("ETH-USD", 3e3))}
    end_s = START_S + count * STEP_S
    traders = [trader for user in range(TRADERS) for trader in _build_lives(chance, user, end_s)]
    return History(bars, {}, traders, 10_000_000 * USDC_UNIT, shield_usd * USDC_UNIT)


def build_walk(market: str, chance: np.random.Generator, count: int, price: float) -> Bars:
    """Eight prices a minute, of which the candle is made."""
    seen = np.exp(np.cumsum(chance.normal(0, SWING, count * 8))).reshape(count, 8) * price
    opened = np.concatenate([[price], seen[:-1, -1]])
    high, low = np.maximum(seen.max(axis=1), opened), np.minimum(seen.min(axis=1), opened)
    columns = (np.rint(column * PRICE_UNITS).astype(np.int64) for column in (opened, high, low, seen[:, -1]))
    return Bars(market, START_S + np.arange(count, dtype=np.int64) * STEP_S, STEP_S, *columns, np.zeros(count))


def _build_lives(chance: np.random.Generator, user: int, end_s: int) -> Iterator[Trader]:
    """One user's positions, one after the other."""
    market = ("BTC-USD", "ETH-USD")[user % 2]
    opened_s = START_S - int(chance.integers(0, HOLD_S))
    while opened_s < end_s:
        closed_s = opened_s + STEP_S + int(chance.exponential(HOLD_S))
        size = int(np.exp(chance.normal(np.log(10_000), 1.3)) * USDC_UNIT)
        yield Trader(
            market, f"0x{user:040x}", bool(chance.random() < 0.5), size, size // int(chance.integers(5, 50)), None,
            opened_s, closed_s if closed_s < end_s else None,
        )  # fmt: skip
        opened_s = closed_s + int(chance.integers(0, 300))
