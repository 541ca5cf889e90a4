"""Leverage, margin type, position mode and multi-assets mode: when they may change."""

from decimal import Decimal

import pytest
from exchange_builders import a_ledger, a_limit, an_ask

from dehedge.sim.exchange import Refused, settings


def refusal_of(change, *args, **kwargs) -> int:
    with pytest.raises(Refused) as caught:
        change(*args, **kwargs)
    return caught.value.code


@pytest.mark.parametrize("leverage", [0, 151])
def test_leverage_is_refused_when_out_of_range(ledger, leverage):
    assert refusal_of(settings.set_leverage, ledger, "BTCUSDT", leverage) == -4028
    assert ledger.account.get_settings("BTCUSDT").leverage == 20


def test_leverage_may_not_fall_when_isolated_with_a_position(ledger):
    settings.set_isolated(ledger, "BTCUSDT", isolated=True)
    ledger.place(an_ask("BUY", "0.1"))

    assert refusal_of(settings.set_leverage, ledger, "BTCUSDT", 10) == -4161
    settings.set_leverage(ledger, "BTCUSDT", 30)
    assert ledger.account.get_settings("BTCUSDT").leverage == 30


def test_leverage_may_not_rise_above_what_the_position_allows(ledger):
    ledger.place(an_ask("BUY", "10"))

    assert refusal_of(settings.set_leverage, ledger, "BTCUSDT", 150) == -2027


def test_leverage_may_not_fall_when_the_margin_is_not_there():
    ledger = a_ledger(opening_balance=Decimal(1000))
    ledger.place(an_ask("BUY", "0.3"))

    assert refusal_of(settings.set_leverage, ledger, "BTCUSDT", 10) == -2028


def test_margin_type_is_refused_when_it_is_already_so(ledger):
    assert refusal_of(settings.set_isolated, ledger, "BTCUSDT", isolated=False) == -4046


def test_margin_type_is_refused_with_orders_or_positions(ledger):
    order = ledger.place(a_limit("BUY", "0.1", "59000"))
    assert refusal_of(settings.set_isolated, ledger, "BTCUSDT", isolated=True) == -4047

    ledger.cancel(order)
    ledger.place(an_ask("BUY", "0.1"))
    assert refusal_of(settings.set_isolated, ledger, "BTCUSDT", isolated=True) == -4048
    settings.set_isolated(ledger, "ETHUSDT", isolated=True)


def test_position_mode_is_refused_with_orders_or_positions(ledger):
    assert refusal_of(settings.set_dual_side, ledger, dual_side=False) == -4059
    order = ledger.place(a_limit("BUY", "0.1", "59000"))
    assert refusal_of(settings.set_dual_side, ledger, dual_side=True) == -4067

    ledger.cancel(order)
    ledger.place(an_ask("BUY", "0.1"))
    assert refusal_of(settings.set_dual_side, ledger, dual_side=True) == -4068


def test_multi_assets_mode_excludes_isolated_margin(ledger):
    settings.set_multi_assets(ledger, multi_assets=True)
    assert refusal_of(settings.set_isolated, ledger, "BTCUSDT", isolated=True) == -4168
    assert refusal_of(settings.set_multi_assets, ledger, multi_assets=True) == -4171

    other = a_ledger()
    settings.set_isolated(other, "BTCUSDT", isolated=True)
    assert refusal_of(settings.set_multi_assets, other, multi_assets=True) == -4167


def test_multi_assets_mode_is_refused_with_open_orders(ledger):
    ledger.place(a_limit("BUY", "0.1", "59000"))

    assert refusal_of(settings.set_multi_assets, ledger, multi_assets=True) == -4170
