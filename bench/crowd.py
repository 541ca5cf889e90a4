"""Positions for a chain: ten markets, one position for each user, all of them far from their risks.

Used where a chain is really read; ``books`` has the larger ones, which never were on a chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from dehedge.sim.chain import SimPosition
from dehedge.sim.world import build_position

MARKETS = ("BTC-USD", "ETH-USD", *(f"M{number}-USD" for number in range(8)))
PRICES = {market: Decimal(3_000) for market in MARKETS} | {"BTC-USD": Decimal(60_000)}
OPENED_AT = 1_700_000_000
TRACER = 10**15


def build_crowd(count: int) -> Iterator[SimPosition]:
    for user in range(1, count + 1):
        market = MARKETS[user % len(MARKETS)]
        position = build_position(
            user, market, is_long=user % 5 < 2, size_usd=1_000 + user, price=PRICES[market], opened_at=OPENED_AT + user
        )
        yield replace(position, funding_tracer=(user % 7 - 3) * TRACER)
