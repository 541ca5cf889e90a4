"""What ``dehedge init`` reads: the markets of the chain, and the symbols of the exchange's public side.

Through the daemon's own readers, without a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dehedge.config import Settings
from dehedge.connectors.binance import BinanceMarketData
from dehedge.core.model import TradingRules
from dehedge.logs import configure_logging
from dehedge.parts import SystemClock, build_chain_reader


async def fetch_markets(settings: Settings) -> Sequence[str]:
    """The names of all markets. Raises ``ChainUnavailable``."""
    # The parts' own log would stand between the questions.
    configure_logging(level="CRITICAL", use_json=False, secrets=settings.get_secret_texts())
    reader = build_chain_reader(settings, SystemClock())
    try:
        return list(await reader.fetch_markets())
    finally:
        await reader.close()


async def fetch_symbols(settings: Settings) -> Mapping[str, TradingRules]:
    """The trading rules by symbol. Raises ``ConnectorError``."""
    public = BinanceMarketData(rest_url=settings.binance_rest, ws_url=settings.binance_ws, clock=SystemClock())
    try:
        return await public.fetch_trading_rules()
    finally:
        await public.close()
