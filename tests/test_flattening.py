"""Flattening to the end: closes whatever else is broken, confirms from the account, and says what is left and why."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from decimal import Decimal

import pytest

from dehedge import flattening
from dehedge.core.book import TradingMode
from dehedge.core.model import Side
from dehedge.core.orders import Action
from dehedge.settlement import Refusals
from dehedge.status import StatusView
from tests.kit import EPOCH, RULES, Engine, Venue, World, a_policy, a_position
from tests.test_status import a_view

pytestmark = pytest.mark.looptime

LONG, SHORT = a_position(1), a_position(2, is_long=False, size_usd=6_000, entry=63_000)
ETH = a_position(3, market="ETH-USD", entry=2_800)
TARGET = Decimal("0.166")


async def an_engine(*positions, world: World | None = None, **policy) -> tuple[Engine, StatusView]:
    world = world or World()
    world.put(*positions)
    engine = Engine(world, a_policy(**policy))
    await engine.start()
    await engine.run_for(5)
    return engine, a_view(engine)


async def look(view: StatusView) -> dict:
    """As a program reads it."""
    return json.loads(json.dumps(await view.fetch_flattening()))


async def tell(view: StatusView) -> list[tuple[str, str, str, str]]:
    return [(row["symbol"], row["side"], row["quantity"], row["owner"]) for row in (await look(view))["left"]]


async def explain(view: StatusView) -> str:
    (row,) = (await look(view))["left"]
    return row["reason"]


@pytest.mark.parametrize("hedge_mode", [False, True])
async def test_flatten_closes_everything_and_confirms_it_from_the_account(hedge_mode):
    engine, view = await an_engine(LONG, SHORT, ETH, world=World(venue=Venue(hedge_mode=hedge_mode)))
    assert sorted(await tell(view)) == [
        ("BTCUSDT", "BUY", "0.166", "ours"), ("BTCUSDT", "SELL", "0.100", "ours"), ("ETHUSDT", "BUY", "3.333", "ours"),
    ]  # fmt: skip

    await view.flatten(reason="flatten from a test")
    await engine.run_for(5)

    answer = await look(view)
    assert (answer["flat"], answer["left"], answer["is_flattening"], answer["error"]) == (True, [], False, None)
    assert answer["confirmed_at"] == engine.clock.time() - 0.01
    assert engine.world.venue.ledger.account.get_open_positions() == []
    await engine.die()


async def test_hedges_are_not_flat_and_say_so_when_nobody_asked_for_a_flattening():
    engine, view = await an_engine(LONG)

    answer = await look(view)

    assert (answer["flat"], answer["confirmed_at"]) == (False, None)
    assert await explain(view) == "no flattening is under way; `dehedge flatten` closes it"
    await engine.die()


async def test_foreign_positions_are_told_and_never_traded_when_everything_is_flattened():
    world = World()
    world.venue.trade_by_hand("BTCUSDT", "SELL", "0.3")
    world.venue.trade_by_hand("ETHUSDT", "BUY", "2")
    engine, view = await an_engine(LONG, world=world, symbols={"BTC-USD": "BTCUSDT"})

    await view.flatten()
    await engine.run_for(5)

    answer = await look(view)
    assert answer["flat"]
    assert [(row["symbol"], row["side"], row["quantity"], row["reason"]) for row in answer["left"]] == [
        ("BTCUSDT", "SELL", "0.3", "not of this daemon: never traded"),
        ("ETHUSDT", "BUY", "2", "in a symbol that is not hedged: never traded"),
    ]
    assert (world.venue.net("BTCUSDT"), world.venue.net("ETHUSDT")) == (Decimal("-0.3"), Decimal(2))
    await engine.die()


async def test_flatten_waits_for_the_exchange_when_it_is_down():
    engine, view = await an_engine(LONG)
    engine.world.venue.is_down = True

    await view.flatten()
    await engine.run_for(30)
    answer = await look(view)
    assert (answer["flat"], answer["error"]) == (False, "the account cannot be read: connection refused")
    assert [row["reason"] for row in answer["left"]] == [answer["error"]]

    engine.world.venue.is_down = False
    await engine.run_for(30)
    assert (await look(view))["flat"]
    await engine.die()


@pytest.mark.parametrize("missing", ["snapshots", "prices", "both"])
async def test_flatten_needs_neither_chain_nor_prices_when_the_daemon_comes_up_without_them(missing, monkeypatch):
    first, view = await an_engine(LONG)
    await first.die()
    for name in ("snapshots", "prices") if missing == "both" else (missing,):
        blind = Engine.__init__

        def build(engine, *arguments, name=name, blind=blind):
            blind(engine, *arguments)
            monkeypatch.setattr(getattr(engine, name), "put", lambda _: None)

        monkeypatch.setattr(Engine, "__init__", build)
    second, view = await an_engine(world=first.world)
    assert second.reconciler.observe() is None

    await view.flatten()
    await second.run_for(5)

    assert (await look(view))["flat"]
    assert first.world.venue.net("BTCUSDT") == 0
    await second.die()


async def test_flatten_goes_on_when_the_inputs_are_stale(monkeypatch):
    engine, view = await an_engine(LONG)
    monkeypatch.setattr(engine, "feed", lambda: None)
    await engine.run_for(60)

    await view.flatten()
    await engine.run_for(5)

    assert (await look(view))["flat"]
    await engine.die()


async def test_flatten_wins_over_a_halt_that_came_before_it():
    engine, view = await an_engine(LONG)
    await view.pause(TradingMode.HALTED)
    engine.world.remove(LONG)
    await engine.run_for(10)
    assert engine.held(LONG) == TARGET
    assert "halted" in await explain(view)

    await view.flatten()
    await engine.run_for(5)

    assert (await look(view))["flat"]
    assert engine.book.mode is TradingMode.REDUCE_ONLY
    await engine.die()


async def test_halt_ends_a_flattening_and_the_answer_says_so():
    engine, view = await an_engine(LONG)
    engine.world.venue.is_down = True
    await view.flatten()
    await engine.run_for(3)
    await view.pause(TradingMode.HALTED)
    engine.world.venue.is_down = False
    await engine.run_for(60)

    answer = await look(view)
    assert (answer["flat"], answer["is_flattening"], answer["mode"]) == (False, False, "halted")
    assert await explain(view) == "halted: nothing is sent; `dehedge flatten` closes it"
    assert engine.held(LONG) == TARGET
    await engine.die()


@pytest.mark.parametrize("level", [None, TradingMode.NO_OPENS, TradingMode.REDUCE_ONLY])
async def test_flattening_goes_on_when_it_is_paused_meanwhile(level):
    engine, view = await an_engine(LONG)
    engine.world.venue.is_down = True
    await view.flatten()
    await engine.run_for(3)
    await view.pause(level)
    engine.world.venue.is_down = False
    await engine.run_for(30)

    assert (await look(view))["flat"]
    assert engine.book.mode is (level or TradingMode.NO_OPENS)
    await engine.die()


async def test_hedges_are_built_again_only_after_a_resume_when_they_were_flattened():
    engine, view = await an_engine(LONG)
    await view.flatten()
    await engine.run_for(60)
    assert engine.world.venue.net("BTCUSDT") == 0

    await view.resume()
    await engine.run_for(5)

    assert engine.world.venue.net("BTCUSDT") == TARGET
    await engine.die()


async def test_resume_ends_a_flattening_and_keeps_what_is_left():
    engine, view = await an_engine(LONG)
    engine.world.venue.is_down = True
    await view.flatten()
    await engine.run_for(3)
    await view.resume()
    engine.world.venue.is_down = False
    await engine.run_for(60)

    assert engine.held(LONG) == TARGET == engine.world.venue.net("BTCUSDT")
    assert len(engine.world.venue.sent) == 1
    await engine.die()


async def test_flattening_goes_on_after_a_restart():
    engine, view = await an_engine(LONG)
    engine.world.venue.is_down = True
    await view.flatten(reason="flatten from a test")
    await engine.run_for(3)
    await engine.die()
    engine.world.venue.is_down = False

    second, view = await an_engine(world=engine.world)
    await second.run_for(5)

    assert (await look(view))["flat"]
    assert view.get_status()["reason"] == "flatten from a test"
    await second.die()


async def test_answer_repeats_the_words_of_the_exchange_when_a_close_is_refused():
    engine, view = await an_engine(LONG)
    engine.world.venue.script.extend(["refused"] * 50)

    await view.flatten()
    await engine.run_for(10)

    assert await explain(view) == "refused, tried again: Margin is insufficient."
    assert not (await look(view))["flat"]
    await engine.die()


async def test_answer_does_not_repeat_a_refusal_of_long_ago():
    engine, view = await an_engine(LONG)
    engine.executor.refusals["BTCUSDT"] = Refusals(1, "long ago", asyncio.get_running_loop().time() - 61)
    engine.executor.backoff.fail([LONG.key], Action.REDUCE, at_least_s=30)
    await view.flatten()

    assert await explain(view) == "waiting for its next try"
    await engine.die()


async def test_flattening_is_recorded_once_when_nothing_is_held():
    engine, view = await an_engine()
    await view.flatten()
    await engine.run_for(60)

    assert [entry.event.is_flattening for entry in engine.world.journal.entries] == [True, False]
    await engine.die()


async def test_answer_says_that_a_symbol_does_not_trade():
    engine, view = await an_engine(LONG)
    engine.world.venue.script.extend(["refused"] * 50)
    engine.venue.rules = {**RULES, "BTCUSDT": replace(RULES["BTCUSDT"], is_trading=False)}

    await view.flatten()
    await engine.run_for(10)

    assert (await explain(view)).startswith("BTCUSDT is not trading on the exchange; refused, tried again: ")
    await engine.die()


async def test_answer_names_the_order_when_a_close_is_in_flight_and_when_its_reply_is_lost():
    engine, view = await an_engine(LONG)
    engine.world.venue.script.append("never")
    await view.flatten()
    await engine.run_for(0.5)
    order_id = engine.world.venue.sent[-1].client_order_id

    assert await explain(view) == f"order {order_id} is in flight"
    await engine.run_for(5)
    assert await explain(view) == f"what became of order {order_id} is unknown: the exchange is being asked"
    assert not (await look(view))["flat"]
    await engine.run_for(30)

    assert (await look(view))["flat"]
    await engine.die()


async def test_answer_is_not_flat_while_an_open_is_in_flight():
    world = World()
    world.venue.script.append("never")
    world.put(LONG)
    engine = Engine(world)
    await engine.start()
    await engine.run_for(0.5)
    view = a_view(engine)
    await view.flatten()

    answer = await look(view)

    assert (answer["flat"], [row["quantity"] for row in answer["left"]]) == (False, ["0"])
    await engine.run_for(40)
    assert (await look(view))["flat"]
    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_what_our_own_close_has_filled_is_not_unexplained_while_it_is_in_flight():
    engine, view = await an_engine(LONG)
    engine.world.venue.script.append("hangs")
    await view.flatten()
    await engine.run_for(1)
    assert engine.world.venue.net("BTCUSDT") == 0

    (row,) = (await look(view))["left"]

    assert (row["owner"], row["quantity"]) == ("ours", "0.166")
    assert row["reason"].endswith("is in flight")
    await engine.die()


async def test_answer_is_not_flat_when_the_account_holds_what_is_nobodys():
    engine, view = await an_engine(LONG)
    await view.flatten()
    engine.world.venue.force("BTCUSDT", "0.266")
    await engine.run_for(90)

    answer = await look(view)
    (row,) = answer["left"]
    assert (answer["flat"], row["owner"], row["side"], row["quantity"]) == (False, "unexplained", "SELL", "0.100")
    assert "put it back or close it by hand" in row["reason"]
    assert not engine.book.get_all_hedged_positions()
    await engine.die()


async def test_answer_tells_of_a_difference_that_is_not_yet_understood():
    engine, view = await an_engine(LONG)
    engine.world.venue.trade_by_hand("BTCUSDT", "SELL", "0.166")
    await view.flatten()
    await engine.run_for(0.015)

    ours, other = (await look(view))["left"]

    assert "the account holds less than the book" in ours["reason"]
    assert (other["owner"], other["side"], other["quantity"]) == ("unexplained", "SELL", "0.166")
    await engine.die()


async def test_answer_is_not_flat_before_the_daemon_has_recovered():
    engine, view = await an_engine()
    view.is_recovered = False

    answer = await look(view)

    assert (answer["flat"], answer["error"]) == (False, "recovery: orders in flight are being resolved")
    await engine.die()


async def test_answer_tells_that_the_exchange_was_never_reached():
    engine = Engine(World())

    answer = await look(a_view(engine))

    assert (answer["flat"], answer["error"]) == (False, "exchange: not connected yet")
    assert engine.world.venue.position_reads == 0


async def test_answer_does_not_wait_for_an_exchange_that_hangs(monkeypatch):
    engine, view = await an_engine(LONG)
    monkeypatch.setattr(engine.world.venue, "_reach", asyncio.Event().wait)
    started = asyncio.get_running_loop().time()

    answer, *others = await asyncio.gather(*(look(view) for _ in range(20)))

    assert answer["error"] == "the account cannot be read: no answer in time"
    assert others == [answer] * 19
    assert asyncio.get_running_loop().time() - started == pytest.approx(flattening.READ_MAX_S)
    await engine.die()


async def test_one_reading_serves_all_who_ask_and_none_that_a_fact_has_overtaken():
    engine, view = await an_engine(LONG)
    await engine.die()
    before = engine.world.venue.position_reads

    await asyncio.gather(*(look(view) for _ in range(20)))
    assert engine.world.venue.position_reads == before + 1
    await asyncio.sleep(flattening.SHARED_S)
    await look(view)
    assert engine.world.venue.position_reads == before + 2
    second = Engine(engine.world)
    engine.ledger._versions["BTCUSDT"] += 1
    await look(view)
    assert engine.world.venue.position_reads == before + 3
    await second.die()


async def test_answer_is_not_flat_when_a_fact_overtook_the_reading(monkeypatch):
    engine, view = await an_engine()
    await engine.die()


async def test_account_is_read_at_a_measured_pace_whoever_asks_while_orders_are_settled():
    engine, view = await an_engine(LONG)
    await engine.die()
    before, started = engine.world.venue.position_reads, asyncio.get_running_loop().time()

    for _ in range(20):
        engine.ledger._versions["BTCUSDT"] += 1
        await look(view)

    assert engine.world.venue.position_reads == before + 20
    assert asyncio.get_running_loop().time() - started >= 19 * flattening.APART_S


async def test_left_is_on_the_side_of_its_sign():
    left = flattening.build_left(("BTCUSDT", None), Decimal("-1.5"), flattening.Owner.FOREIGN, "why")

    assert (left.side, left.quantity) == (Side.SELL, Decimal("1.5"))


async def test_command_that_comes_while_a_flattening_ends_is_not_undone():
    engine, view = await an_engine(LONG)
    engine.world.remove(LONG)
    await engine.run_for(5)
    await engine.die()
    await engine.reconciler.set_mode(TradingMode.NO_OPENS, is_flattening=True)

    await asyncio.gather(view.pause(TradingMode.HALTED), engine.reconciler._end_flattening())

    assert (engine.book.mode, engine.book.is_flattening) == (TradingMode.HALTED, False)


async def test_commands_at_one_time_build_on_each_other():
    engine, view = await an_engine(LONG)
    await asyncio.gather(
        view.pause(TradingMode.REDUCE_ONLY), view.pause(), view.flatten(reason="b"), view.pause(reason="c")
    )

    assert (engine.book.mode, engine.book.is_flattening) == (TradingMode.REDUCE_ONLY, True)
    status = view.get_status()
    assert (status["mode"], status["reason"]) == ("reduce-only", "b")
    assert EPOCH + 5 <= status["mode_since"] <= EPOCH + 6
    await engine.die()
