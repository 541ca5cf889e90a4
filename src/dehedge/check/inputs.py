"""The daemon's inputs as they are now: every RPC endpoint, the contracts, a whole snapshot, a price for every market.

Uses the very readers of the daemon. Each part is tried even where one before it failed, as far as it can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from urllib.parse import urlsplit

from dehedge.adapters.chain.heads import fetch_subscription
from dehedge.adapters.chain.report import EndpointReport
from dehedge.adapters.chain.source import ChainReader
from dehedge.adapters.chain.transport import build_host
from dehedge.adapters.pyth import PythSource
from dehedge.adapters.pyth.client import KeyRefused
from dehedge.check.report import Line, build_failure, build_pass, build_warning
from dehedge.config import Settings
from dehedge.core.model import ChainSnapshot, PriceTick
from dehedge.errors import ChainUnavailable, PriceUnavailable
from dehedge.ports import Clock

USDC_UNIT = 10**6
PRICE_UNIT = 10**18


async def check_endpoints(reader: ChainReader) -> list[Line]:
    reports = await reader.fetch_endpoint_reports()
    return [_check_endpoint(number, report) for number, report in enumerate(reports, start=1)]


def _check_endpoint(number: int, report: EndpointReport) -> Line:
    what = f"RPC {number} ({report.host})"
    if report.error is not None:
        return build_failure(what, report.error, f"check number {number} in NETWORKS")
    head = f"chain {report.chain_id}, head {report.head_number} is {report.head_age_s or 0:.1f} s old"
    bundle = "Multicall3" if report.has_multicall else "no Multicall3, so JSON-RPC batches"
    return build_pass(what, f"{head}, answers in {(report.latency_s or 0) * 1000:.0f} ms, {bundle}")


async def check_heads(urls: Sequence[str], chain_id: int) -> list[Line]:
    return [await _check_heads(number, url, chain_id) for number, url in enumerate(urls, start=1)]


async def _check_heads(number: int, url: str, chain_id: int) -> Line:
    """They only hasten what is read over NETWORKS."""
    what = f"websocket {number} ({build_host(urlsplit(url))})"
    try:
        await fetch_subscription(url, chain_id)
    except ChainUnavailable as error:
        return build_warning(what, f"{error}: new blocks are seen by the poll", f"check number {number} in NETWORKS_WS")
    return build_pass(what, "tells of new blocks")


async def check_contracts(reader: ChainReader) -> Line:
    try:
        contracts = await reader.fetch_contracts()
    except ChainUnavailable as error:
        return build_failure("contracts", str(error), "check DATAREGISTRY, CHAIN_ID and NETWORKS")
    return build_pass("contracts", ", ".join(f"{name} {address}" for name, address in contracts._asdict().items()))


async def check_snapshot(reader: ChainReader, settings: Settings) -> tuple[ChainSnapshot | None, Line]:
    try:
        snapshot = await reader.fetch_snapshot()
    except ChainUnavailable as error:
        return None, build_failure("snapshot", str(error), "check DATAREGISTRY, USDC and NETWORKS")
    foreign = sum(position.asset.lower() != settings.usdc.lower() for position in snapshot.positions.values())
    detail = (
        f"block {snapshot.block_number}: {len(snapshot.positions)} positions ({foreign} not in USDC),"
        f" {len(snapshot.markets)} markets, vault {_format(snapshot.vault, USDC_UNIT)} USDC,"
        f" shield {_format(snapshot.shield, USDC_UNIT)} USDC"
    )
    if snapshot.vault == 0:
        return snapshot, build_warning("snapshot", f"{detail}: there is nothing to protect", "check USDC")
    return snapshot, build_pass("snapshot", detail)


def check_markets(snapshot: ChainSnapshot, symbols: Mapping[str, str]) -> list[Line]:
    """Markets that only one side knows."""
    unhedged = sorted(snapshot.markets.keys() - symbols.keys())
    unknown = sorted(symbols.keys() - snapshot.markets.keys())
    return [
        *(build_warning(name, "has no line in markets.toml: watched, never hedged") for name in unhedged),
        *(build_warning(name, "is not a market on chain", "correct markets.toml") for name in unknown),
    ]


async def check_prices(
    source: PythSource, snapshot: ChainSnapshot, symbols: Mapping[str, str], *, clock: Clock, has_key: bool
) -> list[Line]:
    source.watch(snapshot.markets)
    try:
        outcomes = await source.fetch_latest()
    except KeyRefused as error:
        return [build_failure("Pyth", str(error))]
    except PriceUnavailable as error:
        return [build_failure("Pyth", str(error), "check PYTH_PRICE_SERVICE and the network")]
    return [
        build_pass("Pyth", "accepts PYTH_API_KEY" if has_key else "answers without a key"),
        *(_check_price(name, outcomes.get(name), clock, is_hedged=name in symbols) for name in sorted(snapshot.markets)),
    ]


def _check_price(name: str, outcome: PriceTick | PriceUnavailable | None, clock: Clock, *, is_hedged: bool) -> Line:
    what = f"price of {name}"
    if isinstance(outcome, PriceTick):
        age_s = clock.time() - outcome.publish_time
        return build_pass(what, f"{_format(outcome.price, PRICE_UNIT)}, {age_s:.0f} s old")
    detail = "the market names no Pyth feed" if outcome is None else str(outcome)
    if is_hedged:
        return build_failure(what, detail, "the market cannot be hedged meanwhile: see the state of its feed at Pyth")
    return build_warning(what, detail)


def _format(amount: int, unit: int) -> str:
    text = f"{Decimal(amount) / unit:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
