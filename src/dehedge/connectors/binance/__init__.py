"""Binance USD-M futures.

``BinanceConnector`` is the account, ``BinanceMarketData`` the public data without one. Nothing outside this package
knows python-binance, aiohttp or the exchange's payloads.
"""

from dehedge.connectors.binance.connector import BinanceConnector
from dehedge.connectors.binance.market_data import BinanceMarketData

__all__ = ["BinanceConnector", "BinanceMarketData"]
