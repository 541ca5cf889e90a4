"""The watch for new blocks against the stand-in's websocket: what it tells, and what it makes of everything else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.fuzz.hostile_server import HostileServer, build_http

from dehedge.adapters.chain.heads import MESSAGE_BYTES_MAX, Block, HeadTiming, HeadWatch, fetch_subscription
from dehedge.errors import ChainUnavailable
from dehedge.sim.chain import CHAIN_ID, ChainState, SimRpc
from dehedge.sim.chain.model import CONTRACT_ADDRESSES

TIMING = HeadTiming(open_s=2.0, silence_s=60.0, backoff_min_s=0.01, backoff_max_s=0.02)
PATIENCE_S = 10.0
KEY = "a-very-secret-path-element"
POSITIONS = CONTRACT_ADDRESSES["Positions"]


class Watched:
    """A watch that runs, and what it told."""

    def __init__(self, *urls: str, address: str | None = POSITIONS, timing: HeadTiming = TIMING) -> None:
        self.address = address
        self.told: asyncio.Queue[Block] = asyncio.Queue()
        self.watch = HeadWatch(
            urls,
            chain_id=CHAIN_ID,
            get_address=lambda: self.address,
            on_block=lambda number, block_hash: self.told.put_nowait(Block(number, block_hash)),
            timing=timing,
        )
        self.task = asyncio.create_task(self.watch.run())

    async def get_next(self) -> Block:
        return await asyncio.wait_for(self.told.get(), PATIENCE_S)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def start_watch() -> AsyncIterator[Any]:
    started: list[Watched] = []

    def start(*urls: str, **settings: Any) -> Watched:
        started.append(Watched(*urls, **settings))
        return started[-1]

    yield start
    for watched in started:
        await watched.stop()


async def become(check: Any) -> None:
    """Wait for something that the other end of a socket is about to notice."""
    async with asyncio.timeout(PATIENCE_S):
        while not check():  # noqa: ASYNC110  (the other end has nothing to wait for)
            await asyncio.sleep(0.005)


async def connected(rpc: SimRpc, requests: int = 2, accepted: int = 1) -> None:
    await become(lambda: len(rpc.subscriptions.requests) >= requests and rpc.subscriptions.accepted >= accepted)


def get_head(state: ChainState) -> Block:
    return Block(state.head.number, state.head.hash)


async def test_watch_tells_of_each_new_block(rpc, state, start_watch):
    watched = start_watch(rpc.ws_url)
    await connected(rpc)

    for _ in range(3):
        state.mine()
        assert await watched.get_next() == get_head(state)
    state.reorg(2)
    assert [(await watched.get_next()).hash for _ in range(2)][-1] == state.head.hash

    assert rpc.subscriptions.requests == [["newHeads"], ["logs", {"address": POSITIONS}]]


async def test_watch_tells_of_a_change_of_positions_by_the_log_of_their_contract(rpc, state, start_watch, a_position):
    watched = start_watch(rpc.ws_url)
    await connected(rpc)

    state.put(a_position(77))
    state.mine()

    assert [await watched.get_next() for _ in range(2)] == [get_head(state)] * 2
    assert watched.told.empty()


async def test_watch_asks_for_logs_once_it_knows_the_contract_and_again_when_it_is_another(rpc, state, start_watch):
    watched = start_watch(rpc.ws_url, address=None)
    await connected(rpc, requests=1)

    for address in ("0x" + "11" * 20, "0x" + "22" * 20):
        watched.address = address
        state.mine()
        await watched.get_next()
        await become(lambda address=address: rpc.subscriptions.requests[-1] == ["logs", {"address": address}])

    assert len(rpc.subscriptions.requests) == 3


@pytest.mark.parametrize("code", [1000, 1001, 1011])
async def test_watch_connects_again_when_the_connection_is_closed(code, rpc, state, start_watch):
    watched = start_watch(rpc.ws_url)
    await connected(rpc)

    await rpc.subscriptions.close(code)
    await connected(rpc, requests=4, accepted=2)
    state.mine()

    assert await watched.get_next() == get_head(state)


async def test_watch_goes_on_when_the_node_was_away(rpc, state, start_watch):
    watched = start_watch(rpc.ws_url)
    await connected(rpc)
    with capture_logs() as logs:
        for _ in range(2):
            state.mine()
            await watched.get_next()
        await rpc.down()
        await become(lambda: watched.watch._failures >= 3)
        await rpc.up()
        await connected(rpc, requests=4)
        state.mine()
        assert await watched.get_next() == get_head(state)

    assert [entry["event"] for entry in logs] == ["heads_followed", "heads_failed", "heads_followed"]
    assert logs[1]["endpoint"] == rpc.ws_url


async def test_watch_tries_another_url_when_one_says_nothing_of_blocks(start_rpc, state, start_watch):
    silent, well = await start_rpc(), await start_rpc()
    silent.faults.is_silent = True
    watched = start_watch(silent.ws_url, well.ws_url, timing=TIMING._replace(silence_s=0.1))

    async def chatter() -> None:
        while True:
            silent.subscriptions.send('{"jsonrpc": "2.0", "method": "eth_subscription", "params": {"result": {}}}')
            state.mine()
            await asyncio.sleep(0.01)

    with capture_logs() as logs:
        task = asyncio.create_task(chatter())
        await watched.get_next()
        task.cancel()

    assert logs[0]["error"] == "told of no block for 0.1 s"
    assert [entry["endpoint"] for entry in logs] == [silent.ws_url, well.ws_url]


@pytest.mark.parametrize(
    ("fault", "value", "error"),
    [
        ("refuses_sockets", True, "refused us with HTTP 403"),
        ("refuses_subscriptions", True, "does not let us subscribe to new heads"),
        ("chain_id", 1, f"is on chain 1, not {CHAIN_ID}: check NETWORKS_WS and CHAIN_ID"),
    ],
)
async def test_watch_tries_another_url_when_one_refuses(fault, value, error, start_rpc, state, start_watch):
    refusing, well = await start_rpc(), await start_rpc()
    setattr(refusing.faults, fault, value)
    with capture_logs() as logs:
        watched = start_watch(f"{refusing.ws_url}/{KEY}?apikey={KEY}", well.ws_url)
        await connected(well)
        state.mine()
        await watched.get_next()

    assert [(entry["event"], entry.get("error")) for entry in logs] == [("heads_failed", error), ("heads_followed", None)]
    assert KEY not in str(logs)


HASH = "0x" + "ab" * 32
GARBAGE = (
    *("", "null", "[]", "{}", "5", '"x"', "{", "\x00", '{"params": 5}', '{"params": {"result": 5}}', "[" * 50_000),
    *('{"params": {"result": null}}', '{"params": {"result": {"number": "0x1"}}}', '{"id": 7, "error": {"code": 1}}'),
    json.dumps({"params": {"result": {"number": 7, "hash": HASH}}}),
    json.dumps({"params": {"result": {"number": "0x" + "f" * 65, "hash": HASH}}}),
    json.dumps({"params": {"result": {"number": "-0x1", "hash": HASH}}}),
    json.dumps({"params": {"result": {"number": "0x1", "hash": HASH[:-1]}}}),
    json.dumps({"params": {"result": {"number": ["0x1"], "hash": {"0x": HASH}}}}),
    json.dumps({"params": {"result": {"blockNumber": None, "blockHash": None}}}),
)


async def test_watch_drops_what_names_no_block(rpc, state, start_watch):
    watched = start_watch(rpc.ws_url)
    await connected(rpc)

    for text in GARBAGE:
        rpc.subscriptions.send(text)
    rpc.subscriptions.send(json.dumps({"params": {"result": {"blockNumber": "0xF", "blockHash": HASH.upper().replace("X", "x")}}}))

    assert await watched.get_next() == Block(15, HASH)
    assert watched.told.empty()
    assert rpc.subscriptions.accepted == 1


async def test_watch_ends_a_connection_that_sends_too_much_at_once(rpc, state, start_watch):
    watched = start_watch(rpc.ws_url)
    await connected(rpc)

    rpc.subscriptions.send(" " * (MESSAGE_BYTES_MAX + 1))
    await connected(rpc, requests=4, accepted=2)
    state.mine()

    assert await watched.get_next() == get_head(state)


async def test_watch_follows_no_redirect(rpc, start_watch):
    async with HostileServer(lambda _: build_http(b"", f"Location: {rpc.ws_url}", status=302)) as server:
        with capture_logs() as logs:
            watched = start_watch(server.url.replace("http", "ws"))
            await become(lambda: watched.watch._failures >= 2)

    assert rpc.subscriptions.accepted == 0
    assert [entry["error"] for entry in logs] == ["refused us with HTTP 302"]


async def test_subscription_is_found_where_there_is_one(rpc):
    await fetch_subscription(rpc.ws_url, CHAIN_ID, TIMING)

    assert rpc.subscriptions.requests == [["newHeads"]]


@pytest.mark.parametrize(
    ("break_it", "error"),
    [
        (lambda rpc: setattr(rpc.faults, "refuses_sockets", True), "refused us with HTTP 403"),
        (lambda rpc: setattr(rpc.faults, "refuses_subscriptions", True), "does not let us subscribe"),
        (lambda rpc: rpc.down(), "cannot be reached"),
        (lambda rpc: setattr(rpc.faults, "chain_id", 1), f"is on chain 1, not {CHAIN_ID}"),
        (lambda rpc: setattr(rpc.subscriptions, "_answer", lambda *_: {"id": 3}), "does not say which chain"),
        (lambda rpc: setattr(rpc.subscriptions, "_answer", lambda *_: {}), "did not answer in time"),
    ],
    ids=["handshake", "subscription", "down", "chain", "no chain", "silent"],
)
async def test_subscription_is_missed_where_there_is_none(break_it, error, rpc):
    broken = break_it(rpc)
    if broken is not None:
        await broken

    with pytest.raises(ChainUnavailable, match=error):
        await fetch_subscription(f"{rpc.ws_url}/{KEY}", CHAIN_ID, TIMING._replace(open_s=0.2))
