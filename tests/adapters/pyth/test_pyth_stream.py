from decimal import Decimal
import pytest
from dehedge.sim.hermes import FEED_IDS, Route
BTC, ETH = FEED_IDS["BTC/USD"], FEED_IDS["ETH/USD"]
pytestmark = pytest.mark.looptime

async def test_source_streams(start_world):
    async with start_world() as world:
        await world.sink.wait_for_price("BTC-USD", "60000")
        world.hermes.set(BTC, Decimal(61000))
        await world.sink.wait_for_price("BTC-USD", "61000")
        await world.pass_time(100)
        print(world.get_times(), len(world.sink.ticks), world.sink.messages)
        assert world.get_times(Route.LATEST)==[0]
