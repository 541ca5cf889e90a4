"""Asks what became of an order until it is known. Never sends.

"No such order" is believed only when all of this holds: the request is older than the time after which the exchange cannot
accept it any more, two later queries and the order history do not know it, and the account has not moved by what it
would have filled. Called by the executor, for orders whose reply was lost and, after a restart, for all in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import structlog

from dehedge.auditor import UNEXPLAINED_MAX_S, Auditor
from dehedge.core.book import InFlightOrder
from dehedge.errors import ConnectorError, RateLimited, VenueUnavailable
from dehedge.ledger import Ledger
from dehedge.ports import Connector, VenueOrder
from dehedge.settlement import Settlement

log = structlog.get_logger()

QUERY_DELAYS_S = (0.2, 0.3, 0.5, 1.0, 1.5)
"""Waits between the questions for an order whose outcome is unknown; the last one repeats."""
BELIEVE_HISTORY_S = UNEXPLAINED_MAX_S
"""After this long an order that neither query nor history knows is gone, even if the account moved by another hand.

Not sooner than the audit believes the account: an order that fills unseen for longer than we wait would be sent twice.
"""


class Resolver:
    """Brings orders in doubt to their end."""

    def __init__(self, ledger: Ledger, connector: Connector, auditor: Auditor, settlement: Settlement) -> None:
        self._ledger = ledger
        self._connector = connector
        self._auditor = auditor
        self._settlement = settlement

    async def resolve(self, order: InFlightOrder) -> None:
        """Ask until the order's end is known."""
        request, loop = order.request, asyncio.get_running_loop()
        # It was sent before this moment at the latest, so counting from here is on the safe side after a restart too.
        since, window_s, misses = loop.time(), self._connector.unknown_window_s, 0
        for delay_s in _repeat_last(QUERY_DELAYS_S):
            await asyncio.sleep(delay_s)
            if request.client_order_id not in self._ledger.book.in_flight:
                return
            age_s = loop.time() - since
            try:
                report = await self._connector.fetch_order(request.symbol, request.client_order_id)
                if report is not None:
                    await self._settlement.settle(order, report)
                    if report.status.is_terminal:
                        return
                elif age_s >= window_s:
                    misses += 1
                    if misses > 1 and await self._check_never_executed(order, since=since + window_s, age_s=age_s):
                        await self._settlement.abandon(order, VenueUnavailable("the exchange never had this order"))
                        return
            except RateLimited as error:
                await asyncio.sleep(error.retry_after_s)
            except ConnectorError as error:
                log.debug("order_query_failed", client_order_id=request.client_order_id, error=str(error))
                if age_s >= window_s:
                    await self._try_find_in_history(order, since=since + window_s)

    async def _check_never_executed(self, order: InFlightOrder, *, since: float, age_s: float) -> bool:
        """True when neither the order history nor the account's position shows a trace of the order."""
        trace = await self._auditor.find_trace(order.request, since=since)
        if isinstance(trace, VenueOrder):
            await self._settlement.settle(order, trace.report)
            return False
        return not trace or age_s >= BELIEVE_HISTORY_S

    async def _try_find_in_history(self, order: InFlightOrder, *, since: float) -> None:
        """Where an order cannot be asked for by its id, the history may still tell of it; its silence says nothing."""
        try:
            await self._check_never_executed(order, since=since, age_s=0)
        except ConnectorError as error:
            log.debug("order_history_failed", client_order_id=order.request.client_order_id, error=str(error))


def _repeat_last(delays_s: Sequence[float]) -> Iterable[float]:
    yield from delays_s
    while True:
        yield delays_s[-1]
