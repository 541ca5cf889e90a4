"""Group orders: nothing lost, nothing mixed, reductions first, the exchange's maximum respected."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core import batching
from dehedge.core.batching import OrderDraft, build_drafts
from dehedge.core.decisions import CloseHedge, OpenHedge, Reason, ResizeHedge, TradeDecision
from dehedge.core.model import Side, TradingRules
from dehedge.core.orders import Action
from tests.core.builders import BTC, ETH, SYMBOLS, a_position, a_share, a_user, rules

RULES = {symbol: rules(symbol=symbol, quantity_max=3) for symbol in SYMBOLS.values()}


def a_trade(number: int, kind: str, *, is_long: bool = True, market: str = BTC, quantity: str = "1") -> TradeDecision:
    position = a_position(user=a_user(number), is_long=is_long, market=market)
    share = a_share(position=position, quantity=quantity)
    common = (position.key, Reason.AT_RISK, SYMBOLS[market], position.hedge_side, share)
    if kind == "open":
        return OpenHedge(*common)
    if kind == "close":
        return CloseHedge(*common)
    return ResizeHedge(*common, action=Action.INCREASE if kind == "grow" else Action.REDUCE)


trades = st.lists(
    st.builds(
        lambda kind, is_long, market, thousandths: (kind, is_long, market, str(Decimal(thousandths) / 1_000)),
        st.sampled_from(("open", "close", "grow", "shrink")),
        st.booleans(),
        st.sampled_from((BTC, ETH)),
        st.integers(1, 3_000),
    ),
    max_size=25,
).map(
    lambda drawn: [
        a_trade(number, kind, is_long=is_long, market=market, quantity=quantity)
        for number, (kind, is_long, market, quantity) in enumerate(drawn)
    ]
)


@pytest.mark.parametrize(
    ("kind", "is_long", "action", "order_side"),
    [
        ("open", True, Action.INCREASE, Side.BUY),
        ("open", False, Action.INCREASE, Side.SELL),
        ("grow", True, Action.INCREASE, Side.BUY),
        ("shrink", True, Action.REDUCE, Side.SELL),
        ("close", True, Action.REDUCE, Side.SELL),
        ("close", False, Action.REDUCE, Side.BUY),
    ],
)
def test_draft_side_when_hedges_of_a_side_grow_or_shrink(
    kind: str, is_long: bool, action: Action, order_side: Side
) -> None:
    (draft,) = build_drafts([a_trade(1, kind, is_long=is_long)], RULES, {})

    assert (draft.action, draft.order_side) == (action, order_side)
    assert draft.hedge_side is (Side.BUY if is_long else Side.SELL)


def test_drafts_put_one_symbol_side_and_action_into_one_order() -> None:
    (draft,) = build_drafts([a_trade(1, "open"), a_trade(2, "grow"), a_trade(3, "open", quantity="0.5")], RULES, {})

    assert draft.quantity == Decimal("2.5")
    assert len(draft.shares) == 3


@pytest.mark.parametrize(
    "other",
    [a_trade(2, "open", is_long=False), a_trade(2, "close"), a_trade(2, "shrink"), a_trade(2, "open", market=ETH)],
)
def test_drafts_keep_apart_what_differs(other: TradeDecision) -> None:
    assert len(build_drafts([a_trade(1, "open"), other], RULES, {})) == 2


def test_drafts_split_between_hedges_when_above_the_maximum() -> None:
    drafts = build_drafts([a_trade(number, "open", quantity="1.4") for number in range(5)], RULES, {})

    assert [draft.quantity for draft in drafts] == [Decimal("2.8"), Decimal("2.8"), Decimal("1.4")]


def test_drafts_may_be_exactly_the_maximum() -> None:
    assert len(build_drafts([a_trade(1, "open", quantity="2"), a_trade(2, "open", quantity="1")], RULES, {})) == 1
    assert len(build_drafts([a_trade(1, "open", quantity="2"), a_trade(2, "open", quantity="1.001")], RULES, {})) == 2


def test_drafts_that_add_exposure_are_split_by_the_operators_maximum_where_it_is_tighter() -> None:
    trades = [a_trade(number, kind, quantity="1") for number, kind in enumerate(["open", "grow", "open", *["close"] * 3])]

    drafts = build_drafts(trades, RULES, {}, {"BTCUSDT": Decimal(2)})
    loose = build_drafts(trades, RULES, {}, {"BTCUSDT": Decimal(9), "ETHUSDT": Decimal(1)})

    assert [(draft.action, draft.quantity) for draft in drafts] == [
        (Action.REDUCE, 3), (Action.INCREASE, 2), (Action.INCREASE, 1),
    ]  # fmt: skip
    assert [draft.quantity for draft in loose] == [3, 3]
    assert len(build_drafts(trades[:3], {}, {}, {"BTCUSDT": Decimal(1)})) == 1


def test_drafts_are_not_split_when_the_rules_are_unknown() -> None:
    assert len(build_drafts([a_trade(number, "close", quantity="50") for number in range(4)], {}, {})) == 1


def test_drafts_bound_the_shares_of_one_order() -> None:
    drafts = build_drafts([a_trade(number, "open", quantity="0.001") for number in range(4_001)], RULES, {})

    assert [len(draft.shares) for draft in drafts] == [2_000, 2_000, 1]


@pytest.mark.parametrize(("count_max", "sizes"), [(3, [3, 2]), (2, [2, 2, 1]), (1, [1] * 5), (0, [1] * 5)])
def test_drafts_of_hedges_whose_group_was_refused_are_smaller(count_max: int, sizes: list[int]) -> None:
    trades = [a_trade(number, "open", quantity="0.1") for number in range(5)]

    drafts = build_drafts(trades, RULES, {trade.key: count_max for trade in trades})

    assert [len(draft.shares) for draft in drafts] == sizes


def test_drafts_keep_hedges_that_were_refused_out_of_the_orders_of_others() -> None:
    trades = [a_trade(number, "open", quantity="0.1") for number in range(5)]
    refused = {trade.key for trade in trades[:2]}

    drafts = build_drafts(trades, RULES, dict.fromkeys(refused, 1))

    assert sorted(len(draft.shares) for draft in drafts) == [1, 1, 3]
    assert all(len({share.key in refused for share in draft.shares}) == 1 for draft in drafts)


def test_drafts_send_whole_groups_before_those_that_were_refused() -> None:
    # The room under the order limit goes first to the order that protects most.
    trades = [a_trade(number, "open", quantity="0.1") for number in range(5)]

    drafts = build_drafts(trades, RULES, {trades[0].key: 1, trades[1].key: 1})

    assert [len(draft.shares) for draft in drafts] == [3, 1, 1]


def test_drafts_are_none_when_nothing_is_to_be_done() -> None:
    assert build_drafts([], RULES, {}) == []


def test_draft_shares_begin_with_the_largest_and_then_by_key() -> None:
    sizes = {3: "0.1", 1: "0.1", 2: "0.7"}

    (draft,) = build_drafts([a_trade(number, "open", quantity=size) for number, size in sizes.items()], RULES, {})

    assert [share.key.position_id.partition("|")[0] for share in draft.shares] == [a_user(2), a_user(1), a_user(3)]


@given(trades, st.dictionaries(st.integers(0, 24), st.integers(0, 4)))
def test_drafts_hold_every_share_once_with_its_own_side_and_action(
    decisions: list[TradeDecision], refused: dict[int, int]
) -> None:
    group_max = {decisions[number].key: limit for number, limit in refused.items() if number < len(decisions)}

    drafts = build_drafts(decisions, RULES, group_max)

    for draft in drafts:
        assert len(draft.shares) <= max(1, min(group_max.get(share.key, batching.SHARES_MAX) for share in draft.shares))

    held = Counter((draft.symbol, draft.hedge_side, draft.action, share) for draft in drafts for share in draft.shares)
    assert held == Counter((trade.symbol, trade.side, trade.action, trade.share) for trade in decisions)
    assert sum((draft.quantity for draft in drafts), Decimal(0)) == sum(trade.share.quantity for trade in decisions)


@given(trades)
def test_drafts_respect_the_maximum_and_are_never_empty(decisions: list[TradeDecision]) -> None:
    for draft in build_drafts(decisions, RULES, {}):
        assert 0 < draft.quantity <= RULES[draft.symbol].quantity_max


@given(trades)
def test_drafts_put_every_reduction_before_any_increase(decisions: list[TradeDecision]) -> None:
    actions = [draft.action for draft in build_drafts(decisions, RULES, {})]

    assert actions == sorted(actions, key=lambda action: action is Action.INCREASE)


@given(trades, st.randoms(use_true_random=False))
def test_drafts_do_not_depend_on_the_order_of_decisions(decisions: list[TradeDecision], dice) -> None:
    shuffled = list(decisions)
    dice.shuffle(shuffled)

    assert build_drafts(shuffled, RULES, {}) == build_drafts(decisions, RULES, {})


def test_draft_can_be_compared_and_not_changed() -> None:
    share = a_share()
    draft = OrderDraft("BTCUSDT", Side.BUY, Action.INCREASE, (share,))

    assert draft == OrderDraft("BTCUSDT", Side.BUY, Action.INCREASE, (share,))
    assert (draft.quantity, draft.keys) == (share.quantity, [share.key])


def test_draft_for_nobody_asks_for_nothing() -> None:
    quantity = OrderDraft("BTCUSDT", Side.BUY, Action.INCREASE, ()).quantity

    assert (quantity, type(quantity)) == (0, Decimal)


def test_rules_of_another_symbol_do_not_split() -> None:
    known: dict[str, TradingRules] = {"ETHUSDT": RULES["ETHUSDT"]}

    assert len(build_drafts([a_trade(number, "open", quantity="3") for number in range(3)], known, {})) == 1
