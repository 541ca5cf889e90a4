"""The exchange and the account as they are now: reachable, in step, authenticated, fit, and every symbol tradable.

Reads through the connector that the daemon would use. Never calls what sets something: leverage and margin type are
looked at only, ``run`` sets them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from dehedge.check.report import Line, build_failure, build_pass, build_warning
from dehedge.config import Settings
from dehedge.core.book import HedgeBook
from dehedge.core.model import Leg, TradingRules
from dehedge.errors import AuthenticationFailed, ConfigError, ConnectorError
from dehedge.ports import Balance, Connector, VenuePosition

CLOCK_OFFSET_WARN_S = 1.0
"""The daemon corrects any offset; one as large as this says that the machine's clock is not synchronized."""

FOREIGN_REMEDY = (
    "it is never traded, and what is at risk is hedged beside it; if it is of another daemon or of a journal that was lost,"
    " do not start a second one"
)
NOTIONAL_LIMITS = ("max_order_notional_usd", "max_market_notional_usd", "max_total_notional_usd")


class SymbolState(Protocol):
    """What the account has set for one symbol."""

    @property
    def leverage(self) -> int: ...

    @property
    def margin_type(self) -> str: ...


@runtime_checkable
class AccountReader(Protocol):
    """What a connector to a real account tells beyond ``ports.Connector``."""

    @property
    def clock_offset_s(self) -> float: ...

    async def fetch_symbol_config(self, symbol: str) -> SymbolState: ...


async def check_exchange(
    connector: Connector, settings: Settings, symbols: Sequence[str], book: HedgeBook | None = None
) -> list[Line]:
    """Public data first: an exchange that cannot be reached is told apart from a key that it refuses.

    ``book`` is the journal's; without it nobody can tell whose a position is.
    """
    try:
        rules = await connector.fetch_trading_rules()
    except ConnectorError as error:
        return [build_failure("exchange", str(error))]
    lines = [build_pass("exchange", f"{connector.name}, lists {len(rules)} symbols")]
    lines += [_check_symbol(symbol, rules.get(symbol)) for symbol in symbols]
    tradable = [symbol for symbol in symbols if symbol in rules]
    lines += [line for symbol in tradable for line in _check_limits(rules[symbol], settings)]
    try:
        await connector.connect(tradable)
        lines += await _check_account(connector, settings, tradable)
        if book is not None:
            lines += [
                line for held in await connector.fetch_positions() for line in _check_position(held, book, symbols)
            ]
        return lines
    except ConfigError as error:
        return [*lines, *(build_failure("account", problem) for problem in error.problems)]
    except AuthenticationFailed as error:
        return [*lines, build_failure("API key", str(error))]
    except ConnectorError as error:
        return [*lines, build_failure("account", str(error), "try again")]


def _check_symbol(symbol: str, rules: TradingRules | None) -> Line:
    if rules is None:
        return build_failure(symbol, "the exchange does not list it", "correct markets.toml")
    if not rules.is_trading:
        return build_failure(symbol, "is not open for trading", "remove its line from markets.toml, or wait")
    return build_pass(
        symbol,
        f"trading, step {rules.quantity_step:f}, from {rules.quantity_min:f} to {rules.quantity_max:f} an order,"
        f" notional of {rules.notional_min:f} or more",
    )


def _check_limits(rules: TradingRules, settings: Settings) -> list[Line]:
    """The limits on notional under which nothing could be opened in a symbol."""
    limits = {name: getattr(settings, name) for name in NOTIONAL_LIMITS}
    return [
        build_warning(name.upper(), f"{limit:f} is below the smallest order in {rules.symbol}", "raise it, or nothing is hedged")
        for name, limit in limits.items()
        if limit is not None and limit < rules.notional_min
    ]


async def _check_account(connector: Connector, settings: Settings, symbols: Sequence[str]) -> list[Line]:
    """Once connected. Raises ``ConnectorError`` where the account cannot be read."""
    mode = "hedge mode, long and short are kept apart" if connector.hedge_mode else "one-way mode, long and short net"
    lines = [build_pass("position mode", mode)]
    if settings.connector != "paper":
        lines.append(build_pass("API key", "accepted"))
    if isinstance(connector, AccountReader):
        lines.append(_check_clock(connector.clock_offset_s))
        lines += [_check_config(symbol, await connector.fetch_symbol_config(symbol), settings) for symbol in symbols]
    return [*lines, _check_balance(await connector.fetch_balances())]


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


def _check_clock(offset_s: float) -> Line:
    detail = f"the exchange is {abs(offset_s) * 1000:.0f} ms {'ahead' if offset_s > 0 else 'behind'}"
    if abs(offset_s) > CLOCK_OFFSET_WARN_S:
        return build_warning("clock", detail, "synchronize this machine's clock (NTP)")
    return build_pass("clock", detail)


def _check_config(symbol: str, found: SymbolState, settings: Settings) -> Line:
    what, is_set = f"{symbol} leverage", f"{found.leverage}x {found.margin_type}"
    if (found.leverage, found.margin_type) == (settings.leverage, settings.margin_type):
        return build_pass(what, is_set)
    return build_warning(what, f"{is_set}: the daemon will set {settings.leverage}x {settings.margin_type}")


def _check_balance(balances: Sequence[Balance]) -> Line:
    held = [balance for balance in balances if balance.total]
    if not any(balance.available > 0 for balance in held):
        return build_warning("balance", "nothing is available as margin", "transfer margin to the futures account")
    return build_pass("balance", ", ".join(f"{b.total:f} {b.asset} ({b.available:f} available)" for b in held))


def get_symbols(symbols: Mapping[str, str]) -> list[str]:
    """The exchange's symbols, each once."""
    return sorted(set(symbols.values()))
