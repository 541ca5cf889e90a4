"""What is left to close, and why: the answer to "is it flat?", from the account itself and never from the book alone.

Flat is what nothing contradicts: a reading of the account that no fact has overtaken, no hedge and no order in flight in the
book, and on every leg exactly what others are known to hold. Everything else is listed, by symbol and leg: ours with what
keeps it, foreign positions because they stay, and what is neither because somebody must look at it. Reads the parts of the
engine and changes nothing. Called by ``status``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from dehedge.auditor import Auditor
from dehedge.core.audit import LegAudit, LegKey
from dehedge.core.book import HedgedPosition, InFlightOrder, TradingMode
from dehedge.core.model import HedgeKey, Leg, Side
from dehedge.core.orders import Action
from dehedge.errors import ConnectorError
from dehedge.executor import Executor
from dehedge.ledger import Ledger
from dehedge.ports import Clock
from dehedge.settlement import REFUSAL_REMEMBERED_S
from dehedge.venue import Venue

SHARED_S = 2.0
"""One reading serves everybody who asks within this time: anybody may ask, and each reading costs request weight."""
APART_S = 1.0
"""No two readings are nearer to each other, however much is traded meanwhile."""
READ_MAX_S = 8.0
UNKNOWN_AFTER_S = 5.0
"""An order in flight for longer has lost its reply."""


class Owner(StrEnum):
    """Whose a position is, as far as is known."""

    OURS = "ours"
    FOREIGN = "foreign"
    UNEXPLAINED = "unexplained"


class Left(NamedTuple):
    """A part of a leg that is not closed; ``quantity`` is 0 where only an order is under way."""

    symbol: str
    leg: Leg
    side: Side
    quantity: Decimal
    owner: Owner
    reason: str

    def describe(self) -> Mapping[str, object]:
        return {**self._asdict(), "quantity": f"{self.quantity:f}"}


@dataclass(frozen=True, slots=True)
class Reading:
    """The account as it was read from that time on, or why it could not be; ``ended_at`` is loop time."""

    read_at: float
    ended_at: float
    versions: Mapping[str, int]
    exchange: Mapping[LegKey, Decimal]
    error: str | None


class FlattenView:
    """Reads the account and explains what it holds."""

    def __init__(self, *, ledger: Ledger, venue: Venue, auditor: Auditor, executor: Executor, clock: Clock) -> None:
        self._ledger = ledger
        self._venue = venue
        self._auditor = auditor
        self._executor = executor
        self._clock = clock
        self._reading: Reading | None = None
        self._lock = asyncio.Lock()

    async def fetch(self, *, is_recovered: bool) -> Mapping[str, object]:
        """Plain JSON data; never raises for what the exchange does."""
        reading = await self._read()
        obstacle = reading.error or (None if is_recovered else "recovery: orders in flight are being resolved")
        left = list(self._find_left(reading, obstacle))
        is_flat = obstacle is None and self._check_current(reading) and not self._ledger.book.in_flight
        is_flat = is_flat and all(part.owner is Owner.FOREIGN for part in left)
        return {
            "flat": is_flat,
            "confirmed_at": reading.read_at if is_flat else None,
            "mode": self._ledger.book.mode.value,
            "is_flattening": self._ledger.book.is_flattening,
            "error": obstacle,
            "left": [part.describe() for part in left],
        }

    async def _read(self) -> Reading:
        async with self._lock:
            known = self._reading
            if known is not None:
                age_s = asyncio.get_running_loop().time() - known.ended_at
                if age_s < SHARED_S and self._check_current(known):
                    return known
                await asyncio.sleep(APART_S - age_s)
            self._reading = await self._fetch_reading()
            return self._reading

    async def _fetch_reading(self) -> Reading:
        read_at, versions = self._clock.time(), self._ledger.get_versions()
        exchange: Mapping[LegKey, Decimal] = {}
        error = f"exchange: {self._venue.error}" if self._venue.error is not None else None
        try:
            if error is None:
                async with asyncio.timeout(READ_MAX_S):
                    exchange = await self._auditor.fetch_account()
        except ConnectorError as failure:
            error = f"the account cannot be read: {failure}"
        except TimeoutError:
            error = "the account cannot be read: no answer in time"
        return Reading(read_at, asyncio.get_running_loop().time(), versions, exchange, error)

    def _check_current(self, reading: Reading) -> bool:
        return not self._ledger.get_moved_since(reading.versions)

    def _find_left(self, reading: Reading, obstacle: str | None) -> Iterator[Left]:
        if reading.error is not None:
            yield from self._find_ours({}, obstacle)
            return
        legs = {leg_audit.key: leg_audit for leg_audit in self._auditor.compare(reading.exchange)}
        moving = self._get_moving(reading)
        yield from self._find_ours(legs, obstacle)
        for leg_audit in legs.values():
            yield from self._find_others(leg_audit, moving)
        for key, quantity in reading.exchange.items():
            if key not in legs:
                yield build_left(key, quantity, Owner.FOREIGN, "in a symbol that is not hedged: never traded")

    def _get_moving(self, reading: Reading) -> set[str]:
        """The symbols in which our own orders explain a difference: those in flight, and those that ended meanwhile."""
        in_flight = {order.request.symbol for order in self._ledger.book.in_flight.values()}
        return in_flight | self._ledger.get_moved_since(reading.versions)

    def _find_others(self, leg_audit: LegAudit, moving: set[str]) -> Iterator[Left]:
        if leg_audit.known_foreign:
            yield build_left(leg_audit.key, leg_audit.known_foreign, Owner.FOREIGN, "not of this daemon: never traded")
        if leg_audit.difference and leg_audit.symbol not in moving:
            reason = self._auditor.blocked.get(
                leg_audit.symbol, "neither of the book nor known as foreign: looked into"
            )
            yield build_left(leg_audit.key, leg_audit.difference, Owner.UNEXPLAINED, reason)

    def _find_ours(self, legs: Mapping[LegKey, LegAudit], obstacle: str | None) -> Iterator[Left]:
        """Our hedges, those of one symbol and side that are kept by the same reason as one."""
        in_flight = {share.key: order for order in self._ledger.book.in_flight.values() for share in order.shares}
        sums: defaultdict[tuple[str, Leg, Side, str], Decimal] = defaultdict(Decimal)
        for hedge in self._ledger.book.get_all_hedged_positions().values():
            key = self._auditor.get_key(hedge.symbol, hedge.side)
            reason = self._explain(hedge, in_flight, legs.get(key), obstacle)
            sums[*key, hedge.side, reason] += hedge.quantity
        for (symbol, leg, side, reason), quantity in sorted(sums.items()):
            yield Left(symbol, leg, side, quantity, Owner.OURS, reason)

    def _explain(
        self,
        hedge: HedgedPosition,
        in_flight: Mapping[HedgeKey, InFlightOrder],
        leg_audit: LegAudit | None,
        obstacle: str | None,
    ) -> str:
        """Why a hedge is still there: the nearest reason."""
        if hedge.key in in_flight:
            return self._explain_order(in_flight[hedge.key])
        if self._ledger.book.mode is TradingMode.HALTED:
            return "halted: nothing is sent; `dehedge flatten` closes it"
        if obstacle is not None:
            return obstacle
        if not self._ledger.book.is_flattening:
            return "no flattening is under way; `dehedge flatten` closes it"
        return "; ".join(self._find_hindrances(hedge, leg_audit)) or "about to be closed"

    def _explain_order(self, order: InFlightOrder) -> str:
        name, age_s = order.request.client_order_id, self._clock.time() - order.intended_at
        if age_s < UNKNOWN_AFTER_S:
            return f"order {name} is in flight"
        return f"what became of order {name} is unknown: the exchange is being asked"

    def _find_hindrances(self, hedge: HedgedPosition, leg_audit: LegAudit | None) -> Sequence[str]:
        """What keeps a close that is wanted from being sent or filled."""
        found, symbol = [], hedge.symbol
        rules = self._venue.rules.get(symbol)
        if rules is None or not rules.is_trading:
            found.append(f"{symbol} is not trading on the exchange")
        elif hedge.quantity < rules.quantity_step:
            found.append(f"less than the exchange's step of {rules.quantity_step}: no order takes it, close it by hand")
        if leg_audit is not None and leg_audit.get_shortfall(hedge.side):
            found.append(
                "the account holds less than the book: what another hand closed is written down once it is certain"
            )
        if hedge.key in self._executor.backoff.get_waiting(Action.REDUCE):
            found.append(self._explain_waiting(symbol))
        return found

    def _explain_waiting(self, symbol: str) -> str:
        refusals = self._executor.refusals.get(symbol)
        if refusals is None or asyncio.get_running_loop().time() - refusals.last_at > REFUSAL_REMEMBERED_S:
            return "waiting for its next try"
        return f"refused, tried again: {refusals.reason}"


def build_left(key: LegKey, signed_quantity: Decimal, owner: Owner, reason: str) -> Left:
    side = Side.BUY if signed_quantity > 0 else Side.SELL
    return Left(*key, side, abs(signed_quantity), owner, reason)
