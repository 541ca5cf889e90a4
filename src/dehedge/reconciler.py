"""One pass: observe, plan, guard, execute. Runs when something changed and at least once a second, one pass at a time.

Level-triggered: a pass looks at the newest complete inputs and at the book, asks the planner what should be, and hands
the difference to the executor. It waits for the journal, never for the exchange. Nothing is lost when a wake-up is
missed, and nothing is sent when nothing changed.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from dehedge import metrics
from dehedge.alarm import Alarm
from dehedge.auditor import Auditor
from dehedge.core.agenda import Agenda
from dehedge.core.book import TradingMode
from dehedge.core.cooling import Cooling
from dehedge.core.decisions import CloseHedge, Decision, OpenHedge, Reason, ResizeHedge
from dehedge.core.events import Event, TradingModeSet
from dehedge.core.freshness import Basis, build_basis
from dehedge.core.hedging import explain_quiet, find_judged_markets, plan, plan_flattening
from dehedge.core.model import HedgeKey, Observation, Stance
from dehedge.core.orders import Action
from dehedge.core.passes import PassView, check_trade, view_pass
from dehedge.core.policy import HedgingPolicy, VenueState
from dehedge.core.stance import PortfolioWatch, sum_held
from dehedge.core.stance import Scene as StanceScene
from dehedge.executor import Executor
from dehedge.feed import PriceFeed
from dehedge.guardian import check_stopped
from dehedge.guards import Guards
from dehedge.ledger import Ledger
from dehedge.ports import Clock, PassRecorder
from dehedge.snapshots import SnapshotFeed
from dehedge.venue import Venue

log = structlog.get_logger()

COOLING_AFTER = 1 / 12
"""The share of the expiry after which a risk that has gone is journaled as gone."""


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
        alarm: Alarm,
        recorder: PassRecorder | None = None,
    ) -> None:
        self.guards = guards
        self.decisions: Mapping[HedgeKey, Decision] = {}
        self.last_pass_at: float | None = None
        self.last_pass_loop_s: float | None = None
        """The same by a clock that nobody sets."""
        self._newest_time = math.inf
        self.is_stopping = False
        self._policy = policy
        self._snapshots = snapshots
        self._prices = prices
        self._venue = venue
        self._ledger = ledger
        self._auditor = auditor
        self._executor = executor
        self._clock = clock
        self._alarm = alarm
        self._recorder = recorder
        self._agenda = Agenda()
        self._cooling = Cooling(policy.expiry_s * COOLING_AFTER)
        self._watch = PortfolioWatch()
        self.stance: Stance | None = None
        """How the traders stand together, where they are judged so; without what is to be done."""

    def wake(self) -> None:
        """Something changed: run a pass soon."""
        self._alarm.note_change()

    async def run(self) -> None:
        """Pass after pass, until asked to stop; the pass in hand is finished."""
        while not self.is_stopping:
            if self._alarm.take():
                self._agenda.request_whole()
            with metrics.PASS_SECONDS.time():
                await self.run_pass()
            # Ages and expiries change without any input.
            await self._alarm.wait(self._agenda.get_rest_s(self._clock.time()))

    def stop(self) -> None:
        self.is_stopping = True
        self._alarm.note_change()

    async def run_pass(self) -> None:
        """Observe, plan, execute, once."""
        book = self._ledger.book
        self._watch_clock()
        await self._ledger.enforce()
        observation = self._look()
        if observation is not None:
            decisions = await self._decide(observation)
            basis = build_basis(observation, self._policy)
        else:
            is_flattening = book.is_flattening and self._venue.error is None
            decisions = plan_flattening(book, self.get_venue_state()) if is_flattening else []
            basis = Basis()
            self.decisions = {decision.key: decision for decision in decisions}
        await self._execute(decisions, basis)
        await self._end_flattening()
        self.last_pass_at, self.last_pass_loop_s = self._clock.time(), asyncio.get_running_loop().time()
        metrics.LAST_PASS_TIME.set(self.last_pass_at)

    def _watch_clock(self) -> None:
        now = self._clock.time()
        if now < self._newest_time:
            self._ledger.book.clamp_placed_times(now)
        self._newest_time = now

    async def _decide(self, observation: Observation) -> list[Decision]:
        """What becomes of the keys that are due, and of their rivals for what the limits leave."""
        book, venue = self._ledger.book, self.get_venue_state()
        judged = find_judged_markets(observation, book, self._policy)
        self._agenda.note_judged(judged)
        is_whole, planned = self._plan_due(observation, venue)
        if not is_whole and self.guards.check_rivals(planned):
            self._agenda.request_whole()
            is_whole, planned = self._plan_due(observation, venue)
        view = self._view(observation, venue, planned)
        events = self._cooling.note(book, planned, judged, observation.taken_at)
        if events:
            await self._ledger.record(*events)
        # From here to the orders nothing else runs, so that together they stay within the limits.
        decisions = self.guards.apply(planned, observation, venue, is_whole=is_whole)
        if view is not None and self._recorder is not None:
            self._recorder.note(view, decisions)
        newest = {decision.key: decision for decision in decisions}
        self.decisions = newest if is_whole else {**self.decisions, **newest}
        return decisions

    def _plan_due(self, observation: Observation, venue: VenueState) -> tuple[bool, list[Decision]]:
        """What becomes of the keys that are due, before the guards; and whether all that matter are among them."""
        book = self._ledger.book
        targets = observation.stance.targets if observation.stance is not None else None
        if targets is not None:
            self._agenda.request_whole()
        keys, is_whole = self._agenda.take(self._snapshots.index, observation, book.get_all_hedged_positions())
        keys = [*dict.fromkeys([*keys, *(targets or ())])]
        return is_whole, plan(observation, book, self._policy, venue, keys)

    def _view(self, observation: Observation, venue: VenueState, planned: Sequence[Decision]) -> PassView | None:
        """What is to be kept of this pass, if it is; taken before anything comes of it."""
        recorder = self._recorder
        if recorder is None or not recorder.check_wanted(is_trading=any(map(check_trade, planned))):
            return None
        return view_pass(self._ledger.book, observation, (self._policy, venue), planned)

    def observe(self) -> Observation | None:
        """Freeze what is known now; None until every input has been there once."""
        seen = self._snapshots.observe()
        if seen is None or not self._prices.latest or self._venue.error is not None:
            return None
        return replace(seen, prices=self._prices.latest, marks=self._venue.get_marks(), stance=self.stance)

    def _look(self) -> Observation | None:
        """The same for a pass, which alone may move what is hedged together."""
        observation, portfolio = self.observe(), self._snapshots.portfolio
        if observation is None or portfolio is None:
            return observation
        book = self._ledger.book
        scene = StanceScene(observation, book, self._policy, self._venue.rules, portfolio, sum_held(book))
        stance = self._watch.look(scene)
        self.stance = replace(stance, targets=None)
        return replace(observation, stance=stance)

    def explain(self, keys: Iterable[HedgeKey]) -> Mapping[HedgeKey, Decision]:
        """The decisions of the last pass, and for what it did not look at those that it would have made."""
        observation, known = self.observe(), self.decisions
        if observation is None:
            return known
        unseen = [key for key in keys if key not in known]
        decisions = plan(observation, self._ledger.book, self._policy, self.get_venue_state(), unseen)
        return {**known, **{decision.key: decision for decision in decisions}}

    def count_decisions(self) -> Counter[Reason]:
        """The positions and hedges by the reason of their last decision."""
        reasons = Counter(decision.reason for decision in self.decisions.values())
        observation = self.observe()
        if observation is None:
            return reasons
        positions = observation.snapshot.positions
        seen = Counter((positions[key].asset, key.market) for key in self.decisions if key in positions)
        for place, count in self._snapshots.index.counts.items():
            quiet = count - seen[place]
            if quiet:
                reasons[explain_quiet(observation, self._ledger.book, self._policy, place)] += quiet
        return reasons

    def get_venue_state(self) -> VenueState:
        """What the planner must know of the exchange now."""
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

