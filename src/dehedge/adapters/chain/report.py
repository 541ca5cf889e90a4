"""What one endpoint says of itself, for ``dehedge check``.

Collects facts one after the other and keeps those that it has when one cannot be had. Never raises for an endpoint
that is ill: that is the report. Called by ``source``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from dehedge.adapters.chain.endpoint import Endpoint
from dehedge.adapters.chain.node import Head, PageReport
from dehedge.errors import ChainUnavailable
from dehedge.ports import Clock


@dataclass(frozen=True, slots=True)
class EndpointReport:
    """Facts of one endpoint; None is unknown, and ``error`` says why."""

    host: str
    error: str | None = None
    chain_id: int | None = None
    has_multicall: bool | None = None
    page: PageReport | None = None
    head_number: int | None = None
    head_age_s: float | None = None
    latency_s: float | None = None


async def fetch_report(
    endpoint: Endpoint,
    clock: Clock,
    check_head: Callable[[Head], None],
    fetch_page: Callable[[Endpoint, Head], Awaitable[PageReport | None]],
) -> EndpointReport:
    """``check_head`` raises ``ChainUnavailable`` for a head that the reader would refuse."""
    report = EndpointReport(endpoint.host)
    try:
        report = replace(report, chain_id=await endpoint.fetch_chain_id())
        await endpoint.open()
        report = replace(report, has_multicall=endpoint.has_multicall)
        started = asyncio.get_running_loop().time()
        head = await endpoint.fetch_head()
        latency_s = asyncio.get_running_loop().time() - started
        report = replace(report, head_number=head.number, head_age_s=clock.time() - head.time, latency_s=latency_s)
        check_head(head)
        report = replace(report, page=await fetch_page(endpoint, head))
    except ChainUnavailable as failure:
        return replace(report, error=str(failure))
    return report
