"""A broken law stops opens and says so, durably; closes and the other hedges go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from dehedge import guardian as guardian_module
from dehedge import metrics
from dehedge.core.batching import OrderDraft
from dehedge.core.book import HedgeBook, HedgeStatus, TradingMode
from dehedge.core.decisions import CloseHedge, OpenHedge, Reason, ResizeHedge, TradeDecision
from dehedge.core.events import OrderIntended, TradingModeSet
from dehedge.core.freshness import Basis
from dehedge.core.invariants import Breach, Law, Watch
from dehedge.core.model import Position
from dehedge.core.orders import Action, OrderReport, OrderRequest, Share
from dehedge.errors import JournalError
from dehedge.executor import Executor
from dehedge.guardian import Guardian
from dehedge.ledger import Ledger
from dehedge.status import StatusView
from tests.core.builders import a_position as a_core_position
from tests.core.builders import a_share, a_user, an_intent
from tests.kit import RULES, Engine, LoopClock, MemoryJournal, World, a_position

pytestmark = pytest.mark.looptime

LONG, OTHER, THIRD = a_position(1), a_position(7), a_position(8)
ETH = a_position(3, market="ETH-USD", size_usd=5_000, entry=2_800)
ANYBODY = a_core_position(user=a_user(2))
TARGET = Decimal("0.166")
RATE = Breach(Law.RATE, "ORDERS 10S", "301 of 300 within 10 s")


async def an_engine(*positions: Position, world: World | None = None) -> Engine:
    """Runs, and may break laws from here on."""
    world = world or World()
    world.put(*positions)
    engine = Engine(world)
    await engine.start()
    await engine.run_for(5)
    engine.may_break_laws = True
    return engine


def a_view(engine: Engine) -> StatusView:
    view = StatusView(
        policy=engine.policy, snapshots=engine.snapshots, prices=engine.prices, venue=engine.venue,
        ledger=engine.ledger, auditor=engine.auditor, executor=engine.executor, reconciler=engine.reconciler,
        clock=engine.clock, connector_name="ledger",
    )  # fmt: skip
    view.is_recovered = True
    return view


async def check_opens_are_stopped_and_closes_go_on(engine: Engine, law: Law, held: Position) -> None:
    """Also after a restart, with the reason, until an operator resumes."""
    world = engine.world
    assert engine.book.mode is TradingMode.NO_OPENS
    assert f"invariant broken: {law.value}" in "\n".join(a_view(engine).find_obstacles())
    world.put(ETH)
    await engine.run_for(5)
    assert world.venue.net("ETHUSDT") == 0
    await engine.die()

    second = Engine(world)
    second.may_break_laws = True
    await second.start()
    await second.run_for(5)
    assert second.book.mode is TradingMode.NO_OPENS
    assert f"invariant broken: {law.value}" in "\n".join(a_view(second).find_obstacles())
    world.remove(held)
    await second.run_for(30)
    assert second.held(held) == 0
    assert world.venue.net("ETHUSDT") == 0

    await a_view(second).resume()
    await second.run_for(5)
    assert second.held(ETH) == world.venue.net("ETHUSDT") > 0
    assert a_view(second).find_obstacles() == []
    await second.die()


def decide(kind: type[TradeDecision], position: Position, quantity: str, target: str) -> TradeDecision:
    """As a planner might that is wrong."""
    share = Share(position.key, Decimal(quantity), Decimal(target), position.size, position.entry_price, "at_risk")
    return kind(position.key, Reason.AT_RISK, "BTCUSDT", position.hedge_side, share)


async def execute(engine: Engine, *decisions: TradeDecision) -> None:
    basis = Basis(engine.book.block_number, {"BTC-USD": engine.clock.time() + 5, "ETH-USD": engine.clock.time() + 5})
    await engine.executor.execute(decisions, RULES, basis, {})
    await asyncio.sleep(0.5)


WRONG_PLANS = {
    Law.STEP: decide(OpenHedge, OTHER, "0.0005", "0.166"),
    Law.POSITIVE: decide(OpenHedge, OTHER, "-0.001", "0.166"),
}


@pytest.mark.parametrize("law", WRONG_PLANS)
async def test_open_that_breaks_a_law_is_neither_journaled_nor_sent(law):
    engine = await an_engine(LONG)
    sent = len(engine.world.venue.sent)

    with capture_logs() as logs:
        await execute(engine, WRONG_PLANS[law])

    assert len(engine.world.venue.sent) == sent
    told = [entry for entry in logs if entry["event"] == "invariant_broken"]
    assert ("critical", law.value, str(OTHER.key)) in [(e["log_level"], e["law"], e["subject"]) for e in told]
    assert {entry["law"] for entry in told} == {law.value}
    await check_opens_are_stopped_and_closes_go_on(engine, law, LONG)


async def test_other_hedges_grow_without_the_one_whose_share_breaks_a_law():
    engine = await an_engine(LONG, OTHER)
    wrong, right = decide(ResizeHedge, LONG, "0.0005", "0.332"), decide(ResizeHedge, OTHER, "0.166", "0.332")
    await execute(engine, wrong, right)

    assert engine.held(OTHER) == TARGET * 2
    assert engine.guardian.told.keys() == {(Law.STEP, str(LONG.key))}
    await engine.die()


async def test_other_hedges_close_without_the_one_whose_share_breaks_a_law():
    engine = await an_engine(LONG, OTHER, THIRD)
    sent = len(engine.world.venue.sent)

    await execute(
        engine, decide(CloseHedge, LONG, "0.0005", "0"), *(decide(CloseHedge, p, "0.166", "0") for p in (OTHER, THIRD))
    )

    assert engine.held(LONG) == TARGET == engine.world.venue.net("BTCUSDT")
    assert [request.quantity for request in engine.world.venue.sent[sent:]] == [TARGET * 2]
    assert engine.book.mode is TradingMode.NO_OPENS
    await engine.die()


async def test_wrong_decision_is_refused_ever_more_slowly_when_the_planner_keeps_making_it():
    engine = await an_engine(LONG)
    original = engine.executor.execute

    async def execute_wrongly(_decisions: object, _rules: object, basis: Basis, _increase_max: object) -> None:
        if LONG.key not in engine.executor.backoff.get_waiting(Action.REDUCE):
            await original([decide(CloseHedge, LONG, "0.0005", "0")], RULES, basis, {})

    engine.executor.execute = execute_wrongly  # type: ignore[method-assign, assignment]
    engine.world.remove(LONG)
    entries = engine.world.journal.last_sequence
    await engine.run_for(120)

    assert engine.held(LONG) == TARGET == engine.world.venue.net("BTCUSDT")
    assert 2 <= engine.world.journal.last_sequence - entries <= 30
    await engine.die()


class WrongExecutor(Executor):
    """Makes something of an order that nobody decided."""

    spoil: Callable[[OrderRequest, OrderDraft], OrderRequest]

    def _build_request(self, draft: OrderDraft, sequence: int, *, reduce_only: bool) -> OrderRequest:
        return type(self).spoil(super()._build_request(draft, sequence, reduce_only=reduce_only), draft)


def spoil_increases(**changes: Callable[[OrderRequest], object]) -> type[WrongExecutor]:
    def spoil(request: OrderRequest, draft: OrderDraft) -> OrderRequest:
        if draft.action is Action.REDUCE:
            return request
        return replace(request, **{name: change(request) for name, change in changes.items()})  # type: ignore[arg-type]

    return type("Spoiled", (WrongExecutor,), {"spoil": staticmethod(spoil)})


WRONG_EXECUTORS = {
    Law.SUM: spoil_increases(quantity=lambda request: request.quantity * 2),
    Law.SIDE: spoil_increases(side=lambda request: request.side.opposite),
    Law.UNIQUE: spoil_increases(client_order_id=lambda _: "dh-abc123-1-0123456789"),
}


@pytest.mark.parametrize("law", WRONG_EXECUTORS)
async def test_order_that_the_executor_spoils_is_neither_journaled_nor_sent(law):
    engine = await an_engine(LONG)
    sent = len(engine.world.venue.sent)
    engine.executor.__class__ = WRONG_EXECUTORS[law]

    await execute(engine, decide(OpenHedge, OTHER, "0.166", "0.166"))

    assert len(engine.world.venue.sent) == sent
    assert not engine.book.in_flight
    await check_opens_are_stopped_and_closes_go_on(engine, law, LONG)


class CarelessExecutor(Executor):
    """Looks neither at the hedge nor at the inputs nor at the kill switch before it intends."""

    def _check_still_wanted(self, share: Share, draft: OrderDraft, now: float) -> bool:
        return True


async def test_stale_open_is_neither_journaled_nor_sent_when_the_executor_does_not_look():
    engine = await an_engine(LONG)
    engine.executor.__class__ = CarelessExecutor
    sent = len(engine.world.venue.sent)

    old = Basis(engine.book.block_number, {"BTC-USD": engine.clock.time() - 0.001})
    await engine.executor.execute([decide(OpenHedge, OTHER, "0.166", "0.166")], RULES, old, {})
    await engine.run_for(0.5)

    assert len(engine.world.venue.sent) == sent
    await check_opens_are_stopped_and_closes_go_on(engine, Law.FRESH, LONG)


@pytest.mark.parametrize(
    ("law", "decision"),
    [
        (Law.ONE_ORDER, decide(ResizeHedge, LONG, "0.166", "0.332")),
        (Law.TARGET, decide(ResizeHedge, OTHER, "0.167", "0.332")),
        (Law.REDUCES, decide(CloseHedge, OTHER, "0.167", "0")),
        (Law.SIDE, replace(decide(ResizeHedge, OTHER, "0.001", "0.332"), side=OTHER.hedge_side.opposite)),
    ],
)
async def test_order_for_a_hedge_that_does_not_allow_it_is_neither_journaled_nor_sent(law, decision):
    """LONG has an order in flight whose end nobody knows."""
    engine = await an_engine(LONG, OTHER)
    engine.executor.__class__ = CarelessExecutor
    engine.world.venue.script.append("hangs")
    await execute(engine, decide(ResizeHedge, LONG, "0.001", "0.167"))
    sent = len(engine.world.venue.sent)
    assert engine.guardian.told == {}

    await execute(engine, decision)

    assert len(engine.world.venue.sent) == sent
    assert [found for found, _ in engine.guardian.told] == [law]
    assert engine.book.mode is TradingMode.NO_OPENS
    await engine.die()


async def test_open_is_neither_journaled_nor_sent_when_the_executor_does_not_look_at_the_kill_switch():
    engine = await an_engine(LONG)
    engine.executor.__class__ = CarelessExecutor
    await a_view(engine).pause()
    sent = len(engine.world.venue.sent)

    await execute(engine, decide(OpenHedge, OTHER, "0.166", "0.166"))

    assert len(engine.world.venue.sent) == sent
    await check_opens_are_stopped_and_closes_go_on(engine, Law.MODE, LONG)


async def test_two_orders_of_one_step_for_one_hedge_are_one():
    engine = await an_engine(LONG)
    grow = decide(ResizeHedge, LONG, "0.001", "0.332")
    await engine.executor.execute(
        [grow, replace(grow, share=grow.share._replace(quantity=Decimal("0.002")))], RULES,
        Basis(engine.book.block_number, {"BTC-USD": engine.clock.time() + 5}), {},
    )  # fmt: skip
    await engine.run_for(0.5)

    assert engine.guardian.told.keys() == {(Law.ONE_ORDER, str(LONG.key))}
    await engine.die()


async def test_fill_beyond_the_order_stops_opens_and_the_hedge_holds_what_was_asked_for():
    world = World()
    world.put(LONG)
    engine = Engine(world)
    engine.may_break_laws = True
    original = world.venue._report

    def report(order, *, price: Decimal | None) -> OrderReport:
        told = original(order, price=price)
        return replace(told, filled_quantity=told.filled_quantity + Decimal("0.001"))

    world.venue._report = report  # type: ignore[method-assign]
    await engine.start()
    await engine.run_for(5)
    world.venue._report = original  # type: ignore[method-assign]

    assert engine.held(LONG) == TARGET
    await check_opens_are_stopped_and_closes_go_on(engine, Law.FILLED, LONG)


def unlock(engine: Engine) -> None:
    """A bug forgets that an order is in flight, or invents one."""
    hedge = engine.book.get_hedged_position(OTHER.key)
    assert hedge is not None
    engine.book.set_hedged_position(replace(hedge, status=HedgeStatus.CLOSING))


async def test_wrong_book_is_found_by_the_sweep_of_each_minute_and_other_hedges_close():
    engine = await an_engine(LONG, OTHER)
    unlock(engine)
    await engine.run_for(65)

    assert engine.guardian.told.keys() == {(Law.LOCK, str(OTHER.key))}
    await check_opens_are_stopped_and_closes_go_on(engine, Law.LOCK, LONG)


async def test_wrong_book_is_found_by_the_step_that_touches_it():
    engine = await an_engine(LONG)
    engine.world.venue.script.append("lost")
    fresh = Basis(engine.book.block_number, {"BTC-USD": engine.clock.time() + 5})
    await engine.executor.execute([decide(ResizeHedge, LONG, "0.166", "0.332")], RULES, fresh, {})
    await engine.run_for(0.05)
    locked = engine.book.get_hedged_position(LONG.key)
    assert locked is not None
    engine.book.set_hedged_position(replace(locked, quantity=TARGET * 2))
    await engine.run_for(5)

    assert engine.guardian.told.keys() == {(Law.TARGET, str(LONG.key))}
    assert engine.book.mode is TradingMode.NO_OPENS
    await engine.die()


async def test_wrong_book_is_found_before_the_first_step():
    engine = await an_engine(LONG, OTHER)
    await engine.die()
    unlock(engine)

    ledger = Ledger(MemoryJournal(), engine.book, LoopClock())
    assert ledger.guardian.is_stopping
    await ledger.enforce()

    assert ledger.book.mode is TradingMode.NO_OPENS
    assert ledger.book.mode_reason == str(ledger.guardian.told[Law.LOCK, str(OTHER.key)])


async def test_law_that_a_connector_breaks_stops_opens_within_a_moment():
    engine = await an_engine(LONG)
    await engine.run_for(0.2)

    engine.guardian.note(RATE)
    await engine.run_for(0.1)

    await check_opens_are_stopped_and_closes_go_on(engine, Law.RATE, LONG)


async def test_open_is_not_journaled_any_more_once_a_law_is_broken():
    engine = await an_engine(LONG)
    before = engine.world.journal.last_sequence

    engine.guardian.note(RATE)
    await execute(engine, decide(OpenHedge, OTHER, "0.166", "0.166"))

    assert [type(entry.event) for entry in engine.world.journal.entries[before:]] == [TradingModeSet]
    await engine.die()


async def test_open_is_not_sent_when_the_order_sent_just_before_shows_that_a_law_is_broken():
    world = World()
    engine = await an_engine(world=world)
    original = world.venue.place_order

    async def place_order(request: OrderRequest) -> OrderReport:
        engine.guardian.note(RATE)
        return await original(request)

    world.venue.place_order = place_order  # type: ignore[method-assign]
    world.put(LONG, ETH)
    engine.feed()
    await engine.run_for(5)

    assert len(world.venue.sent) == 1
    assert not engine.book.in_flight
    await engine.die()


async def test_open_that_is_journaled_already_is_not_sent_when_a_law_is_broken_meanwhile():
    world = World()
    engine = await an_engine(world=world)
    world.journal.append_s = 0.2
    world.put(LONG)
    engine.feed()
    await engine.run_for(0.1)

    engine.guardian.note(RATE)
    await engine.run_for(5)

    assert world.venue.sent == []
    assert not engine.book.get_all_hedged_positions()
    assert engine.book.mode is TradingMode.NO_OPENS
    await engine.die()


async def test_process_ends_when_the_stop_cannot_be_journaled():
    engine = await an_engine(LONG)
    engine.world.journal.fails = True

    engine.guardian.note(RATE)

    with pytest.raises(JournalError):
        await engine.run_for(2)
    assert engine.guardian.is_stopping
    await engine.die()


async def test_operators_stricter_mode_and_flattening_stay_when_a_law_is_broken():
    engine = await an_engine(LONG)
    await engine.reconciler.set_mode(TradingMode.REDUCE_ONLY)

    engine.guardian.note(RATE)
    await engine.run_for(1)
    assert engine.book.mode is TradingMode.REDUCE_ONLY
    assert engine.book.mode_reason == str(RATE)

    await a_view(engine).flatten()
    await engine.run_for(5)
    assert (engine.book.mode, engine.book.mode_reason) == (TradingMode.REDUCE_ONLY, str(RATE))
    assert not engine.book.get_all_hedged_positions()
    await engine.die()


async def test_broken_law_stays_the_reason_when_a_command_was_waiting_for_the_journal():
    engine = await an_engine(LONG)
    engine.world.journal.append_s = 0.5
    writing = asyncio.ensure_future(engine.reconciler.set_mode(TradingMode.ACTIVE))
    await asyncio.sleep(0.2)
    command = asyncio.ensure_future(a_view(engine).flatten(reason="by hand"))
    await asyncio.sleep(0.1)

    engine.guardian.note(RATE)
    await asyncio.gather(writing, command)

    assert (engine.book.mode, engine.book.mode_reason) == (TradingMode.NO_OPENS, str(RATE))
    assert engine.book.is_flattening
    await engine.die()


def test_flattening_goes_on_when_a_law_is_broken():
    guardian = Guardian()
    guardian.note(RATE)

    stop = guardian.build_stop(HedgeBook(mode=TradingMode.REDUCE_ONLY, is_flattening=True))

    assert stop == TradingModeSet(TradingMode.REDUCE_ONLY, is_flattening=True, reason=str(RATE))


def test_second_order_of_a_step_for_a_hedge_gives_its_place_to_the_kill_switch():
    book, guardian = HedgeBook(), Guardian()
    first, second, third = (
        an_intent(sequence=7),
        an_intent(sequence=8),
        an_intent(sequence=9, shares=[a_share(position=ANYBODY)]),
    )

    recorded = guardian.screen(book, [first, second, third], 7)

    assert [recorded[0], recorded[2]] == [first, third]
    assert isinstance(recorded[1], TradingModeSet)
    assert guardian.get_refused_keys(first) == guardian.get_refused_keys(third) == frozenset()
    assert guardian.get_refused_keys(second) == {second.shares[0].key}


async def test_broken_law_is_told_and_journaled_once_until_it_is_resumed():
    engine = await an_engine(LONG)
    entries = engine.world.journal.last_sequence
    counted = metrics.INVARIANTS_BROKEN.labels("rate")._value.get()

    with capture_logs() as logs:
        for _ in range(5):
            engine.guardian.note(RATE)
            await engine.run_for(2)
        assert [entry["event"] for entry in logs].count("invariant_broken") == 1
        assert engine.world.journal.last_sequence == entries + 1
        await a_view(engine).resume()
        engine.guardian.note(RATE)
        await engine.run_for(2)
        assert [entry["event"] for entry in logs].count("invariant_broken") == 2

    assert engine.book.mode is TradingMode.NO_OPENS
    assert metrics.INVARIANTS_BROKEN.labels("rate")._value.get() == counted + 6
    await engine.die()


def fail(*_: object) -> Sequence[Breach]:
    raise ZeroDivisionError("a mistake in the check")


async def test_check_that_fails_stops_opens_and_lets_closes_pass(monkeypatch):
    engine = await an_engine(LONG)
    with monkeypatch.context() as patch:
        patch.setattr(guardian_module, "find_intent_breaches", fail)
        engine.world.put(ETH)
        await engine.run_for(3)
        assert engine.world.venue.net("ETHUSDT") == 0
        assert engine.guardian.told.keys() == {(Law.CHECK, "ZeroDivisionError")}
        engine.world.positions.clear()
        await engine.run_for(5)

    assert engine.world.venue.net("BTCUSDT") == 0
    assert engine.book.mode is TradingMode.NO_OPENS
    await engine.die()


async def test_check_that_fails_after_a_step_stops_opens_and_the_step_stands(monkeypatch):
    engine = await an_engine(LONG)
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "review", fail)
        engine.world.remove(LONG)
        await engine.run_for(5)

    assert not engine.book.get_all_hedged_positions()
    assert (
        engine.book.mode_reason
        == "invariant broken: the laws can be checked: ZeroDivisionError: a mistake in the check"
    )
    await engine.die()


async def test_flood_of_broken_laws_is_told_up_to_a_bound():
    engine = await an_engine(LONG)

    with capture_logs() as logs:
        for number in range(300):
            engine.guardian.note(Breach(Law.LOCK, f"hedge {number}", ""))

    assert [entry["event"] for entry in logs].count("invariant_broken") == guardian_module.TOLD_MAX
    await engine.die()


# --- what changes between a decision and its order


async def test_open_is_not_journaled_when_its_price_came_of_age_while_the_journal_was_busy():
    world = World()
    engine = await an_engine(world=world)
    world.journal.append_s = 15
    busy = asyncio.ensure_future(engine.ledger.record(TradingModeSet(TradingMode.ACTIVE, is_flattening=False)))
    await asyncio.sleep(0.1)
    world.journal.append_s = 0
    world.put(LONG)
    engine.feed()
    await busy
    await engine.run_for(5)

    assert [isinstance(entry.event, OrderIntended) for entry in world.journal.entries].count(True) == 1
    assert engine.held(LONG) == TARGET
    assert engine.guardian.told == {}
    await engine.die()


async def test_open_is_not_sent_when_its_price_came_of_age_while_it_was_journaled():
    world = World()
    engine = await an_engine(world=world)
    world.journal.append_s = 11
    world.put(LONG)
    engine.feed()
    await engine.run_for(11.05)
    world.journal.append_s = 0

    assert world.venue.sent == []
    await engine.run_for(30)
    assert engine.held(LONG) == TARGET
    assert len(world.venue.sent) == 1
    await engine.die()


async def test_close_is_sent_however_long_it_took_to_journal():
    engine = await an_engine(LONG)
    engine.world.journal.append_s = 40
    engine.world.remove(LONG)
    await engine.run_for(42)

    assert engine.world.venue.net("BTCUSDT") == 0
    await engine.die()
