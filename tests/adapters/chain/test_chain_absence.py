"""A position that is missing, from nodes that lie, lag, reorganize and disagree: real HTTP up to the planner's decision.

Nodes on one state agree; a node on a state of its own has the same blocks, and sees other things in them. Without prices
the hedge of a position that is there is held for its stale price.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
import structlog
from tests.kit import MemoryJournal, a_policy

from dehedge.adapters.chain.node import Limits
from dehedge.core.book import HedgeBook, HedgedPosition, HedgeStatus
from dehedge.core.decisions import Reason
from dehedge.core.hedging import plan
from dehedge.core.model import HedgeKey, Side
from dehedge.core.policy import VenueState
from dehedge.ledger import Ledger
from dehedge.sim.chain import USDC
from dehedge.snapshots import SnapshotFeed

KEYS = [HedgeKey("BTC-USD", f"0x{trader:040x}|{USDC}") for trader in (1, 2)]
THERE, UNCONFIRMED, GONE = Reason.STALE_PRICE, Reason.GONE_UNCONFIRMED, Reason.POSITION_CLOSED
POLL_S = 3.0


class Desk:
    """Two hedges, the feed that looks after their positions, and what the planner makes of it."""

    def __init__(self, reader, clock):
        self.book = HedgeBook()
        for key, side in zip(KEYS, Side, strict=True):
            self.book.set_hedged_position(
                HedgedPosition(
                    key, "BTCUSDT", side, Decimal("0.1"), Decimal("0.1"), 1, 1, HedgeStatus.OPEN, "at_risk", 0.0, 0.0, 0
                )
            )
        self.feed = SnapshotFeed(
            lambda: None, ledger=Ledger(MemoryJournal(), self.book, clock), clock=clock, policy=a_policy()
        )
        self.reader = reader

    async def poll(self) -> list[Reason]:
        """One poll, and the reason of the decision for each hedge."""
        await self.feed.poll(self.reader, interval_s=POLL_S)
        return self.decide()

    def decide(self) -> list[Reason]:
        seen = self.feed.observe()
        assert seen is not None
        decisions = plan(seen, self.book, a_policy(), VenueState(rules={}))
        return [decision.reason for key in KEYS for decision in decisions if decision.key == key]


@pytest.fixture
def open_desk(open_reader, clock):
    return lambda *endpoints, **settings: Desk(open_reader(*endpoints, **settings), clock)


@pytest.fixture
def liar(build_state):
    """A consistent chain without any position: the count is 0, and so is the list."""
    state = build_state()
    for position in state.head.contents.positions:
        state.remove(position.key)
    return state


def mine(clock, *states):
    """The next block of each, two seconds later."""
    clock.now += 2
    for state in states:
        state.mine()


async def test_empty_list_with_a_matching_count_closes_nothing_when_the_next_block_has_the_positions(
    open_desk, state, clock, rpc
):
    desk = open_desk(rpc)

    for _ in range(3):
        rpc.faults.hides_positions = True
        mine(clock, state)
        assert await desk.poll() == [UNCONFIRMED] * 2
        assert desk.feed.latest.positions == {}
        rpc.faults.hides_positions = False
        mine(clock, state)
        assert await desk.poll() == [THERE] * 2


async def test_lone_node_that_says_so_at_two_blocks_is_believed(start_rpc, open_desk, liar, clock):
    mine(clock, liar)
    desk = open_desk(await start_rpc(liar))

    said = []
    for _ in range(2):
        said += [await desk.poll(), await desk.poll()]
        mine(clock, liar)

    assert said == [[UNCONFIRMED] * 2, [UNCONFIRMED] * 2, [GONE] * 2, [GONE] * 2]


@pytest.mark.parametrize("is_liar_first", [True, False])
async def test_two_nodes_that_disagree_for_ever_close_nothing_and_are_named_once(
    is_liar_first, start_rpc, open_desk, state, liar, clock
):
    mine(clock, state, liar)
    lies, tells = await start_rpc(liar), await start_rpc(state)
    desk = open_desk(lies, tells) if is_liar_first else open_desk(tells, lies)

    said, asked = [], []
    with structlog.testing.capture_logs() as logs:
        for _ in range(30):
            before = lies.http_count + tells.http_count
            said.append(await desk.poll())
            asked.append(lies.http_count + tells.http_count - before)
            mine(clock, state, liar)

    assert said == [[THERE] * 2] * 30
    if is_liar_first:
        assert [log["hosts"] for log in logs if log["event"] == "snapshots_disagreed"] == [(lies.url, tells.url)]
        (obstacle,) = desk.feed.find_obstacles()
        assert lies.url in obstacle
        assert tells.url in obstacle
    else:
        assert lies.http_count == 0
    # One reading takes four requests at most, beside three when a node is met.
    assert max(asked[1:]) <= 8


async def test_second_node_confirms_at_once_and_at_the_same_block(start_rpc, open_desk, state, clock):
    first, second = await start_rpc(), await start_rpc()
    desk = open_desk(first, second)
    assert await desk.poll() == [THERE] * 2
    assert second.http_count == 0
    state.remove(state.head.contents.positions[0].key)
    mine(clock, state)

    assert await desk.poll() == [GONE, THERE]
    assert desk.feed.latest.host == second.url


async def test_empty_page_is_no_reading_and_comes_between_two_that_are(start_rpc, open_desk, state, clock, rpc):
    desk = open_desk(rpc)
    state.remove(state.head.contents.positions[0].key)
    mine(clock, state)
    assert await desk.poll() == [UNCONFIRMED, THERE]
    rpc.faults.empties_pages = True
    mine(clock, state)
    assert await desk.poll() == [UNCONFIRMED, THERE]
    assert "getPositionCount says 2, but getPositions gave 0" in desk.feed.error
    rpc.faults.empties_pages = False

    assert await desk.poll() == [GONE, THERE]


@pytest.mark.parametrize("is_still_gone", [True, False])
async def test_reorganization_between_two_readings(is_still_gone, open_desk, state, clock, rpc):
    desk = open_desk(rpc)
    mine(clock, state)
    assert await desk.poll() == [THERE] * 2
    gone = state.head.contents.positions[0]
    state.remove(gone.key)
    mine(clock, state)

    async def reorganize(methods):
        if desk.feed.is_doubted and "eth_getBlockByNumber" in methods:
            rpc.faults.latency = None
            state.reorg(1)
            if is_still_gone:
                state.remove(gone.key)
                state.mine()

    rpc.faults.latency = reorganize
    with structlog.testing.capture_logs() as logs:
        said = await desk.poll()

    assert said == ([GONE, THERE] if is_still_gone else [THERE, THERE])
    assert [log["event"] for log in logs if log["event"].startswith("snapshots")] == (
        [] if is_still_gone else ["snapshots_disagreed"]
    )


async def test_second_node_that_lags_is_waited_for_and_its_old_block_confirms_nothing(
    start_rpc, open_desk, state, clock
):
    first, second = await start_rpc(), await start_rpc()
    desk = open_desk(first, second, limits=Limits(request_s=2.0, endpoint_s=0.5, snapshot_s=8.0))
    state.remove(state.head.contents.positions[0].key)
    second.faults.lag_blocks = 1
    mine(clock, state)

    # It never comes to the block in time, and the first node at the same block says nothing new.
    assert await desk.poll() == [UNCONFIRMED, THERE]
    assert desk.feed.latest.host == first.url
    mine(clock, state)

    # Its newest block is now the one that the first node was read at.
    assert await desk.poll() == [GONE, THERE]
    assert desk.feed.latest.host == second.url


async def test_first_node_decides_by_its_next_block_when_the_second_is_down(start_rpc, open_desk, state, clock):
    first, second = await start_rpc(), await start_rpc()
    desk = open_desk(first, second)
    await second.down()
    state.remove(state.head.contents.positions[0].key)
    mine(clock, state)
    assert await desk.poll() == [UNCONFIRMED, THERE]
    mine(clock, state)

    assert await desk.poll() == [GONE, THERE]
