"""The feed of chain snapshots: the newest two, a second reading where one decides nothing, nodes that disagree.

Owns when the chain is read. A snapshot that lacks the position of a hedge is followed at once by one more reading,
from another node where there is one; ``core.absence`` says what the two prove, and only the planner closes. At most
one such reading follows a poll, whatever the nodes say, so two that disagree for ever cost one reading more each poll
and a place among the obstacles. A hint that there is news only brings the next poll forward, and nothing depends on it.
Never decides what becomes of a hedge. Run by ``daemon``, read by ``reconciler`` and ``status``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from dehedge import metrics
from dehedge.core.absence import check_agree, check_repeats, find_contradicted, find_unconfirmed
from dehedge.core.model import ChainSnapshot, HedgeKey, Observation, PriceTick
from dehedge.core.policy import HedgingPolicy, build_terms
from dehedge.core.portfolio import Portfolio, build_portfolio
from dehedge.core.trigger import TriggerIndex, build_index, read_rows
from dehedge.errors import ChainUnavailable
from dehedge.feed import Feed
from dehedge.ledger import Ledger
from dehedge.ports import ChainSource, Clock

log = structlog.get_logger()

NEXT_BLOCK_S = 2.5
"""Base makes a block each 2 s, and a node alone confirms an absence by its next one; another one that failed may be
asked again by then as well."""
PAUSE_MIN_S = 0.05
INDEXED_AT_ONCE = 50
"""So few positions are indexed and named in a millisecond, which is not worth a thread."""
NAMED_AHEAD = 1_000
"""On each side of each market's price; the first naming of a position takes a hash of its trader's address."""
HINTED_PAUSE_S = 0.2
"""From the end of a reading to one that was hinted at: what is told of one block comes in several messages."""
HINTED_READINGS_MAX = 3
"""For one hint: the node that is asked may have the block a moment later than the one that told of it."""
DISAGREEMENT_SHOWN_S = 30.0
"""Nodes that disagree for longer than this will not agree by themselves."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two snapshots in a row of which one lacked positions that the other has; ``since`` in seconds."""

    hosts: tuple[str, ...]
    keys: tuple[HedgeKey, ...]
    since: float


@dataclass(frozen=True, slots=True)
class Made:
    """What is made of a snapshot before it counts; ``portfolio`` where positions are judged together."""

    index: TriggerIndex
    portfolio: Portfolio | None


class SnapshotFeed(Feed[ChainSnapshot]):
    """Polls the chain and keeps what it said before; ``is_doubted`` while a hedge is missed by the newest alone.

    ``index`` tells which of the newest positions a price may turn risky, ``portfolio`` what they win together.
    """

    def __init__(
        self,
        wake: Callable[[], None],
        *,
        ledger: Ledger,
        clock: Clock,
        policy: HedgingPolicy,
        get_prices: Callable[[], Mapping[str, PriceTick]] = dict,
    ) -> None:
        super().__init__("chain", wake)
        self.is_doubted = False
        self.index = build_index(read_rows({}), build_terms(policy))
        self.portfolio: Portfolio | None = None
        self.disagreement: Disagreement | None = None
        self._hint: tuple[int, str] | None = None
        self._hinted = asyncio.Event()
        self._readings = 0
        self._previous: ChainSnapshot | None = None
        self._objection: ChainSnapshot | None = None
        self._ledger = ledger
        self._clock = clock
        self._policy = policy
        self._get_prices = get_prices
        self._max_age_s = policy.max_snapshot_age_s

    def put(self, value: ChainSnapshot, made: Made | None = None) -> None:
        made = made or self._make(value)
        if self.latest is not None and not check_repeats(value, self.latest):
            self._previous = self.latest
        self.index, self.portfolio = made.index, made.portfolio
        super().put(value)
        self._compare(value)

    def observe(self) -> Observation | None:
        """What is known of the chain now, without prices; None before the first snapshot."""
        return self._hold_together(self.latest) if self.latest is not None else None

    def hint(self, block_number: int, block_hash: str) -> None:
        """Somebody says that there is this block: unless it was read already, the next poll is brought forward."""
        if (block_number, block_hash) == self._hint:
            return
        self._hint, self._readings = (block_number, block_hash), 0
        self._weigh_hint()

    async def run(self, source: ChainSource, *, interval_s: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            wait_s = await self.poll(source, interval_s=interval_s)
            self._readings += 1
            self._weigh_hint()
            await self._rest(max(started + wait_s, loop.time() + PAUSE_MIN_S))

    async def poll(self, source: ChainSource, *, interval_s: float) -> float:
        """Read once, and once more where that leaves a doubt; the seconds from the beginning to the next poll."""
        retry_after_s = await self._read(source)
        if self.error is None and self.is_doubted:
            retry_after_s = await self._read(source)
        is_waiting = self.error is None and self.is_doubted
        return max(min(interval_s, NEXT_BLOCK_S) if is_waiting else interval_s, retry_after_s)

    def find_obstacles(self) -> Sequence[str]:
        """The disagreement of the nodes, once it has lasted for a while."""
        found = self.disagreement
        lasts_s = self._clock.time() - found.since if found is not None else 0.0
        if found is None or lasts_s < DISAGREEMENT_SHOWN_S:
            return []
        what = f"chain: snapshots of {' and '.join(found.hosts)} disagree for {lasts_s:.0f} s"
        return [f"{what} on {len(found.keys)} hedged positions: their hedges stay; take the wrong node out of NETWORKS"]

    def _weigh_hint(self) -> None:
        if self._check_hint_due():
            self._hinted.set()
        else:
            self._hinted.clear()

    def _check_hint_due(self) -> bool:
        """True while the block of the hint is not older than the newest that was read, and another one.

        A chain that cannot be read is not asked more often than without hints: a node may mind without saying for how long.
        """
        if self._hint is None or self.error is not None or self._readings >= HINTED_READINGS_MAX:
            return False
        number, block_hash = self._hint
        latest = self.latest
        return latest is None or (number >= latest.block_number and block_hash != latest.block_hash)

    async def _rest(self, until: float) -> None:
        """Until then, or until a hint."""
        loop = asyncio.get_running_loop()
        earliest = loop.time() + HINTED_PAUSE_S
        await asyncio.sleep(min(until, earliest) - loop.time())
        if earliest < until:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._hinted.wait()

    async def _read(self, source: ChainSource) -> float:
        """The newest snapshot, of another node than the last one while that is doubted; seconds that it must rest."""
        avoid = self.latest.host if self.latest is not None and self.is_doubted else None
        try:
            snapshot = await source.fetch_snapshot(avoid=avoid)
        except ChainUnavailable as error:
            self.fail(error)
            return error.retry_after_s or 0.0
        self.put(snapshot, await self._prepare(snapshot))
        return 0.0

    async def _prepare(self, snapshot: ChainSnapshot) -> Made:
        """Beside the event loop where it takes a while."""
        if len(snapshot.positions) < INDEXED_AT_ONCE:
            return self._make(snapshot)
        return await asyncio.to_thread(self._make_named, snapshot, self._get_prices())

    def _make_named(self, snapshot: ChainSnapshot, prices: Mapping[str, PriceTick]) -> Made:
        """A crash names a thousand positions at one price, and each must not be hashed then."""
        made = self._make(snapshot)
        for market, tick in prices.items():
            for row in made.index.find_near(market, tick.price, NAMED_AHEAD):
                made.index.rows.get_key(row)
        return made

    def _make(self, snapshot: ChainSnapshot) -> Made:
        return Made(self._build_index(snapshot), self._build_portfolio(snapshot))

    def _build_portfolio(self, snapshot: ChainSnapshot) -> Portfolio | None:
        """The last one again where nothing of what it was made of has changed."""
        latest, policy = self.latest, self._policy
        if policy.portfolio is None:
            return None
        if latest is not None and (snapshot.positions is latest.positions) and snapshot.funding == latest.funding:
            return self.portfolio
        return build_portfolio(snapshot, policy)

    def _build_index(self, snapshot: ChainSnapshot) -> TriggerIndex:
        """The last one again where nothing of what it was made of has changed."""
        terms = build_terms(self._policy, snapshot)
        is_same = self.latest is not None and snapshot.positions is self.latest.positions
        if is_same and terms == self.index.terms:
            return self.index
        return build_index(self.index.rows if is_same else read_rows(snapshot.positions), terms)

    def _compare(self, newest: ChainSnapshot) -> None:
        """Hold the newest snapshot against the book and the one before it."""
        book, seen = self._ledger.book, self._hold_together(newest)
        self.is_doubted = bool(find_unconfirmed(seen, book, self._max_age_s))
        contradicted = find_contradicted(seen, book)
        if contradicted and self._previous is not None:
            self._objection = newest
            self._note_disagreement((self._previous, newest), contradicted)
        elif self.disagreement is not None and check_agree(seen, book, self._max_age_s):
            log.info("snapshots_agreed", hosts=self.disagreement.hosts)
            self.disagreement = None

    def _hold_together(self, newest: ChainSnapshot) -> Observation:
        return Observation(newest, {}, {}, self._clock.time(), self._previous, self._objection)

    def _note_disagreement(self, pair: Sequence[ChainSnapshot], keys: Sequence[HedgeKey]) -> None:
        """Log it once for as long as it lasts; every time is counted."""
        metrics.SNAPSHOT_DISAGREEMENTS.inc()
        if self.disagreement is not None:
            return
        hosts = tuple(dict.fromkeys(snapshot.host for snapshot in pair))
        self.disagreement = Disagreement(hosts, tuple(keys), self._clock.time())
        log.warning(
            "snapshots_disagreed", hosts=hosts, blocks=[snapshot.block_number for snapshot in pair],
            positions=len(keys), example=str(keys[0]),
        )  # fmt: skip
