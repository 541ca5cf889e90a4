"""Builders of ledgers, orders and clients for the tests of the exchange stand-in."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable
from decimal import Decimal
from typing import Any

import pytest
from binance import AsyncClient
from binance.exceptions import BinanceAPIException
from websockets.asyncio.client import ClientConnection

from dehedge.sim.exchange import DEFAULT_MARKS, Ask, Ledger, SimExchange
from dehedge.sim.exchange.account import Account
from dehedge.sim.exchange.market import Market

START_S = 1_789_478_305.0
BEHIND_S = 7.0
DEADLINE_S = 10


class FrozenClock:
    """Wall time that moves only when told to."""

    def __init__(self, now_s: float = START_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


def a_ledger(**account: object) -> Ledger:
    markets = {rules.symbol: Market(rules, mark) for rules, mark in DEFAULT_MARKS.items()}
    clock = FrozenClock()
    return Ledger(markets, Account(**account), lambda: int(clock() * 1000), random.Random(1))  # type: ignore[arg-type]


def an_ask(side: str, quantity: str, **others: object) -> Ask:
    return Ask("BTCUSDT", side, Decimal(quantity), **others)  # type: ignore[arg-type]


def a_limit(side: str, quantity: str, price: str, **others: object) -> Ask:
    return an_ask(side, quantity, order_type="LIMIT", price=Decimal(price), **others)


def set_client_clock(client: AsyncClient, clock: FrozenClock) -> None:
    """Let the client's timestamps run a little behind a frozen exchange, so that real time passing does no harm."""
    client.timestamp_offset = int((clock.now_s - BEHIND_S - time.time()) * 1000)


def a_client(exchange: SimExchange, secret: str | None = None, key: str | None = None) -> AsyncClient:
    chosen = exchange.settings
    client = AsyncClient(key or chosen.api_key, secret or chosen.api_secret)
    client.FUTURES_URL = f"{exchange.url}/fapi"
    client.API_URL = f"{exchange.url}/api"
    return client


def market_order(side: str = "BUY", quantity: str = "0.010", **others: str) -> dict[str, str]:
    return {"symbol": "BTCUSDT", "side": side, "type": "MARKET", "quantity": quantity, **others}


def limit_order(side: str, quantity: str, price: str, **others: str) -> dict[str, str]:
    wanted = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "quantity": quantity, "price": price}
    return {**wanted, "timeInForce": "GTC", **others}


async def refusal_of(call: Awaitable[object]) -> BinanceAPIException:
    with pytest.raises(BinanceAPIException) as caught:
        await call
    return caught.value


async def receive(socket: ClientConnection, count: int = 1) -> list[Any]:
    async with asyncio.timeout(DEADLINE_S):
        return [json.loads(await socket.recv()) for _ in range(count)]


async def check_silent(socket: ClientConnection) -> None:
    """An acknowledged frame comes back behind whatever was sent before it: nothing was."""
    await socket.send('{"method":"LIST_SUBSCRIPTIONS","id":99}')
    (message,) = await receive(socket)
    assert message["id"] == 99
