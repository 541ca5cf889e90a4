"""The Prometheus metrics, defined once. Labels are bounded: markets, symbols and fixed words, never positions or ids."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterable, Mapping
from decimal import Decimal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from dehedge.core.book import HedgeBook
from dehedge.core.decisions import Decision, Reason
from dehedge.core.invariants import Law
from dehedge.core.model import ChainSnapshot, Side

REGISTRY = CollectorRegistry()

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

READY = Gauge("dehedge_ready", "1 while the daemon can hedge.", registry=REGISTRY)
LAST_PASS_TIME = Gauge("dehedge_last_pass_time_seconds", "When the last pass ended, epoch seconds.", registry=REGISTRY)
PASS_SECONDS = Histogram(
    "dehedge_pass_seconds", "Duration of one pass.", buckets=_LATENCY_BUCKETS_S, registry=REGISTRY
)
POSITIONS = Gauge("dehedge_positions", "Open positions in the last snapshot.", ["market"], registry=REGISTRY)
AT_RISK = Gauge("dehedge_positions_at_risk", "Positions at risk at the last pass.", ["market"], registry=REGISTRY)
HEDGES = Gauge("dehedge_hedges", "Hedges held.", ["market", "side"], registry=REGISTRY)
HEDGED_QUANTITY = Gauge(
    "dehedge_hedged_quantity", "Base coin held in hedges, rounded.", ["market", "side"], registry=REGISTRY
)
HEDGE_CHANGES = Counter("dehedge_hedge_changes", "Hedges changed, by kind.", ["kind", "market"], registry=REGISTRY)
DECISIONS = Gauge("dehedge_decisions", "Positions by the reason of their last decision.", ["reason"], registry=REGISTRY)
ORDERS = Counter("dehedge_orders", "Orders by outcome.", ["symbol", "action", "outcome"], registry=REGISTRY)
ORDER_SECONDS = Histogram(
    "dehedge_order_seconds", "From sending an order to its reply.", buckets=_LATENCY_BUCKETS_S, registry=REGISTRY
)
IN_FLIGHT = Gauge("dehedge_orders_in_flight", "Orders whose end is not known yet.", registry=REGISTRY)
JOURNAL_SECONDS = Histogram(
    "dehedge_journal_append_seconds", "Duration of a durable journal write.", buckets=_LATENCY_BUCKETS_S,
    registry=REGISTRY,
)  # fmt: skip
FEED_UP = Gauge("dehedge_feed_up", "1 while the input gives values.", ["feed"], registry=REGISTRY)
SNAPSHOT_TIME = Gauge("dehedge_snapshot_time_seconds", "Block time of the last snapshot.", registry=REGISTRY)
SNAPSHOT_BLOCK = Gauge("dehedge_snapshot_block", "Block number of the last snapshot.", registry=REGISTRY)
PRICE_TIME = Gauge("dehedge_price_time_seconds", "Publish time of the newest price.", ["market"], registry=REGISTRY)
SNAPSHOT_DISAGREEMENTS = Counter(
    "dehedge_snapshot_disagreements", "Snapshots with hedged positions that the one before lacked.", registry=REGISTRY
)
VAULT = Gauge("dehedge_vault_usd", "Vault balance at the last snapshot, rounded.", registry=REGISTRY)
SHIELD = Gauge("dehedge_shield_usd", "Shield balance at the last snapshot, rounded.", registry=REGISTRY)
ACCOUNT_DIFFERS = Gauge(
    "dehedge_account_differs", "1 while the account lacks hedges that the book holds.", ["symbol"], registry=REGISTRY
)
OTHER_DAEMONS = Gauge(
    "dehedge_other_daemons", "Other daemons that traded on the account within the last hour.", registry=REGISTRY
)
INVARIANTS_BROKEN = Counter(
    "dehedge_invariants_broken", "Times that a law was found broken, by law.", ["law"], registry=REGISTRY
)
for _law in Law:
    INVARIANTS_BROKEN.labels(_law.name.lower())  # An alert on its growth needs the zero.
GUARD_HELD = Gauge(
    "dehedge_guard_held", "Positions that a guard holds now, by the guard and its symbol or all.", ["guard", "scope"],
    registry=REGISTRY,
)  # fmt: skip


def observe_decisions(
    reasons: Mapping[Reason, int], decisions: Iterable[Decision], markets: Iterable[str]
) -> None:
    """What was decided how often, and the positions at risk by market."""
    for reason in Reason:
        DECISIONS.labels(reason.value).set(reasons.get(reason, 0))
    risky = Count(d.key.market for d in decisions if d.assessment is not None and d.assessment.at_risk)
    for market in markets:
        AT_RISK.labels(market).set(risky[market])


def observe_book(book: HedgeBook, markets: Iterable[str]) -> None:
    """What is held, by market and side; quantities are rounded, the API has them exact."""
    hedges = book.get_all_hedged_positions().values()
    for market in markets:
        for side in Side:
            held = [hedge.quantity for hedge in hedges if hedge.key.market == market and hedge.side is side]
            HEDGES.labels(market, side.value).set(len(held))
            HEDGED_QUANTITY.labels(market, side.value).set(float(sum(held, Decimal(0))))
    IN_FLIGHT.set(len(book.in_flight))


def observe_snapshot(snapshot: ChainSnapshot, counts: Mapping[str, int], asset_unit: int) -> None:
    """The chain as last read; amounts are rounded."""
    SNAPSHOT_BLOCK.set(snapshot.block_number)
    SNAPSHOT_TIME.set(snapshot.block_time)
    VAULT.set(snapshot.vault / asset_unit)
    SHIELD.set(snapshot.shield / asset_unit)
    for market in snapshot.markets:
        POSITIONS.labels(market).set(counts.get(market, 0))
