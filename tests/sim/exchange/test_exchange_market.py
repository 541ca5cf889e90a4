"""The synthetic book around the mark."""

from decimal import Decimal

from dehedge.sim.exchange import BTCUSDT, Level
from dehedge.sim.exchange.market import Market


def test_book_lies_around_the_mark_on_the_tick():
    market = Market(BTCUSDT, Decimal("60000.04"))

    assert (market.bid.price, market.ask.price) == (Decimal("60000.00"), Decimal("60000.10"))
    bids = market.get_levels("SELL", 5)
    assert [level.price for level in bids] == [Decimal("60000.0") - Decimal("0.1") * n for n in range(5)]
    assert all(level.quantity > 0 for level in bids)


def test_spread_widens_to_both_sides():
    market = Market(BTCUSDT, Decimal(60000), spread_ticks=4)

    assert (market.bid.price, market.ask.price) == (Decimal("59999.8"), Decimal("60000.2"))


def test_mark_drops_an_explicit_book():
    market = Market(BTCUSDT, Decimal(60000))
    market.set_book((Level(Decimal(59000), Decimal(1)),), ())
    assert market.bid.price == 59000

    market.set_mark(Decimal(61000))
    assert market.bid.price == 61000


def test_limit_taker_never_pays_more_than_its_limit_when_slippage_is_set():
    market = Market(BTCUSDT, Decimal(60000), slippage_bps=Decimal(10))

    assert market.take("BUY", Decimal(1), Decimal(60010)) == [Level(Decimal(60010), Decimal(1))]
    assert market.take("BUY", Decimal(1), Decimal(60000)) == []
