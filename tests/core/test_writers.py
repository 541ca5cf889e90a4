"""Names of journals, and which of two daemons must stop opening."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.orders import Action, client_order_id
from dehedge.core.writers import (
    EPOCH_S,
    OrderName,
    OwnJournal,
    Seniority,
    build_deployment,
    check_older,
    check_ours,
    check_silent,
    find_other_writer,
    get_made_at,
    parse_client_order_id,
)
from tests.core.builders import a_share

NOW = 1_790_000_000.0
OURS = build_deployment(NOW, 28_000)
OLDER, YOUNGER = build_deployment(NOW - 1, 46_655), build_deployment(NOW + 1, 0)
EARLIER_VERSION = "ce89cf"

names = st.one_of(
    st.text("0123456789abcdef", min_size=6, max_size=6),
    st.builds(build_deployment, st.floats(EPOCH_S, 3.8e9), st.integers(0, 2**32 - 1)),
)  # fmt: skip


def own(**changes: float) -> OwnJournal:
    values = {"last_sequence": 100, "counts_from": NOW + 5, "started_at": NOW, **changes}
    return OwnJournal(OURS, **values)  # type: ignore[arg-type]


def an_id(deployment: str, sequence: int = 7) -> str:
    return client_order_id(deployment, Action.INCREASE, [a_share()], sequence)


def find(order_id: str, sent_at: float = NOW + 60, **changes: float) -> Seniority | None:
    found = find_other_writer(own(**changes), order_id, "BTCUSDT", sent_at)
    if found is None:
        return None
    assert found == (order_id.split("-")[1], found.seniority, order_id, "BTCUSDT", sent_at)
    assert found.seniority is not None
    return found.seniority


@pytest.mark.parametrize(
    ("made_at", "name"),
    [
        (EPOCH_S, "000000"),
        (EPOCH_S + 0.9, "000000"),
        (EPOCH_S + 36, "000010"),
        (NOW, "1f5u68"),
        (0, "000000"),
        (1e12, "zzzzzz"),
    ],
)
def test_deployment_tells_the_second_in_which_it_was_made(made_at: float, name: str) -> None:
    assert build_deployment(made_at, 13_368) == f"{name}abc"


@given(st.integers(EPOCH_S, 3_800_000_000))
def test_deployment_gives_its_time_back(made_at: int) -> None:
    assert get_made_at(build_deployment(made_at, 7)) == made_at


@pytest.mark.parametrize("name", [EARLIER_VERSION, f"{OURS}0"])
def test_deployment_of_another_version_has_no_age(name: str) -> None:
    assert get_made_at(name) == 0


def test_seniority_is_called_what_logs_call_it() -> None:
    assert list(Seniority) == ["older", "younger", "copy"]


@given(st.integers(0, 2**32 - 1))
def test_deployment_has_nine_characters_whatever_chance_says(chance: int) -> None:
    assert re.fullmatch("1f5u68[0-9a-z]{3}", build_deployment(NOW, chance))


@given(names, st.integers(0, 2**48 - 1))
def test_client_order_id_is_parsed_as_it_was_made(deployment: str, sequence: int) -> None:
    made = an_id(deployment, sequence)

    assert re.fullmatch(r"[A-Za-z0-9_-]{1,36}", made)
    assert parse_client_order_id(made) == OrderName(deployment, sequence)
    assert check_ours(made, deployment)
    assert not check_ours(made, deployment[:-1])


@pytest.mark.parametrize(
    "text",
    [
        "", "web_abc", "autoclose-1", "dh-", "dh-hand", "dh-ce89cf-1-49d984dd8", "dh-ce89cf-1-49d984dd8aa",
        "dh-ce89cf--49d984dd8a", "dh-ce89cf-g-49d984dd8a", "dh-ce89cf7-1-49d984dd8a", "x-dh-ce89cf-1-49d984dd8a",
        "dh-CE89CF-1-49d984dd8a", "dh-ce89cf-1-49d984dd8a\n", "dh-ce89cf-11111111111111111-49d984dd8a",
    ],
)  # fmt: skip
def test_id_that_no_daemon_gives_tells_of_none(text: str) -> None:
    assert parse_client_order_id(text) is None
    assert find(text) is None


@given(st.lists(names, min_size=2, max_size=2, unique=True))
def test_exactly_one_of_two_names_is_the_older(pair: list[str]) -> None:
    first, second = pair

    assert check_older(first, second) is not check_older(second, first)


@given(st.lists(names, min_size=3, max_size=3))
def test_age_is_an_order(three: list[str]) -> None:
    first, second, third = three
    if check_older(first, second) and check_older(second, third):
        assert check_older(first, third)
    assert not check_older(first, first)


@given(st.integers(EPOCH_S, 3_800_000_000), st.integers(1, 10**6))
def test_name_that_was_made_earlier_is_the_older(made_at: int, seconds: int) -> None:
    assert check_older(build_deployment(made_at, 46_655), build_deployment(made_at + seconds, 0))


@pytest.mark.parametrize(
    ("deployment", "seniority"),
    [(OLDER, Seniority.OLDER), (EARLIER_VERSION, Seniority.OLDER), (YOUNGER, Seniority.YOUNGER), (OURS, None)],
)
def test_other_daemon_is_found_with_its_age(deployment: str, seniority: Seniority | None) -> None:
    assert find(an_id(deployment)) is seniority


@pytest.mark.parametrize("deployment", [OLDER, YOUNGER, EARLIER_VERSION])
@pytest.mark.parametrize(("after_s", "counts"), [(-1000, False), (5, False), (5.1, True)])
def test_order_of_another_counts_only_after_our_journal_was_made(deployment: str, after_s: float, counts: bool) -> None:
    assert (find(an_id(deployment), NOW + after_s) is not None) is counts


@pytest.mark.parametrize(
    ("sequence", "sent_at", "seniority"),
    [
        (100, NOW + 60, None),
        (101, NOW + 60, Seniority.COPY),
        (101, NOW, None),
        (101, NOW - 60, None),
    ],
)
def test_copy_of_our_journal_is_found_by_a_number_that_ours_has_not_reached(
    sequence: int, sent_at: float, seniority: Seniority | None
) -> None:
    assert find(an_id(OURS, sequence), sent_at) is seniority


def test_copy_does_not_depend_on_when_the_journal_was_made() -> None:
    assert find(an_id(OURS, 101), NOW + 60, counts_from=NOW + 3600) is Seniority.COPY


@pytest.mark.parametrize(("age_s", "is_silent"), [(0, False), (3_600, False), (3_600.001, True), (-5, False)])
def test_other_daemon_is_gone_after_an_hour_of_silence(age_s: float, is_silent: bool) -> None:
    found = find_other_writer(own(), an_id(OLDER), "BTCUSDT", NOW + 60)

    assert found is not None
    assert check_silent(found, NOW + 60 + age_s) is is_silent
