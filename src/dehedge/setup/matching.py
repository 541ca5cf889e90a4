"""Which symbol of the exchange stands for a market of DePerp, by name alone, and why none does.

Takes what cannot be meant otherwise and leaves the rest to a person. Pure; called by ``setup``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dehedge.core.model import TradingRules

DOLLARS = ("USD", "USDT", "USDC")
PREFERRED = "USDT"
"""Where a coin is quoted in several dollars: the deepest market by far."""
_MULTIPLE = re.compile(r"(10+|1M)(.+)")


class Match(NamedTuple):
    """A market with its symbol, or with the reason why it has none."""

    market: str
    symbol: str = ""
    reason: str = ""


def match_markets(markets: Iterable[str], rules: Mapping[str, TradingRules]) -> list[Match]:
    """One for each market, in the order of their names."""
    return [_match(market, rules) for market in sorted(markets)]


def _match(market: str, rules: Mapping[str, TradingRules]) -> Match:
    base, _, quote = market.upper().partition("-")
    if not (base.isascii() and base.isalnum()) or quote not in DOLLARS:
        return Match(market, reason="it is not a price in dollars")
    listed = [rule for rule in rules.values() if rule.symbol == base + rule.margin_asset]
    found = sorted(rule.symbol for rule in listed if rule.is_trading)
    preferred = [symbol for symbol in found if symbol == base + PREFERRED] or found
    if len(preferred) == 1:
        return Match(market, preferred[0])
    if found:
        return Match(market, reason=f"ambiguous: {', '.join(found)}")
    return Match(market, reason=_find_reason(base, listed, rules))


def _find_reason(base: str, listed: Iterable[TradingRules], rules: Mapping[str, TradingRules]) -> str:
    for rule in listed:
        return f"{rule.symbol} is not open for trading"
    for rule in rules.values():
        multiple = _MULTIPLE.fullmatch(rule.symbol.removesuffix(rule.margin_asset))
        if multiple is not None and multiple[2] == base:
            return f"{rule.symbol} is {multiple[1]} {base} in one, so its quantities are others"
    return f"the exchange lists no perpetual of {base}"
