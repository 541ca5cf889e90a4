"""HTTP replies as they leave an endpoint: whole, canned, or damaged on their way.

Owns bytes and connections only; which reply is due is decided by ``SimRpc``, its one caller.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable

from aiohttp import web

from dehedge.sim.chain.faults import JSON_TYPE, Damage, ErrorReply, Reply
from dehedge.sim.chain.node import JsonObject


def bind_loopback(port: int) -> socket.socket:
    """A socket bound to the port, 0 for a free one, that others of ours may be bound beside."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def build_reply(reply: Reply) -> web.Response:
    return web.Response(
        status=reply.status, text=reply.body, content_type=reply.content_type, headers=dict(reply.headers)
    )


def build_json(document: object) -> web.Response:
    return web.Response(text=json.dumps(document, separators=(",", ":")), content_type=JSON_TYPE)


def build_error(document: object, error: ErrorReply) -> web.Response:
    """The same error for every call of the request."""
    return build_json(_map(document, lambda call: _answer_error(call, error)))


async def send_damaged(request: web.Request, answer: object, damage: Damage) -> web.StreamResponse:
    """The true answer, spoiled. HANG and RESET have no answer and do not come here."""
    if damage is Damage.WRONG_ID:
        return build_json(_map(answer, _misplace))
    text = json.dumps(answer).encode()
    half = text[: len(text) // 2]
    if damage is Damage.TRUNCATED:
        return web.Response(body=half, content_type=JSON_TYPE)
    return await _send_cut(request, half, len(text))


def reset_connection(request: web.Request) -> None:
    """End the connection with RST instead of an orderly end."""
    if request.transport is None:
        return
    linger_zero = struct.pack("ii", 1, 0)
    request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
    request.transport.abort()


async def _send_cut(request: web.Request, half: bytes, announced: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(announced), "Content-Type": JSON_TYPE})
    await response.prepare(request)
    await response.write(half)
    if request.transport is not None:
        request.transport.close()
    return response


def _map(document: object, change: Callable[[object], JsonObject]) -> object:
    return [change(item) for item in document] if isinstance(document, list) else change(document)


def _answer_error(call: object, error: ErrorReply) -> JsonObject:
    identity = call.get("id") if isinstance(call, dict) else None
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": error.code, "message": error.message}}


def _misplace(answer: object) -> JsonObject:
    assert isinstance(answer, dict)
    return {**answer, "id": f"not-{answer['id']}" if isinstance(answer["id"], str) else (answer["id"] or 0) + 1_000_003}
