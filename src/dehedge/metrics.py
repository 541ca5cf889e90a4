"""The Prometheus metrics, defined once; ``docs/metrics.md`` is their catalog, and a test holds it to this file.

Labels are bounded: configured markets and symbols, the account's assets and legs, and fixed words. Never a position, an
order, a host, or what only the chain or a node names. Written by the parts as things happen, and by ``gauges`` when somebody
reads them. Amounts are rounded to floats here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from dehedge.core.events import Change
from dehedge.core.invariants import Law
from dehedge.core.orders import Action, OrderStatus

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
ProcessCollector(namespace="dehedge", registry=REGISTRY)

OTHER = "other"
"""The label of all markets together that are not configured: their names are not ours to bound."""
OUTCOMES = ("too_large", "not_executed", *(status.value.lower() for status in OrderStatus if status.is_terminal))
"""Every outcome of an order; see ``settlement``."""

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(f"dehedge_{name}", meaning, labels, registry=REGISTRY)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"dehedge_{name}", meaning, labels, registry=REGISTRY)


def _histogram(name: str, meaning: str) -> Histogram:
    return Histogram(f"dehedge_{name}", meaning, buckets=_LATENCY_BUCKETS_S, registry=REGISTRY)


INFO = _gauge("info", "1, with the version and the connector.", "version", "connector")
START_TIME = _gauge("start_time_seconds", "When the daemon started.")
READY = _gauge("ready", "1 while the daemon can hedge.")
ALIVE = _gauge("alive", "1 while the loop makes progress.")
TRADING_MODE = _gauge("trading_mode", "1 for the mode that the kill switch is in.", "mode")
FLATTENING = _gauge("flattening", "1 while everything is being closed.")
LAST_PASS_TIME = _gauge("last_pass_time_seconds", "When the last pass ended.")
PASS_SECONDS = _histogram("pass_seconds", "Duration of one pass.")

VAULT = _gauge("vault_usd", "Vault balance at the last snapshot.")
SHIELD = _gauge("shield_usd", "Shield balance at the last snapshot.")
POSITIONS = _gauge("positions", "Open positions in the last snapshot.", "market")
AT_RISK = _gauge("positions_at_risk", "Positions at risk at the last pass.", "market")
UNHEDGED = _gauge("positions_unhedged", "Positions at risk of which no hedge is held.", "market")
PORTFOLIO_PROFIT = _gauge("portfolio_profit_usd", "What the traders win together, where they are judged so.")
PORTFOLIO_ROOM = _gauge("portfolio_room_usd", "What that may still grow before a check fires, looking ahead.")
PORTFOLIO_HEDGED = _gauge("portfolio_hedged_ratio", "Share of the traders' net position that is hedged.")
PORTFOLIO_WANTED = _gauge("portfolio_wanted_ratio", "Share of the traders' net position that is to be hedged.")
SIZE_AT_RISK = _gauge("size_at_risk_usd", "Size of the positions at risk, by the traders' side.", "market", "side")
HEDGES = _gauge("hedges", "Hedges held.", "market", "side")
HEDGED_QUANTITY = _gauge("hedged_quantity", "Base coin held in hedges.", "market", "side")
HEDGED_NOTIONAL = _gauge("hedged_notional_usd", "What is held in hedges, at the newest mark.", "market", "side")
HEDGE_CHANGES = _counter("hedge_changes", "Hedges changed, by kind.", "kind", "market")
DECISIONS = _gauge("decisions", "Positions by the reason of their last decision.", "reason")

ORDERS = _counter("orders", "Orders by outcome.", "symbol", "action", "outcome")
ORDER_SECONDS = _histogram("order_seconds", "From sending an order to its reply.")
IN_FLIGHT = _gauge("orders_in_flight", "Orders whose end is not known yet.")
OLDEST_ORDER_AGE = _gauge("oldest_order_age_seconds", "Age of the oldest order in flight; 0 without one.")
REFUSALS = _gauge("orders_refused_in_a_row", "Orders in a row that came to nothing.", "symbol")
JOURNAL_SECONDS = _histogram("journal_append_seconds", "Duration of a durable journal write.")

FEED_UP = _gauge("feed_up", "1 while the input gives values.", "feed")
STREAM_UP = _gauge("stream_up", "1 while the exchange's websocket carries what it should.", "stream")
SNAPSHOT_TIME = _gauge("snapshot_time_seconds", "Block time of the last snapshot; 0 before the first.")
SNAPSHOT_BLOCK = _gauge("snapshot_block", "Block number of the last snapshot.")
SNAPSHOT_FRESH = _gauge("snapshot_fresh", "1 while the last snapshot is young enough to decide by.")
SNAPSHOT_DISAGREEMENTS = _counter("snapshot_disagreements", "Snapshots without hedged positions that the one before had.")
PRICE_TIME = _gauge("price_time_seconds", "Publish time of the newest price; 0 before the first.", "market")
PRICE_FRESH = _gauge("price_fresh", "1 while the newest price is young enough to decide by.", "market")
MARK_FRESH = _gauge("mark_fresh", "1 while there is a mark price to size by.", "symbol")

EXCHANGE_UP = _gauge("exchange_up", "1 while the exchange answers and the account can be read.")
KEY_REFUSED = _gauge("key_refused", "1 while the exchange refuses the API key.")
ACCOUNT_DIFFERS = _gauge("account_differs", "1 while the account is not what hedges and known foreign positions add up to.", "symbol")
SYMBOL_BLOCKED = _gauge("symbol_blocked", "1 while opens in the symbol are blocked.", "symbol")
OTHER_DAEMONS = _gauge("other_daemons", "Other daemons that traded on the account within the last hour.")
ACCOUNT_READ_TIME = _gauge("account_read_time_seconds", "When the margin was last read; 0 before the first time.")
MARGIN_BALANCE = _gauge("margin_balance", "Wallet balance, in units of the asset.", "asset")
MARGIN_AVAILABLE = _gauge("margin_available", "What of it can be used as margin.", "asset")
MARGIN_LOW = _gauge("margin_low", "1 while too little of the asset can be used as margin.", "asset")
LIQUIDATION_DISTANCE = _gauge(
    "liquidation_distance_bps", "Distance of the mark from the nearest liquidation price.", "symbol"
)
RATE_LIMIT_USED = _gauge("rate_limit_used", "What is used of a limit of the exchange's.", "limit", "window")
RATE_LIMIT_MAX = _gauge("rate_limit_max", "How much the limit allows.", "limit", "window")
REQUESTS_PAUSED = _gauge("requests_paused_seconds", "How long the exchange wants to hear nothing yet.")

INVARIANTS_BROKEN = _counter("invariants_broken", "Times that a law was found broken.", "law")
GUARD_HELD = _gauge("guard_held", "Positions that a guard holds now.", "guard", "scope")
GUARD_USED = _gauge("guard_used", "What is used of the guard's limit; of a minimum, what is there.", "guard", "scope")
GUARD_LIMIT = _gauge("guard_limit", "The guard's limit.", "guard", "scope")

NOTIFICATIONS = _counter("notifications", "Messages to people, by what became of them.", "outcome")
HEARTBEATS = _counter("heartbeats", "Pings to the dead man's switch, by what became of them.", "outcome")

# An alert on the growth of a counter needs its zero.
for _law in Law:
    INVARIANTS_BROKEN.labels(_law.name.lower())
for _outcome in ("sent", "failed"):
    NOTIFICATIONS.labels(_outcome)
    HEARTBEATS.labels(_outcome)
NOTIFICATIONS.labels("dropped")


def begin_counting(symbols: Mapping[str, str]) -> None:
    """Have the counters of these markets and their symbols begin at zero. ``symbols`` maps markets to symbols."""
    for market in symbols:
        for kind in Change:
            HEDGE_CHANGES.labels(kind.value, market)
    for symbol in symbols.values():
        for action in Action:
            for outcome in OUTCOMES:
                ORDERS.labels(symbol, action.value, outcome)
