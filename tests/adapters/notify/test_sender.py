"""apprise against real HTTP servers on this machine: what arrives, what does not, and what is never shown."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from dehedge.adapters.notify.outbox import NotDelivered
from dehedge.adapters.notify.sender import build_senders
from dehedge.addresses import find_notify_secrets, parse_notify_urls, split_notify_urls
from dehedge.errors import ConfigError
from dehedge.surfaces import Urgency

KEY = "Sup3rSecretPathKey0123456789"
PASSWORD = "p4ssw0rd-of-the-hook"


class Hook:
    """A webhook that keeps what it was sent."""

    def __init__(self) -> None:
        self.port = 0
        self.got: list[dict[str, str]] = []
        self.asked: list[str] = []
        self.status = 200
        self.waits_s = 0.0
        self.location = ""

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self.got.append(json.loads(await request.text()))
        await asyncio.sleep(self.waits_s)
        headers = {"Location": self.location} if self.location else {}
        return web.Response(status=self.status, text=f"no {request.path} for you", headers=headers)

    @property
    def url(self) -> str:
        return f"json://user:{PASSWORD}@127.0.0.1:{self.port}/{KEY}"


@asynccontextmanager
async def a_hook() -> AsyncIterator[Hook]:
    hook = Hook()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", hook.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.port = runner.addresses[0][1]
    try:
        yield hook
    finally:
        await runner.cleanup()


@pytest.fixture
def root_log() -> Iterator[list[str]]:
    """What other libraries' records reach the log, which takes them from WARNING up."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)


async def test_message_arrives_with_its_title_its_text_and_its_urgency():
    async with a_hook() as hook:
        (sender,) = build_senders([hook.url], is_production=True)
        await sender.send("dehedge on a", "a law is broken\nand more", Urgency.FAILURE)

    (got,) = hook.got
    assert (got["title"], got["message"], got["type"]) == ("dehedge on a", "a law is broken\nand more", "failure")
    assert hook.asked == [f"/{KEY}"]
    assert sender.name == "1 (json)"


@pytest.mark.parametrize("status", [302, 401, 404, 500])
async def test_failure_is_told_without_the_address_and_no_redirect_is_followed(
    status: int, root_log: list[str], capfd: pytest.CaptureFixture[str]
):
    async with a_hook() as hook, a_hook() as elsewhere:
        hook.status, hook.location = status, f"http://127.0.0.1:{elsewhere.port}/{KEY}" if status == 302 else ""
        (sender,) = build_senders([hook.url], is_production=False)
        with pytest.raises(NotDelivered) as caught:
            await sender.send("title", "body", Urgency.INFO)

    assert str(status) in str(caught.value)
    assert elsewhere.asked == []
    assert root_log == [], "the library's own log is not ours"
    said = f"{caught.value!r} {sender!r} {vars(caught.value)} {''.join(capfd.readouterr())} {root_log}"
    assert KEY not in said
    assert PASSWORD not in said


async def test_service_that_hangs_is_given_up_and_holds_neither_the_loop_nor_the_next_ones_thread():
    async with a_hook() as hook:
        hook.waits_s = 3.0
        (sender,) = build_senders([hook.url], is_production=False)
        sender._send_s = 0.2
        threads = threading.active_count()
        began, ticks = time.monotonic(), 0
        sending = asyncio.ensure_future(sender.send("title", "body", Urgency.INFO))
        while not sending.done():
            await asyncio.sleep(0.01)
            ticks += 1
        with pytest.raises(NotDelivered, match="within 0 s"):
            sending.result()

        assert time.monotonic() - began < 1.5
        assert ticks > 5
        for _ in range(5):
            with pytest.raises(NotDelivered, match="still on its way"):
                await sender.send("title", "body", Urgency.INFO)
        assert threading.active_count() <= threads + 1
        assert all(thread.daemon for thread in threading.enumerate() if thread.name == "apprise")


async def test_nobody_listens():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    (sender,) = build_senders([f"json://127.0.0.1:{port}/{KEY}"], is_production=False)

    with pytest.raises(NotDelivered) as caught:
        await sender.send("title", "body", Urgency.INFO)
    assert KEY not in str(caught.value)


async def test_plugin_that_raises_is_a_message_that_was_not_delivered(monkeypatch: pytest.MonkeyPatch):
    (sender,) = build_senders([f"json://127.0.0.1:1/{KEY}"], is_production=False)

    def explode(**_: object) -> None:
        raise RuntimeError(f"no {KEY}")

    monkeypatch.setattr(sender._apprise, "notify", explode)

    with pytest.raises(NotDelivered, match="^RuntimeError$"):
        await sender.send("title", "body", Urgency.INFO)


def test_urls_that_cannot_be_used_are_told_together_without_what_is_in_them():
    with pytest.raises(ConfigError) as caught:
        build_senders([f"tgarm://{KEY}", "json://127.0.0.1:1", f"slack://{KEY}"], is_production=False)

    assert [problem.partition(")")[0] for problem in caught.value.problems] == [
        "NOTIFY_URLS: number 1 of 3 (tgarm://...", "NOTIFY_URLS: number 3 of 3 (slack://...",
    ]  # fmt: skip
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("json://hooks.example/x", True),
        ("jsons://hooks.example/x", False),
        ("json://127.0.0.1:80/x", False),
        ("json://localhost/x", False),
        ("ntfy://topic", True),
        ("ntfys://topic", False),
        ("mailto://user:word@mail.example", True),
        ("mailtos://user:word@mail.example", False),
        ("tgram://123456789:abcdefg_hijklmnop/12315544/", False),
        ("discord://123456789012345678/abcdefghijklmnopqrstuvwxyz123456", False),
    ],
)
def test_production_refuses_what_is_not_encrypted_beyond_this_machine(url: str, is_refused: bool):
    assert len(build_senders([url], is_production=False)) == 1
    if not is_refused:
        assert len(build_senders([url], is_production=True)) == 1
        return
    with pytest.raises(ConfigError, match="is not encrypted"):
        build_senders([url], is_production=True)


def test_urls_are_separated_by_commas_before_a_scheme_alone():
    text = "mailtos://u:p@example.com?to=a@b.c,d@e.f , json://h/x,tgram://1:2/3"

    assert split_notify_urls(text) == ["mailtos://u:p@example.com?to=a@b.c,d@e.f", "json://h/x", "tgram://1:2/3"]


@pytest.mark.parametrize("text", ["", " , ", "hooks.example", "json://a b", "json://x,\njson://y\n z"])
def test_text_that_is_no_list_of_urls_is_refused(text: str):
    with pytest.raises(ValueError) as caught:
        parse_notify_urls(text)
    assert "hooks" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("tgram://123456789:AAEhBP0av28FrI2bs3t4k5j6h7g8f9d0s1a/12315544/", "AAEhBP0av28FrI2bs3t4k5j6h7g8f9d0s1a"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "TIiajkdnlazkcOXrIdevi7FQ"),
        ("mailtos://me:geheim@example.com", "geheim"),
        (f"jsons://hooks.example/{KEY}?token=abc", KEY),
        ("ntfys://my-secret-topic", "my-secret-topic"),
    ],
)
def test_secret_of_a_url_is_known(url: str, secret: str):
    assert secret in find_notify_secrets(url)
