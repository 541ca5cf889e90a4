"""What happened lately stays in bounded rings, and is told in words when somebody asks."""

from __future__ import annotations

from dehedge.chronicle import HAPPENINGS_MAX, SAMPLES_MAX, Chronicle, Sample
from dehedge.core.book import HedgeBook
from dehedge.core.events import Event, fold
from dehedge.core.history import Chronicler, Happening
from dehedge.core.orders import Action
from tests.core.builders import NOW, a_key, a_report, a_share, an_intent

INTENT = an_intent()


def record(*events: Event) -> Chronicle:
    chronicle, book = Chronicle(), HedgeBook()
    for event in events:
        chronicle.note(NOW, event, fold(book, event))
    return chronicle


def test_facts_are_told_in_the_words_of_history_with_their_numbers():
    *_, (number, happening) = record(INTENT, a_report(INTENT)).get_happenings()

    (told,) = Chronicler().tell(NOW, INTENT)
    assert record(INTENT).get_happenings() == [(1, told)]
    assert (number, happening.at, happening.kind, happening.key) == (2, NOW, "hedge_opened", a_key())


def test_order_that_was_read_of_before_its_end_is_known_when_it_ends():
    chronicle, book = Chronicle(), HedgeBook()
    for event in (INTENT, a_report(INTENT)):
        chronicle.note(NOW, event, fold(book, event))
        chronicle.get_happenings()

    assert [happening.kind for _, happening in chronicle.get_happenings()] == ["order_intended", "hedge_opened"]


def test_only_hedges_opened_and_closed_are_marked():
    close = an_intent(action=Action.REDUCE, shares=[a_share(target=0)], sequence=3)
    chronicle = record(INTENT, a_report(INTENT), close, a_report(close))

    assert [mark.change.kind.value for mark in chronicle.marks] == ["hedge_opened", "hedge_closed"]


def test_reading_goes_on_after_the_number_that_was_read_last():
    chronicle = Chronicle()
    for number in range(5):
        chronicle.note_state(Happening(NOW, "feed_failed", str(number)))

    assert [happening.text for _, happening in chronicle.get_happenings(after=3)] == ["3", "4"]
    assert chronicle.get_happenings(after=5) == chronicle.get_happenings(after=99) == []
    assert chronicle.count == 5


def test_rings_are_bounded():
    chronicle = Chronicle()
    for number in range(HAPPENINGS_MAX + 7):
        chronicle.note_state(Happening(NOW, "feed_failed", str(number)))
    for number in range(SAMPLES_MAX + 7):
        chronicle.add_sample(Sample(NOW + number, None, None, {}))

    happenings = chronicle.get_happenings()
    assert [len(happenings), len(chronicle.samples)] == [HAPPENINGS_MAX, SAMPLES_MAX]
    assert happenings[0][0] == 8
    assert chronicle.samples[-1].at == NOW + SAMPLES_MAX + 6
