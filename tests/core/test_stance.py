"""The rule for all positions together: its line, its steps, and which hedges carry what it asks for.

The world: a BTC long of 0.2 and one of 0.4 bought at 50,000, a shield of 1,000, prices that stand still unless told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dehedge.core.book import HedgedPosition, HedgeStatus
from dehedge.core.model import HedgeKey, Position, Stance, TradingRules
from dehedge.core.pace import SECOND_US, Pace
from dehedge.core.portfolio import build_portfolio
from dehedge.core.stance import DRIFT, FULL, PortfolioWatch, Scene, build_stance, find_level, sum_held
from tests.core.builders import (
    BTC,
    ETH,
    NOW,
    TOGETHER,
    a_book,
    a_hedge,
    a_policy,
    a_position,
    a_user,
    a_venue,
    an_observation,
    rules,
    scaled,
    usd,
)

SMALL, LARGE = a_position(user=a_user(1)), a_position(user=a_user(2), size=usd(20_000))
FAST, STILL = Pace(0, scaled(1_000)), Pace(0, 0)
STANDING = Stance(0, 0, 0, 100, 1_000, Fraction(0), Fraction(0), is_fast=True)
"""With half of the swing of 100 as reach, everything is hedged at a room of 45 and nothing at 50; a slack of 1."""


def a_scene(
    positions: Iterable[Position] = (SMALL, LARGE), *hedges: HedgedPosition, prices: Mapping[str, int] | None = None,
    price_age_s: int = 1, known: Sequence[TradingRules] | None = None,
) -> Scene:  # fmt: skip
    policy = a_policy(portfolio=TOGETHER)
    observation = an_observation(positions=positions, prices=prices or {BTC: 52_000}, price_age_s=price_age_s)
    venue = a_venue(known=known)
    book, portfolio = a_book(*hedges), build_portfolio(observation.snapshot, policy)
    return Scene(observation, book, policy, venue.rules, portfolio, sum_held(book))


def stand(scene: Scene, **paces: Pace) -> Stance:
    given_paces = {f"{coin}-USD": pace for coin, pace in paces.items()}
    return build_stance(scene, {market: given_paces.get(market, FAST) for market in scene.observation.prices})


def get_targets(stance: Stance) -> dict[HedgeKey, Decimal]:
    return dict(stance.targets) if stance.targets is not None else {}


@pytest.mark.parametrize(
    ("room", "level"),
    [(-500, 1), (45, 1), (46, Fraction(4, 5)), (47, Fraction(3, 5)), (48, None), (50, None), (51, None), (900, None)],
)
def test_hedges_are_bought_as_the_room_runs_out(room: int, level: Fraction | None) -> None:
    assert find_level(replace(STANDING, limit=room), TOGETHER) == level


@pytest.mark.parametrize(("held", "is_bought"), [("0.7", True), ("0.75", True), ("0.76", False), ("1", False)])
def test_last_part_is_bought_in_half_a_step(held: str, is_bought: bool) -> None:
    stance = replace(STANDING, held=Fraction(held))

    assert find_level(stance, TOGETHER) == (1 if is_bought else None)


@pytest.mark.parametrize(
    ("room", "held", "level"),
    [
        (46, 1, None), (47, 1, None), (48, 1, None), (49, 1, Fraction(2, 5)), (50, 1, Fraction(1, 5)), (51, 1, 0),
        (51, Fraction(1, 10), 0), (49, Fraction(1, 2), None), (900, 0, None), (900, Fraction(5, 4), 0),
    ],
)  # fmt: skip
def test_hedges_are_let_go_a_slack_later(room: int, held: Fraction | int, level: Fraction | None) -> None:
    assert find_level(replace(STANDING, limit=room, held=Fraction(held)), TOGETHER) == level


def test_slow_market_buys_nothing_and_keeps_what_it_has() -> None:
    slow = replace(STANDING, is_fast=False)

    assert find_level(slow, TOGETHER) is None
    assert find_level(replace(slow, held=Fraction(1)), TOGETHER) is None
    assert find_level(replace(slow, held=Fraction(1), limit=51), TOGETHER) == 0


def test_nothing_is_let_go_before_the_pace_is_known() -> None:
    held = replace(STANDING, held=Fraction(1), limit=900, is_known=False)

    assert find_level(held, TOGETHER) is None
    assert find_level(replace(held, is_known=True), TOGETHER) == 0
    assert find_level(replace(held, held=Fraction(0), limit=0), TOGETHER) == 1
    assert not stand(a_scene(), BTC=FAST._replace(is_known=False)).is_known


def test_market_that_stands_still_is_hedged_once_the_room_is_gone() -> None:
    still = replace(STANDING, swing=0)

    assert [find_level(replace(still, limit=room), TOGETHER) for room in (0, 1)] == [1, None]


@given(st.integers(-200, 200), st.integers(0, 200), st.fractions(0, Fraction(5, 4)), st.booleans())
def test_once_the_level_is_reached_nothing_more_is_wanted(room: int, swing: int, held: Fraction, is_fast: bool) -> None:
    stance = replace(STANDING, limit=room, swing=swing, held=held, is_fast=is_fast)
    level = find_level(stance, TOGETHER)
    assume(level is not None)

    assert level is not None
    assert 0 <= level <= 1
    assert level != held
    assert level > held or not find_level(replace(stance, is_fast=False), TOGETHER) or level < held
    assert find_level(replace(stance, held=level), TOGETHER) is None


def test_stance_tells_what_it_is_made_of() -> None:
    stance = stand(a_scene(), BTC=Pace(scaled(10), scaled(1_000)))

    assert (stance.profit, stance.limit, stance.exposure) == (usd(1_200), usd(1_000), usd(31_200))
    assert (stance.swing, stance.ahead, stance.room) == (usd(600), usd(12), usd(-212))
    assert (stance.held, stance.level, stance.is_fast) == (0, 1, True)


def test_what_is_far_from_the_room_s_end_stays_as_it_is() -> None:
    stance = stand(a_scene(prices={BTC: 50_001}), BTC=STILL)

    assert (stance.targets, stance.level, stance.is_fast) == (None, 0, False)


def test_all_are_hedged_with_their_own_coins() -> None:
    assert get_targets(stand(a_scene())) == {SMALL.key: Decimal("0.2"), LARGE.key: Decimal("0.4")}


def test_net_coins_are_carried_by_the_largest_first() -> None:
    short = a_position(user=a_user(3), is_long=False, size=usd(7_500))

    assert get_targets(stand(a_scene([SMALL, LARGE, short]))) == {LARGE.key: Decimal("0.4"), SMALL.key: Decimal("0.05")}


def test_who_is_hedged_already_is_so_first() -> None:
    short = a_position(user=a_user(3), is_long=False, size=usd(10_000))
    scene = a_scene([SMALL, LARGE, short], a_hedge(position=SMALL, quantity="0.1"), prices={BTC: 53_000})

    assert get_targets(stand(scene)) == {SMALL.key: Decimal("0.2"), LARGE.key: Decimal("0.2")}


def test_hedges_of_whom_nothing_is_left_to_carry_are_named() -> None:
    held = [a_hedge(position=SMALL, quantity="0.2"), a_hedge(position=LARGE, quantity="0.4")]
    gone = a_hedge(position=a_position(user=a_user(9)), quantity="0.1")
    scene = a_scene((SMALL, LARGE), *held, gone, prices={BTC: 40_000})

    assert get_targets(stand(scene)) == dict.fromkeys([SMALL.key, LARGE.key, gone.key], Decimal(0))


def test_hedge_on_the_other_side_is_not_what_is_held() -> None:
    wrong = a_hedge(position=SMALL._replace(is_long=False), quantity="0.2")

    assert stand(a_scene((SMALL, LARGE), wrong)).held == 0


@pytest.mark.parametrize(("status", "held"), [(HedgeStatus.OPEN, 0), (HedgeStatus.OPENING, 1)])
def test_order_in_flight_counts_as_done(status: HedgeStatus, held: int) -> None:
    hedges = [
        a_hedge(position=one, quantity=0, target=target, status=status) for one, target in ((SMALL, "0.2"), (LARGE, "0.4"))
    ]

    assert stand(a_scene((SMALL, LARGE), *hedges)).held == held


def test_what_traders_leave_behind_is_let_go_once_it_is_enough() -> None:
    """0.6 are held of what was 0.6: a quarter of what is left may be too much, and no more."""
    held = [a_hedge(position=SMALL, quantity="0.2"), a_hedge(position=LARGE, quantity="0.4")]
    for size, targets in ((6_000, {}), (7_000, {LARGE.key: Decimal("0.4"), SMALL.key: Decimal("0.06")})):
        short = a_position(user=a_user(3), is_long=False, size=usd(size), collateral=usd(5_000))
        stance = stand(a_scene((SMALL, LARGE, short), *held, prices={BTC: 54_000}), BTC=STILL)

        assert (stance.held, stance.level) == (1, 1)
        assert get_targets(stance) == targets


def test_what_is_on_the_wrong_side_is_let_go_in_a_slow_market_too() -> None:
    wrong = a_hedge(position=SMALL._replace(is_long=False), quantity="0.2")

    assert get_targets(stand(a_scene((SMALL, LARGE), wrong), BTC=STILL)) == {SMALL.key: 0}


OTHER = a_position(user=a_user(5), market=ETH, entry_price=scaled(3_000))


@pytest.mark.parametrize("size_usd", [4_000, 6_000, 8_000, 10_000, 30_000])
def test_market_that_cannot_be_bought_has_nothing_bought_and_sold_elsewhere(size_usd: int) -> None:
    """Its share is from an eighth to a half, and its hedge is refused by whatever it may be."""
    positions = (SMALL, LARGE, OTHER._replace(size=usd(size_usd)))
    held = [a_hedge(position=SMALL, quantity="0.2"), a_hedge(position=LARGE, quantity="0.4")]
    for pace in (FAST, STILL):
        targets = get_targets(stand(a_scene(positions, *held, prices={BTC: 52_000, ETH: 3_100}), BTC=pace, ETH=pace))

        assert {key: target for key, target in targets.items() if key.market == BTC} in (
            {}, {SMALL.key: Decimal("0.2"), LARGE.key: Decimal("0.4")},
        )  # fmt: skip


def test_what_is_let_go_in_one_market_is_not_bought_in_another() -> None:
    positions, held = (SMALL, LARGE, OTHER), [a_hedge(position=SMALL, quantity="0.2"), a_hedge(position=LARGE, quantity="0.4")]
    targets = get_targets(stand(a_scene(positions, *held, prices={BTC: 50_500, ETH: 3_000}), BTC=STILL, ETH=STILL))

    assert targets == {SMALL.key: 0, LARGE.key: 0}


def test_slow_market_lets_nothing_go_for_what_it_would_not_buy_elsewhere() -> None:
    """The sum is beyond the limit, all is hedged, and a trader comes to another market."""
    prices = {BTC: 54_000, ETH: 3_000}
    held = [a_hedge(position=SMALL, quantity="0.2"), a_hedge(position=LARGE, quantity="0.4")]
    after = stand(a_scene((SMALL, LARGE, OTHER), *held, prices=prices), BTC=STILL, ETH=STILL)
    beyond = stand(a_scene((SMALL, LARGE, OTHER), *held, a_hedge(position=OTHER, quantity="14"), prices=prices), BTC=STILL, ETH=STILL)

    assert after.room < 0
    assert (after.misplaced, after.targets) == (0, None)
    assert beyond.misplaced == usd(32_000)


def test_slow_market_lets_go_what_is_hedged_beyond_its_own_coins() -> None:
    short = a_position(user=a_user(3), is_long=False, size=usd(15_000), collateral=usd(5_000))
    held = [a_hedge(position=SMALL, quantity="0.2"), a_hedge(position=LARGE, quantity="0.4")]
    scene = a_scene((SMALL, LARGE, short, OTHER), *held, prices={BTC: 54_000, ETH: 3_000})

    assert get_targets(stand(scene, BTC=STILL, ETH=STILL)) == {LARGE.key: Decimal("0.3"), SMALL.key: 0}


def test_nobody_left_is_nothing_to_hold() -> None:
    pair = [SMALL, a_position(user=a_user(3), is_long=False)]

    assert get_targets(stand(a_scene(pair, a_hedge(position=SMALL, quantity="0.2")))) == {SMALL.key: 0}
    assert stand(a_scene(pair)).targets is None


def test_market_that_cannot_be_traded_counts_and_stays() -> None:
    other = a_position(user=a_user(5), market=ETH, entry_price=scaled(3_000), size=usd(40_000))
    held = a_hedge(position=other, quantity="5")
    scene = a_scene((SMALL, LARGE, other), held, prices={BTC: 52_000, ETH: 3_100}, known=[rules()])
    stance = stand(scene)

    assert stance.profit == usd(1_200) + other.size // 30
    assert stance.exposure == usd(31_200)
    assert get_targets(stance).keys() == {SMALL.key, LARGE.key}


def test_market_with_an_old_price_counts_by_it_and_stays() -> None:
    stance = stand(a_scene(price_age_s=11))

    assert (stance.profit, stance.exposure, get_targets(stance)) == (usd(1_200), 0, {})


def test_market_without_a_price_counts_for_nothing() -> None:
    assert stand(a_scene(prices={ETH: 3_000})).profit == 0


def test_capital_and_factors_bound_the_room_as_they_do_for_one() -> None:
    scene = a_scene()
    factors = replace(scene.policy.factors, vault=Fraction("1.0004"))

    assert stand(replace(scene, policy=replace(scene.policy, factors=factors))).limit == usd(600)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1_000, 90_000), st.integers(0, 10)), min_size=1, max_size=12),
    st.integers(40_000, 60_000), st.integers(0, 3_000),
)  # fmt: skip
def test_targets_are_the_level_of_the_net_coins_within_each_position(
    drawn: list[tuple[bool, int, int]], price: int, swing: int
) -> None:
    """Each no more than its position, all on the side that wins, together the level to a step for each of them."""
    found = [
        a_position(user=a_user(place), is_long=is_long, size=usd(size), collateral=usd(10**6))
        for place, (is_long, size, _) in enumerate(drawn)
    ]
    tenths = {one.key: tenth for one, (_, _, tenth) in zip(found, drawn, strict=True)}
    own = {one.key: Decimal(one.size) / usd(50_000) // Decimal("0.001") * Decimal("0.001") for one in found}
    held = [
        a_hedge(position=one, quantity=own[one.key] * tenths[one.key] / 10 // Decimal("0.001") * Decimal("0.001"))
        for one in found
        if tenths[one.key] and own[one.key] >= Decimal("0.01")
    ]
    scene = a_scene(found, *held, prices={BTC: price})
    stance = stand(scene, BTC=Pace(0, scaled(swing)))
    targets = get_targets(stance)
    net = sum(Decimal(one.size) / usd(50_000) * one.hedge_side.sign for one in found)

    wanted = {key: target for key, target in targets.items() if target}
    by_key = {one.key: one for one in found}
    assert all(target <= own[key] for key, target in wanted.items())
    assert all((by_key[key].is_long) is (net > 0) for key in wanted)
    total = sum(wanted.values(), Decimal(0))
    level = Decimal(stance.level.numerator) / stance.level.denominator
    assert total <= abs(net) * level + Decimal("1E-9")
    if stance.targets is not None and stance.is_fast:
        assert total > abs(net) * level - Decimal("0.001") * (len(found) + 1)
    if not stance.is_fast:
        before = {hedge.key: hedge.quantity for hedge in held}
        assert all(target <= before[key] for key, target in wanted.items())


def test_watch_takes_the_pace_from_what_it_saw() -> None:
    watch, scene = PortfolioWatch(), a_scene(prices={BTC: 50_900})
    watch.note({BTC: scaled(50_000)}, int((NOW - 2) * SECOND_US))
    stance = watch.look(scene)

    assert stance.ahead == usd("0.6") * 300 * 2
    assert stance.swing == usd("0.6") * 900
    assert (FULL, DRIFT, stance.level) == (Fraction(9, 10), Fraction(1, 4), 1)


def test_watch_that_finds_hedges_lets_none_go_for_a_minute() -> None:
    held = [a_hedge(position=SMALL, quantity="0.2"), a_hedge(position=LARGE, quantity="0.4")]
    scene, later = (a_scene((SMALL, LARGE), *held, prices={BTC: 50_000}) for _ in range(2))
    later = replace(later, observation=replace(later.observation, taken_at=NOW + 60))
    finds, made = PortfolioWatch(), PortfolioWatch()
    made.look(a_scene(prices={BTC: 50_000}))

    assert finds.look(scene).targets is None
    assert get_targets(made.look(scene)) == {SMALL.key: 0, LARGE.key: 0}
    fresh = {market: tick._replace(publish_time=int(NOW) + 59) for market, tick in later.observation.prices.items()}
    assert get_targets(finds.look(replace(later, observation=replace(later.observation, prices=fresh)))) == {
        SMALL.key: 0, LARGE.key: 0,
    }  # fmt: skip
