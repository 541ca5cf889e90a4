"""Work on large replies, in threads of our own: beside the event loop, and beside what else waits for a thread.

What is small is done at once, because a thread costs a fifth of a millisecond. Only for functions that touch nothing but
their arguments, and that spend their time in many short calls or in such as let other threads run. Called by
``transport`` and ``paging``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

LARGE_BYTES = 64 * 1024
"""Some 170 positions: half a millisecond of work."""
THREADS = 2

P = ParamSpec("P")
T = TypeVar("T")

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="chain")


async def run_aside(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The work's result; ``size`` is about that of the bytes that it goes through."""
    if size < LARGE_BYTES:
        return work(*args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_threads, lambda: work(*args, **kwargs))
