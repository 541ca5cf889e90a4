"""The paper connector beyond conformance: where its prices come from, and that its account survives."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from decimal import Decimal

import pytest

from dehedge.connectors.paper import MARK_AGE_MAX_S, TAKER_FEE, PaperConnector
from dehedge.connectors.paper_ledger import Fill, PaperLedger
from dehedge.core.model import Side, TradingRules
from dehedge.errors import ConfigError, OrderRejected, VenueUnavailable
from dehedge.ports import Balance, MarkPrice, OrderBook

START = Decimal(10_000)


class Quotes:
    """Market data that a test sets: no book means that the exchange does not answer."""

    def __init__(self) -> None:
        self.book: OrderBook | None = None
        self.marks: dict[str, MarkPrice] = {}
        self.watched: list[frozenset[str]] = []

    async def fetch_trading_rules(self):
        rule = TradingRules("BTCUSDT", Decimal("0.001"), Decimal("0.001"), Decimal(100), Decimal(50), Decimal("0.1"))
        return {"BTCUSDT": rule}

    async def fetch_mark_prices(self, symbols):
        return {symbol: self.marks[symbol] for symbol in symbols}

    async def fetch_order_book(self, symbol, depth):
        if self.book is None:
            raise VenueUnavailable("down")
        return self.book

    def get_mark_prices(self):
        return self.marks

    def watch(self, symbols):
        self.watched.append(frozenset(symbols))

    async def run_marks(self, on_marks):
        await asyncio.Event().wait()

    async def close(self): ...


@pytest.fixture
def quotes():
    return Quotes()


@pytest.fixture
def prices():
    return {"BTCUSDT": Decimal(60_000)}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "paper.db")


@pytest.fixture
async def build(quotes, prices, path, clock):
    made = []

    async def build() -> PaperConnector:
        ledger = PaperLedger(path, START)
        paper = PaperConnector(market_data=quotes, get_price=prices.get, ledger=ledger, leverage=20, clock=clock)
        made.append(paper)
        await paper.connect(["BTCUSDT", "NOPEUSDT"])
        return paper

    yield build
    for paper in made:
        await paper.close()


def a_book(bids=(("59990", "1"),), asks=(("60010", "1"),)):
    levels = [tuple((Decimal(price), Decimal(size)) for price, size in side) for side in (bids, asks)]
    return OrderBook("BTCUSDT", *levels)


def a_mark(price="59000", age_s=0.0):
    return {"BTCUSDT": MarkPrice("BTCUSDT", Decimal(price), time.time() - age_s)}


async def fill_price(paper, request):
    return (await paper.place_order(request)).average_price


async def test_fill_takes_the_best_of_the_book(build, quotes, an_order):
    quotes.book, quotes.marks = a_book(), a_mark()
    paper = await build()

    assert await fill_price(paper, an_order(Side.BUY)) == 60_010
    assert await fill_price(paper, an_order(Side.SELL)) == 59_990


@pytest.mark.parametrize("book", [None, a_book(asks=())])
async def test_fill_takes_the_mark_when_there_is_no_book(build, quotes, an_order, book):
    quotes.book, quotes.marks = book, a_mark()

    assert await fill_price(await build(), an_order(Side.BUY)) == 59_000


@pytest.mark.parametrize("marks", [{}, a_mark(age_s=MARK_AGE_MAX_S + 60)])
async def test_fill_takes_the_feed_price_when_there_is_no_fresh_mark(build, quotes, an_order, marks):
    quotes.marks = marks

    assert await fill_price(await build(), an_order()) == 60_000


async def test_order_is_rejected_when_nobody_knows_a_price(build, prices, an_order):
    prices.clear()
    paper = await build()

    with pytest.raises(OrderRejected, match="price of BTCUSDT"):
        await paper.place_order(an_order())
    assert await paper.fetch_positions() == []


async def test_only_listed_symbols_are_watched(build, quotes):
    await build()

    assert quotes.watched == [frozenset({"BTCUSDT"})]


async def test_account_survives_a_restart(build, an_order):
    before = await build()
    request = an_order(Side.BUY, "0.010")
    report = await before.place_order(request)
    positions, balances = await before.fetch_positions(), await before.fetch_balances()
    await before.close()

    after = await build()

    assert await after.fetch_order("BTCUSDT", request.client_order_id) == report
    assert await after.fetch_positions() == positions
    assert await after.fetch_balances() == balances
    assert len(await after.fetch_trade_history("BTCUSDT", 0.0)) == 1


async def test_balance_is_start_and_profit_less_fees(build, prices, an_order):
    paper = await build()
    await paper.place_order(an_order(Side.BUY, "0.010"))
    prices["BTCUSDT"] = Decimal(61_000)
    await paper.place_order(an_order(Side.SELL, "0.004"))

    fees = (Decimal("0.010") * 60_000 + Decimal("0.004") * 61_000) * TAKER_FEE
    total = START + 4 - fees
    assert await paper.fetch_balances() == [Balance("USDT", total, total - Decimal("0.006") * 60_000 / 20)]


async def test_available_balance_is_never_negative(build, an_order):
    paper = await build()
    await paper.place_order(an_order(Side.BUY, "100"))

    (balance,) = await paper.fetch_balances()
    assert balance.available == 0


async def test_order_past_flat_opens_the_other_side_at_its_own_price(build, prices, an_order):
    paper = await build()
    await paper.place_order(an_order(Side.BUY, "0.010"))
    prices["BTCUSDT"] = Decimal(50_000)
    await paper.place_order(an_order(Side.SELL, "0.030"))

    (position,) = await paper.fetch_positions()
    assert (position.quantity, position.entry_price) == (Decimal("-0.020"), Decimal(50_000))


async def test_nothing_is_executed_when_the_account_cannot_be_written(build, path, an_order):
    paper = await build()
    await paper.place_order(an_order(Side.BUY, "0.010"))
    before = await paper.fetch_balances()
    blocker = sqlite3.connect(path)
    blocker.executescript("CREATE TRIGGER full BEFORE INSERT ON orders BEGIN SELECT RAISE(ABORT, 'disk full'); END;")
    request = an_order(Side.BUY, "0.020")

    with pytest.raises(VenueUnavailable, match="disk full"):
        await paper.place_order(request)
    blocker.execute("DROP TRIGGER full")
    blocker.close()

    assert await paper.fetch_order("BTCUSDT", request.client_order_id) is None
    assert (await paper.fetch_positions())[0].quantity == Decimal("0.010")
    assert await paper.fetch_balances() == before
    assert (await paper.place_order(request)).filled_quantity == Decimal("0.020")


def test_account_is_refused_when_its_folder_is_missing(tmp_path):
    with pytest.raises(ConfigError, match="STATE_URL"):
        PaperLedger(str(tmp_path / "nowhere" / "paper.db"), START)


def test_account_is_refused_when_the_file_is_something_else(tmp_path):
    text, other = tmp_path / "text.db", tmp_path / "other.db"
    text.write_bytes(b"this is no database" * 100)
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE journal (x)")
    database.close()

    for path in (text, other):
        with pytest.raises(ConfigError, match="STATE_URL"):
            PaperLedger(str(path), START)


def test_account_is_refused_when_it_is_of_another_version(path):
    PaperLedger(path, START).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()

    with pytest.raises(ConfigError, match="version"):
        PaperLedger(path, START)


def test_latest_order_answers_for_an_id_that_was_used_twice(path):
    ledger = PaperLedger(path, START)
    for price in (1, 2):
        ledger.record(Fill("dh-1", "BTCUSDT", Side.BUY, Decimal(1), Decimal(price), Decimal(0), 10.0))

    assert ledger.find_order("BTCUSDT", "dh-1").report.average_price == 2
    assert ledger.find_order("ETHUSDT", "dh-1") is None
    ledger.close()
