"""What a price service may send, as a reply or as a stream: prices that may be believed, or ``PriceUnavailable``."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

from hypothesis import given

from dehedge.adapters.pyth.client import HermesClient
from dehedge.adapters.pyth.pace import Pace
from dehedge.adapters.pyth.payload import parse_reply
from dehedge.adapters.pyth.screen import PriceLimits, PriceScreen
from dehedge.core.model import PRICE_AHEAD_MAX_S, Market
from dehedge.errors import PriceUnavailable
from tests.fuzz.hostile import attack, build_message, fuzz, hurried, seeds
from tests.fuzz.hostile_server import HostileServer, build_hostile_http, build_http

NOW = 1_790_000_000
FEED = "e6" * 32
MAX_AGE_S = 10.0
LINE_MAX = 300
REPLY: dict[str, Any] = {
    "binary": {"encoding": "hex", "data": ["504e41550100000003b8"]},
    "parsed": [
        {
            "id": FEED,
            "price": {"price": "6000012345678", "conf": "1234567890", "expo": -8, "publish_time": NOW - 1},
            "ema_price": {"price": "6000012345678", "conf": "1234567890", "expo": -8, "publish_time": NOW - 1},
            "metadata": {"slot": 139_900_000, "proof_available_time": NOW, "prev_publish_time": NOW - 2},
        }
    ],
}


class FixedClock:
    def time(self) -> float:
        return NOW


def build_screen() -> PriceScreen:
    screen = PriceScreen(PriceLimits(MAX_AGE_S, 100))
    screen.watch({FEED: (Market("BTC-USD", FEED, 30),)})
    return screen


def check_reply(screen: PriceScreen, payload: str | bytes) -> None:
    screening = screen.apply_reply(parse_reply(payload), now=NOW)
    for tick in screening.ticks:
        assert tick.market == "BTC-USD"
        assert 0 < tick.price < 10**60
        assert 0 <= tick.confidence * 10_000 <= tick.price * 100
        assert NOW - MAX_AGE_S <= tick.publish_time <= NOW + PRICE_AHEAD_MAX_S
    for report in screening.reports:
        check_line(report)


def check_line(text: str) -> None:
    assert len(text) < LINE_MAX
    assert text.isprintable()


@fuzz(100)
@given(seeds)
def test_reply_becomes_believable_ticks_or_the_sources_error(random: Random):
    screen = build_screen()

    def check(payload: bytes) -> None:
        try:
            check_reply(screen, payload)
        except PriceUnavailable as error:
            check_line(str(error))

    attack(random, lambda random: build_message(random, REPLY), check)


def build_stream(random: Random) -> bytes:
    """Events of all kinds around spoiled data, the spoiled ones among lines that say nothing."""
    lines = []
    for _ in range(random.randrange(1, 5)):
        data = build_message(random, REPLY)[: random.choice((10**9, 4_000))]
        lines += [
            random.choice((b"data:", b"data: ", b"event: error\ndata:", b"id: \x00\ndata:", b"retry: 9e9\ndata:", b":", b"da")),
            data if random.randrange(2) else data.replace(b"\n", b""),
            random.choice((b"\n\n", b"\n\n", b"\n\n", b"\r\n\r\n", b"\r", b"", b"\ndata:x\n\n")),
        ]
    return b"".join(lines)


@fuzz(30)
@given(seeds)
def test_client_gives_text_or_the_sources_error_whatever_hermes_answers(random: Random):
    asyncio.run(ask_liars(random))


async def ask_liars(random: Random) -> None:
    pace = Pace(connect_timeout_s=0.3, read_timeout_s=0.3, request_timeout_s=0.3)
    screen = build_screen()
    async with HostileServer(lambda _: b"") as server:
        client = HermesClient(server.url, "k3y-of-the-test", clock=FixedClock(), pace=pace)
        for _ in range(12):
            is_stream = bool(random.randrange(2))
            answer = build_answer(random, is_stream=is_stream)
            server.answer = lambda _, answer=answer: answer
            try:
                with hurried():
                    await (follow(client, screen) if is_stream else ask(client, screen))
            except PriceUnavailable as error:
                check_refusal(error, pace)
            except BaseException as error:
                error.add_note(f"answer: {answer[:2_000]!r}")
                raise
        await client.close()


def check_refusal(error: PriceUnavailable, pace: Pace) -> None:
    check_line(str(error))
    assert 0 <= (error.retry_after_s or 0) <= pace.throttled_max_s


def build_answer(random: Random, *, is_stream: bool) -> bytes:
    if not is_stream:
        return build_hostile_http(random, build_message(random, REPLY))
    if random.randrange(3):
        return build_http(build_stream(random), "Content-Type: text/event-stream")
    answer = build_hostile_http(random, build_stream(random))
    return answer.replace(b"application/json", b"text/event-stream", 1).replace(b" 204 X", b" 200 X")


async def ask(client: HermesClient, screen: PriceScreen) -> None:
    check_reply(screen, await client.fetch_latest([FEED]))


async def follow(client: HermesClient, screen: PriceScreen) -> None:
    async with asyncio.timeout(5), client.open_stream([FEED]) as events:
        async for text in events:
            check_reply(screen, text)


def test_good_reply_is_a_tick():
    """What the others spoil is sound."""
    screen = build_screen()

    assert len(screen.apply_reply(parse_reply(json.dumps(REPLY)), now=NOW).ticks) == 1
