"""Which symbol is taken for which market, and what is left to a person."""

from __future__ import annotations

from decimal import Decimal

import pytest

from dehedge.core.model import TradingRules
from dehedge.setup.matching import Match, match_markets


def build_rules(*names: str) -> dict[str, TradingRules]:
    """``BTCUSDT``, or ``!BTCUSDT`` for one that is not open for trading."""
    rules = {}
    for name in names:
        symbol = name.removeprefix("!")
        asset = next(asset for asset in ("USDT", "USDC", "FDUSD") if symbol.endswith(asset))
        one = Decimal(1)
        rules[symbol] = TradingRules(symbol, one, one, one, one, one, is_trading=name == symbol, margin_asset=asset)
    return rules


@pytest.mark.parametrize(
    ("market", "listed", "symbol", "reason"),
    [
        ("BTC-USD", ["BTCUSDT", "ETHUSDT"], "BTCUSDT", ""),
        ("btc-usd", ["BTCUSDT"], "BTCUSDT", ""),
        ("BTC-USD", ["BTCUSDC", "BTCUSDT"], "BTCUSDT", ""),
        ("BTC-USD", ["BTCUSDC"], "BTCUSDC", ""),
        ("BTC-USD", ["BTCUSDC", "!BTCUSDT"], "BTCUSDC", ""),
        ("BTC-USD", ["BTCUSDC", "BTCFDUSD"], "", "ambiguous: BTCFDUSD, BTCUSDC"),
        ("BTC-USD", ["!BTCUSDT"], "", "BTCUSDT is not open for trading"),
        ("SHIB-USD", ["1000SHIBUSDT"], "", "1000SHIBUSDT is 1000 SHIB in one, so its quantities are others"),
        ("BABYDOGE-USD", ["1MBABYDOGEUSDT"], "", "1MBABYDOGEUSDT is 1M BABYDOGE in one, so its quantities are others"),
        ("BTC-USD", ["ETHUSDT", "BTCDOMUSDT"], "", "the exchange lists no perpetual of BTC"),
        ("ETH-BTC", ["ETHUSDT"], "", "it is not a price in dollars"),
        ("BTCUSD", ["BTCUSDT"], "", "it is not a price in dollars"),
        ("-USD", ["USDTUSDT"], "", "it is not a price in dollars"),
        ("ВTC-USD", ["ВTCUSDT"], "", "it is not a price in dollars"),
        ("B\nC-USD", ["BTCUSDT"], "", "it is not a price in dollars"),
    ],
)
def test_market_is_matched_only_when_nothing_else_can_be_meant(market: str, listed: list[str], symbol: str, reason: str):
    assert match_markets([market], build_rules(*listed)) == [Match(market, symbol, reason)]


def test_markets_are_matched_in_the_order_of_their_names():
    matches = match_markets(["ETH-USD", "BTC-USD"], build_rules("ETHUSDT", "BTCUSDT"))

    assert [(match.market, match.symbol) for match in matches] == [("BTC-USD", "BTCUSDT"), ("ETH-USD", "ETHUSDT")]
