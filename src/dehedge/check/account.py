"""The account as it is now: the key and what it may do, clock, modes, each symbol's settings and tiers, balance, positions.

Reads through the connector that the daemon would use. Never calls what sets something: leverage and margin type are
looked at only, ``run`` sets them. Of an exchange that tells less than the real one, less is looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, runtime_checkable

from dehedge.check.exchange import Rules
from dehedge.check.report import Line, build_failure, build_pass, build_warning
from dehedge.check.run import ABOVE, Found
from dehedge.config import Settings
from dehedge.core.book import HedgeBook
from dehedge.core.model import Leg
from dehedge.errors import AuthenticationFailed, ConfigError, ConnectorError
from dehedge.ports import Balance, Connector, KeyPermissions, LeverageBracket, VenuePosition

CLOCK_OFFSET_WARN_S = 1.0
"""The daemon corrects any offset; one as large as this says that the machine's clock is not synchronized."""

FOREIGN_REMEDY = (
    "it is never traded, and what is at risk is hedged beside it; if it is of another daemon or of a journal that was lost,"
    " do not start a second one"
)
KEY_REMEDY = "change it on the exchange, under API management"


class Modes(Protocol):
    """What holds for the whole account."""

    @property
    def multi_assets(self) -> bool: ...


class SymbolState(Protocol):
    """What the account has set for one symbol."""

    @property
    def leverage(self) -> int: ...

    @property
    def margin_type(self) -> str: ...


class Standing(Protocol):
    """What a real account tells beyond ``ports.Connector``."""

    @property
    def clock_offset_s(self) -> float: ...

    async def fetch_modes(self) -> Modes: ...

    async def fetch_symbol_config(self, symbol: str) -> SymbolState: ...

    async def fetch_brackets(self, symbol: str) -> Sequence[LeverageBracket]: ...

    async def fetch_permissions(self) -> KeyPermissions | None: ...


@runtime_checkable
class RealAccount(Protocol):
    """A connector to an account that has a standing."""

    @property
    def standing(self) -> Standing: ...


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the account has: margin by asset, and positions."""

    balances: Mapping[str, Balance]
    positions: Sequence[VenuePosition]


async def check_connection(connector: Connector, rules: Rules | None) -> Found[Connector]:
    """Hands the connector on where the account can be read, even where it cannot be hedged on."""
    if rules is None:
        return Found([build_warning("account", "not tried: the exchange cannot be reached", ABOVE)])
    try:
        await connector.connect(list(rules))
    except ConfigError as error:
        is_known = not any(problem.startswith("BINANCE_API") for problem in error.problems)
        return Found([build_failure("account", problem) for problem in error.problems], connector if is_known else None)
    except AuthenticationFailed as error:
        return Found([build_failure("API key", str(error))])
    except ConnectorError as error:
        return Found([build_failure("account", str(error), "try again")])
    mode = "hedge mode, long and short are kept apart" if connector.hedge_mode else "one-way mode, long and short net"
    key = [build_pass("API key", "accepted")] if isinstance(connector, RealAccount) else []
    return Found([*key, build_pass("position mode", mode)], connector)


async def check_standing(connector: Connector | None) -> Found[None]:
    """The clock and the modes of a real account."""
    if not isinstance(connector, RealAccount):
        return Found([])

    async def check() -> list[Line]:
        modes = await connector.standing.fetch_modes()
        mode = "multi-assets mode, all assets are margin" if modes.multi_assets else "single-asset mode"
        return [_check_clock(connector.standing.clock_offset_s), build_pass("margin mode", mode)]

    return Found(await _tell("margin mode", check))


async def check_permissions(connector: Connector | None) -> Found[None]:
    """An exchange that does not tell what the key may do is no failure."""
    if not isinstance(connector, RealAccount):
        return Found([])
    name = "key permissions"
    try:
        permissions = await connector.standing.fetch_permissions()
    except ConnectorError as error:
        return Found([build_warning(name, f"not known: {error}", "look at them on the exchange, under API management")])
    if permissions is None:
        return Found([build_pass(name, "not told on the demo exchange")])
    problems = (
        ("key withdrawal", "the key may withdraw: whoever steals it can empty the account", permissions.may_withdraw),
        ("key futures", "the key has no futures permission: orders are refused", not permissions.may_trade_futures),
        ("key addresses", "the key works from any address", not permissions.is_bound_to_addresses),
    )
    lines = [build_warning(problem, detail, KEY_REMEDY) for problem, detail, is_there in problems if is_there]
    return Found(lines or [build_pass(name, "futures, no withdrawal, from known addresses only")])


async def check_symbol_settings(settings: Settings, symbol: str, connector: Connector | None) -> Found[None]:
    """Leverage and margin type as they are set now, and what the exchange allows at the leverage wanted."""
    if not isinstance(connector, RealAccount):
        return Found([])

    async def check() -> list[Line]:
        found = await connector.standing.fetch_symbol_config(symbol)
        brackets = await connector.standing.fetch_brackets(symbol)
        return [_check_config(symbol, found, settings), *_check_brackets(symbol, brackets, settings)]

    return Found(await _tell(f"{symbol} leverage", check))


async def check_holdings(
    symbols: Sequence[str], connector: Connector | None, book: HedgeBook | None
) -> Found[Holdings]:
    """``book`` is the journal's; without it nobody can tell whose a position is."""
    if connector is None:
        return Found([])
    try:
        balances = await connector.fetch_balances()
        positions = await connector.fetch_positions()
    except ConnectorError as error:
        return Found([build_failure("balance and positions", str(error), "try again")])
    foreign = [line for held in positions for line in _check_position(held, book, symbols)] if book is not None else []
    holdings = Holdings({balance.asset: balance for balance in balances}, positions)
    return Found([_judge_balance(balances), *foreign], holdings)


async def _tell(name: str, check: Callable[[], Awaitable[list[Line]]]) -> list[Line]:
    """What is checked, or one failure where it cannot be read."""
    try:
        return await check()
    except ConnectorError as error:
        return [build_failure(name, str(error), "try again")]


def _check_clock(offset_s: float) -> Line:
    detail = f"the exchange is {abs(offset_s) * 1000:.0f} ms {'ahead' if offset_s > 0 else 'behind'}"
    if abs(offset_s) > CLOCK_OFFSET_WARN_S:
        return build_warning("clock", detail, "synchronize this machine's clock (NTP)")
    return build_pass("clock", detail)


def _check_config(symbol: str, found: SymbolState, settings: Settings) -> Line:
    name, is_set = f"{symbol} leverage", f"{found.leverage}x {found.margin_type}"
    if (found.leverage, found.margin_type) == (settings.leverage, settings.margin_type):
        return build_pass(name, is_set)
    detail = f"{is_set}: the daemon will set {settings.leverage}x {settings.margin_type}"
    return build_warning(name, detail, "nothing, unless that is not meant: LEVERAGE, MARGIN_TYPE")


def _check_brackets(symbol: str, brackets: Sequence[LeverageBracket], settings: Settings) -> list[Line]:
    name, leverage = f"{symbol} brackets", settings.leverage
    highest = max((bracket.leverage_max for bracket in brackets), default=0)
    if leverage > highest:
        return [
            build_failure(
                name, f"LEVERAGE={leverage} is refused: {highest}x at most", f"set LEVERAGE={highest} or less"
            )
        ]
    most = max((b.notional_max for b in brackets if b.leverage_max >= leverage), default=Decimal(0))
    limit = settings.max_market_notional_usd
    if limit is not None and limit > most:
        detail = f"{most:,.0f} of notional at most at {leverage}x, less than MAX_MARKET_NOTIONAL_USD"
        return [build_warning(name, detail, "lower LEVERAGE for more")]
    return [build_pass(name, f"up to {highest}x; {most:,.0f} of notional at most at {leverage}x")]


def _judge_balance(balances: Sequence[Balance]) -> Line:
    held = [balance for balance in balances if balance.total]
    if not any(balance.available > 0 for balance in held):
        return build_warning("balance", "nothing is available as margin", "transfer margin to the futures account")
    return build_pass("balance", ", ".join(f"{b.total:f} {b.asset} ({b.available:f} available)" for b in held))


def _check_position(position: VenuePosition, book: HedgeBook, symbols: Sequence[str]) -> list[Line]:
    """A warning where the account holds what the journal does not know as its own, in a symbol that we trade."""
    symbol, leg = position.symbol, position.leg
    is_moving = any(order.request.symbol == symbol for order in book.in_flight.values())
    if is_moving or symbol not in book.symbols.union(symbols):
        return []
    foreign = position.quantity - book.get_net_quantity(symbol, leg)
    where = symbol if leg is Leg.BOTH else f"{symbol} {leg.value}"
    detail = f"the account already holds {foreign:f} {where} that is not this journal's"
    return [build_warning(f"{where} position", detail, FOREIGN_REMEDY)] if foreign else []
