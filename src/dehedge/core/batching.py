"""From decisions to orders: the trades of one pass in one symbol, direction and action leave as one order.

The exchange takes a few hundred orders in ten seconds, and a crash makes a thousand positions risky at one price. Each
hedge keeps its own quantity on the step, so that closing it alone later is exact. Above the exchange's maximum quantity
an order is split between hedges; a single hedge above it is built over several passes. The operator's maximum for what
adds exposure works in the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from dehedge.core.decisions import TradeDecision
from dehedge.core.model import HedgeKey, Side, TradingRules
from dehedge.core.orders import Action, Share
from dehedge.core.sizing import get_order_max

SHARES_MAX = 2_000
"""Hedges that share one order at most; bounds one journal record."""


@dataclass(frozen=True, slots=True)
class OrderDraft:
    """An order to be journaled and sent: what it does, for which hedges. ``hedge_side`` is that of the hedges."""

    symbol: str
    hedge_side: Side
    action: Action
    shares: tuple[Share, ...]

    @property
    def keys(self) -> list[HedgeKey]:
        return [share.key for share in self.shares]

    @property
    def quantity(self) -> Decimal:
        return sum((share.quantity for share in self.shares), Decimal(0))

    @property
    def order_side(self) -> Side:
        return self.hedge_side if self.action is Action.INCREASE else self.hedge_side.opposite


def build_drafts(
    decisions: Iterable[TradeDecision],
    rules: Mapping[str, TradingRules],
    group_max: Mapping[HedgeKey, int],
    increase_max: Mapping[str, Decimal] = MappingProxyType({}),
) -> list[OrderDraft]:
    """Group the trades: reductions first, then what protects most; a group's largest share is filled first.

    ``group_max`` limits how many hedges may share an order with a key, where a larger group was refused;
    ``increase_max`` is the operator's limit on the quantity of one order that adds exposure, by symbol.
    """
    groups: dict[tuple[str, Side, Action, int], list[Share]] = defaultdict(list)
    for decision in decisions:
        count_max = group_max.get(decision.key, SHARES_MAX)
        groups[(decision.symbol, decision.side, decision.action, count_max)].append(decision.share)
    drafts = []
    for (symbol, side, action, count_max), shares in sorted(groups.items()):
        known = rules.get(symbol)
        limit = get_order_max(known) if known is not None else None
        if action is Action.INCREASE and limit is not None:
            limit = min(limit, increase_max.get(symbol, limit))
        shares.sort(key=lambda share: (-share.quantity, share.key))
        drafts += [OrderDraft(symbol, side, action, part) for part in _split(shares, limit, count_max)]
    return sorted(drafts, key=lambda draft: (draft.action is Action.REDUCE, len(draft.shares)), reverse=True)


def _split(shares: list[Share], limit: Decimal | None, count_max: int) -> Iterable[tuple[Share, ...]]:
    part: list[Share] = []
    total = Decimal(0)
    for share in shares:
        if part and (len(part) >= count_max or (limit is not None and total + share.quantity > limit)):
            yield tuple(part)
            part, total = [], Decimal(0)
        part.append(share)
        total += share.quantity
    yield tuple(part)
