"""What reading the chain costs: the whole snapshot, and where its time goes.

Anvil, which is a real EVM, and the in-process stand-in in a process of its own, read by the real ``ChainReader``. Its
requests are recorded and then sent again, one after the other and undecoded: a node answers when it has done its work, so
the seconds until an answer begins are the node's, and those until it has ended and is bytes again (JSON, hex) with a digest
by which an unchanged page is known are the transport's. Decoding is from the bytes of all pages to the table; ``eth_abi`` decodes the same bytes in the same run.
Requests of a snapshot run eight at a time, so the parts may be more than the whole. At most 60 s go into filling a chain.
"""

from __future__ import annotations

import asyncio
import http.client
import multiprocessing
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from hashlib import blake2b
from multiprocessing.connection import Connection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from eth_abi import abi as eth_abi

from bench.crowd import MARKETS, TRACER, build_crowd
from bench.figures import Figure, build_figure, measure
from dehedge.adapters.chain import codec, paging
from dehedge.adapters.chain.decoder import read_entries
from dehedge.adapters.chain.endpoint import _read_data
from dehedge.adapters.chain.source import ChainReader
from dehedge.adapters.chain.table import PositionTable
from dehedge.adapters.chain.transport import Transport, _parse
from dehedge.core.model import ChainSnapshot, Position
from dehedge.parts import SystemClock
from dehedge.sim.chain import (
    CHAIN_ID,
    DATA_REGISTRY,
    USDC,
    AnvilChain,
    AnvilUnavailable,
    InProcessChain,
    SimChain,
    SimMarket,
)
from dehedge.sim.world import USD, get_feed

SIZES = (1_000, 10_000, 50_000)
ROUNDS = 5
FILL_S = 60.0
FILLED_AT_ONCE = 2_500
LIBRARY_ROUNDS = 3
TARGET_COUNT, TARGET_MS, TARGET_TIMES = 50_000, 100.0, 50.0
PAGE_TYPES = ["(address,address,string,bool,uint256,uint256,int256,uint256,uint256)[]"]


class Parts(NamedTuple):
    """Seconds of the requests of one snapshot, sent again."""

    node_s: float
    transport_s: float


def run(sizes: Sequence[int] = SIZES, rounds: int = ROUNDS) -> Iterator[Figure]:
    for name, serve in (("anvil", _serve_anvil), ("stand-in", _serve_in_process)):
        figures = asyncio.run(_measure_chain(name, serve, sizes, rounds))
        yield from figures


async def _measure_chain(name: str, serve: Any, sizes: Sequence[int], rounds: int) -> list[Figure]:
    figures: list[Figure] = []
    try:
        async with serve(sizes) as filled:
            async for count, url in filled:
                figures += await _measure(f"snapshot of {count:,} positions from {name}", url, count, rounds)
    except AnvilUnavailable:
        pass  # There is no binary on this machine.
    return figures


async def _measure(what: str, url: str, count: int, rounds: int) -> list[Figure]:
    """A reader of its own for each round, so that nothing is known yet."""
    first, again, bodies = [], [], []
    for _ in range(rounds):
        reader = build_reader(url)
        bodies = record(reader)
        try:
            seconds, snapshot = await _time(reader)
            del bodies[(requests := len(bodies)) :]
            assert len(snapshot.positions) == count, "every position is read"
            first.append(seconds)
            again.append(await _time_unchanged(reader, snapshot))
        finally:
            await reader.close()
    bodies = bodies[:requests]
    parts, pages = await asyncio.to_thread(lambda: replay(url, bodies, rounds))
    return [
        build_figure(what, "ms", first, requests=requests),
        build_figure(f"{what}: in the node", "ms", [part.node_s for part in parts]),
        build_figure(f"{what}: in transport", "ms", [part.transport_s for part in parts]),
        *_measure_decoding(what, pages, snapshot, rounds),
        build_figure(f"{what}: unchanged", "ms", again),
    ]


async def _time_unchanged(reader: ChainReader, snapshot: ChainSnapshot) -> float:
    """Once the pages have the size that they grow to, which takes a daemon its first minute."""
    (lane,), contracts = reader._lanes, reader.contracts
    assert contracts is not None, "it has read"
    lane.endpoint.get_page_memory(contracts.positions).size = paging.PAGE_SIZE_MAX
    await reader.fetch_snapshot()
    seconds, same = await _time(reader)
    assert same.positions is snapshot.positions, "what has not changed is the very same table"
    return seconds


def build_reader(url: str) -> ChainReader:
    return ChainReader(
        [url], registry=DATA_REGISTRY, usdc=USDC, chain_id=CHAIN_ID, head_age_max_s=60.0,
        vault_includes_shield=False, clock=SystemClock(),
    )  # fmt: skip


async def _time(reader: ChainReader) -> tuple[float, ChainSnapshot]:
    began = time.perf_counter()
    snapshot = await reader.fetch_snapshot()
    return time.perf_counter() - began, snapshot


def record(reader: ChainReader) -> list[bytes]:
    """The requests that the reader is going to send, as it sends them."""
    (lane,), bodies = reader._lanes, []
    transport: Transport = lane.endpoint._transport
    post = transport.post

    async def note(body: bytes) -> Any:
        bodies.append(body)
        return await post(body)

    transport.post = note  # type: ignore[method-assign]
    return bodies


def replay(url: str, bodies: Sequence[bytes], rounds: int) -> tuple[list[Parts], list[bytes]]:
    """What the requests cost without being understood, round by round; and the pages among the answers."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    parts, pages = [], []
    for _ in range(rounds):
        answers, node_s, transport_s = [], 0.0, 0.0
        for body in bodies:
            began = time.perf_counter()
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answered = time.perf_counter()
            result = _parse(response.read())["result"]
            answers.append(_read_data(result) if isinstance(result, str | bytes) else b"")
            blake2b(answers[-1], digest_size=16).digest()
            node_s, transport_s = node_s + answered - began, transport_s + time.perf_counter() - answered
        parts.append(Parts(node_s, transport_s))
        pages = [
            data
            for body, data in zip(bodies, answers, strict=True)
            if codec.GET_POSITIONS.selector.hex().encode() in body
        ]
    connection.close()
    return parts, pages


def decode(pages: Sequence[bytes], count: int) -> PositionTable:
    """As ``paging`` does it, without its threads and its digests."""
    read, offset = {}, 0
    for data in pages:
        entries = read_entries(data, count)
        assert entries is not None, "the quick reader reads all pages of these chains"
        read[offset, entries.count] = paging.Page(b"", entries.keep(entries.find_given()))
        offset += entries.count
    return paging._build_listing(read, count, paging.EMPTY).positions


def _measure_decoding(what: str, pages: Sequence[bytes], snapshot: ChainSnapshot, rounds: int) -> Iterator[Figure]:
    count = len(snapshot.positions)
    ours = measure(lambda: decode(pages, count), rounds)
    is_target = count == TARGET_COUNT
    yield build_figure(f"{what}: decoding", "ms", ours, TARGET_MS if is_target else None)
    theirs = measure(lambda: decode_by_library(pages), min(rounds, LIBRARY_ROUNDS))
    yield build_figure(f"{what}: decoding by eth_abi", "ms", theirs)
    ratios = [long / short for long, short in zip(theirs, ours, strict=False)]
    yield build_figure(f"{what}: decoding, times as fast", "x", ratios, TARGET_TIMES if is_target else None, least=True)
    _check_same(snapshot, decode(pages, count), decode_by_library(pages))


def decode_by_library(pages: Sequence[bytes]) -> list[Any]:
    return [row for data in pages for row in eth_abi.decode(PAGE_TYPES, data)[0]]


def _check_same(snapshot: ChainSnapshot, table: PositionTable, rows: Sequence[Any]) -> None:
    """All three readings give the same positions in the same order, apart from the capital letters of an address."""
    read = [_lower(position) for position in snapshot.positions.values()]
    assert read == [_lower(position) for position in table.values()], "decoded again it is the same"
    assert read == [_lower(Position(*row)) for row in rows], "eth_abi reads the same"


def _lower(position: Position) -> Position:
    return position._replace(user=position.user.lower(), asset=position.asset.lower())


@asynccontextmanager
async def _serve_anvil(sizes: Sequence[int]) -> AsyncIterator[AsyncIterator[tuple[int, str]]]:
    chain = AnvilChain()
    await chain.start()
    try:
        yield _fill_in_steps(chain, sizes)
    finally:
        await chain.stop()


async def _fill_in_steps(chain: AnvilChain, sizes: Sequence[int]) -> AsyncIterator[tuple[int, str]]:
    """The count and the URL, once the chain holds so many; as far as that goes in the time there is."""
    await prepare(chain)
    until, known = time.monotonic() + FILL_S, 0
    crowd = build_crowd(max(sizes))
    for count in sizes:
        while known < count and time.monotonic() < until:
            step = min(FILLED_AT_ONCE, count - known)
            await chain.put(*(next(crowd) for _ in range(step)))
            known += step
        began = time.monotonic()
        yield known, chain.url
        if known < count:
            print(f"after {FILL_S:.0f} s anvil held {known:,} of {count:,} positions")
            return
        until += time.monotonic() - began


@asynccontextmanager
async def _serve_in_process(sizes: Sequence[int]) -> AsyncIterator[AsyncIterator[tuple[int, str]]]:
    yield _spawn(sizes)


async def _spawn(sizes: Sequence[int]) -> AsyncIterator[tuple[int, str]]:
    context = multiprocessing.get_context("spawn")
    for count in sizes:
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(count, there), daemon=True)
        process.start()
        try:
            yield count, await asyncio.to_thread(here.recv)
        finally:
            here.send("stop")
            process.join()


def _serve(count: int, connection: Connection) -> None:
    asyncio.run(_serve_until_told(count, connection))


async def _serve_until_told(count: int, connection: Connection) -> None:
    chain = InProcessChain()
    await chain.start()
    await prepare(chain)
    await chain.put(*build_crowd(count))
    connection.send(chain.url)
    await asyncio.to_thread(connection.recv)
    await chain.stop()


async def prepare(chain: SimChain) -> None:
    for market in MARKETS:
        await chain.set_market(SimMarket(market=market, name=market, pyth_feed=get_feed(market)))
        await chain.set_tracer(market, TRACER)
    await chain.set_vault(10**9 * USD)
    await chain.set_shield(10**6 * USD)
