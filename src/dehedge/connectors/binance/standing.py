"""What can be read of the account beyond trading: its modes, each symbol's settings and tiers, and what the key may do.

Never changes anything, and the daemon does without it. The key's permissions are told by the spot exchange alone, whose
limits and pauses are none of ours: they are asked for through a door of their own. Called by ``dehedge check``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dehedge.connectors.binance.endpoints import ACCOUNT_CONFIG, BRACKETS, RESTRICTIONS, SYMBOL_CONFIG
from dehedge.connectors.binance.gateway import Gateway
from dehedge.connectors.binance.payloads import (
    AccountConfig,
    SymbolConfig,
    parse_account_config,
    parse_symbol_config,
)
from dehedge.connectors.binance.rows import Json, MalformedPayload, Row, build_row, iterate_rows
from dehedge.ports import KeyPermissions, LeverageBracket


class Standing:
    """Reads through the connector's gateway. Everything raises what ``ports.Connector`` says of reads."""

    def __init__(self, gateway: Gateway, open_spot: Callable[[], Gateway | None]) -> None:
        self._gateway = gateway
        self._open_spot = open_spot

    @property
    def clock_offset_s(self) -> float:
        """How far the exchange's clock is ahead of ours, as last measured."""
        return self._gateway.clock.offset_s

    async def fetch_modes(self) -> AccountConfig:
        return parse_account_config(await self._gateway.fetch(ACCOUNT_CONFIG))

    async def fetch_symbol_config(self, symbol: str) -> SymbolConfig:
        """The leverage and margin type that the account has set for a symbol."""
        return parse_symbol_config(symbol, await self._gateway.fetch(SYMBOL_CONFIG, symbol=symbol))

    async def fetch_brackets(self, symbol: str) -> Sequence[LeverageBracket]:
        """The symbol's tiers for this account, highest leverage first."""
        return parse_brackets(symbol, await self._gateway.fetch(BRACKETS, symbol=symbol))

    async def fetch_permissions(self) -> KeyPermissions | None:
        """None where the exchange does not tell, as on its demo."""
        spot = self._open_spot()
        if spot is None:
            return None
        spot.clock = self._gateway.clock
        try:
            return parse_permissions(await spot.fetch(RESTRICTIONS))
        finally:
            await spot.close()


def parse_permissions(payload: Json) -> KeyPermissions:
    row = build_row("apiRestrictions", payload)
    return KeyPermissions(
        may_withdraw=row.get_flag("enableWithdrawals"),
        may_trade_futures=row.get_flag("enableFutures"),
        is_bound_to_addresses=row.get_flag("ipRestrict"),
    )


def parse_brackets(symbol: str, payload: Json) -> list[LeverageBracket]:
    """The exchange documents a list, and an object where a symbol is asked for."""
    rows = (
        [build_row("leverageBracket", payload)]
        if isinstance(payload, dict)
        else iterate_rows("leverageBracket", payload)
    )
    for row in rows:
        if row.get_text("symbol") == symbol:
            brackets = [_parse_bracket(tier) for tier in row.get_rows("brackets")]
            return sorted(brackets, key=lambda bracket: -bracket.leverage_max)
    raise MalformedPayload(f"the exchange sent no leverageBracket of {symbol}")


def _parse_bracket(row: Row) -> LeverageBracket:
    return LeverageBracket(row.get_integer("initialLeverage"), row.get_amount("notionalCap"))
