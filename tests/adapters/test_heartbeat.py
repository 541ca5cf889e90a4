"""The dead man's switch against a real HTTP server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from structlog.testing import capture_logs
from tests.connectors.conftest import eventually

from dehedge import metrics
from dehedge.adapters.heartbeat import Heartbeat, ping

KEY = "3f2a9c10-secret-check-0123456789"


class Switch:
    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.status = 200

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        return web.Response(status=self.status, text="OK", headers={"Location": "/elsewhere"})


@asynccontextmanager
async def a_switch():
    switch = Switch()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", switch.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    switch.url = f"http://127.0.0.1:{runner.addresses[0][1]}/ping/{KEY}"
    try:
        yield switch
    finally:
        await runner.cleanup()


def count(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("dehedge_heartbeats_total", {"outcome": outcome}) or 0.0


async def test_heartbeat_pings_only_while_passes_happen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dehedge.adapters.heartbeat.LOOK_S", 0.01)
    is_passing, looks = False, 0

    def check() -> bool:
        nonlocal looks
        looks += 1
        return is_passing

    async with a_switch() as switch:
        task = asyncio.ensure_future(Heartbeat(switch.url, interval_s=0.01, check_passing=check).run())
        await eventually(lambda: looks > 5)
        assert switch.asked == []
        is_passing = True
        await eventually(lambda: len(switch.asked) > 2)
        is_passing = False
        await eventually(lambda: looks > 20)
        asked = len(switch.asked)
        looks = 0
        await eventually(lambda: looks > 5)
        assert len(switch.asked) == asked
        task.cancel()

    assert set(switch.asked) == {f"GET /ping/{KEY}"}


async def test_heartbeat_logs_a_failure_once_without_the_address_and_goes_on():
    failed, sent = count("failed"), count("sent")
    with capture_logs() as logs:
        async with a_switch() as switch:
            switch.status = 404
            task = asyncio.ensure_future(Heartbeat(switch.url, interval_s=0.01, check_passing=lambda: True).run())
            await eventually(lambda: len(switch.asked) > 3)
            switch.status = 200
            await eventually(lambda: count("sent") > sent)
            task.cancel()

    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("heartbeat_failed", "HTTP 404"), ("heartbeat_recovered", None),
    ]  # fmt: skip
    assert count("failed") - failed > 3


@pytest.mark.parametrize("status", [302, 403, 500])
async def test_ping_follows_no_redirect_and_believes_nothing_but_success(status: int):
    async with a_switch() as switch:
        switch.status = status
        assert await ping(switch.url) == f"HTTP {status}"
    assert len(switch.asked) == 1


async def test_ping_tells_no_address_when_nobody_listens():
    async with a_switch() as switch:
        pass

    failure = await ping(switch.url)

    assert failure == "ClientConnectorError"
