"""The websockets of one endpoint: calls are answered, and subscribers are told of new heads and of changed positions.

Owns the connections and what each of them subscribed to; what a head is belongs to ``Node``. A block in which positions
changed has one log of the contract that holds them. Obeys the faults of the endpoint. Run by ``SimRpc``, told of each
block by ``ChainState``.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSCloseCode, web

from dehedge.sim.chain.faults import Faults
from dehedge.sim.chain.model import CONTRACT_ADDRESSES
from dehedge.sim.chain.node import JsonObject, Node
from dehedge.sim.chain.state import SimBlock

_POSITIONS = CONTRACT_ADDRESSES["Positions"].lower()


@dataclass(slots=True, eq=False)
class Listener:
    """One connection; ``wanted`` is what it subscribed to, by the subscription's number: heads, or an address."""

    socket: web.WebSocketResponse
    wanted: dict[str, str] = field(default_factory=dict)
    outbox: asyncio.Queue[str] = field(default_factory=asyncio.Queue)


class Subscriptions:
    """Every connection of one endpoint; ``requests`` are all subscriptions that were asked for."""

    def __init__(self, node: Node, faults: Faults) -> None:
        self.listeners: set[Listener] = set()
        self.requests: list[Any] = []
        self.accepted = 0
        self._node = node
        self._faults = faults

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if self._faults.refuses_sockets:
            return web.Response(status=403)
        listener = Listener(web.WebSocketResponse())
        await listener.socket.prepare(request)
        self.accepted += 1
        self.listeners.add(listener)
        sender = asyncio.create_task(self._send(listener))
        try:
            async for message in listener.socket:
                listener.outbox.put_nowait(json.dumps(self._answer(listener, message.data)))
        finally:
            self.listeners.discard(listener)
            sender.cancel()
        return listener.socket

    def announce(self, block: SimBlock, parent: SimBlock | None) -> None:
        """Tell of a block that the endpoint has by now."""
        if self._faults.is_silent or self._node.head_number < block.number:
            return
        logs = [_build_log(block)] if parent and block.contents.positions != parent.contents.positions else []
        for listener in self.listeners:
            for number, wanted in listener.wanted.items():
                results = [self._node.describe_head()] if wanted == "newHeads" else logs if wanted == _POSITIONS else []
                for result in results:
                    listener.outbox.put_nowait(json.dumps(_build_message(number, result)))

    def send(self, text: str) -> None:
        """Anything at all, to everybody."""
        for listener in self.listeners:
            listener.outbox.put_nowait(text)

    async def close(self, code: int = WSCloseCode.GOING_AWAY) -> None:
        await asyncio.gather(*(listener.socket.close(code=code) for listener in list(self.listeners)))

    def _answer(self, listener: Listener, text: Any) -> JsonObject:
        call = json.loads(text)
        if call.get("method") != "eth_subscribe":
            return self._node.answer(call)
        self.requests.append(call["params"])
        if self._faults.refuses_subscriptions:
            error = {"code": -32601, "message": f"no subscriptions for {listener.socket}"}
            return {"jsonrpc": "2.0", "id": call["id"], "error": error}
        number = hex(len(self.requests))
        kind, *rest = call["params"]
        listener.wanted[number] = kind if kind == "newHeads" else str(rest[0]["address"]).lower()
        return {"jsonrpc": "2.0", "id": call["id"], "result": number}

    async def _send(self, listener: Listener) -> None:
        while True:
            text = await listener.outbox.get()
            try:
                await listener.socket.send_str(text)
            except ConnectionError:
                return


def _build_message(number: str, result: JsonObject) -> JsonObject:
    return {"jsonrpc": "2.0", "method": "eth_subscription", "params": {"subscription": number, "result": result}}


def _build_log(block: SimBlock) -> JsonObject:
    return {
        "address": _POSITIONS,
        "topics": [],
        "data": "0x",
        "blockNumber": hex(block.number),
        "blockHash": block.hash,
        "transactionHash": "0x" + "00" * 32,
        "transactionIndex": "0x0",
        "logIndex": "0x0",
        "removed": False,
    }
