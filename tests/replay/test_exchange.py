"""The virtual exchange: what fills cost, what the account is allowed, and what it pays."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from dehedge.core.model import Leg, Side
from dehedge.core.orders import ClientOrderId, OrderRequest
from dehedge.errors import OrderRejected, OrderTooLarge, VenueUnavailable
from dehedge.replay.exchange import RULES, Exchange, build_rules
from dehedge.replay.model import Costs

BTC = "BTCUSDT"
MARKS = {BTC: Decimal(60_000)}
ETH = "ETHUSDT"
COSTS = Costs(half_spread_bps=Decimal(1), depth_usd=Decimal(60_000), margin_usd=Decimal(10_000))
FREE = Costs(half_spread_bps=Decimal(0), depth_usd=Decimal(0), taker_fee=Decimal(0), margin_usd=Decimal(3_300))
BOTH = {**MARKS, ETH: Decimal(3_000)}


def an_order(side: Side, quantity: str, *, reduce_only: bool = False) -> OrderRequest:
    return OrderRequest(ClientOrderId("dh-1"), BTC, side, Leg.BOTH, Decimal(quantity), reduce_only)


def test_fill_costs_half_the_spread_half_the_depth_and_the_fee() -> None:
    exchange = Exchange(COSTS)
    fill = exchange.execute(an_order(Side.BUY, "1"), RULES[BTC], MARKS, 0)

    assert fill.price == Decimal(60_000) * (1 + Decimal("0.00015"))
    assert fill.fee == fill.price * Decimal("0.0005")
    assert exchange.get_equity(MARKS) == 10_000 - 9 - fill.fee
    sold = exchange.execute(an_order(Side.SELL, "1", reduce_only=True), RULES[BTC], MARKS, 0)
    assert sold.price == Decimal(60_000) * (1 - Decimal("0.00015"))
    assert exchange.holdings == {}


def test_order_beyond_the_free_margin_is_too_large() -> None:
    exchange = Exchange(COSTS)
    with pytest.raises(OrderTooLarge):
        exchange.execute(an_order(Side.BUY, "3.4"), RULES[BTC], MARKS, 0)
    assert exchange.fills == []
    assert exchange.execute(an_order(Side.BUY, "3"), RULES[BTC], MARKS, 0).quantity == 3


def test_opposite_orders_net_out_and_need_no_margin() -> None:
    exchange = Exchange(COSTS)
    exchange.execute(an_order(Side.BUY, "3"), RULES[BTC], MARKS, 0)
    exchange.execute(an_order(Side.SELL, "5"), RULES[BTC], MARKS, 0)

    assert exchange.holdings[BTC].quantity == -2
    assert exchange.margin_peak == 3 * exchange.fills[0].price / 20


@pytest.mark.parametrize(
    ("sent", "error"), [("0.0005", OrderRejected), ("0.0011", OrderRejected), ("121", OrderRejected)]
)
def test_order_that_the_paper_account_refuses_is_refused(sent: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Exchange(COSTS).execute(an_order(Side.BUY, sent), RULES[BTC], MARKS, 0)


def test_order_below_the_least_notional_is_refused_unless_it_reduces() -> None:
    exchange, low = Exchange(COSTS), {BTC: Decimal(40_000)}
    exchange.execute(an_order(Side.BUY, "0.002"), RULES[BTC], MARKS, 0)
    with pytest.raises(OrderRejected, match="notional"):
        exchange.execute(an_order(Side.BUY, "0.001"), RULES[BTC], low, 0)
    exchange.execute(an_order(Side.SELL, "0.001", reduce_only=True), RULES[BTC], low, 0)
    with pytest.raises(OrderRejected, match="reduce-only"):
        Exchange(COSTS).execute(an_order(Side.SELL, "0.001", reduce_only=True), RULES[BTC], low, 0)


def test_nothing_is_filled_in_an_outage_or_was_on_its_way_when_it_began() -> None:
    exchange = Exchange(Costs(outages=[(10, 20)], exchange_latency_s=1.0))
    for at_us in (10_000_000, 15_000_000, 20_999_999):
        with pytest.raises(VenueUnavailable):
            exchange.execute(an_order(Side.BUY, "1"), RULES[BTC], MARKS, at_us)
    for at_us in (9_999_999, 21_000_000):
        exchange.execute(an_order(Side.BUY, "1"), RULES[BTC], MARKS, at_us)


def test_long_pays_funding_and_a_short_receives_it() -> None:
    exchange = Exchange(COSTS)
    exchange.pay_funding(BTC, Decimal("0.001"), Decimal(60_000), 1)
    assert exchange.payments == []
    exchange.execute(an_order(Side.BUY, "1"), RULES[BTC], MARKS, 0)
    exchange.pay_funding(BTC, Decimal("0.001"), Decimal(60_000), 2)
    exchange.execute(an_order(Side.SELL, "2"), RULES[BTC], MARKS, 0)
    exchange.pay_funding(BTC, Decimal("0.001"), Decimal(60_000), 3)

    assert [payment.amount for payment in exchange.payments] == [-60, 60]


def an_exchange(*, is_isolated: bool) -> Exchange:
    """A bitcoin and an ether are bought at 20x, of 3,300."""
    exchange = Exchange(replace(FREE, is_isolated=is_isolated))
    exchange.execute(an_order(Side.BUY, "1"), RULES[BTC], BOTH, 0)
    exchange.execute(replace(an_order(Side.BUY, "2"), symbol=ETH), RULES[ETH], BOTH, 0)
    return exchange


@pytest.mark.parametrize("is_isolated", [True, False])
@pytest.mark.parametrize("symbol", [BTC, ETH])
def test_hedge_is_liquidated_at_the_price_that_the_account_tells_and_not_before(symbol: str, is_isolated: bool) -> None:
    exchange = an_exchange(is_isolated=is_isolated)
    reading = exchange.read_account(BOTH, 5.0, 4.0)
    limit = reading.liquidations[symbol, Leg.BOTH]
    taken = [-1] if is_isolated and symbol == BTC else [-2] if is_isolated else [-1, -2]

    assert limit.is_long
    assert reading.available == {"USDT": 0}
    assert not exchange.liquidate({**BOTH, symbol: limit.price * Decimal("1.000001")}, 1)
    assert [fill.quantity for fill in exchange.liquidate({**BOTH, symbol: limit.price}, 2)] == taken
    assert exchange.liquidations == 1


def test_isolated_hedge_falls_by_its_own_margin_and_leaves_the_other() -> None:
    """At 20x with a maintenance of half a percent: 95 % of the entry, by 99.5 %."""
    exchange = an_exchange(is_isolated=True)
    limit = exchange.read_account(BOTH, 5.0, 4.0).liquidations[BTC, Leg.BOTH]
    exchange.liquidate({BTC: Decimal(57_000), ETH: Decimal(4_000)}, 1)

    assert limit.price == Decimal(57_000) / Decimal("0.995")
    assert list(exchange.holdings) == [ETH]
    assert exchange.balance == 300


def test_profit_that_is_not_realized_carries_nothing_more_on_isolated_margin() -> None:
    risen = {**BOTH, BTC: Decimal(70_000)}
    assert an_exchange(is_isolated=True).get_free(risen) == 0
    assert an_exchange(is_isolated=False).get_free(risen) == 10_000 - 500


def test_rules_that_nobody_told_are_steps_of_some_dollars() -> None:
    for price in ("0.00001234", "0.5", "150", "60000"):
        rules = build_rules("NEWUSDT", Decimal(price), {})
        assert 1 <= rules.quantity_step * Decimal(price) < 10
        assert build_rules(BTC, Decimal(price), {}) == RULES[BTC]
        assert build_rules("NEWUSDT", Decimal(1), {"NEWUSDT": rules}) is rules
