"""Ranges are drawn from the book's seed and the word alone."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.errors import QuestionInvalid
from dehedge.replay.generator import parse_plan
from dehedge.replay.ranges import check_range, fix_range, fix_words, read_seed

WORDS = "seed=7,long=0.1..0.9,traders=100..2000,size=5000"


def test_words_of_a_seed_never_change():
    assert fix_words(WORDS, 0) == "seed=7,long=0.456505,traders=1522,size=5000"
    assert fix_words("", 0) == "seed=1"
    assert fix_range("--shield", "0.5%..5%", 7) == "1.061086%"


def test_book_is_the_same_alone_as_among_many():
    assert fix_words(WORDS, 5) == fix_words(WORDS.replace("seed=7", "seed=12"), 0)
    assert fix_words("long=0.1..0.9", 5).split(",")[1] == fix_words("size=1..2,long=0.1..0.9,seed=6", 0).split(",")[2]
    assert read_seed(fix_words(WORDS, 5)) == 12


@given(st.integers(0, 2**32 - 1), st.decimals(0, 1_000, places=3), st.decimals(0, 1_000, places=3))
def test_draw_lies_within_its_range(seed: int, one: Decimal, other: Decimal):
    low, high = sorted([one, other])

    drawn = fix_range("--vault", f"{low:f}..{high:f}%", seed)

    assert drawn.endswith("%")
    assert low <= Decimal(drawn[:-1]) <= high
    assert not check_range(drawn)


def test_draws_of_many_seeds_fill_their_range():
    drawn = [parse_plan(fix_words("long=0.1..0.9", number)).long for number in range(200)]

    assert min(drawn) < 0.12
    assert max(drawn) > 0.88
    assert sum(drawn) / 200 == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("text", ["1%", "250000", "0.1.0.9", "a..b", "1...2", "-1..2", ""])
def test_text_without_a_range_stays_what_it_is(text: str):
    assert fix_range("--vault", text, 1) == text


def test_range_that_ends_before_it_begins_is_refused():
    with pytest.raises(QuestionInvalid, match=r"--generate: long: '0.9..0.1' ends before it begins"):
        fix_words("long=0.9..0.1", 0)
