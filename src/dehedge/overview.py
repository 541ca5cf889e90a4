"""What the dashboard shows beyond the status: exposure by market, the age of each input, the event log and the charts.

Implements ``surfaces.Onlooker``. Reads what the engine knows and changes nothing of it; its only state is the chronicle, which
it keeps with one look a second. Money and quantities are strings. Made and run by the daemon.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import structlog

from dehedge.chronicle import SAMPLE_INTERVAL_S, SAMPLES_MAX, Sample
from dehedge.core.exposure import NOBODY, Crowds, measure_crowds
from dehedge.core.hedging import get_price
from dehedge.core.history import Happening
from dehedge.core.policy import HedgingPolicy
from dehedge.core.trigger import Rows
from dehedge.feed import PriceFeed
from dehedge.ledger import Ledger
from dehedge.ports import Clock
from dehedge.reconciler import Reconciler
from dehedge.snapshots import SnapshotFeed
from dehedge.status import STALL_S, StatusView
from dehedge.venue import Venue

log = structlog.get_logger()

LOOK_INTERVAL_S = 1.0
USD_PLACES = 2
HISTORY_S = SAMPLES_MAX * SAMPLE_INTERVAL_S
LEVELS = {
    "invariant_broken": "critical",
    **dict.fromkeys(
        (
            "feed_failed", "readiness_lost", "order_ended", "order_given_up", "hedge_forced", "hedge_written_down",
            "foreign_position", "trading_mode",
        ),
        "warning",
    ),
}  # fmt: skip
"""By the kind of what happened; all else is for information."""


class Seen(NamedTuple):
    """The states that the event log tells the changes of."""

    errors: Mapping[str, str]
    obstacles: tuple[str, ...]
    laws: int
    doubts: tuple[str, ...] = ()


class Overview:
    """Implements ``surfaces.Onlooker``."""

    def __init__(
        self,
        *,
        status: StatusView,
        policy: HedgingPolicy,
        snapshots: SnapshotFeed,
        prices: PriceFeed,
        venue: Venue,
        ledger: Ledger,
        reconciler: Reconciler,
        clock: Clock,
    ) -> None:
        self._status = status
        self._policy = policy
        self._snapshots = snapshots
        self._prices = prices
        self._venue = venue
        self._ledger = ledger
        self._reconciler = reconciler
        self._clock = clock
        self._chronicle = ledger.records.chronicle
        self._seen = Seen({}, (), 0)
        self._measured: tuple[Rows, Mapping[str, Crowds]] | None = None

    async def run(self) -> None:
        """Keep the chronicle; costs a look each second and a sample each ten."""
        while True:
            try:
                self.look()
            except Exception:
                # What is only looked at must not end what hedges.
                log.exception("overview_failed")
            await asyncio.sleep(LOOK_INTERVAL_S)

    def look(self) -> None:
        """Note which states have changed since the last look, and a sample when one is due."""
        now, newest = self._clock.time(), self._look_at_states()
        for text in set(newest.doubts) - set(self._seen.doubts):
            log.warning("market_without_hedges", detail=text)
        for kind, text in _compare(self._seen, newest):
            self._chronicle.note_state(Happening(now, kind, text))
        for breach in list(self._ledger.guardian.told.values())[self._seen.laws : newest.laws]:
            self._chronicle.note_state(Happening(now, "invariant_broken", str(breach)))
        self._seen = newest
        samples = self._chronicle.samples
        while samples and samples[-1].at > now:
            samples.pop()  # The wall clock was set back, and a chart goes forward.
        if not samples or now - samples[-1].at >= SAMPLE_INTERVAL_S:
            sample = self._take_sample()
            if sample.prices or sample.vault is not None:
                self._chronicle.add_sample(sample)

    def _look_at_states(self) -> Seen:
        known = {"chain": self._snapshots.error, "prices": self._prices.feed.error, "exchange": self._venue.error}
        errors = {name: error for name, error in known.items() if error is not None}
        doubts = tuple(self._status.find_market_warnings())
        return Seen(errors, tuple(self._status.find_obstacles()), len(self._ledger.guardian.told), doubts)

    def _take_sample(self) -> Sample:
        snapshot = self._snapshots.latest
        return Sample(
            self._clock.time(),
            self._show_amount(snapshot.vault) if snapshot is not None else None,
            self._show_amount(snapshot.shield) if snapshot is not None else None,
            {market: f"{get_price(tick.price):f}" for market, tick in sorted(self._prices.latest.items())},
        )

    def _show_amount(self, base_units: int) -> str:
        return f"{Decimal(base_units) / self._policy.asset_unit:f}"

    def get_now(self) -> Mapping[str, object]:
        """The sample of this moment."""
        return self._take_sample()._asdict()

    def get_series(self, market: str | None = None) -> Mapping[str, object]:
        """The samples as columns, of one market or of all, and the hedges that were opened and closed meanwhile."""
        samples, since = list(self._chronicle.samples), self._clock.time() - HISTORY_S
        names = sorted({name for sample in samples for name in sample.prices})
        chosen = names if market is None else [name for name in names if name == market]
        return {
            "step_s": SAMPLE_INTERVAL_S,
            "markets": names,
            "times": [round(sample.at, 1) for sample in samples],
            "vault": [sample.vault for sample in samples],
            "shield": [sample.shield for sample in samples],
            "prices": {name: [sample.prices.get(name) for sample in samples] for name in chosen},
            "marks": [
                {
                    "at": mark.at, "kind": mark.change.kind.value, "market": mark.change.key.market,
                    "position_id": mark.change.key.position_id, "side": mark.change.side.value,
                    "quantity": f"{mark.change.quantity:f}",
                    "price": f"{mark.change.price:f}" if mark.change.price is not None else None,
                }
                for mark in self._chronicle.marks
                if mark.at >= since and market in (None, mark.change.key.market)
            ],
        }  # fmt: skip

    def count_events(self) -> int:
        return self._chronicle.count

    def get_events(self, after: int) -> Sequence[Mapping[str, object]]:
        return [_describe_happening(*numbered) for numbered in self._chronicle.get_happenings(after)]

    def get_inputs(self) -> Sequence[Mapping[str, object]]:
        """When each input was last true, how old it may become (null: it has no such limit), and what is wrong with it."""
        return [_describe_input(*found) for found in self._find_inputs()]

    def _find_inputs(self) -> Iterator[tuple[str, float | None, float | None, str | None]]:
        policy, snapshot = self._policy, self._snapshots.latest
        yield "chain", snapshot.block_time if snapshot else None, policy.max_snapshot_age_s, self._snapshots.error
        prices = self._prices.latest
        for market in sorted(prices.keys() | policy.symbols.keys()):
            at = prices[market].publish_time if market in prices else None
            is_ours = market in policy.symbols
            yield f"price {market}", at, policy.max_price_age_s if is_ours else None, self._prices.feed.error
        marks, times = self._venue.get_marks(), self._venue.get_mark_times()
        for symbol in self._venue.tradable:
            yield f"mark {symbol}", times.get(symbol), None, None if symbol in marks else "no fresh mark price"
        yield "exchange", None, None, self._venue.error
        yield "decisions", self._reconciler.last_pass_at, STALL_S, None

    async def measure_exposure(self) -> Sequence[Mapping[str, object]]:
        """By market, positive is long: what the traders hold together, what is hedged of it, and what is not."""
        crowds = await self._measure_crowds()
        held: Counter[str] = Counter()
        nets: defaultdict[str, Decimal] = defaultdict(Decimal)
        for hedge in self._ledger.book.get_all_hedged_positions().values():
            held[hedge.key.market] += 1
            nets[hedge.key.market] += hedge.signed_quantity
        risky = Counter(
            decision.key.market
            for decision in self._reconciler.decisions.values()
            if decision.assessment is not None and decision.assessment.at_risk
        )
        return [
            {
                "market": market,
                "symbol": self._policy.symbols.get(market),
                "at_risk": risky[market],
                "hedges": held[market],
                **self._describe_exposure(market, crowds.get(market, NOBODY), nets[market]),
            }
            for market in sorted(crowds.keys() | held.keys())
        ]

    async def _measure_crowds(self) -> Mapping[str, Crowds]:
        """Anew only where the positions are others."""
        rows = self._snapshots.index.rows
        if self._measured is None or self._measured[0] is not rows:
            found = await asyncio.to_thread(measure_crowds, rows, self._policy.asset, self._policy.asset_unit)
            self._measured = (rows, found)
        return self._measured[1]

    def _describe_exposure(self, market: str, crowds: Crowds, hedged: Decimal) -> Mapping[str, object]:
        tick = self._prices.latest.get(market)
        price = get_price(tick.price) if tick is not None else None
        return {
            "positions": crowds.longs.positions + crowds.shorts.positions,
            "longs_usd": self._show_amount(crowds.longs.size),
            "shorts_usd": self._show_amount(crowds.shorts.size),
            "traders": _show(crowds.net_coins, price),
            "hedged": _show(hedged, price),
            "unhedged": _show(crowds.net_coins - hedged, price),
        }


def _show(coins: Decimal, price: Decimal | None) -> Mapping[str, str | None]:
    """An amount of coins, and what it is worth at the price; None where there is none."""
    return {"coins": f"{coins:f}", "usd": f"{coins * price:.{USD_PLACES}f}" if price is not None else None}


def _describe_input(name: str, at: float | None, max_age_s: float | None, error: str | None) -> Mapping[str, object]:
    return {"name": name, "at": at, "max_age_s": max_age_s, "error": error}


def _describe_happening(number: int, it: Happening) -> Mapping[str, object]:
    market, position_id = it.key or ("", "")
    return {
        "number": number, "at": it.at, "kind": it.kind, "text": it.text, "level": LEVELS.get(it.kind, "info"),
        "market": market, "position_id": position_id, "symbol": it.symbol,
    }  # fmt: skip


def _compare(before: Seen, after: Seen) -> Iterator[tuple[str, str]]:
    """What changed between two looks, in words."""
    for name in sorted(after.errors.keys() - before.errors.keys()):
        yield "feed_failed", f"{name}: {after.errors[name]}"
    for name in sorted(before.errors.keys() - after.errors.keys()):
        yield "feed_recovered", name
    if after.obstacles and not before.obstacles:
        yield "readiness_lost", "; ".join(after.obstacles)
    if before.obstacles and not after.obstacles:
        yield "readiness_gained", "every input and the exchange are well"
