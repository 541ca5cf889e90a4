"""Filters, permissions, symbol status, margin: what is not let in, and with which code."""

from dataclasses import replace
from decimal import Decimal

import pytest
from exchange_builders import a_ledger, a_limit, an_ask

from dehedge.sim.exchange import Refused


def refusal_of(ledger, ask) -> Refused:
    with pytest.raises(Refused) as caught:
        ledger.place(ask)
    assert not ledger.fills
    return caught.value


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (an_ask("BUY", "0.0015"), -1111),
        (an_ask("BUY", "0"), -4003),
        (an_ask("BUY", "120.001"), -4005),
        (a_limit("BUY", "1000.001", "59000"), -4005),
        (an_ask("BUY", "0.0008"), -1111),
        (a_limit("BUY", "0.01", "59000.001"), -1111),
        (a_limit("BUY", "0.01", "59000.05"), -4014),
        (a_limit("BUY", "0.01", "500"), -4013),
        (a_limit("BUY", "0.01", "0"), -4001),
        (a_limit("SELL", "0.01", "5000000"), -4002),
        (a_limit("BUY", "0.01", "63000.1"), -4016),
        (a_limit("SELL", "0.01", "56999.9"), -4024),
        (an_ask("BUY", "0.01", client_id="has space"), -4015),
        (an_ask("BUY", "0.01", client_id="x" * 37), -4015),
    ],
)
def test_order_is_refused_when_a_filter_fails(ledger, ask, code):
    assert refusal_of(ledger, ask).code == code


def test_quantity_off_the_step_is_refused_when_precision_allows_it():
    ledger = a_ledger()
    market = ledger.markets["BTCUSDT"]
    market.rules = replace(market.rules, step=Decimal("0.005"))

    assert refusal_of(ledger, an_ask("BUY", "0.012")).code == -4023


def test_quantity_below_minimum_is_refused_when_precision_allows_it(ledger):
    ask = an_ask("BUY", "0.01")._replace(symbol="SOLUSDT")
    market = ledger.markets["SOLUSDT"]
    market.rules = replace(market.rules, quantity_min=Decimal("0.05"))

    assert refusal_of(ledger, ask).code == -4004


def test_trailing_zeros_are_no_extra_precision(ledger):
    assert ledger.place(an_ask("BUY", "0.010000")).status == "FILLED"


def test_minimum_notional_is_measured_at_the_mark_when_market(ledger):
    ledger.set_mark("BTCUSDT", Decimal(50000))
    ledger.place(an_ask("BUY", "0.001"))
    ledger.set_mark("BTCUSDT", Decimal("49999.9"))

    with pytest.raises(Refused) as caught:
        ledger.place(an_ask("BUY", "0.001"))

    assert (caught.value.code, "50" in caught.value.msg) == (-4164, True)
    assert ledger.place(an_ask("SELL", "0.001", reduce_only=True)).status == "FILLED"


def test_minimum_notional_does_not_bind_a_close_when_hedge_mode(hedge_ledger):
    hedge_ledger.place(an_ask("SELL", "0.001", leg="SHORT"))
    hedge_ledger.set_mark("BTCUSDT", Decimal(40000))

    assert hedge_ledger.place(an_ask("BUY", "0.001", leg="SHORT")).status == "FILLED"


def test_market_order_may_be_of_the_largest_size(ledger):
    ledger.account.wallet = Decimal(10000000)

    assert ledger.place(an_ask("BUY", "120")).executed == 120


def test_margin_is_insufficient_when_balance_is_small():
    ledger = a_ledger(opening_balance=Decimal(1000))

    assert refusal_of(ledger, an_ask("BUY", "0.4")).code == -2019
    assert ledger.place(an_ask("BUY", "0.3")).status == "FILLED"


def test_resting_orders_use_up_margin():
    ledger = a_ledger(opening_balance=Decimal(1000))
    ledger.place(a_limit("BUY", "0.3", "59000"))

    assert refusal_of(ledger, an_ask("BUY", "0.05")).code == -2019


def test_reduction_needs_no_margin():
    ledger = a_ledger(opening_balance=Decimal(1000))
    ledger.place(an_ask("BUY", "0.3"))
    ledger.markets["BTCUSDT"].mark = Decimal(57000)

    assert ledger.place(an_ask("SELL", "0.3")).status == "FILLED"


def test_flip_needs_margin_only_for_what_it_adds():
    ledger = a_ledger(opening_balance=Decimal(1000))
    ledger.place(an_ask("BUY", "0.3"))

    assert ledger.place(an_ask("SELL", "0.6")).status == "FILLED"


def test_order_is_refused_when_above_the_tier_of_its_leverage(ledger):
    ledger.account.get_settings("BTCUSDT").leverage = 150

    assert refusal_of(ledger, an_ask("BUY", "5.1")).code == -2027


@pytest.mark.parametrize(("status", "code"), [("CLOSE", -4141), ("BREAK", -4141), ("PRE_SETTLE", -4140)])
def test_opening_is_refused_when_symbol_is_not_trading(ledger, status, code):
    ledger.markets["BTCUSDT"].status = status

    assert refusal_of(ledger, an_ask("BUY", "0.1")).code == code


def test_closing_is_let_in_when_symbol_is_about_to_settle(ledger):
    ledger.place(an_ask("BUY", "0.1"))
    ledger.markets["BTCUSDT"].status = "PRE_SETTLE"

    assert ledger.place(an_ask("SELL", "0.1", reduce_only=True)).status == "FILLED"


def test_permission_holds_back_openings_or_everything(ledger):
    ledger.account.permission = "REDUCE_ONLY"
    assert refusal_of(ledger, an_ask("BUY", "0.1")).code == -4087

    ledger.account.permission = "NONE"
    assert refusal_of(ledger, an_ask("BUY", "0.1", reduce_only=True)).code == -4088


def test_margin_covers_the_loss_that_a_poor_limit_price_brings():
    ledger = a_ledger(opening_balance=Decimal(1000))
    dear = a_limit("BUY", "0.3", "62000", time_in_force="IOC")

    assert refusal_of(ledger, dear).code == -2019
    assert ledger.place(dear._replace(price=Decimal(60100))).status == "FILLED"
