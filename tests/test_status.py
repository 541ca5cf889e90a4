"""What the daemon shows of itself, and when it says that it can hedge."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from dehedge import metrics
from dehedge.core.book import TradingMode
from dehedge.core.model import Leg
from dehedge.settlement import Refusals
from dehedge.status import StatusView
from tests.kit import Engine, World, a_policy, a_position

pytestmark = pytest.mark.looptime

LONG = a_position(1)


def a_view(engine: Engine) -> StatusView:
    view = StatusView(
        policy=engine.policy, snapshots=engine.snapshots, prices=engine.prices, venue=engine.venue,
        ledger=engine.ledger, auditor=engine.auditor, executor=engine.executor, reconciler=engine.reconciler,
        clock=engine.clock, connector_name="ledger",
    )  # fmt: skip
    view.is_recovered = True
    return view


async def a_running_engine(*positions) -> tuple[Engine, StatusView]:
    world = World()
    world.put(*positions)
    engine = Engine(world)
    await engine.start()
    await engine.run_for(5)
    return engine, a_view(engine)


async def test_status_is_not_ready_while_the_chain_is_behind_the_block_that_a_hedge_was_decided_at():
    engine, view = await a_running_engine(LONG)
    decided = engine.book.block_number

    engine.world.block = decided - 100
    await engine.run_for(2)

    (obstacle,) = view.find_obstacles()
    assert obstacle.startswith("chain: the last snapshot is of block ")
    assert obstacle.endswith(f", hedges were decided at {decided}")
    engine.world.block = decided
    await engine.run_for(2)
    assert view.find_obstacles() == []
    await engine.die()


async def test_status_is_ready_and_shows_hedges_and_positions_as_json_with_money_as_strings():
    engine, view = await a_running_engine(LONG, a_position(2, entry=61_000))

    assert view.find_obstacles() == []
    assert view.check_alive()
    status = json.loads(json.dumps(view.get_status()))
    assert (status["ready"], status["snapshot"]["vault"], status["hedges"]) == (True, "100000", 1)
    assert {row["guard"] for row in status["guards"]} == {
        "order_rate_limit", "opens_limit", "price_diverged", "forced_limit",
    }  # fmt: skip
    assert status["limits"] == {
        "max_price_age_s": engine.policy.max_price_age_s, "max_snapshot_age_s": engine.policy.max_snapshot_age_s,
    }  # fmt: skip
    (hedge,) = json.loads(json.dumps(view.get_hedges(0, 10)["hedges"]))
    assert (hedge["market"], hedge["side"], hedge["quantity"], hedge["status"]) == ("BTC-USD", "BUY", "0.166", "OPEN")
    assert hedge["position_id"] == LONG.key.position_id
    risky, quiet = json.loads(json.dumps(view.get_positions(0, 10)))
    assert (risky["pnl"], risky["decision"], risky["reason"]) == ("526.315789", "RefreshHedge", "at_risk")
    assert (quiet["at_risk"], quiet["reason"]) == (False, "not_at_risk")
    await engine.die()


async def test_status_measures_decisions_hedges_and_readiness_when_it_is_asked_to():
    engine, view = await a_running_engine(LONG, a_position(2, entry=61_000))

    def read(name: str, **labels: str) -> float | None:
        return metrics.REGISTRY.get_sample_value(name, labels)

    view.measure()

    assert read("dehedge_ready") == 1
    assert read("dehedge_decisions", reason="at_risk") == read("dehedge_decisions", reason="not_at_risk") == 1
    assert read("dehedge_positions_at_risk", market="BTC-USD") == 1
    assert read("dehedge_hedged_quantity", market="BTC-USD", side="BUY") == 0.166
    assert read("dehedge_positions", market="BTC-USD") == 2
    assert read("dehedge_vault_usd") == 100_000
    await engine.die()


async def test_status_names_every_reason_why_the_daemon_cannot_hedge():
    engine, view = await a_running_engine(LONG)
    engine.auditor._confirmed["BTCUSDT", Leg.BOTH] = Decimal("-0.166")
    engine.executor.refusals["ETHUSDT"] = Refusals(3, "the key is refused", asyncio.get_running_loop().time())
    await engine.reconciler.set_mode(TradingMode.NO_OPENS)
    await engine.die()
    engine.auditor.error = "connection refused"

    found = "\n".join(view.find_obstacles())

    for part in ("cannot be read: connection refused", "the key is refused", "BTCUSDT: the account differs by -0.166", "mode is no-opens: resume"):
        assert part in found
    assert view.get_status()["ready"] is False


async def test_status_says_which_input_is_stale():
    engine, view = await a_running_engine(LONG)
    await engine.die()
    engine.snapshots.fail(RuntimeError("all nodes are down"))
    await asyncio.sleep(31)

    found = view.find_obstacles()

    assert any(reason.startswith("chain: the last snapshot is 3") and "all nodes are down" in reason for reason in found)
    assert any(reason.startswith("prices: none fresh for BTC-USD, ETH-USD") for reason in found)


async def test_status_is_not_alive_when_no_pass_ends_for_a_while():
    engine, view = await a_running_engine(LONG)
    assert view.check_alive()
    await engine.die()
    await asyncio.sleep(16)

    assert not view.check_alive()


async def test_status_commands_turn_the_kill_switch():
    engine, view = await a_running_engine(LONG)

    await view.pause()
    assert engine.book.mode is TradingMode.NO_OPENS
    await view.resume()
    assert engine.book.mode is TradingMode.ACTIVE
    await view.flatten()
    await engine.run_for(5)

    assert view.get_hedges(0, 10)["hedges"] == []
    assert engine.world.venue.net("BTCUSDT") == Decimal(0)
    await engine.die()


async def test_status_tells_that_nothing_was_ever_read_when_the_inputs_are_new():
    engine = Engine(World())
    feeds = a_view(engine).get_status()["feeds"]
    engine.feed()

    assert feeds == {"chain": "no snapshot yet", "prices": "no price yet"}
    assert a_view(engine).get_status()["feeds"] == {"chain": "ok", "prices": "ok"}


@pytest.mark.parametrize("level", [None, TradingMode.REDUCE_ONLY])
async def test_pause_that_changes_nothing_keeps_reason_and_time_and_is_in_the_log(level):
    engine, view = await a_running_engine(LONG)
    await view.pause(TradingMode.REDUCE_ONLY, reason="the first")
    before, entries = view.get_status(), len(engine.world.journal.entries)
    await engine.run_for(5)

    with capture_logs() as logs:
        await view.pause(level, reason="the second")

    after = view.get_status()
    assert (after["reason"], after["mode_since"]) == ("the first", before["mode_since"])
    assert len(engine.world.journal.entries) == entries
    assert [(entry["event"], entry["reason"]) for entry in logs] == [("trading_mode_kept", "the second")]
    await view.pause(TradingMode.HALTED, reason="the third")
    assert view.get_status()["reason"] == "the third"
    await view.flatten(reason="the fourth")
    await view.pause(TradingMode.REDUCE_ONLY, reason="the fifth")
    assert view.get_status()["reason"] == "the fourth"
    await engine.die()


async def test_status_warns_of_a_market_whose_name_is_misspelled_in_the_configuration():
    world = World()
    world.put(LONG)
    engine = Engine(world, a_policy(symbols={"BTC-USDD": "BTCUSDT", "ETH-USD": "ETHUSDT"}))
    await engine.start()
    await engine.run_for(5)

    assert a_view(engine).find_warnings() == [
        "markets.toml: BTC-USDD is no market of the chain: correct or remove it",
        "markets.toml: there is no BTC-USD, so its open positions get no hedge",
    ]
    await engine.die()
    whole, view = await a_running_engine(LONG)
    assert view.find_warnings() == []
    await whole.die()
