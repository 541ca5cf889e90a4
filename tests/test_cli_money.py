"""``dehedge history`` and ``dehedge report`` on a real journal, as text, JSON, CSV and a page of its own."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dehedge import cli_money
from dehedge.adapters.journal import SqliteJournal
from dehedge.cli import app
from dehedge.core.book import TradingMode
from dehedge.core.costs import Fee, FundingPaid, OrderPriced
from dehedge.core.events import Event, ForeignPositionSeen, TradingModeSet
from dehedge.core.model import HedgeKey, Leg
from dehedge.core.orders import Action
from dehedge.errors import DehedgeError
from dehedge.history import HistoryView
from dehedge.reporting.spans import parse_since
from tests.core.builders import a_position, a_report, a_share, an_intent

START = 1_790_000_000.0
HOSTILE = "=<script>alert('1')</script>"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.time", lambda: START + 1_000)
    monkeypatch.setenv("HTTP_PORT", "1")
    return tmp_path


def write(path: Path, *entries: tuple[float, Event]) -> None:
    async def append(journal: SqliteJournal) -> None:
        for at, event in entries:
            await journal.append(START + at, [event])

    with closing(SqliteJournal(path)) as journal:
        asyncio.run(append(journal))


def an_order(sequence: int, *, market: str = "BTC-USD", price: str = "60000", closes: bool = False) -> Event:
    share = a_share(position=a_position(market=market), target=0 if closes else None)
    share = share._replace(key=HedgeKey(market, "0xabc|0xdef"), price=Decimal(price), reason="expired" if closes else "at_risk")
    action = Action.REDUCE if closes else Action.INCREASE
    return replace(an_intent(shares=[share], sequence=sequence, action=action), mark=Decimal(price))


def a_fill(at: float, intent: Event, price: str, *fees: Fee) -> list[tuple[float, Event]]:
    request = intent.request
    receipt = OrderPriced(request.client_order_id, Decimal(price), "7", request.quantity, fees, Decimal(0))
    return [(at, intent), (at, a_report(intent)), (at + 1, receipt)]


@pytest.fixture
def journal(folder: Path) -> Path:
    """A hedge that was closed at a profit, one with a hostile name that is open, funding and foreign funding."""
    path = folder / "dehedge.db"
    write(
        path,
        *a_fill(10, an_order(1), "60010", Fee("USDT", Decimal("6.001")), Fee("BNB", Decimal("0.002"))),
        (20, ForeignPositionSeen("BTCUSDT", Leg.BOTH, Decimal("0.2"))),
        (60, FundingPaid("BTCUSDT", Decimal("-2.5"), "USDT", START + 50, "1")),
        *a_fill(100, an_order(4, price="61000", closes=True), "60990", Fee("USDT", Decimal("6.099"))),
        *a_fill(200, an_order(7, market=HOSTILE), "60000"),
        (300, TradingModeSet(TradingMode.NO_OPENS, is_flattening=False, reason="lunch")),
    )
    return path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_report_as_json_has_exact_amounts(journal: Path):
    report = json.loads(run("report", "--json", "--since", "all"))

    btc = next(market for market in report["markets"] if market["market"] == "BTC-USD")
    (hedge,) = btc["hedges"]
    assert (hedge["opened_for"], hedge["closed_for"]) == ("at_risk", "expired")
    assert (hedge["opened_at"], hedge["closed_at"]) == (START + 10, START + 100)
    assert (hedge["price_in"], hedge["price_out"], hedge["held"], hedge["standing"]) == ("60010", "60990", "0", None)
    assert hedge["fees"] == {"BNB": "0.002", "USDT": "12.1"}
    assert (hedge["realized_usd"], hedge["funding_usd"], hedge["net_usd"]) == ("196", "-1.25", "182.65")
    assert (hedge["slippage_usd"], hedge["vault_loss_without_usd"]) == ("4", "200")
    assert report["foreign_funding"] == {"USDT": "-1.25"}
    assert report["totals"]["net_usd"] == "182.65"
    other = next(market for market in report["markets"] if market["market"] == HOSTILE)
    assert other["hedges"][0]["standing"] == {
        "price": "60000", "price_at": START + 200, "unrealized_usd": "0", "vault_loss_without_usd": "0",
    }  # fmt: skip


def test_report_for_people_shows_every_hedge_and_what_is_in_no_sum(journal: Path):
    text = run("report", "--since", "all")

    for words in ("182.65", "60010", "open: 0.00 at 60000", "0.002 BNB", "-1.25 USDT", "at_risk", "Times are UTC"):
        assert words in text


def test_report_in_a_span_has_the_flows_of_that_span_alone(journal: Path):
    whole = json.loads(run("report", "--json", "--since", "all"))["totals"]
    late = json.loads(run("report", "--json", "--since", "950s"))["totals"]

    assert (whole["opened"], late["opened"], late["closed"]) == (2, 1, 1)
    assert Decimal(late["fees_usd"]) == Decimal("6.099")


def test_csv_has_one_row_for_each_hedge_and_runs_nothing(journal: Path, folder: Path):
    assert run("report", "--format", "csv", "--since", "all", "--out", "report.csv") == "written: report.csv\n"

    rows = list(csv.DictReader(io.StringIO((folder / "report.csv").read_text())))
    assert [row["market"] for row in rows] == [f"'{HOSTILE}", "BTC-USD"]
    rows.reverse()
    assert (rows[0]["net_usd"], rows[0]["other_fees"], rows[0]["opened_at"]) == (
        "182.65", "0.002 BNB", "2026-09-21T14:13:30+00:00",
    )  # fmt: skip
    assert (rows[1]["closed_at"], rows[1]["open_price"]) == ("", "60000")


def test_report_is_never_written_over_a_journal(journal: Path):
    before = journal.read_bytes()

    with pytest.raises(DehedgeError, match=r"^--out: .*dehedge\.db is a database, such as a journal; give another file$"):
        cli_money.write_report(journal, since="all", shape="csv", out=journal, url="")

    assert journal.read_bytes() == before


def test_newest_of_a_journal_is_not_written_over_and_no_pipe_is_waited_for(tmp_path: Path):
    newest, pipe = tmp_path / "other.db-wal", tmp_path / "pipe"
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE facts (number)")
        with pytest.raises(DehedgeError, match=r"other\.db-wal is a database"):
            cli_money.write_file(newest, b"")
        assert newest.stat().st_size > 0

    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    cli_money.write_file(pipe, b"report")
    assert os.read(reader, 100) == b"report"
    os.close(reader)


class Page(HTMLParser):
    """What a browser would make of it: the tags, and whether each was closed."""

    VOID = ("meta", "rect", "path", "line")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page_needs_nothing_else_and_runs_nothing(journal: Path, folder: Path):
    run("report", "--format", "html", "--since", "all", "--out", "report.html")
    text = (folder / "report.html").read_text()
    page = Page()
    page.feed(text)

    assert page.open == []
    assert page.addresses == []
    assert "script" not in page.seen
    assert page.seen.count("svg") == 2
    assert page.seen.count("table") == 3
    assert "http" not in text.replace("http-equiv", "")
    assert "default-src 'none'" in text
    assert "prefers-color-scheme:dark" in text
    assert 'name="viewport"' in text
    assert "&lt;script&gt;" in text
    assert "182.65" in text
    assert re.findall(r"NaN|inf\b|None", text) == []


@pytest.mark.parametrize("shape", ["text", "json", "csv", "html"])
def test_report_of_an_empty_journal_says_so(folder: Path, shape: str):
    write(folder / "dehedge.db")

    assert run("report", "--format", shape) != ""


def test_prices_of_open_hedges_are_those_of_the_running_daemon(journal: Path, monkeypatch: pytest.MonkeyPatch):
    prices = {HOSTILE: {"price": "61000", "publish_time": START + 900}}
    monkeypatch.setattr(cli_money, "fetch_answer", lambda *_, **__: {"prices": prices})
    report = json.loads(run("report", "--json", "--since", "all"))

    (standing,) = [hedge["standing"] for market in report["markets"] for hedge in market["hedges"] if hedge["standing"]]
    assert standing == {
        "price": "61000", "price_at": START + 900, "unrealized_usd": "200", "vault_loss_without_usd": "200",
    }  # fmt: skip


def test_history_tells_in_words_what_happened(journal: Path):
    text = run("history")
    assert "hedge of a long opened by 0.2 at a price of 60000: at_risk" in text
    assert "trading mode no-opens: lunch" in text

    events = json.loads(run("history", "--json", "--market", "BTC-USD"))["events"]
    assert [event["kind"] for event in events] == ["order_intended", "hedge_opened", "order_intended", "hedge_closed"]
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert events[1]["position_id"] == "0xabc|0xdef"
    assert run("history", "--since", "60s").startswith("nothing happened since")
    assert re.fullmatch(r"nothing happened in btc since .* UTC; it did in .*BTC-USD.*\n", run("history", "--market", "btc"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["report", "--since", "yesterday"], "--since: give 7d"),
        (["history", "--since", "7 days"], "--since: give 7d"),
        (["report", "--journal", "none.db"], "journal none.db: there is none"),
        (["report", "--out", "no/such/folder"], "--out: no/such/folder"),
        (["report", "--since", "all", "--url", "http://127.0.0.1:1"], "no daemon answers"),
    ],
)
def test_mistake_is_one_line_that_says_what_to_do(journal: Path, arguments: list[str], words: str):
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code != 0
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr


def test_state_url_is_all_that_must_be_right(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STATE_URL", "postgres://nowhere")
    result = CliRunner().invoke(app, ["history"])
    assert (result.exit_code, result.stderr.count("STATE_URL: it names no file")) == (78, 1)

    write(folder / "other.db", (1, TradingModeSet(TradingMode.ACTIVE, is_flattening=False)))
    monkeypatch.setenv("STATE_URL", "sqlite:///other.db")
    assert "trading mode active" in run("history")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90m", START - 5_400), ("2w", START - 1_209_600), ("999999w", 0), ("all", 0), ("2026-09-21", 1_789_948_800),
        ("2026-09-21T13:30:00+02:00", 1_789_990_200),
    ],
)  # fmt: skip
def test_span_is_a_length_or_a_moment(text: str, at: float):
    assert parse_since(text, START) == at


def test_span_that_is_none_is_refused():
    for text in ("", "d", "-1d", "1y", "٣d", "1e3s", "9999999d"):
        with pytest.raises(DehedgeError):
            parse_since(text, START)


async def test_history_shows_the_newest_since_a_time(folder: Path):
    from dehedge.adapters.journal_reader import JournalReader

    path = folder / "dehedge.db"
    with closing(SqliteJournal(path)) as journal:
        for number in range(5):
            event = TradingModeSet(TradingMode.ACTIVE, is_flattening=False, reason=f"{number}")
            await journal.append(START + number, [event])
        view = HistoryView(JournalReader(path))

        async def read(since: float, limit: int) -> list[str]:
            return [str(event["text"])[-1] for event in await view.fetch_history(since, limit)]

        assert await read(0, 200) == ["0", "1", "2", "3", "4"]
        assert await read(START + 2, 200) == ["2", "3", "4"]
        assert await read(START, 2) == ["3", "4"]
        assert await read(START, 0) == []
