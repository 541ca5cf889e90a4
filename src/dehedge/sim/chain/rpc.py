"""An in-process JSON-RPC endpoint over HTTP and websockets, faults included.

Owns the listening socket, the request log and the order in which faults apply; what is inside an answer belongs to
``Node``, how it leaves to ``wire``. Listens on 127.0.0.1 only, on a port that stays its own while it is down. Several
endpoints may serve one ``ChainState``. Used by ``InProcessChain``, and by tests of failover directly.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from aiohttp import web

from dehedge.sim.chain.faults import TOO_LARGE, Damage, ErrorReply, Fault, Faults, Reply
from dehedge.sim.chain.machine import ContractCall
from dehedge.sim.chain.node import HttpRefusal, JsonObject, Node
from dehedge.sim.chain.state import ChainState
from dehedge.sim.chain.subscriptions import Subscriptions
from dehedge.sim.chain.wire import (
    bind_loopback,
    build_error,
    build_json,
    build_reply,
    reset_connection,
    send_damaged,
)

HTTP_BODY_MAX_BYTES = 64 * 1024 * 1024
LOG_MAX_REQUESTS = 10_000
SHUTDOWN_S = 0.1


class LoggedRequest(NamedTuple):
    """One JSON-RPC call; a batch is several with one ``http_index``. ``calls`` is empty where a fault came first."""

    method: str
    params: Any
    http_index: int
    peer_port: int
    calls: Sequence[ContractCall] = ()


class SimRpc:
    """One endpoint, on a free port unless one is given. ``faults`` may be changed at any time; ``requests`` is there for assertions."""

    def __init__(self, state: ChainState, *, auto_mine: bool = False, port: int = 0) -> None:
        self.faults = Faults()
        self.requests: deque[LoggedRequest] = deque(maxlen=LOG_MAX_REQUESTS)
        self.http_count = 0
        self._port = port
        self._state = state
        self._auto_mine = auto_mine
        self._node = Node(state, self.faults)
        self.subscriptions = Subscriptions(self._node, self.faults)
        state.watchers.append(self.subscriptions.announce)
        self._reserved: socket.socket | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        assert self._port, "start the endpoint before asking for its URL"
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    async def start(self) -> None:
        if not self._port:
            # This socket never listens: it only keeps others from taking the port while the endpoint is down.
            self._reserved = bind_loopback(0)
            self._port = self._reserved.getsockname()[1]
        await self.up()

    async def stop(self) -> None:
        await self.down()
        if self._reserved is not None:
            self._reserved.close()

    async def up(self) -> None:
        """Accept connections again, on the same port."""
        assert self._port, "start the endpoint first"
        assert self._runner is None, "the endpoint is up already"
        application = web.Application(client_max_size=HTTP_BODY_MAX_BYTES)
        application.router.add_post("/{path:.*}", self._handle)
        application.router.add_get("/{path:.*}", self.subscriptions.serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()

    async def down(self) -> None:
        """End every connection and refuse new ones."""
        if self._runner is not None:
            await self.subscriptions.close()
            await self._runner.cleanup()
            self._runner = None

    def freeze_head(self) -> None:
        """See no block after the present head, while the chain goes on."""
        self.faults.stuck_at = self._node.head_number

    def get_requests(self, method: str) -> list[LoggedRequest]:
        return [request for request in self.requests if request.method == method]

    def get_calls(self, function: str) -> list[ContractCall]:
        """The calls of a contract function, those within multicalls included."""
        return [call for request in self.requests for call in request.calls if call.function == function]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.http_count += 1
        if self._auto_mine:
            self._state.catch_up()
        if self.faults.request_max_bytes is not None and len(body) > self.faults.request_max_bytes:
            return build_reply(TOO_LARGE)
        try:
            document = json.loads(body)
        except ValueError:
            return build_error(None, ErrorReply(-32700, "parse error"))
        return await self._handle_document(request, document)

    async def _handle_document(self, request: web.Request, document: Any) -> web.StreamResponse:
        methods = [_get_method(call) for call in _list_calls(document)]
        if self.faults.latency is not None:
            await self.faults.latency(methods)
        fault = self.faults.take_fault(methods)
        try:
            if fault is None:
                return build_json(self._answer(request, document))
            if isinstance(fault, Damage) and fault not in (Damage.HANG, Damage.RESET):
                return await send_damaged(request, self._answer(request, document), fault)
        except HttpRefusal as refusal:
            return build_reply(refusal.reply)
        return await self._answer_nothing(request, document, fault)

    def _answer(self, request: web.Request, document: Any) -> object:
        if not isinstance(document, list):
            return self._answer_one(request, document)
        size_max = self.faults.batch_max
        if not document or (size_max is not None and len(document) > size_max):
            message = "batch too large" if document else "empty batch"
            return {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": message}}
        return [self._answer_one(request, call) for call in document]

    def _answer_one(self, request: web.Request, call: Any) -> JsonObject:
        try:
            return self._node.answer(call)
        finally:
            self._log(request, call, self._node.calls)

    async def _answer_nothing(self, request: web.Request, document: Any, fault: Fault) -> web.StreamResponse:
        for call in _list_calls(document):
            self._log(request, call)
        if isinstance(fault, Reply):
            return build_reply(fault)
        if isinstance(fault, ErrorReply):
            return build_error(document, fault)
        if fault is Damage.HANG:
            # Nobody sets this event: the wait is canceled when the endpoint goes down.
            await asyncio.Event().wait()
        reset_connection(request)
        return web.Response()

    def _log(self, request: web.Request, call: Any, calls: Sequence[ContractCall] = ()) -> None:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        params = call.get("params") if isinstance(call, dict) else None
        self.requests.append(LoggedRequest(_get_method(call), params, self.http_count, peer[1] if peer else 0, calls))


def _list_calls(document: Any) -> list[Any]:
    return document if isinstance(document, list) else [document]


def _get_method(call: Any) -> str:
    return str(call.get("method")) if isinstance(call, dict) else ""
