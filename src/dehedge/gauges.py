"""Brings the gauges up to date when somebody reads them, from what the parts know.

Only looks: nothing here changes a part, waits or fails for want of an input. What is unknown is 0, or has no sample where 0
would be a figure. Labels are those of the configuration, so that no chain and no exchange decides how many there are.
Called by ``status``.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from decimal import Decimal

from dehedge import __version__, metrics
from dehedge.auditor import Auditor
from dehedge.core.book import TradingMode
from dehedge.core.decisions import NOT_WORTH_A_HEDGE, Reason
from dehedge.core.freshness import check_price_fresh
from dehedge.core.model import Observation, Side
from dehedge.core.policy import HedgingPolicy
from dehedge.executor import Executor
from dehedge.feed import PriceFeed
from dehedge.ledger import Ledger
from dehedge.ports import Clock
from dehedge.reconciler import Reconciler
from dehedge.settlement import REFUSAL_REMEMBERED_S
from dehedge.snapshots import SnapshotFeed
from dehedge.venue import Venue


class Gauges:
    """The parts that are measured."""

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
        reconciler: Reconciler,
        clock: Clock,
        connector_name: str,
    ) -> None:
        self._policy = policy
        self._snapshots = snapshots
        self._prices = prices
        self._venue = venue
        self._ledger = ledger
        self._auditor = auditor
        self._executor = executor
        self._reconciler = reconciler
        self._clock = clock
        self._symbols = sorted(set(policy.symbols.values()))
        metrics.begin_counting(policy.symbols)
        metrics.START_TIME.set(clock.time())
        metrics.INFO.clear()
        metrics.INFO.labels(__version__, connector_name).set(1)

    def measure(self, *, is_ready: bool, is_alive: bool) -> None:
        """Everything that has a gauge, now."""
        metrics.READY.set(is_ready)
        metrics.ALIVE.set(is_alive)
        self._measure_inputs()
        self._measure_positions()
        self._measure_hedges()
        self._measure_orders()
        self._measure_exchange()
        self._measure_account()
        self._measure_guards()

    def _measure_inputs(self) -> None:
        snapshot, prices, now = self._snapshots.latest, self._prices.latest, self._clock.time()
        if snapshot is not None:
            metrics.SNAPSHOT_BLOCK.set(snapshot.block_number)
            metrics.SNAPSHOT_TIME.set(snapshot.block_time)
            metrics.SNAPSHOT_FRESH.set(now - snapshot.block_time <= self._policy.max_snapshot_age_s)
            metrics.VAULT.set(snapshot.vault / self._policy.asset_unit)
            metrics.SHIELD.set(snapshot.shield / self._policy.asset_unit)
        observation = Observation(snapshot, prices, {}, now) if snapshot is not None else None
        metrics.PRICE_FRESH.clear()  # A market that the chain does not have needs no price.
        for market in self._policy.symbols:
            tick = prices.get(market)
            metrics.PRICE_TIME.labels(market).set(tick.publish_time if tick is not None else 0)
            if snapshot is None or market in snapshot.markets:
                is_fresh = observation is not None and check_price_fresh(observation, self._policy, market)
                metrics.PRICE_FRESH.labels(market).set(is_fresh)

    def _measure_positions(self) -> None:
        counts: Counter[str] = Counter()
        for (_, market), count in self._snapshots.index.counts.items():
            counts[market if market in self._policy.symbols else metrics.OTHER] += count
        for market in [*self._policy.symbols, metrics.OTHER]:
            metrics.POSITIONS.labels(market).set(counts[market])
        reasons = self._reconciler.count_decisions()
        for reason in Reason:
            metrics.DECISIONS.labels(reason.value).set(reasons[reason])
        self._measure_risk()
        self._measure_stance()

    def _measure_stance(self) -> None:
        stance, unit = self._reconciler.stance, self._policy.asset_unit
        if stance is not None:
            metrics.PORTFOLIO_PROFIT.set(stance.profit / unit)
            metrics.PORTFOLIO_ROOM.set(stance.room / unit)
            metrics.PORTFOLIO_HEDGED.set(float(stance.held))
            metrics.PORTFOLIO_WANTED.set(float(stance.level))

    def _measure_risk(self) -> None:
        decisions, book = self._reconciler.decisions.values(), self._ledger.book
        # Where all positions are judged together, one that is risky by itself asks for nothing.
        risky = [
            d.key
            for d in decisions
            if d.assessment is not None and d.assessment.at_risk and d.reason is not Reason.NOT_AT_RISK
        ]
        all_risky = Counter(key.market for key in risky)
        wanted = {d.key for d in decisions if d.reason not in NOT_WORTH_A_HEDGE}
        unhedged = Counter(key.market for key in risky if key in wanted and not book.has_hedged_position(key))
        positions = self._snapshots.latest.positions if self._snapshots.latest is not None else {}
        sizes: Counter[tuple[str, Side]] = Counter()
        for position in [positions[key] for key in risky if key in positions]:
            sizes[position.market, Side.BUY if position.is_long else Side.SELL] += position.size
        for market in self._policy.symbols:
            metrics.AT_RISK.labels(market).set(all_risky[market])
            metrics.UNHEDGED.labels(market).set(unhedged[market])
            for side in Side:
                metrics.SIZE_AT_RISK.labels(market, side.value).set(sizes[market, side] / self._policy.asset_unit)

    def _measure_hedges(self) -> None:
        book, marks = self._ledger.book, self._venue.get_newest_marks()
        counts: Counter[tuple[str, Side]] = Counter()
        held: defaultdict[tuple[str, Side], Decimal] = defaultdict(Decimal)
        for hedge in book.get_all_hedged_positions().values():
            counts[hedge.key.market, hedge.side] += 1
            held[hedge.key.market, hedge.side] += hedge.quantity
        for market, symbol in self._policy.symbols.items():
            for side in Side:
                quantity = held[market, side]
                metrics.HEDGES.labels(market, side.value).set(counts[market, side])
                metrics.HEDGED_QUANTITY.labels(market, side.value).set(float(quantity))
                metrics.HEDGED_NOTIONAL.labels(market, side.value).set(float(quantity * marks.get(symbol, 0)))
        metrics.FLATTENING.set(book.is_flattening)
        for mode in TradingMode:
            metrics.TRADING_MODE.labels(mode.value).set(book.mode is mode)

    def _measure_orders(self) -> None:
        in_flight, now = self._ledger.book.in_flight, self._clock.time()
        oldest = min((order.intended_at for order in in_flight.values()), default=now)
        metrics.IN_FLIGHT.set(len(in_flight))
        metrics.OLDEST_ORDER_AGE.set(max(now - oldest, 0.0))
        recent = asyncio.get_running_loop().time() - REFUSAL_REMEMBERED_S
        for symbol in self._symbols:
            refusals = self._executor.refusals.get(symbol)
            is_recent = refusals is not None and refusals.last_at > recent
            metrics.REFUSALS.labels(symbol).set(refusals.count if refusals is not None and is_recent else 0)

    def _measure_exchange(self) -> None:
        metrics.EXCHANGE_UP.set(self._venue.error is None and self._auditor.error is None)
        metrics.OTHER_DAEMONS.set(len(self._auditor.writers.get_others()))
        marks, differing = self._venue.get_marks(), self._auditor.blocked
        metrics.MARK_FRESH.clear()  # A symbol that the exchange has taken off needs no mark any more.
        for symbol in self._venue.tradable:
            metrics.MARK_FRESH.labels(symbol).set(symbol in marks)
        for symbol in self._symbols:
            metrics.ACCOUNT_DIFFERS.labels(symbol).set(symbol in differing)
            metrics.SYMBOL_BLOCKED.labels(symbol).set(symbol in differing or symbol in self._venue.unsettled)
        traffic = self._venue.get_traffic()
        metrics.REQUESTS_PAUSED.set(traffic.pause_s)
        for gauge in (metrics.RATE_LIMIT_USED, metrics.RATE_LIMIT_MAX):
            gauge.clear()  # The exchange may have changed its windows.
        for use in traffic.limits:
            metrics.RATE_LIMIT_USED.labels(use.kind, use.window).set(use.used)
            metrics.RATE_LIMIT_MAX.labels(use.kind, use.window).set(use.limit)

    def _measure_account(self) -> None:
        account = self._reconciler.guards.account
        assets = self._venue.margin_assets
        low = account.find_low_margin(assets)
        metrics.KEY_REFUSED.set(account.is_key_refused)
        metrics.ACCOUNT_READ_TIME.set(account.latest.read_at if account.latest is not None else 0)
        for gauge in (metrics.MARGIN_LOW, metrics.MARGIN_BALANCE, metrics.MARGIN_AVAILABLE):
            gauge.clear()  # What no symbol is margined in any more.
        for asset in sorted(assets):
            balance = account.balances.get(asset)
            metrics.MARGIN_LOW.labels(asset).set(asset in low)
            metrics.MARGIN_BALANCE.labels(asset).set(float(balance.total) if balance is not None else 0)
            metrics.MARGIN_AVAILABLE.labels(asset).set(float(balance.available) if balance is not None else 0)
        distances = account.get_distances_bps(self._venue.get_newest_marks())
        metrics.LIQUIDATION_DISTANCE.clear()
        for symbol in self._symbols:
            if symbol in distances:
                metrics.LIQUIDATION_DISTANCE.labels(symbol).set(float(distances[symbol]))

    def _measure_guards(self) -> None:
        uses = self._reconciler.guards.measure()
        metrics.GUARD_USED.clear()
        for use in uses:
            metrics.GUARD_LIMIT.labels(use.guard.value, use.scope).set(float(use.limit))
            if use.used is not None:
                metrics.GUARD_USED.labels(use.guard.value, use.scope).set(float(use.used))
