"""The HTTP surface over real sockets: what is answered, what is refused, and what is never repeated."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Sequence

import httpx
import pytest
from prometheus_client import CollectorRegistry
from web_requests import TOKEN, History, Operator, Send, build_headers

from dehedge.adapters.web import WebServer
from dehedge.errors import ConfigError, DehedgeError, JournalError

COMMANDS = ["pause", "resume", "flatten"]
READS = [
    "/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/hedges", "/api/v1/positions", "/api/v1/flat",
    "/api/v1/explain?market=BTC-USD&position_id=0xab", "/api/v1/trips", "/api/v1/whatif?move=BTC-USD:-10",
]  # fmt: skip
NOISE = "noise-that-nobody-may-repeat"


@pytest.mark.parametrize(("is_alive", "status"), [(True, 200), (False, 503)])
async def test_health_tells_whether_the_loop_makes_progress(
    http: httpx.AsyncClient, operator: Operator, is_alive: bool, status: int
):
    operator.is_alive = is_alive
    answer = await http.get("/healthz")

    assert (answer.status_code, answer.json()) == (status, {"alive": is_alive})


@pytest.mark.parametrize(("obstacles", "status"), [((), 200), (("chain: down", "prices: none"), 503)])
async def test_readiness_tells_every_reason(
    http: httpx.AsyncClient, operator: Operator, obstacles: Sequence[str], status: int
):
    operator.obstacles = obstacles
    answer = await http.get("/readyz")

    assert (answer.status_code, answer.json()) == (status, {"ready": not obstacles, "reasons": list(obstacles)})


async def test_metrics_are_those_of_the_registry_and_are_measured_when_they_are_read(
    http: httpx.AsyncClient, operator: Operator
):
    answer = await http.get("/metrics")

    assert answer.status_code == 200
    assert operator.commands == ["measure"]
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert "dehedge_test 7.0" in answer.text.splitlines()


async def test_reads_are_json_with_money_as_strings(http: httpx.AsyncClient):
    assert (await http.get("/api/v1/status")).json() == {"version": "1", "vault": "12.5"}
    assert (await http.get("/api/v1/hedges?offset=2&limit=1")).json() == {
        "hedges": [{"market": "BTC-USD", "quantity": "0.002"}], "total": 3,
    }  # fmt: skip
    assert (await http.get("/api/v1/positions")).json() == {"positions": [{"market": "ETH-USD", "pnl": "-1.5"}]}
    assert (await http.get("/api/v1/flat")).json() == {"flat": True, "left": []}


@pytest.mark.parametrize(
    ("query", "shown"),
    [("", 1_000), ("?limit=7", 7), ("?offset=2498", 2), ("?offset=2500", 0), ("?limit=0", 0), ("?limit=2000&offset=5", 1_000)],
)
async def test_positions_and_hedges_come_in_pages(http: httpx.AsyncClient, operator: Operator, query: str, shown: int):
    operator.positions = [{"market": f"{number}"} for number in range(2_500)]

    assert len((await http.get(f"/api/v1/positions{query}")).json()["positions"]) == shown
    operator.hedges = 2_500
    assert len((await http.get(f"/api/v1/hedges{query}")).json()["hedges"]) == shown


async def test_history_is_asked_for_by_time_and_number(http: httpx.AsyncClient, history: History):
    assert (await http.get("/api/v1/history")).json() == {"events": [{"at": 0, "text": "200"}]}
    answer = await http.get("/api/v1/history?since=1790000000&limit=5000")
    assert answer.json() == {"events": [{"at": 1_790_000_000, "text": "1000"}]}

    history.error = JournalError("journal x: the disk is failing")
    answer = await http.get("/api/v1/history")
    assert (answer.status_code, answer.json()) == (503, {"error": "journal x: the disk is failing"})


@pytest.mark.parametrize("query", ["limit=-1", "since=-1", "since=1.5", "since=now", "limit=x"])
async def test_history_of_no_time_is_refused(http: httpx.AsyncClient, query: str):
    answer = await http.get(f"/api/v1/history?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


@pytest.mark.parametrize("query", ["limit=-1", "limit=", "offset=1e3", "offset=٣", "limit=1000000000"])
async def test_page_that_is_none_is_refused(http: httpx.AsyncClient, query: str):
    answer = await http.get(f"/api/v1/positions?{query}")

    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]


@pytest.mark.parametrize("command", COMMANDS)
async def test_command_is_done_with_the_token(http: httpx.AsyncClient, operator: Operator, command: str):
    answer = await http.post(f"/api/v1/{command}", headers=build_headers(TOKEN))

    assert (answer.status_code, answer.json()) == (202, {"done": command})
    assert operator.commands == [command]


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
async def test_scheme_is_read_as_http_defines_it(http: httpx.AsyncClient, operator: Operator, scheme: str):
    answer = await http.post("/api/v1/pause", headers=build_headers(TOKEN, scheme))

    assert answer.status_code == 202


REFUSED: dict[str, dict[str, bytes]] = {
    "none": {},
    "empty": {"Authorization": b""},
    "another": build_headers("another"),
    "shorter": build_headers(TOKEN[:-1]),
    "longer": build_headers(TOKEN + "x"),
    "other case": build_headers(TOKEN.upper()),
    "bare": {"Authorization": TOKEN.encode()},
    "basic": build_headers(TOKEN, "Basic"),
    "no space": {"Authorization": f"Bearer{TOKEN}".encode()},
    "not UTF-8": {"Authorization": b"Bearer \xff\xfe\x80"},
    "latin-1": {"Authorization": f"Bearer {TOKEN}".encode("latin-1")},
    "another header": {"X-Token": TOKEN.encode()},
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED.keys())
async def test_command_is_refused_without_the_token(
    http: httpx.AsyncClient, operator: Operator, command: str, headers: dict[str, bytes]
):
    answer = await http.post(f"/api/v1/{command}", headers=headers, params={"token": TOKEN}, json={"token": TOKEN})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json() == {"error": "a valid bearer token is needed (HTTP_TOKEN)"}
    assert operator.commands == []


async def test_token_is_compared_in_constant_time(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def note(given: bytes, wanted: bytes) -> bool:
        compared.append((given, wanted))
        return compare(given, wanted)

    monkeypatch.setattr(hmac, "compare_digest", note)
    await http.post("/api/v1/pause", headers=build_headers("wrong"))

    assert compared == [(b"wrong", TOKEN.encode())]


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer None"])
async def test_every_command_is_refused_when_no_token_is_configured(operator: Operator, header: str):
    server = WebServer(operator, registry=CollectorRegistry(), token=None)
    await server.start("127.0.0.1", 0)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{server.port}/api/v1/pause", headers={"Authorization": header})
    await server.close()

    assert answer.status_code == 401
    assert operator.commands == []


@pytest.mark.parametrize("path", READS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_reads_cannot_be_written(http: httpx.AsyncClient, path: str, method: str):
    assert (await http.request(method, path, headers=build_headers(TOKEN))).status_code == 405


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_commands_are_given_by_post_only(http: httpx.AsyncClient, operator: Operator, command: str, method: str):
    answer = await http.request(method, f"/api/v1/{command}", headers=build_headers(TOKEN))

    assert (answer.status_code, operator.commands) == (405, [])
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("method", ["FROB", "get", "POST2", "CONNECT"])
async def test_unknown_method_is_refused(send: Send, operator: Operator, method: str):
    answer = await send(f"{method} /api/v1/pause HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    assert answer.split(b" ", 2)[1] in (b"400", b"404", b"405")
    assert operator.commands == []


@pytest.mark.parametrize(
    "path", ["/api", "/api/v1/", "/api/v1/halt", "/api/v1/pause/", "/../etc/passwd"]
)
async def test_other_paths_are_not_found(http: httpx.AsyncClient, path: str):
    assert (await http.post(path, headers=build_headers(TOKEN))).status_code == 404


async def test_failed_command_is_told_and_the_server_lives_on(http: httpx.AsyncClient, operator: Operator):
    operator.error = JournalError("the disk is full")
    answer = await http.post("/api/v1/pause", headers=build_headers(TOKEN))

    assert (answer.status_code, answer.json()) == (503, {"error": "pause failed: the disk is full"})
    assert (await http.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        f"GET /{NOISE}?token={NOISE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
        f"GET /healthz HTTP/1.1\r\nHost: {NOISE}\r\n\r\n".encode(),
        f"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nAuthorization: {NOISE}\r\n\r\n".encode(),
        f"DELETE /healthz?{NOISE} HTTP/1.1\r\nHost: localhost\r\nCookie: {NOISE}\r\n\r\n".encode(),
        f"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nExpect: {NOISE}\r\n\r\n".encode(),
        f"POST /api/v1/{NOISE} HTTP/1.1\r\nHost: localhost\r\nExpect: {NOISE}\r\n\r\n".encode(),
        f"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nOrigin: http://{NOISE}\r\n\r\n".encode(),
        f"{NOISE}\r\n\r\n".encode(),
        f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nBad Header {NOISE}: 1\r\n\r\n".encode(),
        f"GET /healthz HTTP/1.1\r\nHost: localhost\r\n{NOISE}\x01: 1\r\n\r\n".encode(),
        f"GET /healthz {NOISE}/1.1\r\nHost: localhost\r\n\r\n".encode(),
    ],
)
async def test_nothing_that_was_sent_is_repeated_or_logged(
    send: Send, caplog: pytest.LogCaptureFixture, request_bytes: bytes
):
    answer = await send(request_bytes)

    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 400"))
    assert NOISE.encode() not in answer
    assert NOISE not in caplog.text


@pytest.mark.parametrize(
    "request_bytes",
    [
        f"{NOISE}\r\n\r\n".encode(),
        f"GET /healthz HTTP/1.1\r\nHost: x\r\nBad Header {NOISE}: 1\r\n\r\n".encode(),
        f"GET /{NOISE}{'a' * 20_000} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        b"\x16\x03\x01\x02\x00 a TLS greeting",
    ],
)
async def test_what_is_not_http_is_refused_without_a_log(
    send: Send, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture, request_bytes: bytes
):
    caplog.set_level(logging.INFO)
    answer = await send(request_bytes)

    assert answer.startswith(b"HTTP/1.0 400")
    assert not [record for record in caplog.records if record.name.startswith("aiohttp")]
    assert (await http.get("/healthz")).status_code == 200


async def test_bug_of_ours_is_logged_and_shows_nothing(
    http: httpx.AsyncClient, operator: Operator, caplog: pytest.LogCaptureFixture
):
    operator.error = ZeroDivisionError("inner words")
    answer = await http.post("/api/v1/pause", headers=build_headers(TOKEN))

    assert (answer.status_code, answer.json()) == (500, {"error": "an error of the daemon; its log tells more"})
    assert "inner words" in caplog.text


async def test_taken_port_is_an_error_that_may_pass(server: WebServer, operator: Operator):
    second = WebServer(operator, registry=CollectorRegistry(), token=None)

    told = rf"^HTTP_HOST, HTTP_PORT: cannot listen on 127\.0\.0\.1:{server.port}: .*; end what listens there"
    with pytest.raises(DehedgeError, match=told) as caught:
        await second.start("127.0.0.1", server.port)
    assert not isinstance(caught.value, ConfigError)


async def test_address_of_another_machine_is_a_configuration_error(operator: Operator):
    server = WebServer(operator, registry=CollectorRegistry(), token=None)

    with pytest.raises(ConfigError, match="^HTTP_HOST, HTTP_PORT: cannot listen on "):
        await server.start("192.0.2.1", 0)


async def test_close_is_quick_and_ends_idle_connections(server: WebServer):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    async with asyncio.timeout(5):
        await server.close()
        assert await reader.read() == b""
    writer.close()


async def test_close_before_start_does_nothing(operator: Operator):
    await WebServer(operator, registry=CollectorRegistry(), token=None).close()
