"""Reads the account's free margin and liquidation prices in time, for the guards that the operator has set on them.

Asks for nothing that no guard needs: each of the two costs request weight 5 every ten seconds. A reading that fails leaves
the last one, which ages; ``core.guards`` holds what adds exposure once it is too old. Run by the daemon. ``view`` is for
operators: read when it is asked for, as seldom, and never what a guard is held against.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal

import structlog

from dehedge.core.audit import LegKey
from dehedge.core.guards import AccountReading, GuardLimits, Liquidation
from dehedge.core.whatif import Account, Holding
from dehedge.errors import ConnectorError, RateLimited
from dehedge.ledger import Ledger
from dehedge.ports import Clock, Connector

log = structlog.get_logger()

READ_INTERVAL_S = 10.0
VIEW_LAG_S = 5.0
"""How far the account's own view may lag behind the fills of our orders."""


class AccountWatch:
    """Keeps the newest reading of the account's margin."""

    def __init__(self, *, limits: GuardLimits, ledger: Ledger, connector: Connector, clock: Clock) -> None:
        self.latest: AccountReading | None = None
        self._limits = limits
        self._ledger = ledger
        self._connector = connector
        self._clock = clock
        self._is_failing = False
        self._viewing = asyncio.Lock()
        self._viewed: Account | ConnectorError | None = None
        self._viewed_until = float("-inf")

    async def run(self, wake: Callable[[], None]) -> None:
        """Read again and again; ends at once when no guard needs it."""
        while self._limits.needs_account:
            delay_s = await self._try_read()
            wake()
            await asyncio.sleep(delay_s)

    async def view(self) -> Account:
        """All of the account's margin and positions, ten seconds old at most. Raises ``ConnectorError``, as seldom."""
        async with self._viewing:
            loop = asyncio.get_running_loop()
            if self._viewed is None or loop.time() >= self._viewed_until:
                self._viewed = await self._try_view()
                self._viewed_until = loop.time() + _get_delay_s(self._viewed)
            if isinstance(self._viewed, ConnectorError):
                raise self._viewed
            return self._viewed

    async def _try_view(self) -> Account | ConnectorError:
        try:
            available = await self._fetch_available()
            positions = await self._connector.fetch_positions()
        except ConnectorError as error:
            return error
        return Account(available, [Holding(p.symbol, p.leg, p.quantity, p.liquidation_price) for p in positions])

    async def _try_read(self) -> float:
        """Read once; how long to wait until the next."""
        try:
            self.latest = await self._fetch()
        except ConnectorError as error:
            if not self._is_failing:
                log.warning("account_read_failed", error=str(error))
            self._is_failing = True
            return _get_delay_s(error)
        if self._is_failing:
            log.info("account_read_recovered")
        self._is_failing = False
        return READ_INTERVAL_S

    async def _fetch(self) -> AccountReading:
        read_at = self._clock.time()
        in_flight = [order.intended_at for order in self._ledger.book.in_flight.values()]
        available = await self._fetch_available() if self._limits.free_margin_usd is not None else {}
        liquidations = await self._fetch_liquidations() if self._limits.liquidation_distance_bps is not None else {}
        return AccountReading(read_at, min([read_at, *in_flight]) - VIEW_LAG_S, available, liquidations)

    async def _fetch_available(self) -> Mapping[str, Decimal]:
        return {balance.asset: balance.available for balance in await self._connector.fetch_balances()}

    async def _fetch_liquidations(self) -> Mapping[LegKey, Liquidation]:
        return {
            (position.symbol, position.leg): Liquidation(position.quantity > 0, position.liquidation_price)
            for position in await self._connector.fetch_positions()
            if position.liquidation_price is not None
        }


def _get_delay_s(outcome: object) -> float:
    """Until the next reading."""
    return max(READ_INTERVAL_S, outcome.retry_after_s if isinstance(outcome, RateLimited) else 0.0)
