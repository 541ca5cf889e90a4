"""Feeds keep their last value, and say once that they broke and once that they are well again."""

from __future__ import annotations

from structlog.testing import capture_logs

from dehedge import metrics
from dehedge.core.model import PriceTick
from dehedge.errors import ChainUnavailable
from dehedge.feed import Feed, PriceFeed


def test_feed_keeps_its_value_and_logs_once_when_its_source_breaks_and_recovers():
    woken: list[None] = []
    feed: Feed[int] = Feed("chain", lambda: woken.append(None))
    feed.put(1)

    with capture_logs() as logs:
        for _ in range(3):
            feed.fail(ChainUnavailable("all nodes are down"))
        assert (feed.latest, feed.error) == (1, "all nodes are down")
        feed.put(2)
        feed.put(3)

    assert [entry["event"] for entry in logs] == ["feed_failed", "feed_recovered"]
    assert (feed.latest, feed.error) == (3, None)
    assert len(woken) == 6


def test_feed_is_down_in_the_metrics_until_it_gave_a_value():
    feed: Feed[int] = Feed("a-feed-of-a-test", lambda: None)
    before = metrics.REGISTRY.get_sample_value("dehedge_feed_up", {"feed": feed.name})
    feed.put(1)

    assert (before, metrics.REGISTRY.get_sample_value("dehedge_feed_up", {"feed": feed.name})) == (0, 1)


def test_price_feed_keeps_the_newest_tick_of_every_market_and_never_changes_what_it_gave_out():
    feed = PriceFeed(lambda: None)
    feed.put([PriceTick("BTC-USD", 1, 0, 10), PriceTick("ETH-USD", 2, 0, 10)])
    given = feed.latest

    feed.put([PriceTick("BTC-USD", 3, 0, 11)])
    feed.put([])

    assert {market: tick.price for market, tick in feed.latest.items()} == {"BTC-USD": 3, "ETH-USD": 2}
    assert given["BTC-USD"].price == 1
