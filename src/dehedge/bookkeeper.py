"""Learns what filled orders came to and what funding was paid, and journals both, for the accounts alone.

Asks only while nothing is being traded, a little at a time, and does without what the exchange does not tell: a request of
weight 5 for all orders of a symbol that were filled since the last look, one of weight 30 every quarter of an hour for
funding. No error of the exchange leaves this module. Run by the daemon.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

import structlog

from dehedge.core.costs import Fee, FundingPaid, OrderPriced
from dehedge.core.receipts import OVERLAP_S, Unpriced
from dehedge.errors import ConnectorError, RateLimited
from dehedge.ledger import Ledger
from dehedge.ports import Clock, Connector, FundingSource, VenueFunding, VenueTrade

log = structlog.get_logger()

LOOK_INTERVAL_S = 2.0
RETRY_MAX_S = 300.0
FAILURES_MAX = 10
"""More make no look rarer."""
TRADE_AGE_MAX_S = 7 * 86_400.0
"""Older orders are not asked for: each week of history costs requests."""
TRADE_MARGIN_S = 60.0
RECORDED_AT_ONCE = 50
"""After a crash thousands of receipts come at once, and an order must not wait for all of them."""
FUNDING_INTERVAL_S = 900.0
FUNDING_REACH_S = 30 * 86_400.0
"""After a longer time without the daemon, what funding was paid before stays unknown."""


class Bookkeeper:
    """Brings the journal's receipts up to date."""

    def __init__(self, *, ledger: Ledger, connector: Connector, clock: Clock, check_busy: Callable[[], bool]) -> None:
        """``check_busy`` is True while orders are under way or closes wait to be sent."""
        self._ledger = ledger
        self._connector = connector
        self._clock = clock
        self._check_busy = check_busy
        self._failures = 0
        self._funding_due = 0.0

    async def run(self) -> None:
        """Look again and again, until canceled. Raises ``JournalError`` alone."""
        delay_s = LOOK_INTERVAL_S
        while True:
            await asyncio.sleep(delay_s)
            delay_s = LOOK_INTERVAL_S if self._check_busy() else await self._try_look()

    async def _try_look(self) -> float:
        """Ask for what is missing; returns when to look again, in seconds."""
        try:
            await self._learn_prices()
            await self._learn_funding()
        except ConnectorError as error:
            self._failures += 1
            log.debug("receipts_failed", error=str(error))
            wait_s = error.retry_after_s if isinstance(error, RateLimited) else 0.0
            return max(wait_s, self._get_delay_s())
        self._failures = self._failures + 1 if self._ledger.records.receipts.unpriced else 0
        return self._get_delay_s()

    def _get_delay_s(self) -> float:
        return min(LOOK_INTERVAL_S * 2.0 ** min(self._failures, FAILURES_MAX), RETRY_MAX_S)

    async def _learn_prices(self) -> None:
        self._give_up_old()
        by_symbol: defaultdict[str, list[Unpriced]] = defaultdict(list)
        for order in self._ledger.records.receipts.unpriced.values():
            by_symbol[order.symbol].append(order)
        for symbol, orders in by_symbol.items():
            if not self._check_busy():
                await self._learn_symbol(symbol, orders)

    def _give_up_old(self) -> None:
        """One line for all of them: a journal of an earlier version has no receipt of any of its orders."""
        receipts, oldest = self._ledger.records.receipts, self._clock.time() - TRADE_AGE_MAX_S
        old = [order for order in receipts.unpriced.values() if order.since < oldest]
        for order in old:
            receipts.give_up(order.venue_order_id)
        if old:
            log.warning("orders_not_priced", count=len(old), symbols=sorted({order.symbol for order in old}))

    async def _learn_symbol(self, symbol: str, orders: Sequence[Unpriced]) -> None:
        since = min(order.since for order in orders) - TRADE_MARGIN_S
        trades: defaultdict[str, list[VenueTrade]] = defaultdict(list)
        for trade in await self._connector.fetch_trade_history(symbol, since):
            trades[trade.venue_order_id].append(trade)
        found = [build_receipt(order, trades[order.venue_order_id]) for order in orders]
        receipts = [receipt for receipt in found if receipt is not None]
        for start in range(0, len(receipts), RECORDED_AT_ONCE):
            await self._record_receipts(receipts[start : start + RECORDED_AT_ONCE])

    async def _record_receipts(self, receipts: Sequence[OrderPriced]) -> None:
        await self._ledger.record(*receipts)
        for receipt in receipts:
            log.info(
                "order_priced", client_order_id=receipt.client_order_id, average_price=str(receipt.average_price),
                fees=", ".join(f"{fee.amount:f} {fee.asset}" for fee in receipt.fees or ()),
            )  # fmt: skip

    async def _learn_funding(self) -> None:
        """Ask for what was booked since the last look, where the exchange has funding and we ever traded."""
        receipts, now = self._ledger.records.receipts, asyncio.get_running_loop().time()
        source, first_at = self._connector, receipts.first_at
        is_due = first_at is not None and now >= self._funding_due
        if first_at is None or not is_due or self._check_busy() or not isinstance(source, FundingSource):
            return
        # Not sooner after a failure either: the request is dear, and some exchange may refuse it for good.
        self._funding_due = now + FUNDING_INTERVAL_S
        since = max(first_at, receipts.funding_until - OVERLAP_S, self._clock.time() - FUNDING_REACH_S)
        await self._record_funding(await source.fetch_funding(since))

    async def _record_funding(self, booked: Iterable[VenueFunding]) -> None:
        book, receipts = self._ledger.book, self._ledger.records.receipts
        facts = [FundingPaid(one.symbol, one.amount, one.asset, one.paid_at, one.venue_id) for one in booked]
        new = [fact for fact in facts if fact.symbol in book.symbols and receipts.check_new(fact)]
        await self._ledger.record(*sorted(new, key=lambda fact: fact.paid_at))
        for fact in new:
            log.info("funding_paid", symbol=fact.symbol, amount=f"{fact.amount:f}", asset=fact.asset)


def build_receipt(order: Unpriced, trades: Sequence[VenueTrade]) -> OrderPriced | None:
    """What the trades of an order came to; None while the exchange does not tell of all of them."""
    quantity = sum((trade.quantity for trade in trades), Decimal(0))
    if quantity < order.quantity or not quantity:
        return None
    fees: defaultdict[str, Decimal] = defaultdict(Decimal)
    for trade in trades:
        fees[trade.fee_asset] += trade.fee
    return OrderPriced(
        order.client_order_id,
        average_price=sum((trade.price * trade.quantity for trade in trades), Decimal(0)) / quantity,
        venue_order_id=order.venue_order_id,
        quantity=quantity,
        fees=tuple(Fee(asset, amount) for asset, amount in sorted(fees.items())),
        realized_profit=sum((trade.realized_profit for trade in trades), Decimal(0)),
    )
