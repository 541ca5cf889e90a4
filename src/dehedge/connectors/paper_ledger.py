"""The paper account: its orders, fills, positions and balance, in a small SQLite file of its own.

Every order is one transaction, durable before it is told of, so a restart finds what was executed. Like the exchange it
does not refuse a client order id that was used before: a re-sent order shows as a second row. Never decides a price
or a rule; ``paper`` does. Raises ``VenueUnavailable`` when the file cannot be written: then nothing was executed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

from dehedge.core.model import Leg, Side
from dehedge.core.netting import Holding, apply_fill
from dehedge.core.orders import ClientOrderId, OrderReport, OrderStatus
from dehedge.errors import ConfigError, VenueUnavailable
from dehedge.ports import VenueOrder, VenuePosition, VenueTrade

ASSET = "USDT"
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE account (balance TEXT NOT NULL);
CREATE TABLE positions (symbol TEXT PRIMARY KEY, quantity TEXT NOT NULL, entry_price TEXT NOT NULL);
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, client_order_id TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
    quantity TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL, realized_profit TEXT NOT NULL, at REAL NOT NULL
);
CREATE INDEX orders_by_client_order_id ON orders (client_order_id);
"""


class Fill(NamedTuple):
    """A market order as it was executed: whole, at one price. ``at`` is in seconds."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    at: float

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity * self.side.sign


class PaperLedger:
    """Reads and writes the file. Every call is synchronous and short."""

    def __init__(self, path: str, start_balance: Decimal) -> None:
        """Raises ``ConfigError`` when the file cannot be used."""
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=5)
            self._prepare(path, start_balance)
        except sqlite3.Error as error:
            raise ConfigError(f"STATE_URL: the paper account {path} cannot be used: {error}") from error

    def close(self) -> None:
        self._database.close()

    def record(self, fill: Fill) -> VenueOrder:
        """Execute: book the fill into orders, position and balance, all or nothing."""
        with self._transaction() as database:
            holding, profit = apply_fill(self.read_holding(fill.symbol), fill.signed_quantity, fill.price)
            self._write_holding(fill.symbol, holding)
            balance = self.read_balance() + profit - fill.fee
            database.execute("UPDATE account SET balance = ?", (str(balance),))
            numbers = (str(fill.quantity), str(fill.price), str(fill.fee), str(profit))
            row = database.execute(
                "INSERT INTO orders VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
                (fill.client_order_id, fill.symbol, fill.side.value, *numbers, fill.at),
            ).fetchone()
        return build_order(row)

    def find_order(self, symbol: str, client_order_id: str) -> VenueOrder | None:
        """The latest order under this id."""
        query = "SELECT * FROM orders WHERE symbol = ? AND client_order_id = ? ORDER BY id DESC LIMIT 1"
        rows = self._select(query, symbol, client_order_id)
        return build_order(rows[0]) if rows else None

    def read_orders(self, symbol: str, since_s: float) -> list[VenueOrder]:
        return [build_order(row) for row in self._select_since(symbol, since_s)]

    def read_trades(self, symbol: str, since_s: float) -> list[VenueTrade]:
        return [build_trade(row) for row in self._select_since(symbol, since_s)]

    def read_positions(self) -> list[VenuePosition]:
        rows = self._select("SELECT symbol, quantity, entry_price FROM positions ORDER BY symbol")
        return [VenuePosition(symbol, Leg.BOTH, Decimal(amount), Decimal(entry)) for symbol, amount, entry in rows]

    def read_holding(self, symbol: str) -> Holding:
        rows = self._select("SELECT quantity, entry_price FROM positions WHERE symbol = ?", symbol)
        return Holding(Decimal(rows[0][0]), Decimal(rows[0][1])) if rows else Holding()

    def read_balance(self) -> Decimal:
        return Decimal(self._select("SELECT balance FROM account")[0][0])

    def _prepare(self, path: str, start_balance: Decimal) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == SCHEMA_VERSION:
            return
        if version or self._database.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise ConfigError(f"STATE_URL: {path} is not a paper account of this version: choose another path")
        self._database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        self._database.execute("INSERT INTO account VALUES (?)", (str(start_balance),))

    def _write_holding(self, symbol: str, holding: Holding) -> None:
        self._database.execute("DELETE FROM positions WHERE symbol = ?", (symbol,))
        if holding.quantity:
            row = (symbol, str(holding.quantity), str(holding.entry_price))
            self._database.execute("INSERT INTO positions VALUES (?, ?, ?)", row)

    def _select_since(self, symbol: str, since_s: float) -> list[Any]:
        return self._select("SELECT * FROM orders WHERE symbol = ? AND at >= ? ORDER BY id", symbol, since_s)

    def _select(self, query: str, *values: str | float) -> list[Any]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise VenueUnavailable(f"the paper account cannot be read: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            with self._database:
                yield self._database
        except sqlite3.Error as error:
            raise VenueUnavailable(f"the paper account cannot be written: {error}") from error


def build_order(row: Any) -> VenueOrder:
    number, client_order_id, symbol, side, quantity, price, *_, at = row
    report = OrderReport(
        ClientOrderId(client_order_id), OrderStatus.FILLED, Decimal(quantity), Decimal(price), str(number)
    )
    return VenueOrder(symbol, Side(side), Leg.BOTH, report, at)


def build_trade(row: Any) -> VenueTrade:
    number, _, symbol, side, quantity, price, fee, profit, at = row
    return VenueTrade(
        symbol=symbol,
        side=Side(side),
        leg=Leg.BOTH,
        venue_order_id=str(number),
        price=Decimal(price),
        quantity=Decimal(quantity),
        fee=Decimal(fee),
        fee_asset=ASSET,
        realized_profit=Decimal(profit),
        traded_at=at,
    )
