"""The way out through apprise: one address, one message at a time, in a thread that nobody waits for in the end.

The only module that knows apprise. Its calls block, for long where a name is not resolved: each is made in a thread of its own
that does not keep the process from ending, and is given up after ``SEND_S``. Its log is not ours, because it may show parts of an
address; what it says of a failure is told without them. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress

from apprise import Apprise, AppriseAsset, NotifyBase, NotifyType
from apprise.common import PersistentStoreMode

from dehedge.adapters.notify.outbox import NotDelivered
from dehedge.addresses import check_is_local, find_notify_secrets
from dehedge.errors import ConfigError
from dehedge.surfaces import Urgency

SEND_S = 30.0
REASON_LENGTH_MAX = 200

_library_log = logging.getLogger("apprise")
_library_log.propagate = False
_library_log.addHandler(logging.NullHandler())


class AppriseSender:
    """Implements ``outbox.Sender``."""

    def __init__(self, plugin: NotifyBase, *, name: str, secrets: Sequence[str], send_s: float = SEND_S) -> None:
        self.name = name
        self._apprise = Apprise(asset=plugin.asset)
        self._apprise.add(plugin)
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._send_s = send_s
        self._delivery: asyncio.Future[str | None] | None = None

    async def send(self, title: str, body: str, urgency: Urgency) -> None:
        if self._delivery is not None and not self._delivery.done():
            raise NotDelivered("the message before is still on its way")
        self._delivery = self._start(title, body, urgency)
        try:
            async with asyncio.timeout(self._send_s):
                reason = await asyncio.shield(self._delivery)
        except TimeoutError:
            raise NotDelivered(f"the service did not take it within {self._send_s:.0f} s") from None
        if reason is not None:
            raise NotDelivered(reason)

    def _start(self, title: str, body: str, urgency: Urgency) -> asyncio.Future[str | None]:
        loop = asyncio.get_running_loop()
        delivery: asyncio.Future[str | None] = loop.create_future()

        def work() -> None:
            reason = self._deliver(title, body, urgency)
            with suppress(RuntimeError):  # The loop has ended: nobody wants to know.
                loop.call_soon_threadsafe(delivery.set_result, reason)

        threading.Thread(target=work, name="apprise", daemon=True).start()
        return delivery

    def _deliver(self, title: str, body: str, urgency: Urgency) -> str | None:
        """Why it was not delivered; blocks."""
        try:
            result = self._apprise.notify(body=body, title=title, notify_type=NotifyType(urgency.value))
        except Exception as error:  # noqa: BLE001
            # A service's plugin may raise anything, with an address in it.
            return type(error).__name__
        if result:
            return None
        said = [entry.message for entry in result.logs()]
        return self._clean(said[-1]) if said else "the service did not take it"

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:REASON_LENGTH_MAX]


def build_senders(urls: Sequence[str], *, is_production: bool) -> list[AppriseSender]:
    """A sender for each URL. Raises ``ConfigError`` with every URL that cannot be used."""
    senders, problems = list[AppriseSender](), list[str]()
    for number, url in enumerate(urls, start=1):
        scheme = url.partition("://")[0].lower()
        which = f"NOTIFY_URLS: number {number} of {len(urls)} ({scheme}://...)"
        plugin = _build_plugin(url)
        if plugin is None:
            problems.append(f"{which}: apprise does not know such a URL, or needs a further package for it")
        elif is_production and check_exposed(plugin, scheme):
            problems.append(f"{which}: is not encrypted; accepted in production: such as {scheme}s://, or this machine")
        else:
            senders.append(AppriseSender(plugin, name=f"{number} ({scheme})", secrets=find_notify_secrets(url)))
    if problems:
        raise ConfigError(*problems)
    return senders


def check_exposed(plugin: NotifyBase, scheme: str) -> bool:
    """True where somebody on the way could read along: by a scheme that the plugin calls plain, beyond this machine."""
    plain = plugin.protocol or ()
    is_plain = scheme in ((plain,) if isinstance(plain, str) else plain) and not plugin.secure
    return is_plain and bool(plugin.host) and not check_is_local(plugin.host)


def _build_plugin(url: str) -> NotifyBase | None:
    """With nothing written to the disk, nothing run in threads of the library's own, and no picture of the library's."""
    asset = AppriseAsset(
        app_id="dehedge", app_desc="dehedge", async_mode=False, http_redirects=False, service_timeout=0,
        storage_mode=PersistentStoreMode.MEMORY, pgp_autogen=False, pem_autogen=False, image_url_mask="",
        image_url_logo="",
    )  # fmt: skip
    return Apprise.instantiate(url, asset=asset)
