"""A kept pass runs again to the same decisions, whatever the world was."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given

from dehedge.core import passes
from dehedge.core.decisions import Hold, OpenHedge, Reason, RefreshHedge
from dehedge.core.hedging import plan
from dehedge.core.model import Stance
from dehedge.core.passes import check_trade, freeze, run_again, view_pass
from tests.core.builders import (
    BTC,
    ETH,
    RISKY,
    SAFE,
    TOGETHER,
    a_book,
    a_hedge,
    a_key,
    a_policy,
    a_position,
    a_user,
    a_venue,
    an_observation,
)
from tests.core.test_hedging_properties import World, worlds


@given(worlds())
def test_kept_pass_comes_to_the_same_decisions(world: World) -> None:
    decisions = plan(world.observation, world.book, world.policy, world.venue)
    view = view_pass(world.book, world.observation, (world.policy, world.venue), decisions)

    assert run_again(freeze(view)) == decisions


def test_what_becomes_of_the_book_afterwards_is_not_in_the_pass() -> None:
    world, book = an_observation(prices={BTC: RISKY}, positions=[a_position()]), a_book()
    decisions = plan(world, book, a_policy(), a_venue())
    view = view_pass(book, world, (a_policy(), a_venue()), decisions)
    book.set_hedged_position(a_hedge())
    book.note_judged([BTC], 9.0)

    recorded = freeze(view)
    assert (recorded.hedges, recorded.judged_at) == ((), {})
    assert run_again(recorded) == decisions


def test_pass_holds_what_concerns_its_keys_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "KEYS_MAX", 2)
    risky = [a_position(user=a_user(number)) for number in range(1, 4)]
    calm = [a_position(user=a_user(9), market=ETH, entry_price=70_000 * 10**18)]
    world = an_observation(prices={BTC: RISKY, ETH: RISKY}, positions=[*calm, *risky])
    venue = a_venue(blocked={"ETHUSDT": "settling", "BTCUSDT": "not really"}, busy=[a_key(market=ETH)])
    venue = replace(venue, blocked={"ETHUSDT": "settling"})
    decisions = plan(world, a_book(), a_policy(), venue)
    recorded = freeze(view_pass(a_book(), world, (a_policy(), venue), decisions))

    # What trades goes first.
    assert recorded.keys == (risky[0].key, risky[1].key)
    assert recorded.left_out == 2
    assert recorded.snapshot.positions == (risky[0], risky[1])
    assert [market.name for market in recorded.snapshot.markets] == [BTC]
    assert [tick.market for tick in recorded.prices] == [BTC]
    assert [*recorded.marks] == ["BTCUSDT"]
    assert [rules.symbol for rules in recorded.venue.rules] == ["BTCUSDT"]
    assert (recorded.venue.blocked, recorded.venue.busy) == ({}, ())
    assert run_again(recorded) == decisions[1:3]


def test_room_that_trades_leave_is_filled_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "KEYS_MAX", 2)
    positions = [a_position(user=a_user(1), entry_price=70_000 * 10**18), a_position(user=a_user(2), entry_price=70_000 * 10**18)]
    world = an_observation(prices={BTC: RISKY}, positions=[*positions, a_position(user=a_user(3))])
    decisions = plan(world, a_book(), a_policy(), a_venue())
    view = view_pass(a_book(), world, (a_policy(), a_venue()), decisions)

    assert [type(decision) for decision in view.decisions] == [OpenHedge, Hold]


def test_trades_are_what_sends_orders() -> None:
    assert not check_trade(Hold(a_key(), Reason.NOT_AT_RISK))
    assert not check_trade(RefreshHedge(a_key(), Reason.AT_RISK))


def test_what_all_are_to_hold_together_is_kept_with_the_pass() -> None:
    policy, stranger = a_policy(portfolio=TOGETHER), a_key(user=a_user(9))
    for targets in (None, {a_key(): Decimal("0.1"), stranger: Decimal("0.2")}):
        stance = Stance(1, 2, 3, 4, 5, Fraction(1, 6), Fraction(1, 7), is_fast=False, targets=targets)
        world = replace(an_observation(prices={BTC: SAFE}, positions=[a_position()]), stance=stance)
        decisions = plan(world, a_book(), policy, a_venue())
        recorded = freeze(view_pass(a_book(), world, (policy, a_venue()), decisions))

        assert recorded.stance is not None
        assert recorded.stance.targets == (None if targets is None else ((a_key(), Decimal("0.1")),))
        assert recorded.stance.figures == (1, 2, 3, 4, 5)
        assert run_again(recorded) == decisions
        assert isinstance(decisions[0], Hold if targets is None else OpenHedge)
