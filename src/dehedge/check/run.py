"""Runs the steps of a check side by side, each in bounded time and in its place of the report.

A step is given what others have found, once they have; where one of them found nothing it is given None. Knows nothing of
what the steps are about. Called by ``steps``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, NamedTuple, TypeVar

from dehedge.check.report import Line, Report, build_failure

T = TypeVar("T")

ABOVE = "mend what failed above"
SERVICE_REMEDY = "see whether the service works, and the network on the way to it"


class Found(NamedTuple, Generic[T]):
    """What a step has to tell, and what it hands on."""

    lines: Sequence[Line]
    value: T | None = None


class Fact(Generic[T]):
    """What a step finds, for those that need it."""

    def __init__(self, task: asyncio.Task[T | None]) -> None:
        self._task = task

    async def get(self) -> T | None:
        """Never cancels the step itself."""
        return await asyncio.shield(self._task)


class FirstOf(Fact[T]):
    """The first of several that finds anything; None once all have found nothing."""

    def __init__(self, facts: Sequence[Fact[T]]) -> None:
        self._facts = facts

    async def get(self) -> T | None:
        for found in asyncio.as_completed([fact.get() for fact in self._facts]):
            if (value := await found) is not None:
                return value
        return None


class Run:
    """One check. Times are seconds since its beginning."""

    def __init__(self, report: Report, group: asyncio.TaskGroup) -> None:
        self._report = report
        self._group = group
        self._started = asyncio.get_running_loop().time()

    def start(self, name: str, until_s: float, work: Callable[..., Awaitable[Found[T]]], *needs: Fact[Any]) -> Fact[T]:
        """Begin a step, which is over by then in any case: it is called with what it needs, in this order."""
        place = self._report.reserve()
        carrying_out = self._carry_out(place, name, until_s, (work, needs))
        return Fact(self._group.create_task(carrying_out))

    async def _carry_out(
        self,
        place: int,
        name: str,
        until_s: float,
        step: tuple[Callable[..., Awaitable[Found[T]]], Sequence[Fact[Any]]],
    ) -> T | None:
        loop = asyncio.get_running_loop()
        began, (work, needs) = loop.time(), step
        try:
            async with asyncio.timeout_at(self._started + until_s):
                known = [await need.get() for need in needs]
                began = loop.time()
                found = await work(*known)
        except TimeoutError:
            found = Found([build_failure(name, f"no answer within {loop.time() - began:.1f} s", SERVICE_REMEDY)])
        seconds = round(loop.time() - began, 3)
        self._report.fill(place, [replace(line, seconds=seconds) for line in found.lines])
        return found.value
