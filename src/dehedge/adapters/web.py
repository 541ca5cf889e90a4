"""The HTTP surface: health, readiness, metrics, the read API, and the operator's commands.

Knows only ``ports.Operator``. What changes something wants the bearer token, compared in constant time; without a
configured token it is refused. Nothing that a request holds is ever logged, nor repeated in an answer to what is HTTP.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from dehedge.errors import ConfigError, DehedgeError
from dehedge.ports import Operator

log = structlog.get_logger()

BODY_MAX_BYTES = 65_536
SHUTDOWN_S = 1.0
REFUSAL = {"error": "a valid bearer token is needed (HTTP_TOKEN)"}


class WebServer:
    """Serves one operator's view on one address."""

    def __init__(self, operator: Operator, *, registry: CollectorRegistry, token: str | None) -> None:
        self.port = 0
        self._operator = operator
        self._registry = registry
        self._token = token
        self._runner: web.AppRunner | None = None
        logging.getLogger("aiohttp.server").addFilter(_check_is_ours)

    async def start(self, host: str, port: int) -> None:
        """Listen; raises ``ConfigError`` when the address cannot be had."""
        self._runner = web.AppRunner(self._build_app(), access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"HTTP_PORT: cannot listen on {host}:{port}: {error.strerror}; free it or choose another"
            ) from error
        self.port = self._runner.addresses[0][1]
        log.info("http_started", host=host, port=self.port)

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def _build_app(self) -> web.Application:
        operator = self._operator
        app = web.Application(client_max_size=BODY_MAX_BYTES)
        app.router.add_get("/healthz", self._get_health)
        app.router.add_get("/readyz", self._get_readiness)
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/api/v1/status", _answer(operator.get_status))
        app.router.add_get("/api/v1/hedges", _answer(lambda: {"hedges": operator.get_hedges()}))
        app.router.add_get("/api/v1/positions", _answer(lambda: {"positions": operator.get_positions()}))
        for name, command in (("pause", operator.pause), ("resume", operator.resume), ("flatten", operator.flatten)):
            app.router.add_post(f"/api/v1/{name}", self._guard(name, command))
        return app

    async def _get_health(self, _: web.Request) -> web.Response:
        is_alive = self._operator.check_alive()
        return web.json_response({"alive": is_alive}, status=200 if is_alive else 503)

    async def _get_readiness(self, _: web.Request) -> web.Response:
        obstacles = list(self._operator.find_obstacles())
        return web.json_response({"ready": not obstacles, "reasons": obstacles}, status=503 if obstacles else 200)

    async def _get_metrics(self, _: web.Request) -> web.Response:
        self._operator.find_obstacles()
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _guard(self, name: str, command: Callable[[], Awaitable[None]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            if not self._check_token(request.headers.get("Authorization", "")):
                return web.json_response(REFUSAL, status=401, headers={"WWW-Authenticate": "Bearer"})
            try:
                await command()
            except DehedgeError as error:
                log.error("operator_command_failed", command=name, error=str(error))
                return web.json_response({"error": f"{name} failed: {error}"}, status=503)
            log.warning("operator_command_received", command=name)
            return web.json_response({"done": name}, status=202)

        return handle

    def _check_token(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        if self._token is None or scheme.lower() != "bearer":
            return False
        # Bytes that are not UTF-8 arrive as surrogates.
        given, wanted = (text.encode("utf-8", "surrogateescape") for text in (token.strip(), self._token))
        return hmac.compare_digest(given, wanted)


def _answer(build: Callable[[], object]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_: web.Request) -> web.Response:
        return web.json_response(build())

    return handle


def _check_is_ours(record: logging.LogRecord) -> bool:
    """False for what aiohttp logs of requests that are not HTTP: anybody can send those, with any text in them."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
