"""One pass: observe, plan, guard, execute. Runs when something changed and at least once a second, one pass at a time.

Level-triggered: a pass looks at the newest complete inputs and at the book, asks the planner what should be, and hands
the difference to the executor. It waits for the journal, never for the exchange. Nothing is lost when a wake-up is
missed, and nothing is sent when nothing changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from dehedge import metrics
from dehedge.auditor import Auditor
from dehedge.core.book import TradingMode
from dehedge.core.decisions import CloseHedge, Decision, Hold, OpenHedge, Reason, RefreshHedge, ResizeHedge
from dehedge.core.events import Event, HedgesCooled, HedgesReheated, TradingModeSet
from dehedge.core.hedging import Basis, HedgingPolicy, VenueState, build_basis, plan, plan_flattening
from dehedge.core.model import HedgeKey, Observation
from dehedge.core.orders import Action
from dehedge.executor import Executor
from dehedge.feed import PriceFeed
from dehedge.guardian import check_stopped
from dehedge.guards import Guards
from dehedge.ledger import Ledger
from dehedge.ports import Clock
from dehedge.snapshots import SnapshotFeed
from dehedge.venue import Venue

log = structlog.get_logger()

COOLING_AFTER = 1 / 12
"""The share of the expiry after which a risk that has gone is journaled as gone."""
PASS_INTERVAL_S = 1.0
"""A pass at least this often: ages and expiries change without any input."""


class Reconciler:
    """Turns inputs into orders, pass by pass."""

    def __init__(
        self,
        *,
        policy: HedgingPolicy,
        snapshots: SnapshotFeed,
        prices: PriceFeed,
        venue: Venue,
        ledger: Ledger,
        auditor: Auditor,
        executor: Executor,
        guards: Guards,
        clock: Clock,
        awake: asyncio.Event,
    ) -> None:
        self.guards = guards
        self.decisions: Mapping[HedgeKey, Decision] = {}
        self.last_pass_at: float | None = None
        self.last_pass_loop_s: float | None = None
        """The same by a clock that nobody sets."""
        self.is_stopping = False
        self._policy = policy
        self._snapshots = snapshots
        self._prices = prices
        self._venue = venue
        self._ledger = ledger
        self._auditor = auditor
        self._executor = executor
        self._clock = clock
        self._awake = awake

    def wake(self) -> None:
        """Something changed: run a pass soon."""
        self._awake.set()

    async def run(self) -> None:
        """Pass after pass, until asked to stop; the pass in hand is finished."""
        while not self.is_stopping:
            self._awake.clear()
            with metrics.PASS_SECONDS.time():
                await self.run_pass()
            try:
                async with asyncio.timeout(PASS_INTERVAL_S):
                    await self._awake.wait()
            except TimeoutError:
                pass

    def stop(self) -> None:
        self.is_stopping = True
        self._awake.set()

    async def run_pass(self) -> None:
        """Observe, plan, execute, once."""
        book = self._ledger.book
        book.clamp_placed_times(self._clock.time())
        await self._ledger.enforce()
        observation = self.observe()
        decisions: list[Decision] = []
        if observation is not None:
            venue = self._get_venue_state()
            planned = plan(observation, book, self._policy, venue)
            await self._note_risk(planned, observation.taken_at)
            # From here to the orders nothing else runs, so that together they stay within the limits.
            decisions = self.guards.apply(planned, observation, venue)
        elif book.is_flattening and self._venue.error is None:
            decisions = plan_flattening(book, self._get_venue_state())
        self.decisions = {decision.key: decision for decision in decisions}
        basis = build_basis(observation, self._policy) if observation is not None else Basis()
        await self._execute(decisions, basis)
        await self._end_flattening()
        self.last_pass_at, self.last_pass_loop_s = self._clock.time(), asyncio.get_running_loop().time()
        metrics.LAST_PASS_TIME.set(self.last_pass_at)

    def observe(self) -> Observation | None:
        """Freeze what is known now; None until every input has been there once."""
        seen = self._snapshots.observe()
        if seen is None or not self._prices.latest or self._venue.error is not None:
            return None
        return replace(seen, prices=self._prices.latest, marks=self._venue.get_marks())

    def _get_venue_state(self) -> VenueState:
        blocked = {**self._venue.unsettled, **self._auditor.blocked}
        rival = self._auditor.writers.find_obstacle()
        if rival is not None:
            held = {hedge.symbol for hedge in self._ledger.book.get_all_hedged_positions().values()}
            blocked |= dict.fromkeys(held.union(self._policy.symbols.values()), rival)
        backoff = self._executor.backoff
        return VenueState(
            rules=self._venue.rules,
            blocked=blocked,
            exhausted={symbol for symbol, may_try in backoff.get_exhausted().items() if not may_try},
            waiting_to_grow=backoff.get_waiting(Action.INCREASE),
            waiting_to_reduce=backoff.get_waiting(Action.REDUCE),
            busy=self._executor.busy,
            group_max=backoff.group_max,
        )

    async def _note_risk(self, decisions: Sequence[Decision], now: float) -> None:
        """Refresh the hedges whose risk lasts; journal only where it went or came back."""
        book = self._ledger.book
        hedges = book.get_all_hedged_positions()
        lasting = [d.key for d in decisions if _check_lasting(d) and d.key in hedges]
        book.refresh(lasting, now)
        back = tuple(key for key in lasting if hedges[key].is_cooling)
        gone = tuple(
            (d.key, hedges[d.key].placed_at)
            for d in decisions
            if d.reason is Reason.COOLING_DOWN and not hedges[d.key].is_cooling
            # A risk that flickers at its threshold is not worth a row of the journal at every price.
            and now - hedges[d.key].placed_at >= self._policy.expiry_s * COOLING_AFTER
        )
        events: list[Event] = [HedgesReheated(back, now)] if back else []
        if gone:
            events.append(HedgesCooled(gone))
        if events:
            await self._ledger.record(*events)

    async def _execute(self, decisions: Iterable[Decision], basis: Basis) -> None:
        decisions = list(decisions)
        unmarked = {d.key.market for d in decisions if d.reason is Reason.NO_MARK_PRICE}
        if unmarked:
            self._venue.request_marks({self._policy.symbols[market] for market in unmarked})
        trades = [d for d in decisions if isinstance(d, OpenHedge | ResizeHedge | CloseHedge)]
        if trades and not self.is_stopping:
            await self._executor.execute(trades, self._venue.rules, basis, self.guards.increase_max)

    async def _end_flattening(self) -> None:
        """Once everything is closed, flattening is done; the kill switch stays where it is."""
        if self._build_flattened() and await self._ledger.record_prepared(lambda _: self._build_flattened()):
            log.info("flattened")

    def _build_flattened(self) -> Sequence[Event]:
        """Built again when its turn has come: a command that was recorded meanwhile must not be undone."""
        book = self._ledger.book
        if not book.is_flattening or book.get_all_hedged_positions():
            return ()
        return (TradingModeSet(book.mode, is_flattening=False, set_at=book.mode_set_at, reason=book.mode_reason),)

    async def set_mode(self, mode: TradingMode, *, is_flattening: bool = False, reason: str = "") -> None:
        """Turn the kill switch; survives restarts. A broken law goes on being the reason until opens are resumed.

        Where it stands so already, it goes on standing so since then and for that reason; who asked again is in the log.
        """
        book = self._ledger.book

        def build(_: int) -> Sequence[Event]:
            if mode is not TradingMode.ACTIVE and (book.mode, book.is_flattening) == (mode, is_flattening):
                return ()
            keeps_reason = mode is not TradingMode.ACTIVE and check_stopped(book)
            return [TradingModeSet(mode, is_flattening, self._clock.time(), book.mode_reason if keeps_reason else reason)]

        is_new = bool(await self._ledger.record_prepared(build))
        event = "trading_mode_set" if is_new else "trading_mode_kept"
        log.warning(event, mode=mode.value, is_flattening=is_flattening, reason=reason)
        self.wake()


def _check_lasting(decision: Decision) -> bool:
    """True for a decision about a held hedge whose position is at risk now."""
    if isinstance(decision, RefreshHedge | ResizeHedge):
        return True
    return isinstance(decision, Hold) and decision.assessment is not None and decision.assessment.at_risk
