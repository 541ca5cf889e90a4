"""The open hedges as they are shown: what each has earned and cost, and pages that stay small."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from dehedge.adapters.web.dashboard import HEDGES_MAX
from dehedge.adapters.web.stream import build_frame
from dehedge.core.lives import LifeBook, Sight
from dehedge.core.report import build_report
from dehedge.hedge_view import HedgeView
from dehedge.sim.exchange.forced import pay_funding
from tests.kit import Engine, Venue, World, a_position

pytestmark = pytest.mark.looptime

LONG = a_position(1)
SHORT = a_position(2, market="ETH-USD", is_long=False, size_usd=6_000, entry=3_500)


def a_view(engine: Engine) -> HedgeView:
    return HedgeView(policy=engine.policy, ledger=engine.ledger, reconciler=engine.reconciler, venue=engine.venue)


async def a_running_engine(*positions, seconds: float = 30) -> Engine:
    world = World(Venue())
    world.put(*positions)
    engine = Engine(world)
    await engine.start()
    await engine.run_for(seconds)
    return engine


def read_page(engine: Engine, offset: int = 0, limit: int = 10) -> Any:
    """As a client reads it: no float may be money."""
    return json.loads(json.dumps(a_view(engine).get_page(offset, limit)), parse_float=Decimal)


async def test_row_has_what_the_report_of_the_journal_says_and_so_after_a_restart():
    engine = await a_running_engine(LONG)
    pay_funding(engine.world.venue.ledger, "BTCUSDT", Decimal("0.0001"))
    engine.world.venue.set_mark("BTCUSDT", Decimal(60_500))
    await engine.run_for(1_000)
    (row,) = read_page(engine)["hedges"]
    lives = LifeBook()
    for entry in engine.world.journal.entries:
        lives.note(entry.at, entry.event)
    prices = {"BTC-USD": Sight(0.0, Decimal(60_500))}
    ((hedge,),) = [
        market.hedges for market in build_report(lives.build(), 0, 1e12, asset_unit=10**6, prices=prices).markets
    ]

    assert hedge.standing is not None
    assert Decimal(row["profit_usd"]) == hedge.sums.realized_usd + hedge.standing.unrealized_usd == Decimal("82.9834")
    assert Decimal(row["fees_usd"]) == hedge.sums.fees_usd > 0
    assert Decimal(row["funding_usd"]) == hedge.sums.funding_usd < 0
    assert row["other_fees"] == {}
    await engine.die()
    again = Engine(engine.world)
    (same,) = read_page(again)["hedges"]
    money = ("profit_usd", "fees_usd", "other_fees", "funding_usd")
    assert [same[name] for name in money] == [row[name] for name in money]


async def test_profit_is_not_known_without_a_mark_and_nothing_is_before_the_first_fill(monkeypatch: pytest.MonkeyPatch):
    engine = await a_running_engine(LONG)
    monkeypatch.setattr(engine.venue, "get_newest_marks", dict)
    (row,) = read_page(engine)["hedges"]
    assert (row["profit_usd"], Decimal(row["fees_usd"]) > 0, row["funding_usd"]) == (None, True, "0")

    (held,) = engine.book.get_all_hedged_positions().values()
    opening = replace(held, key=SHORT.key, quantity=Decimal(0))
    money = {
        name: a_view(engine).describe(opening)[name] for name in ("profit_usd", "fees_usd", "other_fees", "funding_usd")
    }
    assert money == {"profit_usd": None, "fees_usd": None, "other_fees": {}, "funding_usd": None}
    await engine.die()


async def test_page_is_of_the_newest_and_sums_are_of_all():
    engine = await a_running_engine(LONG)
    engine.world.put(LONG, SHORT)
    await engine.run_for(30)

    pages = [read_page(engine, offset, 1) for offset in range(3)]

    assert [[row["market"] for row in page["hedges"]] for page in pages] == [["ETH-USD"], ["BTC-USD"], []]
    assert {page["total"] for page in pages} == {2}
    assert pages[0]["markets"] == {
        "BTC-USD": {"hedges": 1, "long": "0.166", "short": "0"},
        "ETH-USD": {"hedges": 1, "long": "0", "short": pages[0]["hedges"][0]["quantity"]},
    }
    await engine.die()


async def test_what_watching_costs_does_not_grow_with_the_hedges():
    engine = await a_running_engine(LONG)
    (held,) = engine.book.get_all_hedged_positions().values()
    few = len(build_frame("hedges", a_view(engine).get_page(0, HEDGES_MAX)))
    for number in range(10_000):
        key = a_position(number + 10).key
        engine.book.set_hedged_position(replace(held, key=key, opened_at=held.opened_at + number))

    began = time.process_time()
    frame = build_frame("hedges", a_view(engine).get_page(0, HEDGES_MAX))
    spent_s = time.process_time() - began

    assert len(frame) < few * HEDGES_MAX
    assert json.loads(frame.partition(b"data: ")[2])["total"] == 10_001
    assert spent_s < 0.2
    await engine.die()
