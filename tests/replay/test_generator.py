"""A generated book is the same everywhere, and is what was asked for."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import pytest

from dehedge.errors import QuestionInvalid
from dehedge.replay.generator import BookPlan, generate_traders, parse_plan
from dehedge.replay.model import USDC_UNIT, Trader
from dehedge.replay.traders import Book, render_book

MARKETS = ["BTC-USD", "ETH-USD"]
SPAN = (1_600_000_000, 1_600_000_000 + 30 * 86_400)


def generate(text: str, span: tuple[int, int] = SPAN) -> list[Trader]:
    return generate_traders(parse_plan(text), MARKETS, span)


def test_book_of_a_seed_never_changes():
    text = render_book(Book(generate("seed=7,traders=50,away=1")))

    assert hashlib.sha256(text.encode()).hexdigest() == "a0ce8d71221729c20d432d6268ea4f61b9f0863a7bf483ea7921102ccbe3259b"
    assert generate("seed=7,traders=50") != generate("seed=8,traders=50")


def test_trader_is_the_same_whatever_the_number_of_others():
    few, many = generate("seed=7,traders=5"), generate("seed=7,traders=500")

    assert [trader for trader in many if int(trader.user, 16) <= 5] == few


def test_shares_sizes_and_leverage_are_near_what_was_asked_for():
    traders = generate("traders=4000,long=0.2,size=5000,sigma=0.8,leverage=10:3/50:1,hold=100000,markets=BTC-USD:3/ETH-USD:1")
    sizes = sorted(trader.size for trader in traders)

    assert sum(trader.is_long for trader in traders) / 4_000 == pytest.approx(0.2, abs=0.03)
    assert sum(trader.market == "BTC-USD" for trader in traders) / 4_000 == pytest.approx(0.75, abs=0.03)
    assert sizes[2_000] / USDC_UNIT == pytest.approx(5_000, rel=0.1)
    assert sizes[int(4_000 * 0.8413)] / sizes[2_000] == pytest.approx(2.2255, rel=0.1)
    assert {round(trader.size / trader.collateral) for trader in traders} == {10, 50}
    assert sum(round(trader.size / trader.collateral) == 10 for trader in traders) / 4_000 == pytest.approx(0.75, abs=0.03)


def test_traders_come_and_go_at_their_rates_and_hold_one_position_at_a_time():
    lives: defaultdict[str, list[Trader]] = defaultdict(list)
    traders = generate("traders=2000,hold=2,away=1")
    for trader in traders:
        lives[trader.user].append(trader)

    assert traders == sorted(traders, key=lambda trader: trader.opened_s)
    for life in lives.values():
        assert all(one.closed_s is not None and one.closed_s < other.opened_s for one, other in zip(life, life[1:], strict=False))
        assert all(SPAN[0] <= trader.opened_s < SPAN[1] for trader in life)
    for moment in (SPAN[0], SPAN[0] + 15 * 86_400, SPAN[1] - 1):
        there = sum(t.opened_s <= moment and (t.closed_s is None or t.closed_s > moment) for t in traders)
        assert there / 2_000 == pytest.approx(2 / 3, abs=0.04)


def test_gross_scales_what_is_open_at_first():
    traders = generate("traders=300,gross=10000000")

    first = sum(trader.size for trader in traders if trader.opened_s == SPAN[0])
    assert first / USDC_UNIT == pytest.approx(10_000_000, abs=1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sed=1", "'sed' is unknown; known are away"), ("seed=-1", "seed=-1 is not a number from 0"), ("long=1.1", "long=1.1"),
        ("traders=1.5", "traders=1.5"), ("size=nan", "size=nan"), ("hold=0", "hold=0"), ("leverage=x:1", "leverage: 'x:1'"),
        ("leverage=5:0", "'5:0'"), ("leverage=5:nan", "'5:nan'"), ("leverage=0:1", "'0:1'"), ("markets=:1", "markets: ':1'"),
        ("leverage=5:a", "'5:a' is not NAME:WEIGHT"), ("markets=SOL-USD", "'SOL-USD' has no prices"),
    ],
)  # fmt: skip
def test_plan_that_means_nothing_is_refused_in_one_line_when_given(text: str, reason: str):
    with pytest.raises(QuestionInvalid, match=reason):
        generate(text)


def test_plan_without_words_is_the_usual_one():
    assert parse_plan("") == BookPlan()
    assert len(generate("", (0, 60))) >= 1_000
