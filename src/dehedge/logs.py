"""Logging: one event per line on standard output, values as keys, and no secret in any of them.

Other libraries' records pass through the same pipe, from WARNING up: their debug and request logs would show URLs and
headers. So does what ends the process unexpectedly, and whatever else Python would print by itself. The last step before a line is written replaces every known secret,
wherever it stands and however it is escaped there. Set up once by ``cli``.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any
from urllib.parse import quote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from dehedge.addresses import SECRET_LENGTH_MIN

REDACTED = "[secret]"


class Redactor:
    """Replaces secrets in rendered lines."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets if len(secret) >= SECRET_LENGTH_MIN for form in _list_forms(secret)}
        self._forms = sorted(forms, key=len, reverse=True)

    def __call__(self, _: WrappedLogger, __: str, line: Any) -> str:
        """As the last of structlog's processors, after the one that renders."""
        return self.redact(str(line))

    def redact(self, line: str) -> str:
        for form in self._forms:
            line = line.replace(form, REDACTED)
        return line


def _list_forms(secret: str) -> set[str]:
    """A secret as it stands, as JSON, Python and URLs write it, and as one of them writes what another has written."""
    forms = {secret}
    for _ in range(2):
        forms |= {form for known in forms for form in _escape(known)}
    return forms


def _escape(text: str) -> tuple[str, ...]:
    return json.dumps(text)[1:-1], repr(text)[1:-1], quote(text), quote(text, safe="")


class Handler(logging.StreamHandler[Any]):
    """Writes lines; of one that cannot be written it tells nothing but that, where the library would print it bare."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802  (the library's name)
        kind = sys.exc_info()[0]
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"dehedge: a log line could not be written ({kind.__name__ if kind else 'unknown'})\n")


def configure_logging(*, level: str, use_json: bool, secrets: Iterable[str]) -> None:
    """Set up structlog and the standard library's logging for this process."""
    number = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    last = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_list_renderers(use_json=use_json)]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    handler = Handler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=[*last, Redactor(secrets)])
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger("dehedge").setLevel(number)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_crash
    threading.excepthook = lambda lost: _log_lost(lost.exc_type, lost.exc_value, lost.exc_traceback)
    sys.unraisablehook = lambda lost: _log_lost(lost.exc_type, lost.exc_value, lost.exc_traceback)


def _list_renderers(*, use_json: bool) -> list[Processor]:
    if use_json:
        return [structlog.processors.JSONRenderer(default=str)]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stdout.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    return [_disarm, console]


def _disarm(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Without what would move the terminal's cursor: names come from the chain."""
    return {key: value if key == "exception" else _escape_controls(value) for key, value in event.items()}


def _escape_controls(value: Any) -> Any:
    is_bare = isinstance(value, str) and not value.isprintable()
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in value) if is_bare else value


def _flatten(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Without what is None, and with the event on one line: other libraries write what they like."""
    event["event"] = " ".join(str(event["event"]).split())
    return {key: value for key, value in event.items() if value is not None}


def _log_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _log_uncaught(logging.CRITICAL, "process_crashed", (kind, error, trace))


def _log_lost(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """An error that nobody can catch: of a thread, or while an object was thrown away."""
    _log_uncaught(logging.ERROR, "error_lost", (kind, error or kind(), trace))


def _log_uncaught(
    level: int, event: str, error: tuple[type[BaseException], BaseException, TracebackType | None]
) -> None:
    try:
        structlog.get_logger("dehedge").log(level, event, exc_info=error)
    except Exception as failure:  # noqa: BLE001
        # Python would tell of it together with the error that was to be logged, secrets and all.
        told = f"dehedge: {event}: {error[0].__name__}, which could not be logged ({type(failure).__name__})\n"
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(told)


_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    _flatten,
]
