"""What leaves towards people, made from the settings: the outbox of messages and the dead man's switch.

Also the test message of ``dehedge notify``, which needs no daemon. Called by ``daemon``, ``cli_notify`` and ``check``.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from dehedge.adapters.heartbeat import Heartbeat, ping
from dehedge.adapters.notify import NotDelivered, Outbox, Sender, starts
from dehedge.adapters.notify.outbox import build_body
from dehedge.config import Settings
from dehedge.errors import DehedgeError
from dehedge.logs import Redactor
from dehedge.surfaces import Notice, Urgency


class Trial(NamedTuple):
    """One address that was tried, and why that failed; None where it did not."""

    address: str
    failure: str | None


def build_outbox(settings: Settings) -> Outbox:
    """Raises ``ConfigError`` for addresses that cannot be used."""
    redact = Redactor(settings.get_secret_texts()).redact
    return Outbox(build_senders(settings), title=_build_title(settings), redact=redact)


def note_start(settings: Settings) -> str | None:
    """What to add to the message of this start; None where starts have become too many for each to be told."""
    start = starts.note_start(Path(f"{settings.state_path}.starts"), time.time())
    if not starts.check_worth_telling(start):
        return None
    return f" for the {start}th time within an hour" if start > starts.OFTEN else ""


def build_heartbeat(settings: Settings, check_passing: Callable[[], bool]) -> Heartbeat | None:
    url = settings.heartbeat_url
    if url is None:
        return None
    return Heartbeat(url.get_secret_value(), interval_s=settings.heartbeat_seconds, check_passing=check_passing)


def build_senders(settings: Settings) -> Sequence[Sender]:
    """Raises ``ConfigError``. Without addresses the library is not even imported."""
    if not settings.notify_list:
        return []
    from dehedge.adapters.notify import sender

    return sender.build_senders(settings.notify_list, is_production=settings.is_production)


def describe_failure(error: BaseException | None) -> str | None:
    """What ended the daemon, in words that hold no secret: only our own errors tell more than their name."""
    if isinstance(error, BaseExceptionGroup):
        return describe_failure(error.exceptions[0])
    if error is None:
        return None
    return str(error) if isinstance(error, DehedgeError) else type(error).__name__


async def try_addresses(settings: Settings) -> list[Trial]:
    """Send a test message to each of ``NOTIFY_URLS`` and ping ``HEARTBEAT_URL``. Raises ``ConfigError``."""
    title, senders = _build_title(settings), build_senders(settings)
    trials = list(await asyncio.gather(*(_try_sender(sender, title) for sender in senders)))
    if settings.heartbeat_url is not None:
        trials.append(Trial("HEARTBEAT_URL", await ping(settings.heartbeat_url.get_secret_value())))
    return trials


async def _try_sender(sender: Sender, title: str) -> Trial:
    body = build_body([Notice(time.time(), "this is a test message of dehedge: nothing has happened")], 0)
    try:
        await sender.send(title, body, Urgency.INFO)
    except NotDelivered as error:
        return Trial(f"NOTIFY_URLS {sender.name}", str(error))
    return Trial(f"NOTIFY_URLS {sender.name}", None)


def _build_title(settings: Settings) -> str:
    return f"dehedge on {socket.gethostname()}{' (PAPER)' if settings.connector == 'paper' else ''}"
