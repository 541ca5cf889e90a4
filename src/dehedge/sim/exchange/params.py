"""Request parameters: parsing the raw query and body, and reading them with the exchange's own complaints.

Owns the strictness of the front door: duplicates, missing, malformed and unwelcome parameters each have their code. Knows
nothing of routes; ``auth`` parses, ``handlers`` read, ``parse_ask`` makes an order of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import cast, get_args
from urllib.parse import parse_qsl

from dehedge.sim.exchange.account import Account
from dehedge.sim.exchange.model import ZERO, Ask, Leg, OrderType, Side, TimeInForce
from dehedge.sim.exchange.refusals import Refused

NUMBER = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
INTEGER = r"^[0-9]{1,20}$"
CONDITIONAL_TYPES = ("STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET")
CLIENT_ID_CHARACTERS_MAX = 36
GOOD_TILL_LEAD_MS = 600_000


class Params:
    """The parameters of one request. Empty values count as not sent."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._pairs = dict(pairs)

    def __contains__(self, name: str) -> bool:
        return bool(self._pairs.get(name))

    def get(self, name: str) -> str | None:
        return self._pairs.get(name) or None

    def require(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise Refused(-1102, name.lower() if name == "timeInForce" else name)
        return value

    def get_integer(self, name: str) -> int | None:
        value = self.get(name)
        if value is not None and not re.match(INTEGER, value):
            raise Refused(-1100, name, INTEGER)
        return None if value is None else int(value)

    def require_integer(self, name: str) -> int:
        self.require(name)
        return self.get_integer(name) or 0

    def require_number(self, name: str) -> Decimal:
        value = self.require(name)
        if not re.match(NUMBER, value):
            raise Refused(-1100, name, NUMBER)
        return Decimal(value)

    def get_flag(self, name: str) -> bool:
        value = self.get(name)
        if value not in (None, "true", "false"):
            raise Refused(-1130, name)
        return value == "true"

    def get_limit(self, default: int, ceiling: int) -> int:
        """The size of a page; out of range is refused."""
        limit = self.get_integer("limit")
        if limit is not None and not 1 <= limit <= ceiling:
            raise Refused(-1130, "limit")
        return limit or default

    def forbid(self, *names: str) -> None:
        """Refuse parameters that do not belong to this order."""
        for name in names:
            if name in self:
                raise Refused(-1106, name.lower())

    def build_shown(self) -> dict[str, str]:
        """What may be written down: everything but the signature and the listen key."""
        return {name: value for name, value in self._pairs.items() if name not in ("signature", "listenKey")}


def parse_pairs(*parts: str) -> Params:
    """Parse the raw query and the raw body together; a name sent twice is refused."""
    pairs: dict[str, str] = {}
    for name, value in _split(parts):
        if name in pairs:
            raise Refused(-1101)
        pairs[name] = value
    return Params(pairs)


def parse_leniently(*parts: str) -> Params:
    """The same for look-ups that must not fail, such as writing the request down."""
    return Params(dict(_split(parts)))


def _split(parts: Iterable[str]) -> list[tuple[str, str]]:
    return [pair for part in parts for pair in parse_qsl(part, keep_blank_values=True)]


def parse_ask(params: Params, account: Account, now_ms: int) -> Ask:
    """Read an order. Raises ``Refused`` for what is missing, malformed, or not for this endpoint."""
    symbol = params.require("symbol")
    order_type = _parse_type(params)
    is_limit = order_type == "LIMIT"
    if not is_limit:
        params.forbid("price", "timeInForce")
    if params.get_flag("closePosition"):
        raise Refused(-4136, order_type)
    return Ask(
        symbol=symbol,
        side=parse_side(params),
        quantity=params.require_number("quantity"),
        order_type=order_type,
        leg=_parse_leg(params),
        price=params.require_number("price") if is_limit else ZERO,
        time_in_force=_parse_time_in_force(params) if is_limit else "GTC",
        reduce_only=_parse_reduce_only(params, account),
        client_id=parse_client_id(params),
        good_till_ms=_parse_good_till(params, now_ms),
    )


def _parse_type(params: Params) -> OrderType:
    order_type = params.require("type")
    if order_type in CONDITIONAL_TYPES:
        raise Refused(-4120)
    if order_type not in get_args(OrderType):
        raise Refused(-1116)
    return cast(OrderType, order_type)


def parse_side(params: Params) -> Side:
    side = params.require("side")
    if side not in get_args(Side):
        raise Refused(-1117)
    return cast(Side, side)


def _parse_leg(params: Params) -> Leg:
    leg = params.get("positionSide") or "BOTH"
    if leg not in get_args(Leg):
        raise Refused(-4060)
    return cast(Leg, leg)


def _parse_time_in_force(params: Params) -> TimeInForce:
    time_in_force = params.require("timeInForce")
    if time_in_force not in get_args(TimeInForce):
        raise Refused(-1115)
    return cast(TimeInForce, time_in_force)


def _parse_reduce_only(params: Params, account: Account) -> bool:
    """In hedge mode the parameter may not be there at all, whatever its value."""
    if account.dual_side:
        params.forbid("reduceOnly")
    return params.get_flag("reduceOnly")


def parse_client_id(params: Params) -> str:
    client_id = params.get("newClientOrderId") or ""
    if len(client_id) > CLIENT_ID_CHARACTERS_MAX:
        raise Refused(-4015)
    return client_id


def _parse_good_till(params: Params, now_ms: int) -> int:
    if params.get("timeInForce") != "GTD":
        return 0
    good_till_ms = params.require_integer("goodTillDate")
    if good_till_ms < now_ms + GOOD_TILL_LEAD_MS:
        raise Refused(-5040)
    return good_till_ms
