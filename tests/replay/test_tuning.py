"""Settings that are chosen on one part and shown on another: what is tried, what is chosen, and what is said of it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from dehedge.errors import QuestionInvalid
from dehedge.replay.options import Options
from dehedge.replay.request import read_inputs
from dehedge.replay.study import Sample, pool
from dehedge.replay.tune_page import render_tuned
from dehedge.replay.tune_rows import build_folds_panel, build_tuned_data, describe
from dehedge.replay.tune_session import Search, list_tried
from dehedge.replay.tuning import (
    Fold,
    Tuned,
    build_folds,
    choose,
    find_front,
    tune,
)
from tests.replay.kit import build_figures, write_klines
from tests.replay.test_report import HOSTILE, Page

TARGET = Decimal("0.8")
START = Decimal(10_000)


def a_sample(window: str, **outcomes: tuple[int, int]) -> Sample:
    """A book that loses 100 unhedged, and of each policy what it avoids of that and costs."""
    figures = {
        name: build_figures(
            vault_start=START, worst_unhedged=START - 100, worst_hedged_free=START - 100 + avoided,
            worst_hedged=START - 100 + avoided - cost, vault_unhedged=START, vault_hedged=START - cost, cost=Decimal(cost),
        )
        for name, (avoided, cost) in outcomes.items()
    }  # fmt: skip
    return Sample(window, 1, Decimal(100_000), Decimal(1), figures)


def choose_of(**outcomes: tuple[int, int]) -> str:
    return choose({name: pool([a_sample("a", **outcomes)], name) for name in outcomes}, TARGET)


def test_folds_are_chosen_on_all_before_or_on_all_others():
    assert build_folds(["1", "2", "3"], are_in_order=True) == [Fold(["1"], "2"), Fold(["1", "2"], "3")]
    assert build_folds(["a", "b"], are_in_order=False) == [Fold(["b"], "a"), Fold(["a"], "b")]


def test_cheapest_of_those_that_protect_is_chosen():
    assert choose_of(a=(99, 50), b=(80, 9), c=(79, 1)) == "b"


def test_most_protective_is_chosen_when_none_protects_enough():
    assert choose_of(a=(70, 50), b=(60, 9), c=(0, 0)) == "a"


def test_simpler_of_equals_is_chosen():
    pooled = {name: pool([a_sample("a", x=(90, 5))], "x") for name in ("delta:expiry=1:leverage=2", "delta:leverage=2", "delta:expiry=3")}

    assert choose(pooled, TARGET) == "delta:leverage=2"


def test_cheaper_is_chosen_before_the_simpler():
    assert choose({name: pool([a_sample("a", x=(90, cost))], "x") for name, cost in (("delta", 6), ("delta:expiry=1", 5))}, TARGET) == "delta:expiry=1"


def test_front_is_what_no_other_beats():
    outcomes = {"a": (50, 5), "worse": (40, 6), "b": (90, 9), "dear": (90, 10), "b:more=1": (90, 9)}
    tried = {name: pool([a_sample("w", x=outcome)], "x") for name, outcome in outcomes.items()}

    assert find_front(tried) == ["a", "b"]


def tune_one(inside: dict[str, tuple[int, int]], outside: dict[str, tuple[int, int]]) -> Tuned:
    samples = [a_sample("before", **inside), a_sample("after", **outside)]
    return tune(samples, list(inside), [Fold(["before"], "after")], TARGET)


def test_fold_is_chosen_without_what_it_is_shown_on():
    tuned = tune_one({"a": (90, 9), "b": (95, 20)}, {"a": (40, 9), "b": (95, 1)})

    (fold,) = tuned.folds
    assert (fold.name, fold.inside.protection, fold.outside.protection) == ("a", Decimal("0.9"), Decimal("0.4"))
    assert tuned.overall == "b"
    (row,) = build_folds_panel(tuned).rows
    assert row == ["before", "after", "a", "90.0 %", "40.0 %", "10.0 %", "22.5 %", "9.00", "0"]


def test_doubts_are_said_when_out_of_sample_is_worse_by_more_than_a_half():
    told = describe(tune_one({"a": (90, 9)}, {"a": (44, 9)}), TARGET)
    assert "after: out of sample it avoids 44.0 % and not 90.0 % as in sample, less than half: do not count on what was chosen there." in told
    assert any("a dollar avoided costs 20.5 % and not 10.0 %" in line for line in told)
    assert "none avoids 80.0 %, so it is the most protective" in told[0]

    assert describe(tune_one({"a": (90, 9)}, {"a": (80, 12)}), TARGET) == ["Chosen on everything together, and so shown on nothing: a"]


def test_quiet_parts_are_said_to_say_little():
    samples = [a_sample("after", a=(90, 9)), a_sample("before", a=(0, 0))]
    quiet = build_figures(vault_start=START, worst_unhedged=START, worst_hedged=START - 5, worst_hedged_free=START, cost=Decimal(5))
    for calm, words in (("before", "nothing was lost where it was chosen"), ("after", "nothing is lost there")):
        mixed = [each._replace(figures={"a": quiet}) if each.window == calm else each for each in samples]
        assert any(words in line for line in describe(tune(mixed, ["a"], [Fold(["before"], "after")], TARGET), TARGET))


def test_page_and_data_of_a_search_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_klines(tmp_path / "btc.csv")
    inputs = read_inputs(Options(prices=["BTC-USD=btc.csv"], policies=["delta"]))
    tuned = tune_one({"delta:expiry=300": (90, 9), "notional": (95, 20)}, {"delta:expiry=300": (40, 9), "notional": (95, 1)})

    page = Page(render_tuned(inputs, [HOSTILE], tuned, TARGET))
    data = json.loads(json.dumps(build_tuned_data(inputs, [HOSTILE], tuned, TARGET)))

    assert page.open == []
    assert page.addresses == []
    assert "script" not in page.tags
    assert page.tags.count("svg") == 1
    assert "RISK_SCOPE=position\nHEDGE_SIZING=notional" in page.words
    assert data["env"] == ["RISK_SCOPE=position", "HEDGE_SIZING=notional"]
    assert data["folds"][0]["env"] == ["RISK_SCOPE=position", "HEDGE_SIZING=delta", "HEDGE_EXPIRY_SECONDS=300"]
    assert "do not count on what was chosen there" in page.words
    assert data["folds"][0]["out_of_sample"]["protection"] == "0.4"
    assert (data["folds"][0]["protection_holds"], data["overall"], data["front"]) == (False, "notional", ["delta:expiry=300", "notional"])
    assert data["tried"].keys() == {"delta:expiry=300", "notional"}


@pytest.mark.parametrize(
    ("options", "search", "reason"),
    [
        ({"policies": ["none"]}, {}, "none has nothing to choose"), ({"policies": ["ideal:expiry=3"]}, {}, "ideal:expiry=3 has nothing"),
        ({}, {"tries": 0}, "--tries: 0 is not a number"), ({}, {"vary": ["x"]}, "--vary: 'x' is not such as"),
    ],
)  # fmt: skip
def test_search_that_means_nothing_is_refused(options: dict[str, object], search: dict[str, object], reason: str):
    with pytest.raises(QuestionInvalid, match=reason):
        list_tried(Options(**options), Search(**search))


def test_every_preset_that_hedges_is_tried_when_none_is_said():
    assert list_tried(Options(), Search(vary=["leverage=5,10"])) == [
        f"{name}:leverage={leverage}" for name in ("notional", "delta", "portfolio") for leverage in (5, 10)
    ]
