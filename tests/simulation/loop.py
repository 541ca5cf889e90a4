"""An event loop in which time is virtual, the network is memory, and a process can be killed between any two steps.

Everything that asyncio and the libraries on it ask of a loop is answered from here: timers jump, sockets are pairs of
queues (``network``), threads run in line. Nothing waits for the machine, so a run depends on its seed alone. Work belongs
to the process (a name in the context) that started it; ``kill`` forgets all of a process's work at once, as kill -9
does. Driven by ``world``.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.network import Address, Network, Server, Transport

PROCESS: contextvars.ContextVar[str] = contextvars.ContextVar("process", default="world")
DISK_S = (0.0005, 0.004)
"""How long a thread's work takes before it is done, and again until it is known to be done."""


class Deadlock(Exception):
    """Nobody will ever wake anybody."""


class VirtualSelector:
    """Where a real loop would wait for sockets, this one moves the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise Deadlock("every task waits for something that nobody does")
        if timeout > 0:
            self._loop.now_s += timeout
        return []

    def close(self) -> None: ...


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where it lies in memory."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        loop: VirtualLoop = named["loop"]
        self.number = len(loop.tasks)
        loop.tasks.append(self)
        context: contextvars.Context | None = named.get("context")
        self.process = PROCESS.get() if context is None else context.get(PROCESS, "world")
        super().__init__(*arguments, **named)

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module. ``rng`` decides delays; ``on_signal`` are the handlers that a process asked for.

    ``tasks`` keeps them all: what is killed must not clean up as it is collected, for kill -9 runs no finally.
    ``on_point`` is told of each point at which a death matters, and says whether it came: before and after a durable
    write, when an order leaves, when it has left, and when its answer arrives.
    """

    def __init__(self, rng: random.Random, start_s: float = 0.0) -> None:
        super().__init__()
        self.now_s = start_s
        self.rng = rng
        self.network = Network(self)
        self.on_signal: dict[tuple[str, int], Callable[[], object]] = {}
        self.disk_s = DISK_S
        self.on_point: Callable[[str], bool] = lambda _: False
        self.tasks: list[SimTask] = []
        self._selector = VirtualSelector(self)
        self._clock_resolution = 1e-9
        self._connecting: dict[int, Address] = {}
        self.set_task_factory(_build_task)

    def time(self) -> float:
        return self.now_s

    def _process_events(self, events: list[object]) -> None: ...

    def _write_to_self(self) -> None: ...

    def start_process(self, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run the work, and whatever it starts, as the process of that name."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, name)
        return self.create_task(work, context=context)

    def kill(self, name: str) -> None:
        """End a process where it stands: nothing of it runs again, and its connections break."""
        for handle in [*self._ready, *self._scheduled]:
            if handle._context.get(PROCESS, "world") == name:
                handle.cancel()
        for task in self.tasks:
            if task.process == name:
                task._log_destroy_pending = False
        self.network.cut(name)
        for key in [key for key in self.on_signal if key[0] == name]:
            del self.on_signal[key]

    def call_next(self, callback: Callable[[], object]) -> None:
        """Before anything else, once the step in hand has ended."""
        context = contextvars.copy_context()
        context.run(PROCESS.set, "world")
        self._ready.appendleft(asyncio.Handle(callback, (), self, context))

    def forget(self) -> None:
        """At the end of a run: whoever still waits is not missed."""
        for task in self.tasks:
            task._log_destroy_pending = False

    def send_signal(self, name: str, number: int) -> None:
        self.call_soon(self.on_signal[name, number])

    def reset_disk(self) -> None:
        self.disk_s = DISK_S

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        context = contextvars.copy_context()
        self.on_signal[PROCESS.get(), sig] = lambda: context.run(callback, *args)

    def remove_signal_handler(self, sig: int) -> bool:
        return self.on_signal.pop((PROCESS.get(), sig), None) is not None

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """A thread's work is one step that takes place after a moment, and is known to have after another."""
        future = self.create_future()
        delay_s = self.rng.uniform(*self.disk_s)
        self.call_later(delay_s, self._run_thread, future, func, args)
        return future

    def _run_thread(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self.on_point("write"):
            return
        try:
            result = func(*args)
        except Exception as error:  # noqa: BLE001 - a thread hands every error to whoever waits for it
            self.call_later(self.rng.uniform(*self.disk_s), _set_unless_done, future, None, error)
        else:
            if not self.on_point("written"):
                self.call_later(self.rng.uniform(*self.disk_s), _set_unless_done, future, result, None)

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        await self.network.check_reachable(address)
        self._connecting[sock.fileno()] = address

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, *, sock: Any = None, **_: Any
    ) -> tuple[Transport, Any]:
        if sock is not None:
            address = self._connecting.pop(sock.fileno())
            sock.close()
        else:
            address = (host, port)
            await self.network.check_reachable(address)
        return self.network.connect(protocol_factory, address)

    async def create_server(
        self, protocol_factory: Any, host: Any = None, port: Any = None, *, sock: Any = None, **_: Any
    ) -> Server:
        address = (host, port) if sock is None else sock.getsockname()
        return self.network.listen(protocol_factory, address)


def _build_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **named: Any) -> asyncio.Task[Any]:
    return SimTask(coroutine, loop=loop, **named)


def _set_unless_done(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
