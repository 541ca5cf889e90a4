"""The dead man's switch: a ping to a service that raises the alarm when pings stop.

Goes out only while passes happen, so that a host that is dead, a process that is gone and a loop that stands still are noticed
alike; a daemon that cannot hedge tells so itself. A ping that fails is logged once, and is never the end of anything. The
address is a secret and is not shown. Made by ``outward``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

import aiohttp
import structlog

from dehedge import metrics

log = structlog.get_logger()

PING_S = 10.0
LOOK_S = 1.0
"""While no passes happen it looks this often whether they do again."""


class Heartbeat:
    """Pings one URL."""

    def __init__(self, url: str, *, interval_s: float, check_passing: Callable[[], bool]) -> None:
        self._url = url
        self._interval_s = interval_s
        self._check_passing = check_passing
        self._is_failing = False

    async def run(self) -> NoReturn:
        while True:
            if self._check_passing():
                self._note(await ping(self._url))
                await asyncio.sleep(self._interval_s)
            else:
                await asyncio.sleep(LOOK_S)

    def _note(self, failure: str | None) -> None:
        metrics.HEARTBEATS.labels("sent" if failure is None else "failed").inc()
        if failure is not None and not self._is_failing:
            log.warning("heartbeat_failed", reason=failure)
        elif failure is None and self._is_failing:
            log.info("heartbeat_recovered")
        self._is_failing = failure is not None


async def ping(url: str) -> str | None:
    """Why it failed, without the address; None when it arrived. A connection each, for it is one a minute."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PING_S)) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            return None if answer.status < 300 else f"HTTP {answer.status}"
    except Exception as error:  # noqa: BLE001
        # Whatever is wrong with it must not end the daemon, and its words may hold the address.
        return f"no answer within {PING_S:.0f} s" if isinstance(error, TimeoutError) else type(error).__name__
