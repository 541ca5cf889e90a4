"""Holds the book against the account, and explains every difference before anybody acts on it.

A difference is acted on when the orders of others explain it to the last step (``core.audit``), or when it has lasted for a
minute: the exchange's own views lag behind each other, and a lagging view must neither cost a hedge nor invent one.
Forced orders (liquidation, deleveraging, settlement) are taken off our hedges, the trades of others are foreign, and
where another hand has closed our hedges, or a forced order left something that is nobody's, opens in the symbol freeze
and it is said loudly until the account agrees again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

import structlog

from dehedge.core.audit import (
    LegAudit,
    LegKey,
    accept_foreign,
    audit_leg,
    build_account_events,
    check_may_have_filled,
    find_explanation,
)
from dehedge.core.book import check_on_leg
from dehedge.core.events import Event, ForeignPositionSeen
from dehedge.core.model import Leg, Side
from dehedge.core.orders import OrderRequest, get_leg
from dehedge.errors import ConnectorError, RateLimited, VenueUnavailable
from dehedge.evidence import EvidenceReader
from dehedge.ledger import Ledger
from dehedge.ports import Clock, Connector, VenueOrder
from dehedge.settlement import Settlement
from dehedge.writers import WriterWatch

log = structlog.get_logger()

AUDIT_INTERVAL_S = 60.0
AUDIT_MIN_INTERVAL_S = 2.0
"""However often an audit is asked for: one costs request weight."""
DOUBT_INTERVAL_S = 5.0
UNEXPLAINED_MAX_S = 60.0
"""No view of the exchange lags for this long: what is still unexplained then is real."""
COUNT_INTERVAL_S = 50.0
"""Orders of others are counted this often; less than the margin, so that no window begins between two of them."""

FOREIGN_REMEDY = (
    "it is never traded, and what is at risk is hedged beside it; stop this daemon if another one or a lost journal holds it"
)


class Auditor:
    """Compares, explains and freezes; also tells the executor what a close may safely take."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        connector: Connector,
        settlement: Settlement,
        clock: Clock,
        get_symbols: Callable[[], Iterable[str]],
    ) -> None:
        self.is_account_read = False
        self.error: str | None = None
        self._ledger = ledger
        self._connector = connector
        self._settlement = settlement
        self._get_symbols = get_symbols
        self._confirmed: dict[LegKey, Decimal] = {}
        self._unexplained_since: dict[LegKey, float] = {}
        self._counted_at: dict[LegKey, float] = {}
        self._evidence = EvidenceReader(ledger, connector, clock)
        self._is_incomplete = False
        self._is_first_look = True
        self._requested = asyncio.Event()

    @property
    def writers(self) -> WriterWatch:
        """Whether this daemon is the only one on the account."""
        return self._evidence.writers

    @property
    def blocked(self) -> Mapping[str, str]:
        """Symbols whose opens are frozen, with the reason."""
        return {
            symbol: f"the account differs by {difference} {symbol} from hedges and known foreign positions:"
            " somebody traded our hedges, or a forced order left it; put it back or close it by hand"
            for (symbol, _), difference in self._confirmed.items()
        }

    def request(self) -> None:
        """Ask for an audit soon."""
        self._requested.set()

    async def run(self) -> None:
        """Audit every minute, soon after a request, and again while something is in doubt."""
        self._is_first_look = False
        while True:
            in_doubt = self._unexplained_since or self._is_incomplete
            try:
                async with asyncio.timeout(DOUBT_INTERVAL_S if in_doubt else AUDIT_INTERVAL_S):
                    await self._requested.wait()
            except TimeoutError:
                pass
            self._requested.clear()
            await self._ledger.sweep()
            await self._try_audit()
            await asyncio.sleep(AUDIT_MIN_INTERVAL_S)

    async def _try_audit(self) -> None:
        try:
            await self.audit_all()
        except ConnectorError as error:
            if self.error is None:
                log.warning("audit_failed", error=str(error))
            self.error = str(error)
            await asyncio.sleep(error.retry_after_s if isinstance(error, RateLimited) else 0)
        else:
            if self.error is not None:
                log.info("audit_recovered")
            self.error = None

    async def audit_all(self) -> None:
        """Compare every leg of the book and of the account that has nothing in flight.

        A symbol that cannot be read hides no other one: its error is raised when all the others have been compared.
        """
        self.is_account_read = False
        errors = await self.writers.look_back(self._get_symbols())
        unsettled = self._get_unsettled_symbols()
        versions = self._ledger.get_versions()
        exchange = await self._evidence.fetch_quantities()
        unsettled |= self._get_unsettled_symbols() | self._ledger.get_moved_since(versions)
        legs = self._get_legs(exchange)
        self._is_incomplete = any(symbol in unsettled for symbol, _ in legs)
        self.is_account_read = True
        for key in legs:
            if key[0] not in unsettled:
                try:
                    await self._judge(audit_leg(self._ledger.book, key, exchange.get(key, Decimal(0))), versions)
                except VenueUnavailable as error:
                    errors.append(VenueUnavailable(f"{key[0]}: {error}"))
        if errors:
            self._is_incomplete = True
            raise errors[0]
        self._is_first_look = False

    async def _judge(self, leg_audit: LegAudit, versions: Mapping[str, int]) -> None:
        book = self._ledger.book
        if self._is_first_look and leg_audit.key not in book.foreign and not self._check_hedged(leg_audit.key):
            await self._accept_baseline(leg_audit)
        elif leg_audit.difference in (0, self._confirmed.get(leg_audit.key)):
            await self._agree(leg_audit)
        else:
            await self._explain(leg_audit, versions)

    def _check_hedged(self, key: LegKey) -> bool:
        symbol, leg = key
        return any(check_on_leg(hedge.side, leg) for hedge in self._ledger.book.get_symbol_hedges(symbol))

    async def _accept_baseline(self, leg_audit: LegAudit) -> None:
        """The first look: what is there, where we hold nothing, was there before us."""
        if leg_audit.difference:
            log.warning(
                "foreign_position_found", symbol=leg_audit.symbol, leg=leg_audit.leg.value,
                quantity=str(leg_audit.foreign), remedy=FOREIGN_REMEDY,
            )  # fmt: skip
            seen = ForeignPositionSeen(leg_audit.symbol, leg_audit.leg, leg_audit.foreign, counted_until=0.0)
            await self._record(leg_audit, [seen])
        self._evidence.count(leg_audit.key, (await self._evidence.fetch(leg_audit.symbol)).history)
        await self._agree(self._look_again(leg_audit))

    def _look_again(self, leg_audit: LegAudit) -> LegAudit:
        """The same reading of the account against the book as it is now."""
        return audit_leg(self._ledger.book, leg_audit.key, leg_audit.exchange)

    async def _agree(self, leg_audit: LegAudit) -> None:
        """From here on only newer orders of others can make a difference."""
        now = asyncio.get_running_loop().time()
        if now - self._counted_at.get(leg_audit.key, float("-inf")) >= COUNT_INTERVAL_S:
            history = (await self._evidence.fetch(leg_audit.symbol)).history
            fills = self._evidence.get_new_fills(leg_audit.key, history)
            if sum(fill.signed_quantity for fill in fills) and not self._check_lasting(leg_audit.key):
                return  # Others have traded, and the account does not show it yet.
            self._evidence.count(leg_audit.key, history)
            self._counted_at[leg_audit.key] = now
        self._evidence.agree(leg_audit.key)
        self._unexplained_since.pop(leg_audit.key, None)
        self._set_confirmed(leg_audit.key, leg_audit.difference)

    async def _explain(self, leg_audit: LegAudit, versions: Mapping[str, int]) -> None:
        history = (await self._evidence.fetch(leg_audit.symbol)).history
        if leg_audit.symbol in self._ledger.get_moved_since(versions):
            self._is_incomplete = True
            return
        self._confirm_late_fills(leg_audit.key, history)
        base = self._confirmed.get(leg_audit.key, Decimal(0))
        fills = find_explanation(leg_audit.difference - base, self._evidence.get_new_fills(leg_audit.key, history))
        if fills is not None:
            await self._record(leg_audit, build_account_events(self._ledger.book, leg_audit, fills))
        elif self._check_lasting(leg_audit.key):
            accepted = accept_foreign(leg_audit.known_foreign, leg_audit.foreign, leg_audit.hedged)
            counted_until = max((order.updated_at for order in history), default=0.0)
            seen = ForeignPositionSeen(leg_audit.symbol, leg_audit.leg, accepted, counted_until)
            await self._record(leg_audit, [seen])
        else:
            return
        self._evidence.count(leg_audit.key, history)
        await self._agree(self._look_again(leg_audit))

    async def _record(self, leg_audit: LegAudit, events: Sequence[Event]) -> None:
        log.info(
            "account_difference_explained", symbol=leg_audit.symbol, leg=leg_audit.leg.value,
            exchange=str(leg_audit.exchange), hedged=str(leg_audit.hedged), difference=str(leg_audit.difference),
            facts=[type(event).__name__ for event in events],
        )  # fmt: skip
        await self._ledger.record(*events)

    def _check_lasting(self, key: LegKey) -> bool:
        """True once a difference has been unexplained for longer than any view lags."""
        now = asyncio.get_running_loop().time()
        return now - self._unexplained_since.setdefault(key, now) >= UNEXPLAINED_MAX_S

    def _set_confirmed(self, key: LegKey, difference: Decimal) -> None:
        was = self._confirmed.pop(key, Decimal(0))
        if difference:
            self._confirmed[key] = difference
        if difference and not was:
            log.error("account_differed", symbol=key[0], leg=key[1].value, error=self.blocked[key[0]])
        elif was and not difference:
            log.info("account_agreed", symbol=key[0], leg=key[1].value)

    def get_key(self, symbol: str, side: Side) -> LegKey:
        """The leg that hedges of this side live on, in the position mode that the account is in."""
        return symbol, get_leg(side, hedge_mode=self._connector.hedge_mode)

    async def fetch_account(self) -> Mapping[LegKey, Decimal]:
        """What the account holds, signed, read now. Raises ``ConnectorError``."""
        return await self._evidence.fetch_quantities()

    def compare(self, exchange: Mapping[LegKey, Decimal]) -> Sequence[LegAudit]:
        """A reading of the account against the book as it is now, on every leg that is our business."""
        return [audit_leg(self._ledger.book, key, exchange.get(key, Decimal(0))) for key in self._get_legs(exchange)]

    async def examine(self, symbol: str, side: Side) -> LegAudit:
        """The leg that hedges of this side live on, read now, with what our own orders may have moved meanwhile."""
        key = self.get_key(symbol, side)
        in_flight, before = self._get_in_flight(symbol), self._ledger.get_intended_quantity(symbol)
        exchange = await self._evidence.fetch_quantities()
        uncertain = in_flight + self._ledger.get_intended_quantity(symbol) - before
        return audit_leg(self._ledger.book, key, exchange.get(key, Decimal(0)), uncertain)

    def check_confirmed(self, leg_audit: LegAudit) -> bool:
        """True when the difference is known to be real; otherwise it will be looked into."""
        if self._confirmed.get(leg_audit.key) == leg_audit.difference:
            return True
        self.request()
        return False

    def confirm_difference(self, key: LegKey, signed_quantity: Decimal) -> None:
        """An order of ours that was given up has been executed after all: what it filled belongs to no hedge."""
        self._set_confirmed(key, self._confirmed.get(key, Decimal(0)) + signed_quantity)
        self.request()

    def _confirm_late_fills(self, key: LegKey, history: Iterable[VenueOrder]) -> None:
        for order in history:
            late = self._settlement.get_late_fill(order.report) if order.leg is key[1] else Decimal(0)
            if late:
                self.confirm_difference(key, late * order.side.sign)

    async def find_trace(self, request: OrderRequest, *, since: float) -> VenueOrder | bool:
        """An order of ours in the history, or whether it may have filled although neither history nor query tells.

        ``since``: loop time before which nothing that was read may count.
        """
        evidence = await self._evidence.fetch(request.symbol, since=since)
        for order in evidence.history:
            if order.report.client_order_id == request.client_order_id:
                return order
        key = (request.symbol, request.leg)
        if not evidence.check_still(key) or request.symbol in self._ledger.get_moved_since(evidence.versions):
            return True
        leg_audit = audit_leg(self._ledger.book, key, evidence.exchange.get(key, Decimal(0)))
        fills = self._evidence.get_new_fills(key, evidence.history)
        base = self._confirmed.get(key, Decimal(0))
        moved = leg_audit.difference - base - sum((fill.signed_quantity for fill in fills), Decimal(0))
        return check_may_have_filled(moved * request.side.sign, request.quantity, self._get_others_in_doubt(request))

    def _get_others_in_doubt(self, request: OrderRequest) -> list[Decimal]:
        """The other orders in flight on the leg, counted in this one's direction."""
        others = [order.request for order in self._ledger.book.in_flight.values()]
        return [
            other.quantity * other.side.sign * request.side.sign
            for other in others
            if (other.symbol, other.leg) == (request.symbol, request.leg)
            and other.client_order_id != request.client_order_id
        ]

    def _get_in_flight(self, symbol: str) -> Decimal:
        orders = self._ledger.book.in_flight.values()
        return sum((o.request.quantity for o in orders if o.request.symbol == symbol), Decimal(0))

    def _get_unsettled_symbols(self) -> set[str]:
        return {order.request.symbol for order in self._ledger.book.in_flight.values()}

    def _get_legs(self, exchange: Mapping[LegKey, Decimal]) -> list[LegKey]:
        """Every leg that our hedges stand on or may stand on, in the position mode that the account is in.

        Flat ones too: what others do there must be counted before a hedge stands on it. Symbols that we have left
        because they are no longer configured or listed count where something is there that we do not know of. What the
        account holds in other symbols is none of our business.
        """
        hedge_mode, book = self._connector.hedge_mode, self._ledger.book
        held = {self.get_key(hedge.symbol, hedge.side) for hedge in book.get_all_hedged_positions().values()}
        known = {(symbol, leg) for symbol in self._get_symbols() for leg in Leg}
        known |= {*self._confirmed, *self._unexplained_since}
        traded = {key for key in exchange.keys() | book.foreign.keys() if key[0] in book.symbols}
        known |= {key for key in traded if audit_leg(book, key, exchange.get(key, Decimal(0))).difference}
        return sorted(held | {key for key in known if (key[1] is not Leg.BOTH) == hedge_mode})
