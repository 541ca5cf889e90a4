"""The exchange's public side: reachable, every symbol tradable, its minimums within the operator's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dehedge.check.report import Line, build_failure, build_pass, build_warning
from dehedge.check.run import Found
from dehedge.config import Settings
from dehedge.core.model import TradingRules
from dehedge.errors import ConnectorError
from dehedge.ports import Connector

NOTIONAL_LIMITS = ("max_order_notional_usd", "max_market_notional_usd", "max_total_notional_usd")

Rules = Mapping[str, TradingRules]


async def check_exchange(connector: Connector, settings: Settings, symbols: Sequence[str]) -> Found[Rules]:
    """Told apart from a key that is refused. Hands on the rules of the symbols that can be traded."""
    try:
        listed = await connector.fetch_trading_rules()
    except ConnectorError as error:
        return Found([build_failure("exchange", str(error))])
    lines = [build_pass("exchange", f"{connector.name}, lists {len(listed)} symbols")]
    lines += [_check_symbol(symbol, listed.get(symbol)) for symbol in symbols]
    rules = {symbol: listed[symbol] for symbol in symbols if symbol in listed}
    return Found([*lines, *(line for rule in rules.values() for line in _check_limits(rule, settings))], rules)


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
        build_warning(
            name.upper(), f"{limit:f} is below the smallest order in {rules.symbol}", "raise it, or nothing is hedged"
        )
        for name, limit in limits.items()
        if limit is not None and limit < rules.notional_min
    ]


def get_symbols(symbols: Mapping[str, str]) -> list[str]:
    """The exchange's symbols, each once."""
    return sorted(set(symbols.values()))
