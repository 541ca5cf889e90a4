"""Price paths for the demo: a crash, a bounce and a second crash, one price a second, made by a seeded generator.

The shipped files in ``data/`` are what this module makes: ``python -m dehedge.sim.paths`` writes them again, byte for
byte. Between way points the logarithm of the price is a bridge with the volatility of its phase, so the path is rough
the way a crash is, and still passes where the story needs it. The phases are compressed from what large crashes have
shown: single minutes of 5 to 14 %, a tenth in ten minutes. The bounce stays below what liquidates a hedge at 20x.
"""

from __future__ import annotations

import csv
import itertools
import math
import random
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).parent / "data"
CENT = Decimal("0.01")


class WayPoint(NamedTuple):
    """At this second the price is ``level`` times the first one; ``volatility`` is per square root of a second."""

    second: int
    level: float
    volatility: float


CRASH = (
    WayPoint(0, 1.0, 0.0),
    WayPoint(12, 0.998, 0.0002),
    WayPoint(36, 0.920, 0.0016),
    WayPoint(46, 0.916, 0.0008),
    WayPoint(60, 0.957, 0.0010),
    WayPoint(80, 0.954, 0.0003),
    WayPoint(100, 0.896, 0.0018),
    WayPoint(150, 0.905, 0.0006),
)
"""A fall of 8 % in 24 s, a bounce of 4 %, and a fall of 6 % in 20 s."""
FIRST_PRICES = {"BTC-USD": Decimal(60_000), "ETH-USD": Decimal(3_000)}
BETA = {"BTC-USD": 1.0, "ETH-USD": 1.2}
SEED = 20


def build_path(first: Decimal, way_points: tuple[WayPoint, ...], *, beta: float, seed: int) -> list[Decimal]:
    """One price for each second, from the first way point to the last, in cents."""
    source = random.Random(seed)
    logs = [0.0]
    for before, after in itertools.pairwise(way_points):
        target, left = beta * math.log(after.level), after.second - before.second
        while left > 0:
            drift = (target - logs[-1]) / left
            noise = after.volatility * beta * source.gauss(0, 1) * math.sqrt((left - 1) / left)
            logs.append(logs[-1] + drift + noise)
            left -= 1
    return [(first * Decimal(f"{math.exp(value):.12f}")).quantize(CENT) for value in logs]


def read_path(market: str) -> list[Decimal]:
    """The shipped path of a market, one price a second."""
    with (DATA / f"crash_{market}.csv").open(encoding="ascii", newline="") as file:
        return [Decimal(row["price"]) for row in csv.DictReader(file)]


def write_paths(folder: Path) -> None:
    """Write every market's path as CSV."""
    for number, (market, first) in enumerate(FIRST_PRICES.items()):
        path = build_path(first, CRASH, beta=BETA[market], seed=SEED + number)
        rows = [f"{second},{price}\n" for second, price in enumerate(path)]
        (folder / f"crash_{market}.csv").write_text("second,price\n" + "".join(rows), encoding="ascii")


if __name__ == "__main__":
    write_paths(DATA)
