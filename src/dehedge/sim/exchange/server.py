"""The exchange on TCP: aiohttp around ``Api`` and ``Streams``, and the faults that only a socket can have.

Owns the listening port and the background beat that pushes prices every second. Holds no rule of trading. ``SimExchange``
drives it; a request becomes one synchronous ``Api.handle`` call, before or after which a fault may wait, cut or lie.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

from dehedge.sim.exchange.api import Api, ApiReply, dump
from dehedge.sim.exchange.auth import ApiRequest
from dehedge.sim.exchange.calls import PLAIN, Treatment
from dehedge.sim.exchange.faults import JSON_TYPE, Answer, Executes, Fault, FaultPlan, Loss
from dehedge.sim.exchange.streams import Streams

HOST = "127.0.0.1"
SHUTDOWN_S = 0.01
"""How long a request in hand may take to end by itself when the server closes; it is cut then."""


class Server:
    """Listens, takes requests apart, and puts replies together. ``pump`` is called after every execution."""

    def __init__(self, api: Api, faults: FaultPlan, streams: Streams, pump: Callable[[], None]) -> None:
        self._api, self._faults, self._streams, self._pump = api, faults, streams, pump
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def open(self) -> None:
        """Listen on the port of the last time, or on any."""
        assert self._runner is None, "the server is already open"
        app = web.Application(client_max_size=2**20)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self._streams.drop()
            await runner.cleanup()

    async def end(self) -> None:
        """Close, and give up what was still to be executed."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.close()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._streams.serve(request)
        wire = ApiRequest(
            method=request.method,
            path=request.path,
            query=request.rel_url.raw_query_string,
            body=(await request.read()).decode("utf-8", "replace"),
            api_key=request.headers.get("X-MBX-APIKEY"),
            address=request.remote or "",
        )
        fault = self._faults.take(wire)
        if fault is None:
            return build_response(self._execute(wire, PLAIN))
        return await self._serve_faulty(request, wire, fault)

    def _execute(self, wire: ApiRequest, treatment: Treatment) -> ApiReply:
        reply = self._api.handle(wire, treatment)
        self._pump()
        return reply

    async def _serve_faulty(self, request: web.Request, wire: ApiRequest, fault: Fault) -> web.StreamResponse:
        """Nothing here is canceled when the client goes away: the exchange carries on without it."""
        treatment = Treatment(fault.fill_ratio, fault.hidden_s, self._api.get_now_ms(), fault.name)
        self._pump()
        if fault.throttle_s:
            self._api.throttle(wire.address, fault.throttle_s)
        await asyncio.sleep(fault.delay_before_s)
        reply = self._carry_out(wire, fault, treatment)
        await asyncio.sleep(fault.delay_after_s)
        if isinstance(fault.answer, Loss):
            return await self._lose(request, fault.answer)
        return self._build_answer(wire, fault.answer, reply)

    def _carry_out(self, wire: ApiRequest, fault: Fault, treatment: Treatment) -> ApiReply | None:
        """Execute now, or later, or only write down that nothing was executed."""
        if fault.executes is Executes.NOW:
            return self._execute(wire, treatment)
        if fault.executes is Executes.LATE:
            self.spawn(self._execute_late(wire, fault.late_s, treatment))
            return None
        self._api.note(wire, None, fault.name)
        self._pump()
        return None

    async def _execute_late(self, wire: ApiRequest, late_s: float, treatment: Treatment) -> None:
        await asyncio.sleep(late_s)
        self._execute(wire, treatment)

    def _build_answer(self, wire: ApiRequest, answer: Answer | None, reply: ApiReply | None) -> web.Response:
        """A lie, with the weight header that the exchange puts on all it sends itself; or the truth."""
        if answer is None:
            assert reply is not None, "a call that is not executed now needs an answer"
            return build_response(reply)
        headers = self._api.build_weight_header(wire.address) if answer.content_type == JSON_TYPE else {}
        body = self._build_gateway_body(wire, answer.body) if answer.gateway else answer.body
        return web.Response(status=answer.status, text=body, content_type=answer.content_type, headers=headers)

    def _build_gateway_body(self, wire: ApiRequest, msg: str) -> str:
        return dump({"timestamp": self._api.get_now_ms(), "path": wire.path, "msg": msg})

    async def _lose(self, request: web.Request, loss: Loss) -> web.Response:
        """Never answer: keep silent until the server closes, or cut the connection at once."""
        if loss is Loss.HANG:
            await asyncio.Event().wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


def build_response(reply: ApiReply) -> web.Response:
    return web.Response(status=reply.status, text=reply.body, content_type=JSON_TYPE, headers=reply.headers)
