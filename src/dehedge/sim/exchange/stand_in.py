"""``SimExchange``: a strict local Binance USD-M futures exchange, with its controls.

Puts the parts together (ledger, API, streams, server) and offers what a test, the demo or a simulation does to an exchange:
move prices, trade as the account's owner, liquidate, pay funding, delist, break things, and read what happened. Every
control is one synchronous step after which the streams have been told. Nothing of the daemon imports this.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Self

from dehedge.sim.exchange import forced, settings
from dehedge.sim.exchange.account import Account, Key
from dehedge.sim.exchange.api import Api
from dehedge.sim.exchange.auth import ApiKey, ListenKeys
from dehedge.sim.exchange.calls import Venue
from dehedge.sim.exchange.faults import FaultPlan
from dehedge.sim.exchange.ledger import Ledger
from dehedge.sim.exchange.limits import Limits, LimitSettings
from dehedge.sim.exchange.market import Level, Market
from dehedge.sim.exchange.market_payloads import (
    build_book_event,
    build_depth_event,
    build_mark_event,
    build_trade_event,
)
from dehedge.sim.exchange.model import ZERO, Ask, Leg, Order, PublicTradeEvent
from dehedge.sim.exchange.record import RequestRecord
from dehedge.sim.exchange.server import HOST, Server
from dehedge.sim.exchange.streams import Streams
from dehedge.sim.exchange.symbols import DEFAULT_MARKS, SymbolRules
from dehedge.sim.exchange.user_events import build_listen_key_expired, build_user_event

BEATS_PER_SLOW_MARK = 3
DEPTHS = (5, 10, 20)
DEPTH_SPEEDS = ("", "@100ms", "@500ms")


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """How the exchange and its one account start out. Balance in USDT."""

    marks: Mapping[SymbolRules, Decimal] = field(default_factory=lambda: dict(DEFAULT_MARKS))
    balance: Decimal = Decimal(100000)
    dual_side: bool = False
    multi_assets: bool = False
    api_key: str = "sim-api-key"
    api_secret: str = field(default="sim-api-secret", repr=False)
    limits: LimitSettings = field(default_factory=LimitSettings)
    maker_rate: Decimal = Decimal("0.000200")
    taker_rate: Decimal = Decimal("0.000500")
    liquidates: bool = True
    beat_s: float = 1.0


class SimExchange:
    """The exchange. ``faults``, ``streams``, ``ledger`` and ``api.record`` are meant to be used directly."""

    def __init__(
        self,
        chosen: ExchangeSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        port: int = 0,
    ) -> None:
        self.settings = chosen or ExchangeSettings()
        self._clock, self._rng = clock, rng or random.Random(0)
        self.ledger = self._build_ledger()
        self.api = Api(self._build_venue(), self.get_now_ms)
        self.faults = FaultPlan()
        self.streams = Streams(self.api.charge_handshake, lambda: self.api.venue.listen_keys.current)
        self._server = Server(self.api, self.faults, self.streams, self.pump)
        self._server.port = port
        self._margin_watch = forced.MarginWatch(self.ledger)
        self._trades = 3_450_415_492
        self._stirred = asyncio.Event()

    def _build_ledger(self) -> Ledger:
        chosen = self.settings
        account = Account(
            opening_balance=chosen.balance,
            maker_rate=chosen.maker_rate,
            taker_rate=chosen.taker_rate,
            dual_side=chosen.dual_side,
            multi_assets=chosen.multi_assets,
        )
        markets = {rules.symbol: Market(rules, mark) for rules, mark in chosen.marks.items()}
        return Ledger(markets, account, self.get_now_ms, self._rng)

    def _build_venue(self) -> Venue:
        keys = {self.settings.api_key: ApiKey(self.settings.api_secret)}
        return Venue(self.ledger, Limits(self.settings.limits), keys, ListenKeys(self._rng))

    def get_now_ms(self) -> int:
        return int(self._clock() * 1000)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{HOST}:{self._server.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, and begin to push prices."""
        await self._server.open()
        self._server.spawn(self._beat())

    async def stop(self) -> None:
        await self._server.end()

    async def down(self) -> None:
        """Vanish from the network; the books stay."""
        await self._server.close()

    async def up(self) -> None:
        """Come back on the same port."""
        await self._server.open()

    async def _beat(self) -> None:
        beats = 0
        while True:
            await asyncio.sleep(self.settings.beat_s)
            beats += 1
            self.api.advance(self.get_now_ms())
            self.pump()
            for market in self.ledger.markets.values():
                self._push_prices(market, slow=beats % BEATS_PER_SLOW_MARK == 0)
            self._push_all_marks("!markPrice@arr@1s")

    async def wait_until(self, check: Callable[[], bool]) -> None:
        """Return once the check holds; it is made again after every request, fault and control."""
        while not check():
            self._stirred.clear()
            await self._stirred.wait()

    def pump(self) -> None:
        """Tell the streams what happened since the last time."""
        self._stirred.set()
        for event in self.ledger.take_events():
            if isinstance(event, PublicTradeEvent):
                self._push_trade(event)
            else:
                self.streams.publish_user(build_user_event(self.ledger, event))
        for ended in self.api.venue.listen_keys.take_ended():
            if ended.expired:
                expired = build_listen_key_expired(ended.listen_key, self.get_now_ms())
                self.streams.publish_user(expired, ended.listen_key)
            else:
                self._server.spawn(self.streams.close_key(ended.listen_key))

    def _push_trade(self, event: PublicTradeEvent) -> None:
        self._trades += 1
        rules = self.ledger.markets[event.symbol].rules
        stream = f"{event.symbol.lower()}@aggTrade"
        self.streams.publish(stream, lambda: build_trade_event(rules, event, self._trades))

    def _push_prices(self, market: Market, *, slow: bool = True) -> None:
        name, now_ms, publish = market.rules.symbol.lower(), self.get_now_ms(), self.streams.publish
        publish(f"{name}@markPrice@1s", lambda: build_mark_event(market, now_ms))
        if slow:
            publish(f"{name}@markPrice", lambda: build_mark_event(market, now_ms))
        publish(f"{name}@bookTicker", lambda: build_book_event(market, now_ms))
        publish("!bookTicker", lambda: build_book_event(market, now_ms))
        self._push_depth(market, now_ms)

    def _push_depth(self, market: Market, now_ms: int) -> None:
        name = market.rules.symbol.lower()
        for limit in DEPTHS:
            event = lambda size=limit: build_depth_event(market, size, now_ms)  # noqa: E731
            for speed in DEPTH_SPEEDS:
                self.streams.publish(f"{name}@depth{limit}{speed}", event)

    def _push_all_marks(self, stream: str) -> None:
        now_ms, markets = self.get_now_ms(), self.ledger.markets.values()
        self.streams.publish(stream, lambda: [build_mark_event(market, now_ms) for market in markets])

    def set_mark(self, symbol: str, price: Decimal) -> None:
        """Move a price: resting orders fill, margins are looked at, streams are told at once."""
        self.ledger.set_mark(symbol, price)
        self._margin_watch.run(liquidates=self.settings.liquidates)
        self.pump()
        self._push_prices(self.ledger.markets[symbol])

    def set_book(self, symbol: str, bids: tuple[Level, ...], asks: tuple[Level, ...]) -> None:
        """Lay an explicit book, until the next mark."""
        self.ledger.set_book(symbol, bids, asks)
        self.pump()
        self._push_prices(self.ledger.markets[symbol])

    def get_market(self, symbol: str) -> Market:
        """A symbol's market, whose ``depth`` and ``slippage_bps`` may be set directly."""
        return self.ledger.markets[symbol]

    def set_status(self, symbol: str, status: str) -> None:
        """Change a symbol's trading status: TRADING, BREAK, PRE_SETTLE, SETTLING, CLOSE..."""
        self.ledger.markets[symbol].status = status

    def trade_manually(self, ask: Ask) -> Order:
        """Trade as the account's owner would by hand in the web page."""
        order = self.ledger.place(ask._replace(client_id=ask.client_id or self.ledger.build_client_id("web_")))
        self.pump()
        return order

    def set_leverage(self, symbol: str, leverage: int) -> None:
        settings.set_leverage(self.ledger, symbol, leverage)
        self.pump()

    def set_isolated(self, symbol: str, *, isolated: bool) -> None:
        settings.set_isolated(self.ledger, symbol, isolated=isolated)
        self.pump()

    def set_dual_side(self, *, dual_side: bool) -> None:
        settings.set_dual_side(self.ledger, dual_side=dual_side)
        self.pump()

    def liquidate(self, symbol: str, leg: Leg = "BOTH") -> Order:
        """Close a position as the liquidation engine does."""
        order = forced.liquidate(self.ledger, self.ledger.account.get_position(symbol, leg))
        self.pump()
        return order

    def deleverage(self, symbol: str, quantity: Decimal, leg: Leg = "BOTH") -> Order:
        """Take a part of a position by auto-deleveraging."""
        order = forced.deleverage(self.ledger, self.ledger.account.get_position(symbol, leg), quantity)
        self.pump()
        return order

    def settle(self, symbol: str) -> list[Order]:
        """Delist a symbol and close what is held in it."""
        orders = forced.settle(self.ledger, symbol)
        self.pump()
        return orders

    def pay_funding(self, symbol: str, rate: Decimal) -> None:
        """Exchange funding once at a rate (a fraction)."""
        forced.pay_funding(self.ledger, symbol, rate)
        self._margin_watch.run(liquidates=self.settings.liquidates)
        self.pump()

    def expire_listen_key(self) -> None:
        """End the listen key as if its hour had passed."""
        self.api.venue.listen_keys.end(expired=True)
        self.pump()

    def set_key(self, *, trades: bool = True, withdraws: bool = False, bound: bool = True) -> None:
        """Change what the account's key may do."""
        key = ApiKey(self.settings.api_secret, trades, withdraws=withdraws, bound=bound)
        self.api.venue.keys[self.settings.api_key] = key

    @property
    def requests(self) -> list[RequestRecord]:
        return self.api.record.requests

    @property
    def orders(self) -> list[Order]:
        """Every order ever accepted, in order of arrival, each in its present state."""
        return list(self.ledger.orders.by_id.values())

    def positions(self) -> dict[Key, Decimal]:
        """What is held now, by symbol and leg; signed, flat legs left out."""
        return {(p.symbol, p.leg): p.amount for p in self.ledger.account.get_open_positions()}

    def net(self, symbol: str) -> Decimal:
        return self.ledger.account.get_net(symbol)

    def net_over_time(self, symbol: str) -> list[tuple[int, Decimal]]:
        """The net position after each change, with the time in milliseconds."""
        held: dict[Leg, Decimal] = {}
        history: list[tuple[int, Decimal]] = []
        for point in self.ledger.points:
            if point.symbol == symbol:
                held[point.leg] = point.amount
                history.append((point.at_ms, sum(held.values(), ZERO)))
        return history
