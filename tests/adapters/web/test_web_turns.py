"""Many who ask at once: the loop turns between two answers, and one that takes long holds no other kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx
import pytest
from web_requests import Operator

CLIENTS = 20


class Ticks:
    """How often the loop has turned for somebody else."""

    def __init__(self) -> None:
        self.count = 0

    @asynccontextmanager
    async def counting(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self._count())
        yield
        task.cancel()

    async def _count(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/hedges", "/api/v1/positions", "/metrics"])
async def test_loop_turns_between_answers_however_many_ask_at_once(
    http: httpx.AsyncClient, operator: Operator, monkeypatch: pytest.MonkeyPatch, path: str
):
    ticks, seen = Ticks(), list[int]()

    def note(answer: object) -> object:
        seen.append(ticks.count)
        return answer

    monkeypatch.setattr(operator, "get_status", lambda: note({}))
    monkeypatch.setattr(operator, "get_hedges", lambda *_: note({}))
    monkeypatch.setattr(operator, "get_positions", lambda *_: note([]))
    monkeypatch.setattr(operator, "measure", lambda: note(None))
    async with ticks.counting():
        answers = await asyncio.gather(*(http.get(path) for _ in range(CLIENTS)))

    assert {answer.status_code for answer in answers} == {200}
    assert len(set(seen)) == len(seen) == CLIENTS


async def test_answer_that_fails_gives_its_turn_to_the_next(http: httpx.AsyncClient, operator: Operator, monkeypatch):
    def fail() -> None:
        raise ValueError("a mistake")

    monkeypatch.setattr(operator, "measure", fail)

    assert (await http.get("/metrics")).status_code == 500
    assert (await http.get("/api/v1/status")).status_code == 200


@pytest.mark.parametrize(
    ("name", "path"), [("foresee", "/api/v1/whatif?move=BTC-USD:1"), ("find_trips", "/api/v1/trips")]
)
async def test_answer_that_takes_long_keeps_no_other_path_waiting(
    http: httpx.AsyncClient, operator: Operator, monkeypatch: pytest.MonkeyPatch, name: str, path: str
):
    asked, answered = asyncio.Event(), asyncio.Event()

    async def wait(_: object) -> Mapping[str, object]:
        asked.set()
        await answered.wait()
        return {}

    monkeypatch.setattr(operator.insight, name, wait)
    waiting = asyncio.ensure_future(http.get(path))
    await asked.wait()

    assert (await http.get("/api/v1/status")).status_code == 200
    assert not waiting.done()
    answered.set()
    assert (await waiting).status_code == 200
