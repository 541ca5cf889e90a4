"""What each command makes of each level."""

from __future__ import annotations

import pytest

from dehedge.core.book import HedgeBook, TradingMode
from dehedge.core.hedging import check_mode_allows
from dehedge.core.orders import Action
from dehedge.core.switch import PAUSED, RESUMED, Switch, flatten, pause

ACTIVE, NO_OPENS, REDUCE_ONLY, HALTED = TradingMode


@pytest.mark.parametrize("is_flattening", [False, True])
@pytest.mark.parametrize(
    ("mode", "paused"), [(ACTIVE, NO_OPENS), (NO_OPENS, NO_OPENS), (REDUCE_ONLY, REDUCE_ONLY), (HALTED, HALTED)]
)
def test_pause_without_a_level_keeps_what_is_stricter(
    mode: TradingMode, paused: TradingMode, is_flattening: bool
) -> None:
    book = HedgeBook(mode=mode, is_flattening=is_flattening)

    assert pause(book, None) == Switch(paused, is_flattening and paused is not HALTED)


@pytest.mark.parametrize("level", PAUSED)
@pytest.mark.parametrize("mode", TradingMode)
@pytest.mark.parametrize("is_flattening", [False, True])
def test_pause_sets_the_level_that_it_names(mode: TradingMode, level: TradingMode, is_flattening: bool) -> None:
    book = HedgeBook(mode=mode, is_flattening=is_flattening)

    assert pause(book, level) == Switch(level, is_flattening and level is not HALTED)


@pytest.mark.parametrize(
    ("mode", "after"), [(ACTIVE, NO_OPENS), (NO_OPENS, NO_OPENS), (REDUCE_ONLY, REDUCE_ONLY), (HALTED, REDUCE_ONLY)]
)
def test_flatten_lets_closes_through_whatever_the_level_was_and_nothing_else(
    mode: TradingMode, after: TradingMode
) -> None:
    switch = flatten(HedgeBook(mode=mode))

    assert switch == Switch(after, is_flattening=True)
    book = HedgeBook(mode=switch.mode, is_flattening=True)
    assert check_mode_allows(book, Action.REDUCE, is_open=False)
    assert not check_mode_allows(book, Action.INCREASE, is_open=False)
    assert not check_mode_allows(book, Action.INCREASE, is_open=True)


def test_resume_ends_every_level_and_a_flattening() -> None:
    assert Switch(ACTIVE, is_flattening=False) == RESUMED
