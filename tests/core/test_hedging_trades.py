"""What is sent: the quantities of opens, resizes and closes, and what holds each of them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from dehedge.core.book import HedgedPosition, TradingMode
from dehedge.core.decisions import CloseHedge, Decision, Hold, OpenHedge, Reason, RefreshHedge, ResizeHedge
from dehedge.core.hedging import get_price, plan
from dehedge.core.model import Observation, Position, Side, TradingRules
from dehedge.core.orders import Action, Share
from dehedge.core.policy import VenueState
from dehedge.core.risk import Risk
from dehedge.core.sizing import Sizing
from tests.core.builders import (
    BTC,
    RISKY,
    SYMBOLS,
    Number,
    a_book,
    a_hedge,
    a_key,
    a_policy,
    a_position,
    a_snapshot,
    a_tick,
    a_user,
    a_venue,
    an_observation,
    rules,
    scaled,
    usd,
)
from tests.core.worlds import FLIPPED, KEY, OLD, POSITION, at_risk, decide, flipped, gone, name, safe

KEEP = (RefreshHedge, Reason.AT_RISK)
NO_SYMBOLS = a_policy(symbols={"ETH-USD": SYMBOLS["ETH-USD"]})


@pytest.mark.parametrize(("is_long", "price", "side"), [(True, RISKY, Side.BUY), (False, 40_000, Side.SELL)])
def test_open_takes_the_traders_side_and_whole_quantity(is_long: bool, price: int, side: Side) -> None:
    position = a_position(is_long=is_long)

    decision = decide(an_observation(positions=[position], prices={BTC: price}), a_book())

    assert isinstance(decision, OpenHedge)
    assert (decision.side, decision.action, decision.symbol) == (side, Action.INCREASE, "BTCUSDT")
    assert decision.share == (
        KEY, Decimal("0.2"), Decimal("0.2"), position.size, position.entry_price, "+".join(Risk), Decimal(price)
    )  # fmt: skip


def test_trade_says_no_price_when_none_is_fresh() -> None:
    closed = decide(an_observation(prices={BTC: RISKY}, price_age_s=60), a_book(a_hedge()))

    assert isinstance(closed, CloseHedge)
    assert closed.share.price is None


def test_open_above_the_maximum_asks_for_the_maximum_and_keeps_its_target() -> None:
    decision = decide(at_risk, a_book(), venue=a_venue(known=[rules(quantity_max="0.15")]))

    assert isinstance(decision, OpenHedge)
    assert (decision.share.quantity, decision.share.target) == (Decimal("0.15"), Decimal("0.2"))


@pytest.mark.parametrize(
    ("waiting", "opens", "closes"),
    [
        (a_venue(waiting_to_grow=[KEY]), Hold, CloseHedge),
        (a_venue(waiting_to_reduce=[KEY]), OpenHedge, Hold),
        (a_venue(waiting_to_grow=[a_key(market="ETH-USD")]), OpenHedge, CloseHedge),
        (a_venue(exhausted=["BTCUSDT"]), Hold, CloseHedge),
    ],
)
def test_refusal_holds_only_what_was_refused(waiting: VenueState, opens: type, closes: type) -> None:
    assert type(decide(at_risk, a_book(), venue=waiting)) is opens
    assert type(decide(gone, a_book(a_hedge()), venue=waiting)) is closes


@pytest.mark.parametrize(("size_min", "kind"), [(usd(10_000), OpenHedge), (usd(10_000) + 1, Hold)])
def test_position_is_hedged_from_the_smallest_size_on(size_min: int, kind: type) -> None:
    assert type(decide(at_risk, a_book(), policy=a_policy(size_min=size_min))) is kind


def test_smallest_size_closes_nothing_that_is_held() -> None:
    decision = decide(at_risk, a_book(a_hedge()), policy=a_policy(size_min=usd(200_000)))

    assert name(decision) == KEEP


def test_hedge_of_a_vanished_position_is_closed_by_its_own_quantity() -> None:
    # By the quantity held, whatever the position or the target was.
    decision = decide(gone, a_book(a_hedge(quantity="0.137", target="0.2", size=7, entry_price=9)))

    assert isinstance(decision, CloseHedge)
    assert decision.action is Action.REDUCE
    assert decision.share == Share(KEY, Decimal("0.137"), Decimal(0), 7, 9, Reason.POSITION_CLOSED, gone.prices[BTC].price / Decimal(10**18))


@pytest.mark.parametrize(
    ("observation", "expected"),
    [
        (flipped, (CloseHedge, Reason.SIDE_CHANGED)),
        (
            an_observation(positions=[POSITION._replace(size=usd(5_000))], prices={BTC: RISKY}),
            (ResizeHedge, Reason.SIZE_CHANGED),
        ),
    ],
)
def test_what_a_position_says_of_itself_needs_no_second_snapshot(
    observation: Observation, expected: tuple[type, Reason]
) -> None:
    assert name(decide(replace(observation, previous=None), a_book(a_hedge()))) == expected


def test_close_goes_on_by_the_same_two_snapshots_when_other_orders_were_decided_since() -> None:
    # The rest of a close, while the book has acted on the newest block already.
    book = a_book(a_hedge(), block_number=gone.snapshot.block_number)

    assert name(decide(gone, book)) == (CloseHedge, Reason.POSITION_CLOSED)


def test_close_above_the_maximum_asks_for_the_maximum() -> None:
    decision = decide(gone, a_book(a_hedge()), venue=a_venue(known=[rules(quantity_max="0.15")]))

    assert isinstance(decision, CloseHedge)
    assert decision.share.quantity == Decimal("0.15")


def test_close_needs_neither_rules_nor_prices_nor_a_symbol_free_to_grow() -> None:
    blind = an_observation(prices={}, marks={})
    venue = a_venue(known=[], blocked={"BTCUSDT": "the account differs"})

    decision = decide(blind, a_book(a_hedge()), policy=NO_SYMBOLS, venue=venue)

    assert name(decision) == (CloseHedge, Reason.POSITION_CLOSED)


@pytest.mark.parametrize(
    ("observation", "expected"),
    [(at_risk, KEEP), (safe, (CloseHedge, Reason.EXPIRED)), (gone, (CloseHedge, Reason.POSITION_CLOSED))],
)
def test_hedge_is_looked_after_when_its_market_lost_its_symbol(
    observation: Observation, expected: tuple[type, Reason]
) -> None:
    assert name(decide(observation, a_book(a_hedge(placed_at=OLD)), policy=NO_SYMBOLS)) == expected


def test_one_hedge_that_cannot_be_closed_holds_up_no_other() -> None:
    stuck, other = a_position(user=a_user(1)), a_position(user=a_user(2))
    book = a_book(a_hedge(position=stuck), a_hedge(position=other))

    decisions = plan(gone, book, a_policy(), a_venue(waiting_to_reduce=[stuck.key]))

    assert [name(decision) for decision in decisions] == [
        (Hold, Reason.BACKING_OFF),
        (CloseHedge, Reason.POSITION_CLOSED),
    ]


def test_position_that_flipped_closes_its_hedge_first_and_opens_the_other_later() -> None:
    risky_short = an_observation(positions=[FLIPPED], prices={BTC: 40_000})

    first = decide(risky_short, a_book(a_hedge()))
    second = decide(risky_short, a_book())

    assert isinstance(first, CloseHedge)
    assert (first.side, first.share.quantity) == (Side.BUY, Decimal("0.2"))
    assert isinstance(second, OpenHedge)
    assert second.side is Side.SELL


def test_hedge_is_judged_by_the_position_of_its_own_key() -> None:
    other = a_position(user=a_user(1), entry_price=scaled(RISKY))
    observation = an_observation(positions=[POSITION, other], prices={BTC: RISKY})

    decisions = {decision.key: decision for decision in plan(observation, a_book(), a_policy(), a_venue())}

    assert name(decisions[KEY]) == (OpenHedge, Reason.AT_RISK)
    assert name(decisions[other.key]) == (Hold, Reason.NOT_AT_RISK)


@pytest.mark.parametrize(("block_number", "kind"), [(999, CloseHedge), (1_000, CloseHedge), (1_001, Hold)])
def test_absence_counts_only_from_a_snapshot_no_older_than_one_acted_on(block_number: int, kind: type) -> None:
    # After a restart the first node asked may lag behind the block in which the position was opened.
    assert type(decide(gone, a_book(a_hedge(), block_number=block_number))) is kind


def test_price_is_scaled_exactly() -> None:
    assert get_price(a_tick(price="12345.000000000000000001").price) == Decimal("12345.000000000000000001")


@pytest.mark.parametrize("sizing", Sizing)
def test_position_without_entry_price_is_never_at_risk_by_its_profit(sizing: Sizing) -> None:
    position: Position = POSITION._replace(entry_price=0)

    decision = decide(
        an_observation(positions=[position], prices={BTC: RISKY}), a_book(), policy=a_policy(sizing=sizing)
    )

    assert name(decision) == (Hold, Reason.NOT_AT_RISK)


def follow(
    position: Position, hedge: HedgedPosition, *, mark: Number = RISKY, sizing: Sizing = Sizing.DELTA,
    mode: TradingMode = TradingMode.ACTIVE, known: TradingRules | None = None, **venue: object,
) -> Decision:  # fmt: skip
    """The decision for a hedged position that is at risk with any profit, for there is no shield."""
    snapshot = a_snapshot(positions=[position], shield=0)
    observation = an_observation(snapshot=snapshot, prices={BTC: RISKY}, marks={"BTCUSDT": mark})
    state = a_venue(known=[known or rules()], **venue)  # type: ignore[arg-type]
    decision = decide(observation, a_book(hedge, mode=mode), policy=a_policy(sizing=sizing), venue=state)
    assert decision is not None
    return decision


def sized(dollars: Number, *, entry: Number = 50_000) -> Position:
    return POSITION._replace(size=usd(dollars), entry_price=scaled(entry))


@pytest.mark.parametrize(
    ("position", "hedge", "action", "quantity", "target", "reason"),
    [
        (sized(20_000), a_hedge(), Action.INCREASE, "0.2", "0.4", Reason.SIZE_CHANGED),
        (sized(5_000), a_hedge(), Action.REDUCE, "0.1", "0.1", Reason.SIZE_CHANGED),
        (sized(10_000, entry=40_000), a_hedge(), Action.INCREASE, "0.05", "0.25", Reason.SIZE_CHANGED),
        (sized(10_000, entry=50_000), a_hedge(quantity="0.15", target="0.2"), Action.INCREASE, "0.05", "0.2",
         Reason.INCOMPLETE),
        (sized(10_000), a_hedge(quantity="0.25", target="0.2"), Action.REDUCE, "0.05", "0.2", Reason.INCOMPLETE),
        # A close that was filled in part, of a position that is at risk again.
        (sized(10_000), a_hedge(quantity="0.05", target="0"), Action.INCREASE, "0.15", "0.2", Reason.SIZE_CHANGED),
    ],
)  # fmt: skip
def test_resize_sends_the_difference(
    position: Position, hedge: HedgedPosition, action: Action, quantity: str, target: str, reason: Reason
) -> None:
    decision = follow(position, hedge)

    assert isinstance(decision, ResizeHedge)
    assert (decision.action, decision.reason, decision.side) == (action, reason, Side.BUY)
    figures = (Decimal(quantity), Decimal(target), position.size, position.entry_price)
    assert decision.share == Share(KEY, *figures, reason, Decimal(RISKY))


@pytest.mark.parametrize(("size", "action"), [(20_000, Action.INCREASE), (5_000, Action.REDUCE)])
def test_resize_of_a_short_keeps_its_side(size: int, action: Action) -> None:
    short = sized(size)._replace(is_long=False)
    observation = an_observation(positions=[short], prices={BTC: 30_000})

    decision = decide(observation, a_book(a_hedge(position=FLIPPED)))

    assert isinstance(decision, ResizeHedge)
    assert (decision.side, decision.action) == (Side.SELL, action)


@pytest.mark.parametrize(("size", "quantity"), [(100_000, "0.15"), (100, "0.15")])
def test_resize_above_the_maximum_asks_for_the_maximum(size: int, quantity: str) -> None:
    decision = follow(sized(size), a_hedge(), known=rules(quantity_max="0.15"))

    assert isinstance(decision, ResizeHedge)
    assert decision.share.quantity == Decimal(quantity)


@pytest.mark.parametrize("mark", [1, 30_000, 60_000, 90_000])
@pytest.mark.parametrize("sizing", Sizing)
def test_hedge_does_not_follow_the_mark(sizing: Sizing, mark: int) -> None:
    assert name(follow(POSITION, a_hedge(), mark=mark, sizing=sizing)) == KEEP


def test_notional_hedge_follows_the_size_at_the_mark() -> None:
    decision = follow(sized(20_000), a_hedge(), mark=RISKY, sizing=Sizing.NOTIONAL)

    assert isinstance(decision, ResizeHedge)
    assert decision.share.target == Decimal("0.333")


@pytest.mark.parametrize(
    "held_back",
    [
        {"blocked": {"BTCUSDT": "the account differs"}}, {"waiting_to_grow": [KEY]}, {"exhausted": ["BTCUSDT"]},
        {"known": rules(is_trading=False)}, {"mode": TradingMode.REDUCE_ONLY}, {"known": rules(quantity_min="0.201")},
        {"known": rules(notional_min="12000.01")},
    ],
)  # fmt: skip
def test_growth_is_held_back_and_the_hedge_kept(held_back: dict[str, object]) -> None:
    assert name(follow(sized(20_000), a_hedge(), **held_back)) == KEEP  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "venue",
    [
        {"blocked": {"BTCUSDT": "the account differs"}}, {"known": rules(is_trading=False)},
        {"mode": TradingMode.REDUCE_ONLY}, {"waiting_to_grow": [KEY]}, {"exhausted": ["BTCUSDT"]},
    ],
)  # fmt: skip
def test_reduction_is_not_held_back_by_what_holds_growth(venue: dict[str, object]) -> None:
    assert isinstance(follow(sized(5_000), a_hedge(), **venue), ResizeHedge)  # type: ignore[arg-type]


def test_reduction_waits_a_moment_after_a_refusal() -> None:
    assert name(follow(sized(5_000), a_hedge(), waiting_to_reduce=[KEY])) == KEEP


def test_hedge_is_kept_when_the_exchange_no_longer_lists_its_symbol() -> None:
    assert name(decide(at_risk, a_book(a_hedge(size=5)), venue=a_venue(known=[]))) == KEEP


def test_growth_waits_for_a_mark_price() -> None:
    assert name(decide(replace(at_risk, marks={}), a_book(a_hedge(size=5, quantity="0.1")))) == KEEP


def test_reduction_by_the_traders_own_quantity_needs_no_mark_price() -> None:
    world = replace(an_observation(positions=[sized(5_000)], prices={BTC: RISKY}), marks={})

    assert isinstance(decide(world, a_book(a_hedge())), ResizeHedge)


def test_resize_by_the_dollars_at_the_mark_waits_for_a_mark() -> None:
    world = replace(an_observation(positions=[sized(5_000)], prices={BTC: RISKY}), marks={})

    assert name(decide(world, a_book(a_hedge()), policy=a_policy(sizing=Sizing.NOTIONAL))) == KEEP


@pytest.mark.parametrize("mark", [0, -1])
def test_nothing_is_opened_at_a_mark_of_nothing_or_less(mark: int) -> None:
    world = replace(at_risk, marks={"BTCUSDT": Decimal(mark)})

    assert name(decide(world, a_book())) == (Hold, Reason.NO_MARK_PRICE)


def test_hedge_is_closed_when_its_position_became_smaller_than_a_step() -> None:
    decision = follow(sized("49.99"), a_hedge())

    assert isinstance(decision, CloseHedge)
    assert (decision.reason, decision.share.quantity) == (Reason.TOO_SMALL, Decimal("0.2"))


@pytest.mark.parametrize("mark", [0, -1])
def test_hedge_is_kept_when_the_exchange_says_a_mark_of_nothing_or_less(mark: int) -> None:
    # As it does for a symbol that is being settled or is not traded yet.
    decision = follow(sized(20_000), a_hedge(), mark=mark, sizing=Sizing.NOTIONAL)

    assert name(decision) == KEEP


def test_coin_of_less_than_a_dollar_is_hedged_like_any_other() -> None:
    notional = a_policy(sizing=Sizing.NOTIONAL)
    opened = decide(replace(at_risk, marks={"BTCUSDT": Decimal("0.5")}), a_book(), policy=notional)

    assert isinstance(opened, OpenHedge)
    assert opened.share.target == 20_000
    assert isinstance(follow(sized(20_000), a_hedge(), mark="0.5", sizing=Sizing.NOTIONAL), ResizeHedge)


def test_close_of_what_became_too_small_carries_its_figures() -> None:
    assert follow(sized("49.99"), a_hedge()).assessment is not None


@pytest.mark.parametrize(
    ("size", "known"),
    [
        (9_750, rules(quantity_min="0.01")),
        (9_000, rules(notional_min="1200.01")),
        (300, rules(quantity_min="0.01")),
    ],
)
def test_reduction_sends_and_leaves_no_less_than_the_minimum(size: int, known: TradingRules) -> None:
    # The exchange refuses an order below it, today's reduction and tomorrow's close alike.
    assert not isinstance(follow(sized(size), a_hedge(), known=known), ResizeHedge)


def test_reduction_may_be_exactly_the_minimum() -> None:
    assert isinstance(follow(sized(9_000), a_hedge(), known=rules(notional_min=1_200)), ResizeHedge)


@pytest.mark.parametrize("observation", [at_risk, gone])
def test_quantity_is_on_the_step_when_the_maximum_is_not(observation: Observation) -> None:
    venue = a_venue(known=[rules(step="0.01", quantity_max="0.125")])
    book = a_book(a_hedge()) if observation is gone else a_book()

    decision = decide(observation, book, venue=venue)

    assert isinstance(decision, OpenHedge | CloseHedge)
    assert decision.share.quantity == Decimal("0.12")


def test_close_takes_what_is_on_the_step_when_the_exchange_has_made_it_larger() -> None:
    decision = decide(gone, a_book(a_hedge()), venue=a_venue(known=[rules(step="0.15")]))

    assert isinstance(decision, CloseHedge)
    assert decision.share.quantity == Decimal("0.15")


def test_close_waits_when_what_is_held_is_less_than_a_step() -> None:
    decision = decide(gone, a_book(a_hedge()), venue=a_venue(known=[rules(step="0.5")]))

    assert name(decision) == (Hold, Reason.TOO_SMALL)


def test_growth_is_on_the_step_when_the_exchange_has_made_it_larger() -> None:
    book = a_book(a_hedge(quantity="0.1", target="0.235"))

    decision = decide(at_risk, book, venue=a_venue(known=[rules(step="0.1")]))

    assert isinstance(decision, ResizeHedge)
    assert (decision.share.quantity, decision.share.target) == (Decimal("0.1"), Decimal("0.235"))
