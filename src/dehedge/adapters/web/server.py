"""The paths of the HTTP surface, and who answers them.

Knows only ``surfaces.Operator``. What changes something wants the bearer token; what is refused before, and what a connection
may cost, is in ``guard`` and ``connection``. The answer to a command comes as soon as it is recorded.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from dehedge.adapters.web.connection import CONNECTIONS_MAX, LIFE_S, Connection, Refused, build_error
from dehedge.adapters.web.dashboard import Dashboard
from dehedge.adapters.web.guard import BODY_MAX_BYTES, Command, Guard, read_command, read_page, read_span
from dehedge.adapters.web.questions import build_routes
from dehedge.adapters.web.turns import queue
from dehedge.errors import ConfigError, DehedgeError
from dehedge.surfaces import HistorySource, Operator

log = structlog.get_logger()

SHUTDOWN_S = 1.0


class WebServer:
    """Serves one operator's view on one address; ``hosts`` are the names that it is called by, beside the loopback's."""

    def __init__(
        self,
        operator: Operator,
        *,
        registry: CollectorRegistry,
        token: str | None,
        hosts: Collection[str] = (),
        life_s: float = LIFE_S,
        history: HistorySource | None = None,
        dashboard: Dashboard | None = None,
    ) -> None:
        self.port = 0
        self._operator = operator
        self._history = history
        self._registry = registry
        self._guard = Guard(hosts, token)
        self._life_s = life_s
        self._dashboard = dashboard
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen; raises ``DehedgeError`` while something else listens there, and ``ConfigError`` for an address that cannot be had."""
        self._runner = web.AppRunner(self._build_app(), access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        try:
            self._listener = await asyncio.get_running_loop().create_server(self._accept, host, port)
        except OSError as error:
            await self._runner.cleanup()
            problem = f"HTTP_HOST, HTTP_PORT: cannot listen on {host}:{port}: {error.strerror}"
            if error.errno == errno.EADDRINUSE:
                raise DehedgeError(f"{problem}; end what listens there, or choose another HTTP_PORT") from error
            raise ConfigError(f"{problem}; correct them") from error
        self.port = self._listener.sockets[0].getsockname()[1]
        log.info("http_started", host=host, port=self.port)

    async def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _accept(self) -> asyncio.Protocol:
        server = self._runner.server if self._runner is not None else None
        if server is None or len(server.connections) >= CONNECTIONS_MAX:
            return Refused()
        return Connection(server, self._life_s)

    def _build_app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_MAX_BYTES, middlewares=[self._guard.refuse])
        app.router.add_get("/healthz", self._get_health)
        app.router.add_get("/readyz", self._get_readiness)
        app.router.add_get("/metrics", queue(self._get_metrics))
        app.router.add_get("/api/v1/status", queue(self._get_status))
        app.router.add_get("/api/v1/hedges", queue(self._get_hedges))
        app.router.add_get("/api/v1/positions", queue(self._get_positions))
        app.router.add_get("/api/v1/history", self._get_history)
        app.router.add_get("/api/v1/flat", self._get_flattening)
        app.router.add_routes(build_routes(self._operator.insight))
        app.router.add_post("/api/v1/pause", self._post_pause)
        app.router.add_post("/api/v1/resume", self._post_resume)
        app.router.add_post("/api/v1/flatten", self._post_flatten)
        if self._dashboard is not None:
            self._dashboard.add_routes(app)
        return app

    async def _get_health(self, _: web.Request) -> web.Response:
        is_alive = self._operator.check_alive()
        return web.json_response({"alive": is_alive}, status=200 if is_alive else 503)

    async def _get_readiness(self, _: web.Request) -> web.Response:
        obstacles = list(self._operator.find_obstacles())
        return web.json_response({"ready": not obstacles, "reasons": obstacles}, status=503 if obstacles else 200)

    async def _get_metrics(self, _: web.Request) -> web.Response:
        self._operator.measure()
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _get_status(self, _: web.Request) -> web.Response:
        return web.json_response(self._operator.get_status())

    async def _get_hedges(self, request: web.Request) -> web.Response:
        page = read_page(request)
        return web.json_response(self._operator.get_hedges(page.offset, page.limit))

    async def _get_positions(self, request: web.Request) -> web.Response:
        page = read_page(request)
        return web.json_response({"positions": self._operator.get_positions(page.offset, page.limit)})

    async def _get_history(self, request: web.Request) -> web.Response:
        """The newest happenings since a time."""
        span = read_span(request)
        try:
            events = await self._history.fetch_history(span.since, span.limit) if self._history is not None else []
        except DehedgeError as error:
            return build_error(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        return web.json_response({"events": events})

    async def _get_flattening(self, _: web.Request) -> web.Response:
        return web.json_response(await self._operator.fetch_flattening())

    async def _post_pause(self, request: web.Request) -> web.Response:
        return await self._obey("pause", request, lambda it, reason: self._operator.pause(it.level, reason=reason))

    async def _post_resume(self, request: web.Request) -> web.Response:
        return await self._obey("resume", request, lambda _, reason: self._operator.resume(reason=reason))

    async def _post_flatten(self, request: web.Request) -> web.Response:
        return await self._obey("flatten", request, lambda _, reason: self._operator.flatten(reason=reason))

    async def _obey(
        self, name: str, request: web.Request, carry_out: Callable[[Command, str], Awaitable[None]]
    ) -> web.Response:
        self._guard.check_token(request)
        command = await read_command(request, takes_level=name == "pause")
        reason = f"{name} from {request.remote}{': ' if command.reason else ''}{command.reason}"
        try:
            await carry_out(command, reason)
        except DehedgeError as error:
            log.error("operator_command_failed", command=name, reason=reason, error=str(error))
            return build_error(HTTPStatus.SERVICE_UNAVAILABLE, f"{name} failed: {error}")
        return web.json_response({"done": name}, status=202)
