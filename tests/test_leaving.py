"""That a command ends in time although a thread of it hangs."""

from __future__ import annotations

import asyncio
import os
import sys
from threading import Event

import pytest

from dehedge.leaving import run_and_leave


def test_command_ends_as_usual_when_no_thread_hangs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "_exit", lambda _: pytest.fail("nothing hangs"))

    async def work() -> int:
        await asyncio.to_thread(int)
        return 7

    assert run_and_leave(work()) == 7


def test_process_ends_at_once_when_a_thread_hangs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    resolved = Event()

    def leave(code: int) -> None:
        resolved.set()  # Here the process would be gone, and the thread with it.
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)

    async def work() -> int:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(resolved.wait), 0.01)
        sys.stdout.write("told\n")
        return 1

    with pytest.raises(SystemExit) as caught:
        run_and_leave(work())

    assert caught.value.code == 1
    assert capsys.readouterr().out == "told\n"
