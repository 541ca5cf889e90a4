"""What a search tries: all combinations or a sample of them, each setting where it counts, and nothing twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dehedge.errors import QuestionInvalid
from dehedge.replay.candidates import Varied, list_candidates, list_idle, parse_varied
from dehedge.replay.choices import identify

VARIED = [Varied("expiry", ["60", "300"]), Varied("vault_factor", ["1", "1.01", "1.02"])]
BOTH = [Varied("early", ["0.1", "0.3"]), Varied("gate", ["0.005", "0.01"]), Varied("expiry", ["60", "300"])]


def test_candidates_are_all_combinations_in_order():
    assert list_candidates(["delta", "notional:leverage=5"], VARIED, 12, 1) == [
        f"{preset}:expiry={expiry}:vault_factor={factor}"
        for preset in ("delta", "notional:leverage=5") for expiry in (60, 300) for factor in ("1", "1.01", "1.02")
    ]  # fmt: skip
    assert list_candidates(["delta"], [], 1, 1) == ["delta"]


@hypothesis_settings(max_examples=15, deadline=None)
@given(st.integers(1, 11), st.integers(0, 2**32 - 1))
def test_candidates_beyond_the_tries_are_a_sample_that_the_seed_says(tries: int, seed: int):
    every = list_candidates(["delta", "notional"], VARIED, 12, seed)
    some = list_candidates(["delta", "notional"], VARIED, tries, seed)

    assert len(some) == len({*some}) == tries
    assert [each for each in every if each in some] == some
    assert some == list_candidates(["delta", "notional"], VARIED, tries, seed)


def test_sample_of_millions_is_drawn_at_once():
    names = ("expiry", "vault_factor", "vault_profit_limit_factor", "min_collateral", "max_opens_per_hour", "max_forced_per_hour", "max_orders_per_minute")
    varied = [Varied(name, [str(value) for value in range(1, 51)]) for name in names]

    assert len(list_candidates(["delta"], varied, 20, 3)) == 20


def test_varied_settings_are_read_once_each():
    assert parse_varied(["expiry=60, 300,60,", "Vault_Factor=1"]) == [Varied("expiry", ["60", "300"]), Varied("vault_factor", ["1"])]


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["expiry"], "'expiry' is not such as expiry=60,300"), (["=1"], "'=1' is not"), (["expiry=,"], "'expiry=,' is not"),
        (["expiry=1:leverage=2"], "is not such as"), (["expiry=1", "expiry=2"], "expiry is there twice"),
    ],
)  # fmt: skip
def test_varied_setting_that_means_nothing_is_refused(texts: list[str], reason: str):
    with pytest.raises(QuestionInvalid, match=reason):
        parse_varied(texts)


def test_only_what_counts_is_varied_in_each_policy():
    assert list_candidates(["delta", "portfolio"], BOTH, 100, 1) == [
        "delta:expiry=60", "delta:expiry=300", *(f"portfolio:early={early}:gate={gate}" for early in ("0.1", "0.3") for gate in ("0.005", "0.01")),
    ]  # fmt: skip
    assert list_idle(["delta", "portfolio"], BOTH) == [
        "delta: early, gate counts for nothing there and is not varied", "portfolio: expiry counts for nothing there and is not varied",
    ]  # fmt: skip


def test_scope_that_is_varied_says_what_counts():
    assert list_candidates(["delta"], [*BOTH[1:], Varied("scope", ["position", "portfolio"])], 100, 1) == [
        "delta:scope=position:expiry=60", "delta:scope=position:expiry=300",
        "delta:scope=portfolio:gate=0.005", "delta:scope=portfolio:gate=0.01",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("presets", "varied"),
    [
        (["delta"], [Varied("expiry", ["60", "60.0"])]), (["delta", "delta:expiry=60"], []), (["delta:sizing=notional", "notional"], []),
        (["delta"], [Varied("interest", ["0.4", "0.8"])]), (["portfolio", "portfolio:expiry=9"], []), (["delta"], [Varied("sizing", ["delta"])]),
    ],
)  # fmt: skip
def test_what_decides_alike_is_tried_once(presets: list[str], varied: list[Varied]):
    assert len(list_candidates(presets, varied, 100, 1)) == 1


def test_sample_of_what_is_partly_alike_has_nothing_twice():
    varied = [Varied("interest", [f"0.{value}" for value in range(1, 60)]), Varied("expiry", [str(value) for value in range(1, 99)])]
    some = list_candidates(["delta", "delta"], varied, 40, 3)

    assert len(some) == len({*map(identify, some)}) > 20
