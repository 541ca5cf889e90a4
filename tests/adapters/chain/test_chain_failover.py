"""Whose turn it is, at given times."""

from __future__ import annotations

import pytest

from dehedge.adapters.chain.failover import PENALTY_MAX_S, Lane, order_lanes
from dehedge.adapters.chain.failures import NodeFailed, NodeThrottled

NOW = 1_000_000.0


def build_lanes(count: int = 3) -> list[Lane[str]]:
    return [Lane(name) for name in "abcdef"[:count]]


def get_order(lanes: list[Lane[str]], now: float) -> str:
    return "".join(lane.endpoint for lane in order_lanes(lanes, now))


def test_order_is_as_given_when_all_are_well():
    assert get_order(build_lanes(), NOW) == "abc"


def test_failed_endpoint_goes_behind_and_returns_when_its_penalty_is_over():
    lanes = build_lanes()
    lanes[0].apply_failure(NodeFailed("x"), NOW)

    assert get_order(lanes, NOW + 1.9) == "bca"
    assert get_order(lanes, NOW + 2.0) == "abc"


def test_penalty_grows_with_each_failure_up_to_its_limit_and_starts_anew_after_a_success():
    lane = Lane("a")
    penalties = []
    for _ in range(40):
        lane.apply_failure(NodeFailed("x"), NOW)
        penalties.append(next(s for s in range(1, 200) if lane.check_well(NOW + s)))

    lane.apply_success()
    lane.apply_failure(NodeFailed("x"), NOW)

    assert penalties[:6] == [2, 4, 8, 16, 32, 60]
    assert penalties[-1] == PENALTY_MAX_S
    assert lane.check_well(NOW + 2)


def test_endpoints_in_penalty_are_still_tried_in_order_when_all_are():
    lanes = build_lanes()
    for lane in reversed(lanes):
        lane.apply_failure(NodeFailed("x"), NOW)

    assert get_order(lanes, NOW) == "abc"


def test_throttled_endpoint_is_not_tried_at_all_before_the_time_it_named():
    lanes = build_lanes(2)
    lanes[0].apply_failure(NodeThrottled("x", retry_after_s=30.0), NOW)

    assert get_order(lanes, NOW + 29) == "b"
    assert lanes[0].compute_wait_s(NOW + 29) == pytest.approx(1.0)
    assert get_order(lanes, NOW + 30) == "ab"


def test_throttled_endpoint_only_goes_behind_when_it_named_no_time():
    lanes = build_lanes(2)
    lanes[0].apply_failure(NodeThrottled("x"), NOW)

    assert get_order(lanes, NOW) == "ba"


def test_penalties_end_when_the_clock_is_set_back():
    lanes = build_lanes(2)
    lanes[0].apply_failure(NodeThrottled("x", retry_after_s=300.0), NOW)

    assert get_order(lanes, NOW - 3600) == "ab"
