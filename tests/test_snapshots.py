"""Two snapshots in a row before a hedge is let go: when the chain is read again, and what nodes that are wrong can do.

The engine polls nodes of one chain on virtual time. Judged by what the account holds and by what was read.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from dehedge import metrics, snapshots
from dehedge.core.decisions import Reason
from dehedge.core.model import ChainSnapshot, HedgeKey
from dehedge.core.trigger import Columns, Rows, read_rows
from dehedge.errors import ChainUnavailable
from dehedge.status import StatusView
from tests.kit import EPOCH, Engine, Venue, World, a_policy, a_position

pytestmark = pytest.mark.looptime

LONG, OTHER = a_position(1), a_position(7)
TARGET = Decimal("0.166")
FIRST, SECOND = "https://first", "https://second"
POLL_S = 3.0
READ_S = 0.1
BLOCK_S = 2
SETTLE_S = 5.0


class Nodes:
    """``ports.ChainSource``: nodes of one chain with a block each two seconds. Each can skip positions, lag or be down."""

    def __init__(self, world: World, *hosts: str) -> None:
        self.world = world
        self.hosts = hosts or (FIRST,)
        self.skipped: defaultdict[str, set[HedgeKey]] = defaultdict(set)
        self.down: set[str] = set()
        self.retry_after_s: float | None = None
        self.asked = 0
        self.reads: list[tuple[float, str]] = []

    async def fetch_snapshot(self, *, avoid: str | None = None) -> ChainSnapshot:
        self.asked += 1
        await asyncio.sleep(READ_S)
        for host in sorted(self.hosts, key=lambda host: host == avoid):
            if host not in self.down:
                self.reads.append((asyncio.get_running_loop().time(), host))
                return self._build(host)
        raise ChainUnavailable("all nodes are down", retry_after_s=self.retry_after_s)

    def get_hosts(self, since_s: float = 0.0) -> list[str]:
        return [host for at, host in self.reads if at >= since_s]

    async def close(self) -> None:
        pass

    def _build(self, host: str) -> ChainSnapshot:
        number = int(asyncio.get_running_loop().time() / BLOCK_S) + 1
        shown = {key: p for key, p in self.world.positions.items() if key not in self.skipped[host]}
        snapshot = self.world.build_snapshot(int(EPOCH) + number * BLOCK_S - BLOCK_S, positions=shown, host=host)
        return replace(snapshot, block_number=number, block_hash=f"0x{number:064x}")


class PolledEngine(Engine):
    """Reads its snapshots from the nodes, as the daemon does."""

    def __init__(self, nodes: Nodes, interval_s: float = POLL_S, **policy: object) -> None:
        super().__init__(nodes.world, a_policy(**policy))
        self.nodes = nodes
        self.interval_s = interval_s

    def feed(self) -> None:
        self.feed_prices()

    async def start(self) -> None:
        self.tasks.append(asyncio.ensure_future(self.snapshots.run(self.nodes, interval_s=self.interval_s)))
        await super().start()

    def get_reason(self, key: HedgeKey = LONG.key) -> Reason:
        return self.reconciler.decisions[key].reason


async def a_hedged_engine(*hosts: str, **settings: object) -> PolledEngine:
    """The default position is hedged, and the next poll is a second away."""
    world = World()
    world.put(LONG)
    return await a_running_engine(Nodes(world, *hosts), **settings)


async def a_running_engine(nodes: Nodes, **settings: object) -> PolledEngine:
    engine = PolledEngine(nodes, **settings)  # type: ignore[arg-type]
    await engine.start()
    await engine.run_for(SETTLE_S)
    assert engine.held(LONG) == TARGET
    return engine


def a_view(engine: Engine) -> StatusView:
    view = StatusView(
        policy=engine.policy, snapshots=engine.snapshots, prices=engine.prices, venue=engine.venue,
        ledger=engine.ledger, auditor=engine.auditor, executor=engine.executor, reconciler=engine.reconciler,
        clock=engine.clock, connector_name="ledger",
    )  # fmt: skip
    view.is_recovered = True
    return view


def get_disagreements() -> float:
    return metrics.REGISTRY.get_sample_value("dehedge_snapshot_disagreements_total") or 0.0


async def test_hedge_is_closed_by_the_next_block_when_there_is_one_node():
    engine = await a_hedged_engine()
    engine.world.remove(LONG)
    # The poll at 6 s finds it missing, reads the same block again at once, and the next one soon.
    await engine.run_for(3.0)
    assert engine.held(LONG) == TARGET
    assert engine.get_reason() is Reason.GONE_UNCONFIRMED
    assert a_view(engine).get_hedges(0, 1)["hedges"][0]["decision"] == "gone_unconfirmed"

    await engine.run_for(1.0)

    assert engine.held(LONG) == 0 == engine.world.venue.net("BTCUSDT")
    assert [round(at, 1) for at, _ in engine.nodes.reads] == [0.1, 3.1, 6.1, 6.2, 8.6]
    await engine.die()


async def test_hedge_is_closed_at_once_when_a_second_node_confirms():
    engine = await a_hedged_engine(FIRST, SECOND)
    engine.world.remove(LONG)

    await engine.run_for(1.5)

    assert engine.held(LONG) == 0 == engine.world.venue.net("BTCUSDT")
    assert engine.nodes.get_hosts() == [FIRST, FIRST, FIRST, SECOND]
    await engine.die()


async def test_chain_is_read_once_a_poll_while_every_hedge_has_its_position():
    engine = await a_hedged_engine(FIRST, SECOND)
    engine.world.put(OTHER)
    await engine.run_for(60)
    engine.world.set_price("BTC-USD", 57_000)
    engine.nodes.reads.clear()
    await engine.run_for(120)
    engine.world.remove(OTHER)
    await engine.run_for(30)

    assert set(engine.nodes.get_hosts()) == {FIRST}
    assert len(engine.nodes.reads) == 150 / POLL_S
    await engine.die()


@pytest.mark.parametrize("liar", [FIRST, SECOND])
async def test_hedge_stays_and_each_poll_reads_twice_at_most_while_two_nodes_disagree_for_ever(liar):
    engine = await a_hedged_engine(FIRST, SECOND)
    view, before = a_view(engine), get_disagreements()
    engine.nodes.skipped[liar] = {LONG.key}
    if liar == SECOND:
        engine.nodes.down = {FIRST}
        await engine.run_for(1.05)
        engine.nodes.down.clear()
    engine.nodes.reads.clear()

    with capture_logs() as logs:
        await engine.run_for(20)
        assert view.find_obstacles() == []
        await engine.run_for(580)

    polls = 600 / POLL_S
    assert len(engine.world.venue.sent) == 1
    assert engine.held(LONG) == TARGET
    assert len(engine.nodes.reads) <= 2 * polls
    events = [entry for entry in logs if entry["event"].startswith("snapshots")]
    assert [entry["event"] for entry in events][:1] == ["snapshots_disagreed"]
    assert set(events[0]["hosts"]) == {FIRST, SECOND}
    if liar == FIRST:
        # The other one is asked only when the first lacks something.
        assert len(events) == 1
        assert get_disagreements() - before == pytest.approx(polls, abs=1)
        (obstacle,) = view.find_obstacles()
        assert obstacle.startswith(f"chain: snapshots of {FIRST} and {SECOND} disagree for 5")
        assert obstacle.endswith("on 1 hedged positions: their hedges stay; take the wrong node out of NETWORKS")
    await engine.die()


async def test_hedge_stays_when_the_node_that_objected_fails_now_and_then():
    engine = await a_hedged_engine(FIRST, SECOND)
    engine.nodes.skipped[FIRST] = {LONG.key}
    for _ in range(20):
        await engine.run_for(20)
        engine.nodes.down = {SECOND}
        await engine.run_for(20)
        engine.nodes.down.clear()

    assert len(engine.world.venue.sent) == 1
    assert a_view(engine).find_obstacles()
    await engine.die()


async def test_node_that_objected_has_no_say_any_more_when_it_is_down_for_long():
    engine = await a_hedged_engine(FIRST, SECOND)
    engine.nodes.skipped[FIRST] = {LONG.key}
    await engine.run_for(10)
    engine.nodes.down = {SECOND}
    await engine.run_for(25)
    assert engine.get_reason() is Reason.GONE_UNCONFIRMED

    await engine.run_for(10)

    assert engine.held(LONG) == 0 == engine.world.venue.net("BTCUSDT")
    assert a_view(engine).find_obstacles() == []
    await engine.die()


async def test_disagreement_ends_when_the_node_is_well_again():
    engine = await a_hedged_engine(FIRST, SECOND)
    engine.nodes.skipped[FIRST] = {LONG.key}
    await engine.run_for(60)
    engine.nodes.skipped.clear()

    with capture_logs() as logs:
        await engine.run_for(30)

    assert [entry["event"] for entry in logs if entry["event"].startswith("snapshots")] == ["snapshots_agreed"]
    assert a_view(engine).find_obstacles() == []
    assert len(engine.world.venue.sent) == 1
    await engine.die()


async def test_hedge_stays_when_a_node_alone_loses_its_position_at_every_other_block():
    engine = await a_hedged_engine()
    view = a_view(engine)
    for _ in range(40):
        engine.nodes.skipped[FIRST] = {LONG.key}
        await engine.run_for(1.9)
        engine.nodes.skipped.clear()
        await engine.run_for(3.1)

    assert len(engine.world.venue.sent) == 1
    assert engine.held(LONG) == TARGET
    await engine.run_for(10)
    assert view.find_obstacles() == []
    await engine.die()


async def test_node_that_loses_every_position_closes_nothing_when_the_second_has_them():
    engine = await a_hedged_engine(FIRST, SECOND)
    others = [a_position(user) for user in range(10, 15)]
    engine.world.put(*others)
    await engine.run_for(10)
    engine.nodes.skipped[FIRST] = set(engine.world.positions)
    engine.world.remove(others[0])

    await engine.run_for(10)

    assert engine.held(others[0]) == 0
    assert all(engine.held(position) == TARGET for position in (LONG, *others[1:]))
    assert engine.world.venue.net("BTCUSDT") == 5 * TARGET
    await engine.die()


async def test_hedge_is_closed_by_one_node_when_the_second_is_down():
    engine = await a_hedged_engine(FIRST, SECOND)
    engine.nodes.down = {SECOND}
    engine.world.remove(LONG)

    await engine.run_for(2 * POLL_S)

    assert engine.held(LONG) == 0 == engine.world.venue.net("BTCUSDT")
    assert set(engine.nodes.get_hosts()) == {FIRST}
    await engine.die()


async def test_second_node_is_asked_again_when_it_was_down_for_the_first_question():
    engine = await a_hedged_engine(FIRST, SECOND)
    engine.nodes.skipped[FIRST] = {LONG.key}
    engine.nodes.down = {SECOND}
    await engine.run_for(1.5)
    engine.nodes.down.clear()

    await engine.run_for(10)

    assert engine.nodes.get_hosts(6)[:4] == [FIRST, FIRST, SECOND, FIRST]
    assert len(engine.world.venue.sent) == 1
    await engine.die()


@pytest.mark.parametrize("is_gone", [True, False])
async def test_first_snapshot_after_a_restart_closes_nothing(is_gone):
    first = await a_hedged_engine()
    await first.die()
    first.nodes.skipped[FIRST] = {LONG.key}

    second = PolledEngine(first.nodes)
    await second.start()
    await second.run_for(1)
    assert second.get_reason() is Reason.GONE_UNCONFIRMED
    if not is_gone:
        second.nodes.skipped.clear()
    await second.run_for(5)

    assert second.held(LONG) == (0 if is_gone else TARGET) == second.world.venue.net("BTCUSDT")
    await second.die()


@pytest.mark.parametrize(("silent_s", "is_closed"), [(10, True), (31, False)])
async def test_readings_count_as_consecutive_when_failed_ones_lie_between_and_the_first_is_still_young(
    silent_s, is_closed
):
    engine = await a_hedged_engine()
    engine.world.remove(LONG)
    await engine.run_for(1.3)
    engine.nodes.down = {FIRST}
    await engine.run_for(silent_s)
    engine.nodes.down.clear()
    reads = len(engine.nodes.reads)

    while len(engine.nodes.reads) == reads:
        await engine.run_for(0.05)
    await engine.run_for(0.05)

    assert (engine.held(LONG) == 0) is is_closed
    await engine.run_for(5)
    assert engine.held(LONG) == 0
    await engine.die()


async def test_hedge_is_closed_promptly_when_polls_are_further_apart_than_a_snapshot_may_be_old():
    engine = await a_hedged_engine(interval_s=60.0)
    engine.world.remove(LONG)
    await engine.run_for(56)
    assert engine.held(LONG) == TARGET

    await engine.run_for(3)

    assert engine.held(LONG) == 0
    await engine.die()


async def test_node_is_not_asked_before_its_time_when_a_doubt_is_left():
    engine = await a_hedged_engine()
    engine.world.remove(LONG)
    await engine.run_for(1.15)
    engine.nodes.down, engine.nodes.retry_after_s = {FIRST}, 20.0
    await engine.run_for(3)
    engine.nodes.down.clear()
    reads = len(engine.nodes.reads)

    await engine.run_for(16)
    assert len(engine.nodes.reads) == reads
    await engine.run_for(5)

    assert len(engine.nodes.reads) > reads
    await engine.die()


async def test_node_that_fails_is_asked_once_a_poll_when_a_doubt_is_left():
    engine = await a_hedged_engine(interval_s=10.0)
    engine.world.remove(LONG)
    await engine.run_for(5.15)
    engine.nodes.down = {FIRST}
    await engine.run_for(4)
    asked = engine.nodes.asked

    await engine.run_for(100)

    assert engine.get_reason() is Reason.STALE_SNAPSHOT
    assert engine.nodes.asked - asked == 10
    await engine.die()


async def test_hedge_in_flight_is_left_alone_until_its_order_ends_and_closed_then():
    world = World()
    world.put(LONG)
    world.venue.script.append("lost")
    engine = PolledEngine(Nodes(world))
    await engine.start()
    await engine.run_for(0.2)
    world.remove(LONG)
    await engine.run_for(3.5)
    assert len(world.venue.sent) == 1
    await engine.run_for(10)

    assert len(world.venue.sent) == 2
    assert world.venue.net("BTCUSDT") == 0
    await engine.die()


async def test_hedge_is_closed_piece_by_piece_without_waiting_for_the_chain():
    world = World(venue=Venue(balance=Decimal(10_000_000)))
    whale = a_position(3, size_usd=30_000_000)
    world.put(LONG, whale)
    engine = await a_running_engine(Nodes(world, FIRST, SECOND))
    assert engine.held(whale) == 500
    opened = len(world.venue.sent)
    world.remove(whale)

    await engine.run_for(2)

    assert [request.quantity for request in world.venue.sent[opened:]] == [120, 120, 120, 120, 20]
    assert engine.held(whale) == 0
    await engine.die()


async def test_position_that_was_closed_and_opened_again_is_no_disagreement():
    engine = await a_hedged_engine()
    before = get_disagreements()
    engine.world.remove(LONG)
    await engine.run_for(1.5)
    engine.world.put(LONG._replace(opened_at=int(engine.clock.time()) + BLOCK_S))

    with capture_logs() as logs:
        await engine.run_for(30)

    assert "snapshots_disagreed" not in [entry["event"] for entry in logs]
    assert get_disagreements() == before
    assert engine.held(LONG) == TARGET
    assert len(engine.world.venue.sent) == 1
    await engine.die()


async def test_status_names_the_node_that_gave_the_snapshot():
    engine = await a_hedged_engine(FIRST, SECOND)
    engine.nodes.down = {FIRST}
    await engine.run_for(5)

    assert a_view(engine).get_status()["snapshot"]["host"] == SECOND
    await engine.die()


async def test_index_is_kept_when_nothing_of_what_it_is_made_of_has_changed():
    world = World()
    world.put(LONG)
    engine = Engine(world)
    first = world.build_snapshot(int(engine.clock.time()))
    engine.snapshots.put(first)
    index = engine.snapshots.index

    engine.snapshots.put(replace(first, block_number=first.block_number + 1))
    assert engine.snapshots.index is index
    engine.snapshots.put(replace(first, shield=first.shield + 1))
    assert engine.snapshots.index is not index
    assert engine.snapshots.index.rows is index.rows
    engine.snapshots.put(replace(first, positions=dict(first.positions)))
    assert engine.snapshots.index.rows is not index.rows


async def test_index_of_a_large_snapshot_is_built_beside_the_loop():
    world = World()
    world.put(*(a_position(number, entry=61_000) for number in range(1, 1_200)))
    engine = Engine(world)
    nodes = Nodes(world)

    await engine.snapshots.poll(nodes, interval_s=POLL_S)

    assert engine.snapshots.index.count_risky("BTC-USD", 62_000 * 10**18) == 1_199
    assert engine.snapshots.index.counts == {(LONG.asset, "BTC-USD"): 1_199}


async def test_positions_are_counted_by_asset_and_market():
    world = World()
    world.put(LONG, OTHER, a_position(3, market="ETH-USD"), LONG._replace(asset="0x" + "11" * 20))
    engine = Engine(world)

    assert engine.snapshots.index.counts == {}
    engine.snapshots.put(world.build_snapshot(int(engine.clock.time())))

    assert engine.snapshots.index.counts == {
        (LONG.asset, "BTC-USD"): 2, (LONG.asset, "ETH-USD"): 1, ("0x" + "11" * 20, "BTC-USD"): 1,
    }  # fmt: skip


def tell_of_blocks(engine: PolledEngine, delay_s: float = 0.05) -> asyncio.Task[None]:
    """What a node's websocket does, a moment after each block."""

    async def tell() -> None:
        loop = asyncio.get_running_loop()
        while True:
            number = int(loop.time() / BLOCK_S) + 1
            await asyncio.sleep(number * BLOCK_S + delay_s - loop.time())
            engine.snapshots.hint(number + 1, f"0x{number + 1:064x}")

    task = asyncio.ensure_future(tell())
    engine.tasks.append(task)
    return task


def get_times(engine: PolledEngine) -> list[float]:
    return [round(at, 2) for at, _ in engine.nodes.reads]


async def test_chain_is_read_at_once_when_there_is_a_new_block():
    engine = await a_hedged_engine(interval_s=20.0)
    engine.nodes.reads.clear()
    tell_of_blocks(engine)

    await engine.run_for(8)

    # Blocks come at 6, 8, 10 and 12 s, are told of 50 ms later, and a reading takes 100 ms.
    assert get_times(engine) == [6.15, 8.15, 10.15, 12.15]
    await engine.die()


async def test_hedge_is_closed_sooner_when_the_blocks_are_told_of():
    engine = await a_hedged_engine(interval_s=20.0)
    tell_of_blocks(engine)
    engine.world.remove(LONG)

    await engine.run_for(2.0)
    assert engine.held(LONG) == TARGET
    await engine.run_for(1.5)

    assert engine.held(LONG) == 0 == engine.world.venue.net("BTCUSDT")
    await engine.die()


@pytest.mark.parametrize("number", [1, 3])
async def test_chain_is_not_read_for_a_block_that_was_read_already(number):
    engine = await a_hedged_engine(interval_s=20.0)
    engine.nodes.reads.clear()
    block = engine.snapshots.latest
    assert block is not None
    hint = (number, f"0x{number:064x}") if number < block.block_number else (block.block_number, block.block_hash)

    engine.snapshots.hint(*hint)
    await engine.run_for(5)

    assert engine.nodes.reads == []
    await engine.die()


async def test_hints_that_come_while_the_chain_is_read_cost_one_reading_when_they_name_another_block():
    engine = await a_hedged_engine(interval_s=20.0)
    engine.nodes.reads.clear()
    number = int(asyncio.get_running_loop().time() / BLOCK_S) + 1

    engine.snapshots.hint(number, f"0x{number:064x}")
    await engine.run_for(0.05)
    for _ in range(10):
        engine.snapshots.hint(number, f"0x{number:064x}")
    await engine.run_for(0.5)
    assert len(engine.nodes.reads) == 1

    await engine.run_for(BLOCK_S)
    engine.snapshots.hint(number + 1, f"0x{number + 1:064x}")
    await engine.run_for(0.05)
    for offset in range(10):
        engine.snapshots.hint(number + 1, f"0x{offset:064x}")
    await engine.run_for(2.5)
    # The last of them names a block that nobody has: it is looked for a few times.
    assert len(engine.nodes.reads) <= 2 + snapshots.HINTED_READINGS_MAX
    await engine.die()


async def test_chain_is_read_three_times_when_a_hint_lies():
    engine = await a_hedged_engine(interval_s=20.0)
    engine.nodes.reads.clear()

    for _ in range(5):
        engine.snapshots.hint(10**18, "0x" + "ab" * 32)
        await engine.run_for(1.0)

    assert [round(at - get_times(engine)[0], 2) for at in get_times(engine)] == [0, 0.3, 0.6]
    await engine.run_for(20)
    assert len(engine.nodes.reads) == 4
    await engine.die()


async def test_chain_is_read_at_a_bounded_rate_and_on_time_when_hints_lie_without_end():
    engine = await a_hedged_engine()
    engine.nodes.reads.clear()

    for number in range(2_000):
        engine.snapshots.hint(10**9 + number, f"0x{number:064x}")
        await engine.run_for(0.01)

    pauses = [after - before for before, after in pairwise(at for at, _ in engine.nodes.reads)]
    assert min(pauses) >= snapshots.HINTED_PAUSE_S + READ_S - 1e-6
    assert max(pauses) <= POLL_S
    await engine.die()


async def test_node_that_wants_to_be_left_alone_is_left_alone_whatever_is_hinted():
    engine = await a_hedged_engine()
    engine.nodes.down, engine.nodes.retry_after_s = {FIRST}, 10.0
    await engine.run_for(2)
    asked = engine.nodes.asked
    tell_of_blocks(engine)

    await engine.run_for(8)
    assert engine.nodes.asked == asked

    await engine.run_for(4)
    assert engine.nodes.asked > asked
    await engine.die()


async def test_node_that_fails_is_asked_no_more_often_when_it_tells_of_blocks():
    engine = await a_hedged_engine(interval_s=20.0)
    tell_of_blocks(engine)
    engine.nodes.down = {FIRST}
    await engine.run_for(3)
    asked = engine.nodes.asked

    await engine.run_for(16)
    assert engine.nodes.asked == asked

    engine.nodes.down = set()
    await engine.run_for(8)
    assert len(engine.nodes.reads) >= 3
    await engine.die()


async def test_poll_finds_everything_when_hints_stop():
    engine = await a_hedged_engine()
    hints = tell_of_blocks(engine)
    await engine.run_for(10)
    engine.tasks.remove(hints)
    hints.cancel()
    engine.world.put(OTHER)
    engine.nodes.reads.clear()

    await engine.run_for(2 * POLL_S)

    assert engine.held(OTHER) == TARGET
    assert len(engine.nodes.reads) == 2
    await engine.die()


class Naming:
    """Rows that note which of them are named."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.named: list[int] = []

    def get_columns(self) -> Columns:
        return self.rows.get_columns()

    def get_key(self, row: int) -> HedgeKey:
        self.named.append(row)
        return self.rows.get_key(row)


async def test_positions_near_their_triggers_are_named_before_a_price_names_them(monkeypatch):
    world = World()
    world.put(*(a_position(number, entry=61_000) for number in range(1, 200)))
    rows = Naming(read_rows(world.positions))
    monkeypatch.setattr("dehedge.snapshots.read_rows", lambda _: rows)
    engine = Engine(world)
    engine.feed_prices()

    await engine.snapshots.poll(Nodes(world), interval_s=POLL_S)

    assert sorted(rows.named) == list(range(199))
