"""One story for both: the daemon's engine lives through it on virtual time, and the replay decides the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest

from dehedge.core.events import OrderIntended
from dehedge.core.guards import GuardLimits
from dehedge.core.model import ChainSnapshot, Position, Side
from dehedge.core.policy import HedgingPolicy
from dehedge.core.sizing import Sizing
from dehedge.replay.engine import run_policy
from dehedge.replay.model import Costs, History, Policy, Trader
from dehedge.replay.path import SECOND_US
from dehedge.replay.story import PRICE_FACTOR, Story, build_story
from tests.core.builders import TOGETHER
from tests.kit import EPOCH, RULES, SYMBOLS, Engine, World, a_policy, a_position
from tests.replay.builders import BTC, MINUTE_S, make_bars

pytestmark = pytest.mark.looptime

QUIET_S = 20
START_S = int(EPOCH) + QUIET_S
FLAT, RISE, FALL = (60_000,) * 4, (60_000, 61_200, 60_000, 61_200), (61_200, 61_200, 60_000, 60_000)
ROWS = [FLAT, RISE, (61_200,) * 4, FALL, FLAT, FLAT, FLAT, RISE, FALL, FLAT, FLAT]
DEEP = (58_000,) * 4
SWINGS = [FLAT, RISE, FALL, (60_000, 60_000, 58_000, 58_000), DEEP, (58_000, 61_200, 58_000, 61_200), FALL, DEEP]
LEAVES_S = START_S + 8 * MINUTE_S
"""When the trader leaves who is at risk then; his hedge goes once two blocks lack him."""
POSITIONS = [
    a_position(1, size_usd=10_000, entry=60_500),
    a_position(2, size_usd=25_000, entry=60_100),
    a_position(3, size_usd=7_000, entry=60_060, is_long=False),
]
LEAVER = a_position(4, size_usd=12_000, entry=59_000)
Order = tuple[Side, Decimal, Decimal | None, str]


def a_history(rows_of: Sequence[tuple[int, ...]] = ROWS) -> History:
    rows = make_bars(BTC, [tuple(map(float, row)) for row in rows_of])  # type: ignore[misc]
    bars = rows._replace(start_s=rows.start_s - rows.start_s[0] + START_S)
    traders = [as_trader(position, None) for position in POSITIONS] + [as_trader(LEAVER, LEAVES_S)]
    return History({BTC: bars}, {}, traders, 100_000 * 10**6, 20 * 10**6)


def as_trader(position: Position, closed_s: int | None) -> Trader:
    return Trader(
        BTC, position.user, position.is_long, position.size, position.size, position.entry_price, START_S, closed_s
    )


class PayingWorld(World):
    """A chain whose vault and shield pay the traders as they do in the story."""

    story: Story

    def build_snapshot(self, block_time: int, **changes: object) -> ChainSnapshot:
        balance = self.story.get_balance(block_time * SECOND_US)
        return super().build_snapshot(block_time, vault=balance.vault, shield=balance.shield, **changes)


async def live_through(story: Story, policy: HedgingPolicy) -> list[tuple[float, Order]]:
    """The daemon's orders, hedge by hedge, and when it meant them."""
    world, path = PayingWorld(), story.path
    world.story = story
    engine = Engine(world, policy)
    await engine.start()
    for bar in range(len(path.axis)):
        for step, at_us in enumerate(path.axis.get_times_us(bar).tolist()):
            await engine.run_for(max(at_us / SECOND_US - engine.clock.time(), 0))
            if (bar, step) == (0, 0):
                world.put(*POSITIONS, LEAVER)
            if at_us == LEAVES_S * SECOND_US:
                world.remove(LEAVER)
            world.set_price(BTC, path.get_price(0, bar, step) * PRICE_FACTOR // 10**18)
            engine.feed()
    await engine.die()
    intents = [entry.event for entry in world.journal.entries if isinstance(entry.event, OrderIntended)]
    return [
        (event.intended_at, (event.request.side, share.quantity, share.price, str(share.reason)))
        for event in intents
        for share in event.shares
    ]


@pytest.mark.parametrize("sizing", list(Sizing))
async def test_replay_decides_what_the_daemon_decides(sizing: Sizing) -> None:
    history = a_history()
    lived = await live_through(build_story(history), a_policy(sizing=sizing))
    costs = Costs(latency_s=0.0, exchange_latency_s=0.01, depth_usd=Decimal(0), rules=RULES)
    run = run_policy(history, costs, Policy("daemon", a_policy(sizing=sizing), GuardLimits()))

    replayed = [
        (trade.at_s, (trade.side, trade.quantity, trade.decided_price, str(trade.reason))) for trade in run.trades
    ]
    assert [order for _, order in replayed] == [order for _, order in lived]
    assert len(lived) > 8
    assert {order[3] for _, order in lived} >= {"expired", "position_closed"}
    for (at_s, _), (lived_s, _) in zip(replayed, lived, strict=True):
        assert abs(at_s - lived_s) < 10
    assert set(SYMBOLS.values()) == set(RULES)


async def test_replay_decides_for_all_together_what_the_daemon_decides() -> None:
    """The daemon looks more often, so it knows the pace a little better: the same in whole steps, a moment apart."""
    history = a_history(SWINGS)
    policy = a_policy(sizing=Sizing.DELTA, portfolio=replace(TOGETHER, step=Fraction(1)))
    lived = await live_through(build_story(history), policy)
    run = run_policy(
        history, Costs(latency_s=0.0, exchange_latency_s=0.01, depth_usd=Decimal(0), rules=RULES),
        Policy("daemon", policy, GuardLimits()),
    )  # fmt: skip

    replayed = [(trade.at_s, trade.side, trade.quantity, str(trade.reason)) for trade in run.trades]
    assert [row[1:] for row in replayed] == [(side, quantity, reason) for _, (side, quantity, _, reason) in lived]
    assert {reason for _, (*_, reason) in lived} >= {"portfolio_at_risk", "portfolio_safe"}
    assert len(lived) > 8
    for (at_s, *_), (lived_s, _) in zip(replayed, lived, strict=True):
        assert abs(at_s - lived_s) < 5
