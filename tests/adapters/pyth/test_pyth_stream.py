"""The stream: used first, watched for silence, reconnected with patience, restarted when the feeds change."""

from decimal import Decimal
from itertools import pairwise

import pytest
import structlog

from dehedge.core.model import PriceTick
from dehedge.sim.hermes import FEED_IDS, Fault, Route

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(30)]

BTC, ETH, SOL = FEED_IDS["BTC/USD"], FEED_IDS["ETH/USD"], FEED_IDS["SOL/USD"]
START = 1_800_000_000


async def test_source_streams_first_and_polls_once_when_it_connects(start_world):
    async with start_world() as world:
        await world.pass_time(100)

        assert [request.route for request in world.hermes.requests] == [Route.STREAM, Route.LATEST]
        assert world.get_times() == [0, 0]
        assert len(world.sink.get_prices("BTC-USD")) >= 100
        assert world.sink.errors == []


async def test_source_asks_for_all_feeds_in_one_request(start_world):
    async with start_world() as world:
        await world.sink.wait_for_price("ETH-USD", "3000")

        assert {request.feed_ids for request in world.hermes.requests} == {tuple(sorted((BTC, ETH)))}
        assert all("ignore_invalid_price_ids=true" in request.query for request in world.hermes.requests)


async def test_source_gives_exact_scaled_ticks(start_world):
    async with start_world() as world:
        await world.pass_time(2)
        world.hermes.set(BTC, Decimal("61409.93501"), Decimal("32.87868567"))
        await world.sink.wait_for_price("BTC-USD", "61409.93501")

        assert world.sink.ticks[-2:][0] == PriceTick(
            "BTC-USD", 61_409_935_010_000_000_000_000, 32_878_685_670_000_000_000, START + 2
        )


async def test_source_gives_each_price_of_one_second_when_they_arrive_together(start_world):
    async with start_world() as world:
        await world.sink.wait_for_price("BTC-USD", "60000")
        for price in (60_001, 60_002, 60_003):
            world.hermes.set(BTC, Decimal(price))
        await world.sink.wait_for_price("BTC-USD", "60003")

        assert world.sink.get_prices("BTC-USD")[-3:] == [60_001, 60_002, 60_003]
        assert len({tick.publish_time for tick in world.sink.ticks[-6:]}) == 1


async def test_source_gives_a_tick_to_every_market_when_they_share_a_feed(start_world, a_market):
    markets = {name: a_market(name, BTC) for name in ("BTC-USD", "BTC-USD-2")}
    async with start_world(markets=markets) as world:
        await world.sink.wait_for_price("BTC-USD", "60000")
        await world.sink.wait_for_price("BTC-USD-2", "60000")

        assert {request.feed_ids for request in world.hermes.requests} == {(BTC,)}


async def test_source_ignores_a_market_with_one_log_line_when_it_has_no_feed(start_world, a_market):
    markets = {
        "BTC-USD": a_market("BTC-USD", BTC),
        "ZERO-USD": a_market("ZERO-USD", "0" * 64),
        "BAD-USD": a_market("BAD-USD", "not hex"),
    }
    with structlog.testing.capture_logs() as logs:
        async with start_world(markets=markets) as world:
            world.source.watch(markets)
            await world.sink.wait_for_price("BTC-USD", "60000")

            assert {request.feed_ids for request in world.hermes.requests} == {(BTC,)}
    ignored = [line["market"] for line in logs if line["event"] == "market_ignored"]
    assert sorted(ignored) == ["BAD-USD", "ZERO-USD"]


async def test_source_sends_nothing_when_no_market_is_watched(start_world, a_market):
    async with start_world(markets={"ZERO-USD": a_market("ZERO-USD", "0" * 64)}) as world:
        await world.pass_time(60)

        assert world.get_times() == []


async def test_source_restarts_the_stream_when_the_feeds_change(start_world, a_market):
    async with start_world() as world:
        world.hermes.set(SOL, Decimal(150))
        await world.pass_time(30)
        world.source.watch({"SOL-USD": a_market("SOL-USD", SOL), "BTC-USD": a_market("BTC-USD", BTC)})
        await world.sink.wait_for_price("SOL-USD", "150")

        assert world.hermes.requests[-1].feed_ids == tuple(sorted((BTC, SOL)))
        assert world.get_times(Route.STREAM) == [0, 30]
        assert world.hermes.stream_count == 1


async def test_source_keeps_the_stream_when_only_the_markets_of_its_feeds_change(start_world, a_market):
    async with start_world() as world:
        await world.pass_time(10)
        names = ("BTC-USD", "BTC-USD-2")
        world.source.watch({name: a_market(name, BTC, 5) for name in names} | {"ETH-USD": a_market("ETH-USD", ETH)})
        await world.sink.wait_for_price("BTC-USD-2", "60000")

        assert world.get_times(Route.STREAM) == [0]


async def test_source_drops_a_market_when_it_is_no_longer_watched(start_world, a_market):
    async with start_world() as world:
        await world.pass_time(5)
        world.source.watch({"ETH-USD": a_market("ETH-USD", ETH)})
        await world.pass_time(1)
        count = len(world.sink.get_prices("BTC-USD"))
        await world.pass_time(20)

        assert len(world.sink.get_prices("BTC-USD")) == count
        assert len(world.sink.get_prices("ETH-USD")) > 20


@pytest.mark.parametrize(("poll_interval_s", "silence_s"), [(1.0, 3.0), (0.5, 3.0), (2.0, 6.0)])
async def test_source_polls_when_the_stream_gives_only_keep_alives(start_world, poll_interval_s, silence_s):
    async with start_world(poll_interval_s=poll_interval_s) as world:
        await world.pass_time(10.2)
        world.hermes.silence_streams()
        world.hermes.set(BTC, Decimal(61_000))
        await world.sink.wait_for_price("BTC-USD", "61000")

        assert world.get_times(Route.LATEST)[1] == pytest.approx(10 + silence_s, abs=0.01)


async def test_source_goes_on_polling_when_every_new_stream_is_silent(start_world):
    async with start_world(prepare=lambda hermes: hermes.silence_streams()) as world:
        await world.pass_time(100)

        gaps = [later - earlier for earlier, later in pairwise(world.sink.put_times)]
        assert max(gaps) < 3.2
        assert len(world.get_times(Route.STREAM)) < 15
        assert world.sink.errors == []


async def test_source_returns_to_the_stream_when_it_speaks_again(start_world):
    async with start_world(prepare=lambda hermes: hermes.silence_streams()) as world:
        await world.pass_time(20)
        world.hermes.speak()
        await world.pass_time(40)
        polls = len(world.get_times(Route.LATEST))
        await world.pass_time(60)

        assert len(world.get_times(Route.LATEST)) == polls
        assert world.hermes.stream_count == 1


@pytest.mark.parametrize("interruption", ["end_streams", "cut_streams"])
async def test_source_reconnects_with_one_poll_when_the_stream_is_lost(start_world, interruption):
    async with start_world() as world:
        await world.pass_time(100)
        getattr(world.hermes, interruption)()
        await world.pass_time(20)

        assert world.get_times(Route.STREAM) == [0, pytest.approx(100.6, abs=0.55)]
        after = [at for at in world.get_times(Route.LATEST) if at > world.get_times(Route.STREAM)[1]]
        assert len(after) == 1
        assert world.sink.errors == []


async def test_source_reconnects_after_a_day_without_an_error_to_the_sink(start_world):
    async with start_world() as world:
        await world.pass_time(5)
        world.hermes.end_streams("Connection timeout reached (24h)")
        world.hermes.set(BTC, Decimal(61_000))
        await world.sink.wait_for_price("BTC-USD", "61000")

        assert world.sink.errors == []


async def test_source_reconnects_with_growing_waits_when_the_stream_is_refused(start_world):
    refuse = lambda hermes: hermes.fail(Fault.NOT_FOUND, Route.STREAM)
    async with start_world(prepare=refuse, poll_interval_s=3.0) as world:
        await world.pass_time(250)

        gaps = [later - earlier for earlier, later in pairwise(world.get_times(Route.STREAM))]
        # Up to a second and a bit is added by the gate, which lets the polls between.
        assert 1.0 <= gaps[0] < 2.3
        assert all(step <= gap <= 1.5 * step + 1.7 for step, gap in zip((0.5, 1, 2, 4, 8, 16), gaps, strict=False))
        assert all(20 <= gap <= 31.2 for gap in gaps[6:])
        assert len(gaps) >= 9


async def test_source_starts_the_back_off_anew_when_the_stream_gave_prices_for_a_minute(start_world):
    async with start_world(prepare=lambda hermes: hermes.fail(Fault.NOT_FOUND, Route.STREAM)) as world:
        await world.pass_time(120)
        world.hermes.heal()
        await world.hermes.wait_until(lambda: world.hermes.stream_count == 1)
        await world.pass_time(63)
        world.hermes.cut_streams()
        await world.pass_time(2)

        *_, before, after = world.get_times(Route.STREAM)
        assert 63.5 < after - before < 64.3


async def test_source_keeps_the_back_off_when_the_stream_gave_prices_for_less(start_world):
    async with start_world(prepare=lambda hermes: hermes.fail(Fault.NOT_FOUND, Route.STREAM)) as world:
        await world.pass_time(120)
        world.hermes.heal()
        await world.hermes.wait_until(lambda: world.hermes.stream_count == 1)
        await world.pass_time(30)
        world.hermes.cut_streams()
        await world.pass_time(45)

        *_, before, after = world.get_times(Route.STREAM)
        assert after - before > 30 + 15


async def test_source_never_loops_hotly_when_the_stream_ends_after_each_price(start_world):
    async with start_world(prepare=lambda hermes: hermes.fail(Fault.ONE_EVENT, Route.STREAM)) as world:
        await world.pass_time(150)

        assert len(world.get_times(Route.STREAM)) < 15
        assert len(world.get_times()) <= 151
        assert max(later - earlier for earlier, later in pairwise(world.sink.put_times)) < 2.2


async def test_source_tells_the_sink_when_the_stream_sends_malformed_data(start_world):
    async with start_world() as world:
        await world.pass_time(70)
        world.hermes.push_data('{"parsed": [')
        await world.sink.wait_until(lambda: bool(world.sink.errors))
        await world.pass_time(5)

        assert world.sink.messages == ["Hermes sent malformed or truncated JSON of 12 characters"]
        assert len(world.get_times(Route.STREAM)) == 2


async def test_source_tells_the_sink_once_and_polls_when_the_stream_is_a_page(start_world):
    async with start_world(prepare=lambda hermes: hermes.fail(Fault.HTML, Route.STREAM)) as world:
        await world.pass_time(60)

        assert world.sink.messages == ["Hermes sent text/html; charset=utf-8 instead of a stream"]
        assert len(world.sink.get_prices("BTC-USD")) > 45


async def test_source_polls_when_the_stream_gives_only_prices_that_fail_a_check(start_world, a_market):
    async with start_world(markets={"BTC-USD": a_market("BTC-USD", BTC)}) as world:
        await world.pass_time(10.2)
        world.hermes.freeze()
        await world.pass_time(20)

        # Too old after twenty seconds, and polled three seconds later.
        assert world.get_times(Route.LATEST)[1] == pytest.approx(23, abs=0.01)


async def test_source_logs_a_lost_stream_once_and_its_return_once(start_world):
    with structlog.testing.capture_logs() as logs:
        async with start_world() as world:
            await world.pass_time(5)
            world.hermes.fail(Fault.UNAVAILABLE, Route.STREAM)
            world.hermes.cut_streams()
            await world.pass_time(60)
            world.hermes.heal()
            await world.pass_time(60)

    assert [line["event"] for line in logs] == ["price_stream_lost", "price_stream_restored"]


async def test_source_survives_when_the_service_goes_down_and_comes_up_again(start_world):
    async with start_world() as world:
        await world.pass_time(5)
        await world.hermes.down()
        await world.sink.wait_until(lambda: bool(world.sink.errors))
        assert "check PYTH_PRICE_SERVICE" in world.sink.messages[0]
        await world.pass_time(60)
        await world.hermes.up()
        world.hermes.set(BTC, Decimal(61_000))

        await world.sink.wait_for_price("BTC-USD", "61000")
        assert len(world.sink.messages) == 1
