"""The chain as it is now: every RPC endpoint with what it answers at once, the websockets, the contracts, a whole snapshot.

Uses the very readers of the daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import urlsplit

from dehedge.adapters.chain.heads import HeadTiming, fetch_subscription
from dehedge.adapters.chain.node import PageReport
from dehedge.adapters.chain.report import EndpointReport
from dehedge.adapters.chain.source import ChainReader
from dehedge.adapters.chain.transport import build_host
from dehedge.check.report import Line, build_failure, build_pass, build_warning
from dehedge.check.run import ABOVE, Found
from dehedge.config import Settings
from dehedge.core.model import ChainSnapshot
from dehedge.errors import ChainUnavailable

USDC_UNIT = 10**6
PAGE_USUAL = 500
"""As many positions are asked for at first; a node that answers fewer is asked more often."""
LATENCY_WARN_S = 1.0
TIMING = HeadTiming(open_s=5.0)


def name_endpoint(kind: str, number: int, host: str) -> str:
    """By its number in the setting, and by its host: the rest of a URL may be a key."""
    return f"{kind} {number} ({host})"


async def check_endpoint(reader: ChainReader, number: int) -> Found[ChainReader]:
    """Hands the reader, which has one endpoint, on where it can read. Numbers are from 1 on, as in NETWORKS."""
    report = await reader.fetch_endpoint_report(0)
    name = name_endpoint("RPC", number, report.host)
    if report.error is not None:
        return Found([build_failure(name, report.error, f"check number {number} in NETWORKS")])
    return Found([_judge_endpoint(name, report)], reader)


def _judge_endpoint(name: str, report: EndpointReport) -> Line:
    latency_s, page = report.latency_s or 0.0, report.page
    head = f"chain {report.chain_id}, head {report.head_number} is {report.head_age_s or 0:.1f} s old"
    bundle = "Multicall3" if report.has_multicall else "no Multicall3, so JSON-RPC batches"
    detail = f"{head}, answers in {latency_s * 1000:.0f} ms, {bundle}{_describe_page(page)}"
    if page is not None and page.answered < min(page.stored, PAGE_USUAL):
        remedy = "snapshots are slow, or there are none: use a node or a plan that answers larger calls"
        return build_warning(name, f"{detail} ({page.error})", remedy)
    if latency_s > LATENCY_WARN_S:
        return build_warning(name, detail, "it is slow: use a nearer node")
    return build_pass(name, detail)


def _describe_page(page: PageReport | None) -> str:
    if page is None:
        return ""
    return f", answers {page.answered} of {page.stored} positions at once"


async def check_heads(number: int, url: str, chain_id: int) -> Found[None]:
    """They only hasten what is read over NETWORKS."""
    name = name_endpoint("websocket", number, build_host(urlsplit(url)))
    try:
        await fetch_subscription(url, chain_id, TIMING)
    except ChainUnavailable as error:
        detail = f"{error}: new blocks are seen by the poll"
        return Found([build_warning(name, detail, f"check number {number} in NETWORKS_WS")])
    return Found([build_pass(name, "takes a subscription to new blocks")])


async def check_contracts(reader: ChainReader | None) -> Found[ChainReader]:
    """Hands the reader on where everything is there that a snapshot is read from."""
    if reader is None:
        return Found([build_warning("contracts", "not tried: no RPC endpoint can be used", ABOVE)])
    try:
        reports = await reader.fetch_contract_reports()
    except ChainUnavailable as error:
        return Found([build_failure("contracts", str(error), "check DATAREGISTRY, CHAIN_ID and NETWORKS")])
    lines = []
    for report in reports:
        name, remedy = (
            f"contract {report.name}",
            f"check {'USDC' if report.name == 'USDC' else 'DATAREGISTRY'} and CHAIN_ID",
        )
        if report.has_code:
            lines.append(build_pass(name, report.address))
        else:
            lines.append(build_failure(name, f"{report.address} is not a contract on this chain", remedy))
    return Found(lines, reader if all(report.has_code for report in reports) else None)


async def check_snapshot(
    settings: Settings, symbols: Mapping[str, str], reader: ChainReader | None
) -> Found[ChainSnapshot]:
    if reader is None:
        return Found([build_warning("snapshot", "not tried: not every contract is there", ABOVE)])
    try:
        snapshot = await reader.fetch_snapshot()
    except ChainUnavailable as error:
        return Found([build_failure("snapshot", str(error), "check DATAREGISTRY, USDC and NETWORKS")])
    foreign = sum(position.asset.lower() != settings.usdc.lower() for position in snapshot.positions.values())
    detail = (
        f"block {snapshot.block_number}: {len(snapshot.positions)} positions ({foreign} not in USDC),"
        f" {len(snapshot.markets)} markets, vault {format_amount(snapshot.vault, USDC_UNIT)} USDC,"
        f" shield {format_amount(snapshot.shield, USDC_UNIT)} USDC"
    )
    if snapshot.vault == 0:
        line = build_warning("snapshot", f"{detail}: there is nothing to protect", "check USDC")
    else:
        line = build_pass("snapshot", detail)
    return Found([line, *_check_markets(snapshot, symbols)], snapshot)


def _check_markets(snapshot: ChainSnapshot, symbols: Mapping[str, str]) -> list[Line]:
    """Markets that only one side knows."""
    unhedged = sorted(snapshot.markets.keys() - symbols.keys())
    unknown = sorted(symbols.keys() - snapshot.markets.keys())
    detail, remedy = (
        "has no line in markets.toml: watched, never hedged",
        "add one where the exchange has a symbol for it",
    )
    return [
        *(build_warning(name, detail, remedy) for name in unhedged),
        *(build_warning(name, "is not a market on chain", "correct markets.toml") for name in unknown),
    ]


def format_amount(amount: int, unit: int) -> str:
    text = f"{Decimal(amount) / unit:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
