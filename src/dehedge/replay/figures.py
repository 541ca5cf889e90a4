"""From what the hedge account did to the vault's money: figures, and columns for charts.

The vault is worth its balance less what the open profits come to beyond the shield; hedged, with the hedge account's
gain beside it. Both are looked at where prices turn, four times a bar: in between prices move straight. Moments are found in
floats, and told in exact money.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from dehedge.replay.exchange import Fill, Payment
from dehedge.replay.model import PRICE_UNITS, USDC_UNIT, Figures, Floats, Policy, Run, Series, Trade
from dehedge.replay.path import POINTS, SECOND_US, Path, Whole
from dehedge.replay.story import Story
from dehedge.replay.view import UNIT

SERIES_MAX = 2_000
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy did: fills, in the order of time, with ``symbols`` in that of the path's markets."""

    symbols: Sequence[str]
    fills: Sequence[Fill] = ()
    payments: Sequence[Payment] = ()
    trades: Sequence[Trade] = ()
    leverage: int = 1
    margin_peak: Decimal = ZERO
    unhedged_s: float = 0.0
    liquidations: int = 0
    opens_refused: int = 0
    orders: int = 0


@dataclass(frozen=True, slots=True)
class _Account:
    """The hedge account at every turning point, in USD; ``gain`` is after all cost."""

    gain: Floats
    cost: Floats
    notional: Floats


@dataclass(frozen=True, slots=True)
class _Money:
    """The account at one moment, exactly: what the coins earned at the path's prices, and what that cost."""

    profit: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    slippage: Decimal = ZERO

    @property
    def cost(self) -> Decimal:
        return self.fees + self.funding + self.slippage


@dataclass(slots=True)
class _Sums:
    """What was filled and paid so far."""

    coins: dict[str, Decimal] = field(default_factory=dict)
    spent: Decimal = ZERO
    fees: Decimal = ZERO
    slippage: Decimal = ZERO

    def add(self, fill: Fill) -> None:
        self.coins[fill.symbol] = self.coins.get(fill.symbol, ZERO) + fill.quantity
        self.spent += fill.quantity * fill.mid
        self.fees += fill.fee
        self.slippage += fill.quantity * (fill.price - fill.mid)


def build_run(story: Story, policy: Policy, outcome: Outcome) -> Run:
    """Put an outcome beside the story that it hedged."""
    profits = story.compute_open_profits()
    vault, shield = story.compute_balances()
    unhedged = vault - np.maximum(profits - shield, 0)
    account = _follow(story.path, outcome)
    figures = _compute_figures(story, outcome, account, unhedged)
    series = _build_series(story, outcome, account, (unhedged, shield))
    return Run(policy, figures, series, outcome.trades)


def compute_times_us(path: Path) -> Whole:
    """The time of every turning point."""
    axis = path.axis
    counts = axis.parts * (POINTS - 1) + 1
    turns = np.arange(POINTS)
    times: Whole = axis.start_us[:, None] + axis.step_us * (turns * axis.parts[:, None]) // counts[:, None]
    return times.reshape(-1)


def _follow(path: Path, outcome: Outcome) -> _Account:
    times_us = compute_times_us(path)
    fills, paid = outcome.fills, outcome.payments
    at_us = np.array([fill.at_us for fill in fills], dtype=np.int64)
    fees = _spread(at_us, [float(fill.fee) for fill in fills], times_us)
    slips = _spread(at_us, [float(fill.quantity * (fill.price - fill.mid)) for fill in fills], times_us)
    paid_us = np.array([payment.at_us for payment in paid], dtype=np.int64)
    cost = fees + slips - _spread(paid_us, [float(payment.amount) for payment in paid], times_us)
    gain, notional = -cost, np.zeros(len(times_us))
    for market, symbol in enumerate(outcome.symbols):
        own = [fill for fill in fills if fill.symbol == symbol]
        own_us = np.array([fill.at_us for fill in own], dtype=np.int64)
        coins = _spread(own_us, [float(fill.quantity) for fill in own], times_us)
        spent = _spread(own_us, [float(fill.quantity * fill.mid) for fill in own], times_us)
        prices = path.points[market].reshape(-1) / PRICE_UNITS
        gain = gain + coins * prices - spent
        notional += np.abs(coins) * prices
    return _Account(gain, cost, notional)


def _spread(at_us: Whole, amounts: Sequence[float], times_us: Whole) -> Floats:
    """The sum of the amounts up to and with each of the times."""
    sums = np.concatenate([[0.0], np.cumsum(np.array(amounts, dtype=np.float64))])
    found: Floats = sums[at_us.searchsorted(times_us, "right")]
    return found


def _compute_figures(story: Story, outcome: Outcome, account: _Account, unhedged: Floats) -> Figures:
    last = len(unhedged) - 1
    start, end = _get_usd(story.balances[0].vault), _measure_vault(story, last)
    money = _measure(story, outcome, last)
    worst = _measure_vault(story, int(unhedged.argmin()))
    worst_hedged = _measure_hedged(story, outcome, int((unhedged + account.gain).argmin()))
    free = _measure_hedged(story, outcome, int((unhedged + account.gain + account.cost).argmin()), is_free=True)
    loss, left = max(start - end, ZERO), max(start - end - money.profit, ZERO)
    avoided = loss - left
    counts = {kind: sum(trade.kind == kind for trade in outcome.trades) for kind in ("open", "close", "resize")}
    return Figures(
        worst_loss=start - worst, worst_avoided=free - worst, worst_protection_free=_divide(free - worst, start - worst),
        worst_net=worst_hedged - worst, worst_protection=_divide(worst_hedged - worst, start - worst), vault_start=start,
        worst_unhedged=worst, worst_hedged=worst_hedged, worst_hedged_free=free, loss=loss, avoided=avoided,
        protection=_divide(avoided, loss), net=money.profit - money.cost, vault_unhedged=end,
        vault_hedged=end + money.profit - money.cost, hedge_profit=money.profit, hedge_error=start - end - money.profit,
        fees=money.fees, funding=money.funding, slippage=money.slippage, cost=money.cost,
        cost_share=_divide(money.cost, free - worst), cost_per_dollar=_divide(money.cost, avoided),
        price_moved=_sum_beyond_decisions(outcome.trades) - money.slippage, opens=counts["open"], closes=counts["close"],
        resizes=counts["resize"], orders=outcome.orders, unhedged_s=outcome.unhedged_s,
        margin_peak=max(outcome.margin_peak, _measure_margin(story, outcome, int(account.notional.argmax()))),
        liquidations=outcome.liquidations, opens_refused=outcome.opens_refused,
    )  # fmt: skip


def _sum_beyond_decisions(trades: Sequence[Trade]) -> Decimal:
    """What the fills were worse than the prices that were decided at."""
    return sum((each.side.sign * each.quantity * (each.price - each.decided_price) for each in trades), ZERO)


def _get_usd(amount: int) -> Decimal:
    return Decimal(amount) / USDC_UNIT


def _divide(part: Decimal, whole: Decimal) -> Decimal | None:
    return part / whole if whole > 0 else None


def _measure_vault(story: Story, point: int) -> Decimal:
    """What the unhedged vault is worth at a turning point."""
    balance = story.balances[bisect_right(story.balances, point, key=lambda each: each.point) - 1]
    return _get_usd(balance.vault - max(story.get_open_profit(point) - balance.shield, 0))


def _measure_hedged(story: Story, outcome: Outcome, point: int, *, is_free: bool = False) -> Decimal:
    money = _measure(story, outcome, point)
    return _measure_vault(story, point) + money.profit - (ZERO if is_free else money.cost)


def _sum_up(outcome: Outcome, until_us: int) -> _Sums:
    sums = _Sums()
    for fill in outcome.fills:
        if fill.at_us <= until_us:
            sums.add(fill)
    return sums


def _measure(story: Story, outcome: Outcome, point: int) -> _Money:
    until_us = int(compute_times_us(story.path)[point])
    sums = _sum_up(outcome, until_us)
    value = sum((coins * _get_price(story, outcome, symbol, point) for symbol, coins in sums.coins.items()), ZERO)
    paid = sum((payment.amount for payment in outcome.payments if payment.at_us <= until_us), ZERO)
    return _Money(value - sums.spent, sums.fees, -paid, sums.slippage)


def _measure_margin(story: Story, outcome: Outcome, point: int) -> Decimal:
    sums = _sum_up(outcome, int(compute_times_us(story.path)[point]))
    held = (abs(coins) * _get_price(story, outcome, symbol, point) for symbol, coins in sums.coins.items())
    return sum(held, ZERO) / outcome.leverage


def _get_price(story: Story, outcome: Outcome, symbol: str, point: int) -> Decimal:
    bar, turn = divmod(point, POINTS)
    return int(story.path.points[outcome.symbols.index(symbol), bar, turn]) * UNIT


def _build_series(story: Story, outcome: Outcome, account: _Account, vault: tuple[Floats, Floats]) -> Series:
    unhedged, shield = vault
    hedged = unhedged + account.gain
    spread = np.linspace(0, len(unhedged) - 1, min(SERIES_MAX - 2, len(unhedged))).astype(np.int64)
    chosen = np.union1d(spread, [unhedged.argmin(), hedged.argmin()])
    prices = {
        market: story.path.points[place].reshape(-1)[chosen] / PRICE_UNITS
        for place, market in enumerate(story.path.axis.markets)
    }
    return Series(
        time_s=compute_times_us(story.path)[chosen] / SECOND_US, vault_unhedged=unhedged[chosen],
        vault_hedged=hedged[chosen], shield=shield[chosen], prices=prices, hedged_notional=account.notional[chosen],
        margin_used=account.notional[chosen] / outcome.leverage, cost=account.cost[chosen],
    )  # fmt: skip
