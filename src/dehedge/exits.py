"""How a command ends: an exit code that a supervisor understands, and every expected error in one clear line.

0 done, 1 crashed (restart it), 2 wrong usage, 75 another daemon holds the journal, 78 configuration error, or a journal that
cannot be used at start (do not restart).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import NoReturn

from dehedge.errors import AuthenticationFailed, ConfigError, DehedgeError, JournalLocked, QuestionInvalid

EXIT_CRASHED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_LOCKED = 75
EXIT_CONFIG = 78


def exit_with(work: Callable[[], int]) -> NoReturn:
    """Run a command and end with its exit code; every expected error is told in one line."""
    try:
        code = work()
    except DehedgeError as error:
        code = _tell(error)
    except BaseExceptionGroup as group:
        expected = _find_expected(group)
        if expected is None:
            raise
        code = _tell(expected)
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = EXIT_INTERRUPTED
    raise SystemExit(code)


def _find_expected(group: BaseExceptionGroup[BaseException]) -> DehedgeError | None:
    """The error to tell, when the group holds nothing but expected ones."""
    expected, rest = group.split(DehedgeError)
    while isinstance(expected, BaseExceptionGroup):
        expected = expected.exceptions[0]  # type: ignore[assignment]
    return expected if rest is None and isinstance(expected, DehedgeError) else None


def _tell(error: DehedgeError) -> int:
    problems = error.problems if isinstance(error, ConfigError) else (str(error),)
    for problem in problems:
        print(f"dehedge: {problem}", file=sys.stderr)
    if isinstance(error, JournalLocked):
        return EXIT_LOCKED
    if isinstance(error, QuestionInvalid):
        return EXIT_USAGE
    return EXIT_CONFIG if isinstance(error, ConfigError | AuthenticationFailed) else EXIT_CRASHED
