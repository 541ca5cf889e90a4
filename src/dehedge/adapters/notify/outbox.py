"""What waits to be told: gathered into few messages, bounded in number and in rate, for each address apart.

Rules of this file. ``tell`` appends to a list and comes back. What happens together is one message; an address gets a few at
once and then one a minute, with the last of the few kept for what is urgent. What could not be delivered is tried again,
later and later, together with what came up meanwhile; what is too much is dropped from the oldest and least urgent on, and
counted. An address that fails is logged once, and once when it works again. Uses senders; knows no service.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import structlog

from dehedge import metrics
from dehedge.surfaces import Notice, Urgency

log = structlog.get_logger()

GATHER_S = 2.0
"""What is told within this time is one message."""
BURST = 5
REFILL_S = 60.0
"""One message more may be sent after each such time."""
TURN_S = 1.0
RETRY_FIRST_S, RETRY_MAX_S = 15.0, 600.0
WAITING_MAX = 100
LINES_MAX = 25
LINE_LENGTH_MAX = 300
BODY_LENGTH_MAX = 1_800
"""The shortest that a common service takes is 2,000."""
LINE_OVERHEAD = len("00:00:00 UTC \n")
_RANKS = list(Urgency)


class NotDelivered(Exception):
    """The message did not reach the service, as far as is known; says why, without the address."""


class Sender(Protocol):
    """The way to one address; ``name`` tells which one, and nothing of the address."""

    name: str

    async def send(self, title: str, body: str, urgency: Urgency) -> None:
        """Deliver within a bounded time. Raises ``NotDelivered``."""


class Pace:
    """How many messages may go now: a few, and one more with each ``REFILL_S``."""

    def __init__(self) -> None:
        self._left = float(BURST)
        self._since: float | None = None

    def check(self, *, is_urgent: bool) -> bool:
        self._refill()
        return self._left >= (1.0 if is_urgent else 2.0)

    def take(self) -> None:
        self._refill()
        self._left = max(self._left - 1.0, 0.0)

    def _refill(self) -> None:
        now = asyncio.get_running_loop().time()
        since, self._since = self._since if self._since is not None else now, now
        self._left = min(self._left + (now - since) / REFILL_S, BURST)


class Channel:
    """One address: what waits for it, and when the next message goes."""

    def __init__(self, sender: Sender, title: str) -> None:
        self._sender = sender
        self._title = title
        self._waiting: deque[Notice] = deque()
        self._dropped = 0
        self._failures = 0
        self._pace = Pace()
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()

    def put(self, notice: Notice) -> None:
        self._waiting.append(notice)
        self._trim()
        self._changed.set()

    def close(self) -> None:
        """Send what waits at once, and end."""
        self._closing.set()
        self._changed.set()

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._waiting:
                await self._await_turn()
                if not await self._deliver():
                    if self._closing.is_set():
                        return
                    await self._rest(min(RETRY_FIRST_S * 2 ** (self._failures - 1), RETRY_MAX_S))
            if self._closing.is_set():
                return

    async def _await_turn(self) -> None:
        await self._rest(GATHER_S)
        while not self._closing.is_set():
            if self._pace.check(is_urgent=any(notice.urgency is Urgency.FAILURE for notice in self._waiting)):
                return
            await self._rest(TURN_S)

    async def _rest(self, seconds: float) -> None:
        """So long, or until the end."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass

    async def _deliver(self) -> bool:
        batch, dropped = list(self._waiting), self._dropped
        self._waiting.clear()
        self._dropped = 0
        self._pace.take()
        urgency = max((notice.urgency for notice in batch), key=_RANKS.index)
        try:
            await self._sender.send(self._title, build_body(batch, dropped), urgency)
        except NotDelivered as error:
            self._waiting.extendleft(reversed(batch))
            self._dropped += dropped
            self._trim()
            self._note_failure(str(error))
            return False
        metrics.NOTIFICATIONS.labels("sent").inc()
        if self._failures:
            log.info("notification_recovered", address=self._sender.name)
        self._failures = 0
        return True

    def _note_failure(self, reason: str) -> None:
        metrics.NOTIFICATIONS.labels("failed").inc()
        if not self._failures:
            log.warning("notification_failed", address=self._sender.name, reason=reason)
        self._failures += 1

    def _trim(self) -> None:
        """What is too much goes from the oldest and least urgent on."""
        while len(self._waiting) > WAITING_MAX:
            self._waiting.remove(min(self._waiting, key=lambda notice: _RANKS.index(notice.urgency)))
            self._dropped += 1
            metrics.NOTIFICATIONS.labels("dropped").inc()


class Outbox:
    """Implements ``surfaces.Notifier`` for any number of addresses, also none. ``redact`` takes secrets out of a line."""

    def __init__(
        self, senders: Sequence[Sender], *, title: str, redact: Callable[[str], str] = lambda line: line
    ) -> None:
        self._channels = [Channel(sender, title) for sender in senders]
        self._redact = redact
        self._tasks: list[asyncio.Task[None]] = []

    def tell(self, notice: Notice) -> None:
        line = "".join(sign if sign.isprintable() else " " for sign in self._redact(notice.text))
        cut = line if len(line) <= LINE_LENGTH_MAX else f"{line[: LINE_LENGTH_MAX - 3]}..."
        for channel in self._channels:
            channel.put(Notice(notice.at, cut, notice.urgency))

    def start(self) -> None:
        self._tasks = [asyncio.create_task(channel.run(), name="notifications") for channel in self._channels]

    async def close(self, timeout_s: float) -> None:
        """Send what waits, within this time; what is on its way then may arrive or not."""
        for channel in self._channels:
            channel.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def build_body(notices: Sequence[Notice], dropped: int) -> str:
    """The lines with their times, the urgent ones kept where there are too many."""
    ranked = sorted(range(len(notices)), key=lambda place: (-_RANKS.index(notices[place].urgency), place))
    length, kept = 0, list[int]()
    for place in ranked[:LINES_MAX]:
        length += LINE_OVERHEAD + len(notices[place].text)
        if length > BODY_LENGTH_MAX:
            break
        kept.append(place)
    lines = [f"{format_time(notices[place].at)} {notices[place].text}" for place in sorted(kept)]
    left_out = len(notices) - len(kept) + dropped
    return "\n".join([*lines, *([f"... and {left_out} more: see the log"] if left_out else [])])


def format_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")
