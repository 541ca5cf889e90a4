"""The way of orders in a replay: intended, on their way, filled or refused, and folded into the book.

Does what the executor and its settlement do, without a journal and without waiting: the facts are the daemon's own, folded by
the core, and what was refused waits by the daemon's own backoff. Time passes here, event by event. Driven by the engine; never
decides what is hedged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import count

from dehedge.backoff import Backoff
from dehedge.core.batching import OrderDraft
from dehedge.core.book import HedgeBook
from dehedge.core.events import (
    Change,
    Event,
    HedgeChange,
    HedgesForced,
    OrderAbandoned,
    OrderIntended,
    OrderReported,
    fold,
)
from dehedge.core.model import HedgeKey, Leg, Observation, TradingRules
from dehedge.core.netting import Holding
from dehedge.core.orders import Action, OrderReport, OrderRequest, OrderStatus, client_order_id
from dehedge.core.usage import Usage
from dehedge.errors import ConnectorError, OrderTooLarge, VenueUnavailable
from dehedge.replay.exchange import Exchange, Fill, get_side
from dehedge.replay.model import Costs, FundingRate, Trade
from dehedge.replay.path import SECOND_US, Path
from dehedge.replay.story import NEVER_US
from dehedge.replay.view import UNIT

DEPLOYMENT = "replay"
KINDS = {Change.OPENED: "open", Change.RESIZED: "resize", Change.CLOSED: "close"}
ZERO = Decimal(0)


class Desk:
    """The book, the account, and what is on its way between them."""

    def __init__(
        self,
        path: Path,
        costs: Costs,
        symbols: Sequence[str],
        rules: Mapping[str, TradingRules],
        funding: Mapping[str, Sequence[FundingRate]],
    ) -> None:
        """``symbols`` are in the order of the path's markets."""
        self.now_us = int(path.axis.start_us[0])
        self.book = HedgeBook()
        self.usage = Usage()
        self.exchange = Exchange(costs)
        self.backoff = Backoff(lambda: self.now_us / SECOND_US)
        self.trades: list[Trade] = []
        self.opens_refused = 0
        self.orders = 0
        """How many were sent; one may be for many hedges."""
        self._held_back = frozenset[HedgeKey]()
        self.touched: set[HedgeKey] = set()
        """Hedges that have changed since somebody looked."""
        self.wanting: set[HedgeKey] = set()
        self.facts = 0
        """How many were folded: while they are the same, so is the book's size of everything."""
        self.unhedged_us = 0
        self._path = path
        self._rules = rules
        self._symbols = {symbol: place for place, symbol in enumerate(symbols)}
        self._latency_us = round((costs.latency_s + costs.exchange_latency_s) * SECOND_US)
        self._arrivals: deque[tuple[int, OrderIntended]] = deque()
        self._fundings = deque(_list_fundings(path.axis.markets, symbols, funding, self.now_us))
        self._sequence = count()

    @property
    def is_idle(self) -> bool:
        return not self._arrivals

    @property
    def settled_until_s(self) -> float:
        """From when on intended orders may not be part of the account yet."""
        since_us = self._arrivals[0][0] - self._latency_us if self._arrivals else self.now_us
        return since_us / SECOND_US

    @property
    def next_funding_us(self) -> int:
        """When the account pays or receives next; never while it holds nothing."""
        return self._fundings[0][0] if self._fundings and self.exchange.holdings else NEVER_US

    def pass_time(self, until_us: int) -> None:
        """Everything that happens by itself until then, in its order."""
        while True:
            arrival_us = self._arrivals[0][0] if self._arrivals else NEVER_US
            funding_us = self._fundings[0][0] if self._fundings else NEVER_US
            if min(arrival_us, funding_us) > until_us:
                break
            self._tick(min(arrival_us, funding_us))
            if funding_us <= arrival_us:
                self._fund()
            else:
                self._arrive(self._arrivals.popleft()[1])
        self._tick(until_us)

    def _tick(self, at_us: int) -> None:
        if self.wanting:
            self.unhedged_us += at_us - self.now_us
        self.now_us = at_us

    def _fund(self) -> None:
        at_us, symbol, rate = self._fundings.popleft()
        self.exchange.pay_funding(symbol, rate, self._get_mid(symbol), at_us)

    def _get_mid(self, symbol: str) -> Decimal:
        return self._path.get_price_at(self._symbols[symbol], self.now_us) * UNIT

    def fold(self, event: Event) -> list[HedgeChange]:
        """A fact of now."""
        self.facts += 1
        changes = fold(self.book, event)
        self.touched.update(change.key for change in changes)
        self.usage.note(self.now_us / SECOND_US, event, changes)
        return changes

    def order(self, drafts: Iterable[OrderDraft], observation: Observation) -> None:
        """Send them, as the executor does: what reduces in any case, what grows as far as an exhausted symbol is probed."""
        drafts = [*drafts]
        reductions = [draft for draft in drafts if draft.action is Action.REDUCE]
        increases = self.backoff.choose_increases(draft for draft in drafts if draft.action is Action.INCREASE)
        for draft in [*reductions, *increases]:
            self._intend(draft, observation)

    def _intend(self, draft: OrderDraft, observation: Observation) -> None:
        name = client_order_id(DEPLOYMENT, draft.action, draft.shares, next(self._sequence))
        request = OrderRequest(
            name, draft.symbol, draft.order_side, Leg.BOTH, draft.quantity, self._check_reduces(draft)
        )  # fmt: skip
        event = OrderIntended(
            request, draft.hedge_side, draft.action, draft.shares, observation.taken_at,
            observation.snapshot.block_number, mark=observation.marks[draft.symbol],
        )  # fmt: skip
        self.fold(event)
        self.orders += 1
        self._arrivals.append((self.now_us + self._latency_us, event))

    def _check_reduces(self, draft: OrderDraft) -> bool:
        """True for what only reduces the account's net position; opposite hedges of a symbol net out."""
        holding = self.exchange.holdings.get(draft.symbol, Holding())
        is_enough = holding.quantity * draft.hedge_side.sign >= draft.quantity
        return draft.action is Action.REDUCE and is_enough

    def _arrive(self, event: OrderIntended) -> None:
        """The exchange has the order."""
        marks = {symbol: self._get_mid(symbol) for symbol in self._symbols}
        symbol = event.request.symbol
        try:
            fill = self.exchange.execute(event.request, self._rules[symbol], marks, self.now_us)
        except ConnectorError as error:
            self._refuse(event, error)
            return
        keys = [share.key for share in event.shares]
        self.backoff.clear(symbol, keys, event.action)
        report = OrderReport(
            event.request.client_order_id, OrderStatus.FILLED, abs(fill.quantity), fill.price
        )  # fmt: skip
        changes = self.fold(OrderReported(report, self.now_us / SECOND_US))
        decided = {share.key: share.price for share in event.shares}
        self._note_trades(fill, changes, decided)
        self.wanting.difference_update(keys)
        if abs(fill.quantity) < event.request.quantity:
            self.backoff.fail(keys, event.action)

    def _note_trades(
        self, fill: Fill, changes: Iterable[HedgeChange], decided: Mapping[HedgeKey, Decimal | None]
    ) -> None:
        for change in changes:
            if change.quantity:
                kind = KINDS.get(change.kind, "resize" if change.held else "close")
                fee = fill.fee * change.quantity / abs(fill.quantity)
                seen = decided.get(change.key) or fill.mid
                self.trades.append(
                    Trade(
                        fill.at_us / SECOND_US, change.key.market, kind, get_side(fill.quantity), change.quantity,
                        fill.price, seen, fee, change.reason,
                    )
                )  # fmt: skip

    def _refuse(self, event: OrderIntended, error: ConnectorError) -> None:
        """It was not executed: its hedges are free, and left alone for a while."""
        keys = [share.key for share in event.shares]
        if isinstance(error, OrderTooLarge) and event.action is Action.INCREASE:
            self.backoff.refuse_size(event.request.symbol, keys)
        else:
            self.backoff.fail(keys, event.action)
        changes = self.fold(OrderAbandoned(event.request.client_order_id, str(error)))
        if event.action is Action.INCREASE and not isinstance(error, VenueUnavailable):
            self.opens_refused += sum(not change.held for change in changes)

    def note_held_back(self, keys: Iterable[HedgeKey]) -> None:
        """Whose opens a limit holds in this pass: one that is held from pass to pass is refused once."""
        held_back = frozenset(keys)
        self.opens_refused += len(held_back - self._held_back)
        self._held_back = held_back

    def liquidate(self, marks: Mapping[str, Decimal]) -> None:
        """Where the account is worth too little, the exchange closes what it holds."""
        for fill in self.exchange.liquidate(marks, self.now_us):
            amount = abs(fill.quantity)
            changes = self.fold(
                HedgesForced(
                    f"forced-{fill.symbol}-{self.exchange.liquidations}", fill.symbol, Leg.BOTH, get_side(fill.quantity), amount,
                    amount, "liquidated",
                )
            )  # fmt: skip
            self._note_trades(fill, changes, {})


def _list_fundings(
    markets: Sequence[str], symbols: Sequence[str], funding: Mapping[str, Sequence[FundingRate]], since_us: int
) -> list[tuple[int, str, Decimal]]:
    """Time, symbol and rate, in order."""
    return sorted(
        (each.at_s * SECOND_US, symbol, each.rate)
        for market, symbol in zip(markets, symbols, strict=True)
        for each in funding.get(market, ())
        if each.at_s * SECOND_US >= since_us
    )
