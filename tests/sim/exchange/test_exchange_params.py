"""Request parameters: missing, malformed, unwelcome, sent twice."""

import pytest
from exchange_builders import limit_order, market_order

from dehedge.sim.exchange import Refused
from dehedge.sim.exchange.account import Account
from dehedge.sim.exchange.params import Params, parse_ask, parse_leniently, parse_pairs

NOW_MS = 1_789_478_305_000


def refusal_of(pairs: dict[str, str], **account: bool) -> Refused:
    with pytest.raises(Refused) as caught:
        parse_ask(Params(pairs), Account(**account), NOW_MS)
    return caught.value


@pytest.mark.parametrize("name", ["symbol", "side", "type", "quantity"])
def test_market_order_needs_its_parameters(name):
    order = market_order()
    del order[name]

    refused = refusal_of(order)

    assert (refused.code, f"'{name}'" in refused.msg) == (-1102, True)


@pytest.mark.parametrize("name", ["price", "timeInForce"])
def test_limit_order_needs_its_parameters_and_a_market_order_may_not_have_them(name):
    order = limit_order("BUY", "0.01", "59000")
    value = order.pop(name)

    assert refusal_of(order).code == -1102
    assert refusal_of({**market_order(), name: value}).code == -1106


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"side": "buy"}, -1117),
        ({"type": "STOP_MARKET"}, -4120),
        ({"type": "TRAILING_STOP_MARKET"}, -4120),
        ({"type": "ICEBERG"}, -1116),
        ({"quantity": "1e-05"}, -1100),
        ({"quantity": "-1"}, -1100),
        ({"quantity": "0.01 "}, -1100),
        ({"positionSide": "NET"}, -4060),
        ({"reduceOnly": "True"}, -1130),
        ({"closePosition": "true"}, -4136),
        ({"newClientOrderId": "x" * 37}, -4015),
    ],
)
def test_order_is_refused_when_a_parameter_is_malformed(change, code):
    assert refusal_of({**market_order(), **change}).code == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"timeInForce": "DAY"}, -1115),
        ({"timeInForce": "GTD"}, -1102),
        ({"timeInForce": "GTD", "goodTillDate": str(NOW_MS + 599_999)}, -5040),
    ],
)
def test_limit_order_is_refused_when_its_time_is_malformed(change, code):
    assert refusal_of({**limit_order("BUY", "0.01", "59000"), **change}).code == code


@pytest.mark.parametrize("value", ["true", "false"])
def test_reduce_only_may_not_be_sent_at_all_when_hedge_mode(value):
    refused = refusal_of({**market_order(), "positionSide": "LONG", "reduceOnly": value}, dual_side=True)

    assert (refused.code, refused.msg) == (-1106, "Parameter 'reduceonly' sent when not required.")


def test_parameter_sent_twice_is_refused():
    with pytest.raises(Refused) as caught:
        parse_pairs("symbol=BTCUSDT", "symbol=ETHUSDT")

    assert caught.value.code == -1101


def test_shown_parameters_hold_no_secrets():
    shown = parse_leniently("symbol=BTCUSDT&signature=abc", "listenKey=def").build_shown()

    assert shown == {"symbol": "BTCUSDT"}
