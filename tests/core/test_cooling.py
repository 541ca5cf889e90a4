"""Whose risk has gone: known at once, journaled once it lasts, and never for another hedge than it was seen of."""

from __future__ import annotations

from dehedge.core.book import HedgeBook
from dehedge.core.cooling import Cooling
from dehedge.core.events import Event, HedgesCooled, HedgesReheated
from tests.core.builders import BTC, NOW, RISKY, SAFE, TOGETHER, a_book, a_hedge, a_key, a_policy, an_observation
from tests.core.worlds import POSITION, decide, together

AFTER_S = 5.0


def look(cooling: Cooling, book: HedgeBook, price: int, at_s: float) -> list[Event]:
    observation = an_observation(positions=[POSITION], prices={BTC: price}, taken_at=NOW + at_s)
    return cooling.note(book, [decide(observation, book)], [BTC], NOW + at_s)


def get_state(book: HedgeBook) -> tuple[bool, float]:
    hedge = book.get_hedged_position(a_key())
    assert hedge is not None
    return hedge.is_cooling, book.get_placed_at(hedge) - NOW


def test_hedge_is_as_young_as_the_last_look_that_found_it_at_risk() -> None:
    cooling, book = Cooling(AFTER_S), a_book(a_hedge())

    assert look(cooling, book, RISKY, 10) == []
    assert get_state(book) == (False, 10)
    assert look(cooling, book, SAFE, 12) == []
    assert get_state(book) == (True, 10)


def test_risk_that_has_gone_is_journaled_once_and_from_when_it_was_last_seen() -> None:
    cooling, book = Cooling(AFTER_S), a_book(a_hedge())
    look(cooling, book, RISKY, 10)

    assert [look(cooling, book, SAFE, at_s) for at_s in (11, 14.9, 15, 16)] == [
        [], [], [HedgesCooled(((a_key(), NOW + 10),))], [],
    ]  # fmt: skip


def test_risk_that_flickers_is_not_journaled() -> None:
    cooling, book = Cooling(AFTER_S), a_book(a_hedge())

    assert [look(cooling, book, price, at_s) for at_s, price in enumerate([SAFE, RISKY] * 8)] == [[]] * 16
    assert get_state(book) == (False, 15)


def test_risk_that_comes_back_is_journaled_where_its_going_was() -> None:
    cooling, book = Cooling(AFTER_S), a_book(a_hedge())
    look(cooling, book, SAFE, 1)
    look(cooling, book, SAFE, 9)

    assert look(cooling, book, RISKY, 10) == [HedgesReheated((a_key(),), NOW + 10)]
    assert get_state(book) == (False, 10)
    assert look(cooling, book, RISKY, 11) == []


def test_hedge_that_was_cooling_before_a_restart_is_reheated_in_the_journal() -> None:
    book = a_book(a_hedge(is_cooling=True, placed_at=NOW - 7))

    assert look(Cooling(AFTER_S), book, RISKY, 0) == [HedgesReheated((a_key(),), NOW)]


def test_nothing_is_journaled_of_a_hedge_that_another_one_has_replaced_or_that_is_gone() -> None:
    cooling, book = Cooling(AFTER_S), a_book(a_hedge())
    look(cooling, book, SAFE, 1)

    book.set_hedged_position(a_hedge(placed_at=NOW + 2))
    assert cooling.note(book, [], [], NOW + 60) == []

    look(cooling, book, SAFE, 61)
    book.remove_hedged_position(a_key())
    assert cooling.note(book, [], [], NOW + 90) == []


def test_hedge_that_is_kept_for_what_all_risk_does_not_cool() -> None:
    cooling, book = Cooling(AFTER_S), a_book(a_hedge())
    decision = decide(together(None), book, policy=a_policy(portfolio=TOGETHER))

    assert decision is not None
    assert cooling.note(book, [decision], [BTC], NOW + 10) == []
    assert get_state(book) == (False, 10)
