"""What ``explain``, ``trips`` and ``whatif`` print of an answer, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from dehedge import questions
from dehedge.errors import DehedgeError, QuestionInvalid

TRADER = f"0x{'ab' * 20}"
POSITION = f"{TRADER}|0x{'cd' * 20}"
EXPLANATION: Mapping[str, Any] = {
    "decision": "Hold", "reason": "not_at_risk", "position": None, "checks": [],
    "text": ["BTC-USD long of [b]", "no check fires " + "x" * 300],
}  # fmt: skip
TRIP: Mapping[str, Any] = {
    "market": "BTC-USD", "position_id": POSITION, "is_long": True, "size": "10000", "price": "60000",
    "trigger_price": "61122.000000000000000001", "distance_bps": "187.03", "is_at_risk": False, "is_hedged": False,
}  # fmt: skip
OPEN: Mapping[str, Any] = {
    "market": "BTC-USD", "position_id": POSITION, "symbol": "BTCUSDT", "side": "BUY", "action": "open",
    "quantity": "0.158", "target": "0.158", "notional_usd": "9954", "margin_usd": "502.677", "reason": "shield_pnl_risk",
}  # fmt: skip
HELD: Mapping[str, Any] = {
    "market": "BTC-USD", "position_id": POSITION, "reason": "fee_limit", "guard": "MAX_FEES_USD_PER_HOUR", "text": "why",
}  # fmt: skip
WHATIF: Mapping[str, Any] = {
    "moves": {"BTC-USD": "5", "ETH-USD": "-1.5"},
    "prices": {"BTC-USD": {"before": "60000", "after": "63000"}, "ETH-USD": {"before": "3000", "after": "2955"}}, "opens": [OPEN], "held": [HELD], "closes": [], "cooling": [],
    "liquidated": [], "counts": {"opens": 1, "held": 1, "closes": 0, "cooling": 2, "liquidated": 0},
    "margin": {"needed_usd": "502.677", "available_usd": "400", "short_usd": "102.677", "error": None},
    "vault": {"before": "100000", "after_unhedged": "99528", "traders_gain": "491", "hedges_gain": "0"},
}  # fmt: skip


class StandIn(ThreadingHTTPServer):
    """Answers every GET with ``content``, and remembers what it was asked."""

    status = 200
    content: Mapping[str, Any] = {}
    name = "dehedge"
    asked = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def do_GET(self) -> None:
        self.server.asked = self.path
        content = json.dumps(self.server.content).encode()
        self.send_response_only(self.server.status)
        self.send_header("Server", self.server.name)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

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


def read_cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_explanation_is_printed_line_by_line_as_it_is(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.content = EXPLANATION

    assert questions.explain(server.url, "BTC-USD", "0xab|0xcd", use_json=False) == 0
    assert capsys.readouterr().out.splitlines() == EXPLANATION["text"]
    assert server.asked == "/api/v1/explain?market=BTC-USD&position_id=0xab%7C0xcd"


def test_trips_are_a_table_nearest_first(server: StandIn, capsys: pytest.CaptureFixture[str]):
    never = {**TRIP, "is_long": False, "trigger_price": None, "distance_bps": None, "is_at_risk": True, "is_hedged": True}
    server.content = {"trips": [TRIP, {**TRIP, "distance_bps": "-50"}, never]}

    assert questions.list_trips(server.url, 7, use_json=False) == 0
    rows = [read_cells(line) for line in capsys.readouterr().out.splitlines() if "BTC-USD" in line]
    assert server.asked == "/api/v1/trips?limit=7"
    assert rows[0] == [
        "BTC-USD", TRADER, "long", "10,000.00", "60000", "61122.000000000000000001", "+1.87 %", "not hedged",
    ]  # fmt: skip
    assert rows[1][6] == "-0.50 %"
    assert rows[2][2:] == ["short", "10,000.00", "60000", "at no price", "", "at risk, hedged"]


def test_trips_of_an_empty_book_are_none(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.content = {"trips": []}
    questions.list_trips(server.url, 7, use_json=False)

    assert capsys.readouterr().out == "no positions\n"


def test_whatif_tells_the_whole_outcome(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.content = WHATIF

    assert questions.ask_whatif(server.url, ["BTC-USD +5%", "ETH-USD -1.5%"], use_json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [read_cells(line) for line in lines if TRADER in line]
    assert server.asked == "/api/v1/whatif?move=BTC-USD%3A%2B5&move=ETH-USD%3A-1.5"
    assert [line for line in lines if line[:1] not in "┏┃┡│└"] == [
        "if BTC-USD moves by +5 % from 60000 to 63000, ETH-USD moves by -1.5 % from 3000 to 2955:",
        "margin needed 502.68 USD, fees included; available 400.00, SHORT BY 102.68",
        "vault 100,000.00 USDC, without hedges 99,528.00; traders gain 491.00, open hedges 0.00",
        "1 hedge would open",
        "1 hedge would be refused",
        "2 hedges would cool down: no longer at risk, closed after HEDGE_EXPIRY_SECONDS",
    ]
    assert rows == [
        ["BTC-USD", TRADER, "BTCUSDT", "BUY", "open", "0.158", "0.158", "9,954.00", "502.68", "shield_pnl_risk"],
        ["BTC-USD", TRADER, "fee_limit", "why"],
    ]


@pytest.mark.parametrize(
    ("margin", "line"),
    [
        ({"available_usd": "600", "short_usd": "0"}, "margin needed 502.68 USD, fees included; available 600.00"),
        (
            {"available_usd": None, "short_usd": None, "error": "connection refused"},
            "margin needed 502.68 USD, fees included; what is available is unknown: connection refused",
        ),
    ],
)
def test_whatif_tells_of_the_margin_what_is_known(
    server: StandIn, capsys: pytest.CaptureFixture[str], margin: Mapping[str, Any], line: str
):
    server.content = {**WHATIF, "margin": {**WHATIF["margin"], **margin}}
    questions.ask_whatif(server.url, ["BTC-USD 5"], use_json=False)

    assert line in capsys.readouterr().out.splitlines()


def test_whatif_shows_the_first_rows_of_a_long_list(server: StandIn, capsys: pytest.CaptureFixture[str]):
    server.content = {**WHATIF, "opens": [OPEN] * 50, "counts": {**WHATIF["counts"], "opens": 1_234}}
    questions.ask_whatif(server.url, ["BTC-USD 5"], use_json=False)

    lines = capsys.readouterr().out.splitlines()
    assert sum("BTCUSDT" in line for line in lines) == 20
    assert "... and 1214 more; --json lists them" in lines


def test_programs_get_the_answer_itself(server: StandIn, capsys: pytest.CaptureFixture[str]):
    asks = {
        "explain": lambda: questions.explain(server.url, "BTC-USD", "0xab", use_json=True),
        "trips": lambda: questions.list_trips(server.url, 1, use_json=True),
        "whatif": lambda: questions.ask_whatif(server.url, ["BTC-USD 5"], use_json=True),
    }
    for name, answer in {"explain": EXPLANATION, "trips": {"trips": [TRIP]}, "whatif": WHATIF}.items():
        server.content = answer

        assert asks[name]() == 0
        assert json.loads(capsys.readouterr().out) == answer


@pytest.mark.parametrize(
    ("words", "moves"),
    [
        (["BTC-USD -10%"], ["BTC-USD:-10"]),
        (["BTC-USD", "-10%"], ["BTC-USD:-10"]),
        (["BTC-USD -10% ETH-USD +1.5"], ["BTC-USD:-10", "ETH-USD:+1.5"]),
        (["BTC-USD -10 %", "ETH-USD 12 %"], ["BTC-USD:-10", "ETH-USD:12"]),
        (["BTC-USD:-10,", "ETH-USD:5%"], ["BTC-USD:-10", "ETH-USD:5"]),
        (["BTC-USD:-10%", "BTC-USD:1.2.3"], ["BTC-USD:-10", "BTC-USD:1.2.3"]),
        ([" "], []),
    ],
)
def test_moves_are_read_as_people_write_them(words: list[str], moves: list[str]):
    assert questions.read_moves(words) == moves


@pytest.mark.parametrize("words", [["BTC-USD"], ["-10%"], ["BTC-USD ten"], ["BTC-USD -10%", "--jsn"], ["BTC-USD -10x"]])
def test_words_that_are_no_move_are_told_in_one_line(words: list[str]):
    with pytest.raises(QuestionInvalid, match=r"^'.+' is no move: say a market and a percentage, such as dehedge whatif"):
        questions.read_moves(words)


def test_refusal_of_the_daemon_is_told_in_its_words(server: StandIn):
    server.status, server.content = 400, {"error": "market 'X' is not known\x1b[31m"}
    with pytest.raises(QuestionInvalid, match=r"^market 'X' is not known\?\[31m$"):
        questions.explain(server.url, "X", "0xab", use_json=False)

    server.status, server.content = 503, {"error": "the chain was not read yet"}
    with pytest.raises(DehedgeError, match="^the chain was not read yet$"):
        questions.explain(server.url, "X", "0xab", use_json=False)

    server.status, server.content = 404, {"error": "there is no such path"}
    with pytest.raises(DehedgeError, match="^the daemon does not know `explain`: it is of another version; restart"):
        questions.explain(server.url, "X", "0xab", use_json=False)


def test_refusal_of_somebody_else_is_not_repeated(server: StandIn):
    server.status, server.content, server.name = 400, {"error": "evil"}, "nginx"

    with pytest.raises(DehedgeError, match="^no daemon answers at"):
        questions.explain(server.url, "X", "0xab", use_json=False)
