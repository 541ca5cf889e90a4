"""What the dashboard shows beyond the status, of the engine on virtual time."""

from __future__ import annotations

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from dehedge.chronicle import SAMPLE_INTERVAL_S
from dehedge.core.invariants import Breach, Law
from dehedge.overview import Overview
from dehedge.status import StatusView
from tests.kit import Engine, World, a_policy, a_position

pytestmark = pytest.mark.looptime

LONG = a_position(1)
SHORT = a_position(2, market="ETH-USD", is_long=False, size_usd=6_000, entry=3_000)


def an_overview(engine: Engine) -> Overview:
    status = StatusView(
        policy=engine.policy, snapshots=engine.snapshots, prices=engine.prices, venue=engine.venue,
        ledger=engine.ledger, auditor=engine.auditor, executor=engine.executor, reconciler=engine.reconciler,
        clock=engine.clock, connector_name="ledger",
    )  # fmt: skip
    status.is_recovered = True
    return Overview(
        status=status, policy=engine.policy, snapshots=engine.snapshots, prices=engine.prices, venue=engine.venue,
        ledger=engine.ledger, reconciler=engine.reconciler, clock=engine.clock,
    )  # fmt: skip


async def a_running_engine(*positions) -> tuple[Engine, Overview]:
    world = World()
    world.put(*positions)
    engine = Engine(world)
    overview = an_overview(engine)
    overview.look()
    await engine.start()
    await engine.run_for(5)
    return engine, overview


async def test_exposure_is_what_the_traders_hold_less_what_is_hedged():
    engine, overview = await a_running_engine(LONG, SHORT)

    btc, eth = await overview.measure_exposure()

    assert json.loads(json.dumps(btc)) == {
        "market": "BTC-USD", "symbol": "BTCUSDT", "at_risk": 1, "hedges": 1, "positions": 1,
        "longs_usd": "10000", "shorts_usd": "0",
        "traders": {"coins": "0.17543860", "usd": "10526.32"},
        "hedged": {"coins": "0.166", "usd": "9960.00"},
        "unhedged": {"coins": "0.00943860", "usd": "566.32"},
    }  # fmt: skip
    assert eth["traders"] == {"coins": "-2.00000000", "usd": "-6000.00"}
    assert eth["hedged"] == {"coins": "0", "usd": "0.00"}
    await engine.die()


async def test_exposure_of_a_market_without_a_price_has_no_worth():
    engine, overview = await a_running_engine(LONG)
    engine.world.put(a_position(3, market="SOL-USD"))
    await engine.run_for(2)

    (row,) = [row for row in await overview.measure_exposure() if row["market"] == "SOL-USD"]

    assert row["symbol"] is None
    assert row["traders"]["usd"] is None
    await engine.die()


async def test_exposure_is_measured_anew_only_where_the_positions_are_others(monkeypatch):
    engine, overview = await a_running_engine(LONG)
    for task in engine.tasks:
        task.cancel()
    first = await overview.measure_exposure()
    monkeypatch.setattr("dehedge.overview.measure_crowds", None)

    assert await overview.measure_exposure() == first
    await engine.die()


async def test_inputs_tell_their_ages_their_limits_and_what_is_wrong():
    engine, overview = await a_running_engine(LONG)
    engine.snapshots.fail(OSError("the node is down"))

    rows = {row["name"]: row for row in overview.get_inputs()}

    assert rows["chain"]["error"] == "the node is down"
    assert rows["chain"]["max_age_s"] == engine.policy.max_snapshot_age_s
    assert rows["price BTC-USD"]["max_age_s"] == engine.policy.max_price_age_s
    assert engine.clock.time() - rows["price BTC-USD"]["at"] <= 2
    assert rows["mark BTCUSDT"] == {
        "name": "mark BTCUSDT", "at": rows["mark BTCUSDT"]["at"], "max_age_s": None, "error": None
    }  # fmt: skip
    assert rows["exchange"]["error"] is None
    assert rows["decisions"]["at"] == engine.reconciler.last_pass_at
    await engine.die()


async def test_inputs_before_anything_was_read_have_no_age():
    overview = an_overview(Engine(World()))

    rows = {row["name"]: row for row in overview.get_inputs()}

    assert (rows["chain"]["at"], rows["price BTC-USD"]["at"], rows["decisions"]["at"]) == (None, None, None)
    assert rows["exchange"]["error"] == "not connected yet"


async def test_sample_is_taken_each_ten_seconds_and_shown_as_columns_with_marks():
    engine, overview = await a_running_engine(LONG)
    task = asyncio.ensure_future(overview.run())
    await engine.run_for(3 * SAMPLE_INTERVAL_S)
    task.cancel()

    series = overview.get_series("BTC-USD")

    assert 3 <= len(series["times"]) <= 4
    assert {round(b - a) for a, b in zip(series["times"], series["times"][1:], strict=False)} == {10}
    assert set(series["vault"]) == {"100000"}
    assert set(series["prices"]) == {"BTC-USD"}
    assert set(series["prices"]["BTC-USD"]) == {"60000"}
    assert [(mark["kind"], mark["quantity"]) for mark in series["marks"]] == [("hedge_opened", "0.166")]
    assert set(overview.get_series()["prices"]) == {"BTC-USD", "ETH-USD"}
    assert overview.get_series("ETH-USD")["marks"] == []
    await engine.die()


async def test_nothing_is_sampled_before_anything_is_known_and_time_goes_forward(monkeypatch):
    engine = Engine(World())
    overview = an_overview(engine)
    overview.look()
    assert overview.get_series()["times"] == []

    engine.feed()
    overview.look()
    back_then = engine.clock.time() - 3_600
    monkeypatch.setattr(engine.clock, "time", lambda: back_then)
    overview.look()

    assert len(overview.get_series()["times"]) == 1
    assert overview.get_now()["prices"] == {"BTC-USD": "60000", "ETH-USD": "3000"}


async def test_changes_of_state_are_events_and_states_are_not():
    engine, overview = await a_running_engine(LONG)
    before = overview.count_events()
    for _ in range(3):
        overview.look()
    engine.prices.fail(OSError("no route to Hermes"))
    for _ in range(3):
        overview.look()
    engine.feed_prices()
    overview.look()

    kinds = [(row["kind"], row["text"]) for row in overview.get_events(before)]

    assert kinds == [
        ("feed_recovered", "exchange"),
        ("readiness_gained", "every input and the exchange are well"),
        ("feed_failed", "prices: no route to Hermes"),
        ("feed_recovered", "prices"),
    ]
    await engine.die()


async def test_lost_readiness_and_a_broken_law_are_events():
    engine, overview = await a_running_engine()
    overview.look()
    before = overview.count_events()
    engine.may_break_laws = True
    engine.guardian.note(Breach(Law.RATE, "ORDERS 10S", "301 of 300"))
    await engine.run_for(2)
    overview.look()

    rows = {row["kind"]: row for row in overview.get_events(before)}

    assert rows["invariant_broken"]["level"] == "critical"
    assert "301 of 300" in rows["invariant_broken"]["text"]
    assert "trading mode is no-opens" in rows["readiness_lost"]["text"]
    await engine.die()


async def test_look_that_fails_is_logged_and_the_next_one_is_taken(monkeypatch):
    engine = Engine(World())
    overview = an_overview(engine)
    looks = []

    def fail() -> None:
        looks.append(1)
        raise ZeroDivisionError

    monkeypatch.setattr(overview, "look", fail)
    with capture_logs() as logs:
        task = asyncio.ensure_future(overview.run())
        await asyncio.sleep(2.5)
        task.cancel()

    assert len(looks) == 3
    assert {line["event"] for line in logs} == {"overview_failed"}


async def test_restart_tells_what_the_journal_tells():
    engine, _ = await a_running_engine(LONG)
    await engine.die()
    again = Engine(engine.world)

    assert "hedge_opened" in {row["kind"] for row in an_overview(again).get_events(0)}


async def test_market_without_hedges_is_logged_once():
    world = World()
    world.put(LONG)
    engine = Engine(world, a_policy(symbols={"ETH-USD": "ETHUSDT"}))
    await engine.start()
    await engine.run_for(5)
    overview = an_overview(engine)
    with capture_logs() as logs:
        overview.look()
        overview.look()

    told = [entry["detail"] for entry in logs if entry["event"] == "market_without_hedges"]
    assert told == ["markets.toml: there is no BTC-USD, so its open positions get no hedge"]
    await engine.die()
