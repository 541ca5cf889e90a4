"""The kill switch: what each command of an operator makes of the level in force.

The last command wins. A pause keeps what is stricter unless it names a level; halting ends a flattening, because nothing at
all may be sent then; flattening ends a halt, because it is sent by hand, later, and wants closes. What was flattened stays
closed until somebody resumes. What each level lets through is in ``hedging.check_mode_allows``.
"""

from __future__ import annotations

from typing import NamedTuple

from dehedge.core.book import HedgeBook, TradingMode

PAUSED = (TradingMode.NO_OPENS, TradingMode.REDUCE_ONLY, TradingMode.HALTED)
"""The levels that a pause may name."""


class Switch(NamedTuple):
    """A level, and whether everything is being closed."""

    mode: TradingMode
    is_flattening: bool


RESUMED = Switch(TradingMode.ACTIVE, is_flattening=False)


def pause(book: HedgeBook, level: TradingMode | None) -> Switch:
    """The level that was named, milder or stricter; without one at least no more opens."""
    if level is None:
        level = TradingMode.NO_OPENS if book.mode is TradingMode.ACTIVE else book.mode
    return Switch(level, book.is_flattening and level is not TradingMode.HALTED)


def flatten(book: HedgeBook) -> Switch:
    """Close everything, and open nothing afterwards."""
    mode = {TradingMode.ACTIVE: TradingMode.NO_OPENS, TradingMode.HALTED: TradingMode.REDUCE_ONLY}.get(
        book.mode, book.mode
    )
    return Switch(mode, is_flattening=True)
