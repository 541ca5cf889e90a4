"""The sum of the traders' profits at a price is the sum of each one's."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.model import Position
from dehedge.core.portfolio import COIN_SCALE, Tally, build_portfolio
from dehedge.core.risk import get_pnl
from tests.core.builders import BTC, ETH, USDC, a_policy, a_position, a_snapshot, a_user, scaled, usd

OTHER = "0x1111111111111111111111111111111111111111"
COIN = 10**24
"""A coin, as it is counted."""

positions = st.lists(
    st.builds(
        a_position, user=st.integers(1, 10**6).map(a_user), market=st.sampled_from([BTC, ETH]), is_long=st.booleans(),
        size=st.integers(0, usd(10**7)), collateral=st.integers(0, usd(10**6)), entry_price=st.integers(0, scaled(10**6)),
        funding_tracer=st.integers(-(10**20), 10**20),
    ),
    max_size=20,
)  # fmt: skip


def tally(found: list[Position], price: int, **changes: object) -> Tally:
    snapshot = a_snapshot(positions=found, **changes)  # type: ignore[arg-type]
    return build_portfolio(snapshot, a_policy()).tally(BTC, price)


def test_longs_and_shorts_are_netted() -> None:
    found = [a_position(user=a_user(1)), a_position(user=a_user(2), is_long=False, size=usd(2_500))]

    assert tally(found, scaled(51_000)) == Tally(3 * COIN // 20, usd(150))


def test_loss_ends_with_the_collateral_and_takes_the_coins_along() -> None:
    """A tenth is lost at 45,000 by the long, and at 55,000 by the short."""
    for is_long, at, beyond in ((True, 45_000, 44_000), (False, 55_000, 56_000)):
        found = [a_position(is_long=is_long)]
        a_little = 1 if is_long else -1

        assert tally(found, scaled(at) + a_little).coins
        assert tally(found, scaled(at)) == tally(found, scaled(beyond)) == Tally(0, -usd(1_000))


def test_others_go_on_where_one_has_lost_everything() -> None:
    found = [a_position(user=a_user(1)), a_position(user=a_user(2), collateral=usd(5_000))]

    assert tally(found, scaled(40_000)) == Tally(COIN // 5, -usd(1_000) - usd(2_000))


def test_funding_is_taken_off_the_profit() -> None:
    found, tracer = [a_position(funding_tracer=10**18)], 11 * 10**18

    assert tally(found, scaled(50_000), funding={(USDC, BTC): tracer}).profit == -usd(10)


def test_what_has_no_profit_is_left_out() -> None:
    found = [a_position(asset=OTHER), a_position(user=a_user(1), entry_price=0), a_position(user=a_user(2), size=0)]
    portfolio = build_portfolio(a_snapshot(positions=found), a_policy())

    assert [*portfolio.markets] == []


def test_small_position_counts_and_carries_nothing() -> None:
    small, large = a_position(user=a_user(1), size=usd(999)), a_position(user=a_user(2), size=usd(1_000))
    portfolio = build_portfolio(a_snapshot(positions=[small, large]), a_policy())

    assert portfolio.carriers == {BTC: [large]}
    assert portfolio.tally(BTC, scaled(100_000)).profit == usd(1_999)


@given(positions, st.integers(1, scaled(10**6)), st.integers(-(10**20), 10**20))
def test_sum_is_that_of_each_position_to_a_base_unit(found: list[Position], price: int, tracer: int) -> None:
    unique = {position.key: position for position in found}
    snapshot = a_snapshot(positions=unique.values(), funding={(USDC, BTC): tracer})
    portfolio = build_portfolio(snapshot, a_policy())
    for market in portfolio.markets:
        own = [one for one in unique.values() if one.market == market and one.size and one.entry_price]
        each = [Fraction(*get_pnl(one, price, tracer if market == BTC else None, 10_000)) for one in own]
        exact = sum(max(pnl, Fraction(-one.collateral)) for pnl, one in zip(each, own, strict=True))
        # Where a loss is just the collateral, rounding decides whether the coins are still there.
        alive = [one for pnl, one in zip(each, own, strict=True) if pnl > 1 - one.collateral]
        coins = sum(one.size * COIN_SCALE // one.entry_price * (1 if one.is_long else -1) for one in alive)
        edge = [one for pnl, one in zip(each, own, strict=True) if abs(pnl + one.collateral) <= 1]

        found_tally = portfolio.tally(market, price)
        assert abs(found_tally.profit - exact) <= len(own) + 1
        assert edge or found_tally.coins == coins
