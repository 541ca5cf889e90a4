"""Ends the process in time although a thread hangs: a name that is being resolved cannot be called off.

The resolver of the system may take half a minute where no server answers it, and both the event loop and the interpreter wait
for their threads at the end. What is left then only waits. Called by ``cli`` for commands that promise to end in time.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PREFIX = "leaving"
GRACE_S = 0.3


def run_and_leave(work: Coroutine[Any, Any, int]) -> int:
    """The exit code; ends the process with it at once where a thread of the work would keep it."""
    with asyncio.Runner() as runner:
        threads = ThreadPoolExecutor(thread_name_prefix=PREFIX)
        runner.get_loop().set_default_executor(threads)
        code = runner.run(work)
        threads.shutdown(wait=False, cancel_futures=True)
        if _check_any_hangs():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return code


def _check_any_hangs() -> bool:
    left = [thread for thread in threading.enumerate() if thread.name.startswith(PREFIX)]
    for thread in left:
        thread.join(GRACE_S / len(left))
    return any(thread.is_alive() for thread in left)
