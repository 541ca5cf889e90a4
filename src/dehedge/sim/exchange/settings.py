"""The account's own choices: leverage, margin type, position mode, multi-assets mode.

Functions over a ledger with the exchange's rules for when a choice may change. Each raises ``Refused`` and then changes
nothing. Called by the routes for a client, and by ``SimExchange`` for the owner who changes things by hand.
"""

from __future__ import annotations

from dehedge.sim.exchange.ledger import Ledger
from dehedge.sim.exchange.model import ZERO, ConfigEvent
from dehedge.sim.exchange.refusals import Refused


def set_leverage(ledger: Ledger, symbol: str, leverage: int) -> None:
    rules = ledger.markets[symbol].rules
    settings = ledger.account.get_settings(symbol)
    if not 1 <= leverage <= rules.brackets[0].leverage_max:
        raise Refused(-4028, leverage)
    held = [p for p in ledger.account.get_symbol_positions(symbol) if not p.is_flat]
    if held and settings.isolated and leverage < settings.leverage:
        raise Refused(-4161)
    if ledger.margin.compute_worst_notional(symbol) > rules.get_notional_max(leverage):
        raise Refused(-2027)
    _check_affordable(ledger, symbol, leverage)
    settings.leverage = leverage
    ledger.events.append(ConfigEvent(symbol, leverage, ledger.account.multi_assets, ledger.clock_ms()))


def _check_affordable(ledger: Ledger, symbol: str, leverage: int) -> None:
    """A lower leverage needs more margin, which must be there."""
    settings = ledger.account.get_settings(symbol)
    worst = ledger.margin.compute_worst_notional(symbol)
    more = worst / leverage - worst / settings.leverage
    if more > ZERO and more > ledger.margin.compute_totals().available:
        raise Refused(-2028)


def set_isolated(ledger: Ledger, symbol: str, *, isolated: bool) -> None:
    account = ledger.account
    settings = account.get_settings(symbol)
    if isolated and account.multi_assets:
        raise Refused(-4168)
    if settings.isolated == isolated:
        raise Refused(-4046)
    if ledger.orders.get_open(symbol):
        raise Refused(-4047)
    if any(not p.is_flat for p in account.get_symbol_positions(symbol)):
        raise Refused(-4048)
    settings.isolated = isolated
    shown = account.get_symbol_positions(symbol)
    ledger.events.append(ledger.build_account_event("MARGIN_TYPE_CHANGE", *shown))


def set_dual_side(ledger: Ledger, *, dual_side: bool) -> None:
    account = ledger.account
    if account.dual_side == dual_side:
        raise Refused(-4059)
    if ledger.orders.get_open():
        raise Refused(-4067)
    if account.get_open_positions():
        raise Refused(-4068)
    account.dual_side = dual_side


def set_multi_assets(ledger: Ledger, *, multi_assets: bool) -> None:
    account = ledger.account
    if account.multi_assets == multi_assets:
        raise Refused(-4171)
    if multi_assets and any(settings.isolated for settings in account.settings.values()):
        raise Refused(-4167)
    if ledger.orders.get_open():
        raise Refused(-4170)
    account.multi_assets = multi_assets
    ledger.events.append(ConfigEvent("", 0, multi_assets, ledger.clock_ms()))
