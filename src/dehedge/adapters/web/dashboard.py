"""The dashboard: its page and files, and the paths that only it asks for.

Knows ``surfaces.Operator`` and ``surfaces.Onlooker``. Everything here is read without a token, like the status; what the page
changes goes through the commands of ``server``, with the token. The page loads nothing but what this daemon serves, which
its Content-Security-Policy says to the browser as well. Made by the daemon, and given to ``server``.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from dehedge import __version__
from dehedge.adapters.web.assets import Asset, read_assets
from dehedge.adapters.web.guard import Refusal, read_number
from dehedge.adapters.web.stream import Hub, serve_stream
from dehedge.adapters.web.turns import queue
from dehedge.ports import Clock
from dehedge.surfaces import Onlooker, Operator, TradedOn

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

HEDGES_MAX = 50
"""Told to every page that watches, each second: the first page of the table. For the others it asks."""


class Dashboard:
    """``account`` is what the daemon trades on."""

    def __init__(self, operator: Operator, onlooker: Onlooker, *, clock: Clock, account: TradedOn) -> None:
        self._operator = operator
        self._onlooker = onlooker
        self._clock = clock
        self._account = account
        self._assets: Mapping[str, Asset] = read_assets()
        self._app: web.Application | None = None
        self.hub = Hub(
            {
                "hello": self._build_hello,
                "beat": self._build_beat,
                "status": self._build_status,
                "inputs": self._build_inputs,
                "hedges": self._build_hedges,
                "now": self._build_now,
                "events": self._build_event_count,
                "exposure": self._build_exposure,
            }
        )

    def add_routes(self, app: web.Application) -> None:
        """Add the paths. All of the application are told to the page, which asks for nothing else."""
        self._app = app
        app.router.add_get("/", self._get_page)
        app.router.add_get("/static/{path:.+}", self._get_asset)
        app.router.add_get("/api/v1/stream", self._get_stream, allow_head=False)
        app.router.add_get("/api/v1/series", queue(self._get_series))
        app.router.add_get("/api/v1/events", queue(self._get_events))
        app.router.add_get("/api/v1/exposure", queue(self._get_exposure))
        app.router.add_get("/api/v1/inputs", queue(self._get_inputs))
        app.on_shutdown.append(self._close)

    async def _close(self, _: web.Application) -> None:
        await self.hub.close()

    async def _get_page(self, _: web.Request) -> web.Response:
        return _send(self._assets["index.html"])

    async def _get_asset(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["path"])
        if asset is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there is no such path")
        return _send(asset)

    async def _get_stream(self, request: web.Request) -> web.StreamResponse:
        return await serve_stream(request, self.hub)

    async def _get_series(self, request: web.Request) -> web.Response:
        return web.json_response(self._onlooker.get_series(request.query.get("market")))

    async def _get_events(self, request: web.Request) -> web.Response:
        return web.json_response({"events": self._onlooker.get_events(read_number(request, "after", 0))})

    async def _get_exposure(self, _: web.Request) -> web.Response:
        return web.json_response(await self._build_exposure())

    async def _get_inputs(self, _: web.Request) -> web.Response:
        return web.json_response(await self._build_inputs())

    async def _build_hello(self) -> object:
        resources = self._app.router.resources() if self._app is not None else ()
        paths = sorted({resource.canonical for resource in resources})
        return {
            "version": __version__, "account": self._account.name, "endpoint": self._account.endpoint, "paths": paths,
        }  # fmt: skip

    async def _build_beat(self) -> object:
        return {"now": self._clock.time()}

    async def _build_status(self) -> object:
        return self._operator.get_status()

    async def _build_inputs(self) -> object:
        return {"inputs": self._onlooker.get_inputs()}

    async def _build_hedges(self) -> object:
        return self._operator.get_hedges(0, HEDGES_MAX)

    async def _build_now(self) -> object:
        return self._onlooker.get_now()

    async def _build_event_count(self) -> object:
        return {"count": self._onlooker.count_events()}

    async def _build_exposure(self) -> object:
        return {"exposure": await self._onlooker.measure_exposure()}


def _send(asset: Asset) -> web.Response:
    headers = {"Content-Security-Policy": POLICY}
    return web.Response(body=asset.content, content_type=asset.content_type, charset="utf-8", headers=headers)
