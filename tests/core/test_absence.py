"""When a missing position counts as gone: every relation that two snapshots can have, and what the feed asks about them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dehedge.core.absence import (
    check_agree,
    check_confirms,
    check_gone,
    check_repeats,
    find_contradicted,
    find_objection,
    find_unconfirmed,
)
from dehedge.core.model import ChainSnapshot, Observation
from tests.core.builders import NOW, a_book, a_hedge, a_position, a_snapshot, a_user, an_observation, get_one_before
from tests.core.worlds import KEY, POSITION

MAX_AGE_S = 30.0
OTHER = a_position(user=a_user(1))
HEDGED = a_book(a_hedge(), a_hedge(position=OTHER))
FIRST = a_snapshot(positions=[OTHER], block_number=999, block_time=int(NOW) - 4)
"""Lacks the default position, and not the other one."""


def seen(newest: ChainSnapshot, previous: ChainSnapshot | None) -> Observation:
    return replace(an_observation(snapshot=newest), previous=previous)


SECONDS: dict[str, tuple[dict[str, object], bool]] = {
    "the same node at the next block": ({"block_number": 1_000, "block_hash": "0xnext"}, True),
    "the same node many blocks later": ({"block_number": 1_010, "block_hash": "0xlater"}, True),
    "the same node at the same block": ({}, False),
    "the same node at a block that replaced it": ({"block_hash": "0xfork"}, True),
    "the same node at a block that replaced it and has a lesser hash": ({"block_hash": "0x"}, True),
    "the same node at an older block": ({"block_number": 998, "block_hash": "0xolder"}, False),
    "another node at the same block": ({"host": "https://second"}, True),
    "another node at a fork": ({"host": "https://second", "block_hash": "0xfork"}, True),
    "another node at the next block": ({"host": "https://second", "block_number": 1_000, "block_hash": "0xnext"}, True),
    "another node that lags": ({"host": "https://second", "block_number": 998, "block_hash": "0xolder"}, False),
}


@pytest.mark.parametrize("second", SECONDS)
def test_second_snapshot_confirms_when_it_is(second: str) -> None:
    changes, expected = SECONDS[second]
    newest = replace(FIRST, **changes)  # type: ignore[arg-type]

    assert check_confirms(newest, FIRST) is expected
    assert check_gone(seen(newest, FIRST), a_hedge(), MAX_AGE_S) is expected
    assert find_unconfirmed(seen(newest, FIRST), HEDGED, MAX_AGE_S) == ([] if expected else [KEY])


NEXT = replace(FIRST, block_number=1_000, block_hash="0xnext")
THERE = replace(NEXT, positions={KEY: POSITION, OTHER.key: OTHER})


@pytest.mark.parametrize(
    ("newest", "previous"),
    [(NEXT, None), (NEXT, get_one_before(THERE)), (THERE, FIRST), (THERE, get_one_before(THERE)), (THERE, None)],
)
def test_position_is_not_gone_when_one_of_two_snapshots_has_it_or_there_is_but_one(
    newest: ChainSnapshot, previous: ChainSnapshot | None
) -> None:
    assert not check_gone(seen(newest, previous), a_hedge(), MAX_AGE_S)
    assert find_unconfirmed(seen(newest, previous), HEDGED, MAX_AGE_S) == ([KEY] if newest is NEXT else [])


@pytest.mark.parametrize(("age_s", "expected"), [(-5, True), (29, True), (30, True), (31, False)])
def test_snapshot_before_counts_for_as_long_as_it_is_young(age_s: int, expected: bool) -> None:
    first = replace(FIRST, block_time=int(NOW) - age_s)

    assert check_gone(seen(NEXT, first), a_hedge(), MAX_AGE_S) is expected


@pytest.mark.parametrize(("seen_block", "expected"), [(0, True), (998, True), (999, True), (1_000, False)])
def test_snapshot_before_counts_when_it_is_no_older_than_what_the_hedge_was_decided_from(
    seen_block: int, expected: bool
) -> None:
    # A node that lags after a restart lacks what was opened since, and is right.
    assert check_gone(seen(NEXT, FIRST), a_hedge(seen_block=seen_block), MAX_AGE_S) is expected


def test_nothing_is_missing_where_nothing_is_hedged() -> None:
    assert find_unconfirmed(seen(NEXT, None), a_book(), MAX_AGE_S) == []
    assert check_agree(seen(THERE, FIRST), a_book(), MAX_AGE_S)
    assert find_contradicted(seen(THERE, FIRST), a_book()) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True), ({"host": "https://second"}, False), ({"block_hash": "0xfork"}, False), ({"block_hash": "0x"}, False),
        ({"positions": {}}, False), ({"positions": {KEY: POSITION, OTHER.key: OTHER}}, False),
    ],
)  # fmt: skip
def test_snapshot_repeats_the_one_before_when_node_block_and_positions_are_the_same(
    changes: dict[str, object], expected: bool
) -> None:
    assert check_repeats(replace(FIRST, **changes), FIRST) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("newest", "previous", "agree"),
    [
        (NEXT, FIRST, True), (THERE, get_one_before(THERE), True), (NEXT, get_one_before(THERE), False),
        (THERE, FIRST, False), (THERE, None, False),
    ],
)  # fmt: skip
def test_snapshots_agree_when_they_have_the_positions_of_the_same_hedges(
    newest: ChainSnapshot, previous: ChainSnapshot | None, agree: bool
) -> None:
    assert check_agree(seen(newest, previous), HEDGED, MAX_AGE_S) is agree


@pytest.mark.parametrize(
    ("changes", "stands"),
    [
        ({}, True), ({"block_time": int(NOW) - 30}, True), ({"block_time": int(NOW) - 31}, False),
        # It has spoken again since, and has taken it back.
        ({"host": "https://second"}, False), ({"host": FIRST.host}, False),
    ],
)  # fmt: skip
def test_objection_of_a_third_stands_for_as_long_as_it_is_young(changes: dict[str, object], stands: bool) -> None:
    objection = replace(THERE, **{"host": "https://third", **changes})  # type: ignore[arg-type]
    observation = replace(seen(replace(NEXT, host="https://second"), FIRST), objection=objection)

    assert find_objection(observation, MAX_AGE_S) == (objection if stands else None)
    assert check_gone(observation, a_hedge(), MAX_AGE_S) is not stands
    assert check_agree(observation, HEDGED, MAX_AGE_S) is not stands


def test_objection_says_nothing_of_a_position_that_it_lacks_too() -> None:
    objection = replace(THERE, host="https://third", positions={OTHER.key: OTHER})

    assert check_gone(replace(seen(NEXT, FIRST), objection=objection), a_hedge(), MAX_AGE_S)


def test_objection_alone_is_no_second_snapshot() -> None:
    objection = replace(THERE, host="https://third")

    assert find_objection(replace(seen(NEXT, None), objection=objection), MAX_AGE_S) is None


@pytest.mark.parametrize(
    ("newest", "previous", "found"),
    [(THERE, FIRST, [KEY]), (THERE, None, []), (NEXT, FIRST, []), (NEXT, get_one_before(THERE), [])],
)
def test_snapshot_is_contradicted_by_a_position_that_it_lacked(
    newest: ChainSnapshot, previous: ChainSnapshot | None, found: list[object]
) -> None:
    assert find_contradicted(seen(newest, previous), HEDGED) == found


@pytest.mark.parametrize(("opened_after_s", "found"), [(-1, [KEY]), (0, [KEY]), (1, [])])
def test_snapshot_is_not_contradicted_by_a_position_that_was_opened_again_since(
    opened_after_s: int, found: list[object]
) -> None:
    again = POSITION._replace(opened_at=FIRST.block_time + opened_after_s)

    assert find_contradicted(seen(replace(THERE, positions={KEY: again}), FIRST), HEDGED) == found


@pytest.mark.parametrize(("seen_block", "found"), [(998, [KEY]), (999, [KEY]), (1_000, [])])
def test_snapshot_is_not_contradicted_by_a_position_whose_hedge_was_decided_later(
    seen_block: int, found: list[object]
) -> None:
    hedged = a_book(a_hedge(seen_block=seen_block))

    assert find_contradicted(seen(THERE, FIRST), hedged) == found
