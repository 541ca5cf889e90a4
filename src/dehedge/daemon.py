"""Composition root and lifecycle: build the parts from the settings, start them in order, run, and stop in order.

The only place that knows every part. Start: journal and replay, HTTP, inputs, exchange, recovery, passes. Stop: not
ready, finish the pass in hand and the orders being sent, close; hedges stay open, for a restart must not unwind
protection. Any task that fails ends the process loudly; the supervisor restarts it, and recovery takes over.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from decimal import Decimal

import structlog

from dehedge import __version__, metrics
from dehedge.account import AccountWatch
from dehedge.adapters import systemd
from dehedge.adapters.chain.heads import HeadWatch
from dehedge.adapters.journal import SqliteJournal
from dehedge.adapters.journal_reader import JournalReader
from dehedge.adapters.web import Dashboard, WebServer
from dehedge.alarm import Alarm
from dehedge.auditor import Auditor
from dehedge.bookkeeper import Bookkeeper
from dehedge.config import Settings
from dehedge.core.hedging import get_price
from dehedge.executor import Executor
from dehedge.feed import PriceFeed
from dehedge.guardian import Guardian
from dehedge.guards import Guards
from dehedge.history import HistoryView
from dehedge.ledger import Ledger
from dehedge.notices import Notices
from dehedge.outward import build_heartbeat, build_outbox, describe_failure, note_start
from dehedge.overview import Overview
from dehedge.parts import (
    SystemClock,
    build_chain_reader,
    build_connector,
    build_policy,
    build_price_source,
    build_recorder,
    describe_account,
)
from dehedge.ports import Clock, Connector, VenueOrder
from dehedge.reconciler import Reconciler
from dehedge.records import Records
from dehedge.recovery import recover, replay
from dehedge.settlement import Settlement
from dehedge.snapshots import SnapshotFeed
from dehedge.status import StatusView
from dehedge.venue import Venue

log = structlog.get_logger()

SHUTDOWN_S = 5.0
"""How long orders being sent may take to come to their end after SIGTERM."""
FLUSH_S = 3.0
"""How long the last message may take, once everything else has ended."""
SUPERVISE_INTERVAL_S = 1.0


class AccountEvents:
    """Implements ``ports.AccountSink``: hands the account's events to whoever looks after them."""

    def __init__(self, executor: Executor, auditor: Auditor) -> None:
        self._executor = executor
        self._auditor = auditor

    def on_order(self, order: VenueOrder) -> None:
        self._auditor.writers.note([order])
        if self._auditor.writers.check_ours(order):
            self._executor.note_order(order)
        elif order.report.filled_quantity:
            self._auditor.request()

    def on_marks(self) -> None:
        """Marks are read when something is sized; a new one decides nothing."""

    def on_account_changed(self) -> None:
        self._auditor.request()


class Daemon:
    """Every part of one running daemon."""

    def __init__(self, settings: Settings, symbols: Mapping[str, str], clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._alarm = Alarm()
        self._stopped = asyncio.Event()
        self._policy = build_policy(settings, symbols)
        self._guardian = Guardian(get_rules=lambda: self._venue.rules, wake=self._alarm.note_change)
        self._prices = PriceFeed(self._alarm.note_price)
        self._connector = self._build_connector(symbols)
        self._chain = build_chain_reader(settings, self._clock)
        self._price_source = build_price_source(settings, self._clock)
        self._journal = SqliteJournal(settings.state_path)
        self._outbox = build_outbox(settings)
        self._build_engine()

    def _build_connector(self, symbols: Mapping[str, str]) -> Connector:
        by_symbol = {symbol: market for market, symbol in symbols.items()}

        def get_pyth_price(symbol: str) -> Decimal | None:
            tick = self._prices.latest.get(by_symbol.get(symbol, ""))
            return get_price(tick.price) if tick is not None else None

        return build_connector(self._settings, self._clock, get_pyth_price, self._guardian.note)

    def _build_engine(self) -> None:
        clock, alarm, records = self._clock, self._alarm, Records()
        self._venue = venue = Venue(self._connector, self._policy.symbols, clock)
        book = replay(self._journal, clock, records)
        self._ledger = ledger = Ledger(
            self._journal, book, clock, self._guardian, records=records,
            tell=lambda change: self._notices.note_change(change),  # noqa: PLW0108  (there are none yet)
        )  # fmt: skip
        self._snapshots = SnapshotFeed(
            self._on_snapshot, ledger=ledger, clock=clock, policy=self._policy,
            get_prices=lambda: self._prices.latest,
        )
        settlement = Settlement(ledger)
        self._auditor = auditor = Auditor(
            ledger=ledger, connector=self._connector, settlement=settlement, clock=clock,
            get_symbols=lambda: venue.tradable,
        )  # fmt: skip
        self._executor = executor = Executor(
            ledger=ledger, connector=self._connector, auditor=auditor, settlement=settlement, clock=clock,
            wake=alarm.note_change,
        )
        self._bookkeeper = Bookkeeper(
            ledger=ledger, connector=self._connector, clock=clock, check_busy=executor.check_trading
        )
        limits = self._settings.guard_limits
        self._account = account = AccountWatch(limits=limits, ledger=ledger, connector=self._connector, clock=clock)
        self._recorder = build_recorder(self._settings)
        self._reconciler = Reconciler(
            policy=self._policy, snapshots=self._snapshots, prices=self._prices, venue=venue, ledger=ledger,
            auditor=auditor, executor=executor, clock=clock, alarm=alarm,
            guards=Guards(limits=limits, policy=self._policy, ledger=ledger, account=account), recorder=self._recorder,
        )  # fmt: skip
        self._status = StatusView(
            policy=self._policy, snapshots=self._snapshots, prices=self._prices, venue=venue, ledger=ledger,
            auditor=auditor, executor=executor, reconciler=self._reconciler, clock=clock,
            connector_name=self._settings.connector, account=describe_account(self._settings),
        )  # fmt: skip
        self._notices = Notices(
            self._outbox, ledger=ledger, auditor=auditor, venue=venue, account=account, clock=clock,
            not_ready_s=self._settings.notify_after_seconds,
        )  # fmt: skip
        self._overview = Overview(
            status=self._status, policy=self._policy, snapshots=self._snapshots, prices=self._prices, venue=venue,
            ledger=ledger, reconciler=self._reconciler, clock=clock,
        )  # fmt: skip
        self._web = self._build_web()

    def _build_web(self) -> WebServer:
        settings = self._settings
        account = describe_account(settings)
        dashboard = Dashboard(self._status, self._overview, clock=self._clock, account=account)
        token = settings.http_token.get_secret_value() if settings.http_token is not None else None
        return WebServer(
            self._status, registry=metrics.REGISTRY, hosts=settings.http_hosts, token=token, dashboard=dashboard,
            history=HistoryView(JournalReader(settings.state_path)),
        )  # fmt: skip

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT. Raises what ends the process otherwise, in an ExceptionGroup."""
        self._outbox.start()
        again = note_start(self._settings)
        failure: BaseException | None = None
        try:
            await self._run(again)
        except BaseException as error:
            failure = error
            raise
        finally:
            if failure is None or again is not None:
                self._notices.tell_end(describe_failure(failure))
            await self._outbox.close(FLUSH_S)

    async def _run(self, again: str | None) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopped.set)
        log.info("daemon_started", version=__version__, connector=self._settings.connector)
        try:
            await self._web.start(self._settings.http_host, self._settings.http_port)
            if again is not None:
                self._notices.tell_start(self._settings.connector, again)
            async with asyncio.TaskGroup() as tasks:
                work = tasks.create_task(self._work())
                tasks.create_task(self._supervise())
                heartbeat = build_heartbeat(self._settings, self._status.check_passing)
                if heartbeat is not None:
                    tasks.create_task(heartbeat.run(), name="heartbeat")
                tasks.create_task(self._overview.run(), name="overview")
                await self._stopped.wait()
                await self._shut_down(work)
                raise _Stopped
        except* _Stopped:
            log.info("daemon_stopped")
        finally:
            await self._close()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self._snapshots.run(self._chain, interval_s=self._settings.poll_interval_seconds), name="chain"
            )
            if self._settings.head_urls:
                tasks.create_task(self._build_heads().run(), name="heads")
            tasks.create_task(self._price_source.run(self._prices), name="prices")
            tasks.create_task(self._executor.run(), name="executor")
            await self._venue.connect()
            events = AccountEvents(self._executor, self._auditor)
            tasks.create_task(self._connector.run(events), name="connector")
            tasks.create_task(self._account.run(self._alarm.note_change), name="account")
            await recover(self._executor, self._auditor)
            self._status.is_recovered = True
            tasks.create_task(self._auditor.run(), name="auditor")
            tasks.create_task(self._venue.run(), name="venue")
            tasks.create_task(self._venue.run_marks(self._alarm.note_change), name="marks")
            tasks.create_task(self._bookkeeper.run(), name="bookkeeper")
            await self._reconciler.run()

    def _build_heads(self) -> HeadWatch:
        def get_address() -> str | None:
            contracts = self._chain.contracts
            return contracts.positions if contracts is not None else None

        settings = self._settings
        return HeadWatch(
            settings.head_urls, chain_id=settings.chain_id, get_address=get_address, on_block=self._snapshots.hint
        )

    async def _supervise(self) -> None:
        """Tell the supervisor and the log how we are."""
        was_ready = None
        while True:
            obstacles = self._status.find_obstacles()
            self._notices.look(obstacles)
            if self._status.check_alive():
                systemd.notify("WATCHDOG=1")
            if was_ready is not (not obstacles):
                was_ready = not obstacles
                _log_readiness(obstacles)
                systemd.notify("READY=1\nSTATUS=hedging" if was_ready else f"STATUS={'; '.join(obstacles)}")
            await asyncio.sleep(SUPERVISE_INTERVAL_S)

    async def _shut_down(self, work: asyncio.Task[None]) -> None:
        systemd.notify("STOPPING=1")
        log.info("daemon_stopping")
        self._reconciler.stop()
        await self._executor.finish(SHUTDOWN_S)
        await self._ledger.drain()
        work.cancel()

    async def _close(self) -> None:
        await self._web.close()
        await self._connector.close()
        await self._price_source.close()
        await self._chain.close()
        await self._ledger.drain()
        self._journal.close()
        if self._recorder is not None:
            self._recorder.close()

    def _on_snapshot(self) -> None:
        snapshot = self._snapshots.latest
        if snapshot is not None:
            self._price_source.watch(snapshot.markets)
        self._alarm.note_change()


class _Stopped(Exception):
    """Leaves the task group on purpose."""


def _log_readiness(obstacles: Sequence[str]) -> None:
    if obstacles:
        log.warning("readiness_lost", reasons=list(obstacles))
    else:
        log.info("readiness_gained")
