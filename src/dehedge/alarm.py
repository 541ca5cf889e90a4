"""Wakes the reconciler, and tells whether more than a price has changed.

Every input and every part that does something rings it; a price alone needs no look at everything. Missing a ring costs
a second, never a hedge.
"""

from __future__ import annotations

import asyncio


class Alarm:
    """One bell for the reconciler."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._is_change_due = True

    def note_price(self) -> None:
        """A price has changed: run a pass soon."""
        self._event.set()

    def note_change(self) -> None:
        """Something else has changed."""
        self._is_change_due = True
        self._event.set()

    def take(self) -> bool:
        """True when something else than a price has changed since the last time; forgets it."""
        is_change_due, self._is_change_due = self._is_change_due, False
        self._event.clear()
        return is_change_due

    async def wait(self, timeout_s: float) -> None:
        """Until something changes, or as long as that."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            pass
