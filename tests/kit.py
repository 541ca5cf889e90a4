"""The engine without sockets: the real book, ledger, executor, auditor, reconciler on the exchange stand-in's own ledger.

Time is the event loop's, virtual where a test asks for it. What the network would do to a request is scripted by
``Venue.script``: each word is what becomes of the next order.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

from dehedge.account import AccountWatch
from dehedge.alarm import Alarm
from dehedge.auditor import Auditor
from dehedge.bookkeeper import Bookkeeper
from dehedge.core.book import HedgeBook
from dehedge.core.events import Event
from dehedge.core.guards import GuardLimits
from dehedge.core.model import ChainSnapshot, HedgeKey, Leg, Market, Position, PriceTick, Side, TradingRules
from dehedge.core.orders import ClientOrderId, OrderReport, OrderRequest, OrderStatus
from dehedge.core.policy import HedgingPolicy
from dehedge.core.risk import RiskFactors
from dehedge.core.sizing import Sizing
from dehedge.errors import (
    ConnectorError,
    JournalError,
    OrderRejected,
    OrderTooLarge,
    OutcomeUnknown,
    RateLimited,
    VenueUnavailable,
)
from dehedge.executor import Executor
from dehedge.feed import PriceFeed
from dehedge.guardian import Guardian
from dehedge.guards import Guards
from dehedge.ledger import Ledger
from dehedge.ports import (
    Balance,
    JournalEntry,
    MarkPrice,
    OrderBook,
    Traffic,
    VenueFunding,
    VenueOrder,
    VenuePosition,
    VenueTrade,
)
from dehedge.reconciler import Reconciler
from dehedge.records import Records
from dehedge.recovery import recover, replay
from dehedge.settlement import Settlement
from dehedge.sim.exchange import BTCUSDT, ETHUSDT, Ask, Refused
from dehedge.sim.exchange import Ledger as SimLedger
from dehedge.sim.exchange import Order as SimOrder
from dehedge.sim.exchange.account import Account
from dehedge.sim.exchange.forced import pay_funding
from dehedge.sim.exchange.market import Market as SimMarket
from dehedge.sim.exchange.model import Position as SimPosition
from dehedge.snapshots import SnapshotFeed
from dehedge.venue import Venue as VenueSetup

USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"
EPOCH = 1_790_000_000.0
SYMBOLS = {"BTC-USD": "BTCUSDT", "ETH-USD": "ETHUSDT"}
MARKS = {BTCUSDT: Decimal(60_000), ETHUSDT: Decimal(3_000)}
WINDOW_S = 5.0


class LoopClock:
    """Wall time that runs with the loop's."""

    def time(self) -> float:
        return EPOCH + asyncio.get_running_loop().time()


class MemoryJournal:
    """A journal that survives its daemon and can be told to fail; every append yields to the loop once."""

    def __init__(self) -> None:
        self.deployment = "abc123"
        self.entries: list[JournalEntry] = []
        self.fails = False
        self.append_s = 0.0

    @property
    def last_sequence(self) -> int:
        return len(self.entries)

    async def append(self, at: float, events: Sequence[Event]) -> None:
        await asyncio.sleep(self.append_s)
        if self.fails:
            raise JournalError("the disk is full")
        for event in events:
            self.entries.append(JournalEntry(len(self.entries) + 1, at, event))

    def read(self) -> Sequence[JournalEntry]:
        return list(self.entries)

    def close(self) -> None:
        pass


class Venue:
    """``ports.Connector`` on the stand-in's ledger, in process. The account outlives the daemon."""

    name = "ledger"
    unknown_window_s = WINDOW_S

    def __init__(self, *, hedge_mode: bool = False, balance: Decimal = Decimal(1_000_000)) -> None:
        self.hedge_mode = hedge_mode
        self.script: deque[str] = deque()
        self.sent: list[OrderRequest] = []
        self.hidden_s = 20.0
        self.hidden_until: dict[str, float] = {}
        self.is_down = False
        self.capacity = 10_000
        self.position_reads = 0
        self.balance_reads = 0
        self.traffic = Traffic()
        self.trade_reads = 0
        self.funding_reads = 0
        self.funding_error: ConnectorError | None = None
        account = Account(
            opening_balance=balance, maker_rate=Decimal("0.0002"), taker_rate=Decimal("0.0005"),
            dual_side=hedge_mode, multi_assets=False,
        )  # fmt: skip
        self.ledger = SimLedger(
            {rules.symbol: SimMarket(rules, mark) for rules, mark in MARKS.items()},
            account, lambda: int(LoopClock().time() * 1000), random.Random(0),
        )  # fmt: skip

    def net(self, symbol: str) -> Decimal:
        return self.ledger.account.get_net(symbol)

    def set_mark(self, symbol: str, price: Decimal) -> None:
        self.ledger.set_mark(symbol, price)

    def trade_by_hand(self, symbol: str, side: str, quantity: str, leg: Leg = Leg.BOTH) -> None:
        self.ledger.place(Ask(symbol, side, Decimal(quantity), leg=leg.value, client_id=self.ledger.build_client_id("web_")))

    def force(self, symbol: str, quantity: str, prefix: str = "autoclose-", leg: Leg = Leg.BOTH) -> None:
        """An order of the exchange's own that takes a part of a position."""
        position = self.ledger.account.get_position(symbol, leg.value)
        side = "SELL" if position.amount > 0 else "BUY"
        client_id = self.ledger.build_client_id(prefix)
        self.ledger.place(Ask(symbol, side, Decimal(quantity), leg=leg.value, client_id=client_id))

    async def place_order(self, request: OrderRequest) -> OrderReport:
        self.sent.append(request)
        await asyncio.sleep(0.01)
        fate = self.script.popleft() if self.script else "fills"
        if self.is_down or fate == "not_sent":
            raise VenueUnavailable("connection refused")
        if fate == "limited":
            raise RateLimited("too many requests", retry_after_s=4)
        if fate == "never":
            raise OutcomeUnknown("no answer")
        if fate == "refused":
            raise OrderTooLarge("Margin is insufficient.", code=-2019)
        order = self._execute(request, fill_ratio=Decimal("0.4") if fate.startswith("partial") else None)
        if fate == "hidden":
            self.hidden_until[request.client_order_id] = LoopClock().time() + self.hidden_s
        if fate.endswith(("lost", "hidden")):
            raise OutcomeUnknown("no answer")
        if fate == "hangs":
            await asyncio.Event().wait()
        return self._report(order, price=None)

    def _execute(self, request: OrderRequest, *, fill_ratio: Decimal | None) -> SimOrder:
        ask = Ask(
            request.symbol, request.side.value, request.quantity, leg=request.leg.value,
            reduce_only=request.reduce_only, client_id=request.client_order_id,
        )  # fmt: skip
        try:
            return self.ledger.place(ask, fill_ratio=fill_ratio)
        except Refused as error:
            kind = OrderTooLarge if error.code in (-2019, -2027) else OrderRejected
            raise kind(str(error), code=error.code) from error

    def _report(self, order: SimOrder, *, price: Decimal | None) -> OrderReport:
        return OrderReport(
            ClientOrderId(order.client_id), OrderStatus(order.status), order.executed, price, str(order.order_id)
        )

    def _find_visible(self, symbol: str) -> list[SimOrder]:
        now = LoopClock().time()
        return [
            order
            for order in self.ledger.orders.by_id.values()
            if order.symbol == symbol and self.hidden_until.get(order.client_id, 0) <= now
        ]

    async def fetch_order(self, symbol: str, client_order_id: str) -> OrderReport | None:
        await self._reach()
        found = [order for order in self._find_visible(symbol) if order.client_id == client_order_id]
        return self._report(found[-1], price=self._get_price(found[-1])) if found else None

    def _get_price(self, order: SimOrder) -> Decimal | None:
        return order.quote / order.executed if order.executed else None

    async def fetch_order_history(self, symbol: str, since_s: float) -> Sequence[VenueOrder]:
        await self._reach()
        return [
            VenueOrder(
                symbol, Side(order.side), Leg(order.leg), self._report(order, price=self._get_price(order)),
                order.updated_ms / 1000,
            )
            for order in self._find_visible(symbol)
            if order.created_ms >= since_s * 1000
        ]  # fmt: skip

    async def fetch_positions(self) -> Sequence[VenuePosition]:
        self.position_reads += 1
        await self._reach()
        return [
            VenuePosition(p.symbol, Leg(p.leg), p.amount, p.entry_price, self._get_liquidation_price(p))
            for p in self.ledger.account.get_open_positions()
        ]

    def _get_liquidation_price(self, position: SimPosition) -> Decimal | None:
        return self.ledger.margin.compute_liquidation_price(position) or None

    async def _reach(self) -> None:
        await asyncio.sleep(0.01)
        if self.is_down:
            raise VenueUnavailable("connection refused")

    async def connect(self, symbols: Sequence[str]) -> None:
        await self._reach()

    async def prepare_symbol(self, symbol: str) -> None:
        await self._reach()

    async def run(self, sink: object) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        pass

    async def fetch_trading_rules(self) -> Mapping[str, TradingRules]:
        await self._reach()
        return RULES

    async def fetch_mark_prices(self, symbols: Sequence[str]) -> Mapping[str, MarkPrice]:
        return self.get_mark_prices()

    def get_mark_prices(self) -> Mapping[str, MarkPrice]:
        now = LoopClock().time()
        return {name: MarkPrice(name, market.mark, now) for name, market in self.ledger.markets.items()}

    def get_traffic(self) -> Traffic:
        return self.traffic

    async def fetch_order_book(self, symbol: str, depth: int) -> OrderBook:
        return OrderBook(symbol, (), ())

    async def fetch_trade_history(self, symbol: str, since_s: float) -> Sequence[VenueTrade]:
        self.trade_reads += 1
        await self._reach()
        return [
            VenueTrade(
                symbol, Side(fill.side), Leg(fill.leg), str(fill.order_id), fill.price, fill.quantity, fill.commission,
                "USDT", fill.realized, fill.at_ms / 1000,
            )
            for fill in self.ledger.fills
            if fill.symbol == symbol and fill.at_ms >= since_s * 1000
        ]  # fmt: skip

    async def fetch_funding(self, since_s: float) -> Sequence[VenueFunding]:
        self.funding_reads += 1
        await self._reach()
        if self.funding_error is not None:
            raise self.funding_error
        return [
            VenueFunding(income.symbol, income.amount, "USDT", income.at_ms / 1000, str(income.tran_id))
            for income in self.ledger.account.incomes
            if income.kind == "FUNDING_FEE" and income.at_ms >= since_s * 1000
        ]

    def pay_funding(self, symbol: str, rate: str) -> None:
        pay_funding(self.ledger, symbol, Decimal(rate))

    async def fetch_balances(self) -> Sequence[Balance]:
        self.balance_reads += 1
        await self._reach()
        totals = self.ledger.margin.compute_totals()
        return [Balance("USDT", totals.wallet, totals.available)]

    async def modify_order(self, symbol: str, client_order_id: str, quantity: Decimal, price: Decimal) -> OrderReport:
        raise OrderRejected("market orders rest nowhere")

    async def cancel_order(self, symbol: str, client_order_id: str) -> OrderReport:
        raise OrderRejected("market orders rest nowhere")

    def check_order_capacity(self, orders: int, *, is_reduce: bool) -> bool:
        return orders <= self.capacity

    def format_quantity(self, symbol: str, quantity: Decimal) -> str:
        return f"{quantity:f}"

    def format_price(self, symbol: str, price: Decimal) -> str:
        return f"{price:f}"


RULES = {
    symbol: TradingRules(symbol, Decimal("0.001"), Decimal("0.001"), Decimal(120), Decimal(50), Decimal("0.1"))
    for symbol in SYMBOLS.values()
}
FEEDS = {"BTC-USD": "aa" * 32, "ETH-USD": "bb" * 32}


def a_policy(**changes: object) -> HedgingPolicy:
    values: dict[str, object] = {
        "factors": RiskFactors(Fraction(1), Fraction(1), Fraction(2, 5), 10_000),
        "sizing": Sizing.NOTIONAL,
        "asset": USDC,
        "symbols": SYMBOLS,
        "leverage": 20,
        "size_min": 1_000 * 10**6,
        "expiry_s": 60.0,
        "max_price_age_s": 10.0,
        "max_snapshot_age_s": 30.0,
    }
    return HedgingPolicy(**{**values, **changes})  # type: ignore[arg-type]


def a_position(
    user: int = 1, *, market: str = "BTC-USD", is_long: bool = True, size_usd: int = 10_000, entry: int = 57_000
) -> Position:
    """At the default marks a long from 57,000 is up by 526 USDC: at risk with the default shield of 20."""
    return Position(
        f"0x{user:040x}", USDC, market, is_long, size_usd * 10**6, size_usd * 10**5, 0, entry * 10**18, 1_700_000_000
    )


@dataclass
class World:
    """What the chain and the price service say; survives the daemon."""

    venue: Venue = field(default_factory=Venue)
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    positions: dict[HedgeKey, Position] = field(default_factory=dict)
    prices: dict[str, int] = field(default_factory=lambda: {"BTC-USD": 60_000, "ETH-USD": 3_000})
    block: int = 100

    def put(self, *positions: Position) -> None:
        self.positions.update({position.key: position for position in positions})

    def remove(self, position: Position) -> None:
        del self.positions[position.key]

    def build_snapshot(self, block_time: int, **changes: object) -> ChainSnapshot:
        """The chain at its newest block, as the only node tells it."""
        markets = {name: Market(name, feed, 0) for name, feed in FEEDS.items()}
        snapshot = ChainSnapshot(
            self.block, f"0x{self.block:064x}", block_time, 100_000 * 10**6, 20 * 10**6, dict(self.positions),
            {(USDC, name): 0 for name in FEEDS}, markets, "https://first",
        )  # fmt: skip
        return replace(snapshot, **changes)  # type: ignore[arg-type]

    def set_price(self, market: str, price: int) -> None:
        self.prices[market] = price
        self.venue.set_mark(SYMBOLS[market], Decimal(price))


class Engine:
    """One life of the daemon's inner parts; ``die`` is kill -9."""

    def __init__(
        self, world: World, policy: HedgingPolicy | None = None, limits: GuardLimits | None = None
    ) -> None:
        limits = limits or GuardLimits()
        self.world = world
        self.clock = LoopClock()
        self.alarm = Alarm()
        self.policy = policy or a_policy()
        self.prices = PriceFeed(self.alarm.note_price)
        self.venue = VenueSetup(world.venue, self.policy.symbols, self.clock)
        self.guardian = Guardian(get_rules=lambda: self.venue.rules, wake=self.alarm.note_change)
        records = Records()
        book = replay(world.journal, self.clock, records)
        self.ledger = Ledger(world.journal, book, self.clock, self.guardian, records=records)
        self.snapshots = SnapshotFeed(
            self.alarm.note_change, ledger=self.ledger, clock=self.clock, policy=self.policy,
            get_prices=lambda: self.prices.latest,
        )
        settlement = Settlement(self.ledger)
        self.auditor = Auditor(
            ledger=self.ledger, connector=world.venue, settlement=settlement, clock=self.clock,
            get_symbols=lambda: self.venue.tradable,
        )  # fmt: skip
        self.executor = Executor(
            ledger=self.ledger, connector=world.venue, auditor=self.auditor, settlement=settlement, clock=self.clock,
            wake=self.alarm.note_change,
        )  # fmt: skip
        self.bookkeeper = Bookkeeper(
            ledger=self.ledger, connector=world.venue, clock=self.clock, check_busy=self.executor.check_trading
        )
        self.account = AccountWatch(
            limits=limits, ledger=self.ledger, connector=world.venue, clock=self.clock
        )
        self.guards = Guards(limits=limits, policy=self.policy, ledger=self.ledger, account=self.account)
        self.reconciler = Reconciler(
            policy=self.policy, snapshots=self.snapshots, prices=self.prices, venue=self.venue, ledger=self.ledger,
            auditor=self.auditor, executor=self.executor, guards=self.guards, clock=self.clock, alarm=self.alarm,
        )  # fmt: skip
        self.tasks: list[asyncio.Task[None]] = []
        self.may_break_laws = False

    @property
    def book(self) -> HedgeBook:
        return self.ledger.book

    def held(self, position: Position) -> Decimal:
        hedge = self.book.get_hedged_position(position.key)
        return hedge.signed_quantity if hedge is not None else Decimal(0)

    async def start(self) -> None:
        self.feed()
        await self.venue.connect()
        self.tasks.append(asyncio.ensure_future(self.executor.run()))
        await asyncio.sleep(0)
        await recover(self.executor, self.auditor)
        self.tasks += [asyncio.ensure_future(self.auditor.run()), asyncio.ensure_future(self._feed_for_ever())]
        self.tasks.append(asyncio.ensure_future(self.venue.run_marks(self.alarm.note_change)))
        self.tasks.append(asyncio.ensure_future(self.account.run(self.alarm.note_change)))
        self.tasks.append(asyncio.ensure_future(self.bookkeeper.run()))
        self.tasks.append(asyncio.ensure_future(self.reconciler.run()))

    def feed(self) -> None:
        """A fresh block and fresh prices."""
        self.world.block += 1
        self.snapshots.put(self.world.build_snapshot(int(self.clock.time())))
        self.feed_prices()

    def feed_prices(self) -> None:
        now = int(self.clock.time())
        self.prices.put([PriceTick(name, price * 10**18, 0, now) for name, price in self.world.prices.items()])

    async def _feed_for_ever(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self.feed()

    async def run_for(self, seconds: float) -> None:
        """Let virtual time pass; any part that failed, and any broken law, fails the test here."""
        await asyncio.sleep(seconds)
        for task in self.tasks:
            if task.done():
                task.result()
        if not self.may_break_laws:
            self.guardian.sweep(self.book)
            assert self.guardian.told == {}

    async def die(self) -> None:
        """End at once, wherever every part is; only journal and exchange remain."""
        for task in [*self.tasks, *self.executor._tasks]:
            task.cancel()
        await asyncio.gather(*self.tasks, *self.executor._tasks, return_exceptions=True)
