"""Reads every stored position of one block in pages, whatever way this deployment and this node allow.

Three kinds of store exist: the offset is an index and the length is cut, the same with zeroed padding, and the
ancestor that reverts at any offset but 0 and can only be read in one call. Which it is, is found out by asking for
(1, 1) once a page reverts; a page refused for its gas, size or time is halved. Nothing is ever asked for beyond the
count at an offset above 0. The result is every distinct key or an error, never a part. Knows nothing of nodes: the
caller brings ``fetch_page``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from dehedge.adapters.chain.abi import Malformed
from dehedge.adapters.chain.codec import ZERO_ADDRESS, iterate_positions
from dehedge.adapters.chain.failures import CallReverted, CallTooLarge, NodeHung
from dehedge.core.model import HedgeKey, Position
from dehedge.errors import ChainUnavailable

PAGE_SIZE_START = 500
PAGE_SIZE_MIN = 16
PAGE_SIZE_MAX = 1_000
PAGES_AT_ONCE = 4
POSITION_COUNT_MAX = 1_000_000
"""A count above this is taken for garbage; it would be 4 GB of positions."""

DECODED_AT_ONCE = 50
"""Entries between two turns of the event loop: 0.3 ms, or 2 ms where each needs a new checksum."""

FetchPage = Callable[[int, int], Awaitable[bytes]]
"""``getPositions(length, offset)``; raises ``CallReverted``, ``CallTooLarge`` or ``NodeHung`` for these reasons."""

Entries = dict[HedgeKey, Position]


class Listing(NamedTuple):
    """All that is stored: the open positions, and the (asset, market) pairs that they are in."""

    positions: Entries
    pairs: set[tuple[str, str]]


class PageMemory:
    """What one endpoint taught us about one contract: how much it answers at once, and whether offsets work."""

    __slots__ = ("offsets_work", "size")

    def __init__(self) -> None:
        self.size = PAGE_SIZE_START
        self.offsets_work = True

    def shrink(self, refused: int) -> None:
        """Pages asked for together are refused together; one that is larger than the present size says nothing new."""
        if refused <= self.size:
            self.size = max(PAGE_SIZE_MIN, refused // 2)

    def grow(self) -> None:
        """A twentieth at a time: at the limit that costs one refused page in some fourteen snapshots."""
        self.size = min(PAGE_SIZE_MAX, self.size + max(1, self.size // 20))


class OffsetsRefused(Exception):
    """Raised where the store reverts at any offset but 0."""


async def fetch_positions(fetch_page: FetchPage, count: int, memory: PageMemory) -> Listing:
    """Raises ``ChainUnavailable`` unless exactly ``count`` distinct positions are stored, zero sizes included."""
    if count > POSITION_COUNT_MAX:
        raise ChainUnavailable(f"getPositionCount answered {count}, which cannot be: check DATAREGISTRY")
    pages = await _fetch_pages(fetch_page, count, memory) if count else []
    return await _build_listing(pages, count)


async def _fetch_pages(fetch_page: FetchPage, count: int, memory: PageMemory) -> list[Entries]:
    if memory.offsets_work or count <= memory.size:
        try:
            return await _Pages(fetch_page, count, memory).fetch()
        except OffsetsRefused:
            memory.offsets_work = False
    return [await _fetch_in_one_call(fetch_page, count, memory)]


async def _fetch_in_one_call(fetch_page: FetchPage, count: int, memory: PageMemory) -> Entries:
    try:
        return await _decode_page(await fetch_page(count, 0), count)
    except (CallTooLarge, CallReverted) as refusal:
        # The contract may have been replaced by one that pages, so the next snapshot asks again.
        memory.offsets_work = True
        raise ChainUnavailable(
            f"this deployment gives its positions in one call only, and the node refuses one for all {count}:"
            f" use a node with a higher eth_call limit ({refusal})"
        ) from None


class _Pages:
    """One reading of all pages: a few workers cut them, one after the other, off what is still to be read."""

    def __init__(self, fetch_page: FetchPage, count: int, memory: PageMemory) -> None:
        self._fetch_page = fetch_page
        self._memory = memory
        self._pages: dict[int, Entries] = {}
        self._decoding = asyncio.Lock()
        self._spans = deque([(0, count)])
        self._is_growth_due = count > memory.size

    async def fetch(self) -> list[Entries]:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(PAGES_AT_ONCE):
                    group.create_task(self._work())
        except ExceptionGroup as failures:
            # The first failure canceled the others, and the caller knows how to act on one.
            raise failures.exceptions[0] from None
        if self._is_growth_due:
            self._memory.grow()
        return [self._pages[start] for start in sorted(self._pages)]

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
            # One page at a time, or the workers would together hold the loop for several pieces in a row.
            async with self._decoding:
                self._pages[offset] = await _decode_page(page, length)

    def _return(self, offset: int, length: int, refusal: ChainUnavailable) -> None:
        self._is_growth_due = False
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
        return len(await _decode_page(page, 1)) == 1


async def _decode_page(data: bytes, length: int) -> Entries:
    """The entries of a page without its padding. A key seen twice counts once, so the count will tell."""
    entries: Entries = {}
    for number, position in enumerate(iterate_positions(data), start=1):
        if number > length:
            raise Malformed(f"more positions than the {length} that were asked for")
        if position.user != ZERO_ADDRESS:
            entries[position.key] = position
        if number % DECODED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return entries


async def _build_listing(pages: Iterable[Entries], count: int) -> Listing:
    entries: Entries = {}
    empty: list[HedgeKey] = []
    pairs: set[tuple[str, str]] = set()
    for page in pages:
        entries.update(page)
        empty += [key for key, position in page.items() if not position.size]
        pairs.update((position.asset, position.market) for position in page.values() if position.size)
        await asyncio.sleep(0)
    if len(entries) != count:
        raise ChainUnavailable(
            f"getPositionCount says {count}, but getPositions gave {len(entries)} distinct positions"
        )
    # An entry of size zero is stored, and so it counts, but there is nothing in it to protect.
    for key in empty:
        del entries[key]
    return Listing(entries, pairs)
