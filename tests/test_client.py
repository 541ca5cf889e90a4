"""What ``status`` and ``hedges`` make of an answer, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from dehedge import client
from dehedge.client import describe_daemon, fetch_answer, format_usd, print_hedges, print_status
from dehedge.errors import DehedgeError

STATUS: Mapping[str, Any] = {
    "version": "1.2.3",
    "connector": "paper",
    "ready": True,
    "reasons": [],
    "mode": "active",
    "snapshot": {"block_number": 7, "positions": 3, "vault": "1000", "shield": "50"},
    "prices": {"BTC-USD": {"price": "60000.5"}},
    "decisions": {"not at risk": 2, "too small": 1},
    "hedges": 1,
    "orders_in_flight": [],
    "deployment": "1f5u68k2c",
    "foreign_positions": {},
}
HEDGE: Mapping[str, Any] = {
    "market": "BTC-USD",
    "position_id": f"0x{'ab' * 20}|0x{'cd' * 20}",
    "side": "BUY",
    "quantity": "0.020",
    "target": "0.025",
    "status": "OPEN",
    "opened_at": 1_800_000_000.0,
    "reason": "[shield_pnl_risk]",
    "decision": None,
    "profit_usd": "-1234.5678",
    "fees_usd": "2.4",
    "other_fees": {"BNB": "0.01"},
    "funding_usd": None,
}


def an_answer(*hedges: Mapping[str, Any], total: int | None = None) -> Mapping[str, Any]:
    return {"hedges": hedges, "total": len(hedges) if total is None else total, "markets": {}}


class StandIn(ThreadingHTTPServer):
    """Answers every GET with ``content``."""

    status = 200
    content = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_status_is_told_in_whole_lines_when_ready(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.content = json.dumps(STATUS).encode()

    code = print_status(server.url, use_json=False)

    assert code == 0
    assert capsys.readouterr().out.splitlines() == [
        "dehedge 1.2.3 on paper: ready, mode active",
        "deployment 1f5u68k2c: its orders are called dh-1f5u68k2c-...",
        "block 7: 3 positions, vault 1,000.00 USDC, shield 50.00 USDC",
        "BTC-USD: 60000.5",
        "1 hedge, 0 orders in flight; 2 not at risk, 1 too small",
    ]


def test_status_ends_with_what_is_held_when_nothing_was_decided(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.content = json.dumps({**STATUS, "decisions": {}, "hedges": 0, "orders_in_flight": [{}]}).encode()

    print_status(server.url, use_json=False)

    assert capsys.readouterr().out.splitlines()[-1] == "0 hedges, 1 order in flight"


def test_status_tells_what_on_the_account_is_not_ours(server: StandIn, capsys: pytest.CaptureFixture[str]):
    foreign = {"ETHUSDT/BOTH": "-6.666", "BTCUSDT/LONG": "1"}
    server.content = json.dumps({**STATUS, "foreign_positions": foreign}).encode()

    print_status(server.url, use_json=False)

    assert "foreign positions, never traded: -6.666 ETHUSDT/BOTH, 1 BTCUSDT/LONG" in capsys.readouterr().out.splitlines()


def test_status_tells_every_reason_as_it_is_when_not_ready(server: StandIn, capsys: pytest.CaptureFixture[str]):
    reasons = ["chain: [Errno 111] at http://[::1]:8545 [/red]", "prices: " + "x" * 150]
    server.content = json.dumps({**STATUS, "ready": False, "reasons": reasons, "snapshot": None}).encode()

    code = print_status(server.url, use_json=False)

    assert code == 1
    assert capsys.readouterr().out.splitlines()[1:3] == [f"  - {reason}" for reason in reasons]


def test_status_tells_who_turned_the_kill_switch_and_what_to_be_warned_of(
    server: StandIn, capsys: pytest.CaptureFixture[str]
):
    changes = {"mode": "halted", "mode_since": 1_800_000_000.0, "reason": "pause from 127.0.0.1: ann@desk", "warnings": ["two"]}
    server.content = json.dumps({**STATUS, **changes}).encode()

    assert print_status(server.url, use_json=False) == 0

    assert capsys.readouterr().out.splitlines()[:3] == [
        "dehedge 1.2.3 on paper: ready, mode halted",
        "mode halted since 2027-01-15 08:00:00 UTC: pause from 127.0.0.1: ann@desk",
        "  ! two",
    ]


def test_status_tells_which_guards_hold_something(server: StandIn, capsys: pytest.CaptureFixture[str]):
    rows = [
        {"guard": "market_notional_limit", "variable": "MAX_MARKET_NOTIONAL_USD", "scope": "BTCUSDT", "used": "9960",
         "limit": "10000", "held": 2},
        {"guard": "order_notional_limit", "variable": "MAX_ORDER_NOTIONAL_USD", "scope": "all", "used": None,
         "limit": "10", "held": 1},
        {"guard": "opens_limit", "variable": "MAX_OPENS_PER_HOUR", "scope": "all", "used": "1", "limit": "12", "held": 0},
    ]  # fmt: skip
    server.content = json.dumps({**STATUS, "guards": rows}).encode()

    print_status(server.url, use_json=False)

    assert [line for line in capsys.readouterr().out.splitlines() if "holds" in line] == [
        "  - market_notional_limit holds 2 opens or increases in BTCUSDT: 9960 of 10000 (MAX_MARKET_NOTIONAL_USD)",
        "  - order_notional_limit holds 1 open or increase: 10 (MAX_ORDER_NOTIONAL_USD)",
    ]


def test_hedges_are_a_table_with_a_line_for_each(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.content = json.dumps(an_answer(HEDGE, {**HEDGE, "position_id": "0xef|0xcd"})).encode()

    code = print_hedges(server.url, use_json=False)

    rows = [line for line in capsys.readouterr().out.splitlines() if "BTC-USD" in line]
    assert code == 0
    assert len(rows) == 2
    assert f"0x{'ab' * 20}" in rows[0]
    assert "[shield_pnl_risk]" in rows[0]
    assert "2027-01-15 08:00:00 UTC" in rows[0]
    assert [cell.strip() for cell in rows[0].split("│")][3:6] == ["BUY", "0.020", "0.025"]
    assert [cell.strip() for cell in rows[0].split("│")][10:13] == ["-1,234.57", "2.40 + 0.01 BNB", ""]


@pytest.mark.parametrize(("width", "shown"), [(181, "0xabab…abab"), (239, "0xabab…abab"), (240, f"0x{'ab' * 20}")])
def test_address_is_whole_or_told_by_both_its_ends(
    server: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, shown: str
):
    monkeypatch.setattr(client, "PIPE_WIDTH", width)
    server.content = json.dumps(an_answer({**HEDGE, "decision": "market_notional_limit"})).encode()

    print_hedges(server.url, use_json=False)

    assert f"│ {shown} │" in capsys.readouterr().out


def test_money_that_is_not_known_yet_is_left_out(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.content = json.dumps(an_answer({**HEDGE, "profit_usd": None, "fees_usd": None})).encode()

    print_hedges(server.url, use_json=False)

    (row,) = [line for line in capsys.readouterr().out.splitlines() if "BTC-USD" in line]
    assert [cell.strip() for cell in row.split("│")][10:13] == ["", "", ""]


def test_hedges_are_asked_for_page_by_page(server: StandIn, monkeypatch: pytest.MonkeyPatch):
    rows = [{**HEDGE, "position_id": f"0x{number}"} for number in range(5)]
    asked = []

    def fetch(url: str, what: str, query: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        offset = int((query or {}).get("offset", 0))
        asked.append((url, what, offset))
        return an_answer(*rows[offset : offset + 2], total=6)

    monkeypatch.setattr(client, "fetch_answer", fetch)

    # The sixth has gone meanwhile.
    assert client.fetch_hedges("x")["hedges"] == rows
    assert asked == [("x", "hedges", offset) for offset in (0, 2, 4, 5)]


@pytest.mark.parametrize("answer", [an_answer(), an_answer(HEDGE)])
def test_hedges_for_programs_are_the_answer_itself(
    server: StandIn, capsys: pytest.CaptureFixture[str], answer: Mapping[str, Any]
):
    server.content = json.dumps(answer).encode()

    print_hedges(server.url, use_json=True)

    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(answer))


@pytest.mark.parametrize("content", [b"", b"<html>", b"[]", b"null", b'{"hedges": []}', b'{"status": "ok"}'])
def test_somebody_else_on_the_port_is_told_in_one_line(server: StandIn, content: bytes):
    server.content = content

    with pytest.raises(DehedgeError, match=r"see --url$"):
        fetch_answer(server.url, "status")


def test_refusal_is_told_in_one_line(server: StandIn):
    server.status, server.content = 503, json.dumps(STATUS).encode()

    with pytest.raises(DehedgeError, match="no daemon answers at"):
        fetch_answer(server.url, "status")


@pytest.mark.parametrize("url", ["http://[::1", "https://[", "http://127.0.0.1:1"])
def test_address_without_a_daemon_is_told_in_one_line(url: str):
    with pytest.raises(DehedgeError, match="no daemon answers at"):
        fetch_answer(url, "status")


@pytest.mark.parametrize("url", ["127.0.0.1:8780", "nonsense", "ftp://127.0.0.1", "operator:pass-word-1@127.0.0.1:1"])
def test_address_that_is_no_url_is_told_how_one_begins(url: str):
    with pytest.raises(DehedgeError, match=r"^--url: begin with http:// \(or https://\), such as http://127\.0\.0\.1:8780$"):
        fetch_answer(url, "status")


def test_proxy_of_the_environment_is_not_asked(server: StandIn, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    server.content = json.dumps(STATUS).encode()

    assert fetch_answer(server.url, "status")["ready"] is True


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_configured_address_is_asked_without_an_url(server: StandIn, monkeypatch: pytest.MonkeyPatch, host: str):
    monkeypatch.setenv("HTTP_HOST", host)
    monkeypatch.setenv("HTTP_PORT", str(server.server_port))
    server.content = json.dumps(STATUS).encode()

    assert fetch_answer("", "status")["version"] == "1.2.3"


@pytest.mark.parametrize("host", ["::1", "::"])
def test_configured_address_is_put_in_brackets_when_it_is_of_ipv6(monkeypatch: pytest.MonkeyPatch, host: str):
    monkeypatch.setenv("HTTP_HOST", host)
    monkeypatch.setenv("HTTP_PORT", "1")

    with pytest.raises(DehedgeError, match=r"no daemon answers at http://\[::1\]:1 "):
        fetch_answer("", "status")


def test_address_is_needed_when_the_port_is_picked_freely(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PORT", "0")

    with pytest.raises(DehedgeError, match="http_started"):
        fetch_answer("", "status")


@pytest.mark.parametrize("content", [b"", b"{}"])
def test_password_in_the_url_is_not_told(server: StandIn, content: bytes):
    server.content = content

    with pytest.raises(DehedgeError) as caught:
        fetch_answer(server.url.replace("//", "//operator:pass-word-1@"), "status")

    assert "pass-word-1" not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


@pytest.mark.parametrize(
    ("account", "endpoint", "where"),
    [("mainnet", "", "binance"), ("demo", "", "binance (DEMO)"), ("custom", "127.0.0.1:9", "binance (OWN ENDPOINT 127.0.0.1:9)")],
)
def test_status_says_loudly_where_orders_go(account: str, endpoint: str, where: str) -> None:
    assert describe_daemon({**STATUS, "connector": "binance", "account": account, "endpoint": endpoint}) == f"dehedge 1.2.3 on {where}"


@pytest.mark.parametrize(
    ("amount", "shown"), [("0", "0.00"), ("1234.567", "1,234.57"), ("-10000", "-10,000.00"), ("0.0042", "0.0042")]
)
def test_amounts_are_shown_to_the_cent_and_never_as_nothing(amount: str, shown: str) -> None:
    assert format_usd(amount) == shown
