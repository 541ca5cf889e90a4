"""Leverage and margin type of a symbol: set once, and read back.

Changes only what differs, because each change can be refused for good reasons (open orders, a position, multi-assets
mode). A refusal or a mismatch is an ``OrderRejected`` that says why; nothing is ever forced. Called by the connector.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from dehedge.connectors.binance.endpoints import LEVERAGE, MARGIN_TYPE, SYMBOL_CONFIG, Endpoint
from dehedge.connectors.binance.failures import SAME_MARGIN_TYPE
from dehedge.connectors.binance.gateway import Gateway
from dehedge.connectors.binance.payloads import SymbolConfig, parse_symbol_config
from dehedge.errors import OrderRejected, OutcomeUnknown, VenueUnavailable

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SymbolSettings:
    """What every symbol is to be set to."""

    gateway: Gateway
    wanted: SymbolConfig

    async def apply(self, symbol: str) -> None:
        """Bring one symbol to what is wanted. Raises ``OrderRejected`` when it is refused or does not take."""
        found = await self.fetch(symbol)
        if found == self.wanted:
            return
        is_certain = await self._change(symbol, found)
        found = await self.fetch(symbol)
        if found == self.wanted:
            log.info("symbol_prepared", symbol=symbol, leverage=found.leverage, margin_type=found.margin_type)
            return
        raise self._build_mismatch(symbol, found, is_certain=is_certain)

    async def _change(self, symbol: str, found: SymbolConfig) -> bool:
        """Send what differs; True when the exchange confirmed it."""
        is_certain = True
        if found.margin_type != self.wanted.margin_type:
            is_certain &= await self._send(MARGIN_TYPE, symbol, marginType=self.wanted.margin_type)
        if found.leverage != self.wanted.leverage:
            is_certain &= await self._send(LEVERAGE, symbol, leverage=str(self.wanted.leverage))
        return is_certain

    async def _send(self, endpoint: Endpoint, symbol: str, **params: str) -> bool:
        """An unknown outcome is no trouble here: reading back tells."""
        try:
            await self.gateway.send(endpoint, symbol=symbol, **params)
        except OutcomeUnknown:
            return False
        except OrderRejected as error:
            if error.code != SAME_MARGIN_TYPE:
                raise OrderRejected(f"{symbol} cannot be prepared: {error}", code=error.code) from None
        return True

    async def fetch(self, symbol: str) -> SymbolConfig:
        return parse_symbol_config(symbol, await self.gateway.fetch(SYMBOL_CONFIG, symbol=symbol))

    def _build_mismatch(self, symbol: str, found: SymbolConfig, *, is_certain: bool) -> Exception:
        reason = (
            f"{symbol} is at {found.leverage}x {found.margin_type}"
            f" instead of {self.wanted.leverage}x {self.wanted.margin_type}"
        )
        if not is_certain:
            return VenueUnavailable(f"{reason}: the exchange did not confirm the change")
        return OrderRejected(f"{reason} although the exchange accepted the change")
