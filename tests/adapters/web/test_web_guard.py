"""What a browser can be made to send is refused, and so is every body that is not a command."""

from __future__ import annotations

import json
import socket

import httpx
import pytest
from prometheus_client import CollectorRegistry
from web_requests import HOST, TOKEN, Operator, Send, build_headers, build_post

from dehedge.adapters.web import WebServer
from dehedge.adapters.web.connection import HEADERS
from dehedge.adapters.web.guard import BODY_MAX_BYTES, REASON_LENGTH_MAX
from dehedge.core.book import TradingMode
from dehedge.core.switch import PAUSED

OURS = [
    "localhost",
    "LocalHost:1",
    "127.0.0.1",
    "127.0.0.1:8780",
    "127.1.2.3",
    "[::1]",
    "[::1]:8780",
    HOST,
    f"{HOST.upper()}:443",
]
FOREIGN = [
    "evil.example", "evil.example:8780", "localhost.evil.example", f"{HOST}.evil.example", f"x{HOST}", "127.0.0.1.evil.example",
    "10.0.0.1", "0.0.0.0", "[::]", "[::2]", "2130706433", "localhost.", "127.0.0.1.nip.io",
]  # fmt: skip
MALFORMED = [
    "",
    ":80",
    "localhost:",
    "localhost:x",
    "localhost@evil.example",
    "evil.example@localhost",
    "a b",
    "localhost/",
    "[::1",
    "::1",
]


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("host", OURS)
async def test_our_own_hosts_are_served(http: httpx.AsyncClient, host: str):
    assert (await http.get("/healthz", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/api/v1/status", "/api/v1/flatten", "/nowhere"])
@pytest.mark.parametrize("host", FOREIGN)
async def test_foreign_host_is_refused_on_every_path(http: httpx.AsyncClient, path: str, host: str):
    answer = await http.get(path, headers={"Host": host})

    assert answer.status_code == 403
    assert answer.json() == {"error": "this daemon is not known by that host (HTTP_ALLOWED_HOSTS)"}


@pytest.mark.parametrize("host", FOREIGN)
async def test_foreign_host_is_refused_even_with_the_token(http: httpx.AsyncClient, operator: Operator, host: str):
    answer = await http.post("/api/v1/flatten", headers={"Host": host, **build_headers()})

    assert (answer.status_code, operator.commands) == (403, [])


@pytest.mark.parametrize("host", MALFORMED)
async def test_host_that_is_none_is_refused(send: Send, operator: Operator, host: str):
    answer = await send(build_post(b"Host: " + host.encode()))

    assert (status_of(answer), operator.commands) == (400, [])


@pytest.mark.parametrize(
    "hosts", [[], [b"Host: localhost", b"Host: evil.example"], [b"Host: localhost", b"Host: localhost"]]
)
async def test_exactly_one_host_is_wanted(send: Send, operator: Operator, hosts: list[bytes]):
    assert status_of(await send(build_post(*hosts))) == 400
    assert operator.commands == []


async def test_health_check_of_the_old_school_needs_no_host(send: Send):
    assert status_of(await send(b"GET /healthz HTTP/1.0\r\n\r\n")) == 200


async def test_address_that_the_connection_came_to_is_ours(operator: Operator):
    own = find_own_address()
    server = WebServer(operator, registry=CollectorRegistry(), token=None, hosts=["0.0.0.0"])
    await server.start("0.0.0.0", 0)
    async with httpx.AsyncClient(trust_env=False) as client:
        named = await client.get(f"http://{own}:{server.port}/healthz")
        foreign = await client.get(f"http://127.0.0.1:{server.port}/healthz", headers={"Host": own})
    await server.close()

    assert (named.status_code, foreign.status_code) == (200, 200 if own.startswith("127.") else 403)


def find_own_address() -> str:
    """An address of this machine, the loopback's where there is no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "anything"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/pause", "/api/v1/resume", "/api/v1/flatten", "/nowhere"])
async def test_cross_site_post_is_refused_even_with_the_token(
    http: httpx.AsyncClient, operator: Operator, headers: dict[str, str], path: str
):
    answer = await http.post(path, headers={**headers, **build_headers()})

    assert (answer.status_code, operator.commands) == (403, [])
    assert answer.json() == {"error": "cross-site requests are not obeyed"}
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_page_of_our_own_may_post(http: httpx.AsyncClient, server: WebServer, operator: Operator):
    for origin in (f"http://127.0.0.1:{server.port}", f"HTTP://127.0.0.1:{server.port}"):
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin", **build_headers()}
        assert (await http.post("/api/v1/pause", headers=headers)).status_code == 202
    assert (await http.post("/api/v1/pause", headers={"Sec-Fetch-Site": "none", **build_headers()})).status_code == 202
    assert operator.commands == ["pause"] * 3


@pytest.mark.parametrize("level", [*PAUSED, None])
async def test_pause_takes_a_level_and_a_reason(http: httpx.AsyncClient, operator: Operator, level: TradingMode | None):
    answer = await http.post(
        "/api/v1/pause", headers=build_headers(), json={"level": level, "reason": "noise on the line"}
    )

    assert answer.status_code == 202
    assert operator.told == [(level, "pause from 127.0.0.1: noise on the line")]


@pytest.mark.parametrize("command", ["pause", "resume", "flatten"])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"reason": ""}', b" {} "])
async def test_reason_names_the_command_and_who_sent_it(
    http: httpx.AsyncClient, operator: Operator, command: str, body: bytes
):
    headers = {**build_headers(), "Content-Type": b"application/json; charset=utf-8"}
    assert (await http.post(f"/api/v1/{command}", headers=headers, content=body)).status_code == 202

    assert operator.told == [(None, f"{command} from 127.0.0.1")]


BAD_BODIES = {
    "no JSON": b"level=halted",
    "cut": b'{"level": "halted"',
    "not UTF-8": b'{"reason": "\xff"}',
    "deep": b"[" * 4_000,
    "huge number": b'{"level": ' + b"9" * 4_000 + b"}",
    "a list": b"[]",
    "null": b"null",
    "a word": b'"halted"',
    "unknown level": b'{"level": "sideways"}',
    "active": b'{"level": "active"}',
    "level of another kind": b'{"level": ["halted"]}',
    "level false": b'{"level": false}',
    "unknown field": b'{"levle": "halted"}',
    "reason of another kind": b'{"reason": 1}',
    "reason of two lines": b'{"reason": "a\\nb"}',
    "reason with an escape": b'{"reason": "\\u001b[2J"}',
    "long reason": json.dumps({"reason": "x" * (REASON_LENGTH_MAX + 1)}).encode(),
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
async def test_body_that_is_no_command_is_refused_without_being_repeated(
    http: httpx.AsyncClient, operator: Operator, body: bytes
):
    headers = {**build_headers(), "Content-Type": b"application/json"}
    answer = await http.post("/api/v1/pause", headers=headers, content=body)

    assert (answer.status_code, operator.commands) == (400, [])
    assert set(answer.json()) == {"error"}
    assert "sideways" not in answer.text
    assert "levle" not in answer.text


@pytest.mark.parametrize("command", ["resume", "flatten"])
async def test_level_is_for_the_pause_alone(http: httpx.AsyncClient, operator: Operator, command: str):
    answer = await http.post(f"/api/v1/{command}", headers=build_headers(), json={"level": "halted"})

    assert (answer.status_code, operator.commands) == (400, [])


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json", "x"]
)
async def test_body_of_another_type_is_refused(http: httpx.AsyncClient, operator: Operator, kind: str):
    headers = {**build_headers(), **({"Content-Type": kind.encode()} if kind else {})}
    answer = await http.post("/api/v1/pause", headers=headers, content=b'{"level": "halted"}')

    assert (answer.status_code, operator.commands) == (415, [])


async def test_encoded_body_is_refused_and_never_unpacked(http: httpx.AsyncClient, operator: Operator):
    headers = {**build_headers(), "Content-Type": b"application/json", "Content-Encoding": b"gzip"}
    answer = await http.post("/api/v1/pause", headers=headers, content=b"\x1f\x8b\x08 and so on")

    assert (answer.status_code, operator.commands) == (415, [])


@pytest.mark.parametrize("size", [BODY_MAX_BYTES + 1, 1_000_000])
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_oversized_body_is_refused(http: httpx.AsyncClient, operator: Operator, size: int, is_chunked: bool):
    async def stream():
        for start in range(0, size, 65_536):
            yield b"x" * min(65_536, size - start)

    content = stream() if is_chunked else b"x" * size
    headers = {**build_headers(), "Content-Type": b"application/json"}
    answer = await http.post("/api/v1/pause", headers=headers, content=content)

    assert (answer.status_code, operator.commands) == (413, [])
    assert answer.json() == {"error": f"a body has {BODY_MAX_BYTES} bytes at most"}


async def test_body_of_the_largest_size_is_taken(http: httpx.AsyncClient, operator: Operator):
    body = b'{"level": "halted"}'.ljust(BODY_MAX_BYTES)
    answer = await http.post(
        "/api/v1/pause", headers={**build_headers(), "Content-Type": b"application/json"}, content=body
    )

    assert (answer.status_code, operator.told[0][0]) == (202, TradingMode.HALTED)


async def test_oversized_body_is_refused_before_it_comes(send: Send, operator: Operator):
    answer = await send(build_post(b"Host: localhost", b"Content-Length: 10000000000"))

    assert (status_of(answer), operator.commands) == (413, [])


async def test_body_is_not_looked_at_without_the_token(send: Send, operator: Operator):
    head = b"POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n"

    assert status_of(await send(head)) == 401
    assert operator.commands == []


async def test_body_that_is_not_as_announced_is_refused(send: Send, operator: Operator):
    answer = await send(build_post(b"Host: localhost", b"Transfer-Encoding: chunked", body=b"zz\r\nnonsense\r\n"))

    assert (status_of(answer), operator.commands) == (400, [])


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/api/v1/status", "/nowhere"])
async def test_every_answer_carries_the_headers_that_browsers_obey(
    http: httpx.AsyncClient, operator: Operator, path: str
):
    operator.error = ZeroDivisionError()
    for answer in (
        await http.get(path), await http.get(path, headers={"Host": "evil.example"}), await http.delete(path),
        await http.post("/api/v1/pause"), await http.post("/api/v1/pause", headers=build_headers()),
    ):  # fmt: skip
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert answer.status_code < 400 or answer.headers["Content-Type"].startswith("application/json")


async def test_what_is_not_http_is_answered_with_the_same_headers(send: Send):
    answer = await send(b"\x16\x03\x01\x02\x00 a TLS greeting\r\n\r\n")

    assert b"Server: dehedge\r\n" in answer
    assert answer.endswith(b'{"error": "bad request"}')


async def test_empty_token_is_nobodys(operator: Operator):
    server = WebServer(operator, registry=CollectorRegistry(), token="")
    await server.start("127.0.0.1", 0)
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"http://127.0.0.1:{server.port}/api/v1/pause", headers={"Authorization": "Bearer"})
    await server.close()

    assert (answer.status_code, operator.commands) == (401, [])


async def test_token_is_never_in_an_answer(http: httpx.AsyncClient, operator: Operator):
    operator.error = ZeroDivisionError(TOKEN)
    answer = await http.post("/api/v1/pause", headers=build_headers())

    assert TOKEN not in answer.text
