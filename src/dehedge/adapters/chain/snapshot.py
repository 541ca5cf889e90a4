"""Reads everything that the daemon knows of the chain at one block: all of it, or an error.

Three steps at one block hash: the registry's addresses together with count, market list, vault and shield; the pages
of positions; market details and the funding tracers in use. The addresses of the last reading are used and checked in
the same request, so that a contract that was replaced is noticed at once. Never mixes blocks, never returns a part.
Called by ``source``, which picks the node and the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import structlog

from dehedge.adapters.chain.abi import Malformed
from dehedge.adapters.chain.codec import CallResult
from dehedge.adapters.chain.failures import CallReverted, CallTooLarge
from dehedge.adapters.chain.node import Contracts, Head, Node, PageReport
from dehedge.adapters.chain.paging import EMPTY, PAGE_SIZE_MIN, Listing, fetch_positions
from dehedge.adapters.chain.reads import (
    Basics,
    Read,
    build_basics_reads,
    build_markets_read,
    build_page_read,
    build_registry_reads,
    build_tracers_read,
    parse_contracts,
)
from dehedge.core.model import ChainSnapshot, Market
from dehedge.errors import ChainUnavailable

Funding = dict[tuple[str, str], int]

_log = structlog.get_logger()


class SnapshotReader:
    """Reads snapshots of one deployment from whatever node it is given."""

    def __init__(self, registry: str, usdc: str, *, vault_includes_shield: bool) -> None:
        self.registry = registry
        self.usdc = usdc
        self._vault_includes_shield = vault_includes_shield
        self.contracts: Contracts | None = None
        """The addresses that the last reading used."""
        self._listing = EMPTY

    async def fetch(self, node: Node, head: Head) -> ChainSnapshot:
        reading = _Reading(node, head)
        contracts, basics = await self._fetch_basics(reading)
        vault = self._compute_vault(basics)
        listing = await reading.fetch_listing(contracts, basics.position_count, self._listing)
        markets, funding = await reading.fetch_details(contracts, basics.markets, sorted(listing.pairs))
        self._listing = listing
        return ChainSnapshot(
            block_number=head.number,
            block_hash=head.hash,
            block_time=head.time,
            vault=vault,
            shield=basics.shield,
            positions=listing.positions,
            funding=funding,
            markets=markets,
            host=node.host,
        )

    async def fetch_markets(self, node: Node, head: Head) -> dict[str, Market]:
        reading = _Reading(node, head)
        contracts, basics = await self._fetch_basics(reading)
        markets, _ = await reading.fetch_details(contracts, basics.markets, [])
        return markets

    async def fetch_page(self, node: Node, head: Head) -> PageReport | None:
        """How much of the positions the node answers at once; None where it cannot be asked, or there are none."""
        reading = _Reading(node, head)
        try:
            contracts, basics = await self._fetch_basics(reading)
        except ChainUnavailable:
            return None
        return await reading.probe_page(contracts, basics.position_count) if basics.position_count else None

    async def fetch_contracts(self, node: Node, head: Head) -> Contracts:
        """What the registry says; raises ``ChainUnavailable`` where it knows nothing."""
        return await self._resolve(_Reading(node, head))

    async def _resolve(self, reading: _Reading) -> Contracts:
        reads = build_registry_reads(self.registry)
        return parse_contracts(reads, await reading.fetch_results(reads))

    async def _fetch_basics(self, reading: _Reading) -> tuple[Contracts, Basics]:
        """At the addresses known so far, and once more if the registry now names others."""
        known = self.contracts or await self._resolve(reading)
        for _ in range(2):
            registry, basics = build_registry_reads(self.registry), build_basics_reads(known, self.usdc)
            results = await reading.fetch_results([*registry, *basics])
            contracts = parse_contracts(registry, results[: len(registry)])
            if contracts == known:
                self._remember(contracts)
                return contracts, basics.parse(results[len(registry) :])
            known = contracts
        raise ChainUnavailable(f"DATAREGISTRY at {self.registry} gave two answers at one block")

    def _remember(self, contracts: Contracts) -> None:
        if contracts != self.contracts:
            _log.info("contracts_resolved", **contracts._asdict())
        self.contracts = contracts

    def _compute_vault(self, basics: Basics) -> int:
        if not self._vault_includes_shield:
            return basics.available
        if basics.available < basics.shield:
            raise ChainUnavailable(
                f"the vault's available {basics.available} is less than the shield {basics.shield}, so it cannot"
                " contain it: set VAULT_AVAILABLE_INCLUDES_SHIELD=false"
            )
        return basics.available - basics.shield


class _Reading:
    """One node at one block."""

    def __init__(self, node: Node, head: Head) -> None:
        self._node = node
        self._head = head

    async def fetch_results(self, reads: Sequence[Read[Any]]) -> list[CallResult]:
        return await self._node.call_many([read.call for read in reads], self._head)

    async def fetch_listing(self, contracts: Contracts, count: int, last: Listing) -> Listing:
        async def fetch_page(length: int, offset: int) -> bytes:
            read = build_page_read(contracts, length, offset)
            return read.parse(CallResult(True, await self._node.call(read.call, self._head)))

        memory = self._node.get_page_memory(contracts.positions)
        try:
            return await fetch_positions(fetch_page, count, memory, last)
        except (CallReverted, Malformed) as problem:
            raise build_page_read(contracts, count, 0).build_error(f"does not give its positions: {problem}") from None

    async def probe_page(self, contracts: Contracts, count: int) -> PageReport:
        """From the usual size on downward, as the paging itself would; what is refused is remembered for it."""
        memory = self._node.get_page_memory(contracts.positions)
        length, refusal = min(count, memory.size), ""
        while length:
            call = build_page_read(contracts, length, 0).call
            try:
                await self._node.call(call, self._head)
            except CallTooLarge as error:
                memory.shrink(length)
                length, refusal = length // 2 if length > PAGE_SIZE_MIN else 0, str(error)
            except ChainUnavailable as error:
                return PageReport(count, 0, str(error))
            else:
                return PageReport(count, length, refusal)
        return PageReport(count, 0, refusal)

    async def fetch_details(
        self, contracts: Contracts, names: Sequence[str], pairs: Sequence[tuple[str, str]]
    ) -> tuple[dict[str, Market], Funding]:
        markets, tracers = build_markets_read(contracts, names), build_tracers_read(contracts, pairs)
        if not pairs:
            (market_result,) = await self.fetch_results([markets])
            return markets.parse(market_result), {}
        market_result, tracer_result = await self.fetch_results([markets, tracers])
        return markets.parse(market_result), tracers.parse(tracer_result)
