"""Decisions become orders: journal before send, send once, and ask until the outcome is known.

Rules of this file. (1) An order is journaled durably before its first byte goes out; if the journal refuses, nothing is
sent. (2) An order is sent once. No error, no time-out and no restart ever sends it again; a new order under a new id is a
new decision of the planner. (3) What was not definitively answered is unknown: it stays in flight, its hedges stay
locked, and it is asked for by its client order id. (4) Fills are what we own.

Theory of operation. Every order in flight has one task that drives it to its end: it sends, or after a restart only
asks (``resolver``). Events of the account's stream may settle an order sooner; a report that says nothing new changes
nothing, so it does not matter which comes first (``settlement``).

A close is first held against the account, so that it never takes more than is there: reduce-only where the account's net
allows it, plain where opposite hedges of one symbol net out, and nothing for what another hand has closed already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from types import MappingProxyType

import structlog

from dehedge import metrics
from dehedge.auditor import Auditor
from dehedge.backoff import Backoff
from dehedge.core.batching import OrderDraft, build_drafts
from dehedge.core.book import HedgeStatus, InFlightOrder
from dehedge.core.decisions import Reason, TradeDecision
from dehedge.core.events import Event, OrderIntended
from dehedge.core.freshness import Basis
from dehedge.core.hedging import check_mode_allows
from dehedge.core.model import HedgeKey, TradingRules
from dehedge.core.orders import Action, OrderRequest, Share, client_order_id, get_leg
from dehedge.core.sizing import check_large_enough
from dehedge.errors import (
    AuthenticationFailed,
    ConnectorError,
    OrderRejected,
    OrderTooLarge,
    OutcomeUnknown,
    RateLimited,
    VenueUnavailable,
)
from dehedge.ledger import Ledger
from dehedge.ports import Clock, Connector, VenueOrder
from dehedge.resolver import Resolver
from dehedge.settlement import Refusals, Settlement, build_leavings, build_write_downs

log = structlog.get_logger()


class Executor:
    """Sends the planner's trades and settles what comes back."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        connector: Connector,
        auditor: Auditor,
        settlement: Settlement,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._connector = connector
        self._auditor = auditor
        self._clock = clock
        self._basis = Basis()
        self._rules: Mapping[str, TradingRules] = {}
        self._is_finishing = False
        self._busy: set[HedgeKey] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] | None = None
        self._wake = wake
        self._settlement = settlement
        self._resolver = Resolver(ledger, connector, auditor, settlement)

    @property
    def backoff(self) -> Backoff:
        """What was refused a moment ago."""
        return self._settlement.backoff

    @property
    def refusals(self) -> dict[str, Refusals]:
        """Orders in a row that came to nothing, by symbol."""
        return self._settlement.refusals

    def check_trading(self) -> bool:
        """True while an order is under way, or a close waits for its turn."""
        return bool(self._tasks or self._ledger.book.in_flight or self.backoff.get_waiting(Action.REDUCE))

    @property
    def busy(self) -> frozenset[HedgeKey]:
        """Keys whose close is being held against the account, before its order is journaled."""
        return frozenset(self._busy)

    async def run(self) -> None:
        """Ends only with the error of an order's task: ours, or the journal's."""
        self._failed = asyncio.get_running_loop().create_future()
        await self._failed

    def note_order(self, order: VenueOrder) -> None:
        """An event of the account's stream: settles an order of ours sooner than its reply or the next question."""
        report = order.report
        in_flight = self._ledger.book.in_flight.get(report.client_order_id)
        if in_flight is not None:
            if self._settlement.collect(report):
                self._spawn(self._settle_collected(in_flight))
            return
        late = self._settlement.get_late_fill(report)
        if late:
            self._auditor.confirm_difference((order.symbol, order.leg), late * order.side.sign)

    async def finish(self, timeout_s: float) -> None:
        """Intend nothing more, and let what is being sent come to its end; the unknown is asked for after the restart."""
        self._is_finishing = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while self._tasks and loop.time() < deadline:
            await asyncio.wait(self._tasks, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def execute(
        self,
        decisions: Iterable[TradeDecision],
        rules: Mapping[str, TradingRules],
        basis: Basis,
        increase_max: Mapping[str, Decimal] = MappingProxyType({}),
    ) -> None:
        """Journal and send what has been decided from these inputs; comes back once it is journaled.

        ``increase_max`` is the operator's limit on the quantity of one order that adds exposure, by symbol.
        """
        self._basis, self._rules = basis, rules
        drafts = build_drafts(decisions, rules, self.backoff.group_max, increase_max)
        for draft in drafts:
            if draft.action is Action.REDUCE:
                self._busy |= set(draft.keys)
                self._spawn(self._reduce(draft), set(draft.keys))
        increases = [*self.backoff.choose_increases(draft for draft in drafts if draft.action is Action.INCREASE)]
        if increases:
            # What is on its way is no news for the planner, whose next pass would keep it from leaving.
            await asyncio.shield(self._spawn(self._place(increases), wakes=False))

    def resume(self) -> Sequence[asyncio.Task[None]]:
        """After a restart: one task for every order in flight, that asks and never sends."""
        return [self._spawn(self._resolver.resolve(order)) for order in self._ledger.book.in_flight.values()]

    def _spawn(
        self, work: Coroutine[None, None, None], keys: set[HedgeKey] | None = None, *, wakes: bool = True
    ) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)

        def end(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._busy -= keys or set()
            if wakes:
                self._wake()
            error = None if done.cancelled() else done.exception()
            if error is not None and self._failed is not None and not self._failed.done():
                self._failed.set_exception(error)

        task.add_done_callback(end)
        return task

    async def _place(self, drafts: Sequence[OrderDraft], *, reduce_only: bool = False) -> None:
        """Journal the orders that the exchange's limits have room for, then send each once."""
        is_reduce = drafts[0].action is Action.REDUCE
        fitting = [
            draft
            for number, draft in enumerate(drafts, start=1)
            if self._connector.check_order_capacity(number, is_reduce=is_reduce)
        ]
        for draft in drafts[len(fitting) :]:
            self._settlement.back_off(draft.shares, draft.action)
        wanted: list[OrderIntended] = []

        def prepare(sequence: int) -> Sequence[Event]:
            wanted[:] = self._intend(fitting, sequence, reduce_only=reduce_only)
            return wanted

        recorded = await self._ledger.record_prepared(prepare)
        for intent in wanted:
            if intent in recorded:
                self._spawn(self._send(self._ledger.book.in_flight[intent.request.client_order_id], intent.fresh_until))
        refused = [intent for intent in wanted if intent not in recorded]
        if refused:
            await self._place_sound(refused, reduce_only=reduce_only)

    async def _place_sound(self, refused: Sequence[OrderIntended], *, reduce_only: bool) -> None:
        """Orders that would have broken a law go without the hedges for whose sake they were refused."""
        drafts = []
        for intent in refused:
            broken_keys = self._ledger.guardian.get_refused_keys(intent)
            self._settlement.back_off([share for share in intent.shares if share.key in broken_keys], intent.action)
            sound = tuple(share for share in intent.shares if share.key not in broken_keys)
            if sound:
                drafts.append(OrderDraft(intent.request.symbol, intent.hedge_side, intent.action, sound))
        if drafts:
            await self._place(drafts, reduce_only=reduce_only)

    def _intend(self, drafts: Sequence[OrderDraft], sequence: int, *, reduce_only: bool) -> list[OrderIntended]:
        """The intents of what is still wanted, now that nothing else can change the book in between."""
        intents: list[OrderIntended] = []
        now = self._clock.time()  # Read once: an input must not come of age between the look at it and the intent.
        for draft in [] if self._is_finishing else drafts:
            kept = tuple(share for share in draft.shares if self._check_still_wanted(share, draft, now))
            if kept:
                final = replace(draft, shares=kept)
                request = self._build_request(final, sequence + len(intents), reduce_only=reduce_only)
                intents.append(
                    OrderIntended(
                        request, draft.hedge_side, draft.action, kept, now, self._basis.block_number,
                        self._get_fresh_until(final), self._get_mark(draft.symbol),
                    )
                )  # fmt: skip
        return intents

    def _get_fresh_until(self, draft: OrderDraft) -> float | None:
        """When the inputs of an increase are too old for it; nothing holds a reduction."""
        if draft.action is Action.REDUCE:
            return None
        return min(self._basis.get_fresh_until(key.market) for key in draft.keys)

    def _get_mark(self, symbol: str) -> Decimal | None:
        """The newest mark, however old: what an order is worth by it is an estimate, for the accounts and the limits."""
        mark = self._connector.get_mark_prices().get(symbol)
        return mark.price if mark is not None and mark.price > 0 else None

    def _check_still_wanted(self, share: Share, draft: OrderDraft, now: float) -> bool:
        """False when the hedge, the inputs' age or the kill switch changed after the decision: the planner decides anew."""
        book = self._ledger.book
        hedge = book.get_hedged_position(share.key)
        if not check_mode_allows(book, draft.action, is_open=hedge is None):
            return False
        if draft.action is Action.REDUCE:
            is_held = hedge is not None and hedge.status is HedgeStatus.OPEN and hedge.quantity >= share.quantity
            return is_held and not self._check_called_off(share)
        if now > self._basis.get_fresh_until(share.key.market):
            return False
        return hedge is None or (
            hedge.status is HedgeStatus.OPEN
            and hedge.side is draft.hedge_side
            and hedge.quantity + share.quantity <= share.target
        )

    def _check_called_off(self, share: Share) -> bool:
        """True for a close that only an operator wanted, who resumed meanwhile."""
        return share.reason == Reason.FLATTENED and not self._ledger.book.is_flattening

    def _build_request(self, draft: OrderDraft, sequence: int, *, reduce_only: bool) -> OrderRequest:
        hedge_mode = self._connector.hedge_mode
        return OrderRequest(
            client_order_id=client_order_id(self._ledger.journal.deployment, draft.action, draft.shares, sequence),
            symbol=draft.symbol,
            side=draft.order_side,
            leg=get_leg(draft.hedge_side, hedge_mode=hedge_mode),
            quantity=draft.quantity,
            reduce_only=reduce_only and not hedge_mode,
        )

    async def _send(self, order: InFlightOrder, fresh_until: float | None) -> None:
        """Send once, and see the order to its end. What changed while it was being journaled may hold it back."""
        request = order.request
        obstacle = self._find_obstacle(order, fresh_until)
        if obstacle is not None:
            await self._settlement.abandon(order, VenueUnavailable(f"not sent: {obstacle}"))
            return
        log.info(
            "order_sent", symbol=request.symbol, side=request.side.value, quantity=str(request.quantity),
            action=order.action.value, hedges=len(order.shares), client_order_id=request.client_order_id,
            reduce_only=request.reduce_only,
        )  # fmt: skip
        try:
            with metrics.ORDER_SECONDS.time():
                report = await self._connector.place_order(request)
        except OutcomeUnknown as error:
            log.warning("order_outcome_unknown", client_order_id=request.client_order_id, error=str(error))
            await self._resolver.resolve(order)
        except OrderRejected as error:
            if isinstance(error, OrderTooLarge) and order.action is Action.INCREASE:
                await self._settlement.refuse_size(order, error)
            else:
                await self._settlement.refuse(order, str(error))
        except (RateLimited, VenueUnavailable, AuthenticationFailed) as error:
            await self._settlement.abandon(order, error)
        else:
            await self._settlement.settle(order, report)
            if not report.status.is_terminal:
                await self._resolver.resolve(order)

    def _find_obstacle(self, order: InFlightOrder, fresh_until: float | None) -> str | None:
        """Why an order that is journaled must not be sent, if it must not."""
        book = self._ledger.book
        hedges = [book.get_hedged_position(share.key) for share in order.shares]
        is_open = any(hedge is None or hedge.status is HedgeStatus.OPENING for hedge in hedges)
        if (is_open and self._ledger.guardian.is_stopping) or not check_mode_allows(book, order.action, is_open=is_open):
            return "the kill switch was turned"
        if any(self._check_called_off(share) for share in order.shares):
            return "the flattening was ended"
        if fresh_until is not None and self._clock.time() > fresh_until:
            return "what it was decided from is too old by now"
        return None

    def _check_stuck(self, draft: OrderDraft) -> bool:
        """True for what the exchange takes no plain order for, while a hedge of the other side is wanted in its place."""
        rules, mark = self._rules.get(draft.symbol), self._get_mark(draft.symbol)
        is_turning = all(share.reason == Reason.SIDE_CHANGED for share in draft.shares)
        return is_turning and rules is not None and mark is not None and not check_large_enough(draft.quantity, mark, rules)

    async def _settle_collected(self, order: InFlightOrder) -> None:
        while (report := self._settlement.take_collected(order)) is not None:
            await self._settlement.settle(order, report)

    async def _reduce(self, draft: OrderDraft) -> None:
        """Hold a close against the account, then send what is there to be closed."""
        try:
            leg_audit = await self._auditor.examine(draft.symbol, draft.hedge_side)
        except ConnectorError as error:
            log.warning("close_delayed", symbol=draft.symbol, error=str(error))
            self._settlement.back_off(draft.shares, draft.action, error)
            return
        shortfall = leg_audit.get_shortfall(draft.hedge_side)
        reduces = leg_audit.check_reduces(draft.hedge_side, draft.quantity)
        # What our own orders may still explain is no shortfall yet, and a close that only reduces can do no harm.
        if shortfall == leg_audit.uncertain == 0 and not reduces and self._check_stuck(draft):
            await self._ledger.record_prepared(lambda _: build_leavings(self._ledger.book, draft, leg_audit.leg))
        elif shortfall == 0 or (reduces and shortfall <= leg_audit.uncertain):
            await self._place([draft], reduce_only=reduces)
        elif leg_audit.uncertain == 0 and self._auditor.check_confirmed(leg_audit):
            await self._ledger.record_prepared(lambda _: build_write_downs(self._ledger.book, draft.shares, shortfall))
            self._auditor.request()
        else:
            self._settlement.back_off(draft.shares, draft.action)
