"""Liquidation, ADL, delisting, funding and margin calls."""

from decimal import Decimal

from exchange_builders import a_ledger, a_limit, an_ask

from dehedge.sim.exchange import forced
from dehedge.sim.exchange.model import AccountEvent, MarginCallEvent, OrderEvent


def an_exposed_ledger(quantity: str = "0.3"):
    ledger = a_ledger(opening_balance=Decimal(1000))
    ledger.place(an_ask("BUY", quantity))
    ledger.take_events()
    return ledger


def test_margin_is_called_once_and_then_liquidated_when_the_price_falls():
    ledger = an_exposed_ledger()
    watch = forced.MarginWatch(ledger)

    for price in (57000, 56935, 56930):
        ledger.set_mark("BTCUSDT", Decimal(price))
        watch.run(liquidates=True)
    assert sum(isinstance(event, MarginCallEvent) for event in ledger.events) == 1
    assert ledger.account.get_net("BTCUSDT") == Decimal("0.3")

    ledger.set_mark("BTCUSDT", Decimal(56880))
    watch.run(liquidates=True)
    order = list(ledger.orders.by_id.values())[-1]
    assert ledger.account.get_net("BTCUSDT") == 0
    assert (order.client_id.startswith("autoclose-"), order.close_kind, order.status) == (True, "LIQUIDATION", "FILLED")


def test_liquidation_is_told_as_calculated_and_never_leaves_a_debt():
    ledger = an_exposed_ledger()
    ledger.place(a_limit("BUY", "0.001", "59000"))
    ledger.markets["BTCUSDT"].mark = Decimal(50000)

    forced.liquidate(ledger, ledger.account.get_position("BTCUSDT", "BOTH"))

    told = [event.execution for event in ledger.events if isinstance(event, OrderEvent)]
    assert told == ["NEW", "EXPIRED", "NEW", "CALCULATED"]
    assert ledger.account.wallet == 0
    assert ledger.account.wallet == 1000 + sum(income.amount for income in ledger.account.incomes)


def test_isolated_liquidation_costs_no_more_than_its_margin(ledger):
    ledger.account.get_settings("BTCUSDT").isolated = True
    ledger.place(an_ask("BUY", "0.3"))
    before = ledger.account.cross_wallet
    ledger.set_mark("BTCUSDT", Decimal(50000))

    forced.MarginWatch(ledger).run(liquidates=True)

    assert ledger.account.get_net("BTCUSDT") == 0
    assert ledger.account.cross_wallet == before


def test_nothing_is_liquidated_when_switched_off():
    ledger = an_exposed_ledger()
    ledger.set_mark("BTCUSDT", Decimal(50000))

    forced.MarginWatch(ledger).run(liquidates=False)

    assert ledger.account.get_net("BTCUSDT") == Decimal("0.3")


def test_deleveraging_takes_a_part_of_a_leg(hedge_ledger):
    hedge_ledger.place(an_ask("SELL", "0.3", leg="SHORT"))

    order = forced.deleverage(hedge_ledger, hedge_ledger.account.get_position("BTCUSDT", "SHORT"), Decimal("0.1"))

    assert hedge_ledger.account.get_position("BTCUSDT", "SHORT").amount == Decimal("-0.2")
    assert (order.client_id.startswith("adl_autoclose"), order.side, order.close_kind) == (True, "BUY", "ADL")


def test_settlement_closes_positions_and_orders_and_the_symbol(ledger):
    ledger.place(an_ask("BUY", "0.3"))
    resting = ledger.place(a_limit("BUY", "0.1", "59000"))

    (order,) = forced.settle(ledger, "BTCUSDT")

    assert order.client_id.startswith("settlement_autoclose-")
    assert len(order.client_id) <= 36
    assert ledger.orders.by_id[resting.order_id].expiry_reason == 7
    assert (ledger.account.get_net("BTCUSDT"), ledger.markets["BTCUSDT"].status) == (0, "CLOSE")


def test_funding_is_paid_by_longs_to_shorts_when_the_rate_is_positive(hedge_ledger):
    hedge_ledger.place(an_ask("BUY", "0.3", leg="LONG"))
    hedge_ledger.place(an_ask("SELL", "0.1", leg="SHORT"))
    hedge_ledger.take_events()
    before = hedge_ledger.account.wallet

    forced.pay_funding(hedge_ledger, "BTCUSDT", Decimal("0.0001"))

    paid = [i.amount for i in hedge_ledger.account.incomes if i.kind == "FUNDING_FEE"]
    assert paid == [Decimal("-1.8"), Decimal("0.6")]
    assert hedge_ledger.account.wallet == before - Decimal("1.2")
    told = [e for e in hedge_ledger.events if isinstance(e, AccountEvent)]
    assert [(e.reason, e.balance_change, e.positions) for e in told] == [
        ("FUNDING_FEE", Decimal("-1.8"), ()),
        ("FUNDING_FEE", Decimal("0.6"), ()),
    ]


def test_funding_comes_out_of_the_isolated_margin(ledger):
    ledger.account.get_settings("BTCUSDT").isolated = True
    ledger.place(an_ask("SELL", "0.1"))
    before = ledger.account.cross_wallet

    forced.pay_funding(ledger, "BTCUSDT", Decimal("-0.0001"))

    assert ledger.account.get_position("BTCUSDT", "BOTH").isolated_wallet == Decimal("299.4")
    assert ledger.account.cross_wallet == before
