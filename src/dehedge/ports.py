"""The seams between the daemon and the world, as Protocols.

The daemon, the executor and the reconciler know these and nothing behind them; adapters and connectors implement them
and translate every third-party exception into ``dehedge.errors``. All methods that reach out are ``async`` and are
bounded in time by their implementation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, runtime_checkable

from dehedge.core.decisions import Decision
from dehedge.core.events import Event
from dehedge.core.model import ChainSnapshot, Leg, Market, PriceTick, Side, TradingRules
from dehedge.core.orders import OrderReport, OrderRequest
from dehedge.core.passes import PassView


class Clock(Protocol):
    """Wall-clock seconds since the epoch. Waiting is asyncio's, so that a test may bring its own loop."""

    def time(self) -> float: ...


class ChainSource(Protocol):
    """Reads the chain. Raises ``ChainUnavailable`` when no complete snapshot can be had."""

    async def fetch_snapshot(self, *, avoid: str | None = None) -> ChainSnapshot:
        """Of another node than ``avoid``, which names its host, wherever another one answers."""

    async def close(self) -> None: ...


class PriceSink(Protocol):
    """Where a price source puts what it learns; every call is synchronous and cheap."""

    def put(self, ticks: Sequence[PriceTick]) -> None: ...

    def fail(self, error: Exception) -> None: ...


class PriceSource(Protocol):
    """Streams or polls prices into a sink for the markets it was last given, until canceled."""

    def watch(self, markets: Mapping[str, Market]) -> None: ...

    async def run(self, sink: PriceSink) -> None: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """A position as the exchange holds it: ``quantity`` is signed, negative for a short."""

    symbol: str
    leg: Leg
    quantity: Decimal
    entry_price: Decimal
    liquidation_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """One order from the exchange's history or its event stream, ours or anybody's. Times in seconds."""

    symbol: str
    side: Side
    leg: Leg
    report: OrderReport
    updated_at: float


@dataclass(frozen=True, slots=True)
class VenueTrade:
    """One fill from the exchange's history."""

    symbol: str
    side: Side
    leg: Leg
    venue_order_id: str
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: str
    realized_profit: Decimal
    traded_at: float


@dataclass(frozen=True, slots=True)
class VenueFunding:
    """One booking of funding for a symbol; below 0 it was paid. ``venue_id`` names it among the symbol's."""

    symbol: str
    amount: Decimal
    asset: str
    paid_at: float
    venue_id: str


@dataclass(frozen=True, slots=True)
class Balance:
    """One asset of the futures account; ``available`` can be used as margin."""

    asset: str
    total: Decimal
    available: Decimal


@dataclass(frozen=True, slots=True)
class KeyPermissions:
    """What the exchange lets the API key do."""

    may_withdraw: bool
    may_trade_futures: bool
    is_bound_to_addresses: bool


@dataclass(frozen=True, slots=True)
class LeverageBracket:
    """A tier: positions of up to ``notional_max`` may be held at up to ``leverage_max``."""

    leverage_max: int
    notional_max: Decimal


@dataclass(frozen=True, slots=True)
class MarkPrice:
    """The exchange's mark price of a symbol and when it was true, in seconds."""

    symbol: str
    price: Decimal
    time_s: float


@dataclass(frozen=True, slots=True)
class OrderBook:
    """The best levels as (price, quantity), best first."""

    symbol: str
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How much of one of the exchange's limits is used in its window, such as 1200 orders in ``1M``."""

    kind: str
    window: str
    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the exchange's limits leave. ``pause_s`` is for how long it wants to hear nothing yet."""

    limits: tuple[LimitUse, ...] = ()
    pause_s: float = 0.0


class AccountSink(Protocol):
    """Where a connector puts what it learns by itself; every call is synchronous and cheap."""

    def on_order(self, order: VenueOrder) -> None:
        """An order event of the account, ours or not; may be late, repeated, reordered or missing."""

    def on_marks(self) -> None:
        """Some mark price changed."""

    def on_account_changed(self) -> None:
        """Positions, mode, leverage or the stream itself changed: look at the account again soon."""


class MarketData(Protocol):
    """Public data of an exchange; needs no account."""

    async def fetch_trading_rules(self) -> Mapping[str, TradingRules]: ...

    async def fetch_mark_prices(self, symbols: Sequence[str]) -> Mapping[str, MarkPrice]: ...

    async def fetch_order_book(self, symbol: str, depth: int) -> OrderBook: ...

    def get_mark_prices(self) -> Mapping[str, MarkPrice]:
        """The newest streamed or fetched mark prices, by symbol."""

    def get_traffic(self) -> Traffic:
        """What is used of the limits, by our count or the exchange's, whichever is more."""


class Connector(MarketData, Protocol):
    """An exchange account. One request is one attempt: only reads are ever repeated.

    Reads raise ``VenueUnavailable``, ``RateLimited`` or ``AuthenticationFailed``. Writes raise ``OrderRejected`` when
    definitively refused, ``VenueUnavailable`` when certainly not sent, ``RateLimited`` when not accepted, and
    ``OutcomeUnknown`` for everything else that is not a report.
    """

    name: str
    hedge_mode: bool
    """True when the account keeps LONG and SHORT apart. Known after ``connect``."""

    unknown_window_s: float
    """A request that was not executed this long after it was sent never will be."""

    async def connect(self, symbols: Sequence[str]) -> None:
        """Authenticate, synchronize the clock, read the account's modes. Raises ``ConfigError`` for what cannot work."""

    async def prepare_symbol(self, symbol: str) -> None:
        """Set leverage and margin type and read them back. Raises ``OrderRejected`` when the exchange refuses."""

    async def run(self, sink: AccountSink) -> None:
        """Keep streams, clock and mark prices alive until canceled; heals itself, never gives up."""

    async def close(self) -> None: ...

    async def place_order(self, request: OrderRequest) -> OrderReport: ...

    async def modify_order(
        self, symbol: str, client_order_id: str, quantity: Decimal, price: Decimal
    ) -> OrderReport: ...

    async def cancel_order(self, symbol: str, client_order_id: str) -> OrderReport: ...

    async def fetch_order(self, symbol: str, client_order_id: str) -> OrderReport | None:
        """What became of an order; None when the exchange does not know it (yet)."""

    async def fetch_order_history(self, symbol: str, since_s: float) -> Sequence[VenueOrder]:
        """Every order of the symbol since then by our clock, oldest first, the exchange's own (liquidations) included."""

    async def fetch_trade_history(self, symbol: str, since_s: float) -> Sequence[VenueTrade]: ...

    async def fetch_positions(self) -> Sequence[VenuePosition]:
        """Every position that is not flat."""

    async def fetch_balances(self) -> Sequence[Balance]: ...

    def check_order_capacity(self, orders: int, *, is_reduce: bool) -> bool:
        """True when so many orders may be sent now without touching a limit or the reserve kept for closes."""

    def format_quantity(self, symbol: str, quantity: Decimal) -> str:
        """The quantity as the exchange writes it: plain decimal on the step."""

    def format_price(self, symbol: str, price: Decimal) -> str: ...


@runtime_checkable
class FundingSource(Protocol):
    """A connector to an exchange that pays funding may also implement this."""

    async def fetch_funding(self, since_s: float) -> Sequence[VenueFunding]:
        """Every booking of the account since then by our clock, oldest first. Raises as reads of ``Connector`` do."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A fact as the journal holds it: its sequence number, its time in seconds and the event."""

    sequence: int
    at: float
    event: Event


class Journal(Protocol):
    """The durable, ordered record of facts. ``append`` returns only once the facts survive a power cut."""

    deployment: str
    """Made once for this journal, and orders by age; part of every client order id (``core.writers``)."""

    last_sequence: int

    async def append(self, at: float, events: Sequence[Event]) -> None:
        """All or none, durably. Raises ``JournalError``; afterwards nothing may be sent on the strength of them."""

    def read(self) -> Iterable[JournalEntry]: ...

    def close(self) -> None: ...


class PassRecorder(Protocol):
    """Keeps what passes decided and from what; every call is synchronous, cheap, and never raises."""

    def check_wanted(self, *, is_trading: bool) -> bool:
        """True when the pass in hand should be kept; those that trade always are."""

    def note(self, view: PassView, outcomes: Sequence[Decision]) -> None:
        """Keep a pass, and what the operator's limits made of its decisions."""


class JournalSource(Protocol):
    """Reads a journal that somebody else writes, and touches nothing of it. Raises ``JournalError``."""

    def read(self, since: float = 0.0, *, limit: int | None = None) -> Iterable[JournalEntry]:
        """Every fact from that time on, oldest first, or the newest of them."""
