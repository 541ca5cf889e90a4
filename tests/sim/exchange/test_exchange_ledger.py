"""The pure ledger: orders, fills, positions, in one-way and in hedge mode."""

from decimal import Decimal

import pytest
from exchange_builders import a_ledger, a_limit, an_ask

from dehedge.sim.exchange import Ledger, Level, Refused
from dehedge.sim.exchange.model import OrderEvent


def refusal_of(ledger: Ledger, ask) -> int:
    orders_before = len(ledger.orders.by_id)
    with pytest.raises(Refused) as caught:
        ledger.place(ask)
    assert len(ledger.orders.by_id) == orders_before
    return caught.value.code


def test_market_order_fills_at_best_price_when_book_is_deep(ledger):
    order = ledger.place(an_ask("BUY", "0.5"))

    assert (order.status, order.executed, order.average_price) == ("FILLED", Decimal("0.5"), Decimal("60000.10"))
    assert ledger.account.get_net("BTCUSDT") == Decimal("0.5")


def test_market_order_pays_slippage_when_set(ledger):
    ledger.markets["BTCUSDT"].slippage_bps = Decimal(10)

    assert ledger.place(an_ask("BUY", "0.5")).average_price == Decimal("60060.20")
    assert ledger.place(an_ask("SELL", "0.5")).average_price == Decimal("59940.00")


def test_market_order_expires_with_part_when_book_is_thin(ledger):
    ledger.markets["BTCUSDT"].depth = Decimal("0.2")

    order = ledger.place(an_ask("BUY", "0.5"))

    assert (order.status, order.executed, order.expiry_reason) == ("EXPIRED", Decimal("0.2"), 9)


def test_market_order_walks_levels_until_the_bound_when_book_is_explicit(ledger):
    levels = tuple(Level(Decimal(price), Decimal("0.1")) for price in (60001, 60002, 63001))
    ledger.set_book("BTCUSDT", (), levels)

    order = ledger.place(an_ask("BUY", "0.5"))

    assert [fill.price for fill in ledger.fills] == [Decimal(60001), Decimal(60002)]
    assert (order.executed, order.average_price) == (Decimal("0.2"), Decimal("60001.5"))


def test_market_order_is_refused_when_best_price_is_out_of_bounds(ledger):
    ledger.set_book("BTCUSDT", (Level(Decimal(56000), Decimal(1)),), ())

    assert refusal_of(ledger, an_ask("SELL", "0.5")) == -4131


def test_fill_ratio_cuts_on_the_step_when_given(ledger):
    order = ledger.place(an_ask("BUY", "0.005"), fill_ratio=Decimal("0.5"))

    assert (order.executed, order.status) == (Decimal("0.002"), "EXPIRED")


def test_sell_flips_position_when_not_reduce_only(ledger):
    ledger.place(an_ask("BUY", "0.3"))
    ledger.place(an_ask("SELL", "0.5"))

    position = ledger.account.get_position("BTCUSDT", "BOTH")
    assert (position.amount, position.entry_price) == (Decimal("-0.2"), Decimal(60000))


def test_reduce_only_is_capped_when_larger_than_position(ledger):
    ledger.place(an_ask("BUY", "0.3"))

    order = ledger.place(an_ask("SELL", "0.5", reduce_only=True))

    assert (order.status, order.quantity, order.executed) == ("FILLED", Decimal("0.3"), Decimal("0.3"))
    assert ledger.account.get_net("BTCUSDT") == 0


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_reduce_only_is_refused_when_flat(ledger, side):
    assert refusal_of(ledger, an_ask(side, "0.5", reduce_only=True)) == -2022


def test_reduce_only_is_refused_when_position_has_same_direction(ledger):
    ledger.place(an_ask("BUY", "0.3"))

    assert refusal_of(ledger, an_ask("BUY", "0.1", reduce_only=True)) == -2022


def test_reduce_only_counts_what_other_reducing_orders_reserve(ledger):
    ledger.place(an_ask("BUY", "0.3"))
    ledger.place(a_limit("SELL", "0.2", "61000", reduce_only=True))

    assert ledger.place(an_ask("SELL", "0.3", reduce_only=True)).executed == Decimal("0.1")
    assert refusal_of(ledger, an_ask("SELL", "0.1", reduce_only=True)) == -2022


def test_resting_reduce_only_expires_when_position_shrinks_below_it(ledger):
    ledger.place(an_ask("BUY", "0.3"))
    kept = ledger.place(a_limit("SELL", "0.1", "61000", reduce_only=True))
    knocked_out = ledger.place(a_limit("SELL", "0.2", "61000", reduce_only=True))
    ledger.place(an_ask("SELL", "0.15"))

    assert ledger.orders.by_id[kept.order_id].is_open
    expired = ledger.orders.by_id[knocked_out.order_id]
    assert (expired.status, expired.expiry_reason) == ("EXPIRED", 4)


def test_two_legs_are_kept_apart_when_hedge_mode(hedge_ledger):
    hedge_ledger.place(an_ask("BUY", "0.3", leg="LONG"))
    hedge_ledger.place(an_ask("SELL", "0.2", leg="SHORT"))
    hedge_ledger.place(an_ask("BUY", "0.2", leg="SHORT"))

    assert hedge_ledger.account.get_position("BTCUSDT", "LONG").amount == Decimal("0.3")
    assert hedge_ledger.account.get_position("BTCUSDT", "SHORT").amount == 0


def test_closing_more_than_the_leg_is_refused_when_hedge_mode(hedge_ledger):
    hedge_ledger.place(an_ask("BUY", "0.3", leg="LONG"))

    assert refusal_of(hedge_ledger, an_ask("SELL", "0.301", leg="LONG")) == -2022
    assert refusal_of(hedge_ledger, an_ask("BUY", "0.1", leg="SHORT")) == -2022


def test_position_side_must_match_the_mode(ledger, hedge_ledger):
    assert refusal_of(ledger, an_ask("BUY", "0.3", leg="LONG")) == -4061
    assert refusal_of(hedge_ledger, an_ask("BUY", "0.3")) == -4061


def test_reduce_only_is_refused_when_hedge_mode(hedge_ledger):
    hedge_ledger.place(an_ask("BUY", "0.3", leg="LONG"))

    assert refusal_of(hedge_ledger, an_ask("SELL", "0.3", leg="LONG", reduce_only=True)) == -1106


def test_client_id_is_refused_only_while_its_order_is_open(ledger):
    ledger.place(an_ask("BUY", "0.1", client_id="same"))
    ledger.place(an_ask("BUY", "0.1", client_id="same"))
    assert ledger.account.get_net("BTCUSDT") == Decimal("0.2")

    resting = ledger.place(a_limit("BUY", "0.1", "59000", client_id="rest"))
    assert refusal_of(ledger, an_ask("BUY", "0.1", client_id="rest")) == -4116
    ledger.cancel(resting)
    assert ledger.place(an_ask("BUY", "0.1", client_id="rest")).status == "FILLED"


def test_query_by_client_id_gives_the_latest_when_reused(ledger):
    first = ledger.place(an_ask("BUY", "0.1", client_id="same"))
    second = ledger.place(an_ask("BUY", "0.2", client_id="same"))

    assert ledger.orders.find("BTCUSDT", None, "same") == second
    assert ledger.orders.find("BTCUSDT", first.order_id, "same") == first


def test_limit_order_rests_and_fills_as_maker_when_the_mark_reaches_it(ledger):
    order = ledger.place(a_limit("BUY", "0.1", "59000"))
    assert order.status == "NEW"

    ledger.set_mark("BTCUSDT", Decimal(58900))

    filled = ledger.orders.by_id[order.order_id]
    assert (filled.status, filled.average_price) == ("FILLED", Decimal(59000))
    assert (ledger.fills[0].is_maker, ledger.fills[0].commission) == (True, Decimal("1.18"))


def test_limit_order_takes_and_rests_when_book_holds_a_part(ledger):
    ledger.set_book("BTCUSDT", (), (Level(Decimal(60001), Decimal("0.1")), Level(Decimal(60100), Decimal(9))))

    order = ledger.place(a_limit("BUY", "0.3", "60050"))

    assert (order.status, order.executed) == ("PARTIALLY_FILLED", Decimal("0.1"))


def test_ioc_order_expires_its_rest(ledger):
    ledger.markets["BTCUSDT"].depth = Decimal("0.1")

    order = ledger.place(a_limit("BUY", "0.3", "60100", time_in_force="IOC"))

    assert (order.status, order.executed, order.expiry_reason) == ("EXPIRED", Decimal("0.1"), 2)


def test_fok_order_is_refused_without_trace_when_it_cannot_fill(ledger):
    ledger.markets["BTCUSDT"].depth = Decimal("0.1")

    assert refusal_of(ledger, a_limit("BUY", "0.3", "60100", time_in_force="FOK")) == -5021
    assert ledger.place(a_limit("BUY", "0.1", "60100", time_in_force="FOK")).status == "FILLED"


def test_post_only_order_is_refused_when_it_would_take(ledger):
    assert refusal_of(ledger, a_limit("BUY", "0.3", "60100", time_in_force="GTX")) == -5022
    assert ledger.place(a_limit("BUY", "0.3", "59000", time_in_force="GTX")).status == "NEW"


def test_cancel_is_refused_when_order_is_done(ledger):
    order = ledger.place(an_ask("BUY", "0.1"))

    with pytest.raises(Refused) as caught:
        ledger.cancel(order)

    assert caught.value.code == -2011


def test_amended_order_moves_and_fills_when_it_crosses(ledger):
    order = ledger.place(a_limit("BUY", "0.1", "59000"))

    amended = ledger.amend(order, Decimal("0.2"), Decimal(60100))

    assert (amended.status, amended.executed) == ("FILLED", Decimal("0.2"))
    assert ledger.fills[0].price == Decimal("60000.10")


def test_amendment_is_refused_when_nothing_changes(ledger):
    order = ledger.place(a_limit("BUY", "0.1", "59000"))

    with pytest.raises(Refused) as caught:
        ledger.amend(order, Decimal("0.1"), Decimal(59000))

    assert caught.value.code == -5027


def test_amendment_cancels_when_quantity_is_already_filled(ledger):
    ledger.set_book("BTCUSDT", (), (Level(Decimal(60001), Decimal("0.1")),))
    order = ledger.place(a_limit("BUY", "0.3", "60050"))

    assert ledger.amend(order, Decimal("0.1"), Decimal(60050)).status == "CANCELED"


def test_events_of_a_taker_come_in_the_exchange_s_order(ledger):
    ledger.place(an_ask("BUY", "0.1"))

    told = ledger.take_events()

    assert [type(event).__name__ for event in told] == [
        "LiteEvent",
        "OrderEvent",
        "AccountEvent",
        "OrderEvent",
        "PublicTradeEvent",
    ]
    assert [event.execution for event in told if isinstance(event, OrderEvent)] == ["NEW", "TRADE"]
    assert ledger.take_events() == []


def test_too_many_open_orders_are_refused(ledger):
    for _ in range(200):
        ledger.place(a_limit("BUY", "0.001", "59000"))

    assert refusal_of(ledger, a_limit("BUY", "0.001", "59000")) == -2025


def test_unfilled_order_is_forgotten_when_three_days_old(ledger):
    order = ledger.cancel(ledger.place(a_limit("BUY", "0.1", "59000")))
    day_ms = 86_400_000

    assert ledger.orders.check_visible(order, order.updated_ms + 3 * day_ms)
    assert not ledger.orders.check_visible(order, order.updated_ms + 3 * day_ms + 1)


def test_same_calls_give_the_same_books():
    def play() -> list[object]:
        ledger = a_ledger()
        ledger.place(an_ask("BUY", "0.1"))
        ledger.place(a_limit("SELL", "0.1", "60500"))
        ledger.set_mark("BTCUSDT", Decimal(60600))
        return [ledger.take_events(), list(ledger.orders.by_id.values()), ledger.fills, ledger.points]

    assert play() == play()


def test_amended_post_only_order_is_canceled_when_it_would_take(ledger):
    order = ledger.place(a_limit("BUY", "0.1", "59000", time_in_force="GTX"))

    assert ledger.amend(order, Decimal("0.1"), Decimal(60100)).status == "CANCELED"
    assert ledger.fills == []


def test_amended_order_loses_its_place_when_it_grows(ledger):
    first = ledger.place(a_limit("BUY", "0.1", "59000"))
    second = ledger.place(a_limit("BUY", "0.1", "59000"))
    ledger.amend(first, Decimal("0.2"), Decimal(59000))

    ledger.set_mark("BTCUSDT", Decimal(58000))

    assert [fill.order_id for fill in ledger.fills] == [second.order_id, first.order_id]
