"""The paths that explain and foresee: why a position is hedged, which are nearest to it, what if prices moved.

Reads what is asked for from the query and hands it to ``surfaces.Insight``, which knows what it may be. A question that means
nothing is answered with 400 and what to ask instead, one that cannot be answered now with 503. Used by ``server``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web

from dehedge.adapters.web.guard import Refusal, read_page
from dehedge.adapters.web.turns import Handler, queue
from dehedge.errors import DehedgeError, QuestionInvalid
from dehedge.surfaces import Insight


def build_routes(insight: Insight) -> list[web.AbstractRouteDef]:
    """Reads alone: none of them needs the token. What waits for the exchange keeps nobody's turn."""

    async def explain(request: web.Request) -> Mapping[str, object]:
        return insight.explain(_read(request, "market"), _read(request, "position_id"))

    async def find_trips(request: web.Request) -> Mapping[str, object]:
        return await insight.find_trips(read_page(request).limit)

    async def foresee(request: web.Request) -> Mapping[str, object]:
        return await insight.foresee(request.query.getall("move", []))

    paths = {"explain": queue(_answer(explain)), "trips": queue(_answer(find_trips)), "whatif": _answer(foresee)}
    return [web.get(f"/api/v1/{name}", handle) for name, handle in paths.items()]


def _read(request: web.Request, name: str) -> str:
    given = request.query.get(name, "")
    if not given:
        raise QuestionInvalid(f"{name} is missing: ask with ?market=...&position_id=...")
    return given


def _answer(
    ask: Callable[[web.Request], Awaitable[Mapping[str, object]]],
) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        try:
            return web.json_response(await ask(request))
        except QuestionInvalid as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
        except DehedgeError as error:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from error

    return handle
