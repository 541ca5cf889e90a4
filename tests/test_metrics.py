"""The catalog says what the code has, and the number of series has a bound."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families

from dehedge import metrics
from dehedge.core.guards import GuardLimits
from dehedge.core.model import Market, PriceTick
from dehedge.core.sizing import Sizing
from tests.kit import SYMBOLS, Engine, World, a_policy, a_position
from tests.test_status import a_view

CATALOG = Path(__file__).parents[1] / "docs/metrics.md"
ROW = re.compile(r"^\| `(dehedge_\w+)` \| (\w+) \| ([^|]+) \|([^|]*)\| ([^|]+) \|$", re.MULTILINE)
UNITS = {
    "_time_seconds": "seconds since 1970", "_seconds": "seconds", "_seconds_total": "seconds", "_usd": "USD",
    "_bytes": "bytes", "_bps": "basis points of the mark",
}  # fmt: skip
ALL_LIMITS = GuardLimits(
    order_notional_usd=Decimal(10**7), market_notional_usd=Decimal(10**8), total_notional_usd=Decimal(10**8),
    free_margin_usd=Decimal(1), liquidation_distance_bps=1, fees_usd_per_hour=Decimal(10**6),
)  # fmt: skip


def read_catalog() -> dict[str, tuple[str, str, frozenset[str]]]:
    """Type, unit and labels of every metric, by name."""
    rows = ROW.findall(CATALOG.read_text(encoding="utf-8"))
    assert len({name for name, *_ in rows}) == len(rows)
    return {name: (kind, unit, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, unit, labels, _ in rows}


def get_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def collect(registry: CollectorRegistry = metrics.REGISTRY) -> dict[str, Metric]:
    return {get_name(family): family for family in registry.collect()}


def get_labels(name: str) -> frozenset[str]:
    """The labels of a metric by its definition; the process's have none."""
    found = [value for value in vars(metrics).values() if getattr(value, "_name", None) == name.removesuffix("_total")]
    return frozenset(found[0]._labelnames) if found else frozenset()


def test_catalog_has_every_metric_with_its_type_and_its_labels():
    families = collect()

    told = {name: (kind, labels) for name, (kind, _, labels) in read_catalog().items()}

    assert told == {name: (family.type, get_labels(name)) for name, family in families.items()}


def test_unit_of_a_metric_is_the_one_that_its_name_ends_in():
    wrong = {}
    for name, (_, unit, _) in read_catalog().items():
        suffix = max((suffix for suffix in UNITS if name.endswith(suffix)), key=len, default=None)
        if suffix is not None and unit != UNITS[suffix]:
            wrong[name] = unit

    assert wrong == {}


async def a_world_of(positions: int, markets: int, blocks: int) -> tuple[Engine, Counter[str]]:
    """An engine with so many positions at risk, in a chain with so many markets, and what is served of it."""
    world = World()
    world.venue.ledger.account.get_settings("BTCUSDT").isolated = True
    world.put(*(a_position(user) for user in range(1, positions + 1)))
    names = [f"M{number}-USD" for number in range(markets)]
    world.put(*(a_position(1, market=name) for name in names))
    world.build_snapshot = build_wider(world, names)  # type: ignore[method-assign]
    engine = Engine(world, a_policy(sizing=Sizing.DELTA), ALL_LIMITS)
    await engine.start()
    for _ in range(blocks):
        await engine.run_for(1)
        now = int(engine.clock.time())
        engine.prices.put([PriceTick(name, 10**18, 0, now) for name in names])
    a_view(engine).measure()
    served = Counter(get_name(family) for family in metrics.REGISTRY.collect() for _ in family.samples)
    return engine, served


def build_wider(world: World, names: list[str]):
    build = World.build_snapshot

    def build_snapshot(block_time: int, **changes: object):
        snapshot = build(world, block_time, **changes)
        markets = {**snapshot.markets, **{name: Market(name, "cc" * 32, 0) for name in names}}
        return replace(snapshot, markets=markets)

    return build_snapshot


@pytest.mark.looptime
async def test_number_of_series_does_not_grow_with_positions_hedges_orders_or_the_chains_markets():
    small, few = await a_world_of(1, 0, 2)
    assert len(small.book.get_all_hedged_positions()) == 1
    await small.die()

    large, many = await a_world_of(200, 100, 6)

    assert len(large.book.get_all_hedged_positions()) == 200
    assert len(large.world.journal.entries) > 2
    assert {name: count for name, count in many.items() if count > few[name]} == {}
    assert sum(few.values()) < 200 + 60 * len(SYMBOLS)
    await large.die()


def list_labels() -> Iterator[tuple[str, str, str]]:
    for family in metrics.REGISTRY.collect():
        for sample in family.samples:
            for label, value in sample.labels.items():
                yield family.name, label, value


@pytest.mark.looptime
async def test_labels_are_the_configurations_and_fixed_words():
    before = set(list_labels())
    engine, _ = await a_world_of(3, 5, 2)
    words = {
        "market": {*SYMBOLS, metrics.OTHER}, "symbol": {*SYMBOLS.values()}, "side": {"BUY", "SELL"}, "asset": {"USDT"},
        "scope": {*SYMBOLS.values(), "all"}, "feed": {"chain", "prices"},
    }  # fmt: skip

    new = set(list_labels()) - before
    assert {(name, label, value) for name, label, value in new if label in words and value not in words[label]} == set()
    await engine.die()


def test_every_counter_begins_at_zero_before_anything_is_counted():
    metrics.begin_counting({"SOL-USD": "SOLUSDT"})

    def read(name: str, **labels: str) -> float | None:
        return metrics.REGISTRY.get_sample_value(name, labels)

    for outcome in metrics.OUTCOMES:
        assert read("dehedge_orders_total", symbol="SOLUSDT", action="increase", outcome=outcome) == 0
    assert read("dehedge_hedge_changes_total", market="SOL-USD", kind="hedge_forced") == 0
    for counter, label in ((metrics.ORDERS, "SOLUSDT"), (metrics.HEDGE_CHANGES, "SOL-USD")):
        for labels in [labels for labels in counter._metrics if label in labels]:
            counter.remove(*labels)


def test_what_is_served_can_be_read_by_prometheus():
    from prometheus_client import generate_latest

    families = list(text_string_to_metric_families(generate_latest(metrics.REGISTRY).decode()))

    assert {get_name(family) for family in families} == {*collect()}
