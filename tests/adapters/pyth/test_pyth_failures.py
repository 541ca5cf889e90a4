"""Every way in which Hermes can fail: what the sink hears, how often Hermes is asked, and that prices come back."""

import logging
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime
from itertools import pairwise

import pytest
import structlog

from dehedge.adapters.pyth import Pace, PythSource
from dehedge.errors import ConfigError, PriceUnavailable
from dehedge.sim.hermes import FEED_IDS, Fault, Route

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(30)]

BTC, ETH, SOL = FEED_IDS["BTC/USD"], FEED_IDS["ETH/USD"], FEED_IDS["SOL/USD"]
START = 1_800_000_000
KEY = "k3y-of-the-test"
REFUSALS = [Fault.UNAUTHORIZED, Fault.FORBIDDEN]


def only_polls(hermes):
    hermes.fail(Fault.NOT_FOUND, Route.STREAM)


def failing(fault, *routes):
    return lambda hermes: hermes.fail(fault, *routes)


def count_most_in(times, window_s):
    """The most requests in any window of so many seconds."""
    return max(sum(1 for at in times if start <= at < start + window_s) for start in times)


async def test_source_polls_every_interval_when_the_stream_is_refused(start_world):
    async with start_world(prepare=only_polls) as world:
        await world.pass_time(60)

        # Each of the rare attempts to stream takes the turn of one poll.
        assert len(world.sink.get_prices("BTC-USD")) >= 60 - 2 - len(world.get_times(Route.STREAM)) * 1.2
        assert max(later - earlier for earlier, later in pairwise(world.sink.put_times)) < 2.3
        assert len(world.get_times()) <= 61
        assert world.sink.errors == []


async def test_source_polls_more_often_when_the_interval_is_short_and_polls_succeed(start_world):
    async with start_world(prepare=only_polls, poll_interval_s=0.1) as world:
        await world.pass_time(20)

        # All but the second after each of the few attempts to stream.
        assert len(world.get_times(Route.LATEST)) > 110
        assert len(world.get_times(Route.STREAM)) < 10


async def test_source_is_as_slow_as_in_any_failure_when_the_interval_is_short_and_polls_fail(start_world):
    async with start_world(prepare=failing(Fault.UNAVAILABLE), poll_interval_s=0.1) as world:
        await world.pass_time(60)

        assert min(later - earlier for earlier, later in pairwise(world.get_times())) > 1


# Every fault of one with the other well, gone, or failing in the same way.
@pytest.mark.parametrize(
    ("stream", "latest"),
    [
        *((fault, None) for fault in Fault),
        *((fault, fault) for fault in Fault),
        *((Fault.NOT_FOUND, fault) for fault in Fault),
        (Fault.ONE_EVENT, Fault.UNAVAILABLE),
        (Fault.EMPTY, Fault.HANG),
    ],
)
async def test_source_asks_at_most_once_a_second_when_anything_fails(start_world, stream, latest):
    def prepare(hermes):
        hermes.fail(stream, Route.STREAM)
        if latest is not None:
            hermes.fail(latest, Route.LATEST)

    async with start_world(prepare=prepare) as world:
        await world.pass_time(35)

        assert 1 <= len(world.get_times()) <= 36
        assert count_most_in(world.get_times(), 10) <= 11


@pytest.mark.parametrize("fault", list(Fault))
async def test_source_recovers_when_the_fault_is_gone(start_world, fault):
    async with start_world(prepare=failing(fault)) as world:
        await world.pass_time(30)
        world.hermes.heal()
        world.hermes.set(BTC, Decimal(61_000))
        await world.sink.wait_for_price("BTC-USD", "61000")
        await world.pass_time(50)

        assert world.hermes.stream_count == 1
        assert world.sink.put_times[-1] > world.sink.put_times[0] + 40


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.NOT_FOUND, "Hermes answered 404: it knows none of the feeds, or PYTH_PRICE_SERVICE is not its base URL"),
        (Fault.SERVER_ERROR, "Hermes answered 500"),
        (Fault.UNAVAILABLE, "Hermes answered 503"),
        (Fault.HTML, "Hermes sent HTML instead of JSON: is PYTH_PRICE_SERVICE its base URL?"),
        (Fault.EMPTY, "Hermes sent an empty reply"),
        (Fault.TRUNCATED, "Hermes sent malformed or truncated JSON of "),
        (Fault.HANG, "Hermes at 127.0.0.1:"),
        (Fault.RESET, "the connection to Hermes at 127.0.0.1:"),
    ],
)
async def test_source_tells_the_sink_once_and_logs_nothing_when_polls_keep_failing(start_world, fault, message):
    def prepare(hermes):
        only_polls(hermes)
        hermes.fail(fault, Route.LATEST)

    with structlog.testing.capture_logs() as logs:
        async with start_world(prepare=prepare) as world:
            await world.pass_time(20)

            assert len(world.sink.errors) == 1
            assert isinstance(world.sink.errors[0], PriceUnavailable)
            assert world.sink.messages[0].startswith(message)
            assert world.sink.ticks == []
    assert [line["event"] for line in logs] == ["price_stream_lost"]


async def test_source_tells_the_sink_again_when_the_failure_returns(start_world):
    async with start_world(prepare=only_polls) as world:
        for price in (61_000, 62_000):
            world.hermes.fail(Fault.UNAVAILABLE, Route.LATEST)
            await world.pass_time(10)
            world.hermes.heal(Route.LATEST)
            world.hermes.set(BTC, Decimal(price))
            await world.sink.wait_for_price("BTC-USD", str(price))

        assert world.sink.messages == ["Hermes answered 503"] * 2


@pytest.mark.parametrize(
    ("key", "fault", "message"),
    [
        (None, None, "Hermes demands an API key (401): set PYTH_API_KEY"),
        ("", None, "Hermes demands an API key (401): set PYTH_API_KEY"),
        ("wrong", None, "Hermes refuses the API key (401): PYTH_API_KEY is wrong or expired; correct it"),
        (
            KEY,
            Fault.FORBIDDEN,
            "Hermes refuses a feed (403): the plan of PYTH_API_KEY does not cover every market; extend the plan",
        ),
    ],
)
async def test_source_says_once_what_is_wrong_with_the_key_and_retries_slowly(start_world, key, fault, message):
    prepare = failing(fault) if fault else None
    async with start_world(prepare=prepare, api_key=key) as world:
        await world.pass_time(200)

        assert world.sink.messages == [message]
        gaps = [later - earlier for earlier, later in pairwise(world.get_times())]
        assert min(gaps) >= 10
        assert max(gaps) < 12


@pytest.mark.parametrize("fault", REFUSALS)
async def test_source_recovers_within_seconds_when_the_key_is_accepted(start_world, fault):
    async with start_world(prepare=failing(fault)) as world:
        await world.pass_time(65)
        world.hermes.heal()
        await world.sink.wait_for_price("BTC-USD", "60000")

        assert world.sink.put_times[0] < 65 + 12


@pytest.mark.parametrize("fault", REFUSALS)
async def test_source_goes_on_polling_when_only_the_stream_is_refused_to_the_key(start_world, fault):
    async with start_world(prepare=failing(fault, Route.STREAM)) as world:
        await world.pass_time(100)

        assert len(world.sink.messages) == 1
        gaps = [later - earlier for earlier, later in pairwise(world.sink.put_times)]
        assert max(gaps) < 2.5
        assert min(later - earlier for earlier, later in pairwise(world.get_times(Route.STREAM))) >= 10


@pytest.mark.parametrize("route", [Route.STREAM, Route.LATEST])
@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [
        ("7", 7),
        ("120", 120),
        (None, 60),
        ("soon", 60),
        ("", 60),
        ("-5", 60),
        ("Mon, 1 Jan 99999999999999999999 00:00:00 GMT", 60),
        ("Mon, 1 Jan 2020 00:00:00 +99999999999", 60),
        (format_datetime(datetime.fromtimestamp(START + 90, UTC), usegmt=True), 90),
    ],
)
async def test_source_sends_nothing_until_retry_after_has_passed(start_world, route, retry_after, wait_s):
    def prepare(hermes):
        hermes.fail(Fault.THROTTLED, route, retry_after=retry_after, times=1)
        if route is Route.LATEST:
            hermes.fail(Fault.HTML, Route.STREAM)

    async with start_world(prepare=prepare) as world:
        await world.hermes.wait_until(lambda: any(request.route is route for request in world.hermes.requests))
        refused_at = world.get_times(route)[0]
        await world.pass_time(wait_s + 5)

        later = [at for at in world.get_times() if at > refused_at]
        assert min(later) >= refused_at + wait_s - (refused_at if wait_s == 90 else 0)
        assert min(later) < refused_at + wait_s + 2
        assert [message for message in world.sink.messages if "429" in message] == [
            f"Hermes is asked too often (429): waiting {wait_s - (refused_at if wait_s == 90 else 0):.0f} s"
        ]
        assert world.sink.errors[-1].retry_after_s is not None


async def test_source_sends_nothing_while_throttled_when_the_markets_change(start_world, a_market):
    async with start_world(prepare=failing(Fault.THROTTLED)) as world:
        await world.pass_time(5)
        world.source.watch({"SOL-USD": a_market("SOL-USD", SOL)})
        await world.pass_time(50)

        assert world.get_times() == [0]


async def test_source_stays_within_the_rate_when_the_markets_change_all_the_time(start_world, a_market):
    async with start_world(prepare=failing(Fault.UNAVAILABLE)) as world:
        for feed_id in (BTC, ETH, SOL) * 100:
            world.source.watch({"X-USD": a_market("X-USD", feed_id)})
            await world.pass_time(0.1)

        assert len(world.get_times()) <= 31


async def test_source_goes_on_polling_when_the_markets_change_while_the_stream_is_down(start_world, a_market):
    async with start_world(prepare=only_polls) as world:
        world.hermes.set(SOL, Decimal(150))
        await world.pass_time(100)
        world.hermes.fail(Fault.HANG, Route.LATEST)
        await world.pass_time(2)
        world.source.watch({"SOL-USD": a_market("SOL-USD", SOL)})
        world.hermes.heal(Route.LATEST)
        await world.pass_time(30)

        assert len(world.sink.get_prices("SOL-USD")) > 20


async def test_source_sends_the_key_in_the_header_only_and_never_shows_it(start_world, caplog):
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logs:
        async with start_world() as world:
            await world.sink.wait_for_price("BTC-USD", "60000")
            world.hermes.fail(Fault.UNAUTHORIZED)
            world.hermes.cut_streams()
            await world.sink.wait_until(lambda: bool(world.sink.errors))

            assert {request.key_in for request in world.hermes.requests} == {"header"}
            assert not any(KEY in request.query for request in world.hermes.requests)
            shown = [*world.sink.messages, *map(repr, world.sink.errors), repr(world.source), str(logs), caplog.text]
            assert not any(KEY in text for text in shown)


async def test_source_silences_the_request_logs_of_its_libraries(start_world, caplog):
    caplog.set_level(logging.INFO)
    async with start_world(prepare=only_polls) as world:
        await world.pass_time(5)

    assert [record for record in caplog.records if record.name.startswith("http")] == []


async def test_source_keeps_the_waits_it_is_given(start_world):
    pace = Pace(refused_retry_s=3.0)
    async with start_world(prepare=failing(Fault.UNAUTHORIZED), pace=pace) as world:
        await world.pass_time(30)

        assert 9 <= len(world.get_times()) <= 11


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("hermes.pyth.network", KEY),
        ("ftp://hermes.pyth.network", KEY),
        ("http://[::1", KEY),
        ("http://", KEY),
        ("https://hermes.pyth.network", "two words"),
        ("https://hermes.pyth.network", "line\n"),
        ("https://hermes.pyth.network", "clé"),
    ],
)
async def test_source_refuses_a_url_or_a_key_that_cannot_be_sent(url, key):
    with pytest.raises(ConfigError) as caught:
        PythSource(url, api_key=key, poll_interval_s=1, max_age_s=10, max_confidence_bps=100, clock=None)

    assert str(caught.value).startswith(("PYTH_PRICE_SERVICE", "PYTH_API_KEY"))
    assert key not in str(caught.value)
