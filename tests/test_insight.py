"""Why, how near and what if, on the live engine: true to the last digit, and without a trace."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from dehedge import answers, insight
from dehedge.account import READ_INTERVAL_S
from dehedge.core.book import HedgeBook
from dehedge.core.guards import GuardLimits
from dehedge.core.usage import Usage
from dehedge.core.whatif import Outcome, Scene, foresee
from dehedge.errors import DehedgeError, QuestionInvalid
from dehedge.insight import InsightView
from tests.kit import USDC, Engine, Venue, World, a_position
from tests.test_status import a_view

pytestmark = pytest.mark.looptime

LONG = a_position(1)
SAFE = a_position(2, entry=61_000)
SHORT = a_position(3, is_long=False, entry=61_000)
TRADER = LONG.key.position_id.partition("|")[0]


async def a_running_engine(
    *positions, limits: GuardLimits | None = None, balance: int = 1_000_000
) -> tuple[Engine, InsightView]:
    world = World(Venue(balance=Decimal(balance)))
    world.put(*positions)
    engine = Engine(world, limits=limits)
    await engine.start()
    await engine.run_for(5)
    view = a_view(engine).insight
    assert isinstance(view, InsightView)
    return engine, view


def as_json(answer: Mapping[str, object]) -> Any:
    """As a client reads it; money, prices and quantities must not be floats."""
    return json.loads(json.dumps(answer), parse_float=Decimal)


def get_traces(engine: Engine) -> object:
    """All that a question could have changed but the account's reading, which it may make newer."""
    book, usage = engine.book, engine.ledger.records.usage
    windows = [deepcopy(vars(window)) for window in (usage.growth, usage.filled, usage.opens, usage.forced)]
    hedges = dict(book.get_all_hedged_positions())
    return deepcopy((
        hedges, book.in_flight, book.judged_at, book.mode, windows, usage.in_flight, engine.world.venue.sent,
        engine.world.journal.entries, engine.reconciler.decisions, engine.guards.held,
        vars(engine.reconciler._cooling), engine.executor.busy, engine.executor.backoff.group_max,
    ))  # fmt: skip


async def test_explanation_has_every_figure_of_a_hedged_position():
    engine, view = await a_running_engine(LONG)
    answer = as_json(view.explain("BTC-USD", TRADER))

    assert (answer["market"], answer["position_id"]) == LONG.key
    assert (answer["decision"], answer["reason"]) == ("RefreshHedge", "at_risk")
    assert answer["capital"] == {"vault": "100000", "shield": "20"}
    assert (answer["price"], answer["trigger_price"], answer["distance_bps"]) == ("60000", "57114", "-481")
    assert answer["position"] == {
        "user": TRADER, "asset": USDC, "is_long": True, "size": "10000", "collateral": "1000", "entry_price": "57000",
        "opened_at": 1_700_000_000, "pnl": "526.315789", "price_gain": "526.315789", "funding": "0",
        "remaining_vault": "99493.68421",
    }  # fmt: skip
    drawdown, shield, limit = answer["checks"]
    assert drawdown == {
        "name": "vault_drawdown", "fired": True, "left": "100000", "relation": ">", "right": "99493.68421",
        "margin": "506.315789", "unit": "USDC", "exact": {"left": "100000", "right": "1890380/19"},
    }  # fmt: skip
    assert (shield["left"], shield["relation"], shield["right"], shield["margin"]) == ("-506.315789", "<=", "0", "506.315789")
    assert (limit["left"], limit["right"], limit["margin"]) == ("40000", "39797.473684", "202.526315")
    assert answer["sizing"] == {
        "symbol": "BTCUSDT", "target": "0.166", "mark": "60000", "notional_usd": "9960", "is_large_enough": True,
    }  # fmt: skip
    assert (answer["hedge"]["quantity"], answer["hedge"]["status"], answer["closes_in_s"]) == ("0.166", "OPEN", None)
    assert answer["text"][0] == f"BTC-USD long of 10,000.00 USDC, trader {TRADER}, opened at 57,000"
    await engine.die()


async def test_explanation_tells_when_a_cooling_hedge_closes():
    engine, view = await a_running_engine(LONG)
    engine.world.set_price("BTC-USD", 57_000)
    await engine.run_for(10)
    answer = as_json(view.explain("BTC-USD", TRADER))

    assert (answer["decision"], answer["reason"]) == ("Hold", "cooling_down")
    assert 49 <= answer["closes_in_s"] <= 51
    assert answer["hedge"]["is_cooling"]
    closes, money = answer["text"][-2:]
    assert closes == "it closes in 50 s, unless the risk comes back before"
    assert money == "so far: profit -498.02 USD at the mark, fees 4.98 USD, funding 0.00 USD"
    await engine.die()


async def test_explanation_needs_no_exchange_and_no_look_of_a_pass():
    world = World()
    world.put(SAFE)
    engine = Engine(world)
    engine.feed()
    answer = as_json(a_view(engine).insight.explain("BTC-USD", SAFE.key.position_id))

    assert (answer["decision"], answer["reason"], answer["hedge"], answer["sizing"]) == (None, None, None, None)
    assert [check["fired"] for check in answer["checks"]] == [False] * 3
    assert answer["distance_bps"] == "187"


async def test_explanation_of_another_asset_has_its_own_units():
    other = a_position(4)._replace(asset="0x0000000000000000000000000000000000000A55", size=5)
    engine, view = await a_running_engine(other)
    answer = as_json(view.explain("BTC-USD", other.key.position_id))

    assert (answer["reason"], answer["checks"], answer["position"]["size"]) == ("other_asset", [], "5")
    await engine.die()


async def test_explanation_of_a_hedge_outlives_its_position():
    engine, view = await a_running_engine(LONG)
    engine.snapshots.put(engine.world.build_snapshot(int(engine.clock.time()), positions={}))
    answer = as_json(view.explain("BTC-USD", TRADER))

    assert (answer["position"], answer["checks"], answer["trigger_price"]) == (None, [], None)
    assert answer["hedge"]["quantity"] == "0.166"
    await engine.die()


@pytest.mark.parametrize(
    ("market", "position_id", "problem"),
    [
        ("DOGE-USD", TRADER, "^market 'DOGE-USD' is not known; known are: BTC-USD, ETH-USD$"),
        ("BTC-USD", "0xff", "^no position or hedge in BTC-USD begins with '0xff'"),
        ("BTC-USD", "0x00", "^several positions in BTC-USD begin with '0x00': "),
        ("BTC-USD", "trader", "^'trader' is no position"),
    ],
)
async def test_explanation_of_what_is_not_there_says_what_to_ask(market: str, position_id: str, problem: str):
    engine, view = await a_running_engine(LONG, SAFE)

    with pytest.raises(QuestionInvalid, match=problem):
        view.explain(market, position_id)
    await engine.die()


async def test_nothing_is_told_before_the_chain_was_read():
    view = a_view(Engine(World())).insight

    with pytest.raises(DehedgeError, match=r"^the chain was not read yet: no snapshot yet; see `dehedge status`$"):
        view.explain("BTC-USD", TRADER)
    with pytest.raises(DehedgeError, match="^the chain was not read yet"):
        await view.find_trips(5)
    with pytest.raises(QuestionInvalid, match="known are: none yet"):
        await view.foresee(["BTC-USD:-10"])


async def test_trips_are_nearest_first_and_say_what_is_hedged():
    engine, view = await a_running_engine(LONG, SAFE, SHORT)
    answer = as_json(await view.find_trips(10))

    assert [trip["position_id"] for trip in answer["trips"]] == [
        position.key.position_id for position in (SHORT, SAFE, LONG)
    ]
    assert answer["trips"][0] == {
        "market": "BTC-USD", "position_id": SHORT.key.position_id, "is_long": False, "size": "10000", "price": "60000",
        "trigger_price": "60878", "distance_bps": "146.33", "is_at_risk": True, "is_hedged": True,
    }  # fmt: skip
    assert [trip["is_at_risk"] for trip in answer["trips"]] == [True, False, True]
    assert [trip["is_hedged"] for trip in answer["trips"]] == [True, False, True]
    assert as_json(await view.find_trips(2))["trips"] == answer["trips"][:2]
    await engine.die()


async def test_trips_let_the_loop_go_on_between_slices():
    positions = [a_position(number, entry=60_000 + number) for number in range(1, 301)]
    engine, view = await a_running_engine(*positions)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counter = asyncio.ensure_future(count())
    await asyncio.sleep(0)
    answer = await view.find_trips(300)
    counter.cancel()

    assert len(answer["trips"]) == 300
    assert turns >= 300 // insight.TRIPS_AT_ONCE
    await engine.die()


async def test_whatif_tells_what_would_be_opened_and_what_it_needs():
    engine, view = await a_running_engine(SAFE)
    answer = as_json(await view.foresee(["BTC-USD:5", "ETH-USD:-1"]))

    assert answer["moves"] == {"BTC-USD": "5", "ETH-USD": "-1"}
    assert answer["prices"] == {
        "BTC-USD": {"before": "60000", "after": "63000"}, "ETH-USD": {"before": "3000", "after": "2970"},
    }  # fmt: skip
    (opening,) = answer["opens"]
    assert opening == {
        "market": "BTC-USD", "position_id": SAFE.key.position_id, "symbol": "BTCUSDT", "side": "BUY", "action": "open",
        "quantity": "0.158", "target": "0.158", "notional_usd": "9954", "margin_usd": "502.677",
        "reason": "vault_drawdown+shield_pnl_risk+profit_limit",
    }  # fmt: skip
    assert answer["margin"] == {"needed_usd": "502.677", "available_usd": "1000000", "short_usd": "0", "error": None}
    assert answer["counts"] == {"opens": 1, "held": 0, "closes": 0, "cooling": 0, "liquidated": 0}
    assert answer["vault"] == {
        "before": "100000", "after_unhedged": "99528.196721", "traders_gain": "491.803279", "hedges_gain": "0",
    }  # fmt: skip
    await engine.die()


async def test_whatif_names_the_guard_that_would_hold():
    engine, view = await a_running_engine(SAFE, limits=GuardLimits(total_notional_usd=Decimal(10)))
    answer = as_json(await view.foresee(["BTC-USD:5"]))

    assert answer["held"] == [
        {
            "market": "BTC-USD", "position_id": SAFE.key.position_id, "reason": "total_notional_limit",
            "guard": "MAX_TOTAL_NOTIONAL_USD",
            "text": "all hedges together are at their limit (MAX_TOTAL_NOTIONAL_USD)",
        }
    ]  # fmt: skip
    await engine.die()


async def test_whatif_names_what_the_exchange_would_liquidate_and_the_hedges_whose_risk_would_go():
    engine, view = await a_running_engine(LONG, balance=1_000)
    (held,) = await engine.world.venue.fetch_positions()
    assert held.liquidation_price is not None
    answer = as_json(await view.foresee(["BTC-USD:-15", "ETH-USD:1"]))

    assert answer["liquidated"] == [
        {
            "symbol": "BTCUSDT", "leg": "BOTH", "quantity": "0.166",
            "liquidation_price": f"{held.liquidation_price:f}", "price": "51000",
        }
    ]  # fmt: skip
    assert answer["cooling"] == [{"market": "BTC-USD", "position_id": LONG.key.position_id}]
    assert answer["vault"]["hedges_gain"] == "-1494"
    assert as_json(await view.foresee(["BTC-USD:-1"]))["liquidated"] == []
    await engine.die()


async def test_whatif_tells_what_the_margin_does_not_carry():
    engine, view = await a_running_engine(SAFE, balance=400)
    answer = as_json(await view.foresee(["BTC-USD:5"]))

    assert answer["margin"] == {"needed_usd": "502.677", "available_usd": "400", "short_usd": "102.677", "error": None}
    assert [row["reason"] for row in answer["held"]] == ["margin_exhausted"]
    assert answer["held"][0]["guard"] is None
    assert answer["counts"]["opens"] == 0
    await engine.die()


async def test_whatif_lists_a_thousand_rows_and_counts_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answers, "ROWS_MAX", 2)
    engine, view = await a_running_engine(*(a_position(number, entry=61_000) for number in range(1, 6)))
    answer = as_json(await view.foresee(["BTC-USD:5"]))

    assert (len(answer["opens"]), answer["counts"]["opens"]) == (2, 5)
    await engine.die()


async def test_whatif_tells_growth_and_closes():
    engine, view = await a_running_engine(LONG, a_position(4))
    engine.world.remove(a_position(4))
    engine.feed()
    engine.feed()
    book = engine.book
    hedge = book.get_hedged_position(LONG.key)
    assert hedge is not None
    book.set_hedged_position(replace(hedge, quantity=Decimal("0.1")))
    scene = view._freeze({"BTC-USD": Decimal(1)}, None)
    answer = as_json(answers.describe_outcome(scene, foresee(scene), account_error="why"))

    assert [(row["action"], row["quantity"], row["target"]) for row in answer["opens"]] == [("increase", "0.066", "0.166")]
    assert [(row["position_id"], row["quantity"], row["reason"]) for row in answer["closes"]] == [
        (a_position(4).key.position_id, "0.166", "position_closed")
    ]
    book.set_hedged_position(hedge)
    await engine.die()


async def test_whatif_leaves_no_trace_and_the_next_passes_are_the_same():
    engine, view = await a_running_engine(LONG, SAFE, SHORT)
    await view.foresee(["BTC-USD:1"])  # The account is read anew after the orders, and then not for a while.
    before = get_traces(engine)
    for moves in (["BTC-USD:5"], ["BTC-USD:-30", "ETH-USD:30"], ["BTC-USD:-1"]):
        await view.foresee(moves)
        await view.find_trips(10)
        view.explain("BTC-USD", TRADER)

    # The account's view costs the exchange's stand-in a moment, in which nothing else happens but looks.
    after = get_traces(engine)
    assert [*after[:2], *after[3:]] == [*before[:2], *before[3:]]
    sent = len(engine.world.venue.sent)
    await engine.run_for(5)
    assert len(engine.world.venue.sent) == sent == 2
    assert engine.reconciler.guards.held == {}
    await engine.die()


async def test_whatif_works_on_copies():
    engine, view = await a_running_engine(LONG)
    scene = view._freeze({}, None)

    assert isinstance(scene.inputs.book, HedgeBook)
    assert isinstance(scene.inputs.usage, Usage)
    assert scene.inputs.book is not engine.book
    assert scene.inputs.book == engine.book
    assert scene.inputs.usage is not engine.ledger.records.usage
    assert scene.inputs.venue.group_max is not engine.executor.backoff.group_max
    await engine.die()


async def test_whatif_tells_the_rest_when_the_account_cannot_be_read():
    engine, view = await a_running_engine(SAFE)
    engine.world.venue.is_down = True
    await engine.run_for(READ_INTERVAL_S)
    answer = as_json(await view.foresee(["BTC-USD:5"]))

    assert answer["margin"] == {
        "needed_usd": "502.677", "available_usd": None, "short_usd": None, "error": "connection refused",
    }  # fmt: skip
    assert answer["counts"]["opens"] == 1
    await engine.die()


async def test_whatif_says_why_when_the_exchange_was_never_reached():
    engine = Engine(World())
    engine.feed()

    with pytest.raises(DehedgeError, match=r"^nothing can be foreseen yet: not connected yet; see `dehedge status`$"):
        await a_view(engine).insight.foresee(["BTC-USD:5"])


TURNS = "^what-ifs of a book as large as this take turns; ask again in a moment$"


async def test_whatif_of_a_large_book_rests_after_one_that_failed_as_well(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(insight, "FORESEEN_AT_ONCE", 1)
    engine, view = await a_running_engine(LONG, SAFE)

    async def fail(_foresee, _scene):
        await asyncio.sleep(3)
        raise MemoryError

    monkeypatch.setattr(asyncio, "to_thread", fail)
    with pytest.raises(MemoryError):
        await view.foresee(["BTC-USD:5"])
    await asyncio.sleep(2)
    with pytest.raises(DehedgeError, match=TURNS):
        await view.foresee(["BTC-USD:5"])
    await engine.die()


async def test_whatif_of_a_large_book_is_computed_beside_the_loop_and_one_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(insight, "FORESEEN_AT_ONCE", 1)
    engine, view = await a_running_engine(LONG, SAFE)
    threads: list[object] = []
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def run_beside(work, *parts):
        threads.append(work)
        inside.set()
        await go_on.wait()
        return work(*parts)

    monkeypatch.setattr(asyncio, "to_thread", run_beside)
    first = asyncio.ensure_future(view.foresee(["BTC-USD:5"]))
    await inside.wait()
    with pytest.raises(DehedgeError, match=TURNS):
        await view.foresee(["BTC-USD:5"])
    await asyncio.sleep(3)
    go_on.set()

    assert len((await first)["opens"]) == 1
    assert len(threads) == 1
    await asyncio.sleep(2)
    with pytest.raises(DehedgeError, match=TURNS):
        await view.foresee(["BTC-USD:5"])
    await asyncio.sleep(2)
    assert len((await view.foresee(["BTC-USD:5"]))["opens"]) == 1
    await engine.die()


async def test_whatif_of_a_large_book_is_computed_without_the_collector_and_leaves_it_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
):
    engine, view = await a_running_engine(LONG, SAFE)
    seen: list[bool] = []

    def look(_: Scene) -> Outcome:
        seen.append(gc.isenabled())
        raise DehedgeError("a failure")

    monkeypatch.setattr(insight, "FORESEEN_AT_ONCE", 1)
    monkeypatch.setattr(insight, "foresee", look)
    with pytest.raises(DehedgeError, match="^a failure$"):
        await view.foresee(["BTC-USD:5"])

    assert seen == [False]
    assert gc.isenabled()
    await engine.die()


async def test_loop_turns_between_the_what_ifs_of_a_small_book(monkeypatch: pytest.MonkeyPatch):
    engine, view = await a_running_engine(LONG, SAFE)
    await view.foresee(["BTC-USD:5"])
    turns, seen = 0, list[int]()

    def look(scene: Scene) -> Outcome:
        seen.append(turns)
        return foresee(scene)

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(insight, "foresee", look)
    counting = asyncio.ensure_future(count())
    await asyncio.gather(*(view.foresee(["BTC-USD:5"]) for _ in range(10)))
    counting.cancel()

    assert len(set(seen)) == len(seen) == 10
    await engine.die()
