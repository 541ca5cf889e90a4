"""What happened, in words: one line for each thing that a journaled fact did, newest last.

Needs no book, so that it can begin anywhere in a journal; of an order that was intended before, it knows less. Pure; fed by
the commands and by the history that the daemon shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from dehedge.core.costs import FundingPaid, OrderPriced
from dehedge.core.events import (
    Event,
    ForeignPositionSeen,
    HedgesCooled,
    HedgesForced,
    HedgesReheated,
    HedgeWrittenDown,
    OrderAbandoned,
    OrderIntended,
    OrderReported,
    TradingModeSet,
)
from dehedge.core.model import HedgeKey, Side
from dehedge.core.orders import Action, OrderReport, Share, allocate


class Happening(NamedTuple):
    """One line. ``key`` is that of the hedge it is about, where it is about one."""

    at: float
    kind: str
    text: str
    symbol: str = ""
    key: HedgeKey | None = None


@dataclass(slots=True)
class Chronicler:
    """Tells one journal from some entry on; remembers the orders that are under way."""

    _intents: dict[str, OrderIntended] = field(default_factory=dict)

    def tell(self, at: float, event: Event) -> Iterator[Happening]:
        """What this fact did; nothing for one that says no more than what was told."""
        match event:
            case OrderIntended():
                self._intents[event.request.client_order_id] = event
                yield _tell_intent(at, event)
            case OrderReported():
                yield from self._tell_report(at, event.report)
            case OrderAbandoned():
                yield self._tell_given_up(at, event)
            case OrderPriced():
                yield _tell_price(at, event)
            case FundingPaid():
                yield Happening(event.paid_at, "funding", f"funding of {_show(event.amount)} {event.asset}", event.symbol)
            case ForeignPositionSeen():
                text = f"the account holds {_show(event.quantity)} beside our hedges ({event.leg.value})"
                yield Happening(at, "foreign_position", text, event.symbol)
            case HedgesForced():
                text = f"the exchange itself closed {_show(event.quantity)} ({event.reason}, order {event.venue_order_id})"
                yield Happening(at, "hedge_forced", text, event.symbol)
            case HedgeWrittenDown():
                text = f"{_show(event.quantity)} of the hedge is gone: {event.reason}"
                yield Happening(at, "hedge_written_down", text, key=event.key)
            case _:
                yield from _tell_state(at, event)

    def _tell_report(self, at: float, report: OrderReport) -> Iterator[Happening]:
        """The end of an order, hedge by hedge; what it did on the way there is told with that."""
        if not report.status.is_terminal:
            return
        intent = self._intents.pop(report.client_order_id, None)
        if intent is None or not report.filled_quantity:
            words = f"{report.status.value.lower()}, filled {_show(report.filled_quantity)}"
            why = f": {report.reason}" if report.reason else ""
            symbol = intent.request.symbol if intent is not None else ""
            yield Happening(at, "order_ended", f"order {report.client_order_id} {words}{why}", symbol)
            return
        filled = min(report.filled_quantity, intent.request.quantity)
        for share, part in allocate(filled, intent.shares):
            if part:
                yield _tell_fill(at, intent, share, part)

    def _tell_given_up(self, at: float, event: OrderAbandoned) -> Happening:
        intent = self._intents.pop(event.client_order_id, None)
        symbol = intent.request.symbol if intent is not None else ""
        return Happening(at, "order_given_up", f"order {event.client_order_id} was not executed: {event.reason}", symbol)


def _tell_intent(at: float, event: OrderIntended) -> Happening:
    request, shares = event.request, event.shares
    mark = f" at a mark of {_show(event.mark)}" if event.mark is not None else ""
    reasons = ", ".join(sorted({share.reason for share in shares}))
    hedges = f"{len(shares)} hedge{'' if len(shares) == 1 else 's'}"
    text = f"order to {request.side.value} {_show(request.quantity)}{mark} for {hedges}: {reasons}"
    return Happening(at, "order_intended", text, request.symbol, shares[0].key if len(shares) == 1 else None)


def _tell_fill(at: float, intent: OrderIntended, share: Share, part: Decimal) -> Happening:
    if intent.action is Action.INCREASE:
        kind, verb = ("hedge_opened", "opened") if share.quantity == share.target else ("hedge_resized", "increased")
    else:
        kind, verb = ("hedge_resized", "reduced") if share.target else ("hedge_closed", "closed")
    position = "long" if intent.hedge_side is Side.BUY else "short"
    asked = "" if part == share.quantity else f" of {_show(share.quantity)}"
    price = f" at a price of {_show(share.price)}" if share.price is not None else ""
    text = f"hedge of a {position} {verb} by {_show(part)}{asked}{price}: {share.reason}"
    return Happening(at, kind, text, intent.request.symbol, share.key)


def _tell_price(at: float, event: OrderPriced) -> Happening:
    name = event.client_order_id or f"{event.venue_order_id} of the exchange"
    fees = ", ".join(f"{_show(fee.amount)} {fee.asset}" for fee in event.fees or ())
    profit = f", profit {_show(event.realized_profit)}" if event.realized_profit else ""
    costs = f", fees {fees}" if fees else ""
    return Happening(at, "order_priced", f"order {name} came to {_show(event.average_price)}{costs}{profit}")


def _tell_state(at: float, event: HedgesCooled | HedgesReheated | TradingModeSet) -> Iterator[Happening]:
    if isinstance(event, HedgesCooled):
        for key, placed_at in event.placed_at:
            text = f"the risk is gone for {max(at - placed_at, 0):.0f} s: the hedge cools down"
            yield Happening(at, "hedge_cooled", text, key=key)
    elif isinstance(event, HedgesReheated):
        for key in event.keys:
            yield Happening(at, "hedge_reheated", "the risk is back: the hedge stays", key=key)
    else:
        flattening = ", every hedge is being closed" if event.is_flattening else ""
        why = f": {event.reason}" if event.reason else ""
        yield Happening(at, "trading_mode", f"trading mode {event.mode.value}{flattening}{why}")


def _show(number: Decimal) -> str:
    """Plain, and to ten places at most."""
    return f"{round(number, 10).normalize() + 0:f}"
