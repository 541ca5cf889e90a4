"""A day in the life of the daemon, on virtual time: whether it keeps what it should have forgotten.

The whole daemon with its stand-ins in one process, as ``tests.simulation`` builds it, with traffic day and night: prices
that wander through the risks, positions that come, change and go, hedges that follow them, streams that end. What the
stand-ins keep for ever is taken from them every hour, so that what is left is the daemon's. Counted once an hour, after a
collection: objects that live, and their bytes with those of what they refer to, less those before the start. Virtual time
makes every run the same.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import NamedTuple
from unittest import mock

import structlog
from tests.simulation import run as simulation
from tests.simulation.machine import virtual_machine
from tests.simulation.world import EXCHANGE_PORT, HERMES_PORT, RULES, World

from bench.figures import Figure, build_figure
from dehedge.sim.exchange import ExchangeSettings, SimExchange
from dehedge.sim.hermes import SimHermes
from dehedge.sim.world import SYMBOLS, USD, build_position

HOURS, HOUR_S = 24, 3_600
PRICES_S, MARKS_S, POLL_S = 2.0, 2.0, "6"
"""Half of what a real day has of prices and marks, and of readings, so that it takes minutes."""

ACT_S = 5.0
TRAFFIC_S = 60
"""An order in each such time at least."""

CROWD = 150
"""So many positions are held by three times as many traders."""

SHIELD_USD = 200
MOVE_BPS, REACH_BPS = 30, 500
SIZES_USD = (1_500, 4_000, 10_000, 25_000)
KEPT_MS = HOUR_S * 1_000
GROWTH_MAX = 1.02
"""Of the last quarter of the day over the second one: what an hour's traffic leaves varies by less."""

ENVIRONMENT = {
    "POLL_INTERVAL_SECONDS": POLL_S,
    "MAX_OPENS_PER_HOUR": "1000",
    "MAX_ORDERS_PER_MINUTE": "1200",
    "MIN_COLLATERAL": "10",
}


class Count(NamedTuple):
    """At the end of an hour, of what was made since the start."""

    objects: int
    bytes: int
    orders: int = 0


class Day(NamedTuple):
    """A count for each hour; what there was more of at the end than in the middle."""

    counts: list[Count]
    more: str


class SoakWorld(World):
    """The simulation's world with a larger account and a slower market, which forgets."""

    def _build_services(self, *, hedge_mode: bool) -> None:
        super()._build_services(hedge_mode=hedge_mode)
        clock = self.get_true_time
        marks = {RULES[SYMBOLS[market]]: price for market, price in self.prices.items()}
        self.hermes = SimHermes(clock=clock, interval_s=PRICES_S, port=HERMES_PORT)
        settings = ExchangeSettings(marks=marks, balance=Decimal(10_000_000), liquidates=False, beat_s=MARKS_S)
        self.exchange = SimExchange(settings, clock=clock, rng=random.Random(1), port=EXCHANGE_PORT)

    def note(self, *what: object) -> None:
        """Nothing is told afterwards."""

    def forget(self) -> int:
        """What the stand-ins and the loop keep for judging; the number of orders among it."""
        ledger, now_ms = self.exchange.ledger, self.exchange.get_now_ms()
        count = len(ledger.points)
        old = [
            order for order in ledger.orders.by_id.values() if not order.is_open and order.updated_ms < now_ms - KEPT_MS
        ]
        for order in old:
            del ledger.orders.by_id[order.order_id]
            ledger.orders._latest.pop((order.symbol, order.client_id), None)
        ledger.fills[:] = [fill for fill in ledger.fills if fill.at_ms >= now_ms - KEPT_MS]
        for kept in (
            ledger.points, ledger.account.incomes, self.exchange.api.record.requests, self.exchange.streams.user_events,
            self.hermes.requests, *(node.requests for node in self.nodes),
        ):  # fmt: skip
            kept.clear()
        self.loop.tasks[:] = [task for task in self.loop.tasks if not task.done()]
        return count

    async def stop(self) -> None:
        """In order, by a signal, so that nothing is left to complain."""
        self._is_over, task = True, self._task
        assert task is not None, "the daemon runs"
        self.terminate_daemon()
        await task
        await asyncio.gather(self.exchange.stop(), self.hermes.stop(), *(node.stop() for node in self.nodes))


def run(hours: int = HOURS, hour_s: int = HOUR_S) -> Iterator[Figure]:
    """Of hours as long as they are asked to be; whether they grow is judged of a whole day alone."""
    began = time.process_time()
    hourly, more = live(hours, hour_s)
    taken_s = time.process_time() - began
    assert all(count.orders > hour_s / TRAFFIC_S for count in hourly), "there was traffic"
    name = f"soak of {hours * hour_s / HOUR_S:.1f} h"
    yield build_figure(f"{name}: orders in each", "orders", [count.orders for count in hourly])
    yield build_figure(f"{name}: live objects", "objects", [count.objects for count in hourly])
    megabytes = [count.bytes / 1e6 for count in hourly]
    yield build_figure(f"{name}: live bytes", "MB", megabytes, hours=[round(value, 3) for value in megabytes])
    if hours * hour_s >= HOURS * HOUR_S:
        growth = compute_growth(megabytes)
        yield build_figure(f"{name}: last quarter over second", "x", [growth], GROWTH_MAX)
        if growth > GROWTH_MAX:
            print(f"at the end of the day, more of: {more}")
    yield build_figure(f"{name}: of processor time", "s", [taken_s])


def compute_growth(values: Sequence[float]) -> float:
    quarter = len(values) // 4
    return median(values[-quarter:]) / median(values[quarter : 2 * quarter])


def live(hours: int, hour_s: int) -> Day:
    memory = Path("/dev/shm")  # noqa: S108  (where the machine has it: the disk is not what is measured)
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        with mock.patch.dict(simulation.ENVIRONMENT, ENVIRONMENT):
            settings = simulation._read_settings(Path(folder))
        before = structlog.get_config()
        structlog.configure(processors=[_drop])
        with virtual_machine("soak") as loop:
            base = weigh()
            try:
                return loop.run_until_complete(_live(SoakWorld(loop, settings, hedge_mode=False), hours, hour_s, base))
            finally:
                loop.forget()
                structlog.configure(**before)


def _drop(_logger: object, _method: str, event: dict[str, object]) -> str:
    assert event["event"] != "invariant_broken", f"a law was broken: {event}"
    raise structlog.DropEvent


async def _live(world: SoakWorld, hours: int, hour_s: int, base: Count) -> Day:
    chance = random.Random(7)
    world.chain.set_vault(10_000_000 * USD)
    world.chain.set_shield(SHIELD_USD * USD)
    await world.start()
    _fill(world, chance)
    counts, types = [], Counter[str]()
    for hour in range(1, hours + 1):
        await _pass_an_hour(world, chance, hour_s)
        orders, weight = world.forget(), weigh()
        counts.append(Count(weight.objects - base.objects, weight.bytes - base.bytes, orders))
        assert not world.problems, world.problems
        if hour == hours // 2:
            types = count_types()
        if hour % 6 == 0:
            world.hermes.end_streams()
            world.exchange.expire_listen_key()
    more = ", ".join(f"{number:,} {name}" for name, number in (count_types() - types).most_common(12))
    _check_hedged(world)
    await world.stop()
    return Day(counts, more)


async def _pass_an_hour(world: SoakWorld, chance: random.Random, hour_s: int) -> None:
    until = world.loop.time() + hour_s
    while world.loop.time() < until:
        chance.choice((_move, _move, _move, _move, _change, _turn_over))(world, chance)
        await asyncio.sleep(ACT_S)


def _move(world: World, chance: random.Random) -> None:
    """A step of a price that wanders, but not away."""
    market = chance.choice([*SYMBOLS])
    home = Decimal(60_000 if market == "BTC-USD" else 3_000)
    moved = world.prices[market] * (10_000 + chance.randint(-MOVE_BPS, MOVE_BPS)) / 10_000
    reach = home * REACH_BPS / 10_000
    world.set_price(market, max(home - reach, min(home + reach, moved)).quantize(Decimal("0.01")))


def _change(world: World, chance: random.Random) -> None:
    """A trader's position takes another size, or another side."""
    position = chance.choice(world.chain.head.contents.positions)
    _put(world, chance, int(position.user, 16), position.market)


def _turn_over(world: World, chance: random.Random) -> None:
    """One goes and another one comes."""
    world.chain.remove(chance.choice(world.chain.head.contents.positions).key)
    _fill(world, chance)


def _fill(world: World, chance: random.Random) -> None:
    """A trader who has a position already only changes it."""
    while world.chain.count < CROWD:
        _put(world, chance, chance.randint(1, 3 * CROWD), chance.choice([*SYMBOLS]))


def _put(world: World, chance: random.Random, user: int, market: str) -> None:
    entry = world.prices[market] * (10_000 + chance.randint(-200, 200)) / 10_000
    size_usd = chance.choice(SIZES_USD)
    world.chain.put(build_position(user, market, is_long=chance.random() < 0.5, size_usd=size_usd, price=entry))
    world.chain.mine()


def _check_hedged(world: SoakWorld) -> None:
    """The book and the exchange agree, and hedges are held."""
    book = world.book
    assert book is not None, "the daemon runs"
    hedges = book.get_all_hedged_positions().values()
    assert hedges, "something is hedged"
    for symbol in SYMBOLS.values():
        held = sum((hedge.signed_quantity for hedge in hedges if hedge.symbol == symbol), Decimal(0))
        flying = any(order.request.symbol == symbol for order in book.in_flight.values())
        assert flying or abs(held) == abs(world.exchange.net(symbol)), f"{symbol}: book and exchange differ"


def count_types() -> Counter[str]:
    return Counter(type(found).__name__ for found in gc.get_objects())


def weigh() -> Count:
    """All objects of this process. Text, numbers and what holds nothing else are found through what refers to them."""
    gc.collect()
    objects = found = gc.get_objects()
    seen = {id(each): sys.getsizeof(each) for each in objects}
    while found:
        found = [part for part in gc.get_referents(*found) if not gc.is_tracked(part) and id(part) not in seen]
        found = list({id(part): part for part in found}.values())
        seen |= {id(part): sys.getsizeof(part) for part in found}
    return Count(len(objects), sum(seen.values()))
