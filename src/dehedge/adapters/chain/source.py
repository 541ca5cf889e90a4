"""The daemon's view of the chain: a complete snapshot from the first RPC endpoint that is well.

Owns failover and the refusal of heads that lag: older than allowed, or behind a block that was already read. An
endpoint that fails is passed over for a growing while and takes its place again afterwards. Time is bounded for a
request, an endpoint and the whole, so a node that hangs costs seconds, not the daemon. Implements
``dehedge.ports.ChainSource``; also gives ``dehedge check`` its facts. Every error names the host alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import structlog
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from dehedge.adapters.chain.codec import build_checksum_address
from dehedge.adapters.chain.endpoint import Endpoint
from dehedge.adapters.chain.failover import Lane, order_lanes
from dehedge.adapters.chain.failures import BlockGone, NodeHung
from dehedge.adapters.chain.node import REGISTRY_KEYS, ContractReport, Contracts, Head, Limits
from dehedge.adapters.chain.report import EndpointReport, fetch_report
from dehedge.adapters.chain.snapshot import SnapshotReader
from dehedge.core.model import ChainSnapshot, Market
from dehedge.errors import ChainUnavailable, ConfigError
from dehedge.ports import Clock

DEFAULT_LIMITS = Limits()

HEADS_MAX = 3
"""A reorganization, or a node behind a balancer that lags by a block, is cured by a fresh head."""

HEADS_WAITED_FOR_MAX = 100
"""A second opinion is worth waiting for as long as the budget lasts, for a node that lags by a block or two."""

HEADS_BUDGET_S = 3.0

AHEAD_MAX_S = 30.0
"""A block dated further ahead than this is none of now: a sequencer is a few seconds ahead at most."""

BLOCKS_AHEAD_MAX, BLOCKS_PER_S_MAX = 100_000, 10
"""A chain makes no more blocks than that since the last one that was read; Base makes one in two seconds."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")

T = TypeVar("T")
Job = Callable[[Endpoint, Head], Awaitable[T]]

_log = structlog.get_logger()


class ChainReader:
    """Reads through the endpoints in ``urls``, in their order."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        registry: str,
        usdc: str,
        chain_id: int,
        head_age_max_s: float,
        vault_includes_shield: bool,
        clock: Clock,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        if not urls:
            raise ConfigError("NETWORKS: at least one RPC URL is needed")
        self._lanes = [Lane(Endpoint(url, chain_id=chain_id, clock=clock, timeout_s=limits.request_s)) for url in urls]
        self._snapshots = SnapshotReader(
            _read_address("DATAREGISTRY", registry),
            _read_address("USDC", usdc),
            vault_includes_shield=vault_includes_shield,
        )
        self._head_age_max_s = head_age_max_s
        self._clock = clock
        self._limits = limits
        self._last_head: Head | None = None
        self._lock = asyncio.Lock()

    @property
    def contracts(self) -> Contracts | None:
        """The addresses that the last snapshot was read from."""
        return self._snapshots.contracts

    async def fetch_snapshot(self, *, avoid: str | None = None) -> ChainSnapshot:
        """Never older than the last; not of the host to avoid while another one is well.

        The error has ``retry_after_s`` if all nodes told us to wait.
        """
        async with self._lock:
            snapshot = await self._fetch_from_first(self._snapshots.fetch, avoid)
            self._last_head = Head(snapshot.block_number, snapshot.block_hash, snapshot.block_time)
            return snapshot

    async def fetch_contract_reports(self) -> list[ContractReport]:
        """The contracts that the daemon reads, by what the registry says now."""
        return await self._fetch_from_first(self._fetch_codes)

    async def fetch_markets(self) -> Mapping[str, Market]:
        """The markets alone: a fraction of a snapshot."""
        return await self._fetch_from_first(self._snapshots.fetch_markets)

    async def fetch_endpoint_report(self, number: int) -> EndpointReport:
        """Facts or an error of the endpoint of this number, from 0 on; never raises for the endpoint."""
        endpoint = self._lanes[number].endpoint
        return await fetch_report(endpoint, self._clock, self._check_head, self._snapshots.fetch_page)

    async def close(self) -> None:
        await asyncio.gather(*(lane.endpoint.close() for lane in self._lanes))

    async def _fetch_codes(self, endpoint: Endpoint, head: Head) -> list[ContractReport]:
        contracts = await self._snapshots.fetch_contracts(endpoint, head)
        named = {"DataRegistry": self._snapshots.registry, **_name(contracts), "USDC": self._snapshots.usdc}
        codes = await asyncio.gather(*map(endpoint.fetch_has_code, named.values()))
        return [ContractReport(*pair, code) for pair, code in zip(named.items(), codes, strict=True)]

    async def _fetch_from_first(self, job: Job[T], avoid: str | None = None) -> T:
        loop = asyncio.get_running_loop()
        deadline, problems = loop.time() + self._limits.snapshot_s, []
        # Two URLs of one host are one node here: most likely two keys for the same service.
        lanes = sorted(self._lanes, key=lambda lane: lane.endpoint.host == avoid)
        heads_max = HEADS_MAX if avoid is None else HEADS_WAITED_FOR_MAX
        for lane in order_lanes(lanes, self._clock.time()):
            try:
                result = await self._fetch_within(lane.endpoint, job, deadline, heads_max)
            except ChainUnavailable as failure:
                self._apply_failure(lane, failure)
                problems.append(f"{lane.endpoint.host} {failure}")
            else:
                self._apply_success(lane)
                return result
            if loop.time() >= deadline:
                break
        raise self._build_error(problems)

    async def _fetch_within(self, endpoint: Endpoint, job: Job[T], deadline: float, heads_max: int) -> T:
        budget_s = self._limits.endpoint_s if len(self._lanes) > 1 else self._limits.snapshot_s
        until = min(deadline, asyncio.get_running_loop().time() + budget_s)
        try:
            async with asyncio.timeout_at(until):
                await endpoint.open()
                return await self._fetch_at_head(endpoint, job, heads_max)
        except TimeoutError:
            raise NodeHung(f"took longer than {budget_s:g} s") from None

    async def _fetch_at_head(self, endpoint: Endpoint, job: Job[T], heads_max: int) -> T:
        async def fetch() -> T:
            head = await endpoint.fetch_head()
            self._check_head(head)
            return await job(endpoint, head)

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(BlockGone),
            stop=stop_after_attempt(heads_max) | stop_after_delay(HEADS_BUDGET_S),
            wait=wait_random_exponential(multiplier=0.1, max=1.0),
            reraise=True,
        )
        return await retrying(fetch)

    def _check_head(self, head: Head) -> None:
        """Raises for a head that lags, too old for its time or older than what was already read, and for one to come."""
        age_s = self._clock.time() - head.time
        if age_s < -AHEAD_MAX_S:
            # Believed, it would stay fresh until its time, whatever happened on the chain meanwhile.
            raise ChainUnavailable(f"has a head {head.number} of {-age_s:.0f} s in the future: check this machine's clock")
        if age_s > self._head_age_max_s:
            raise ChainUnavailable(f"lags: its head {head.number} is {age_s:.0f} s old")
        last = self._last_head
        if last is None:
            return
        if head.number < last.number:
            raise BlockGone(f"lags: its head {head.number} is behind block {last.number}, which was already read")
        # Once believed, everything would be held for ever, because older blocks are no news.
        if head.number > last.number + BLOCKS_AHEAD_MAX + (head.time - last.time) * BLOCKS_PER_S_MAX:
            raise ChainUnavailable(f"has a head {head.number}, which cannot be: block {last.number} was read a moment ago")

    def _apply_failure(self, lane: Lane[Endpoint], failure: ChainUnavailable) -> None:
        if not lane.is_failing and len(self._lanes) > 1:
            _log.warning("endpoint_failed", endpoint=lane.endpoint.host, error=str(failure))
        lane.apply_failure(failure, self._clock.time())
        lane.endpoint.reset()

    def _apply_success(self, lane: Lane[Endpoint]) -> None:
        if lane.is_failing and len(self._lanes) > 1:
            _log.info("endpoint_recovered", endpoint=lane.endpoint.host)
        lane.apply_success()

    def _build_error(self, problems: Sequence[str]) -> ChainUnavailable:
        now = self._clock.time()
        waits_s = [lane.compute_wait_s(now) for lane in self._lanes]
        if problems:
            return ChainUnavailable("; ".join(problems), retry_after_s=min(waits_s) or None)
        hosts = ", ".join(lane.endpoint.host for lane in self._lanes)
        return ChainUnavailable(f"{hosts} told us to wait {min(waits_s):.0f} s more", retry_after_s=min(waits_s))


def _name(contracts: Contracts) -> Mapping[str, str]:
    return dict(zip(REGISTRY_KEYS, contracts, strict=True))


def _read_address(variable: str, text: str) -> str:
    """The checksummed form of an address in any case."""
    if not _ADDRESS.fullmatch(text):
        raise ConfigError(f"{variable}: {text!r} is not an address of 0x and 40 hex digits")
    return build_checksum_address(bytes.fromhex(text[2:]))
