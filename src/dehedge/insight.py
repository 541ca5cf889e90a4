"""Why, how near and what if: explanations, trigger prices and moved prices, as plain JSON data.

Implements ``surfaces.Insight`` on the live book and changes nothing: what is computed is computed from frozen inputs and from
copies. Little is done at once, large books go in slices or to a thread, so that no price waits for a question. Made by
``status``; the arithmetic is in ``core.explain``, ``core.trips`` and ``core.whatif``, the JSON in ``answers``.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import islice

from dehedge.answers import describe_explanation, describe_outcome, describe_trip
from dehedge.core.book import HedgedPosition
from dehedge.core.explain import Case, build_case
from dehedge.core.lookup import check_market, find_key
from dehedge.core.model import Observation
from dehedge.core.policy import HedgingPolicy
from dehedge.core.trips import Trip, iterate_trips
from dehedge.core.whatif import Account, Outcome, Scene, foresee, parse_moves
from dehedge.errors import ConnectorError, DehedgeError
from dehedge.feed import PriceFeed
from dehedge.ledger import Ledger
from dehedge.reconciler import Reconciler
from dehedge.snapshots import SnapshotFeed
from dehedge.venue import Venue

TRIPS_AT_ONCE = 50
"""Some 2 ms."""
FORESEEN_AT_ONCE = 200
"""A book of so few positions is foreseen in milliseconds, which is not worth a thread."""


class InsightView:
    """Answers one question after the other; nothing of an answer is kept."""

    def __init__(
        self,
        *,
        policy: HedgingPolicy,
        snapshots: SnapshotFeed,
        prices: PriceFeed,
        venue: Venue,
        ledger: Ledger,
        reconciler: Reconciler,
        describe_hedge: Callable[[HedgedPosition], Mapping[str, object]],
    ) -> None:
        """``describe_hedge`` is how a hedge is shown elsewhere as well."""
        self._policy = policy
        self._snapshots = snapshots
        self._prices = prices
        self._venue = venue
        self._ledger = ledger
        self._reconciler = reconciler
        self._describe_hedge = describe_hedge
        self._foreseeing = asyncio.Lock()
        self._resting_until = float("-inf")

    def explain(self, market: str, position_id: str) -> Mapping[str, object]:
        observation, book = self._observe(), self._ledger.book
        check_market(market, {*observation.snapshot.markets, *observation.prices, *self._policy.symbols})
        key = find_key(observation.snapshot.positions, book.get_all_hedged_positions(), market, position_id)
        decision = self._reconciler.explain([key]).get(key)
        case = self._add_money(build_case(observation, book, self._policy, self._venue.rules, (key, decision)))
        return describe_explanation(case, self._describe_hedge(case.hedge) if case.hedge is not None else None)

    def _add_money(self, case: Case) -> Case:
        figures = self._ledger.records.earnings.get(case.key)
        if figures is None or case.hedge is None:
            return case
        mark = self._venue.get_newest_marks().get(case.hedge.symbol)
        return replace(case, figures=figures, profit_usd=figures.get_profit(mark))

    async def find_trips(self, limit: int) -> Mapping[str, object]:
        observation, index = self._observe(), self._snapshots.index
        prices = {market: tick.price for market, tick in observation.prices.items()}
        found = iterate_trips(index, observation.snapshot.positions, prices, limit)
        trips: list[Trip] = []
        while part := [*islice(found, TRIPS_AT_ONCE)]:
            trips += part
            await asyncio.sleep(0)
        # The index has them in the order of floats; side by side the exact prices count.
        trips.sort(key=_get_distance)
        book, unit = self._ledger.book, self._policy.asset_unit
        rows = []
        for place in range(0, len(trips), TRIPS_AT_ONCE):
            part = trips[place : place + TRIPS_AT_ONCE]
            rows += [
                describe_trip(trip, asset_unit=unit, is_hedged=book.has_hedged_position(trip.key)) for trip in part
            ]
            await asyncio.sleep(0)
        return {"trips": rows}

    async def foresee(self, moves: Sequence[str]) -> Mapping[str, object]:
        percents = parse_moves(moves, self._prices.latest)
        account, error = await self._view_account()
        scene = self._freeze(percents, account)
        is_small = len(scene.inputs.observation.snapshot.positions) <= FORESEEN_AT_ONCE
        if not is_small and (self._foreseeing.locked() or get_loop_time() < self._resting_until):
            raise DehedgeError("what-ifs of a book as large as this take turns; ask again in a moment")
        async with self._foreseeing:
            began = get_loop_time()
            try:
                outcome = foresee(scene) if is_small else await asyncio.to_thread(_foresee_aside, scene)
                await asyncio.sleep(0)
            finally:
                # A thread competes for the interpreter: asked again and again, it has half of it at most.
                now = get_loop_time()
                self._resting_until = now if is_small else 2 * now - began
        return describe_outcome(scene, outcome, account_error=error)

    def _freeze(self, percents: Mapping[str, Decimal], account: Account | None) -> Scene:
        """The inputs and the book of this moment: what happens afterwards does not change them."""
        observation = self._reconciler.observe()
        if observation is None:
            what = self._venue.error or self._snapshots.error or "inputs are missing"
            raise DehedgeError(f"nothing can be foreseen yet: {what}; see `dehedge status`")
        guards = self._reconciler.guards
        inputs = guards.copy_inputs(observation, self._reconciler.get_venue_state())
        snapshots = self._snapshots
        return Scene(percents, inputs, guards.limits, self._policy, snapshots.index, account, snapshots.portfolio)

    async def _view_account(self) -> tuple[Account | None, str | None]:
        """The account, or why it is not known: the rest can be told all the same."""
        if self._venue.error is not None:
            return None, self._venue.error
        try:
            return await self._reconciler.guards.account.view(), None
        except ConnectorError as error:
            return None, str(error)

    def _observe(self) -> Observation:
        """The chain and prices as they are known; needs no exchange."""
        seen = self._snapshots.observe()
        if seen is None:
            raise DehedgeError(
                f"the chain was not read yet: {self._snapshots.error or 'no snapshot yet'}; see `dehedge status`"
            )
        return replace(
            seen, prices=self._prices.latest, marks=self._venue.get_marks(), stance=self._reconciler.stance
        )  # fmt: skip


def _foresee_aside(scene: Scene) -> Outcome:
    """In a thread, without the garbage collector: each of its walks through a large book stops the event loop as well."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return foresee(scene)
    finally:
        if was_enabled:
            gc.enable()


def _get_distance(trip: Trip) -> tuple[bool, object]:
    distance = trip.distance_bps
    return distance is None, abs(distance) if distance is not None else 0


def get_loop_time() -> float:
    return asyncio.get_running_loop().time()
