"""Runs the daemon's core over a story: one loop in virtual time, which reads no clock and writes no file.

Each step is a pass of the daemon: observe, plan, guard, group into orders. Everything that decides is the core's; what
becomes of the orders is the desk's. Steps at which nothing can be decided are looked past (``screen``). Called by the
command line and by the benchmarks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from dehedge.core.batching import build_drafts
from dehedge.core.book import HedgedPosition, HedgeStatus
from dehedge.core.cooling import Cooling
from dehedge.core.decisions import (
    NOT_WORTH_A_HEDGE,
    CloseHedge,
    Decision,
    Hold,
    OpenHedge,
    Reason,
    RefreshHedge,
    ResizeHedge,
)
from dehedge.core.guards import GuardInputs, apply_guards, get_increase_max
from dehedge.core.hedging import find_judged_markets, plan
from dehedge.core.model import HedgeKey, Observation, Position
from dehedge.core.orders import Action
from dehedge.core.policy import VenueState
from dehedge.reconciler import COOLING_AFTER
from dehedge.replay.desk import Desk
from dehedge.replay.exchange import Stake, build_rules
from dehedge.replay.figures import Outcome, build_run
from dehedge.replay.ideal import build_ideal
from dehedge.replay.model import Costs, History, Policy, Progress, Run
from dehedge.replay.path import SECOND_US
from dehedge.replay.screen import Glance, Screen, check_thin_bar
from dehedge.replay.story import ASSET, Story, build_story
from dehedge.replay.together import Together
from dehedge.replay.view import UNIT, Eyes
from dehedge.replay.watch import Account, Watch

SETTLED = frozenset({Reason.NOT_AT_RISK, Reason.COOLING_DOWN, Reason.BELOW_MIN_COLLATERAL})
"""Held for these, a key need not be looked at again before its risk changes or its time has come."""
NOT_DUE = NOT_WORTH_A_HEDGE | {Reason.NOT_AT_RISK}
TOLD_PARTS = 200
"""How often progress is told."""


def run_policy(history: History, costs: Costs, policy: Policy, progress: Progress | None = None) -> Run:
    """Replay a history under one policy. Raises ``ConfigError`` for a history that cannot have been."""
    return run_story(build_story(history), history, costs, policy, progress)


def run_story(story: Story, history: History, costs: Costs, policy: Policy, progress: Progress | None = None) -> Run:
    """The same of a story that is made already: several policies share it."""
    tell = progress or _tell_nobody
    if policy.hedging is None:
        outcome = Outcome(story.path.axis.markets)
    elif policy.is_ideal:
        outcome = build_ideal(story, policy.hedging, costs.leverage)
    else:
        outcome = Replay(story, history, costs, policy).run(tell)
    tell(1.0)
    return build_run(story, policy, outcome)


def _tell_nobody(_: float) -> None:
    pass


class Replay:
    """One policy's run. ``is_screened`` off looks at every position at every step."""

    def __init__(
        self, story: Story, history: History, costs: Costs, policy: Policy, *, is_screened: bool = True
    ) -> None:
        assert policy.hedging is not None, "without hedging there is nothing to run"
        self._story = story
        self._axis = axis = story.path.axis
        self._limits = policy.limits
        # Whatever the operator's asset is called: a story knows one alone.
        self._hedging = replace(policy.hedging, asset=ASSET)
        self._costs = costs
        self._symbols = [self._hedging.symbols.get(market, market) for market in axis.markets]
        self._rules = {
            symbol: build_rules(symbol, int(axis.open[place, 0]) * UNIT, costs.rules)
            for place, symbol in enumerate(self._symbols)
        }
        self._desk = Desk(story.path, costs, self._symbols, self._rules, history.funding)
        self._eyes = Eyes(story, self._symbols)
        self._is_screened = is_screened
        self._screen = Screen(story, self._hedging) if is_screened else None
        self._together = Together(story, self._hedging, self._rules) if self._hedging.portfolio is not None else None
        self._cooling = Cooling(self._hedging.expiry_s * COOLING_AFTER)
        self._pending: set[HedgeKey] = set()
        self._watch = Watch(story, policy.hedging.expiry_s)

    def run(self, tell: Progress) -> Outcome:
        bar, told, count = 0, 0, len(self._axis)
        while bar < count:
            bar = self._walk(bar)
            if (bar - told) * TOLD_PARTS >= count:
                told = bar
                tell(bar / count)
        desk, exchange = self._desk, self._desk.exchange
        desk.pass_time(self._axis.get_last_us(count - 1))
        return Outcome(
            tuple(self._symbols), exchange.fills, exchange.payments, desk.trades, self._costs.leverage,
            exchange.margin_peak, desk.unhedged_us / SECOND_US, exchange.liquidations, desk.opens_refused,
            desk.orders,
        )  # fmt: skip

    def _walk(self, bar: int) -> int:
        """Go through this bar where anything may be decided in it; gives the next bar to look at."""
        if self._together is not None:
            return self._walk_together(self._together, bar)
        if self._screen is None:
            for step in range(self._axis.count_steps(bar)):
                self._process(bar, step, None)
            return bar + 1
        found = self._screen.find_bar(bar, self._watch) if self._is_quiet else bar
        if found == bar:
            self._scan(bar, self._screen.look(bar, self._watch))
        return max(found, bar + 1)

    def _walk_together(self, together: Together, bar: int) -> int:
        is_held = bool(self._desk.book.get_all_hedged_positions())
        is_calm = self._is_screened and self._is_quiet and together.check_calm(bar, is_held=is_held)
        if not is_calm or self._check_watched(bar):
            for step in range(self._axis.count_steps(bar)):
                self._process(bar, step, None)
        return bar + 1

    def _check_watched(self, bar: int) -> bool:
        """True for a bar in which the account may pay funding, or may be liquidated."""
        watch, axis = self._watch, self._axis
        is_due = watch.funding_us <= axis.get_last_us(bar)
        return is_due or any(check_thin_bar(account, axis, bar) for account in watch.accounts)

    @property
    def _is_quiet(self) -> bool:
        return not self._pending and self._desk.is_idle

    def _scan(self, bar: int, glance: Glance) -> None:
        step, count = 0, self._axis.count_steps(bar)
        while step < count:
            if self._screen is not None and not glance.knows(self._watch):
                glance = self._screen.look(bar, self._watch)
            if self._is_quiet:
                step = glance.find_step(step, self._watch)
            if step < count:
                self._process(bar, step, glance)
            step += 1

    def _process(self, bar: int, step: int, glance: Glance | None) -> None:
        """One pass of the daemon, after what happened before it."""
        desk = self._desk
        keys = self._list_keys(glance, step) if glance is not None else None
        desk.pass_time(self._axis.get_time_us(bar, step))
        observation = self._eyes.observe(bar, step)
        desk.liquidate(observation.marks)
        if self._together is not None:
            observation, keys = self._look_together(self._together, observation, bar)
        if keys is not None:
            keys |= desk.touched
        judged = find_judged_markets(observation, desk.book, self._hedging)
        if bar or step:
            # Whatever was looked past was as the book had it.
            before_us = self._axis.get_time_us(bar, step - 1) if step else self._axis.get_last_us(bar - 1)
            desk.book.note_judged(judged, before_us / SECOND_US)
        planned = self._decide(observation, sorted(keys) if keys is not None else None)
        for event in self._cooling.note(desk.book, planned, judged, observation.taken_at):
            desk.fold(event)
        decisions = self._carry_out(planned, observation)
        self._note(decisions, observation)
        self._update_watch(keys or ())

    def _look_together(
        self, together: Together, observation: Observation, bar: int
    ) -> tuple[Observation, set[HedgeKey] | None]:
        """The observation with its stance, and who may be decided on by it."""
        observation, is_new = together.look(observation, self._desk, bar)
        if not self._is_screened:
            return observation, None
        targets = observation.stance.targets if observation.stance is not None else None
        held = self._desk.book.get_all_hedged_positions() if is_new or targets is not None else ()
        return observation, {*self._pending, *self._watch.loose, *(targets or ()), *held}

    def _note(self, decisions: Sequence[Decision], observation: Observation) -> None:
        """Who has to be looked at again by the next step, and who is at risk without a hedge."""
        hedges, positions = self._desk.book.get_all_hedged_positions(), observation.snapshot.positions
        seen = [(each, hedges.get(each.key)) for each in decisions]
        self._pending = {each.key for each, hedge in seen if not _check_settled(each, hedge, positions)}
        check = _check_wanting if self._together is None else _check_wanting_together
        self._desk.wanting = {each.key for each, hedge in seen if check(each, hedge)}

    def _decide(self, observation: Observation, keys: Iterable[HedgeKey] | None) -> list[Decision]:
        """The core's decisions for these keys, or for all: the one place that asks for them."""
        return plan(observation, self._desk.book, self._hedging, self._get_venue_state(), keys)

    def _list_keys(self, glance: Glance, step: int) -> set[HedgeKey]:
        """Whoever may be decided on at this step, by the book as it is."""
        due = self._watch.list_due(int(glance.times_us[step]))
        return {*self._pending, *glance.list_keys(step, self._watch), *self._watch.loose, *due}

    def _get_venue_state(self) -> VenueState:
        backoff = self._desk.backoff
        return VenueState(
            rules=self._rules,
            exhausted={symbol for symbol, may_try in backoff.get_exhausted().items() if not may_try},
            waiting_to_grow=backoff.get_waiting(Action.INCREASE),
            waiting_to_reduce=backoff.get_waiting(Action.REDUCE),
            group_max=backoff.group_max,
        )

    def _carry_out(self, planned: Sequence[Decision], observation: Observation) -> Sequence[Decision]:
        """Guard and order, as a pass of the daemon does; the decisions as the limits left them."""
        if not any(isinstance(each, OpenHedge | ResizeHedge | CloseHedge) for each in planned):
            self._desk.note_held_back(())
            return planned
        inputs = self._build_inputs(observation)
        decisions = apply_guards(planned, inputs, self._limits)
        opens = {each.key for each in planned if isinstance(each, OpenHedge)}
        self._desk.note_held_back(each.key for each in decisions if isinstance(each, Hold) and each.key in opens)
        trades = [each for each in decisions if isinstance(each, OpenHedge | ResizeHedge | CloseHedge)]
        increase_max: Mapping[str, Decimal] = get_increase_max(inputs, self._limits)
        drafts = build_drafts(trades, self._rules, self._desk.backoff.group_max, increase_max)
        self._desk.order(drafts, observation)
        return decisions

    def _build_inputs(self, observation: Observation) -> GuardInputs:
        desk, account = self._desk, None
        desk.usage.advance(observation.taken_at)
        if self._limits.needs_account:
            account = desk.exchange.read_account(observation.marks, observation.taken_at, desk.settled_until_s)
        return GuardInputs(
            observation, desk.book, self._get_venue_state(), desk.usage, self._hedging.leverage, account
        )  # fmt: skip

    def _update_watch(self, keys: Iterable[HedgeKey]) -> None:
        """Expect what the book says now of these hedges and of those that have changed."""
        desk, watch = self._desk, self._watch
        watch.update({*keys, *desk.touched}, desk.book, desk.now_us)
        desk.touched.clear()
        watch.accounts, watch.funding_us = [*map(self._build_account, desk.exchange.list_stakes())], desk.next_funding_us

    def _build_account(self, stake: Stake) -> Account:
        holdings = self._desk.exchange.holdings
        coins = [float(holdings[symbol].quantity) if symbol in stake.symbols else 0.0 for symbol in self._symbols]
        return Account(float(stake.base), np.array(coins), float(self._costs.maintenance))


def _check_settled(decision: Decision, hedge: HedgedPosition | None, positions: Mapping[HedgeKey, Position]) -> bool:
    """True for what need not be looked at again by itself."""
    if isinstance(decision, RefreshHedge) and hedge is not None:
        position = positions[decision.key]
        is_same = (hedge.size, hedge.entry_price) == (position.size, position.entry_price)
        return is_same and hedge.status is HedgeStatus.OPEN and hedge.quantity == hedge.target
    return isinstance(decision, Hold) and decision.reason in SETTLED


def _check_wanting_together(decision: Decision, hedge: HedgedPosition | None) -> bool:
    """The same where all are judged together: a hold that says something else than that nothing is due."""
    return decision.reason not in NOT_DUE and (hedge is None or not hedge.quantity)


def _check_wanting(decision: Decision, hedge: HedgedPosition | None) -> bool:
    """True for what is at risk, is meant to be hedged, and has no hedge yet."""
    assessment = decision.assessment
    is_risky = assessment is not None and assessment.at_risk and decision.reason not in NOT_WORTH_A_HEDGE
    return is_risky and (hedge is None or not hedge.quantity)
