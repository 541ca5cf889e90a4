"""The open hedges as plain JSON data, page by page: what is held and why, and what each has earned and cost.

Reads the book, the decisions, the earnings and the marks; changes nothing. Money and quantities are strings. However many
hedges there are, a page is bounded, and what is told of all of them is a sum. Made by ``status``.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from decimal import Decimal

from dehedge.core.book import HedgedPosition, HedgeStatus
from dehedge.core.model import HedgeKey, Side
from dehedge.core.policy import HedgingPolicy
from dehedge.ledger import Ledger
from dehedge.reconciler import Reconciler
from dehedge.venue import Venue

ZERO = Decimal(0)


class HedgeView:
    """The newest hedges come first."""

    def __init__(self, *, policy: HedgingPolicy, ledger: Ledger, reconciler: Reconciler, venue: Venue) -> None:
        self._policy = policy
        self._ledger = ledger
        self._reconciler = reconciler
        self._venue = venue

    def get_page(self, offset: int, limit: int) -> Mapping[str, object]:
        """So many hedges from there on; ``total`` and ``markets`` are of all."""
        hedges, marks = self._ledger.book.get_all_hedged_positions(), self._venue.get_newest_marks()
        shown = heapq.nsmallest(offset + limit, hedges.values(), key=_get_age)[offset:]
        return {
            "hedges": [self._describe(hedge, marks.get(hedge.symbol)) for hedge in shown],
            "total": len(hedges),
            "markets": _add_up(hedges),
        }

    def describe(self, hedge: HedgedPosition) -> Mapping[str, object]:
        return self._describe(hedge, self._venue.get_newest_marks().get(hedge.symbol))

    def _describe(self, hedge: HedgedPosition, mark: Decimal | None) -> Mapping[str, object]:
        decision = self._reconciler.decisions.get(hedge.key)
        return {
            "market": hedge.key.market,
            "position_id": hedge.key.position_id,
            "symbol": hedge.symbol,
            "side": hedge.side.value,
            "quantity": f"{hedge.quantity:f}",
            "target": f"{hedge.target:f}",
            "status": hedge.status.value,
            "opened_at": hedge.opened_at,
            "placed_at": self._ledger.book.get_placed_at(hedge),
            "is_cooling": hedge.is_cooling,
            "closes_at": hedge.placed_at + self._policy.expiry_s if hedge.is_cooling else None,
            "reason": hedge.reason,
            "decision": decision.reason.value if decision is not None else None,
            "is_open": hedge.status is HedgeStatus.OPEN,
            **self._describe_money(hedge.key, mark),
        }

    def _describe_money(self, key: HedgeKey, mark: Decimal | None) -> Mapping[str, object]:
        """Nothing is known of what is not held yet."""
        figures = self._ledger.records.earnings.get(key)
        profit = figures.get_profit(mark) if figures is not None else None
        return {
            "profit_usd": _show(profit) if profit is not None else None,
            "fees_usd": _show(figures.fees_usd) if figures is not None else None,
            "other_fees": {asset: _show(amount) for asset, amount in figures.other_fees.items()} if figures else {},
            "funding_usd": _show(figures.funding_usd) if figures is not None else None,
        }


def _get_age(hedge: HedgedPosition) -> tuple[float, HedgeKey]:
    return -hedge.opened_at, hedge.key


def _add_up(hedges: Mapping[HedgeKey, HedgedPosition]) -> Mapping[str, object]:
    """By market: how many, and what is held of them in long and in short."""
    counts: dict[str, int] = {}
    held: dict[tuple[str, Side], Decimal] = {}
    for key, hedge in hedges.items():
        counts[key.market] = counts.get(key.market, 0) + 1
        held[key.market, hedge.side] = held.get((key.market, hedge.side), ZERO) + hedge.quantity
    return {
        market: {
            "hedges": counts[market],
            "long": f"{held.get((market, Side.BUY), ZERO):f}",
            "short": f"{held.get((market, Side.SELL), ZERO):f}",
        }
        for market in sorted(counts)
    }


def _show(amount: Decimal) -> str:
    """Every digit, without the zeros behind."""
    return f"{amount.normalize():f}" if amount else "0"
