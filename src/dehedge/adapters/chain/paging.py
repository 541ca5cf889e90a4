"""Reads every stored position of one block in pages, whatever way this deployment and this node allow.

Three kinds of store exist: the offset is an index and the length is cut, the same with zeroed padding, and the
ancestor that reverts at any offset but 0 and can only be read in one call. Which it is, is found out by asking for
(1, 1) once a page reverts; a page refused for its gas, size or time is halved. Nothing is ever asked for beyond the
count at an offset above 0. The result is every distinct key or an error, never a part; where nothing changed since
the last reading it is the very same table. Knows nothing of nodes: the caller brings ``fetch_page``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import NamedTuple

from dehedge.adapters.chain.abi import WORD, Malformed
from dehedge.adapters.chain.aside import run_aside
from dehedge.adapters.chain.codec import ZERO_ADDRESS, iterate_positions
from dehedge.adapters.chain.decoder import read_entries
from dehedge.adapters.chain.entries import Entries, build_entries, join_entries
from dehedge.adapters.chain.failures import CallReverted, CallTooLarge, NodeHung, NodeThrottled
from dehedge.adapters.chain.table import PositionTable
from dehedge.errors import ChainUnavailable

PAGE_SIZE_START = 500
PAGE_SIZE_MIN = 16
PAGE_SIZE_MAX = 1_000
PAGES_AT_ONCE = 8
"""Far from a node its answers are slow and not its work; one that minds says so, and is asked for less at once."""

PATIENCE = 100
"""Readings in a row that a node did not mind, before it is asked for one page more at once."""

POSITION_COUNT_MAX = 1_000_000
"""A count above this is taken for garbage; it would be 4 GB of positions."""

DECODED_AT_ONCE = 25
"""Entries between two turns of the event loop where each is read by itself: half a millisecond for a page, and several
pages are read at a time."""

ENTRY_BYTES = 12 * WORD
"""What a position takes of a page, mostly."""

FetchPage = Callable[[int, int], Awaitable[bytes]]
"""``getPositions(length, offset)``; raises ``CallReverted``, ``CallTooLarge`` or ``NodeHung`` for these reasons."""

Place = tuple[int, int]
"""The offset and length of a page."""


class Page(NamedTuple):
    """What is stored at a place, without padding; ``digest`` is that of the bytes that it came in."""

    digest: bytes
    entries: Entries


class Listing(NamedTuple):
    """The open positions, and the (asset, market) pairs that they are in; what is stored, and what its pages looked like."""

    positions: PositionTable
    pairs: frozenset[tuple[str, str]]
    stored: Entries
    digests: Mapping[Place, bytes]


class PageMemory:
    """What one endpoint taught us about one contract: how much it answers at once, and whether offsets work."""

    __slots__ = ("_unminded", "at_once", "offsets_work", "size")

    def __init__(self) -> None:
        self.size = PAGE_SIZE_START
        self.at_once = PAGES_AT_ONCE
        self.offsets_work = True
        self._unminded = 0

    def slow_down(self) -> None:
        self.at_once = max(1, self.at_once // 2)
        self._unminded = 0

    def speed_up(self) -> None:
        self._unminded += 1
        if self._unminded % PATIENCE == 0:
            self.at_once = min(PAGES_AT_ONCE, self.at_once + 1)

    def shrink(self, refused: int) -> None:
        """Pages asked for together are refused together; one that is larger than the present size says nothing new."""
        if refused <= self.size:
            self.size = max(PAGE_SIZE_MIN, refused // 2)

    def hurry(self) -> None:
        """A node that refuses nothing and only takes long: in such small steps no reading would ever end."""
        self.at_once = min(PAGES_AT_ONCE, 2 * self.at_once)
        self.size = min(PAGE_SIZE_MAX, 2 * self.size)

    def grow(self) -> None:
        """A twentieth at a time: at the limit that costs one refused page in some fourteen snapshots."""
        self.size = min(PAGE_SIZE_MAX, self.size + max(1, self.size // 20))


class OffsetsRefused(Exception):
    """Raised where the store reverts at any offset but 0."""


async def fetch_positions(fetch_page: FetchPage, count: int, memory: PageMemory, last: Listing) -> Listing:
    """Raises ``ChainUnavailable`` unless exactly ``count`` distinct positions are stored, zero sizes included."""
    if count > POSITION_COUNT_MAX:
        raise ChainUnavailable(f"getPositionCount answered {count}, which cannot be: check DATAREGISTRY")
    if not count:
        return EMPTY
    pages = await _fetch_pages(fetch_page, count, memory, last)
    if last.digests == {place: page.digest for place, page in pages.items()}:
        return last
    return await run_aside(count * ENTRY_BYTES, _build_listing, pages, count, last)


async def _fetch_pages(fetch_page: FetchPage, count: int, memory: PageMemory, last: Listing) -> dict[Place, Page]:
    if memory.offsets_work or count <= memory.size:
        try:
            return await _Pages(fetch_page, count, memory, last).fetch()
        except OffsetsRefused:
            memory.offsets_work = False
    return {(0, count): await _fetch_in_one_call(fetch_page, count, memory, last)}


async def _fetch_in_one_call(fetch_page: FetchPage, count: int, memory: PageMemory, last: Listing) -> Page:
    try:
        return await _read_page(await fetch_page(count, 0), (0, count), last)
    except (CallTooLarge, CallReverted) as refusal:
        # The contract may have been replaced by one that pages, so the next snapshot asks again.
        memory.offsets_work = True
        raise ChainUnavailable(
            f"this deployment gives its positions in one call only, and the node refuses one for all {count}:"
            f" use a node with a higher eth_call limit ({refusal})"
        ) from None


class _Pages:
    """One reading of all pages: a few workers cut them, one after the other, off what is still to be read."""

    def __init__(self, fetch_page: FetchPage, count: int, memory: PageMemory, last: Listing) -> None:
        self._fetch_page = fetch_page
        self._memory = memory
        self._last = last
        self._pages: dict[Place, Page] = {}
        self._spans = deque([(0, count)])
        self._is_cut = count > memory.size
        self._was_refused = False

    async def fetch(self) -> dict[Place, Page]:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._memory.at_once):
                    group.create_task(self._work())
        except ExceptionGroup as failures:
            # The first failure canceled the others, and the caller knows how to act on one.
            failure = failures.exceptions[0]
            if isinstance(failure, NodeThrottled | NodeHung):
                self._memory.slow_down()
            raise failure from None
        except asyncio.CancelledError:
            if not self._was_refused:
                self._memory.hurry()
            raise
        self._memory.speed_up()
        if self._is_cut and not self._was_refused:
            self._memory.grow()
        return dict(sorted(self._pages.items()))

    async def _work(self) -> None:
        while self._spans:
            await self._fetch_part(*self._cut())

    def _cut(self) -> tuple[int, int]:
        """The offset and length of the next page, by what is known of its size by now."""
        offset, rest = self._spans.popleft()
        length = min(rest, self._memory.size)
        if length < rest:
            self._spans.appendleft((offset + length, rest - length))
        return offset, length

    async def _fetch_part(self, offset: int, length: int) -> None:
        try:
            page = await self._fetch_page(length, offset)
        except NodeHung:
            self._memory.shrink(length)
            raise
        except CallTooLarge as refusal:
            self._return(offset, length, refusal)
        except CallReverted as refusal:
            if offset and not await self._check_offsets_work():
                raise OffsetsRefused from None
            # A proxy in front of the store hides that the gas ran out: it reverts without a reason.
            self._return(offset, length, refusal)
        else:
            self._pages[offset, length] = await _read_page(page, (offset, length), self._last)

    def _return(self, offset: int, length: int, refusal: ChainUnavailable) -> None:
        self._was_refused = True
        if length <= PAGE_SIZE_MIN:
            raise refusal
        self._memory.shrink(length)
        self._spans.appendleft((offset, length))

    async def _check_offsets_work(self) -> bool:
        """One entry at offset 1 costs next to nothing, so a revert there is about the offset."""
        try:
            page = await self._fetch_page(1, 1)
        except CallReverted:
            return False
        return (await _read_page(page, (1, 1), EMPTY)).entries.count == 1


async def _read_page(data: bytes, place: Place, last: Listing) -> Page:
    """From the last reading where it says the same, evenly laid out as a whole, and else one entry after the other."""
    offset, length = place
    digest, entries = await run_aside(len(data), _inspect, data, length, last.digests.get(place))
    if digest == last.digests.get(place):
        return Page(digest, last.stored.cut(offset, offset + length))
    return Page(digest, await _read_carefully(data, length) if entries is None else entries)


def _inspect(data: bytes, length: int, known: bytes | None) -> tuple[bytes, Entries | None]:
    digest = sha256(data).digest()  # Processors have instructions for it.
    entries = read_entries(data, length) if digest != known else None
    return digest, entries and entries.keep(entries.find_given())


async def _read_carefully(data: bytes, length: int) -> Entries:
    positions = []
    for number, position in enumerate(iterate_positions(data), start=1):
        if number > length:
            raise Malformed(f"more positions than the {length} that were asked for")
        if position.user != ZERO_ADDRESS:
            positions.append(position)
        if number % DECODED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return await run_aside(len(data), build_entries, positions)


def _build_listing(pages: Mapping[Place, Page], count: int, last: Listing) -> Listing:
    """Of all pages in their order. Each key counts once, so the count tells of one that comes twice."""
    stored = join_entries([page.entries for page in pages.values()])
    digests = {place: page.digest for place, page in pages.items()}
    if stored.count == count and stored.check_same(last.stored):
        return last._replace(digests=digests)
    table = PositionTable(stored)
    distinct = table.count_distinct()
    if distinct != count:
        raise ChainUnavailable(f"getPositionCount says {count}, but getPositions gave {distinct} distinct positions")
    # An entry of size zero is stored, and so it counts, but there is nothing in it to protect.
    found = stored.keep(stored.find_open())
    return Listing(table if found is stored else PositionTable(found), stored.find_pairs(), stored, digests)


_NOTHING = build_entries([])
EMPTY = Listing(PositionTable(_NOTHING), frozenset(), _NOTHING, {})
"""What is there before the first reading."""
