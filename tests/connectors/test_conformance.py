"""What every connector must do, card by card; the numbers are spaced so that cards can be put between.

A connector is done when it passes. It is given an exchange to talk to and the registry's options, nothing else. The example
of the documentation is held to it like the others.
"""

from __future__ import annotations

import re
import time
from decimal import Decimal

import pytest
from tests.connectors.example import build_example

from dehedge.connectors import CONNECTORS, ConnectorOptions
from dehedge.core.model import Leg, Side
from dehedge.core.orders import OrderStatus
from dehedge.errors import OrderRejected, VenueUnavailable

KNOWN = {**CONNECTORS, "example": build_example}
SYMBOLS = ["BTCUSDT", "ETHUSDT"]


@pytest.fixture(params=sorted(KNOWN))
def options(request, exchange, clock, tmp_path):
    return request.param, ConnectorOptions(
        rest_url=exchange.url,
        ws_url=exchange.ws_url,
        clock=clock,
        api_key=exchange.settings.api_key,
        api_secret=exchange.settings.api_secret,
        state_path=str(tmp_path / "paper.db"),
        request_s=3.0,
    )


@pytest.fixture
async def connector(options):
    name, chosen = options
    connector = KNOWN[name](chosen)
    await connector.connect(SYMBOLS)
    yield connector
    await connector.close()


class TestConformance:
    async def test_c010_connector_names_itself_as_registered(self, options, connector):
        assert connector.name == options[0]

    async def test_c020_connect_finds_one_way_mode(self, connector):
        assert connector.hedge_mode is False

    async def test_c030_connect_raises_unavailable_when_the_exchange_is_down(self, options, exchange):
        await exchange.down()
        connector = KNOWN[options[0]](options[1])
        try:
            with pytest.raises(VenueUnavailable):
                await connector.connect(SYMBOLS)
        finally:
            await connector.close()

    async def test_c040_unknown_window_is_stated(self, connector):
        assert connector.unknown_window_s >= 0

    async def test_c050_secrets_are_absent_from_representations(self, options, connector):
        assert "sim-api-key" not in repr(options[1]) + repr(connector)
        assert "sim-api-secret" not in repr(options[1]) + repr(connector)

    async def test_c100_trading_rules_are_exact(self, connector):
        rules = (await connector.fetch_trading_rules())["BTCUSDT"]

        assert (rules.quantity_step, rules.quantity_min) == (Decimal("0.001"), Decimal("0.001"))
        assert rules.quantity_max == 120
        assert (rules.notional_min, rules.price_tick) == (50, Decimal("0.1"))
        assert rules.is_trading

    async def test_c110_trading_rules_tell_when_a_symbol_is_halted(self, connector, exchange):
        exchange.get_market("BTCUSDT").status = "SETTLING"

        assert not (await connector.fetch_trading_rules())["BTCUSDT"].is_trading

    @pytest.mark.parametrize("symbols", [["BTCUSDT"], SYMBOLS, [*SYMBOLS, "SOLUSDT"]])
    async def test_c120_mark_prices_are_fetched_for_what_was_asked(self, connector, symbols):
        marks = await connector.fetch_mark_prices(symbols)

        assert sorted(marks) == sorted(symbols)
        assert marks["BTCUSDT"].price == 60000
        assert abs(marks["BTCUSDT"].time_s - time.time()) < 5
        assert connector.get_mark_prices()["BTCUSDT"] == marks["BTCUSDT"]

    async def test_c130_mark_prices_of_nothing_are_empty(self, connector):
        assert await connector.fetch_mark_prices([]) == {}

    async def test_c140_order_book_is_best_first(self, connector):
        book = await connector.fetch_order_book("BTCUSDT", 3)

        assert 0 < len(book.bids) <= 3
        assert book.asks[0][0] > book.bids[0][0] > 0
        assert sorted(book.bids, reverse=True) == list(book.bids)
        assert sorted(book.asks) == list(book.asks)

    async def test_c150_marks_are_streamed_while_running(self, connector, exchange, sink, running):
        async with running(connector.run(sink)):
            await sink.wait_for(lambda: set(SYMBOLS) <= set(connector.get_mark_prices()))
            exchange.set_mark("BTCUSDT", Decimal(61000))
            await sink.wait_for(lambda: connector.get_mark_prices()["BTCUSDT"].price == 61000)

    async def test_c160_running_asks_for_a_look_at_the_account(self, connector, sink, running):
        async with running(connector.run(sink)):
            await sink.wait_for(lambda: sink.account_changes > 0)

    async def test_c200_prepared_symbol_can_be_prepared_again(self, connector):
        await connector.prepare_symbol("BTCUSDT")
        await connector.prepare_symbol("BTCUSDT")

    async def test_c210_prepare_is_refused_for_an_unlisted_symbol(self, connector):
        with pytest.raises(OrderRejected, match="NOPEUSDT"):
            await connector.prepare_symbol("NOPEUSDT")

    async def test_c300_market_order_fills(self, connector, an_order):
        request = an_order(Side.BUY, "0.010")

        report = await connector.place_order(request)

        assert report.client_order_id == request.client_order_id
        assert (report.status, report.filled_quantity) == (OrderStatus.FILLED, Decimal("0.010"))

    async def test_c310_order_can_be_asked_for_with_its_price(self, connector, an_order):
        request = an_order(Side.SELL, "0.010")
        await connector.place_order(request)

        report = await connector.fetch_order("BTCUSDT", request.client_order_id)

        assert report is not None
        assert (report.status, report.filled_quantity) == (OrderStatus.FILLED, Decimal("0.010"))
        assert report.average_price is not None
        assert abs(report.average_price - 60000) < 10

    async def test_c320_unknown_order_is_none(self, connector):
        assert await connector.fetch_order("BTCUSDT", "dh-never-sent") is None

    @pytest.mark.parametrize(
        ("quantity", "reason"), [("0.0001", "min"), ("121", "max"), ("0.0105", "step"), ("0.0005", "min")]
    )
    async def test_c330_order_off_the_rules_is_rejected(self, connector, an_order, quantity, reason):
        with pytest.raises(OrderRejected) as caught:
            await connector.place_order(an_order(Side.BUY, quantity))

        assert caught.value.code < 0
        assert await connector.fetch_positions() == []

    async def test_c340_order_below_the_notional_is_rejected_unless_it_reduces(self, connector, exchange, an_order):
        exchange.set_mark("ETHUSDT", Decimal(3000))
        await connector.place_order(an_order(Side.BUY, "0.010", "ETHUSDT"))

        with pytest.raises(OrderRejected) as caught:
            await connector.place_order(an_order(Side.SELL, "0.001", "ETHUSDT"))
        report = await connector.place_order(an_order(Side.SELL, "0.001", "ETHUSDT", reduce_only=True))

        assert caught.value.code == -4164
        assert report.filled_quantity == Decimal("0.001")

    async def test_c350_reduce_only_is_rejected_when_there_is_nothing_to_reduce(self, connector, an_order):
        with pytest.raises(OrderRejected) as flat:
            await connector.place_order(an_order(Side.SELL, reduce_only=True))
        await connector.place_order(an_order(Side.BUY))
        with pytest.raises(OrderRejected) as same_side:
            await connector.place_order(an_order(Side.BUY, reduce_only=True))

        assert (flat.value.code, same_side.value.code) == (-2022, -2022)

    async def test_c360_reduce_only_never_goes_past_flat(self, connector, an_order):
        await connector.place_order(an_order(Side.BUY, "0.010"))

        report = await connector.place_order(an_order(Side.SELL, "0.020", reduce_only=True))

        assert report.filled_quantity == Decimal("0.010")
        assert await connector.fetch_positions() == []

    async def test_c370_leg_of_another_mode_is_rejected(self, connector, an_order):
        with pytest.raises(OrderRejected) as caught:
            await connector.place_order(an_order(leg=Leg.LONG))

        assert caught.value.code == -4061

    async def test_c380_order_in_a_halted_symbol_is_rejected(self, connector, exchange, an_order):
        exchange.get_market("BTCUSDT").status = "SETTLING"
        await connector.fetch_trading_rules()

        with pytest.raises(OrderRejected):
            await connector.place_order(an_order())

    async def test_c390_id_sent_twice_is_executed_twice_and_shows(self, connector, an_order):
        request = an_order(Side.BUY, "0.010", client_order_id="dh-same")
        since_s = time.time() - 60

        await connector.place_order(request)
        await connector.place_order(request)

        history = await connector.fetch_order_history("BTCUSDT", since_s)
        assert [order.report.client_order_id for order in history] == ["dh-same", "dh-same"]
        assert (await connector.fetch_positions())[0].quantity == Decimal("0.020")

    async def test_c400_positions_net_per_symbol_with_sign(self, connector, an_order):
        await connector.place_order(an_order(Side.BUY, "0.010"))
        await connector.place_order(an_order(Side.SELL, "0.030"))
        await connector.place_order(an_order(Side.BUY, "0.100", "ETHUSDT"))

        positions = {position.symbol: position for position in await connector.fetch_positions()}

        assert positions["BTCUSDT"].quantity == Decimal("-0.020")
        assert positions["ETHUSDT"].quantity == Decimal("0.100")
        assert {position.leg for position in positions.values()} == {Leg.BOTH}
        assert abs(positions["BTCUSDT"].entry_price - 60000) < 10

    async def test_c410_flat_account_has_no_positions(self, connector, an_order):
        await connector.place_order(an_order(Side.BUY))
        await connector.place_order(an_order(Side.SELL, reduce_only=True))

        assert await connector.fetch_positions() == []

    async def test_c420_balance_pays_the_fee_and_the_margin(self, connector, an_order):
        def usdt(balances):
            return next(balance for balance in balances if balance.asset == "USDT")

        before = usdt(await connector.fetch_balances())
        await connector.place_order(an_order(Side.BUY, "0.010"))
        after = usdt(await connector.fetch_balances())

        assert Decimal("0.25") < before.total - after.total < Decimal("0.35")
        assert after.available < after.total

    async def test_c500_order_history_is_oldest_first(self, connector, an_order):
        since_s = time.time() - 60
        for side in (Side.BUY, Side.SELL, Side.SELL):
            await connector.place_order(an_order(side))
        await connector.place_order(an_order(symbol="ETHUSDT", quantity="0.100"))

        history = await connector.fetch_order_history("BTCUSDT", since_s)

        assert [order.report.client_order_id for order in history] == ["dh-test-1", "dh-test-2", "dh-test-3"]
        assert [order.side for order in history] == [Side.BUY, Side.SELL, Side.SELL]
        assert all(order.report.average_price for order in history)
        assert all(abs(order.updated_at - time.time()) < 10 for order in history)

    async def test_c510_history_leaves_out_what_was_before(self, connector, an_order):
        await connector.place_order(an_order())

        assert await connector.fetch_order_history("BTCUSDT", time.time() + 0.5) == []
        assert await connector.fetch_trade_history("BTCUSDT", time.time() + 0.5) == []

    async def test_c520_trade_history_tells_fees_and_profit(self, connector, exchange, an_order):
        since_s = time.time() - 60
        await connector.place_order(an_order(Side.BUY, "0.010"))
        exchange.set_mark("BTCUSDT", Decimal(61000))
        await connector.place_order(an_order(Side.SELL, "0.010"))

        opened, closed = await connector.fetch_trade_history("BTCUSDT", since_s)

        assert (opened.side, closed.side) == (Side.BUY, Side.SELL)
        assert opened.realized_profit == 0
        assert Decimal(9) < closed.realized_profit <= Decimal(10)
        assert (closed.fee_asset, closed.quantity) == ("USDT", Decimal("0.010"))
        assert abs(closed.fee - closed.price * closed.quantity * Decimal("0.0005")) < Decimal("0.00001")
        assert closed.venue_order_id

    async def test_c600_finished_order_cannot_be_canceled_and_is_told(self, connector, an_order):
        request = an_order()
        await connector.place_order(request)

        report = await connector.cancel_order("BTCUSDT", request.client_order_id)

        assert report.status is OrderStatus.FILLED

    async def test_c610_cancel_is_rejected_for_an_unknown_order(self, connector):
        with pytest.raises(OrderRejected) as caught:
            await connector.cancel_order("BTCUSDT", "dh-never-sent")

        assert caught.value.code == -2011

    async def test_c620_modify_is_rejected_for_a_market_order(self, connector, an_order):
        request = an_order()
        await connector.place_order(request)

        with pytest.raises(OrderRejected):
            await connector.modify_order("BTCUSDT", request.client_order_id, Decimal("0.020"), Decimal(60000))

    async def test_c700_order_is_told_to_the_sink(self, connector, sink, running, an_order):
        request = an_order()
        async with running(connector.run(sink)):
            await sink.wait_for(lambda: sink.account_changes > 0)
            await connector.place_order(request)
            await sink.wait_for(lambda: any(order.report.status is OrderStatus.FILLED for order in sink.orders))

        told = sink.orders[-1]
        assert (told.symbol, told.side, told.leg) == ("BTCUSDT", Side.BUY, Leg.BOTH)
        assert told.report.client_order_id == request.client_order_id
        assert told.report.average_price is not None

    @pytest.mark.parametrize("quantity", ["0.0109", "0.010", "12", "1E-3", "1.2E+1", "0.0009"])
    async def test_c800_quantity_is_plain_and_on_the_step(self, connector, quantity):
        text = connector.format_quantity("BTCUSDT", Decimal(quantity))

        assert re.fullmatch(r"\d+(\.\d+)?", text)
        assert 0 <= Decimal(quantity) - Decimal(text) < Decimal("0.001")
        assert Decimal(text) % Decimal("0.001") == 0

    async def test_c810_price_is_plain_and_on_the_tick(self, connector):
        assert connector.format_price("BTCUSDT", Decimal("60000.17")) == "60000.1"

    async def test_c820_format_is_refused_for_an_unlisted_symbol(self, connector):
        with pytest.raises(OrderRejected):
            connector.format_quantity("NOPEUSDT", Decimal(1))

    async def test_c900_capacity_is_there_for_a_single_order(self, connector):
        assert connector.check_order_capacity(1, is_reduce=False)
        assert connector.check_order_capacity(1, is_reduce=True)
