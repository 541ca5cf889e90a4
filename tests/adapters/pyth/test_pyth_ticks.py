"""Which prices reach the sink as ticks, what is said of the others, and the single look of ``dehedge check``."""

from decimal import Decimal

import pytest

from dehedge.errors import PriceUnavailable
from dehedge.sim.hermes import FEED_IDS, Fault, Route

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(30)]

BTC, ETH, SOL = FEED_IDS["BTC/USD"], FEED_IDS["ETH/USD"], FEED_IDS["SOL/USD"]
START = 1_800_000_000


def only_polls(hermes):
    hermes.fail(Fault.NOT_FOUND, Route.STREAM)


async def test_source_says_which_market_has_no_feed_at_hermes_and_gives_the_others(start_world, a_market):
    markets = {"BTC-USD": a_market("BTC-USD", BTC), "SOL-USD": a_market("SOL-USD", SOL)}
    async with start_world(markets=markets) as world:
        await world.pass_time(30)

        assert world.sink.messages == [
            f"SOL-USD: Hermes does not know its feed 0x{SOL}; check the market's pythFeed",
        ]
        assert len(world.sink.get_prices("BTC-USD")) >= 30


async def test_source_reports_an_unknown_feed_once_when_it_polls(start_world, a_market):
    markets = {"BTC-USD": a_market("BTC-USD", BTC), "SOL-USD": a_market("SOL-USD", SOL)}
    async with start_world(markets=markets, prepare=only_polls) as world:
        await world.pass_time(60)

        assert len(world.sink.messages) == 1


async def test_source_reports_an_uncertain_price_once_and_gives_no_tick_of_it(start_world):
    async with start_world() as world:
        await world.sink.wait_for_price("BTC-USD", "60000")
        world.hermes.set(BTC, Decimal(50_000), Decimal(15_000))
        await world.pass_time(30)

        assert world.sink.messages == ["BTC-USD: confidence 30 % is above 1 %"]
        assert set(world.sink.get_prices("BTC-USD")) == {60_000}
        assert sum(world.source.rejected.values()) >= 30
        assert len(world.sink.get_prices("ETH-USD")) > 30


@pytest.mark.parametrize("price", ["0", "-60000"])
async def test_source_gives_no_tick_when_the_price_is_not_positive(start_world, price):
    async with start_world(prepare=lambda hermes: hermes.set(BTC, Decimal(price))) as world:
        await world.pass_time(20)

        assert world.sink.messages == ["BTC-USD: the price is not positive"]
        assert world.sink.get_prices("BTC-USD") == []


async def test_source_gives_no_tick_when_the_publish_time_goes_backwards(start_world):
    async with start_world() as world:
        await world.pass_time(10.5)
        world.hermes.set(BTC, Decimal(50_000), publish_time=START + 9)
        await world.pass_time(5)

        assert 50_000 not in world.sink.get_prices("BTC-USD")[:-5]
        assert world.sink.get_prices("BTC-USD").count(50_000) == 5
        assert world.sink.errors == []


async def test_source_gives_no_tick_when_the_price_is_stale(start_world, a_market):
    markets = {"BTC-USD": a_market("BTC-USD", BTC, 4), "ETH-USD": a_market("ETH-USD", ETH, 30)}
    async with start_world(markets=markets) as world:
        await world.pass_time(20.5)
        world.hermes.freeze()
        await world.pass_time(30)

        assert max(tick.publish_time for tick in world.sink.ticks) == START + 20
        assert 4 <= len([at for at in world.sink.put_times if at > 20.5]) <= 11
        assert [message.partition(",")[0] for message in world.sink.messages] == [
            "BTC-USD: the price is 7 s old",
            "ETH-USD: the price is 13 s old",
        ]


async def test_source_gives_ticks_again_when_the_publish_time_thaws(start_world):
    async with start_world() as world:
        world.hermes.freeze()
        await world.pass_time(30)
        world.hermes.thaw()
        world.hermes.set(BTC, Decimal(61_000))

        await world.sink.wait_for_price("BTC-USD", "61000")


async def test_source_gives_no_tick_when_the_clock_is_behind(start_world):
    async with start_world() as world:
        world.clock.offset_s = -6
        await world.pass_time(1.5)
        world.sink.ticks.clear()
        await world.pass_time(10)

        assert world.sink.ticks == []
        assert "BTC-USD: the publish time is in the future; check this machine's clock" in world.sink.messages


async def test_fetch_latest_gives_a_tick_or_the_reason_of_each_market(start_world, a_market):
    markets = {
        "BTC-USD": a_market("BTC-USD", BTC),
        "ETH-USD": a_market("ETH-USD", ETH),
        "SOL-USD": a_market("SOL-USD", SOL),
    }
    async with start_world(markets=markets) as world:
        world.hermes.set(ETH, Decimal(3_000), Decimal(900))
        outcomes = await world.source.fetch_latest()

        assert outcomes["BTC-USD"].price == 60_000 * 10**18
        assert str(outcomes["ETH-USD"]) == "confidence 30 % is above 1 %"
        assert isinstance(outcomes["SOL-USD"], PriceUnavailable)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.ONE_EVENT])
async def test_fetch_latest_raises_a_typed_error_when_the_request_fails(start_world, fault):
    async with start_world(prepare=lambda hermes: hermes.fail(fault)) as world:
        with pytest.raises(PriceUnavailable):
            await world.source.fetch_latest()


async def test_fetch_latest_is_empty_when_nothing_is_watched(start_world):
    async with start_world() as world:
        world.source.watch({})

        assert await world.source.fetch_latest() == {}
