"""Many runs as one answer: sums of the worst moments, whatever the order of the books."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.replay.plots import NO_TRADE_OFF
from dehedge.replay.request import Options, read_inputs
from dehedge.replay.study import Sample, pool, pool_windows
from dehedge.replay.study_page import render_study
from dehedge.replay.study_plots import build_study_charts
from dehedge.replay.study_rows import ALL, ROWS, build_groups, build_study_data
from tests.replay.kit import build_figures, write_klines
from tests.replay.test_report import HOSTILE, Page

usd = st.integers(-10**15, 10**15).map(lambda amount: Decimal(amount) / 10**6)
start = Decimal(10**9)


def a_sample(loss: int, hedged: int = 0, cost: int = 0, *, last: int = 0, window: str = "", seed: int = 1, gross: int = 10_000) -> Sample:
    """A book that loses ``loss`` unhedged, ``hedged`` with free hedges, and ends at ``last`` unhedged."""
    figures = build_figures(
        vault_start=start, worst_unhedged=start - loss, worst_hedged_free=start - hedged, worst_hedged=start - hedged - cost,
        vault_unhedged=start + last, vault_hedged=start + last - cost, cost=Decimal(cost),
    )  # fmt: skip
    return Sample(window, seed, Decimal(gross), Decimal(1), {"delta": figures})


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    names = ("worst_unhedged", "worst_hedged", "worst_hedged_free", "vault_unhedged", "vault_hedged", "cost", "vault_start")
    figures = build_figures(**{name: draw(usd) for name in names})
    gross, years = draw(usd), draw(st.decimals(0, 2, places=20))
    return Sample(draw(st.sampled_from("abc")), draw(st.integers(0, 9)), gross, years, {"delta": figures})


@given(st.lists(samples(), max_size=12).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))))
def test_pooling_does_not_depend_on_the_order(both: tuple[list[Sample], list[Sample]]):
    some, mixed = both

    assert pool(some, "delta") == pool(mixed, "delta")
    assert pool_windows(some, "delta") == pool_windows(mixed, "delta")


@given(samples())
def test_one_book_pooled_is_that_book(sample: Sample):
    figures, pooled = sample.figures["delta"], pool([sample], "delta")

    loss = figures.vault_start - figures.worst_unhedged
    assert (pooled.books, pooled.losing) == (1, loss > 0)
    assert (pooled.loss, pooled.avoided) == (loss, figures.worst_hedged_free - figures.worst_unhedged)
    assert pooled.cost == figures.cost
    if loss > 0:
        assert pooled.protection == pooled.median_protection == pooled.avoided / loss
        assert pooled.net_protection == pooled.median_net == (figures.worst_hedged - figures.worst_unhedged) / loss
    else:
        assert pooled.protection is pooled.median_protection is pooled.net_protection is None


def test_books_are_summed_and_their_median_is_of_those_that_lose():
    pooled = pool([a_sample(100, 10, 9), a_sample(300, 30, 27), a_sample(0, 0, 4), a_sample(200, 200, 0)], "delta")

    assert (pooled.books, pooled.losing, pooled.loss, pooled.avoided, pooled.cost) == (4, 3, 600, 360, 40)
    assert pooled.protection == Decimal("0.6")
    assert pooled.net_protection == (Decimal(360) - 40) / 600
    assert pooled.median_protection == Decimal("0.9")
    assert pooled.median_net == Decimal("0.81")
    assert pooled.cost_share == Decimal(40) / 360
    assert pooled.cost_per_year == Decimal(40) / (4 * start)


def test_book_is_harmed_when_it_is_worse_by_more_than_a_thousandth_of_gross():
    some = [a_sample(0, 0, 10), a_sample(0, 0, 11, seed=2), a_sample(50, 70, 0, window="w", seed=3), a_sample(5, 0, 12, seed=4)]
    pooled = pool(some, "delta")

    assert (pooled.harmed_at_worst, pooled.harmed_at_last) == (2, 2), "seed 4 is better at worst and worse at last"
    assert pooled.harm == (Decimal("0.002"), "w", 3, "worst")
    assert pool([a_sample(0, 99, 99, gross=0)], "delta").harm is None


def test_nothing_pooled_is_nothing():
    pooled = pool([], "delta")

    assert (pooled.books, pooled.loss, pooled.protection, pooled.cost_share, pooled.harm) == (0, 0, None, None, None)
    assert all(row.show(pooled) for row in ROWS)


def test_worst_of_the_books_is_told_with_its_moment():
    told = {moment: ROWS[-1].show(pool([sample], "delta")) for moment, sample in (("worst", a_sample(50, 70)), ("end", a_sample(5, 0, 12, seed=4)))}

    assert told == {"worst": "0.20 % at worst: seed=1", "end": "0.12 % at the end: seed=4"}


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_klines(tmp_path / "btc.csv")
    return read_inputs(Options(windows=["crash:BTC-USD=btc.csv", "calm:BTC-USD=btc.csv"], policies=["delta"], books=2))


SOME = [a_sample(100, 10, 9, window="crash"), a_sample(300, 300, 27, window="crash", seed=2), a_sample(0, 0, 44, window="calm")]


def test_groups_are_all_together_and_each_window():
    assert [group.name for group in build_groups(SOME, ["delta"])] == [ALL, "crash", "calm"]
    assert [group.name for group in build_groups(SOME[:1], ["delta"])] == [ALL]


def test_page_of_many_books_is_whole_and_escapes_names(inputs):
    page = Page(render_study(inputs, [HOSTILE], [each._replace(window=HOSTILE) for each in SOME]))

    assert page.open == []
    assert page.addresses == []
    assert "script" not in page.tags
    assert page.tags.count("svg") == 1, "the books; one policy has no trade-off"
    for words in (NO_TRADE_OFF, "22.5 %", "median of the books", "0.44 % at worst", "depth, USD"):
        assert words in page.words


def test_charts_of_two_policies_begin_with_what_is_avoided_against_cost():
    both = [each._replace(figures={**each.figures, "portfolio": each.figures["delta"]}) for each in SOME]

    assert [chart.name for chart in build_study_charts(both, build_groups(both, ["delta", "portfolio"]))] == ["trade-off", "books"]


def test_charts_of_books_without_hedges_are_none():
    assert build_study_charts([], build_groups([a_sample(100, 100, 0)], ["delta"])) == []


def test_data_of_many_books_has_every_figure_exactly(inputs):
    data = json.loads(json.dumps(build_study_data(inputs, ["a"], SOME)))

    assert [group["name"] for group in data["groups"]] == [ALL, "crash", "calm"]
    assert data["groups"][1]["policies"]["delta"]["protection"] == "0.225"
    assert data["groups"][0]["policies"]["delta"]["harm"] == {"share": "0.0044", "window": "calm", "seed": 1, "moment": "worst"}
    assert [book["policies"]["delta"]["cost"] for book in data["books"]] == ["9", "27", "44"]
