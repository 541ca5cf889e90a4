"""Daemons with a defect put in on purpose: a simulation that does not notice them would prove nothing.

Each defect is one of those that lose money: an order sent again blindly, an order that never was in the journal, a hedge
forgotten, an exchange that is believed to have filled whatever was asked for, too little held, or held for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from dehedge.adapters.journal import SqliteJournal
from dehedge.connectors.binance.connector import BinanceConnector
from dehedge.core import hedging, stance
from dehedge.core.decisions import Hold, Reason
from dehedge.core.orders import OrderReport, OrderRequest
from dehedge.errors import OutcomeUnknown


def send_again() -> None:
    """What does not answer is sent once more under the same id."""
    place_once = BinanceConnector.place_order

    async def place_order(self: BinanceConnector, request: OrderRequest) -> OrderReport:
        try:
            return await place_once(self, request)
        except OutcomeUnknown:
            return await place_once(self, request)

    BinanceConnector.place_order = place_order  # type: ignore[method-assign]


def believe_in_full_fills() -> None:
    """Every reply counts as a complete fill."""
    place_honestly = BinanceConnector.place_order

    async def place_order(self: BinanceConnector, request: OrderRequest) -> OrderReport:
        report = await place_honestly(self, request)
        return replace(report, filled_quantity=request.quantity) if report.filled_quantity else report

    BinanceConnector.place_order = place_order  # type: ignore[method-assign]


def forget_intents() -> None:
    """The journal is told of nothing but the results."""
    write = SqliteJournal._append

    def append(self: SqliteJournal, at: float, events: Sequence[Any]) -> None:
        write(self, at, [event for event in events if type(event).__name__ != "OrderIntended"])

    SqliteJournal._append = append  # type: ignore[method-assign]


def forget_the_gone() -> None:
    """The hedges of positions that are gone are left to themselves."""
    assert hedging.process_closed_hedge_position, "the rule that is taken away"
    hedging.process_closed_hedge_position = lambda _, key: Hold(key, Reason.NOT_AT_RISK)


def hedge_a_half() -> None:
    """The quantity is cut in two."""
    get_target = hedging.get_target_quantity

    def get_half(*arguments: Any, **named: Any) -> Decimal:
        return (get_target(*arguments, **named) / 2).quantize(Decimal("0.001"))

    hedging.get_target_quantity = get_half


def hedge_a_half_together() -> None:
    """Of what all positions ask for, a half is held."""
    allocate = stance._allocate

    def allocate_half(scene: Any, crowds: Any, level: Fraction, *, is_growing: bool) -> Any:
        return allocate(scene, crowds, level / 2, is_growing=is_growing)

    stance._allocate = allocate_half


def keep_together() -> None:
    """What all positions asked for once is held for ever."""
    find_level = stance.find_level

    def find_higher_level(seen: Any, terms: Any) -> Fraction | None:
        level = find_level(seen, terms)
        return level if level is None or level > seen.held else None

    stance.find_level = find_higher_level


def keep_misplaced() -> None:
    """What traders have left behind is held for ever."""
    stance.DRIFT = Fraction(1_000)


DEFECTS: dict[str, Callable[[], None]] = {
    "send-again": send_again,
    "believe-in-full-fills": believe_in_full_fills,
    "forget-intents": forget_intents,
    "forget-the-gone": forget_the_gone,
    "hedge-a-half": hedge_a_half,
}
DEFECTS_TOGETHER: dict[str, Callable[[], None]] = {
    "hedge-a-half-together": hedge_a_half_together,
    "keep-together": keep_together,
    "keep-misplaced": keep_misplaced,
}
"""Defects that only positions judged together can show."""
