"""What the gauges say of an engine at work, each in the situation that it is there for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from dehedge import __version__, metrics
from dehedge.core.book import TradingMode
from dehedge.core.guards import GuardLimits
from dehedge.core.model import Leg, Position
from dehedge.core.policy import HedgingPolicy
from dehedge.errors import AuthenticationFailed
from dehedge.ports import LimitUse, Traffic
from dehedge.settlement import REFUSAL_REMEMBERED_S, Refusals
from dehedge.venue import MARK_AGE_MAX_S
from tests.kit import EPOCH, Engine, World, a_policy, a_position
from tests.test_status import a_view

pytestmark = pytest.mark.looptime

LONG = a_position(1)


def read(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(f"dehedge_{name}", labels)


async def an_engine(
    *positions: Position, limits: GuardLimits | None = None, policy: HedgingPolicy | None = None
) -> Engine:
    world = World()
    world.venue.ledger.account.get_settings("BTCUSDT").isolated = True
    world.put(*positions)
    engine = Engine(world, policy, limits)
    await engine.start()
    await engine.run_for(2)
    return engine


def measure(engine: Engine) -> None:
    a_view(engine).measure()


async def test_gauges_show_what_is_held_and_what_it_is_worth():
    engine = await an_engine(LONG, a_position(2, is_long=False, entry=63_000, size_usd=6_000))
    measure(engine)

    assert read("hedges", market="BTC-USD", side="BUY") == read("hedges", market="BTC-USD", side="SELL") == 1
    assert read("hedged_quantity", market="BTC-USD", side="SELL") == pytest.approx(0.1)
    assert read("hedged_notional_usd", market="BTC-USD", side="BUY") == pytest.approx(0.166 * 60_000)
    assert read("size_at_risk_usd", market="BTC-USD", side="BUY") == 10_000
    assert read("size_at_risk_usd", market="BTC-USD", side="SELL") == 6_000
    assert read("positions_unhedged", market="BTC-USD") == 0
    assert read("info", version=__version__, connector="ledger") == 1
    await engine.die()


async def test_gauges_show_a_risk_without_a_hedge():
    engine = await an_engine()
    await engine.reconciler.set_mode(TradingMode.NO_OPENS)
    engine.world.put(LONG)
    await engine.run_for(2)
    measure(engine)

    assert (read("positions_at_risk", market="BTC-USD"), read("positions_unhedged", market="BTC-USD")) == (1, 1)
    await engine.reconciler.set_mode(TradingMode.ACTIVE)
    await engine.run_for(2)
    measure(engine)
    assert (read("positions_at_risk", market="BTC-USD"), read("positions_unhedged", market="BTC-USD")) == (1, 0)
    await engine.die()


async def test_gauges_do_not_count_a_risk_that_is_too_small_for_a_hedge():
    engine = await an_engine(a_position(1, size_usd=40, entry=10_000), policy=a_policy(size_min=0))
    measure(engine)

    assert read("decisions", reason="too_small") == read("positions_at_risk", market="BTC-USD") == 1
    assert read("positions_unhedged", market="BTC-USD") == 0
    await engine.die()


async def test_gauges_want_no_price_of_a_market_that_the_chain_does_not_have():
    engine = await an_engine()
    snapshot = engine.snapshots.latest
    assert snapshot is not None
    await engine.die()
    engine.snapshots.put(replace(snapshot, markets={"BTC-USD": snapshot.markets["BTC-USD"]}))
    measure(engine)

    assert (read("price_fresh", market="BTC-USD"), read("price_fresh", market="ETH-USD")) == (1, None)


async def test_gauges_want_no_mark_and_no_margin_of_a_symbol_that_the_exchange_has_taken_off():
    engine = await an_engine()
    await engine.die()
    await asyncio.sleep(MARK_AGE_MAX_S + 1)
    engine.world.venue.get_mark_prices = dict
    measure(engine)
    assert read("mark_fresh", symbol="ETHUSDT") == 0

    engine.venue.rules = {"BTCUSDT": replace(engine.venue.rules["BTCUSDT"], margin_asset="USDC")}
    measure(engine)

    assert (read("mark_fresh", symbol="BTCUSDT"), read("mark_fresh", symbol="ETHUSDT")) == (0, None)
    assert (read("margin_low", asset="USDC"), read("margin_low", asset="USDT")) == (1, None)
    assert (read("margin_available", asset="USDT"), read("margin_balance", asset="USDT")) == (None, None)


@pytest.mark.parametrize("mode", list(TradingMode))
async def test_gauges_show_the_mode_and_no_other(mode: TradingMode):
    engine = await an_engine()
    await engine.reconciler.set_mode(mode)
    measure(engine)

    assert {each: read("trading_mode", mode=each.value) for each in TradingMode} == {
        each: float(each is mode) for each in TradingMode
    }
    assert read("ready") == (mode is TradingMode.ACTIVE)
    await engine.die()


async def test_gauges_show_inputs_that_age():
    engine = await an_engine()
    measure(engine)
    assert (read("snapshot_fresh"), read("price_fresh", market="ETH-USD"), read("mark_fresh", symbol="ETHUSDT")) == (
        1,
        1,
        1,
    )
    assert read("price_time_seconds", market="BTC-USD") == engine.prices.latest["BTC-USD"].publish_time

    await engine.die()
    await asyncio.sleep(11)
    measure(engine)
    assert (read("snapshot_fresh"), read("price_fresh", market="ETH-USD"), read("alive")) == (1, 0, 1)
    await asyncio.sleep(20)
    measure(engine)
    assert (read("snapshot_fresh"), read("alive")) == (0, 0)


async def test_gauges_show_nothing_known_before_anything_was_there():
    engine = Engine(World())
    measure(engine)

    assert read("price_time_seconds", market="BTC-USD") == read("price_fresh", market="BTC-USD") == 0
    assert read("exchange_up") == read("ready") == read("account_read_time_seconds") == 0


async def test_gauges_show_the_age_of_the_oldest_order_whose_outcome_is_unknown():
    engine = await an_engine()
    engine.world.venue.script.append("hidden")
    engine.world.venue.hidden_s = 1_000
    engine.world.put(LONG)
    await engine.run_for(31)
    measure(engine)

    assert read("orders_in_flight") == 1
    assert 28 < (read("oldest_order_age_seconds") or 0) < 32
    await engine.die()


async def test_gauges_show_refusals_in_a_row_for_as_long_as_they_are_news():
    engine = await an_engine()
    engine.executor.refusals["BTCUSDT"] = Refusals(4, "no margin", asyncio.get_running_loop().time())
    measure(engine)
    assert (read("orders_refused_in_a_row", symbol="BTCUSDT"), read("orders_refused_in_a_row", symbol="ETHUSDT")) == (
        4,
        0,
    )

    await asyncio.sleep(REFUSAL_REMEMBERED_S + 1)
    measure(engine)
    assert read("orders_refused_in_a_row", symbol="BTCUSDT") == 0
    await engine.die()


async def test_gauges_show_what_is_wrong_with_the_account():
    engine = await an_engine()
    measure(engine)
    assert read("exchange_up") == 1
    engine.auditor._confirmed["BTCUSDT", Leg.BOTH] = Decimal("-0.1")
    engine.venue.unsettled["ETHUSDT"] = "leverage"
    engine.auditor.error = "no answer"
    measure(engine)

    assert (read("account_differs", symbol="BTCUSDT"), read("symbol_blocked", symbol="BTCUSDT")) == (1, 1)
    assert (read("account_differs", symbol="ETHUSDT"), read("symbol_blocked", symbol="ETHUSDT")) == (0, 1)
    assert read("exchange_up") == 0
    await engine.die()


async def test_gauges_show_the_margin_and_the_distance_from_liquidation_while_there_is_one():
    engine = await an_engine(LONG)
    await engine.run_for(60)
    measure(engine)

    assert read("margin_balance", asset="USDT") == pytest.approx(1_000_000, rel=0.001)
    assert (read("margin_low", asset="USDT"), read("key_refused")) == (0, 0)
    assert read("account_read_time_seconds") > EPOCH
    assert 350 < (read("liquidation_distance_bps", symbol="BTCUSDT") or 0) < 550
    assert read("liquidation_distance_bps", symbol="ETHUSDT") is None

    engine.world.remove(LONG)
    await engine.run_for(70)
    measure(engine)
    assert read("liquidation_distance_bps", symbol="BTCUSDT") is None
    await engine.die()


async def test_gauges_show_that_the_key_is_refused(monkeypatch: pytest.MonkeyPatch):
    engine = await an_engine()

    async def refuse():
        raise AuthenticationFailed("the exchange refused the key")

    monkeypatch.setattr(engine.world.venue, "fetch_balances", refuse)
    await engine.run_for(61)
    measure(engine)

    assert read("key_refused") == 1
    await engine.die()


async def test_gauges_show_the_exchanges_limits_of_now():
    engine = await an_engine()
    engine.world.venue.traffic = Traffic((LimitUse("orders", "10S", 250, 300), LimitUse("orders", "1M", 9, 1200)), 7.5)
    measure(engine)
    assert (
        read("rate_limit_used", limit="orders", window="10S"),
        read("rate_limit_max", limit="orders", window="10S"),
    ) == (250, 300)
    assert read("requests_paused_seconds") == 7.5

    engine.world.venue.traffic = Traffic((LimitUse("orders", "1M", 9, 1200),))
    measure(engine)
    assert read("rate_limit_used", limit="orders", window="10S") is None
    await engine.die()


async def test_gauges_show_what_is_used_of_the_operators_limits():
    engine = await an_engine(LONG, limits=GuardLimits(fees_usd_per_hour=Decimal(10)))
    measure(engine)

    assert read("guard_limit", guard="fee_limit", scope="all") == 10
    assert read("guard_used", guard="fee_limit", scope="all") == pytest.approx(0.166 * 60_000 * 0.0005)
    assert read("guard_used", guard="order_notional_limit", scope="all") is None
    await engine.die()
