"""A server on 127.0.0.1 with an operator that remembers what it was told, and clients that speak plain HTTP and raw bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge
from web_requests import HOST, TOKEN, History, Onlooker, Operator, Send

from dehedge.adapters.web import Dashboard, WebServer
from dehedge.surfaces import TradedOn


@pytest.fixture
def operator() -> Operator:
    return Operator()


@pytest.fixture
def history() -> History:
    return History()


@pytest.fixture
def onlooker() -> Onlooker:
    return Onlooker()


@pytest.fixture
def dashboard(operator: Operator, onlooker: Onlooker) -> Dashboard:
    return Dashboard(operator, onlooker, clock=onlooker, account=TradedOn("custom", "127.0.0.1:1"))


@pytest.fixture
async def server(operator: Operator, dashboard: Dashboard, history: History) -> AsyncIterator[WebServer]:
    registry = CollectorRegistry()
    Gauge("dehedge_test", "A gauge.", registry=registry).set(7)
    server = WebServer(
        operator, registry=registry, token=TOKEN, hosts=["0.0.0.0", HOST], dashboard=dashboard, history=history
    )
    await server.start("127.0.0.1", 0)
    yield server
    await server.close()


@pytest.fixture
async def http(server: WebServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
        yield client


@pytest.fixture
def send(server: WebServer) -> Send:
    """Exactly these bytes, and everything that comes back until the server closes."""

    async def send_raw(request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(60):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    return send_raw
