"""The page and its files: what is served, under which policy, and that nothing else is."""

from __future__ import annotations

import hashlib
import re

import httpx
import pytest
from prometheus_client import CollectorRegistry
from web_requests import Onlooker, Operator, Send

from dehedge.adapters.web import WebServer
from dehedge.adapters.web.assets import read_assets
from dehedge.adapters.web.connection import HEADERS
from dehedge.adapters.web.dashboard import POLICY

ASSETS = read_assets()
VENDOR = {
    "vendor/uplot/uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "vendor/uplot/uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "vendor/uplot/LICENSE.txt": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
OURS = {path: asset.content.decode() for path, asset in ASSETS.items() if path not in VENDOR}


async def test_page_is_served_with_a_policy_that_lets_nothing_else_in(http: httpx.AsyncClient):
    answer = await http.get("/")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY
    assert {name: answer.headers[name] for name in HEADERS if name != "Content-Security-Policy"} == {
        name: value for name, value in HEADERS.items() if name != "Content-Security-Policy"
    }


@pytest.mark.parametrize("path", sorted(ASSETS))
async def test_every_file_of_the_page_is_served(http: httpx.AsyncClient, path: str):
    answer = await http.get(f"/static/{path}")

    assert (answer.status_code, answer.content) == (200, ASSETS[path].content)
    assert answer.headers["Content-Type"] == f"{ASSETS[path].content_type}; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [b"/static/", b"/static/../server.py", b"/static/%2e%2e/server.py", b"/static/..%2fserver.py", b"/static/panels",
     b"/static/panels/", b"/static//style.css", b"/static/style.css%00", b"/static", b"/index.html", b"/favicon.ico",
     b"//healthz"],
)  # fmt: skip
async def test_what_is_no_file_of_the_page_is_not_found(send: Send, path: bytes):
    answer = await send(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 404")
    assert b"import" not in answer


@pytest.mark.parametrize("path", sorted(VENDOR))
def test_file_of_others_is_the_one_that_was_published(path: str):
    assert hashlib.sha256(ASSETS[path].content).hexdigest() == VENDOR[path]
    assert {name for name in ASSETS if name.startswith("vendor/")} == set(VENDOR)


@pytest.mark.parametrize("path", sorted(OURS))
def test_file_of_ours_parses_no_markup_runs_no_text_and_names_no_other_place(path: str):
    forbidden = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function|DOMParser|\bon[a-z]+=|style="
    named = [url for url in re.findall(r"https?://[^\s\"')]+", OURS[path]) if url != "http://www.w3.org/2000/svg"]

    assert re.findall(forbidden, OURS[path]) == []
    assert named == []


def test_page_asks_for_files_that_are_there():
    asked = {name for text in OURS.values() for name in re.findall(r'(?:src|href)="/static/([^"]+)"', text)}
    imported = {
        str(httpx.URL(f"http://x/{path}").join(name).path).removeprefix("/")
        for path, text in OURS.items()
        for name in re.findall(r'from "([^"]+)"', text)
    }

    assert asked
    assert asked | imported <= set(ASSETS)
    assert set(ASSETS) - asked - imported == {"index.html", "vendor/uplot/LICENSE.txt"}


async def test_data_of_the_page_is_json(http: httpx.AsyncClient, onlooker: Onlooker):
    assert (await http.get("/api/v1/exposure")).json() == {"exposure": [{"market": "BTC-USD"}]}
    assert (await http.get("/api/v1/inputs")).json() == {"inputs": [{"name": "chain"}]}
    assert (await http.get("/api/v1/series")).json() == {"prices": {}}
    assert (await http.get("/api/v1/series?market=BTC-USD")).json() == {"prices": {}}
    assert onlooker.asked == ["series None", "series BTC-USD"]


@pytest.mark.parametrize(("query", "numbers"), [("", [*range(1, 8)]), ("?after=5", [6, 7]), ("?after=7", [])])
async def test_events_are_those_after_a_number(http: httpx.AsyncClient, query: str, numbers: list[int]):
    answer = await http.get(f"/api/v1/events{query}")

    assert [row["number"] for row in answer.json()["events"]] == numbers


async def test_number_that_is_none_is_refused(http: httpx.AsyncClient):
    assert (await http.get("/api/v1/events?after=x")).status_code == 400


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/v1/stream", "/api/v1/series"])
async def test_foreign_host_gets_nothing_of_the_page(http: httpx.AsyncClient, path: str):
    assert (await http.get(path, headers={"Host": "evil.example"})).status_code == 403


async def test_server_without_a_dashboard_has_no_page(operator: Operator):
    server = WebServer(operator, registry=CollectorRegistry(), token=None)
    await server.start("127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        assert (await client.get("/")).status_code == 404
    await server.close()
