"""The bound of a policy's triggers: what they would earn if each were known beforehand and cost nothing.

Whoever is at risk at some time is hedged from his opening, with exactly his coins, until the last moment at which he is. So
the hedge has earned all that he has won by then since the replay began, without delay, fees, funding, steps of the exchange
or margin; where that would be a loss, it knows that too, and leaves it. What no trigger ever sees, it does not hedge: the
distance from there to the whole loss is the rule's own. It bounds the end and not the worst moment: held since the opening,
it loses meanwhile what the trader loses. Called by the engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from dehedge.core.model import PRICE_SCALE
from dehedge.core.policy import HedgingPolicy
from dehedge.core.risk import Capital, assess
from dehedge.replay.exchange import Fill, get_side
from dehedge.replay.figures import Outcome
from dehedge.replay.model import USDC_UNIT, Trade
from dehedge.replay.path import SECOND_US
from dehedge.replay.screen import CHUNK, Screen
from dehedge.replay.story import PRICE_FACTOR, Story
from dehedge.replay.view import UNIT

COIN = Decimal("1E-12")
"""Coins are rounded to this."""
ZERO = Decimal(0)


def build_ideal(story: Story, policy: HedgingPolicy, leverage: int) -> Outcome:
    """One fill at the opening and one at the last moment of risk of everyone who is ever at risk."""
    rows = [*_find_last_risks(story, policy)]
    trades = [trade for row, bar, step in rows for trade in _build_trades(story, row, bar, step)]
    trades.sort(key=lambda trade: trade.at_s)
    fills = [
        Fill(
            round(trade.at_s * SECOND_US),
            trade.market,
            trade.quantity * trade.side.sign,
            trade.price,
            trade.price,
            ZERO,
        )
        for trade in trades
    ]
    return Outcome(story.path.axis.markets, fills, (), trades, leverage)


def _find_last_risks(story: Story, policy: HedgingPolicy) -> Iterator[tuple[int, int, int]]:
    """Row, bar and step of the last moment at risk of everyone who ever is."""
    screen, done = Screen(story, policy), set[int]()
    for start in reversed(range(0, len(story.path.axis), CHUNK)):
        for row, bars in screen.list_risky(start):
            if row not in done:
                found = next((each for bar in reversed(bars) for each in _find_steps(story, policy, row, bar)), None)
                if found is not None:
                    done.add(row)
                    yield row, *found


def _find_steps(story: Story, policy: HedgingPolicy, row: int, bar: int) -> Iterator[tuple[int, int]]:
    """The steps of a bar at which the position is at risk, the last one first."""
    lives, path = story.lives, story.path
    position, market = story.positions[row], int(lives.market[row])
    for step in reversed(range(path.axis.count_steps(bar))):
        at_us = path.axis.get_time_us(bar, step)
        if lives.opened_us[row] <= at_us < lives.ended_us[row]:
            balance = story.get_balance(at_us)
            capital = Capital(max(balance.vault, 0), balance.shield)
            price = path.get_price(market, bar, step) * PRICE_FACTOR
            if assess(position, price, None, capital, policy.factors).at_risk:
                yield bar, step


def _build_trades(story: Story, row: int, bar: int, step: int) -> Iterator[Trade]:
    position, lives, path = story.positions[row], story.lives, story.path
    market, opened_us = int(lives.market[row]), int(lives.opened_us[row])
    entry = Decimal(position.entry_price) / PRICE_SCALE
    quantity = (Decimal(position.size) / USDC_UNIT / entry).quantize(COIN)
    coins = quantity * position.hedge_side.sign
    came = path.get_price(market, int(lives.opened_bar[row]), 0) * UNIT
    left = path.get_price(market, bar, step) * UNIT
    if coins * (left - came) <= 0:
        return
    moments = (("open", opened_us, coins, came), ("close", path.axis.get_time_us(bar, step), -coins, left))
    for kind, at_us, each, price in moments:
        yield Trade(
            at_us / SECOND_US, position.market, kind, get_side(each), quantity, price, price, ZERO, "foresight"
        )  # fmt: skip
