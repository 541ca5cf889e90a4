"""What holds for any history: a replay of any part of it is the book of that moment, and how reports arrive is all one."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.book import HedgeBook, HedgeStatus, TradingMode
from dehedge.core.costs import OrderPriced
from dehedge.core.events import (
    Event,
    ForeignPositionSeen,
    HedgesCooled,
    HedgesForced,
    HedgesReheated,
    HedgeWrittenDown,
    OrderIntended,
    OrderReported,
    TradingModeSet,
    fold,
)
from dehedge.core.model import Leg, Side
from dehedge.core.orders import Action, OrderStatus
from tests.core.builders import (
    NOW,
    a_book,
    a_hedge,
    a_position,
    a_report,
    a_share,
    a_user,
    an_intent,
    an_intent_for,
    replay,
)

FIRST, SECOND = a_position(user=a_user(1)), a_position(user=a_user(2))
SHORT = a_position(user=a_user(3), is_long=False)
STEP = Decimal("0.001")
PARTS = st.integers(1, 300).map(lambda count: count * STEP)
ENDS = st.sampled_from((OrderStatus.FILLED, OrderStatus.EXPIRED, OrderStatus.CANCELED, OrderStatus.REJECTED))


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Opens, resizes and closes of three hedges that end in any way, with other facts strewn in."""
    events: list[Event] = []
    book = HedgeBook()
    for sequence in range(draw(st.integers(1, 8))):
        quantity = draw(PARTS)
        position = draw(st.sampled_from((FIRST, SECOND, SHORT)))
        intent = an_intent_for(book, position, quantity, sequence=sequence)
        drawn: list[Event] = [intent]
        if draw(st.booleans()):
            drawn.append(a_report(intent, status=OrderStatus.PARTIALLY_FILLED, filled=_draw_part(draw, intent)))
        drawn.append(a_report(intent, status=draw(ENDS), filled=_draw_part(draw, intent)))
        drawn.append(draw(st.sampled_from((
            HedgesCooled(((FIRST.key, NOW + sequence),)), HedgesReheated((FIRST.key, SHORT.key), NOW + sequence),
            HedgesForced(str(sequence), "BTCUSDT", Leg.BOTH, Side.SELL, Decimal("0.05"), Decimal("0.05"), "autoclose"),
            HedgeWrittenDown(SECOND.key, Decimal("0.01"), "by hand"),
            OrderPriced(intent.request.client_order_id, Decimal(9)),
            ForeignPositionSeen("BTCUSDT", Leg.BOTH, quantity, NOW + sequence),
            TradingModeSet(TradingMode.NO_OPENS, is_flattening=False), drawn[-1],
        ))))  # fmt: skip
        for event in drawn:
            fold(book, event)
        events += drawn
    return events


def _draw_part(draw: st.DrawFn, intent: OrderIntended) -> Decimal:
    return draw(st.integers(0, int(intent.request.quantity / STEP))) * STEP


@given(histories())
def test_replay_of_any_prefix_is_the_book_that_was_live_at_that_moment(events: list[Event]) -> None:
    live = HedgeBook()
    moments = [live.copy()]
    for event in events:
        fold(live, event)
        moments.append(live.copy())

    # Compared at the end, so that a copy which shares anything with the live book is found out.
    assert moments == [replay(events[:count]) for count in range(len(events) + 1)]


@given(histories())
def test_folded_hedges_are_positive_on_the_step_and_open_when_nothing_is_in_flight(events: list[Event]) -> None:
    for hedge in replay(events).get_all_hedged_positions().values():
        assert hedge.quantity > 0
        assert hedge.quantity % STEP == 0
        assert hedge.status is HedgeStatus.OPEN


@given(histories(), st.data())
def test_reports_repeated_at_any_later_moment_fold_to_the_same_book(events: list[Event], data: st.DataObject) -> None:
    repeated = list(events)
    for report in data.draw(st.lists(st.sampled_from([e for e in events if isinstance(e, OrderReported)]), max_size=5)):
        first = repeated.index(report)
        repeated.insert(data.draw(st.integers(first + 1, len(repeated))), report)

    assert replay(repeated) == replay(events)


class Life(NamedTuple):
    """An order, and all that is said of it: growing fills, then an end that knows the last of them."""

    intent: OrderIntended
    reports: list[OrderReported]

    @property
    def filled(self) -> Decimal:
        return self.reports[-1].report.filled_quantity * self.intent.request.side.sign


@st.composite
def lives(draw: st.DrawFn, number: int) -> Life:
    """An order for up to three hedges of its own: it opens them, or reduces what ``a_held_book`` holds of them."""
    is_long, action = draw(st.booleans()), draw(st.sampled_from(Action))
    held = range(10 * number + 1, 10 * number + draw(st.integers(2, 4)))
    target = 1 if action is Action.INCREASE else 0
    shares = [
        a_share(position=a_position(user=a_user(user), is_long=is_long), quantity=draw(PARTS), target=target)
        for user in held
    ]
    side = Side.BUY if is_long else Side.SELL
    intent = an_intent(shares=shares, hedge_side=side, action=action, sequence=number)
    fills = sorted(_draw_part(draw, intent) for _ in range(draw(st.integers(1, 3))))
    reports = [a_report(intent, status=OrderStatus.PARTIALLY_FILLED, filled=fill) for fill in fills]
    return Life(intent, [*reports, a_report(intent, status=draw(ENDS), filled=fills[-1])])


many_lives = st.integers(1, 4).flatmap(lambda count: st.tuples(*(lives(number) for number in range(count))))


def a_held_book(orders: tuple[Life, ...]) -> HedgeBook:
    """Holds what the reductions reduce, and has all of the orders in flight."""
    book = a_book(*(
        a_hedge(position=a_position(user=share.key.position_id.partition("|")[0]), quantity="0.3", side=life.intent.hedge_side)
        for life in orders if life.intent.action is Action.REDUCE for share in life.intent.shares
    ))  # fmt: skip
    for life in orders:
        fold(book, life.intent)
    return book


@given(many_lives, st.data())
def test_reports_of_many_orders_fold_to_the_same_book_however_they_arrive(
    orders: tuple[Life, ...], data: st.DataObject
) -> None:
    said = [report for life in orders for report in life.reports]
    again = data.draw(st.lists(st.sampled_from(said), max_size=5))
    in_turn, as_they_come = a_held_book(orders), a_held_book(orders)
    before = in_turn.get_net_quantity("BTCUSDT", Leg.BOTH)

    for report in said:
        fold(in_turn, report)
    for report in data.draw(st.permutations([*said, *again])):
        fold(as_they_come, report)

    assert as_they_come == in_turn
    assert in_turn.get_net_quantity("BTCUSDT", Leg.BOTH) == before + sum(life.filled for life in orders)
    assert not in_turn.in_flight
