"""What open hedges have earned so far: the same as a report over the whole journal, and in bounded memory."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core import earnings as module
from dehedge.core.book import HedgeBook
from dehedge.core.costs import Fee, FundingPaid, OrderPriced
from dehedge.core.earnings import MEMORY_S, UNPRICED_MAX_S, Earnings, Figures
from dehedge.core.events import ForeignPositionSeen, HedgesForced, HedgeWrittenDown, OrderIntended, fold
from dehedge.core.lives import Sight
from dehedge.core.model import HedgeKey, Leg, Position, Side
from dehedge.core.orders import Action, ClientOrderId
from dehedge.core.report import HedgeReport, build_report
from tests.core.builders import BTC, ETH, NOW, a_report, a_share, an_intent
from tests.core.ledgers import LONG, POSITIONS, SHORT, TWIN, UNIT, Entry, build_records, stories

STEP = Decimal("0.1")
PRICE = Decimal(61_000)
HOUR_S = 3_600.0


def tell(entries: Sequence[Entry]) -> Earnings:
    earnings, book = Earnings(), HedgeBook()
    for at, event in entries:
        earnings.note(at, event, fold(book, event))
    return earnings


def report_standing(entries: Sequence[Entry], price: Decimal) -> Mapping[HedgeKey, HedgeReport]:
    """What a report over everything says of the hedges that are held."""
    prices = {market: Sight(NOW, price) for market in (BTC, ETH)}
    report = build_report(build_records(list(entries)), 0, NOW * 2, asset_unit=UNIT, prices=prices)
    hedges = [hedge for market in report.markets for hedge in market.hedges]
    return {hedge.life.key: hedge for hedge in hedges if hedge.life.closed_at is None}


def drop_nothing(amounts: Mapping[str, Decimal]) -> Mapping[str, Decimal]:
    return {asset: amount for asset, amount in amounts.items() if amount}


def check_same(figures: Figures | None, hedge: HedgeReport, price: Decimal) -> bool:
    assert figures is not None
    assert hedge.standing is not None
    assert figures.realized_usd == hedge.sums.realized_usd
    assert figures.get_profit(price) == hedge.sums.realized_usd + hedge.standing.unrealized_usd
    assert drop_nothing(figures.fees) == drop_nothing(hedge.sums.fees)
    assert (figures.fees_usd, figures.funding_usd) == (hedge.sums.fees_usd, hedge.sums.funding_usd)
    assert drop_nothing(figures.funding) == drop_nothing(hedge.sums.funding)
    return True


def check_law(entries: Sequence[Entry], price: Decimal = PRICE) -> int:
    """How many hedges are held of which the same was said."""
    earnings, standing = tell(entries), report_standing(entries, price)
    gone = [position.key for position in POSITIONS if position.key not in standing]
    assert [key for key in gone if earnings.get(key) is not None] == []
    return sum(check_same(earnings.get(key), hedge, price) for key, hedge in standing.items())


@given(stories(), st.decimals(40_000, 70_000, places=1), st.data())
def test_open_hedges_earn_and_cost_what_the_report_says_after_any_prefix(
    entries: list[Entry], price: Decimal, data: st.DataObject
) -> None:
    check_law(entries, price)
    check_law(entries[: data.draw(st.integers(0, len(entries)))], price)


@given(stories(), st.data())
def test_restart_says_the_same_after_any_prefix(entries: list[Entry], data: st.DataObject) -> None:
    """Whoever is asked in between says the same afterwards as who is only told."""
    asked, book, end = Earnings(), HedgeBook(), data.draw(st.integers(0, len(entries)))
    for at, event in entries[:end]:
        asked.note(at, event, fold(book, event))
        for position in POSITIONS:
            asked.get(position.key)
    again = tell(entries[:end])

    assert [asked.get(position.key) for position in POSITIONS] == [again.get(position.key) for position in POSITIONS]


class Journal:
    """Entries one after the other, a second apart unless said otherwise."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.at = NOW
        self._sequence = 0

    def tell(self, *events: object) -> None:
        for event in events:
            self.at += 1
            self.entries.append(Entry(self.at, event))  # type: ignore[arg-type]

    def order(
        self, *positions: Position, target: Decimal = STEP, closes: bool = False, mark: Decimal | None = Decimal(60_000)
    ) -> OrderIntended:
        self._sequence += 1
        shares = [
            a_share(position=position, quantity=STEP, target=Decimal(0) if closes else target) for position in positions
        ]
        action = Action.REDUCE if closes else Action.INCREASE
        intent = an_intent(shares=shares, hedge_side=positions[0].hedge_side, action=action, sequence=self._sequence)
        self.tell(replace(intent, mark=mark), a_report(intent))
        return intent

    def price(self, intent: OrderIntended, fees: Sequence[Fee] = (Fee("USDT", Decimal("2.4")),)) -> None:
        request = intent.request
        self.tell(
            OrderPriced(request.client_order_id, Decimal(60_006), "77", request.quantity, tuple(fees), Decimal(0))
        )

    def fund(self, amount: str, paid_at: float | None = None, number: str = "1") -> None:
        self.tell(FundingPaid("BTCUSDT", Decimal(amount), "USDT", self.at if paid_at is None else paid_at, number))


@pytest.fixture
def journal() -> Journal:
    return Journal()


def test_figures_of_one_hedge_by_hand(journal: Journal):
    journal.price(journal.order(LONG), [Fee("BNB", Decimal("0.01")), Fee("USDT", Decimal("2.4"))])
    journal.fund("-0.5")

    figures = tell(journal.entries).get(LONG.key)

    assert figures is not None
    assert (figures.fees_usd, figures.other_fees, figures.funding_usd) == (
        Decimal("2.4"),
        {"BNB": Decimal("0.01")},
        Decimal("-0.5"),
    )
    assert (figures.realized_usd, figures.get_profit(Decimal(61_006))) == (0, 100)
    assert tell(journal.entries).get(TWIN.key) is None


def test_forced_order_shares_its_fees_anew_when_it_fills_more_after_its_receipt(journal: Journal):
    journal.order(LONG, TWIN, target=STEP)
    part = HedgesForced("f", "BTCUSDT", Leg.BOTH, Side.SELL, Decimal("0.05"), Decimal("0.05"), "adl")
    receipt = OrderPriced(
        ClientOrderId(""), Decimal(50_000), "f", Decimal("0.05"), (Fee("USDT", Decimal(1)),), Decimal(0)
    )
    journal.tell(part, receipt)
    assert check_law(journal.entries) == 2

    journal.tell(replace(part, filled_quantity=Decimal("0.12"), quantity=Decimal("0.07")))
    assert check_law(journal.entries) == 1
    journal.tell(replace(receipt, quantity=Decimal("0.12"), fees=(Fee("USDT", Decimal(3)),)))
    assert check_law(journal.entries) == 1
    assert tell(journal.entries).get(TWIN.key).fees_usd == Decimal("0.5")  # type: ignore[union-attr]


def test_forced_order_that_fills_more_changes_what_was_asked_for_before(journal: Journal):
    journal.order(LONG)
    part = HedgesForced("f", "BTCUSDT", Leg.BOTH, Side.SELL, STEP / 4, STEP / 4, "adl")
    receipt = OrderPriced(ClientOrderId(""), Decimal(50_000), "f", STEP / 2, (Fee("USDT", Decimal(3)),), Decimal(0))
    journal.tell(part, receipt)
    earnings, book = Earnings(), HedgeBook()
    asked = []
    for at, event in [*journal.entries, Entry(journal.at + 1, replace(part, filled_quantity=STEP / 2))]:
        earnings.note(at, event, fold(book, event))
        figures = earnings.get(LONG.key)
        asked.append(figures.fees_usd if figures is not None else None)

    assert asked[-2:] == [Decimal("1.5"), 3]


def test_receipts_are_believed_as_a_report_believes_them_however_much_they_tell(journal: Journal):
    opened = journal.order(LONG, TWIN)
    for told in ({"fees": None}, {"quantity": None}, {"quantity": STEP}, {"fees": None}, {"average_price": Decimal(60_010)}):
        fees = (Fee("USDT", Decimal(2)),)
        receipt = OrderPriced(opened.request.client_order_id, Decimal(60_006), "77", opened.request.quantity, fees)
        journal.tell(replace(receipt, **told))
        assert check_law(journal.entries) == 2


def test_what_another_hand_took_is_added_up_at_once(journal: Journal):
    journal.order(LONG)
    journal.tell(HedgeWrittenDown(LONG.key, STEP / 2, "by hand"))

    assert check_law(journal.entries) == 1


def test_both_legs_of_one_booking_are_shared_as_one(journal: Journal):
    journal.order(LONG)
    journal.order(SHORT)
    paid_at = journal.at
    journal.order(TWIN)
    journal.fund("-3", paid_at, "1")
    journal.fund("2.5", paid_at, "2")
    journal.tell(ForeignPositionSeen("BTCUSDT", Leg.LONG, Decimal("0.3"), 0))

    assert check_law(journal.entries) == 3


def test_booking_counts_what_was_held_then_when_the_exchanges_clock_is_ahead(journal: Journal):
    journal.order(LONG)
    journal.fund("-6", journal.at + 5)
    journal.order(TWIN)
    assert check_law(journal.entries) == 2
    assert tell(journal.entries).get(TWIN.key).funding_usd == -3  # type: ignore[union-attr]

    journal.tell(ForeignPositionSeen("BTCUSDT", Leg.BOTH, STEP, 0))
    assert check_law(journal.entries) == 2
    assert tell(journal.entries).get(TWIN.key).funding_usd == -2  # type: ignore[union-attr]


def test_booking_before_any_price_is_shared_once_there_is_one(journal: Journal):
    journal.order(LONG, mark=None)
    journal.fund("-1")
    assert tell(journal.entries).get(LONG.key).funding_usd == 0  # type: ignore[union-attr]
    assert check_law(journal.entries) == 1

    journal.order(SHORT)
    assert check_law(journal.entries) == 2


def test_hedge_that_closed_has_its_share_of_what_is_booked_later(journal: Journal):
    journal.order(LONG, TWIN)
    paid_at = journal.at
    journal.order(TWIN, closes=True)
    journal.at += MEMORY_S - 10
    journal.fund("-2", paid_at)

    assert check_law(journal.entries) == 1
    assert tell(journal.entries).get(LONG.key).funding_usd == -1  # type: ignore[union-attr]


def test_hedge_that_closed_is_forgotten_after_a_while(journal: Journal):
    journal.order(LONG, TWIN)
    paid_at = journal.at
    journal.order(TWIN, closes=True)
    journal.at += MEMORY_S + 10
    journal.fund("-2", paid_at)
    journal.order(TWIN)

    earnings = tell(journal.entries)
    assert [earnings.get(each.key).funding_usd for each in (LONG, TWIN)] == [-2, 0]  # type: ignore[union-attr]


def test_key_that_is_held_again_is_not_forgotten_with_the_hedge_that_was(journal: Journal):
    journal.order(LONG)
    journal.order(LONG, closes=True)
    journal.order(LONG)
    journal.at += MEMORY_S + 10
    journal.fund("-2")

    assert check_law(journal.entries) == 1


def test_bookings_of_a_long_outage_are_shared_by_what_was_held_before(journal: Journal):
    journal.order(LONG)
    stopped = journal.at
    journal.at += 100 * HOUR_S
    journal.order(SHORT)
    for hours in (8, 16, 24):
        journal.fund("-1", stopped + hours * HOUR_S, f"{hours}")
        journal.fund("-1", stopped + hours * HOUR_S, f"{hours}-2")

    assert check_law(journal.entries) == 2
    assert tell(journal.entries).get(LONG.key).funding_usd == -6  # type: ignore[union-attr]


def test_booking_from_before_what_is_remembered_counts_the_oldest_that_is(journal: Journal):
    journal.order(LONG)
    paid_at = journal.at
    journal.at += 2 * MEMORY_S
    journal.order(LONG, target=STEP * 2)
    journal.at += 2 * MEMORY_S
    journal.order(LONG, target=STEP * 3)
    journal.fund("-3", paid_at)

    assert tell(journal.entries).get(LONG.key).funding_usd == -3  # type: ignore[union-attr]


def test_order_beyond_the_bound_keeps_the_price_that_is_known(journal: Journal, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "UNPRICED_MAX", 1)
    late = journal.order(LONG)
    receipts = [late, journal.order(SHORT)]
    before = [tell(journal.entries).get(key) for key in (LONG.key, SHORT.key)]
    for intent in receipts:
        journal.price(intent)
    earnings = tell(journal.entries)

    assert earnings.get(LONG.key) == before[0]
    assert earnings.get(SHORT.key) != before[1]


def test_order_that_nobody_asks_for_any_more_keeps_the_price_that_is_known(journal: Journal):
    opened = journal.order(LONG)
    before = tell(journal.entries).get(LONG.key)
    journal.at += UNPRICED_MAX_S
    journal.order(SHORT)
    journal.price(opened)

    assert tell(journal.entries).get(LONG.key) == before


def test_memory_does_not_grow_with_time(journal: Journal):
    def measure(count: int) -> int:
        """After so much more of opening, closing, growing and shrinking."""
        for _ in range(count):
            journal.at += 120
            journal.price(journal.order(LONG))
            journal.fund("-0.01", number=str(journal.at))
            journal.at += 120
            journal.price(journal.order(LONG, closes=True))
            journal.price(journal.order(TWIN, target=STEP * 2))
            journal.price(journal.order(TWIN, closes=True))
        return len(pickle.dumps(tell(journal.entries)))

    journal.price(journal.order(TWIN))
    before = measure(60)
    assert measure(240) < before * 1.05
