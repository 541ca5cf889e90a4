"""What a node may send, from one ABI word to a whole conversation: a snapshot that holds, or ``ChainUnavailable``."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given

from dehedge.adapters.chain import codec
from dehedge.adapters.chain.abi import Malformed
from dehedge.adapters.chain.decoder import read_entries
from dehedge.adapters.chain.failures import build_failure, describe_revert
from dehedge.adapters.chain.heads import HeadTiming, HeadWatch, fetch_subscription
from dehedge.adapters.chain.node import Limits
from dehedge.adapters.chain.source import ChainReader
from dehedge.core.model import ChainSnapshot
from dehedge.errors import ChainUnavailable
from dehedge.sim.chain import CHAIN_ID, DATA_REGISTRY, USDC, ChainState, SimMarket, SimPosition
from dehedge.sim.chain.faults import Faults
from dehedge.sim.chain.node import Node
from tests.fuzz.hostile import (
    attack,
    build_hostile,
    build_message,
    damage,
    fuzz,
    hurried,
    seeds,
    spoil,
    spoil_words,
    write,
)
from tests.fuzz.hostile_server import HostileServer, Request, build_handshake, build_hostile_http, build_http

NOW = 1_790_000_000.0
WORD_MAX = 2**256 - 1
LINE_MAX = 600
ADDRESS = "0x" + "ab" * 20
POSITION = "(address,address,string,bool,uint256,uint256,int256,uint256,uint256)[]"
MARKET = "(string,string,address,uint256,uint256,uint256,uint256,uint256,uint256,uint256,bytes32,bool,bool)[]"
REPLIES = {
    "positions": encode([POSITION], [[(ADDRESS, "0x" + "cd" * 20, "BTC-USD", True, 5, 6, -7, 8, 9)] * 3]),
    "markets": encode([MARKET], [[("Bitcoin", "c", ADDRESS, 1, 2, 3, 4, 5, 6, 7, b"\x11" * 32, True, False)] * 2]),
    "results": encode(["(bool,bytes)[]"], [[(True, b"abc" * 30), (False, b"")]]),
    "strings": encode(["string[]"], [["BTC-USD", "", "\u20ac" * 11]]),
    "ints": encode(["int256[]"], [[-1, 2**255 - 1, 7]]),
}


def check_positions(data: bytes) -> None:
    for position in codec.iterate_positions(data):
        assert min(position.size, position.collateral, position.entry_price, position.opened_at) >= 0
        assert len(position.user) == len(position.asset) == 42
        assert isinstance(position.is_long, bool)


def check_page(data: bytes) -> None:
    """What is read all at once is what is read one after the other, and nothing of it is ever refused there."""
    entries = read_entries(data, 10)
    if entries is not None:
        assert list(entries.iterate()) == list(codec.iterate_positions(data))


def check_markets(data: bytes) -> None:
    for market in codec.decode_markets(data):
        assert len(market.pyth_feed) == 32
        assert 0 <= market.feed_max_age_s <= WORD_MAX


CHECKS = {
    "positions": check_positions,
    "markets": check_markets,
    "results": codec.decode_aggregate3,
    "strings": codec.decode_strings,
    "ints": codec.decode_ints,
}


@fuzz(80)
@given(seeds)
def test_decoder_reads_or_refuses_any_bytes(random: Random):
    def check(payload: bytes) -> None:
        check_page(payload)
        for check_values in CHECKS.values():
            try:
                check_values(payload)
            except Malformed:
                continue

    attack(random, lambda random: spoil_words(random, random.choice(list(REPLIES.values()))), check)


@fuzz(40)
@given(seeds)
def test_error_of_a_node_is_one_short_line_whatever_it_holds(random: Random):
    error = {"code": -32000, "message": "out of gas", "data": "0x08c379a0" + "00" * 31 + "20" + "00" * 31 + "03" + "61" * 32}

    def check(payload: bytes) -> None:
        failure = build_failure(json.loads(payload))
        assert isinstance(failure, ChainUnavailable)
        check_line(str(failure))

    def build(random: Random) -> bytes:
        spoiled = spoil(random, error)
        payload = write(random, spoiled if isinstance(spoiled, dict) else {"message": build_hostile(random)})
        try:
            return payload if isinstance(json.loads(payload), dict) else b"{}"
        except (ValueError, RecursionError):
            return b"{}"

    attack(random, build, check)


@fuzz(20)
@given(seeds)
def test_revert_data_is_one_short_line_whatever_it_holds(random: Random):
    good = bytes.fromhex("08c379a0") + encode(["string"], ["not yours"])
    attack(random, lambda random: spoil_words(random, good), lambda payload: check_line(describe_revert(payload)))


def check_line(text: str) -> None:
    assert len(text) < LINE_MAX
    assert text.isprintable()


class FixedClock:
    def time(self) -> float:
        return NOW


def build_state() -> ChainState:
    state = ChainState(clock=FixedClock().time)
    state.set_vault(10**12)
    state.set_shield(5 * 10**9)
    state.set_market(SimMarket(market="BTC-USD", pyth_feed="e6" * 32, feed_max_age=30))
    state.set_tracer("BTC-USD", -7 * 10**18)
    state.put(*(build_position(trader) for trader in range(1, 5)))
    state.mine()
    return state


def build_position(trader: int) -> SimPosition:
    return SimPosition(
        user=f"0x{trader:040x}", market="BTC-USD", is_long=True, size=10**9, collateral=10**8, price=60_000 * 10**18
    )


class LyingNode:
    """A node that tells the truth ``honest`` times, and one lie after that."""

    def __init__(self, random: Random, state: ChainState, *, has_multicall: bool) -> None:
        self._random = random
        self._node = Node(state, Faults(has_multicall=has_multicall))
        self._honest = random.randrange(9)

    def answer(self, request: Request) -> bytes:
        document = json.loads(request.body)
        calls = document if isinstance(document, list) else [document]
        replies: list[Any] = [self._node.answer(call) for call in calls]
        self._honest -= 1
        if self._honest >= 0:
            return build_http(json.dumps(replies if isinstance(document, list) else replies[0]).encode())
        return self._lie(replies, is_batch=isinstance(document, list))

    def _lie(self, replies: list[Any], *, is_batch: bool) -> bytes:
        random = self._random
        for reply in replies:
            data = reply.get("result")
            if isinstance(data, str) and len(data) > 66 and random.randrange(2):
                reply["result"] = "0x" + spoil_words(random, bytes.fromhex(data[2:])).hex()
        document = replies if is_batch else replies[0]
        if random.randrange(3) == 0:
            return build_hostile_http(random, build_message(random, document))
        if random.randrange(2):
            return build_http(damage(random, write(random, spoil(random, document))))
        return build_http(json.dumps(document).encode())


@fuzz(12)
@given(seeds)
def test_reader_gives_a_sound_snapshot_or_its_own_error_whatever_a_node_says(random: Random):
    asyncio.run(read_from_liars(random))


async def read_from_liars(random: Random) -> None:
    state = build_state()
    async with HostileServer(lambda _: b"") as server:
        for _ in range(8):
            server.answer = LyingNode(random, state, has_multicall=bool(random.randrange(2))).answer
            reader = ChainReader(
                [server.url], registry=DATA_REGISTRY, usdc=USDC, chain_id=CHAIN_ID, head_age_max_s=30.0,
                vault_includes_shield=False, clock=FixedClock(), limits=Limits(0.3, 1.0, 1.0),
            )  # fmt: skip
            try:
                with hurried():
                    check_snapshot(await reader.fetch_snapshot())
            except ChainUnavailable as failure:
                check_line(str(failure))
            finally:
                await reader.close()


def check_snapshot(snapshot: ChainSnapshot) -> None:
    assert 0 <= snapshot.block_number < 2**63
    assert NOW - 30 <= snapshot.block_time <= NOW + 30
    assert len(snapshot.block_hash) == 66
    assert snapshot.vault >= 0
    assert snapshot.shield >= 0
    for key, position in snapshot.positions.items():
        assert key == position.key
        assert position.size > 0
        assert (position.asset, position.market) in snapshot.funding


@fuzz(15)
@given(seeds)
def test_watch_goes_on_whatever_answers_the_handshake(random: Random):
    asyncio.run(shake_hands_with_liars(random))


async def shake_hands_with_liars(random: Random) -> None:
    timing = HeadTiming(open_s=0.3, silence_s=0.05, backoff_min_s=0.0, backoff_max_s=0.0)
    async with HostileServer(lambda _: build_handshake(random)) as server:
        url = server.url.replace("http", "ws")
        watch = HeadWatch([url], chain_id=1, get_address=lambda: ADDRESS, on_block=lambda *_: None, timing=timing)
        task = asyncio.create_task(watch.run())
        async with asyncio.timeout(20):
            while server.served < 8:
                assert not task.done(), task.result()
                await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(ChainUnavailable) as caught:
            await fetch_subscription(url, 1, timing)
        check_line(str(caught.value))
