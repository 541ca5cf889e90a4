"""The network as memory: listeners by address, connections as two queues with a delay, and everything that breaks.

Real protocol code runs on both ends; between them bytes arrive in order, a moment later, or never. A connection belongs
to the processes at its ends and breaks when one of them is killed. Used by ``loop`` only.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.loop import VirtualLoop

Address = tuple[str, int]
DELAY_S = (0.0002, 0.002)
FIRST_PORT = 20_000
ORDER = b"POST /fapi/v1/order"


class FakeSocket:
    """What libraries ask a transport's socket for; readable never, because nothing is read through it."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    _silent, _kept_open = os.pipe()

    def __init__(self, own: Address, peer: Address | None = None) -> None:
        self._own, self._peer = own, peer

    def getsockname(self) -> Address:
        return self._own

    def getpeername(self) -> Address:
        if self._peer is None:
            raise OSError("not connected")
        return self._peer

    def setsockopt(self, *_: object) -> None: ...

    def fileno(self) -> int:
        return self._silent


class Transport(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: Network, protocol: asyncio.Protocol, own: Address, peer: Address) -> None:
        super().__init__({"socket": FakeSocket(own, peer), "sockname": own, "peername": peer})
        self.context = contextvars.copy_context()
        self.other: Transport | None = None
        self.delay_s = network.loop.rng.uniform(*DELAY_S)
        self._network, self._protocol = network, protocol
        self._inbox: deque[bytes | None | Exception] = deque()
        self._closing = self._lost = self._paused = False
        self._carries_order = self._has_answered = False

    def start(self) -> None:
        self._network.open.add(self)
        self._protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        if data[: len(ORDER)] == ORDER:
            if self._network.loop.on_point("send"):
                self._closing = True
                return
            self._carries_order = True
            if self.other is not None:
                self.other._has_answered = False
        if self.other is not None and self.other._carries_order and not self._has_answered:
            self._has_answered = True
            self._network.loop.on_point("sent")
        self._send(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        self._send(None)

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return self._closing

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            for _ in self._inbox:
                self._network.loop.call_soon(self._receive, context=self.context)

    def close(self) -> None:
        """Let what was written arrive, then end."""
        if not self._closing:
            self._closing = True
            self._send(None)
            self._network.loop.call_soon(self.lose, None, context=self.context)

    def abort(self) -> None:
        """Break both ends at once; what was on its way is lost."""
        self._closing = True
        if self.other is not None:
            self.other.put(ConnectionResetError("connection reset by peer"))
        self._network.loop.call_soon(self.lose, None, context=self.context)

    def put(self, item: bytes | None | Exception) -> None:
        """Something arrives after this end's delay."""
        self._inbox.append(item)
        self._network.loop.call_later(self.delay_s, self._receive, context=self.context)

    def lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._network.open.discard(self)
        self._inbox.clear()
        self._protocol.connection_lost(error)

    def _send(self, item: bytes | None) -> None:
        if self.other is not None:
            self.other.put(item)

    def _receive(self) -> None:
        if self._paused or self._lost or not self._inbox:
            return
        if self._carries_order:
            self._carries_order = False
            if self._network.loop.on_point("answered"):
                return
        item = self._inbox.popleft()
        if isinstance(item, bytes):
            if not self._closing:
                self._protocol.data_received(item)
        elif item is None:
            self._end()
        else:
            self.lose(item)

    def _end(self) -> None:
        """The other side writes no more."""
        if not self._closing and not self._protocol.eof_received():
            self.close()


class Server(asyncio.AbstractServer):
    """A listener, as asyncio's servers look."""

    def __init__(self, network: Network, factory: Callable[[], Any], address: Address) -> None:
        self.sockets = [FakeSocket(address)]
        self.context = contextvars.copy_context()
        self.factory, self.address = factory, address
        self._network = network

    def close(self) -> None:
        self._network.listeners.pop(self.address, None)

    def close_clients(self) -> None: ...

    async def wait_closed(self) -> None: ...

    async def start_serving(self) -> None: ...

    def is_serving(self) -> bool:
        return self.address in self._network.listeners

    def get_loop(self) -> Any:
        return self._network.loop


class Network:
    """Who listens where, and what is connected. An address in ``unreachable`` answers nobody."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.listeners: dict[Address, Server] = {}
        self.open: set[Transport] = set()
        self.unreachable: set[Address] = set()
        self._next_port = FIRST_PORT

    def listen(self, factory: Callable[[], Any], address: Address) -> Server:
        if address[1] == 0:
            address = (address[0], self._take_port())
        if address in self.listeners:
            raise OSError(98, "address already in use")
        server = Server(self, factory, address)
        self.listeners[address] = server
        return server

    async def check_reachable(self, address: Address) -> None:
        await asyncio.sleep(self.loop.rng.uniform(*DELAY_S))
        if address in self.unreachable:
            await asyncio.Event().wait()
        if address not in self.listeners:
            raise ConnectionRefusedError(111, f"Connect call failed {address}")

    def connect(self, factory: Callable[[], Any], address: Address) -> tuple[Transport, Any]:
        server = self.listeners.get(address)
        if server is None:
            raise ConnectionRefusedError(111, f"Connect call failed {address}")
        here = (address[0], self._take_port())
        protocol = factory()
        client = Transport(self, protocol, here, address)
        other = server.context.run(self._accept, server, here)
        client.other, other.other = other, client
        client.start()
        return client, protocol

    def _accept(self, server: Server, peer: Address) -> Transport:
        transport = Transport(self, server.factory(), server.address, peer)
        transport.context = server.context
        self.loop.call_soon(transport.start, context=server.context)
        return transport

    def cut(self, process: str) -> None:
        """A process is gone: its listeners and connections with it."""
        from tests.simulation.loop import PROCESS

        for address, server in list(self.listeners.items()):
            if server.context.get(PROCESS, "world") == process:
                del self.listeners[address]
        for transport in sorted(self.open, key=lambda each: each._extra["sockname"]):
            if transport.context.get(PROCESS, "world") == process:
                self.open.discard(transport)
                transport._closing = transport._lost = True
                if transport.other is not None:
                    transport.other.put(ConnectionResetError("connection reset by peer"))

    def _take_port(self) -> int:
        self._next_port += 1
        return self._next_port
