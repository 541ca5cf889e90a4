"""What the daemon shows of itself: readiness, status, hedges and positions, as plain JSON data.

Reads the reconciler, the book and the feeds; changes only the kill switch. Money and quantities are strings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

from dehedge import __version__
from dehedge.answers import describe_standing
from dehedge.auditor import Auditor
from dehedge.core import switch
from dehedge.core.book import HedgeBook, TradingMode
from dehedge.core.decisions import Decision
from dehedge.core.freshness import check_price_fresh
from dehedge.core.hedging import get_price
from dehedge.core.model import ChainSnapshot, HedgeKey, Observation, Position
from dehedge.core.policy import HedgingPolicy
from dehedge.executor import Executor
from dehedge.feed import PriceFeed
from dehedge.flattening import FlattenView
from dehedge.gauges import Gauges
from dehedge.hedge_view import HedgeView
from dehedge.insight import InsightView
from dehedge.ledger import Ledger
from dehedge.ports import Clock
from dehedge.reconciler import Reconciler
from dehedge.settlement import REFUSAL_REMEMBERED_S
from dehedge.snapshots import SnapshotFeed
from dehedge.surfaces import MAINNET, Insight, TradedOn
from dehedge.venue import Venue

UNKNOWN_MAX_S = 60.0
MODE_OBSTACLE = "trading mode is "
REFUSALS_MAX = 3
STALL_S = 15.0
"""Without a pass for this long the loop no longer makes progress."""


class StatusView:
    """Implements ``surfaces.Operator``."""

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
        account: TradedOn = MAINNET,
    ) -> None:
        self.is_recovered = False
        self.started_at = clock.time()
        self._policy = policy
        self._snapshots = snapshots
        self._prices = prices
        self._venue = venue
        self._ledger = ledger
        self._auditor = auditor
        self._executor = executor
        self._reconciler = reconciler
        self._clock = clock
        self._connector_name = connector_name
        self._account = account
        self._gauges = Gauges(
            policy=policy, snapshots=snapshots, prices=prices, venue=venue, ledger=ledger, auditor=auditor,
            executor=executor, reconciler=reconciler, clock=clock, connector_name=connector_name,
        )  # fmt: skip
        self._switching = asyncio.Lock()
        self._hedges = HedgeView(policy=policy, ledger=ledger, reconciler=reconciler, venue=venue)
        self.insight: Insight = InsightView(
            policy=policy, snapshots=snapshots, prices=prices, venue=venue, ledger=ledger, reconciler=reconciler,
            describe_hedge=self._hedges.describe,
        )  # fmt: skip
        self._flattening = FlattenView(ledger=ledger, venue=venue, auditor=auditor, executor=executor, clock=clock)

    def check_alive(self) -> bool:
        """True while passes happen; before the first one, while the start is still waiting for its inputs."""
        last = self._reconciler.last_pass_loop_s
        return not self.is_recovered or last is None or asyncio.get_running_loop().time() - last < STALL_S

    def check_passing(self) -> bool:
        """True once there have been passes, and while there are."""
        return self._reconciler.last_pass_loop_s is not None and self.check_alive()

    def find_obstacles(self) -> Sequence[str]:
        found = [*self._find_venue_obstacles(), *self._find_input_obstacles()]
        if not self.check_alive():
            found.append("no pass has ended for a while")
        if self._reconciler.is_stopping:
            found.append("shutting down")
        book = self._ledger.book
        if book.mode is not TradingMode.ACTIVE:
            reason = f" ({book.mode_reason})" if book.mode_reason else ""
            found.append(f"{MODE_OBSTACLE}{book.mode.value}{reason}: resume to hedge again")
        return found

    def find_warnings(self) -> list[str]:
        """What keeps it from nothing, and is hardly meant."""
        return [*self._auditor.writers.find_warnings(), *self.find_market_warnings()]

    def find_market_warnings(self) -> Sequence[str]:
        """A name that is misspelled in markets.toml leaves a market without hedges."""
        snapshot, policy = self._snapshots.latest, self._policy
        if snapshot is None:
            return []
        unknown = sorted(policy.symbols.keys() - snapshot.markets.keys())
        asked = {market for asset, market in self._snapshots.index.counts if asset == policy.asset}
        return [
            *(f"markets.toml: {market} is no market of the chain: correct or remove it" for market in unknown),
            *(
                f"markets.toml: there is no {market}, so its open positions get no hedge"
                for market in sorted(asked - policy.symbols.keys())
            ),
        ]

    def measure(self) -> None:
        self._gauges.measure(is_ready=not self.find_obstacles(), is_alive=self.check_alive())

    def _find_venue_obstacles(self) -> list[str]:
        if self._venue.error is not None:
            found = [f"exchange: {self._venue.error}"]
        elif not self.is_recovered:
            found = ["recovery: orders in flight are being resolved"]
        else:
            found = [*self._find_account_obstacles(), *self._find_order_obstacles()]
        blocked = {**self._venue.unsettled, **self._auditor.blocked}
        return [*found, *(f"{symbol}: {reason}" for symbol, reason in sorted(blocked.items()))]

    def _find_account_obstacles(self) -> list[str]:
        found = []
        if self._auditor.error is not None:
            found.append(f"exchange: the account cannot be read: {self._auditor.error}")
        rival = self._auditor.writers.find_obstacle()
        if rival is not None:
            found.append(f"one writer: {rival}")
        missing = self._venue.find_missing_marks()
        if missing:
            found.append(f"exchange: no fresh mark price for {', '.join(missing)}")
        return found

    def _find_order_obstacles(self) -> list[str]:
        now = self._clock.time()
        found = [
            f"{order.request.symbol}: what became of order {order_id} is unknown for {now - order.intended_at:.0f} s"
            for order_id, order in self._ledger.book.in_flight.items()
            if now - order.intended_at > UNKNOWN_MAX_S
        ]
        recent = asyncio.get_running_loop().time() - REFUSAL_REMEMBERED_S
        return found + [
            f"{symbol}: {refusals.count} orders in a row came to nothing: {refusals.reason}"
            for symbol, refusals in sorted(self._executor.refusals.items())
            if refusals.count >= REFUSALS_MAX and refusals.last_at > recent
        ]

    def _find_input_obstacles(self) -> list[str]:
        snapshot = self._snapshots.latest
        if snapshot is None:
            return [f"chain: {self._snapshots.error or 'no snapshot yet'}"]
        found = [*self._snapshots.find_obstacles()]
        age_s = self._clock.time() - snapshot.block_time
        if age_s > self._policy.max_snapshot_age_s:
            found.append(f"chain: the last snapshot is {age_s:.0f} s old: {self._snapshots.error or 'no newer block'}")
        decided = self._ledger.book.block_number
        if snapshot.block_number < decided:
            found.append(f"chain: the last snapshot is of block {snapshot.block_number}, hedges were decided at {decided}")
        observation = Observation(snapshot, self._prices.latest, {}, self._clock.time())
        hedged = {key.market for key in self._ledger.book.get_all_hedged_positions()}
        wanted = {market for market in self._policy.symbols if market in snapshot.markets} | hedged
        stale = [market for market in sorted(wanted) if not check_price_fresh(observation, self._policy, market)]
        if stale:
            found.append(f"prices: none fresh for {', '.join(stale)}: {self._prices.feed.error or 'no update'}")
        return found

    def get_status(self) -> Mapping[str, object]:
        snapshot, book, stance = self._snapshots.latest, self._ledger.book, self._reconciler.stance
        obstacles = self.find_obstacles()
        return {
            "version": __version__,
            "connector": self._connector_name,
            "account": self._account.name,
            "endpoint": self._account.endpoint,
            "ready": not obstacles,
            "reasons": list(obstacles),
            "warnings": self.find_warnings(),
            "mode": book.mode.value,
            "mode_since": book.mode_set_at or None,
            "reason": book.mode_reason,
            "is_flattening": book.is_flattening,
            "started_at": self.started_at,
            "last_pass_at": self._reconciler.last_pass_at,
            "deployment": self._ledger.journal.deployment,
            "snapshot": self._describe_snapshot(snapshot) if snapshot is not None else None,
            "prices": {market: self._describe_price(market) for market in sorted(self._prices.latest)},
            "portfolio": describe_standing(stance, self._policy.asset_unit) if stance is not None else None,
            "feeds": {
                "chain": self._snapshots.error or ("no snapshot yet" if snapshot is None else "ok"),
                "prices": self._prices.feed.error or ("ok" if self._prices.latest else "no price yet"),
            },
            "limits": {
                "max_price_age_s": self._policy.max_price_age_s,
                "max_snapshot_age_s": self._policy.max_snapshot_age_s,
            },
            "hedges": len(book.get_all_hedged_positions()),
            "orders_in_flight": [
                {"client_order_id": key, "symbol": order.request.symbol, "intended_at": order.intended_at}
                for key, order in book.in_flight.items()
            ],
            "foreign_positions": {
                f"{symbol}/{leg.value}": str(quantity) for (symbol, leg), quantity in book.foreign.items() if quantity
            },
            "other_daemons": [
                {
                    "deployment": writer.deployment, "seniority": writer.seniority.value, "symbol": writer.symbol,
                    "client_order_id": writer.client_order_id, "last_order_at": writer.sent_at,
                }
                for writer in self._auditor.writers.get_others()
            ],
            "guards": self._reconciler.guards.describe(),
            "decisions": {reason.value: count for reason, count in self._reconciler.count_decisions().items()},
        }

    def _describe_snapshot(self, snapshot: ChainSnapshot) -> Mapping[str, object]:
        return {
            "block_number": snapshot.block_number,
            "block_time": snapshot.block_time,
            "host": snapshot.host,
            "positions": len(snapshot.positions),
            "vault": self._format_amount(snapshot.vault),
            "shield": self._format_amount(snapshot.shield),
        }

    def _describe_price(self, market: str) -> Mapping[str, object]:
        tick = self._prices.latest[market]
        return {"price": f"{get_price(tick.price):f}", "publish_time": tick.publish_time}

    def _format_amount(self, base_units: int | Fraction) -> str:
        """Whole micro-units of the asset, rounded toward zero for display."""
        return f"{Decimal(int(base_units)) / self._policy.asset_unit:f}"

    def get_hedges(self, offset: int, limit: int) -> Mapping[str, object]:
        return self._hedges.get_page(offset, limit)

    def get_positions(self, offset: int, limit: int) -> Sequence[Mapping[str, object]]:
        snapshot = self._snapshots.latest
        if snapshot is None:
            return []
        positions, get_key = snapshot.positions, self._snapshots.index.rows.get_key
        keys = [get_key(row) for row in range(offset, min(offset + limit, len(positions)))]
        decisions = self._reconciler.explain(keys)
        return [self._describe_position(key, positions[key], decisions.get(key)) for key in keys]

    def _describe_position(
        self, key: HedgeKey, position: Position, decision: Decision | None
    ) -> Mapping[str, object]:
        assessment = decision.assessment if decision is not None else None
        is_ours = position.asset == self._policy.asset
        return {
            "market": key.market,
            "position_id": key.position_id,
            "asset": position.asset,
            "is_long": position.is_long,
            "size": self._format_amount(position.size) if is_ours else str(position.size),
            "entry_price": f"{get_price(position.entry_price):f}",
            "pnl": self._format_amount(assessment.pnl) if assessment is not None else None,
            "remaining_vault": self._format_amount(assessment.remaining_vault) if assessment is not None else None,
            "is_vault_drawdown": assessment.is_vault_drawdown if assessment is not None else None,
            "is_shield_pnl_risk": assessment.is_shield_pnl_risk if assessment is not None else None,
            "is_hedge": assessment.is_hedge if assessment is not None else None,
            "at_risk": assessment.at_risk if assessment is not None else None,
            "hedged": self._ledger.book.has_hedged_position(key),
            "decision": type(decision).__name__ if decision is not None else None,
            "reason": decision.reason.value if decision is not None else None,
        }

    async def pause(self, level: TradingMode | None = None, *, reason: str = "") -> None:
        await self._turn(lambda book: switch.pause(book, level), reason)

    async def resume(self, *, reason: str = "") -> None:
        await self._turn(lambda _: switch.RESUMED, reason)

    async def flatten(self, *, reason: str = "") -> None:
        await self._turn(switch.flatten, reason)

    async def _turn(self, decide: Callable[[HedgeBook], switch.Switch], reason: str) -> None:
        """One command at a time: each builds on what the one before it left."""
        async with self._switching:
            mode, is_flattening = decide(self._ledger.book)
            await self._reconciler.set_mode(mode, is_flattening=is_flattening, reason=reason)

    async def fetch_flattening(self) -> Mapping[str, object]:
        return await self._flattening.fetch(is_recovered=self.is_recovered)
