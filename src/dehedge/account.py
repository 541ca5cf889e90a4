"""Reads the account's margin and positions: for the guards in time, for the operator at all times.

A reading costs request weight 10: every ten seconds where the operator has set a guard on it, else every minute and when
somebody asks. One that fails leaves the last one, which ages; ``core.guards`` holds what adds exposure once it is too old.
Tells whether the key is refused, and of which asset too little is free. Run by the daemon.
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
from dehedge.ports import Balance, Clock, Connector, VenuePosition

log = structlog.get_logger()

READ_INTERVAL_S = 10.0
WATCH_INTERVAL_S = 60.0
"""Where no guard needs it."""
AGAIN_S = 1.0
"""An order that ended meanwhile makes the last reading old, but whoever asks is not read for more often."""
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
        self._reading = asyncio.Lock()
        self._newest: Account | ConnectorError | None = None
        self._fresh_until = self._again_from = float("-inf")
        self._versions: Mapping[str, int] = {}

    async def run(self, wake: Callable[[], None]) -> None:
        """Read again and again; wakes whoever decides by it where a guard does."""
        while True:
            async with self._reading:
                await self._read()
            if self._limits.needs_account:
                wake()
            is_well = isinstance(self._newest, Account)
            delay_s = WATCH_INTERVAL_S if is_well and not self._limits.needs_account else READ_INTERVAL_S
            await asyncio.sleep(max(delay_s, self._fresh_until - asyncio.get_running_loop().time()))

    async def view(self) -> Account:
        """Ten seconds old at most, ``AGAIN_S`` where one of our orders moved it since. Raises ``ConnectorError`` where it cannot be read."""
        async with self._reading:
            now, has_traded = asyncio.get_running_loop().time(), self._ledger.get_moved_since(self._versions)
            if now >= (self._again_from if has_traded else self._fresh_until):
                await self._read()
        assert self._newest is not None, "it was read just now"
        if isinstance(self._newest, ConnectorError):
            raise self._newest
        return self._newest

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

    async def _read(self) -> None:
        was_failing, delay_s = isinstance(self._newest, ConnectorError), READ_INTERVAL_S
        versions = self._ledger.get_versions()
        try:
            self._newest = await self._fetch()
        except ConnectorError as error:
            self._newest = error
            self.is_key_refused = isinstance(error, AuthenticationFailed)
            if isinstance(error, RateLimited):
                delay_s = max(delay_s, error.retry_after_s)
            if not was_failing:
                log.warning("account_read_failed", error=str(error))
        else:
            self.is_key_refused = False
            if was_failing:
                log.info("account_read_recovered")
        # Only now: whoever asked may have gone meanwhile, and then nothing was read.
        self._versions, now = versions, asyncio.get_running_loop().time()
        self._fresh_until = now + delay_s
        self._again_from = now + AGAIN_S if isinstance(self._newest, Account) else self._fresh_until

    async def _fetch(self) -> Account:
        read_at = self._clock.time()
        in_flight = [order.intended_at for order in self._ledger.book.in_flight.values()]
        balances = await self._connector.fetch_balances()
        account = build_account(balances, await self._connector.fetch_positions())
        settled_until = min([read_at, *in_flight]) - VIEW_LAG_S
        self.balances = {balance.asset: balance for balance in balances}
        self.latest = AccountReading(read_at, settled_until, account.available, get_liquidations(account))
        return account


def build_account(balances: Iterable[Balance], positions: Iterable[VenuePosition]) -> Account:
    available = {balance.asset: balance.available for balance in balances}
    return Account(available, [Holding(p.symbol, p.leg, p.quantity, p.liquidation_price) for p in positions])


def get_liquidations(account: Account) -> Mapping[LegKey, Liquidation]:
    return {
        (held.symbol, held.leg): Liquidation(held.quantity > 0, held.liquidation_price)
        for held in account.holdings
        if held.liquidation_price is not None
    }
