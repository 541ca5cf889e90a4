"""The seams between the daemon and the world, as Protocols.

The daemon, the executor and the reconciler know these and nothing behind them; adapters and connectors implement them
and translate every third-party exception into ``dehedge.errors``. All methods that reach out are ``async`` and are
bounded in time by their implementation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from dehedge.core.book import TradingMode
from dehedge.core.events import Event
from dehedge.core.model import ChainSnapshot, Leg, Market, PriceTick, Side, TradingRules
from dehedge.core.orders import OrderReport, OrderRequest


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
class Balance:
    """One asset of the futures account; ``available`` can be used as margin."""

    asset: str
    total: Decimal
    available: Decimal


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


class Operator(Protocol):
    """What the HTTP surface shows and does; every answer is plain JSON data, money and quantities as strings."""

    def check_alive(self) -> bool:
        """True while the loop makes progress."""

    def find_obstacles(self) -> Sequence[str]:
        """Why the daemon cannot hedge now; empty when it can."""

    def measure(self) -> None:
        """Bring the gauges up to date: they are counted when they are read, not with every price."""

    def get_status(self) -> Mapping[str, object]: ...

    def get_hedges(self) -> Sequence[Mapping[str, object]]: ...

    def get_positions(self, offset: int, limit: int) -> Sequence[Mapping[str, object]]:
        """So many of the positions from there on, in the chain's order."""

    async def fetch_flattening(self) -> Mapping[str, object]:
        """Whether the account is flat, from a reading of now, or what is left and why."""

    async def pause(self, level: TradingMode | None = None, *, reason: str = "") -> None:
        """Turn the kill switch to a level, by default no more opens. Survives restarts; ``reason`` is shown."""

    async def resume(self, *, reason: str = "") -> None: ...

    async def flatten(self, *, reason: str = "") -> None:
        """No more opens, and every hedge is closed."""


class Onlooker(Protocol):
    """What the dashboard shows beyond ``Operator``; plain JSON data, money and quantities as strings."""

    def get_now(self) -> Mapping[str, object]:
        """Prices, vault and shield of this moment."""

    def get_series(self, market: str | None = None) -> Mapping[str, object]:
        """The same of the last hours, of one market or of all, with the hedges opened and closed meanwhile."""

    def count_events(self) -> int:
        """The number of the newest event; grows with each one."""

    def get_events(self, after: int) -> Sequence[Mapping[str, object]]:
        """The newest events, oldest first, with a number above ``after``."""

    def get_inputs(self) -> Sequence[Mapping[str, object]]:
        """When each input was last true."""

    async def measure_exposure(self) -> Sequence[Mapping[str, object]]:
        """By market: the traders' net, what is hedged of it and what is not."""
