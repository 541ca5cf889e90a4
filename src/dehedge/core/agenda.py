"""Which keys a pass looks at: those that matter to an operator's money, never the whole snapshot.

After a price, the keys whose risk it can have changed, by the trigger index. Once a second, with every new snapshot and
after everything else that happened, all hedges and all positions at risk, so that nothing depends on having seen every
change. What is not looked at is safe and not hedged; ``hedging`` decides what becomes of the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from itertools import chain
from typing import NamedTuple

from dehedge.core.model import HedgeKey, Observation
from dehedge.core.trigger import TriggerIndex

WHOLE_INTERVAL_S = 1.0
REST_MIN_S = 0.001
"""A timer may be that early by the clock that ages are counted by."""


class Look(NamedTuple):
    """The keys of one pass; ``is_whole`` when all that matter are among them."""

    keys: list[HedgeKey]
    is_whole: bool


class Agenda:
    """Remembers what the last pass has looked at."""

    def __init__(self) -> None:
        self._index: TriggerIndex | None = None
        self._prices: dict[str, int] = {}
        self._judged: frozenset[str] = frozenset()
        self._unnamed: list[HedgeKey] = []
        self._whole_at = 0.0
        self._is_whole_due = True

    def request_whole(self) -> None:
        """Something else than a price has changed."""
        self._is_whole_due = True

    def note_judged(self, markets: Iterable[str]) -> None:
        """The markets whose prices count now: once another one does, what its prices did meanwhile is still to be seen."""
        judged = frozenset(markets)
        self._is_whole_due |= judged != self._judged
        self._judged = judged

    def get_rest_s(self, now: float) -> float:
        """How long nothing has to be looked at by itself."""
        rest_s = self._whole_at + WHOLE_INTERVAL_S - now
        return max(rest_s, REST_MIN_S) if 0 <= rest_s <= WHOLE_INTERVAL_S else WHOLE_INTERVAL_S

    def take(self, index: TriggerIndex, observation: Observation, hedged: Collection[HedgeKey]) -> Look:
        """What to look at now, which then counts as looked at."""
        now, prices = observation.taken_at, {market: tick.price for market, tick in observation.prices.items()}
        is_recent = 0 <= now - self._whole_at < WHOLE_INTERVAL_S
        is_whole = self._is_whole_due or index is not self._index or not is_recent
        find = index.find_risky if is_whole else partial(self._find_changed, index)
        rows = [row for market, price in prices.items() for row in find(market, price)]
        if is_whole:
            self._index, self._whole_at, self._is_whole_due = index, now, False
            self._unnamed = _find_unnamed(index, observation, hedged)
        self._prices = prices
        keys = chain(hedged if is_whole else self._unnamed, map(index.rows.get_key, rows))
        return Look([*dict.fromkeys(keys)], is_whole)

    def _find_changed(self, index: TriggerIndex, market: str, price: int) -> list[int]:
        before = self._prices.get(market)
        if before == price:
            return []
        return index.find_changed(market, before, price) if before is not None else index.find_risky(market, price)


def _find_unnamed(index: TriggerIndex, observation: Observation, hedged: Collection[HedgeKey]) -> list[HedgeKey]:
    """The hedges of positions that have become too small for the index."""
    positions, size_min = observation.snapshot.positions, index.terms.size_min
    return [key for key in hedged if key in positions and positions[key].size < size_min]
