"""What happens to an account without its asking: liquidation, ADL, delisting, funding, margin calls.

Functions over a ledger, each one deterministic step. Forced orders carry the client id prefixes by which a client is to
recognise them, and their fills are told with an execution type of their own. Called by ``SimExchange``'s controls, and
``watch_margin`` after every price.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from dehedge.sim.exchange.ledger import Ledger
from dehedge.sim.exchange.market import Level
from dehedge.sim.exchange.model import (
    EXPIRED_DELISTED,
    EXPIRED_LIQUIDATION,
    ZERO,
    Ask,
    Execution,
    Income,
    MarginCallEvent,
    Order,
    OrderEvent,
    Position,
    Side,
)
from dehedge.sim.exchange.positions import book_amount

MARGIN_CALL_RATIO = Decimal("0.8")


class ForcedKind(NamedTuple):
    """How a kind of forced order shows itself."""

    close_kind: str
    prefix: str
    execution: Execution


LIQUIDATION = ForcedKind("LIQUIDATION", "autoclose-", "CALCULATED")
DELEVERAGING = ForcedKind("ADL", "adl_autoclose_", "CALCULATED")
SETTLEMENT = ForcedKind("SETTLEMENT", "settlement_autoclose-", "TRADE")


def force_close(ledger: Ledger, position: Position, quantity: Decimal, kind: ForcedKind) -> Order:
    """Close a quantity of a position at the mark price by an order of the exchange's own."""
    side: Side = "SELL" if position.amount > ZERO else "BUY"
    market = ledger.markets[position.symbol]
    price = market.rules.nearest_price(market.mark)
    client_id = ledger.build_client_id(kind.prefix)
    ask = Ask(position.symbol, side, quantity, "LIMIT", position.leg, price, "IOC", client_id=client_id)
    order = ledger.open_order(ask._replace(reduce_only=not ledger.account.dual_side), quantity, kind.close_kind)
    ledger.events.append(OrderEvent(order, "NEW", None, order.created_ms))
    order = ledger.fill(order, Level(price, quantity), execution=kind.execution)
    ledger.knock_out_reducing(position.symbol)
    return order


def liquidate(ledger: Ledger, position: Position) -> Order:
    """Close a whole position, with the liquidation fee; what the margin does not cover is the insurance fund's."""
    for order in ledger.orders.get_open(position.symbol):
        ledger.expire(order, EXPIRED_LIQUIDATION)
    before = ledger.account.cross_wallet
    order = force_close(ledger, position, abs(position.amount), LIQUIDATION)
    fee = book_amount(order.quote * ledger.markets[position.symbol].rules.liquidation_fee)
    ledger.account.book(Income(position.symbol, "INSURANCE_CLEAR", -fee, order.updated_ms))
    isolated = ledger.account.get_settings(position.symbol).isolated
    _cover_shortfall(ledger, position.symbol, before if isolated else ZERO)
    return order


def _cover_shortfall(ledger: Ledger, symbol: str, floor: Decimal) -> None:
    """A cross account ends at zero at worst, an isolated position costs at most its own margin."""
    short = floor - ledger.account.cross_wallet
    if short > ZERO:
        ledger.account.book(Income(symbol, "INSURANCE_CLEAR", short, ledger.clock_ms()))
        ledger.events.append(ledger.build_account_event("INSURANCE_CLEAR", balance_change=short))


def deleverage(ledger: Ledger, position: Position, quantity: Decimal) -> Order:
    """Take a part of a profitable position to close somebody else's liquidation."""
    return force_close(ledger, position, min(quantity, abs(position.amount)), DELEVERAGING)


def settle(ledger: Ledger, symbol: str) -> list[Order]:
    """Delist a symbol: orders expire, positions close at the mark, and nothing trades any more."""
    ledger.markets[symbol].status = "SETTLING"
    for order in ledger.orders.get_open(symbol):
        ledger.expire(order, EXPIRED_DELISTED)
    held = [p for p in ledger.account.get_open_positions() if p.symbol == symbol]
    orders = [force_close(ledger, position, abs(position.amount), SETTLEMENT) for position in held]
    ledger.markets[symbol].status = "CLOSE"
    return orders


def pay_funding(ledger: Ledger, symbol: str, rate: Decimal) -> None:
    """Exchange funding: at a positive rate longs pay shorts, on the notional at the mark."""
    ledger.markets[symbol].funding_rate = rate
    mark = ledger.markets[symbol].mark
    for position in [p for p in ledger.account.get_open_positions() if p.symbol == symbol]:
        before = ledger.account.wallet
        after = ledger.account.apply_funding(position, -position.amount * mark * rate, ledger.clock_ms())
        change = ledger.account.wallet - before
        shown = (after,) if ledger.account.get_settings(symbol).isolated else ()
        ledger.events.append(ledger.build_account_event("FUNDING_FEE", *shown, balance_change=change))


class MarginWatch:
    """Looks at the margin after a price: calls at 80 %, liquidates at 100 %."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._called = False

    def run(self, *, liquidates: bool) -> None:
        calls: list[Position] = []
        for group, equity in self._get_groups():
            ratio = self._ledger.margin.compute_margin_ratio(group, equity)
            if ratio >= 1 and liquidates:
                for position in group:
                    liquidate(self._ledger, position)
            elif ratio >= MARGIN_CALL_RATIO:
                calls += group
        self._call(calls)

    def _get_groups(self) -> list[tuple[list[Position], Decimal]]:
        """Positions that stand or fall together, with the margin they have."""
        account, margin = self._ledger.account, self._ledger.margin
        held = account.get_open_positions()
        alone = [p for p in held if account.get_settings(p.symbol).isolated]
        cross = [p for p in held if not account.get_settings(p.symbol).isolated]
        groups = [([p], p.isolated_wallet + margin.compute_unrealized(p)) for p in alone]
        return [*groups, (cross, margin.compute_cross_equity())] if cross else groups

    def _call(self, positions: list[Position]) -> None:
        if positions and not self._called:
            ledger = self._ledger
            ledger.events.append(MarginCallEvent(ledger.account.cross_wallet, tuple(positions), ledger.clock_ms()))
        self._called = bool(positions)
