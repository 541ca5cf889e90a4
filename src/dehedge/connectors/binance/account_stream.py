"""The account's own events: orders of anybody on the account, and everything that calls for another look at it.

Owns the listen key: asks for it before each connection, extends it every half hour, and replaces it when the exchange
has lost it. The key never leaves this module but in the address. Events may be late, repeated or missing, so each new
connection asks for a fresh look. Called by the connector.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn
from urllib.parse import quote

import structlog

from dehedge.connectors.binance.endpoints import EXTEND_KEY, OPEN_KEY
from dehedge.connectors.binance.events import Notice, parse_account_event
from dehedge.connectors.binance.failures import NO_SUCH_KEY, RequestRefused
from dehedge.connectors.binance.gateway import Gateway
from dehedge.connectors.binance.rows import MalformedPayload, Row
from dehedge.connectors.binance.streams import Stream
from dehedge.connectors.binance.timing import Timing
from dehedge.core.orders import ID_PREFIX
from dehedge.errors import ConnectorError
from dehedge.ports import AccountSink, VenueOrder

log = structlog.get_logger()

LISTEN_KEY = re.compile(r"[!-~]{1,256}")


class AccountStream:
    """Implements ``StreamOwner`` for the private socket, and tells a sink what it brings."""

    def __init__(self, gateway: Gateway, ws_url: str, timing: Timing) -> None:
        self.stream = Stream("account", timing.account_stream, self)
        self.on_settings: Callable[[], None] = _ignore
        self._gateway = gateway
        self._ws_url = ws_url.rstrip("/")
        self._timing = timing
        self._key = ""
        self._expected: dict[str, float] = {}
        self._sink: AccountSink | None = None

    async def run(self, sink: AccountSink) -> None:
        """Tell the sink of every event until canceled."""
        self._sink = sink
        async with asyncio.TaskGroup() as group:
            group.create_task(self.stream.run())
            group.create_task(self._extend_key())
            group.create_task(self._watch_expected())

    @contextmanager
    def expecting(self, client_order_id: str) -> Iterator[None]:
        """Expect the event of an order that is placed inside, unless placing it fails.

        The event may come before the reply. When it does not come at all, the stream is connected to nothing.
        """
        if self.stream.is_live:
            self._expected[client_order_id] = asyncio.get_running_loop().time()
        try:
            yield
        except BaseException:
            self._expected.pop(client_order_id, None)
            raise

    async def build_url(self) -> str:
        """The routed address under the key in force; the exchange gives the same key again while it lives.

        No list of wanted events: with one, the notice that the key expired would have to be on it.
        """
        key = await self._gateway.fetch(OPEN_KEY)
        if not isinstance(key, str) or not LISTEN_KEY.fullmatch(key):
            raise MalformedPayload("the exchange sent no listen key")
        self._key = key
        return f"{self._ws_url}/private/ws?listenKey={quote(key, safe='')}"

    def on_open(self) -> None:
        """Whatever happened while nobody listened is found by looking."""
        self._expected.clear()
        self.on_settings()
        self._get_sink().on_account_changed()

    def on_event(self, event: Row) -> None:
        match parse_account_event(event):
            case VenueOrder() as order:
                self._tell_order(order)
            case Notice.KEY_EXPIRED:
                self.stream.renew()
            case Notice.SETTINGS_CHANGED:
                self.on_settings()
                self._get_sink().on_account_changed()
            case Notice.ACCOUNT_CHANGED:
                self._get_sink().on_account_changed()

    def _tell_order(self, order: VenueOrder) -> None:
        """A fill that is not of an order of ours (a person's, a liquidation's) moves a position under us."""
        sink = self._get_sink()
        self._expected.pop(order.report.client_order_id, None)
        sink.on_order(order)
        if order.report.filled_quantity and not order.report.client_order_id.startswith(ID_PREFIX):
            sink.on_account_changed()

    async def _watch_expected(self) -> NoReturn:
        """Renew a stream that stands, answers pings and told nothing of an order that the exchange confirmed."""
        while True:
            await asyncio.sleep(self._timing.expect_s / 2)
            before = asyncio.get_running_loop().time() - self._timing.expect_s
            if any(expected_at <= before for expected_at in self._expected.values()):
                log.warning("account_stream_silent", orders=len(self._expected))
                self._expected.clear()
                self.stream.renew()

    async def _extend_key(self) -> NoReturn:
        delay_s = self._timing.extend_s
        while True:
            await asyncio.sleep(delay_s)
            delay_s = await self._try_extend()

    async def _try_extend(self) -> float:
        """Extend the key in use; returns when to do it again, in seconds."""
        if not self.stream.is_live:
            return self._timing.extend_again_s
        try:
            await self._gateway.fetch(EXTEND_KEY, listenKey=self._key)
        except RequestRefused as error:
            if error.code == NO_SUCH_KEY:
                self.stream.renew()
            return self._timing.extend_again_s
        except ConnectorError as error:
            log.warning("listen_key_extension_failed", reason=str(error))
            return self._timing.extend_again_s
        return self._timing.extend_s

    def _get_sink(self) -> AccountSink:
        assert self._sink is not None, "the stream runs only with a sink"
        return self._sink


def _ignore() -> None: ...
