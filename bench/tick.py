"""What a price costs, by the size of the book: the index, the exact check of every position, and a loop in JavaScript.

From a price to its decisions, without orders. All in one process and one run but for node, which has its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.books import MARKETS, POLICY, PRICE, SHIELD, USDC, VENUE, Book, build_book, build_observation
from bench.figures import Figure, build_figure, measure
from dehedge.core.agenda import Agenda
from dehedge.core.book import HedgeBook
from dehedge.core.decisions import Decision, OpenHedge
from dehedge.core.hedging import plan
from dehedge.core.model import Observation
from dehedge.core.policy import build_terms
from dehedge.core.trigger import TriggerIndex, build_index

SIZES = (1_000, 10_000, 100_000, 1_000_000)
LOOP_MAX = 100_000
"""A plain loop over more positions than this takes seconds; what it would take is told from these."""

FLIPS = 100
TICKS = 2_000
PREDECESSOR = Path(__file__).with_name("predecessor.js")


def run(sizes: tuple[int, ...] = SIZES, ticks: int = TICKS) -> Iterator[Figure]:
    for count in sizes:
        book = build_book(count)
        yield from _measure_index(book, ticks)
        if count <= LOOP_MAX:
            yield _measure_loop(book)
        node = shutil.which("node")
        if node is not None:
            yield _measure_predecessor(node, book)


class Pass:
    """The part of a pass that a price costs: what to look at, and what becomes of it."""

    def __init__(self, book: Book) -> None:
        self.positions = book
        self.index: TriggerIndex = build_index(book, build_terms(POLICY, self.observe(PRICE).snapshot))
        self._agenda, self._book = Agenda(), HedgeBook()
        self.tick(PRICE)

    def observe(self, price: int) -> Observation:
        """One market's price; the others stay where they are, below their risks."""
        return build_observation(self.positions, dict.fromkeys(MARKETS, PRICE) | {MARKETS[0]: price})

    def tick(self, price: int) -> list[Decision]:
        return self.look(self.observe(price))

    def look(self, observation: Observation) -> list[Decision]:
        look = self._agenda.take(self.index, observation, ())
        return plan(observation, self._book, POLICY, VENUE, look.keys)


def _measure_index(book: Book, ticks: int) -> Iterator[Figure]:
    count = len(book)
    terms = build_terms(POLICY, build_observation(book, {}).snapshot)
    yield build_figure(
        f"index of {count:,} positions built",
        "ms",
        measure(lambda: build_index(book, terms), 7),
        target=500 if count == 1_000_000 else None,
    )
    it = Pass(book)
    low, _ = find_flip(it.index, 0)
    quiet = [it.observe(low), it.observe(low + 1)]
    seconds = [_time(it, quiet[number % 2]) for number in range(ticks)]
    yield build_figure(f"tick that changes nothing, {count:,} positions", "us", seconds, target=10)
    flips = min(FLIPS, count // 50)
    calm, risky = (it.observe(price) for price in find_flip(it.index, flips))
    yield build_figure(
        f"tick that changes {flips}, {count:,} positions",
        "us",
        [_time_rise(it, calm, risky, flips) for _ in range(ticks // 10)],
        target=1_000,
    )


def _time_rise(it: Pass, calm: Observation, risky: Observation, flips: int) -> float:
    """The dear way: so many positions turn risky. On the way back there is nothing to size."""
    it.look(calm)
    began = time.perf_counter()
    decided = it.look(risky)
    seconds = time.perf_counter() - began
    assert sum(isinstance(decision, OpenHedge) for decision in decided) == flips, "each of them is hedged"
    return seconds


def _time(it: Pass, observation: Observation) -> float:
    began = time.perf_counter()
    it.look(observation)
    return time.perf_counter() - began


def find_flip(index: TriggerIndex, flips: int) -> tuple[int, int]:
    """Two prices of the first market between which so many positions turn risky, with no trigger near to either."""
    triggers = index.markets[MARKETS[0]].longs.triggers
    start = next(
        place for place in range(len(triggers) // 3, len(triggers) - flips - 1)
        if _is_gap(triggers, place) and _is_gap(triggers, place + flips)
    )  # fmt: skip
    low, high = (int((triggers[place] + triggers[place + 1]) / 2) for place in (start, start + flips))
    return low, high


def _is_gap(triggers: memoryview, place: int) -> bool:
    return triggers[place + 1] - triggers[place] > triggers[place] * 1e-8


def _measure_loop(book: Book) -> Figure:
    count = len(book)
    observation, hedges = build_observation(dict(book), dict.fromkeys(MARKETS, PRICE)), HedgeBook()
    seconds = measure(lambda: plan(observation, hedges, POLICY, VENUE), 3 if count > 10_000 else 9)
    return build_figure(f"exact check of all of {count:,} positions", "us", seconds)


def _measure_predecessor(node: str, book: Book) -> Figure:
    count = len(book)
    rows = [[p.is_long, str(p.size), str(p.entry_price), str(p.funding_tracer)] for p in book.values()]
    asked = {
        "price": str(PRICE),
        "vault": str(10**15),
        "shield": str(SHIELD),
        "market": USDC,
        "rounds": 5,
        "positions": rows,
    }
    done = subprocess.run(
        [node, str(PREDECESSOR)], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    return build_figure(f"JavaScript loop over {count:,} positions", "us", json.loads(done.stdout)["seconds"])
