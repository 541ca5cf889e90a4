"""What is told of an engine at work: what begins, what ends, and what is told once for many."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from dehedge.core.book import TradingMode
from dehedge.core.guards import GuardLimits
from dehedge.core.invariants import Breach, Law
from dehedge.core.model import Leg
from dehedge.notices import CALM_S, FAILURES_QUIET_S, GROUP_S, REPEAT_S, Notices
from dehedge.ports import Balance
from dehedge.surfaces import Notice, Urgency
from tests.kit import Engine, World, a_position
from tests.test_status import a_view

pytestmark = pytest.mark.looptime

LONG = a_position(1)
READY: tuple[str, ...] = ()
RISKS = "vault_drawdown+shield_pnl_risk+profit_limit"


class Told:
    """A ``surfaces.Notifier`` that keeps everything."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def tell(self, notice: Notice) -> None:
        self.notices.append(notice)

    def take(self) -> list[str]:
        texts = [notice.text for notice in self.notices]
        self.notices.clear()
        return texts


class Watched:
    """An engine whose notices look once a second, as the daemon's do."""

    def __init__(self, *positions, limits: GuardLimits | None = None) -> None:
        world = World()
        world.put(*positions)
        self.engine = Engine(world, limits=limits)
        self.told = Told()
        engine = self.engine
        self.notices = Notices(
            self.told, ledger=engine.ledger, auditor=engine.auditor, venue=engine.venue, account=engine.account,
            clock=engine.clock, not_ready_s=60,
        )  # fmt: skip
        engine.ledger._tell = self.notices.note_change
        self.obstacles: tuple[str, ...] | None = READY

    async def start(self) -> Watched:
        await self.engine.start()
        return self

    async def run_for(self, seconds: float) -> list[str]:
        """What was told meanwhile."""
        view = a_view(self.engine)
        for _ in range(round(seconds)):
            await self.engine.run_for(1)
            self.notices.look(view.find_obstacles() if self.obstacles is None else self.obstacles)
        return self.told.take()


async def test_notices_tell_many_hedges_in_one_line():
    watched = await Watched(
        *(a_position(user) for user in range(1, 301)), a_position(1, market="ETH-USD", entry=2_800)
    ).start()

    told = await watched.run_for(20)

    assert told == [f"301 hedges opened: BTC-USD BUY 49.800 in 300, ETH-USD BUY 3.333 in 1: {RISKS}"]
    for user in range(1, 301):
        watched.engine.world.remove(a_position(user))
    assert await watched.run_for(20) == ["300 hedges closed: BTC-USD BUY 49.800 in 300: position_closed"]
    await watched.engine.die()


async def test_notices_tell_of_hedges_that_are_not_filled_now_and_then():
    watched = Watched(LONG)
    watched.engine.world.venue.script.extend(["not_sent"] * 1_000)
    await watched.start()

    told = await watched.run_for(FAILURES_QUIET_S + 100)

    failures = [text for text in told if "not filled" in text]
    assert len(failures) == 2
    assert failures[0].startswith("2 hedges not filled: BTC-USD BUY 0 in 2")
    assert int(failures[1].split()[0]) > 10
    await watched.engine.die()


async def test_notices_tell_of_a_liquidation_as_urgent():
    watched = await Watched(LONG).start()
    await watched.run_for(10)
    watched.engine.world.venue.force("BTCUSDT", "0.166")
    watched.engine.auditor.request()
    await watched.engine.run_for(10)
    watched.notices.look(READY)

    forced = [notice for notice in watched.told.notices if "liquidated" in notice.text]
    assert [notice.urgency for notice in forced] == [Urgency.FAILURE]
    await watched.engine.die()


async def test_notices_tell_the_mode_with_its_reason_and_not_again_that_it_is_not_ready():
    watched = await Watched().start()
    watched.obstacles = None
    await watched.run_for(5)
    await watched.engine.reconciler.set_mode(TradingMode.NO_OPENS, reason="anna@desk: maintenance")

    assert await watched.run_for(70) == ["mode no-opens (anna@desk: maintenance)"]
    await watched.engine.reconciler.set_mode(TradingMode.ACTIVE)
    assert await watched.run_for(70) == ["mode active"]
    await watched.engine.die()


async def test_notices_tell_of_not_being_ready_only_once_it_lasts_and_of_its_end():
    watched = Watched()
    await watched.run_for(2)
    watched.obstacles = ("chain: all nodes are down", *(f"S{number}: blocked" for number in range(9)))
    assert await watched.run_for(58) == []
    watched.obstacles = READY
    assert await watched.run_for(100) == []

    watched.obstacles = ("chain: all nodes are down", *(f"S{number}: blocked" for number in range(9)))
    (told,) = await watched.run_for(300)
    assert (
        told
        == "not ready for 60 s: chain: all nodes are down; S0: blocked; S1: blocked; S2: blocked; S3: blocked; and 5 more"
    )
    watched.obstacles = READY
    assert await watched.run_for(CALM_S - 2) == []
    assert await watched.run_for(5) == ["ready again"]
    await watched.engine.die()


async def test_notices_do_not_repeat_what_comes_and_goes():
    watched = Watched()
    watched.notices._not_ready_s = 5
    told = []
    for _ in range(10):
        watched.obstacles = ("prices: none fresh",)
        told += await watched.run_for(20)
        watched.obstacles = READY
        told += await watched.run_for(CALM_S + 10)

    assert told.count("ready again") == told.count("not ready for 5 s: prices: none fresh") == 1
    watched.obstacles = ("prices: none fresh",)
    assert len(await watched.run_for(REPEAT_S)) == 1, "what lasts is told once the quiet is over"
    await watched.engine.die()


async def test_notices_tell_every_broken_law_once():
    watched = await Watched().start()
    watched.engine.may_break_laws = True
    for _ in range(3):
        watched.engine.guardian.note(Breach(Law.RATE, "the exchange", "2401 of 2400"))
    told = await watched.run_for(30)

    (law,) = [text for text in told if text.startswith("invariant broken") and "mode" not in text]
    assert "2401 of 2400" in law
    assert [text for text in told if text.startswith("mode no-opens")] != []
    await watched.engine.die()


async def test_notices_tell_when_book_and_exchange_differ_and_agree_again():
    watched = await Watched().start()
    await watched.run_for(2)
    watched.engine.auditor._set_confirmed(("BTCUSDT", Leg.BOTH), Decimal("-0.1"))
    watched.engine.world.venue.is_down = True
    (told,) = await watched.run_for(30)
    assert told.startswith("BTCUSDT: the account differs by -0.1")

    watched.engine.auditor._set_confirmed(("BTCUSDT", Leg.BOTH), Decimal(0))
    assert await watched.run_for(CALM_S + 5) == ["BTCUSDT: book and exchange agree again"]
    await watched.engine.die()


async def test_notices_tell_when_the_outcome_of_orders_is_unknown_and_known_again():
    watched = await Watched().start()
    await watched.run_for(2)
    watched.engine.world.venue.script.append("hidden")
    watched.engine.world.venue.hidden_s = 100
    watched.engine.world.put(LONG)
    told = await watched.run_for(90)
    assert [text for text in told if text.startswith("what became of 1 orders is unknown for 60 s, such as dh-")] != []

    assert "what became of every order is known again" in await watched.run_for(120)
    await watched.engine.die()


async def test_notices_tell_of_low_margin_and_of_a_near_liquidation(monkeypatch: pytest.MonkeyPatch):
    watched = Watched(LONG, limits=GuardLimits(free_margin_usd=Decimal(1), liquidation_distance_bps=1))
    venue = watched.engine.world.venue
    venue.ledger.account.get_settings("BTCUSDT").isolated = True
    await watched.start()
    await watched.run_for(30)

    async def read_balances():
        return [Balance("USDT", Decimal(1_000), Decimal(100))]

    monkeypatch.setattr(venue, "fetch_balances", read_balances)
    venue.set_mark("BTCUSDT", Decimal(57_900))
    told = await watched.run_for(30)

    assert "margin is low: 100 of 1000 USDT is free" in told
    (near,) = [text for text in told if "away from its liquidation" in text]
    assert near.startswith("BTCUSDT is ")
    await watched.engine.die()


async def test_notices_tell_that_the_key_is_refused_and_taken_again():
    watched = Watched()
    await watched.run_for(2)
    watched.engine.account.is_key_refused = True
    assert await watched.run_for(3) == ["the exchange refuses the API key: nothing can be traded"]
    watched.engine.account.is_key_refused = False
    assert await watched.run_for(CALM_S + 5) == ["the exchange takes the API key again"]
    await watched.engine.die()


async def test_notices_tell_the_start_and_the_end_with_what_is_held():
    watched = await Watched(LONG).start()
    watched.notices.tell_start("binance", " for the 4th time within an hour")
    await asyncio.sleep(1)
    watched.notices.tell_end(None)
    start, opened, stop = watched.told.take()

    assert start.endswith(
        "started on binance for the 4th time within an hour: mode active, hedges held: 0, orders in flight: 0"
    )
    assert opened.startswith("1 hedge opened"), "what happened a moment before the end is told"
    assert stop == "stopped: hedges that stay open: 1"
    watched.notices.tell_end("JournalError: the disk is full")
    assert watched.told.notices[-1].urgency is Urgency.FAILURE
    assert GROUP_S > 1
    await watched.engine.die()


async def test_notices_that_fail_end_nothing_and_say_so(monkeypatch: pytest.MonkeyPatch):
    watched = await Watched(LONG).start()
    monkeypatch.setattr(watched.notices, "_find_conditions", lambda _: 1 / 0)

    with capture_logs() as logs:
        await watched.run_for(2)

    assert [line["event"] for line in logs].count("notices_failed") == 2
    await watched.engine.die()
