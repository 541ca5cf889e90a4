"""What waits to be told: gathered, bounded and tried again, on virtual time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from dehedge import metrics
from dehedge.adapters.notify.outbox import (
    BODY_LENGTH_MAX,
    BURST,
    GATHER_S,
    LINES_MAX,
    REFILL_S,
    RETRY_MAX_S,
    WAITING_MAX,
    NotDelivered,
    Outbox,
    build_body,
)
from dehedge.surfaces import Notice, Urgency

pytestmark = pytest.mark.looptime

AT = 1_790_000_000.0


class Service:
    """Implements ``outbox.Sender``; keeps what arrives and when."""

    def __init__(self, name: str = "1 (json)") -> None:
        self.name = name
        self.got: list[tuple[float, str, Urgency]] = []
        self.is_down = False
        self.takes_s = 0.0
        self.tried = 0

    async def send(self, title: str, body: str, urgency: Urgency) -> None:
        self.tried += 1
        await asyncio.sleep(self.takes_s)
        if self.is_down:
            raise NotDelivered("connection refused")
        self.got.append((asyncio.get_running_loop().time(), f"{title}\n{body}", urgency))

    @property
    def text(self) -> str:
        return "\n".join(text for _, text, _ in self.got)


@asynccontextmanager
async def an_outbox(*services: Service, **options):
    outbox = Outbox(services, title="dehedge", **options)
    outbox.start()
    try:
        yield outbox
    finally:
        await outbox.close(1.0)


def a_notice(text: str, urgency: Urgency = Urgency.INFO) -> Notice:
    return Notice(AT, text, urgency)


def count(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("dehedge_notifications_total", {"outcome": outcome}) or 0.0


async def test_outbox_makes_one_message_of_what_happens_together():
    service = Service()
    async with an_outbox(service) as outbox:
        outbox.tell(a_notice("first"))
        outbox.tell(a_notice("second", Urgency.WARNING))
        await asyncio.sleep(GATHER_S + 0.1)

        assert service.got == [(GATHER_S, "dehedge\n14:13:20 UTC first\n14:13:20 UTC second", Urgency.WARNING)]


async def test_outbox_sends_a_few_messages_at_once_and_then_one_a_minute():
    service = Service()
    async with an_outbox(service) as outbox:
        for number in range(600):
            outbox.tell(a_notice(f"line {number}"))
            await asyncio.sleep(1)

        assert BURST - 1 + 600 / REFILL_S - 1 <= len(service.got) <= BURST - 1 + 600 / REFILL_S + 1
        times = [at for at, *_ in service.got]
        assert (
            min(after - before for before, after in zip(times[BURST:], times[BURST + 1 :], strict=False)) > REFILL_S - 5
        )


async def test_outbox_keeps_the_last_message_of_the_few_for_what_is_urgent():
    service = Service()
    async with an_outbox(service) as outbox:
        for number in range(BURST + 3):
            outbox.tell(a_notice(f"line {number}"))
            await asyncio.sleep(GATHER_S + 0.1)
        assert len(service.got) == BURST - 1
        began = asyncio.get_running_loop().time()

        outbox.tell(a_notice("a law is broken", Urgency.FAILURE))
        await asyncio.sleep(GATHER_S + 2)

        at, text, urgency = service.got[-1]
        assert at - began <= GATHER_S + 1
        assert "a law is broken" in text
        assert "line 7" in text
        assert urgency is Urgency.FAILURE


async def test_outbox_tries_again_later_and_later_with_what_came_up_meanwhile_and_logs_once():
    service = Service()
    service.is_down = True
    failed, sent = count("failed"), count("sent")
    with capture_logs() as logs:
        async with an_outbox(service) as outbox:
            outbox.tell(a_notice("first"))
            await asyncio.sleep(60)
            outbox.tell(a_notice("second"))
            await asyncio.sleep(3_600)
            tried = service.tried
            service.is_down = False
            await asyncio.sleep(RETRY_MAX_S + 100)

            assert [text for _, text, _ in service.got] == ["dehedge\n14:13:20 UTC first\n14:13:20 UTC second"]
            assert 8 <= tried <= 14
    assert (count("failed") - failed, count("sent") - sent) == (tried, 1)
    assert [(line["event"], line["address"]) for line in logs] == [
        ("notification_failed", "1 (json)"), ("notification_recovered", "1 (json)"),
    ]  # fmt: skip


async def test_outbox_drops_the_oldest_of_the_least_urgent_and_says_how_many():
    service = Service()
    dropped = count("dropped")
    async with an_outbox(service) as outbox:
        outbox.tell(a_notice("a law is broken", Urgency.FAILURE))
        for number in range(WAITING_MAX + 9):
            outbox.tell(a_notice(f"line {number}"))
        await asyncio.sleep(GATHER_S + 0.1)

        assert count("dropped") - dropped == 10
        ((_, text, _),) = service.got
        assert "a law is broken" in text
        assert "line 9\n" not in text
        assert "line 10\n" in text
        assert text.endswith(f"... and {WAITING_MAX + 10 - LINES_MAX} more: see the log")


async def test_outbox_tells_a_second_address_although_the_first_one_hangs():
    hanging, service = Service("1 (smtp)"), Service("2 (json)")
    hanging.takes_s = 10_000
    async with an_outbox(hanging, service) as outbox:
        for number in range(3):
            outbox.tell(a_notice(f"line {number}"))
            await asyncio.sleep(GATHER_S + 1)

        assert (len(hanging.got), len(service.got)) == (0, 3)


async def test_outbox_sends_what_waits_at_the_end_whatever_its_pace():
    service = Service()
    async with an_outbox(service) as outbox:
        for number in range(BURST + 3):
            outbox.tell(a_notice(f"line {number}"))
            await asyncio.sleep(GATHER_S + 0.1)
        outbox.tell(a_notice("stopped"))
        began = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() == began
    assert service.text.count("stopped") == 1
    assert all(service.text.count(f"line {number}") == 1 for number in range(BURST + 3))


@pytest.mark.parametrize("fate", ["hangs", "is down"])
async def test_outbox_ends_in_time_when_the_service_takes_nothing(fate: str):
    service = Service()
    service.takes_s, service.is_down = (10_000, False) if fate == "hangs" else (0, True)
    async with an_outbox(service) as outbox:
        outbox.tell(a_notice("stopped"))
        await asyncio.sleep(GATHER_S + 0.5)
        began = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() - began <= 1.0


async def test_outbox_takes_secrets_and_control_characters_out_and_cuts_what_is_long():
    service = Service()
    async with an_outbox(service, redact=lambda line: line.replace("hunter2", "[secret]")) as outbox:
        outbox.tell(a_notice("the key hunter2\x1b[2J\nis refused" + "x" * 1_000))
        await asyncio.sleep(GATHER_S + 0.1)

    ((_, text, _),) = service.got
    assert "[secret] [2J is refused" in text
    assert "hunter2" not in text
    assert len(text) < 400


async def test_outbox_without_addresses_takes_everything_and_does_nothing():
    before = [count(outcome) for outcome in ("sent", "failed", "dropped")]
    async with an_outbox() as outbox:
        for _ in range(WAITING_MAX + 1):
            outbox.tell(a_notice("nobody hears it"))
        await asyncio.sleep(GATHER_S + 0.5)

    assert [count(outcome) for outcome in ("sent", "failed", "dropped")] == before


def test_body_keeps_the_urgent_lines_when_not_all_fit():
    notices = [a_notice("x" * 280) for _ in range(20)] + [a_notice("a law is broken", Urgency.FAILURE)]

    body = build_body(notices, 4)

    assert "a law is broken" in body
    assert len(body) <= BODY_LENGTH_MAX + 50
    assert body.endswith("more: see the log")
    shown = body.count("xxx UTC") + body.count("UTC x")
    assert f"... and {20 - shown + 4} more" in body
