"""Holds the book against the account, and explains every difference before anybody acts on it.

A difference counts only when it was seen twice, some seconds apart, with nothing in flight in the symbol and the book
unmoved in between, for the exchange's own views lag behind each other. What the exchange's forced orders explain
(liquidation, deleveraging, settlement) is taken off our hedges. What eats into our hedges otherwise freezes opens in the
symbol and is said loudly. The rest is foreign: noted, shown, never traded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from functools import partial

import structlog

from dehedge import metrics
from dehedge.core.audit import LegAudit, LegKey, audit, audit_leg, check_lacks_hedges
from dehedge.core.events import Event, ForeignPositionSeen, HedgesForced
from dehedge.core.model import Side
from dehedge.core.orders import FORCED_PREFIXES, get_leg
from dehedge.errors import ConnectorError, RateLimited
from dehedge.ledger import Ledger
from dehedge.ports import Clock, Connector, VenueOrder

log = structlog.get_logger()

AUDIT_INTERVAL_S = 60.0
CONFIRM_S = 2.0
"""A difference must outlive the lag between the exchange's order replies and its position view."""
HISTORY_MARGIN_S = 60.0
HISTORY_MAX_S = 7 * 86_400.0
READ_TRIES = 5


class Auditor:
    """Compares, explains and freezes; also tells the executor what a close may safely take."""

    def __init__(self, ledger: Ledger, connector: Connector, clock: Clock) -> None:
        self.blocked: dict[str, str] = {}
        self.audited_at: float | None = None
        self._ledger = ledger
        self._connector = connector
        self._clock = clock
        self._suspected: dict[LegKey, tuple[Decimal, float]] = {}
        self._is_incomplete = False
        self._requested = asyncio.Event()

    def request(self) -> None:
        """Ask for an audit soon."""
        self._requested.set()

    async def run(self) -> None:
        """Audit every minute, and soon after a request or an unconfirmed difference."""
        while True:
            wait_s = CONFIRM_S if self._suspected or self._is_incomplete else AUDIT_INTERVAL_S
            try:
                async with asyncio.timeout(wait_s):
                    await self._requested.wait()
            except TimeoutError:
                pass
            self._requested.clear()
            await self._try_audit()

    async def _try_audit(self) -> None:
        try:
            await self.audit_all()
        except RateLimited as error:
            await asyncio.sleep(error.retry_after_s)
        except ConnectorError as error:
            log.warning("audit_failed", error=str(error))
            await asyncio.sleep(CONFIRM_S)

    async def audit_all(self) -> None:
        """Compare every leg of the book and of the account that has nothing in flight."""
        book = self._ledger.book
        unsettled = self._get_unsettled_symbols()
        versions = self._ledger.get_versions()
        exchange = await self._fetch_quantities()
        unsettled |= self._get_unsettled_symbols() | self._ledger.get_moved_since(versions)
        legs = sorted({*exchange, *book.foreign, *self._get_book_legs(), *self._suspected})
        for leg_audit in audit(book, exchange, legs):
            if leg_audit.symbol not in unsettled:
                await self._judge(leg_audit)
        self._is_incomplete = any(symbol in unsettled for symbol, _ in legs)
        self.audited_at = self._clock.time()

    async def examine(self, symbol: str, side: Side) -> LegAudit | None:
        """The leg that hedges of this side live on, read now; None when the book kept moving during the read."""
        key = (symbol, get_leg(side, hedge_mode=self._connector.hedge_mode))
        for _ in range(READ_TRIES):
            versions = self._ledger.get_versions()
            exchange = await self._fetch_quantities()
            if symbol not in self._ledger.get_moved_since(versions):
                return audit_leg(self._ledger.book, key, exchange.get(key, Decimal(0)))
        return None

    def get_certain_shortfall(self, leg_audit: LegAudit, side: Side) -> Decimal:
        """What the account certainly lacks of this side's hedges, whatever the orders in flight have done meanwhile."""
        in_flight = sum(
            (
                order.request.quantity
                for order in self._ledger.book.in_flight.values()
                if (order.request.symbol, order.request.leg) == (leg_audit.symbol, leg_audit.leg)
                and order.request.side is side.opposite
            ),
            Decimal(0),
        )
        return max(leg_audit.get_shortfall(side) - in_flight, Decimal(0))

    async def confirm_shortfall(self, leg_audit: LegAudit, side: Side) -> Decimal | None:
        """The shortfall once it is confirmed, 0 when there is none, None while it must be looked at again."""
        if self.get_certain_shortfall(leg_audit, side) == 0:
            return Decimal(0)
        if not self._check_confirmed(leg_audit):
            return None
        await self._explain_forced(leg_audit)
        return self.get_certain_shortfall(self._look_again(leg_audit), side)

    async def _judge(self, leg_audit: LegAudit) -> None:
        if leg_audit.difference == 0:
            self._suspected.pop((leg_audit.symbol, leg_audit.leg), None)
            self._unblock(leg_audit.symbol)
            return
        if check_lacks_hedges(self._ledger.book, leg_audit):
            await self._explain_forced(leg_audit)
            leg_audit = self._look_again(leg_audit)
        is_new = (leg_audit.symbol, leg_audit.leg) not in self._ledger.book.foreign
        if leg_audit.difference == 0 or not (is_new or self._check_confirmed(leg_audit)):
            return
        if check_lacks_hedges(self._ledger.book, leg_audit):
            self._block(leg_audit)
        else:
            await self._accept_foreign(leg_audit)

    def _look_again(self, leg_audit: LegAudit) -> LegAudit:
        return audit_leg(self._ledger.book, (leg_audit.symbol, leg_audit.leg), leg_audit.exchange)

    def _check_confirmed(self, leg_audit: LegAudit) -> bool:
        """True when this very difference was seen before, long enough ago."""
        key, now = (leg_audit.symbol, leg_audit.leg), asyncio.get_running_loop().time()
        difference, since = self._suspected.get(key, (None, now))
        if difference != leg_audit.difference:
            since = now
        self._suspected[key] = (leg_audit.difference, since)
        return now - since >= CONFIRM_S

    async def _accept_foreign(self, leg_audit: LegAudit) -> None:
        foreign = leg_audit.exchange - leg_audit.hedged
        log.info("foreign_position_seen", symbol=leg_audit.symbol, leg=leg_audit.leg.value, quantity=str(foreign))
        self._suspected.pop((leg_audit.symbol, leg_audit.leg), None)
        await self._ledger.record(ForeignPositionSeen(leg_audit.symbol, leg_audit.leg, foreign))
        self._unblock(leg_audit.symbol)

    def _block(self, leg_audit: LegAudit) -> None:
        reason = (
            f"the account holds {leg_audit.exchange} {leg_audit.symbol} where hedges of {leg_audit.hedged} and"
            f" {leg_audit.known_foreign} of others were expected: somebody traded our hedges by hand"
        )
        if leg_audit.symbol not in self.blocked:
            log.error("account_differed", symbol=leg_audit.symbol, error=reason)
        self.blocked[leg_audit.symbol] = reason
        metrics.ACCOUNT_DIFFERS.labels(leg_audit.symbol).set(1)

    def _unblock(self, symbol: str) -> None:
        if self.blocked.pop(symbol, None) is not None:
            log.info("account_agreed", symbol=symbol)
            metrics.ACCOUNT_DIFFERS.labels(symbol).set(0)

    async def _explain_forced(self, leg_audit: LegAudit) -> None:
        """Take the exchange's own orders off our hedges, as far as the account really lacks them."""
        history = await self._connector.fetch_order_history(leg_audit.symbol, self._get_history_start(leg_audit.symbol))
        for order in history:
            if order.report.client_order_id.startswith(FORCED_PREFIXES) and order.leg is leg_audit.leg:
                await self._ledger.record_prepared(partial(self._get_forced, leg_audit, order))

    def _get_forced(self, leg_audit: LegAudit, order: VenueOrder, _: int) -> Sequence[Event]:
        report = order.report
        shortfall = self._look_again(leg_audit).get_shortfall(order.side.opposite)
        seen = self._ledger.book.forced_orders.get(report.venue_order_id, Decimal(0))
        taken = min(report.filled_quantity - seen, shortfall)
        if taken <= 0:
            return ()
        reason = report.client_order_id.partition("-")[0]
        return (
            HedgesForced(report.venue_order_id, order.symbol, order.leg, order.side, seen + taken, reason),
        )  # fmt: skip

    def _get_history_start(self, symbol: str) -> float:
        now = self._clock.time()
        opened = [hedge.opened_at for hedge in self._ledger.book.get_symbol_hedges(symbol)]
        return max(min(opened, default=now) - HISTORY_MARGIN_S, now - HISTORY_MAX_S)

    async def _fetch_quantities(self) -> dict[LegKey, Decimal]:
        positions = await self._connector.fetch_positions()
        return {(position.symbol, position.leg): position.quantity for position in positions}

    def _get_unsettled_symbols(self) -> set[str]:
        return {order.request.symbol for order in self._ledger.book.in_flight.values()}

    def _get_book_legs(self) -> set[LegKey]:
        hedge_mode = self._connector.hedge_mode
        hedges = self._ledger.book.get_all_hedged_positions().values()
        return {(hedge.symbol, get_leg(hedge.side, hedge_mode=hedge_mode)) for hedge in hedges}


