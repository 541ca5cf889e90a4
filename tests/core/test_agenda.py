"""What a pass looks at: everything that matters in time, and after a price nothing that it cannot have changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.agenda import Agenda
from dehedge.core.model import HedgeKey, Observation, Position
from dehedge.core.policy import build_terms
from dehedge.core.risk import Capital, assess
from dehedge.core.trigger import TriggerIndex, build_index, read_rows
from tests.core.builders import (
    BTC,
    ETH,
    NOW,
    RISKY,
    SAFE,
    a_policy,
    a_position,
    a_snapshot,
    a_user,
    an_observation,
    scaled,
    usd,
)

POLICY = a_policy(size_min=usd(1_000))
LONGS = [a_position(user=a_user(n), entry_price=scaled(50_000 + 100 * n)) for n in range(1, 40)]
SHORTS = [a_position(user=a_user(n), is_long=False, market=ETH, entry_price=scaled(50_000 + 100 * n)) for n in range(40)]
SNAPSHOT = a_snapshot(positions=[*LONGS, *SHORTS])


def index_of(observation: Observation) -> TriggerIndex:
    snapshot = observation.snapshot
    return build_index(read_rows(snapshot.positions), build_terms(POLICY, snapshot))


def seen(btc: int, eth: int = SAFE, *, at_s: float = 0.0) -> Observation:
    return an_observation(snapshot=SNAPSHOT, prices={BTC: btc, ETH: eth}, taken_at=NOW + at_s)


INDEX = index_of(seen(SAFE))


def check_at_risk(observation: Observation, position: Position) -> bool:
    capital = Capital(observation.snapshot.vault, observation.snapshot.shield)
    return assess(position, observation.prices[position.market].price, None, capital, POLICY.factors).at_risk


def find_risky(observation: Observation) -> set[HedgeKey]:
    return {key for key, position in SNAPSHOT.positions.items() if check_at_risk(observation, position)}


def test_first_look_is_at_every_hedge_and_every_risk() -> None:
    hedged = LONGS[0].key

    look = Agenda().take(INDEX, seen(RISKY), [hedged])

    assert look.is_whole
    assert set(look.keys) >= {hedged, *find_risky(seen(RISKY))}
    assert len(look.keys) == len(set(look.keys))


def test_price_alone_is_a_look_at_what_it_changes() -> None:
    agenda = Agenda()
    agenda.take(INDEX, seen(SAFE), [])
    before, after = seen(55_500), seen(56_000, at_s=0.9)
    agenda.take(INDEX, replace(before, taken_at=NOW + 0.5), [])

    look = agenda.take(INDEX, after, [LONGS[0].key])

    assert not look.is_whole
    assert set(look.keys) == find_risky(after) - find_risky(before) != set()


def test_nothing_is_looked_at_when_nothing_has_changed() -> None:
    agenda = Agenda()
    agenda.take(INDEX, seen(RISKY), [])

    assert agenda.take(INDEX, seen(RISKY, at_s=0.999), [LONGS[0].key]) == ([], False)


def test_first_price_of_a_market_is_a_look_at_its_risks() -> None:
    agenda = Agenda()
    agenda.take(INDEX, an_observation(snapshot=SNAPSHOT, prices={ETH: SAFE}), [])

    look = agenda.take(INDEX, seen(RISKY, at_s=0.1), [])

    assert (set(look.keys), look.is_whole) == ({key for key in find_risky(seen(RISKY)) if key.market == BTC}, False)


@pytest.mark.parametrize("at_s", [1.0, 5.0, -0.1])
def test_whole_look_is_due_every_second_and_when_the_clock_was_set_back(at_s: float) -> None:
    agenda = Agenda()
    agenda.take(INDEX, seen(SAFE), [])

    assert agenda.take(INDEX, seen(SAFE, at_s=at_s), []).is_whole


def test_whole_look_is_due_once_when_something_else_has_changed() -> None:
    agenda = Agenda()
    agenda.take(INDEX, seen(SAFE), [])

    agenda.request_whole()

    assert [agenda.take(INDEX, seen(SAFE, at_s=at_s), []).is_whole for at_s in (0.1, 0.2)] == [True, False]


def test_whole_look_is_due_when_the_positions_are_others() -> None:
    agenda = Agenda()
    agenda.take(INDEX, seen(SAFE), [])

    assert agenda.take(index_of(seen(SAFE)), seen(SAFE, at_s=0.1), []).is_whole


def test_whole_look_is_due_once_when_the_prices_of_other_markets_count() -> None:
    agenda = Agenda()
    agenda.note_judged([BTC, ETH])
    agenda.take(INDEX, seen(SAFE), [])

    looks = []
    for judged in ([ETH, BTC], [ETH], [ETH], [BTC, ETH]):
        agenda.note_judged(judged)
        looks.append(agenda.take(INDEX, seen(SAFE, at_s=0.1), []).is_whole)

    assert looks == [False, True, False, True]


@pytest.mark.parametrize(
    ("after_s", "rest_s"), [(0.0, 1.0), (0.25, 0.75), (1.0, 0.001), (1.5, 1.0), (-0.1, 1.0)]
)
def test_rest_lasts_until_the_whole_look_is_due(after_s: float, rest_s: float) -> None:
    agenda = Agenda()
    agenda.take(INDEX, seen(SAFE), [])

    assert agenda.get_rest_s(NOW + after_s) == pytest.approx(rest_s)


def test_hedge_of_a_position_that_has_become_small_is_looked_at_with_every_price() -> None:
    small = a_position(size=usd(999))
    snapshot = a_snapshot(positions=[small, *LONGS])
    before, after = (
        an_observation(snapshot=snapshot, prices={BTC: price}, taken_at=NOW + at_s) for price, at_s in ((SAFE, 0), (51_000, 0.5))
    )
    index, agenda = index_of(before), Agenda()
    agenda.take(index, before, [small.key, LONGS[-1].key])

    assert agenda.take(index, after, [small.key, LONGS[-1].key]) == ([small.key], False)


prices = st.sampled_from([40_000, 45_100, 49_000, 50_000, 52_600, 55_000, 55_510, 57_000, 58_900, 60_000, 90_000])


@given(st.lists(st.tuples(prices, prices, st.sampled_from([0.01, 0.4, 1.5])), min_size=2, max_size=12))
def test_no_change_of_risk_is_overlooked_however_prices_move(moves: list[tuple[int, int, float]]) -> None:
    agenda, at_s = Agenda(), 0.0
    known: set[HedgeKey] = set()
    for btc, eth, pause_s in moves:
        at_s += pause_s
        observation = seen(btc, eth, at_s=at_s)

        looked_at = set(agenda.take(INDEX, observation, hedged=known).keys)

        risky = find_risky(observation)
        assert looked_at >= risky ^ known
        known = risky
