"""The order of the checks, and the parts of the daemon that they borrow.

Opens what it needs, closes it in any case, and turns the outcome into an exit code: 0 when nothing failed, 78 when the
configuration itself cannot be read, else 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from dehedge.adapters.chain.source import ChainReader
from dehedge.check.exchange import check_exchange, get_symbols
from dehedge.check.inputs import check_contracts, check_endpoints, check_markets, check_prices, check_snapshot
from dehedge.check.local import check_journal, check_port, check_settings
from dehedge.check.report import Report, Verdict, build_failure, build_warning
from dehedge.config import Settings, read_configuration
from dehedge.core.model import ChainSnapshot
from dehedge.daemon import SystemClock, build_chain_reader, build_connector, build_price_source
from dehedge.errors import ConfigError
from dehedge.logs import Redactor, configure_logging

EXIT_FAILED = 1
EXIT_CONFIG = 78


async def run_checks(*, use_json: bool) -> int:
    """Check everything and tell of it on standard output; returns the exit code."""
    report = Report(use_json)
    try:
        settings, symbols = read_configuration()
    except ConfigError as error:
        report.add(*(build_failure("configuration", problem) for problem in error.problems))
        report.finish()
        return EXIT_CONFIG
    report.redactor = Redactor(settings.get_secret_texts())
    # The parts' own log would stand between the lines; what matters of it is in them.
    configure_logging(level="CRITICAL", use_json=False, secrets=settings.get_secret_texts())
    await _check_all(report, settings, symbols)
    report.finish()
    return 0 if report.is_passed else EXIT_FAILED


async def _check_all(report: Report, settings: Settings, symbols: Mapping[str, str]) -> None:
    clock = SystemClock()
    report.add(*check_settings(settings, symbols))
    report.add(check_journal(settings, clock), check_port(settings))
    async with AsyncExitStack() as opened:
        await _check_inputs(report, settings, symbols, opened)
    async with AsyncExitStack() as opened:
        await _check_exchange(report, settings, symbols, opened)


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
    report.add(*endpoints)
    if all(line.verdict is Verdict.FAIL for line in endpoints):
        report.add(build_warning("contracts", "not tried: no RPC endpoint can be used"))
        return None
    report.add(await check_contracts(reader))
    snapshot, line = await check_snapshot(reader, settings)
    report.add(line)
    return snapshot


async def _check_exchange(
    report: Report, settings: Settings, symbols: Mapping[str, str], opened: AsyncExitStack
) -> None:
    # The paper connector keeps an account in a file; a check must not make one.
    scratch = opened.enter_context(TemporaryDirectory(prefix="dehedge-check-"))
    elsewhere = settings.model_copy(update={"state_url": f"sqlite:///{Path(scratch) / 'check.db'}"})
    try:
        connector = build_connector(elsewhere, SystemClock())
    except ConfigError as error:
        report.add(*(build_failure("exchange", problem) for problem in error.problems))
        return
    opened.push_async_callback(connector.close)
    report.add(*await check_exchange(connector, settings, get_symbols(symbols)))
