"""What is made of the settings alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from dehedge.config import read_settings
from dehedge.parts import describe_account
from dehedge.surfaces import TradedOn

GIVEN = {"NETWORKS": "http://127.0.0.1:8545", "CONNECTOR": "binance", "BINANCE_API_KEY": "k", "BINANCE_API_SECRET": "s"}


@pytest.mark.parametrize(
    ("variables", "account"),
    [
        ({}, TradedOn("mainnet")),
        ({"BINANCE_ENVIRONMENT": "demo"}, TradedOn("demo")),
        ({"CONNECTOR": "paper", "BINANCE_FUTURES_URL": "http://127.0.0.1:9"}, TradedOn("paper")),
        ({"BINANCE_FUTURES_URL": "https://demo-fapi.binance.com"}, TradedOn("demo", "fstream.binance.com")),
        ({"BINANCE_FUTURES_WS_URL": "wss://user:secret@proxy:1/ws"}, TradedOn("mainnet", "proxy:1")),
        (
            {"BINANCE_FUTURES_URL": "http://user:secret@127.0.0.1:9", "BINANCE_FUTURES_WS_URL": "ws://127.0.0.1:9"},
            TradedOn("custom", "127.0.0.1:9"),
        ),
        ({"BINANCE_FUTURES_URL": "http://proxy:1"}, TradedOn("custom", "proxy:1, fstream.binance.com")),
    ],
)
def test_account_is_named_by_where_orders_go(
    variables: dict[str, str], account: TradedOn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    for name, value in {**GIVEN, **variables}.items():
        monkeypatch.setenv(name, value)

    assert describe_account(read_settings()) == account
