"""Reads the account's free margin and liquidation prices: for the guards in time, for the operator at all times.

Each of the two costs request weight 5: every ten seconds where the operator has set a guard on one of them, else every
minute. A reading that fails leaves the last one, which ages; ``core.guards`` holds what adds exposure once it is too old.
Tells whether the key is refused, and of which asset too little is free. Run by the daemon. ``view`` is for operators: read
when it is asked for, as seldom, and never what a guard is held against.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import structlog

from dehedge.core.audit import LegKey
from dehedge.core.guards import AccountReading, GuardLimits, Liquidation
from dehedge.core.whatif import Account, Holding
from dehedge.errors import AuthenticationFailed, ConnectorError, RateLimited
from dehedge.ledger import Ledger
from dehedge.ports import Balance, Clock, Connector

log = structlog.get_logger()

READ_INTERVAL_S = 10.0
WATCH_INTERVAL_S = 60.0
"""Where no guard needs it."""
VIEW_LAG_S = 5.0
"""How far the account's own view may lag behind the fills of our orders."""
MARGIN_LOW_SHARE = Decimal("0.2")
"""Less than this share of the balance left is too little, whatever the operator's limit."""


class AccountWatch:
    """Keeps the newest reading of the account's margin."""

    def __init__(self, *, limits: GuardLimits, ledger: Ledger, connector: Connector, clock: Clock) -> None:
        self.latest: AccountReading | None = None
        self.balances: Mapping[str, Balance] = {}
        self.is_key_refused = False
        self._limits = limits
        self._ledger = ledger
        self._connector = connector
        self._clock = clock
        self._is_failing = False
        self._viewing = asyncio.Lock()
        self._viewed: Account | ConnectorError | None = None
        self._viewed_until = float("-inf")

    async def run(self, wake: Callable[[], None]) -> None:
        """Read again and again; wakes whoever decides by it where a guard does."""
        while True:
            delay_s = await self._try_read()
            if self._limits.needs_account:
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
            balances = await self._connector.fetch_balances()
            positions = await self._connector.fetch_positions()
        except ConnectorError as error:
            return error
        available = {balance.asset: balance.available for balance in balances}
        return Account(available, [Holding(p.symbol, p.leg, p.quantity, p.liquidation_price) for p in positions])

    def find_low_margin(self, assets: Iterable[str]) -> Sequence[str]:
        """Those of these assets of which too little is free; none before the first reading."""
        return [asset for asset in sorted(set(assets)) if self.latest is not None and self._check_low(asset)]

    def _check_low(self, asset: str) -> bool:
        balance = self.balances.get(asset)
        if balance is None:
            return True
        return balance.available <= max(self._limits.free_margin_usd or 0, balance.total * MARGIN_LOW_SHARE)

    def get_distances_bps(self, marks: Mapping[str, Decimal]) -> Mapping[str, Decimal]:
        """How far the mark of each symbol is from the nearest liquidation price of the account in it."""
        found: dict[str, Decimal] = {}
        for (symbol, _), liquidation in self.latest.liquidations.items() if self.latest is not None else ():
            mark = marks.get(symbol)
            if mark:
                distance = liquidation.get_distance_bps(mark)
                found[symbol] = min(found.get(symbol, distance), distance)
        return found

    async def _try_read(self) -> float:
        """Read once; how long to wait until the next."""
        try:
            self.latest = await self._fetch()
        except ConnectorError as error:
            if not self._is_failing:
                log.warning("account_read_failed", error=str(error))
            self._is_failing = True
            self.is_key_refused = isinstance(error, AuthenticationFailed)
            return _get_delay_s(error)
        if self._is_failing:
            log.info("account_read_recovered")
        self._is_failing = self.is_key_refused = False
        return READ_INTERVAL_S if self._limits.needs_account else WATCH_INTERVAL_S

    async def _fetch(self) -> AccountReading:
        read_at = self._clock.time()
        in_flight = [order.intended_at for order in self._ledger.book.in_flight.values()]
        balances = {balance.asset: balance for balance in await self._connector.fetch_balances()}
        liquidations = await self._fetch_liquidations()
        self.balances = balances
        available = {asset: balance.available for asset, balance in balances.items()}
        return AccountReading(read_at, min([read_at, *in_flight]) - VIEW_LAG_S, available, liquidations)

    async def _fetch_liquidations(self) -> Mapping[LegKey, Liquidation]:
        return {
            (position.symbol, position.leg): Liquidation(position.quantity > 0, position.liquidation_price)
            for position in await self._connector.fetch_positions()
            if position.liquidation_price is not None
        }


def _get_delay_s(outcome: object) -> float:
    """Until the next reading."""
    return max(READ_INTERVAL_S, outcome.retry_after_s if isinstance(outcome, RateLimited) else 0.0)
