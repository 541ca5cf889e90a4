"""Properties of the ledger under any sequence of orders and prices."""

from decimal import Decimal

from exchange_builders import a_ledger
from hypothesis import given, settings
from hypothesis import strategies as st

from dehedge.sim.exchange import Ask, Ledger, Refused

QUANTITIES = st.integers(1, 400).map(lambda steps: Decimal(steps) / 1000)
PRICES = st.integers(580_000, 620_000).map(lambda ticks: Decimal(ticks) / 10)
SIDES = st.sampled_from(["BUY", "SELL"])

ASKS = st.builds(
    Ask,
    symbol=st.just("BTCUSDT"),
    side=SIDES,
    quantity=QUANTITIES,
    order_type=st.sampled_from(["MARKET", "LIMIT"]),
    price=PRICES,
    time_in_force=st.sampled_from(["GTC", "IOC", "FOK", "GTX"]),
    reduce_only=st.booleans(),
)
STEPS = st.lists(st.one_of(ASKS, PRICES), max_size=30)


def play(ledger: Ledger, steps: list[Ask | Decimal], leg: str | None = None) -> None:
    """Carry out what is accepted, and look at the books after every step."""
    for step in steps:
        try:
            if isinstance(step, Ask):
                ledger.place(fit(step, leg))
            else:
                ledger.set_mark("BTCUSDT", step)
        except Refused:
            pass
        check_books(ledger)


def fit(ask: Ask, leg: str | None) -> Ask:
    price = ask.price if ask.order_type == "LIMIT" else Decimal(0)
    return ask._replace(price=price, leg=leg or "BOTH", reduce_only=ask.reduce_only and leg is None)


def check_books(ledger: Ledger) -> None:
    account, fills = ledger.account, ledger.fills
    for leg in account.legs:
        held = sum((f.signed_quantity for f in fills if f.leg == leg), Decimal(0))
        assert account.get_position("BTCUSDT", leg).amount == held
    realized = sum((f.realized for f in fills), Decimal(0))
    fees = sum((f.commission for f in fills), Decimal(0))
    assert account.wallet == account.opening_balance + realized - fees
    assert account.wallet == account.opening_balance + sum((i.amount for i in account.incomes), Decimal(0))
    for order in ledger.orders.by_id.values():
        done = [f for f in fills if f.order_id == order.order_id]
        assert order.executed == sum((f.quantity for f in done), Decimal(0)) <= order.quantity
        assert order.quote == sum((f.quote for f in done), Decimal(0))


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_books_are_the_sums_of_fills_when_one_way(steps):
    play(a_ledger(), steps)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from(["LONG", "SHORT"]))
def test_books_are_the_sums_of_fills_when_hedge_mode(steps, leg):
    ledger = a_ledger(dual_side=True)

    play(ledger, steps, leg)

    amount = ledger.account.get_position("BTCUSDT", leg).amount
    assert amount >= 0 if leg == "LONG" else amount <= 0


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_isolated_margin_never_outlives_its_position(steps):
    ledger = a_ledger()
    ledger.account.get_settings("BTCUSDT").isolated = True

    play(ledger, steps)

    position = ledger.account.get_position("BTCUSDT", "BOTH")
    assert (position.isolated_wallet > 0) == (not position.is_flat)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_reduce_only_fill_never_grows_or_flips_a_position(steps):
    ledger = a_ledger()
    play(ledger, steps)

    held = Decimal(0)
    for fill in ledger.fills:
        after = held + fill.signed_quantity
        if ledger.orders.by_id[fill.order_id].ask.reduce_only:
            assert abs(after) < abs(held)
            assert after * held >= 0
        held = after


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_open_reduce_only_orders_always_fit_the_position(steps):
    ledger = a_ledger()
    play(ledger, steps)

    amount = ledger.account.get_net("BTCUSDT")
    reserved = sum((o.remaining for o in ledger.orders.get_open("BTCUSDT") if o.ask.reduce_only), Decimal(0))
    assert reserved <= abs(amount)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_profit_and_loss_add_up_when_all_is_closed_at_one_price(steps):
    ledger = a_ledger(maker_rate=Decimal(0), taker_rate=Decimal(0))
    play(ledger, steps)
    for order in ledger.orders.get_open("BTCUSDT"):
        ledger.cancel(order)
    amount = ledger.account.get_net("BTCUSDT")
    if amount:
        ledger.place(Ask("BTCUSDT", "SELL" if amount > 0 else "BUY", abs(amount), reduce_only=True))

    cash = -sum((f.signed_quantity * f.price for f in ledger.fills), Decimal(0))

    assert abs(ledger.account.wallet - ledger.account.opening_balance - cash) < Decimal("0.000001")
