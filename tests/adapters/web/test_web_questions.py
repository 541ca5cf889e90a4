"""What is asked over HTTP reaches whoever knows, and what comes back is JSON or one line of words."""

from __future__ import annotations

import httpx
import pytest
from web_requests import Operator

from dehedge.errors import DehedgeError, QuestionInvalid

ASKED = ["explain?market=BTC-USD&position_id=0xab", "trips", "whatif?move=BTC-USD:-10"]


async def test_explanation_is_asked_for_by_market_and_position(http: httpx.AsyncClient, operator: Operator):
    answer = await http.get("/api/v1/explain", params={"market": "BTC-USD", "position_id": "0xab|0xcd"})

    assert (answer.status_code, answer.json()) == (200, {"text": ["why"]})
    assert operator.insight.asked == [("BTC-USD", "0xab|0xcd")]


@pytest.mark.parametrize("query", ["", "?market=BTC-USD", "?position_id=0xab", "?market=&position_id=0xab"])
async def test_explanation_of_nothing_is_refused_with_what_to_ask(http: httpx.AsyncClient, operator: Operator, query: str):
    answer = await http.get(f"/api/v1/explain{query}")

    assert answer.status_code == 400
    assert answer.json()["error"].endswith("is missing: ask with ?market=...&position_id=...")
    assert operator.insight.asked == []


@pytest.mark.parametrize(("query", "limit"), [("", 1_000), ("?limit=7", 7), ("?limit=2000", 1_000), ("?limit=0", 0)])
async def test_trips_are_as_many_as_are_asked_for(http: httpx.AsyncClient, operator: Operator, query: str, limit: int):
    answer = await http.get(f"/api/v1/trips{query}")

    assert (answer.status_code, answer.json()) == (200, {"trips": []})
    assert operator.insight.asked == [limit]


async def test_limit_that_is_none_is_refused(http: httpx.AsyncClient, operator: Operator):
    assert (await http.get("/api/v1/trips?limit=-1")).status_code == 400
    assert operator.insight.asked == []


async def test_moves_are_handed_on_as_they_are(http: httpx.AsyncClient, operator: Operator):
    answer = await http.get("/api/v1/whatif?move=BTC-USD:-10&move=ETH-USD:%2B5&other=1")
    await http.get("/api/v1/whatif")

    assert (answer.status_code, answer.json()) == (200, {"opens": []})
    assert operator.insight.asked == [["BTC-USD:-10", "ETH-USD:+5"], []]


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize(("error", "status"), [(QuestionInvalid("no such market"), 400), (DehedgeError("not yet"), 503)])
async def test_question_without_an_answer_is_refused_in_words(
    http: httpx.AsyncClient, operator: Operator, path: str, error: Exception, status: int
):
    operator.insight.error = error
    answer = await http.get(f"/api/v1/{path}")

    assert (answer.status_code, answer.json()) == (status, {"error": str(error)})


@pytest.mark.parametrize("path", ASKED)
async def test_questions_are_reads_alone(http: httpx.AsyncClient, operator: Operator, path: str):
    assert (await http.post(f"/api/v1/{path}")).status_code == 405
    assert operator.insight.asked == []
