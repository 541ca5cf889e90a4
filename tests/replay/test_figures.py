"""The vault's money at its two moments, and what happens between a decision and its fill."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from dehedge.replay.engine import run_policy
from tests.replay.builders import BTC, FREE, a_history, a_trader, choose, make_bars
from tests.replay.test_engine import RISE

FLAT = (60_000.0, 60_000.0, 60_000.0, 60_000.0)
REST = (60_500.0, 60_500.0, 60_500.0, 60_500.0)
THERE_AND_BACK = make_bars(
    BTC, [FLAT, (60_500, 61_200, 60_500, 61_200), (61_200, 61_200, 60_500, 60_500), *[REST] * 3, (60_500, 60_500, 60_000, 60_000)]
)  # fmt: skip
"""On the way back it rests until the hedge is let go."""


def test_worst_moment_has_the_loss_that_the_end_has_not_when_prices_come_back():
    history = a_history([THERE_AND_BACK], [a_trader()], shield_usd=100)
    none, delta = (run_policy(history, FREE, choose(name)).figures for name in ("none", "delta"))

    assert (none.worst_loss, none.worst_avoided, none.worst_protection_free, none.loss, none.protection) == (100, 0, 0, 0, None)
    assert Decimal(80) < delta.worst_avoided == delta.worst_net <= 100
    assert delta.worst_protection_free == delta.worst_protection == delta.worst_avoided / 100
    assert (delta.cost, delta.cost_share, delta.cost_per_dollar) == (0, 0, None)


def test_worst_moment_after_cost_is_less_by_what_was_paid_until_then():
    history = a_history([RISE], [a_trader()], shield_usd=100)
    figures = run_policy(history, replace(FREE, taker_fee=Decimal("0.0005")), choose("delta")).figures

    assert figures.worst_avoided - figures.worst_net == figures.fees == figures.cost > 5
    assert figures.cost_share == figures.cost / figures.worst_avoided


def test_orders_are_fewer_than_the_hedges_that_share_them():
    history = a_history([RISE], [a_trader(number) for number in range(1, 9)], shield_usd=50)
    figures = run_policy(history, FREE, choose("delta")).figures

    assert (figures.opens, figures.orders) == (8, 1)


def test_price_that_moves_before_the_fill_is_told_beside_the_cost():
    history = a_history([RISE], [a_trader()], shield_usd=100)
    at_once, late = (
        run_policy(history, replace(FREE, half_spread_bps=Decimal(1), exchange_latency_s=wait_s), choose("delta")) for wait_s in (0.0, 5.0)
    )

    (trade,) = late.trades
    assert abs(at_once.figures.price_moved) < Decimal("1E-6")
    assert late.figures.slippage > 0
    assert abs(late.figures.price_moved + late.figures.slippage - trade.quantity * (trade.price - trade.decided_price)) < Decimal("1E-9")
    assert abs(at_once.figures.hedge_profit - late.figures.hedge_profit - late.figures.price_moved) < Decimal("0.01")
