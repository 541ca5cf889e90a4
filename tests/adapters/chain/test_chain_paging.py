"""Paging against the stand-in's three stores and a node's limits, without a network in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dehedge.adapters.chain import paging
from dehedge.adapters.chain.abi import Malformed
from dehedge.adapters.chain.decoder import read_entries
from dehedge.adapters.chain.failures import CallReverted, CallTooLarge, NodeFailed, NodeHung, NodeThrottled
from dehedge.adapters.chain.paging import EMPTY, PageMemory, fetch_positions
from dehedge.core.model import HedgeKey
from dehedge.errors import ChainUnavailable
from dehedge.sim.chain import Paging, SimPosition
from dehedge.sim.chain.pages import build_page, encode_page
from dehedge.sim.chain.reverts import Reverted

TOO_LARGE = CallTooLarge("out of gas")
HIDDEN = CallReverted()
"""What a proxy in front of the store makes of a call that ran out of gas."""

BuildPosition = Callable[..., SimPosition]


class Store:
    """A deployment behind a node that answers so many positions in one call."""

    def __init__(
        self, positions: Sequence[SimPosition], variant: Paging, limit: int = 10**9, refusal: Exception = TOO_LARGE
    ) -> None:
        self.variant = variant
        self.limit = limit
        self.refusal = refusal
        self.asked: list[tuple[int, int]] = []
        self.active_max = 0
        self._positions = positions
        self._active = 0

    async def fetch_page(self, length: int, offset: int) -> bytes:
        self.asked.append((length, offset))
        self._active += 1
        self.active_max = max(self.active_max, self._active)
        try:
            # Several turns, so that the pages asked for at once are really under way together.
            for _ in range(3):
                await asyncio.sleep(0)
            return self._answer(length, offset)
        finally:
            self._active -= 1

    def _answer(self, length: int, offset: int) -> bytes:
        try:
            page = build_page(self._positions, self.variant, length, offset)
        except Reverted as revert:
            raise CallReverted(revert.data) from None
        if len(page) > self.limit:
            raise self.refusal
        return encode_page(page)


@pytest.fixture
def many(a_position: BuildPosition) -> list[SimPosition]:
    return [a_position(trader) for trader in range(1, 1_301)]


def build_keys(positions: Sequence[SimPosition]) -> set[HedgeKey]:
    return {HedgeKey(position.market, f"{position.user}|{position.asset}".lower()) for position in positions}


def lower(keys: Any) -> set[HedgeKey]:
    return {HedgeKey(key.market, key.position_id.lower()) for key in keys}


@pytest.mark.parametrize("variant", Paging)
async def test_paging_reads_every_position_when_they_fill_many_pages(variant, many):
    store = Store(many, variant)

    listing = await fetch_positions(store.fetch_page, len(many), PageMemory(), EMPTY)

    assert lower(listing.positions) == build_keys(many)
    assert store.active_max <= paging.PAGES_AT_ONCE


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 1_000])
@pytest.mark.parametrize("variant", [Paging.INDEX, Paging.PADDED])
async def test_paging_asks_for_exactly_the_count_in_as_few_pages_as_possible(variant, count, many):
    store = Store(many[:count], variant)

    await fetch_positions(store.fetch_page, count, PageMemory(), EMPTY)

    assert sum(length for length, _ in store.asked) == count
    assert len(store.asked) == -(-count // 500)


async def test_paging_reads_eight_pages_at_once(many):
    store, memory = Store(many, Paging.INDEX), PageMemory()
    memory.size = 100

    await fetch_positions(store.fetch_page, len(many), memory, EMPTY)

    assert store.active_max == 8


async def test_paging_asks_for_half_as_much_at_once_when_the_node_minds(many):
    store, memory = Store(many, Paging.INDEX, limit=50, refusal=NodeThrottled("limits our requests")), PageMemory()
    memory.size = 100

    with pytest.raises(NodeThrottled):
        await fetch_positions(store.fetch_page, len(many), memory, EMPTY)
    store.limit, store.active_max = 100, 0
    await fetch_positions(store.fetch_page, len(many), memory, EMPTY)

    assert store.active_max == 4


def test_pages_at_once_are_one_more_after_many_readings_that_the_node_did_not_mind():
    memory = PageMemory()
    for _ in range(5):
        memory.slow_down()
    assert memory.at_once == 1

    seen = []
    for _ in range(10 * paging.PATIENCE):
        memory.speed_up()
        seen.append(memory.at_once)

    assert seen[paging.PATIENCE - 2 : paging.PATIENCE] == [1, 2]
    assert seen[-1] == paging.PAGES_AT_ONCE


async def test_paging_asks_for_half_as_much_at_once_when_a_page_hangs(many):
    store, memory = Store(many, Paging.INDEX, limit=100, refusal=NodeHung("did not answer")), PageMemory()

    with pytest.raises(NodeHung):
        await fetch_positions(store.fetch_page, len(many), memory, EMPTY)

    assert memory.at_once == 4


@pytest.mark.looptime
@pytest.mark.parametrize(("refusal", "size", "at_once"), [(None, 128, 2), (TOO_LARGE, 32, 1)])
async def test_paging_takes_larger_steps_when_the_time_was_too_short(refusal, size, at_once, many):
    store, memory = Store(many, Paging.INDEX), PageMemory()
    memory.size, memory.at_once = 64, 1

    async def fetch_page(length: int, offset: int) -> bytes:
        await asyncio.sleep(1)
        if refusal is not None and length == 64:
            raise refusal
        return await store.fetch_page(length, offset)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(20):
            await fetch_positions(fetch_page, len(many), memory, EMPTY)

    assert (memory.size, memory.at_once) == (size, at_once)


async def test_paging_reads_in_one_call_when_offsets_revert(many):
    store, memory = Store(many, Paging.CAP), PageMemory()

    await fetch_positions(store.fetch_page, len(many), memory, EMPTY)
    first, store.asked = store.asked, []
    await fetch_positions(store.fetch_page, len(many), memory, EMPTY)

    assert (1, 1) in first
    assert first[-1] == (len(many), 0)
    assert store.asked == [(len(many), 0)]


async def test_paging_never_tries_an_offset_when_one_page_is_enough(many):
    store = Store(many[:300], Paging.CAP)

    await fetch_positions(store.fetch_page, 300, PageMemory(), EMPTY)

    assert store.asked == [(300, 0)]


async def test_paging_pages_again_when_the_one_call_became_too_large_for_a_replaced_store(many):
    store, memory = Store(many, Paging.CAP), PageMemory()
    await fetch_positions(store.fetch_page, len(many), memory, EMPTY)
    store.variant, store.limit = Paging.INDEX, 600

    with pytest.raises(ChainUnavailable, match="one call only"):
        await fetch_positions(store.fetch_page, len(many), memory, EMPTY)
    listing = await fetch_positions(store.fetch_page, len(many), memory, EMPTY)

    assert len(listing.positions) == len(many)


@pytest.mark.parametrize("refusal", [TOO_LARGE, HIDDEN], ids=["named", "hidden"])
async def test_paging_names_the_remedy_when_neither_offsets_nor_one_call_work(refusal, many):
    store = Store(many, Paging.CAP, limit=700, refusal=refusal)

    with pytest.raises(ChainUnavailable, match=r"all 1300: use a node with a higher eth_call limit"):
        await fetch_positions(store.fetch_page, len(many), PageMemory(), EMPTY)


@pytest.mark.parametrize("refusal", [TOO_LARGE, HIDDEN], ids=["named", "hidden"])
@pytest.mark.parametrize("variant", [Paging.INDEX, Paging.PADDED])
async def test_paging_halves_and_remembers_the_page_when_refused(variant, refusal, many):
    store, memory = Store(many, variant, limit=130, refusal=refusal), PageMemory()

    listing = await fetch_positions(store.fetch_page, len(many), memory, EMPTY)
    store.asked.clear()
    await fetch_positions(store.fetch_page, len(many), memory, EMPTY)

    assert len(listing.positions) == len(many)
    assert max(length for length, _ in store.asked) == 125
    assert len(store.asked) == -(-len(many) // 125)


async def test_paging_grows_the_page_when_nothing_is_refused(many):
    memory = PageMemory()
    memory.size = 100

    await fetch_positions(Store(many, Paging.INDEX).fetch_page, len(many), memory, EMPTY)

    assert memory.size == 105


def test_page_grows_slowly_up_to_its_limit():
    memory, sizes = PageMemory(), [PageMemory().size]
    for _ in range(20):
        memory.grow()
        sizes.append(memory.size)

    assert sizes[-1] == paging.PAGE_SIZE_MAX
    assert all(after <= before * 1.05 for before, after in zip(sizes, sizes[1:], strict=False))


async def test_paging_does_not_grow_when_the_page_was_not_the_limit(many):
    memory = PageMemory()

    await fetch_positions(Store(many[:400], Paging.INDEX).fetch_page, 400, memory, EMPTY)

    assert memory.size == paging.PAGE_SIZE_START


@pytest.mark.parametrize("refusal", [TOO_LARGE, HIDDEN], ids=["named", "hidden"])
async def test_paging_gives_up_when_even_the_smallest_page_is_refused(refusal, many):
    store = Store(many, Paging.INDEX, limit=3, refusal=refusal)

    with pytest.raises(type(refusal)):
        await fetch_positions(store.fetch_page, len(many), PageMemory(), EMPTY)

    assert len(store.asked) < 60


async def test_paging_halves_for_the_next_time_when_a_page_hangs(many):
    store, memory = Store(many, Paging.INDEX, limit=300, refusal=NodeHung("did not answer")), PageMemory()

    with pytest.raises(NodeHung):
        await fetch_positions(store.fetch_page, len(many), memory, EMPTY)
    listing = await fetch_positions(store.fetch_page, len(many), memory, EMPTY)

    assert len(listing.positions) == len(many)


async def test_paging_fails_whole_when_one_page_fails(many):
    store = Store(many, Paging.INDEX)

    async def fetch_page(length: int, offset: int) -> bytes:
        if offset == 1_000:
            raise NodeFailed("dropped the connection")
        return await store.fetch_page(length, offset)

    with pytest.raises(NodeFailed):
        await fetch_positions(fetch_page, len(many), PageMemory(), EMPTY)


async def test_paging_fails_whole_when_one_page_is_malformed(many):
    store = Store(many, Paging.INDEX)

    async def fetch_page(length: int, offset: int) -> bytes:
        page = await store.fetch_page(length, offset)
        return page[:-32] if offset == 500 else page

    with pytest.raises(Malformed):
        await fetch_positions(fetch_page, len(many), PageMemory(), EMPTY)


@pytest.mark.parametrize("variant", Paging)
async def test_paging_discards_everything_when_the_count_is_not_reached(variant, many):
    with pytest.raises(ChainUnavailable, match="says 1302, but getPositions gave 1300 distinct"):
        await fetch_positions(Store(many, variant).fetch_page, 1_302, PageMemory(), EMPTY)


async def test_paging_discards_everything_when_the_count_is_another_and_the_pages_are_as_they_were(many):
    store = Store(many, Paging.INDEX)
    last = await fetch_positions(store.fetch_page, len(many), PageMemory(), EMPTY)

    with pytest.raises(ChainUnavailable, match="getPositionCount says 1301, but getPositions gave 1300"):
        await fetch_positions(store.fetch_page, len(many) + 1, PageMemory(), last)


async def test_paging_discards_everything_when_a_position_comes_twice(many):
    torn = [*many[:-1], many[0]]

    with pytest.raises(ChainUnavailable, match="says 1300, but getPositions gave 1299 distinct"):
        await fetch_positions(Store(torn, Paging.INDEX).fetch_page, len(torn), PageMemory(), EMPTY)


async def test_paging_does_not_count_padding_as_positions(many):
    with pytest.raises(ChainUnavailable, match="says 12, but getPositions gave 10 distinct"):
        await fetch_positions(Store(many[:10], Paging.PADDED).fetch_page, 12, PageMemory(), EMPTY)


async def test_paging_takes_an_entry_without_a_user_for_padding_whatever_else_it_holds(many, a_position):
    stored = [*many[:3], a_position(0)]

    with pytest.raises(ChainUnavailable, match="says 4, but getPositions gave 3 distinct"):
        await fetch_positions(Store(stored, Paging.INDEX).fetch_page, 4, PageMemory(), EMPTY)


async def test_paging_counts_stored_entries_of_size_zero_and_leaves_them_out(a_position):
    stored = [a_position(1), a_position(2, size=0, market="DOGE-USD"), a_position(3)]

    listing = await fetch_positions(Store(stored, Paging.INDEX).fetch_page, 3, PageMemory(), EMPTY)

    assert lower(listing.positions) == build_keys([stored[0], stored[2]])
    assert {market for _, market in listing.pairs} == {"BTC-USD"}


async def test_paging_tells_positions_of_one_trader_apart_by_asset_and_market(a_position):
    other = "0x" + "ab" * 20
    stored = [a_position(1), a_position(1, market="ETH-USD"), a_position(1, asset=other)]

    listing = await fetch_positions(Store(stored, Paging.INDEX).fetch_page, 3, PageMemory(), EMPTY)

    assert lower(listing.positions) == build_keys(stored)
    assert len(listing.pairs) == 3


async def test_paging_refuses_a_count_that_cannot_be():
    with pytest.raises(ChainUnavailable, match="cannot be: check DATAREGISTRY"):
        await fetch_positions(Store([], Paging.INDEX).fetch_page, 2**255, PageMemory(), EMPTY)


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(0, 90),
    size=st.integers(paging.PAGE_SIZE_MIN, 60),
    limit=st.integers(paging.PAGE_SIZE_MIN, 100),
    variant=st.sampled_from(Paging),
    refusal=st.sampled_from([TOO_LARGE, HIDDEN]),
)
def test_paging_never_asks_beyond_the_count_at_an_offset(count, size, limit, variant, refusal):
    stored = [
        SimPosition(user=f"0x{n:040x}", market="M", is_long=True, size=1, collateral=1, price=1)
        for n in range(1, count + 1)
    ]
    store, memory = Store(stored, variant, limit, refusal), PageMemory()
    memory.size = size

    try:
        listing = asyncio.run(fetch_positions(store.fetch_page, count, memory, EMPTY))
    except ChainUnavailable:
        assert variant is Paging.CAP
        assert count > limit
    else:
        assert lower(listing.positions) == build_keys(stored)
    assert all(offset + length <= count for length, offset in store.asked)


@pytest.mark.parametrize("market", ["BTC-USD", "A-MARKET-WITH-A-NAME-OF-MORE-THAN-ONE-WORD-USD"])
async def test_paging_lets_the_loop_turn_while_it_decodes(market, a_position):
    positions = [a_position(trader, market=market) for trader in range(1, 10_001)]
    data = encode_page(positions)
    turns, memory = 0, PageMemory()
    memory.offsets_work = False

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def fetch_page(length: int, offset: int) -> bytes:
        return data

    counting = asyncio.create_task(count_turns())
    listing = await fetch_positions(fetch_page, len(positions), memory, EMPTY)
    counting.cancel()

    assert lower(listing.positions) == build_keys(positions)
    is_one_by_one = len(market.encode()) > 32
    assert turns >= (len(positions) // paging.DECODED_AT_ONCE if is_one_by_one else 2)


async def test_paging_gives_the_same_table_when_nothing_changed(many, monkeypatch):
    store, memory, decoded = Store(many, Paging.INDEX), PageMemory(), []
    memory.size = paging.PAGE_SIZE_MAX
    monkeypatch.setattr(paging, "read_entries", lambda *page: decoded.append(page) or read_entries(*page))
    first = await fetch_positions(store.fetch_page, len(many), memory, EMPTY)
    assert len(decoded) == 2
    monkeypatch.setattr(paging, "iterate_positions", None)

    second = await fetch_positions(store.fetch_page, len(many), memory, first)

    assert second is first
    assert len(decoded) == 2


async def test_paging_decodes_only_the_page_that_changed(many, monkeypatch, a_position):
    store, memory, decoded = Store(many, Paging.INDEX), PageMemory(), []
    memory.size = paging.PAGE_SIZE_MAX
    first = await fetch_positions(store.fetch_page, len(many), memory, EMPTY)
    monkeypatch.setattr(paging, "read_entries", lambda *page: decoded.append(page) or read_entries(*page))
    many[1_200] = a_position(1_201, size=7)

    second = await fetch_positions(store.fetch_page, len(many), memory, first)

    assert len(decoded) == 1
    assert second.positions != first.positions
    assert [p.size for p in second.positions.values() if p.size == 7] == [7]
    assert lower(second.positions) == build_keys(many)


@pytest.mark.parametrize("market", ["BTC-USD", "", "A-MARKET-WITH-A-NAME-OF-MORE-THAN-ONE-WORD-USD"])
async def test_paging_gives_the_same_table_when_the_pages_are_cut_otherwise(market, many, a_position):
    store = Store([*many, a_position(9_999, market=market, size=0), a_position(2, size=2**200, market="X")], Paging.INDEX)
    count = len(many) + 2
    first = await fetch_positions(store.fetch_page, count, PageMemory(), EMPTY)
    memory = PageMemory()
    memory.size = 333

    second = await fetch_positions(store.fetch_page, count, memory, first)

    assert second.positions is first.positions
    assert len(second.positions) == len(many) + 1


async def test_paging_forgets_what_was_there_when_everything_is_closed(many):
    first = await fetch_positions(Store(many, Paging.INDEX).fetch_page, len(many), PageMemory(), EMPTY)

    assert await fetch_positions(Store([], Paging.INDEX).fetch_page, 0, PageMemory(), first) is EMPTY


MARKETS = ("M", "N", "A-MARKET-WITH-A-NAME-OF-MORE-THAN-ONE-WORD-USD", "")
steps = st.tuples(st.integers(1, 60), st.sampled_from(MARKETS), st.sampled_from([0, 1, 2, 2**64]))
readings = st.tuples(st.lists(steps, max_size=12), st.integers(paging.PAGE_SIZE_MIN, 60), st.sampled_from(Paging))


def build_store(stored, variant):
    positions = [
        SimPosition(user=f"0x{user:040x}", market=market, is_long=True, size=size, collateral=1, price=1)
        for (user, market), size in stored.items()
    ]
    return Store(positions, variant)


@settings(max_examples=100, deadline=None)
@given(st.lists(readings, min_size=1, max_size=6))
def test_paging_reads_the_same_as_without_a_memory_and_another_table_only_for_other_positions(story):
    asyncio.run(read_story(story))


async def read_story(story):
    stored, last = {}, EMPTY
    for changes, size, variant in story:
        stored |= {(user, market): number for user, market, number in changes}
        store, memory = build_store(stored, variant), PageMemory()
        memory.size = size

        fresh = await fetch_positions(store.fetch_page, len(stored), PageMemory(), EMPTY)
        listing = await fetch_positions(store.fetch_page, len(stored), memory, last)

        assert (listing.positions, listing.pairs) == (fresh.positions, fresh.pairs)
        assert list(listing.positions) == list(fresh.positions)
        is_same = list(fresh.stored.iterate()) == list(last.stored.iterate())
        assert (listing.positions is last.positions) is is_same
        last = listing


async def test_paging_refuses_a_page_of_more_than_was_asked_for(a_position: BuildPosition) -> None:
    async def fetch_page(_length: int, _offset: int) -> bytes:
        return encode_page([a_position(trader) for trader in range(1, 5)])

    with pytest.raises(Malformed, match="more positions than the 3 that were asked for"):
        await fetch_positions(fetch_page, 3, PageMemory(), EMPTY)
