"""Money: profit, fees, isolated margin, availability, liquidation price, tiers."""

from decimal import Decimal

from exchange_builders import a_ledger, a_limit, an_ask

from dehedge.sim.exchange.model import Position
from dehedge.sim.exchange.positions import compute_break_even
from dehedge.sim.exchange.symbols import BTCUSDT


def test_profit_and_fees_reach_the_wallet_when_closed(ledger):
    ledger.place(an_ask("BUY", "0.1"))
    ledger.set_mark("BTCUSDT", Decimal(61000))
    ledger.place(an_ask("SELL", "0.1"))

    kinds = [(income.kind, income.amount) for income in ledger.account.incomes]
    assert kinds == [
        ("COMMISSION", Decimal("-3.000005")),
        ("REALIZED_PNL", Decimal("99.99")),
        ("COMMISSION", Decimal("-3.05")),
    ]
    assert ledger.account.wallet == Decimal("100093.939995")


def test_entry_price_is_the_average_of_what_opened(ledger):
    ledger.place(an_ask("BUY", "0.1"))
    ledger.set_mark("BTCUSDT", Decimal(61000))
    ledger.place(an_ask("BUY", "0.3"))
    ledger.place(an_ask("SELL", "0.2"))

    position = ledger.account.get_position("BTCUSDT", "BOTH")
    assert (position.amount, position.entry_price) == (Decimal("0.2"), Decimal("60750.10"))


def test_break_even_includes_the_fees_when_long_or_short():
    long = Position("BTCUSDT", "BOTH", Decimal("0.1"), Decimal(80), open_fees=Decimal("0.004"))
    short = Position("BTCUSDT", "BOTH", Decimal("-0.1"), Decimal(80), open_fees=Decimal("0.004"))

    assert (compute_break_even(long), compute_break_even(short)) == (Decimal("80.04"), Decimal("79.96"))


def test_isolated_position_takes_its_margin_out_of_the_wallet(ledger):
    ledger.account.get_settings("BTCUSDT").isolated = True
    ledger.place(an_ask("SELL", "0.1"))

    account = ledger.account
    assert account.get_position("BTCUSDT", "BOTH").isolated_wallet == Decimal(300)
    assert account.cross_wallet == account.wallet - 300
    ledger.place(an_ask("BUY", "0.05"))
    assert account.get_position("BTCUSDT", "BOTH").isolated_wallet == Decimal(150)


def test_available_balance_counts_positions_orders_and_profit(ledger):
    ledger.place(an_ask("BUY", "1"))
    ledger.place(a_limit("BUY", "1", "58000"))
    ledger.set_mark("BTCUSDT", Decimal(60100))

    totals = ledger.margin.compute_totals()
    assert (totals.position_margin, totals.order_margin) == (Decimal(3005), Decimal(2900))
    assert totals.unrealized == Decimal("99.9")
    assert totals.available == totals.wallet + Decimal("99.9") - 3005 - 2900


def test_opposite_order_reserves_only_beyond_the_position(ledger):
    ledger.place(an_ask("BUY", "1"))
    ledger.place(a_limit("SELL", "1", "62000"))

    assert ledger.margin.compute_order_margin("BTCUSDT") == 0


def test_liquidation_price_leaves_exactly_the_maintenance_margin():
    ledger = a_ledger(opening_balance=Decimal(1000))
    ledger.place(an_ask("SELL", "0.2"))

    price = ledger.margin.compute_liquidation_price(ledger.account.get_position("BTCUSDT", "BOTH"))

    equity = ledger.account.wallet - Decimal("0.2") * (price - 60000)
    assert abs(equity - Decimal("0.2") * price * Decimal("0.004")) < Decimal("1e-9")
    assert price > 64000


def test_liquidation_price_is_none_when_margin_covers_all(ledger):
    ledger.place(an_ask("BUY", "0.1"))

    assert ledger.margin.compute_liquidation_price(ledger.account.get_position("BTCUSDT", "BOTH")) == 0


def test_tiers_are_continuous_and_know_their_largest_position():
    deductions = [(b.leverage_max, b.deduction) for b in BTCUSDT.brackets[:5]]

    assert deductions == [(150, 0), (100, 300), (75, 1500), (50, 12000), (25, 132000)]
    assert BTCUSDT.get_notional_max(21) == 70_000_000
    assert BTCUSDT.get_notional_max(20) == 100_000_000


def test_break_even_counts_only_the_fees_since_the_position_turned(ledger):
    ledger.place(an_ask("BUY", "0.1"))
    ledger.place(an_ask("SELL", "0.2"))

    position = ledger.account.get_position("BTCUSDT", "BOTH")

    assert (position.amount, position.open_fees) == (Decimal("-0.1"), Decimal(6))


def test_resting_reduce_only_order_reserves_nothing(ledger):
    ledger.place(an_ask("BUY", "1"))
    ledger.place(a_limit("SELL", "1", "62000", reduce_only=True))
    ledger.place(a_limit("SELL", "1", "62000"))

    assert ledger.margin.compute_order_margin("BTCUSDT") == 0
