"""What the account's history and positions say of others' orders, read together and counted once.

Serves the auditor: it reads the order history of a symbol between two looks at the positions, shares what was read a moment
ago, and remembers which fills of others are part of what was agreed on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from dehedge.core.audit import LegKey, OtherFill
from dehedge.core.book import check_on_leg
from dehedge.core.model import Leg
from dehedge.core.orders import FORCED_PREFIXES
from dehedge.ledger import Ledger
from dehedge.ports import Clock, Connector, VenueOrder
from dehedge.writers import WriterWatch

SHARED_S = 2.0
"""What was read this long ago still serves; a look costs request weight."""
HISTORY_MARGIN_S = 60.0
HISTORY_MAX_S = 7 * 86_400.0
COUNTED_MAX = 20_000
"""Orders of others that are remembered on each leg: more than an account may send while they are still asked for."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the history of a symbol said, and the account's positions before and after it; read from that loop time on."""

    read_from: float
    versions: Mapping[str, int]
    history: Sequence[VenueOrder]
    before: Mapping[LegKey, Decimal]
    exchange: Mapping[LegKey, Decimal]

    def check_still(self, key: LegKey) -> bool:
        """True when the leg did not move while the history was read, so that both tell of the same moment."""
        return self.before.get(key, Decimal(0)) == self.exchange.get(key, Decimal(0))


def check_forced(order: VenueOrder) -> bool:
    """True for an order of the exchange itself: a liquidation, deleveraging or settlement."""
    return order.report.client_order_id.startswith(FORCED_PREFIXES)


def check_moved(order: VenueOrder, leg: Leg) -> bool:
    """True when the order moved what this leg of the account is now: the position mode may have been another one then."""
    if leg in (order.leg, Leg.BOTH):
        return True
    # Of an order in one-way mode only this is certain: a forced one closed the side that it was against.
    return order.leg is Leg.BOTH and check_forced(order) and check_on_leg(order.side.opposite, leg)


class EvidenceReader:
    """Reads, shares and counts."""

    def __init__(self, ledger: Ledger, connector: Connector, clock: Clock) -> None:
        self.writers = WriterWatch(ledger.journal, connector, clock)
        self._ledger = ledger
        self._connector = connector
        self._clock = clock
        self._counted: dict[LegKey, dict[str, Decimal]] = {}
        self._agreed_at: dict[LegKey, float] = {}
        self._evidence: dict[str, Evidence] = {}
        self._lock = asyncio.Lock()

    def agree(self, key: LegKey) -> None:
        """From here on only newer orders of others can make a difference."""
        self._agreed_at[key] = asyncio.get_running_loop().time()

    async def fetch(self, symbol: str, *, since: float | None = None) -> Evidence:
        """History and position of a symbol; what was read a moment ago serves everybody who may use it."""
        loop = asyncio.get_running_loop()
        wanted_from = loop.time() - SHARED_S if since is None else since
        async with self._lock:
            known = self._evidence.get(symbol)
            if known is None or known.read_from < max(wanted_from, loop.time() - SHARED_S):
                read_from = loop.time()
                versions, before = self._ledger.get_versions(), await self.fetch_quantities()
                history = await self._connector.fetch_order_history(symbol, self._get_history_start(symbol))
                self.writers.note(history)
                self._evidence[symbol] = Evidence(
                    read_from, versions, history, before, await self.fetch_quantities()
                )
            return self._evidence[symbol]

    def get_new_fills(self, key: LegKey, history: Iterable[VenueOrder]) -> list[OtherFill]:
        """What others have filled on the leg since the last agreement."""
        counted = self._counted.get(key, {})
        fills = []
        for order in history:
            report = order.report
            if not check_moved(order, key[1]) or self.writers.check_ours(order):
                continue
            new = report.filled_quantity - self._get_counted(order, counted)
            if new > 0:
                reason = report.client_order_id.partition("-")[0] if check_forced(order) else ""
                total, at = report.filled_quantity, order.updated_at
                fills.append(OtherFill(report.venue_order_id, order.side, new, total, at, reason))
        return fills

    def _get_counted(self, order: VenueOrder, counted: Mapping[str, Decimal]) -> Decimal:
        """How much of an order of others is part of what was agreed on, in this life of the daemon or before it."""
        book, order_id = self._ledger.book, order.report.venue_order_id
        if order_id in counted:
            return counted[order_id]
        if order.updated_at <= book.counted_until.get((order.symbol, order.leg), 0.0):
            return order.report.filled_quantity
        return book.forced_orders.get(order_id, Decimal(0))

    def count(self, key: LegKey, history: Iterable[VenueOrder]) -> None:
        """These orders of others are part of what was agreed on."""
        counted = self._counted.setdefault(key, {})
        for order in history:
            if check_moved(order, key[1]) and not self.writers.check_ours(order):
                counted[order.report.venue_order_id] = order.report.filled_quantity
        while len(counted) > COUNTED_MAX:
            del counted[next(iter(counted))]

    def _get_history_start(self, symbol: str) -> float:
        """From the last agreement, or else from our oldest hedge or order in the symbol."""
        now, book = self._clock.time(), self._ledger.book
        opened = [hedge.opened_at for hedge in book.get_symbol_hedges(symbol)]
        in_flight = [order.intended_at for order in book.in_flight.values() if order.request.symbol == symbol]
        # By a clock that nobody sets: agreed on before the wall clock was set, it would lie hours away.
        age_s = [asyncio.get_running_loop().time() - at for key, at in self._agreed_at.items() if key[0] == symbol]
        start = min([now, *in_flight, *([now - max(age_s)] if age_s else opened)])
        return max(start - HISTORY_MARGIN_S, now - HISTORY_MAX_S)

    async def fetch_quantities(self) -> dict[LegKey, Decimal]:
        positions = await self._connector.fetch_positions()
        return {(position.symbol, position.leg): position.quantity for position in positions}
