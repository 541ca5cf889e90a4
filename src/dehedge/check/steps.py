"""The order of the checks, and the parts of the daemon that they borrow.

Opens what it needs and closes it in any case; the checks themselves are in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from dehedge.adapters.chain.source import ChainReader
from dehedge.check.exchange import check_exchange, get_symbols
from dehedge.check.inputs import (
    check_contracts,
    check_endpoints,
    check_heads,
    check_markets,
    check_prices,
    check_snapshot,
)
from dehedge.check.local import check_journal, check_port, check_settings
from dehedge.check.report import Report, Verdict, build_failure, build_warning
from dehedge.config import Settings
from dehedge.core.model import ChainSnapshot
from dehedge.daemon import SystemClock, build_chain_reader, build_connector, build_price_source
from dehedge.errors import ConfigError
from dehedge.ports import Connector


async def check_all(report: Report, settings: Settings, symbols: Mapping[str, str]) -> None:
    """Add a line for everything there is to check."""
    clock = SystemClock()
    report.add(*check_settings(settings, symbols))
    line, book = check_journal(settings, clock)
    report.add(line, check_port(settings))
    async with AsyncExitStack() as opened:
        await _check_inputs(report, settings, symbols, opened)
    async with AsyncExitStack() as opened:
        connector = _open_connector(report, settings, opened)
        if connector is not None:
            report.add(*await check_exchange(connector, settings, get_symbols(symbols), book))


async def _check_inputs(
    report: Report, settings: Settings, symbols: Mapping[str, str], opened: AsyncExitStack
) -> None:
    clock = SystemClock()
    reader = build_chain_reader(settings, clock)
    opened.push_async_callback(reader.close)
    snapshot = await _check_chain(report, settings, reader)
    if snapshot is None:
        report.add(build_warning("Pyth", "not tried: only a snapshot names the feeds"))
        return
    report.add(*check_markets(snapshot, symbols))
    source = build_price_source(settings, clock)
    opened.push_async_callback(source.close)
    has_key = settings.pyth_api_key is not None
    report.add(*await check_prices(source, snapshot, symbols, clock=clock, has_key=has_key))


async def _check_chain(report: Report, settings: Settings, reader: ChainReader) -> ChainSnapshot | None:
    endpoints = await check_endpoints(reader)
    report.add(*endpoints, *await check_heads(settings.head_urls, settings.chain_id))
    if all(line.verdict is Verdict.FAIL for line in endpoints):
        report.add(build_warning("contracts", "not tried: no RPC endpoint can be used"))
        return None
    report.add(await check_contracts(reader))
    snapshot, line = await check_snapshot(reader, settings)
    report.add(line)
    return snapshot


def _open_connector(report: Report, settings: Settings, opened: AsyncExitStack) -> Connector | None:
    # The paper connector keeps an account in a file; a check must not make one.
    scratch = opened.enter_context(TemporaryDirectory(prefix="dehedge-check-"))
    elsewhere = settings.model_copy(update={"state_url": f"sqlite:///{Path(scratch) / 'check.db'}"})
    try:
        connector = build_connector(elsewhere, SystemClock())
    except ConfigError as error:
        report.add(*(build_failure("exchange", problem) for problem in error.problems))
        return None
    opened.push_async_callback(connector.close)
    return connector
