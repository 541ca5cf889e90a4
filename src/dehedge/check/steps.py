"""The steps of the check, what each of them needs of the others, and the parts of the daemon that they borrow.

Opens what it needs and closes it in any case; the checks themselves are in the modules beside this one. A further step is a
line in ``check_all`` or in one of the functions that it calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import SecretStr

from dehedge.adapters.chain.source import ChainReader
from dehedge.adapters.chain.transport import build_host
from dehedge.check.account import (
    check_connection,
    check_holdings,
    check_permissions,
    check_standing,
    check_symbol_settings,
)
from dehedge.check.chain import check_contracts, check_endpoint, check_heads, check_snapshot, name_endpoint
from dehedge.check.exchange import Rules, check_exchange, get_symbols
from dehedge.check.foresight import MOVE_PERCENT, World, check_margin, fetch_marks
from dehedge.check.journal import check_journal
from dehedge.check.local import check_disk, check_limits, check_notifications, check_port, check_settings
from dehedge.check.prices import Service, Ticks, check_prices
from dehedge.check.report import Line, Report, build_failure, build_warning
from dehedge.check.run import ABOVE, Fact, FirstOf, Found, Run
from dehedge.config import Settings
from dehedge.core.book import HedgeBook
from dehedge.core.model import ChainSnapshot
from dehedge.errors import ConfigError
from dehedge.parts import SystemClock, build_chain_reader, build_connector, build_policy, build_price_source
from dehedge.ports import Connector

CLOSE_S = 1.0


class Budget(NamedTuple):
    """Until when, in seconds from the beginning, each kind of step is over; the last one bounds the whole."""

    local: float = 6.0
    exchange: float = 7.0
    node: float = 8.0
    contracts: float = 9.0
    connection: float = 10.0
    snapshot: float = 11.0
    account: float = 13.0
    prices: float = 14.0
    margin: float = 16.0


DEFAULT_BUDGET = Budget()


class Check(NamedTuple):
    """What every part of the check works with."""

    run: Run
    settings: Settings
    symbols: Mapping[str, str]
    opened: AsyncExitStack
    budget: Budget


async def check_all(
    report: Report, settings: Settings, symbols: Mapping[str, str], budget: Budget = DEFAULT_BUDGET
) -> None:
    """Add a line for everything there is to check."""
    report.add(*check_settings(settings, symbols), *check_notifications(settings))
    async with AsyncExitStack() as opened, asyncio.TaskGroup() as group:
        check = Check(Run(report, group), settings, symbols, opened, budget)
        book = _start_local(check)
        snapshot = _start_chain(check)
        prices = _start_prices(check, snapshot)
        connector = _open_connector(report, settings, opened)
        if connector is not None:
            _start_account(check, connector, (book, snapshot, prices))


def _start_local(check: Check) -> Fact[HedgeBook]:
    run, settings, until_s = check.run, check.settings, check.budget.local
    path = settings.state_path

    async def read_journal() -> Found[HedgeBook]:
        return await asyncio.to_thread(check_journal, path, SystemClock())

    async def look_around() -> Found[None]:
        return Found([await asyncio.to_thread(check_disk, path.parent), *check_limits()])

    async def try_port() -> Found[None]:
        return Found([await asyncio.to_thread(check_port, settings)])

    book = run.start("journal", until_s, read_journal)
    run.start("disk", until_s, look_around)
    run.start("HTTP port", until_s, try_port)
    return book


def _start_chain(check: Check) -> Fact[ChainSnapshot]:
    run, settings, budget = check.run, check.settings, check.budget
    usable = []
    for number, url in enumerate(settings.rpc_urls, start=1):
        name = name_endpoint("RPC", number, build_host(urlsplit(url)))
        usable.append(run.start(name, budget.node, partial(check_endpoint, _open_reader(check, url), number)))
    for number, url in enumerate(settings.head_urls, start=1):
        name = name_endpoint("websocket", number, build_host(urlsplit(url)))
        run.start(name, budget.node, partial(check_heads, number, url, settings.chain_id))
    deployed = run.start("contracts", budget.contracts, check_contracts, FirstOf(usable))
    return run.start("snapshot", budget.snapshot, partial(check_snapshot, settings, check.symbols), deployed)


def _open_reader(check: Check, url: str) -> ChainReader:
    """Of one endpoint alone, so that one that hangs keeps nothing else waiting."""
    reader = build_chain_reader(check.settings.model_copy(update={"networks": SecretStr(url)}), SystemClock())
    check.opened.push_async_callback(_close, reader.close)
    return reader


def _start_prices(check: Check, snapshot: Fact[ChainSnapshot]) -> Fact[Ticks]:
    clock = SystemClock()
    source = build_price_source(check.settings, clock)
    check.opened.push_async_callback(_close, source.close)
    service = Service(source, clock, has_key=check.settings.pyth_api_key is not None)
    return check.run.start("Pyth", check.budget.prices, partial(check_prices, service, check.symbols), snapshot)


def _start_account(
    check: Check, connector: Connector, inputs: tuple[Fact[HedgeBook], Fact[ChainSnapshot], Fact[Ticks]]
) -> None:
    run, settings, budget = check.run, check.settings, check.budget
    symbols, (book, snapshot, prices) = get_symbols(check.symbols), inputs
    rules = run.start("exchange", budget.exchange, partial(check_exchange, connector, settings, symbols))
    account = run.start("account", budget.connection, partial(check_connection, connector), rules)
    run.start("key permissions", budget.account, check_permissions, account)
    run.start("margin mode", budget.account, check_standing, account)
    for symbol in symbols:
        step = partial(_check_listed_symbol, settings, symbol)
        run.start(f"{symbol} leverage", budget.account, step, account, rules)
    holdings = run.start("balance and positions", budget.account, partial(check_holdings, symbols), account, book)
    margin = partial(_foresee, check, connector)
    run.start(f"margin for a move of {MOVE_PERCENT} %", budget.margin, margin, snapshot, prices, rules, holdings, book)


async def _check_listed_symbol(
    settings: Settings, symbol: str, connector: Connector | None, rules: Rules | None
) -> Found[None]:
    return await check_symbol_settings(settings, symbol, connector) if symbol in (rules or {}) else Found([])


async def _foresee(check: Check, connector: Connector, *known: Any) -> Found[None]:
    """``known`` is what the steps that it waits for have found, and of these only the book may be missing."""
    snapshot, prices, rules, holdings, book = known
    if None in (snapshot, prices, rules, holdings):
        detail = "not tried: it takes a snapshot, prices and the account"
        return Found([build_warning(f"margin for a move of {MOVE_PERCENT} %", detail, ABOVE)])
    marks = await fetch_marks(connector, rules)
    world = World(snapshot, prices, marks, rules, book or HedgeBook(), holdings, SystemClock().time())
    policy = build_policy(check.settings, check.symbols)
    return await asyncio.to_thread(check_margin, world, policy, check.settings)


def _open_connector(report: Report, settings: Settings, opened: AsyncExitStack) -> Connector | None:
    # The paper connector keeps an account in a file; a check must not make one.
    scratch = opened.enter_context(TemporaryDirectory(prefix="dehedge-check-"))
    elsewhere = settings.model_copy(update={"state_url": f"sqlite:///{Path(scratch) / 'check.db'}"})
    try:
        connector = build_connector(elsewhere, SystemClock())
    except ConfigError as error:
        report.add(*_list_failures(error))
        return None
    opened.push_async_callback(_close, connector.close)
    return connector


def _list_failures(error: ConfigError) -> list[Line]:
    return [build_failure("exchange", problem) for problem in error.problems]


async def _close(close: Callable[[], Awaitable[None]]) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(close(), CLOSE_S)
