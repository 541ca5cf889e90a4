"""How far a long run is, as lines for a log: what stands in for bars where nobody watches a terminal.

Quick runs say nothing. Called by ``session``.
"""

from __future__ import annotations

import sys
from threading import Event, Thread
from typing import Self

from rich.progress import TaskID

PACE_S = 15.0
"""Seconds from one line to the next."""


class PlainBars:
    """As much of rich's bars as is used here. Tells by the clock: a part of the work may take minutes by itself."""

    def __init__(self, pace_s: float = PACE_S) -> None:
        self._pace_s = pace_s
        self._tasks: list[tuple[str, float]] = []
        self._state = ""
        self._ended = Event()
        self._thread = Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def add_task(self, description: str, *, total: float) -> TaskID:
        """A part of the work; ``total`` is that of ``update``."""
        task = TaskID(len(self._tasks))
        self._tasks.append((description, total))
        self.update(task, completed=0.0)
        return task

    def update(self, task: TaskID, *, completed: float) -> None:
        """So much of it is done."""
        name, total = self._tasks[task]
        self._state = f"{name}: {completed / total * 100:.0f} % done\n"

    def _tell(self) -> None:
        while not self._ended.wait(self._pace_s):
            sys.stderr.write(self._state)
            sys.stderr.flush()
