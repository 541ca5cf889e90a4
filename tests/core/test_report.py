"""What hedges earned and cost: worked examples, and sums that are exact."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.core.costs import Fee, FundingPaid, OrderPriced
from dehedge.core.events import ForeignPositionSeen, HedgeWrittenDown, OrderIntended
from dehedge.core.flows import Flow, Sums, add_up, build_fill_flows, share_funding, walk_through
from dehedge.core.lives import Records, Sight
from dehedge.core.model import Leg
from dehedge.core.orders import Action
from dehedge.core.report import Report, build_report
from tests.core.builders import BTC, ETH, NOW, a_report, a_share, an_intent
from tests.core.ledgers import LONG, SHORT, TWIN, UNIT, Entry, build_records, stories

LATER = NOW + 1_000


def an_order(
    position=LONG, *, quantity="0.2", target=None, mark="60000", price="60000", sequence=1, closes=False
) -> OrderIntended:
    share = a_share(position=position, quantity=quantity, target=0 if closes and target is None else target)
    intent = an_intent(
        shares=[share._replace(price=Decimal(price) if price else None)], hedge_side=position.hedge_side, sequence=sequence,
        action=Action.REDUCE if closes else Action.INCREASE,
    )  # fmt: skip
    return replace(intent, mark=Decimal(mark) if mark else None)


def a_fill(at: float, intent: OrderIntended, price: str, fee: str = "0", asset: str = "USDT") -> list[Entry]:
    receipt = OrderPriced(
        intent.request.client_order_id, Decimal(price), "77", intent.request.quantity, (Fee(asset, Decimal(fee)),), Decimal(0)
    )
    return [Entry(at, intent), Entry(at, a_report(intent)), Entry(at + 5, receipt)]


def report_on(entries: list[Entry], since: float = NOW, until: float = LATER, **options) -> Report:
    return build_report(build_records(entries), since, until, asset_unit=UNIT, **options)


def test_report_of_one_hedge_by_hand():
    entries = [
        *a_fill(NOW + 10, an_order(), "60012", "6"),
        *a_fill(NOW + 70, an_order(closes=True, mark="61000", price="61000", sequence=2), "60995", "6.1"),
        Entry(NOW + 80, FundingPaid("BTCUSDT", Decimal("-1.2"), "USDT", NOW + 50, "1")),
    ]
    report = report_on(entries)

    ((hedge,),) = (market.hedges for market in report.markets)
    assert (hedge.price_in, hedge.price_out, hedge.quantity, hedge.standing) == (60_012, 60_995, Decimal("0.2"), None)
    sums = report.sums
    assert (sums.opened, sums.closed, sums.estimates) == (1, 1, 0)
    assert sums.realized_usd == Decimal("196.6")
    assert (sums.fees_usd, sums.funding_usd) == (Decimal("12.1"), Decimal("-1.2"))
    assert sums.net_usd == Decimal("183.3")
    assert sums.slippage_usd == Decimal("2.4") + Decimal(1)
    assert sums.slippage_bps == sums.slippage_usd * 10_000 / (Decimal(12_000) + Decimal(12_200))
    # The trader's long of 10,000 USD from 50,000 gained 0.2 times 1,000 in that time.
    assert sums.trader_gain_usd == 200
    assert sums.traded_usd == Decimal("12002.4") + Decimal(12_199)


def test_short_earns_when_the_price_falls():
    entries = [
        *a_fill(NOW, an_order(SHORT, mark="40000", price="40000"), "39990"),
        *a_fill(NOW + 9, an_order(SHORT, closes=True, mark="38000", price="38000", sequence=2), "38005"),
    ]
    sums = report_on(entries).sums

    assert (sums.realized_usd, sums.trader_gain_usd, sums.slippage_usd) == (397, 400, 3)


def test_average_moves_with_an_increase_and_stays_with_a_decrease():
    entries = [
        *a_fill(NOW, an_order(target="0.4"), "60000"),
        *a_fill(NOW + 1, an_order(target="0.4", sequence=2), "62000"),
        *a_fill(NOW + 2, an_order(quantity="0.1", target="0.3", closes=True, sequence=3), "63000"),
    ]
    report = report_on(entries, prices={BTC: Sight(LATER, Decimal(64_000))})

    assert report.sums.realized_usd == 200
    standing = report.markets[0].hedges[0].standing
    assert standing is not None
    assert standing.unrealized_usd == 900
    assert standing.seen == Sight(LATER, Decimal(64_000))


def test_standing_hedge_is_valued_at_the_newest_price_that_was_seen():
    report = report_on(a_fill(NOW, an_order(), "60000"))

    standing = report.markets[0].hedges[0].standing
    assert standing == (Sight(NOW, Decimal(60_000)), 0, 0)
    assert report_on(a_fill(NOW, an_order(mark=None, price=None), "60000")).markets[0].hedges[0].standing is None


def test_fees_in_another_asset_are_in_no_dollars():
    sums = report_on(a_fill(NOW, an_order(), "60000", "0.01", "BNB")).sums

    assert sums.fees == {"BNB": Decimal("0.01")}
    assert (sums.fees_usd, sums.net_usd) == (0, 0)


def test_what_has_no_price_leaves_without_a_profit():
    entries = [
        *a_fill(NOW, an_order(), "60000"),
        Entry(NOW + 9, HedgeWrittenDown(LONG.key, Decimal("0.2"), "by hand")),
    ]
    sums = report_on(entries).sums

    assert (sums.closed, sums.realized_usd, sums.estimates, sums.trader_gain_usd) == (1, 0, 1, 0)
    assert sums.slippage_bps is not None
    assert Sums().slippage_bps is None


def test_position_without_an_entry_price_has_no_gain():
    flat = LONG._replace(entry_price=0)
    entries = [
        *a_fill(NOW, an_order(flat), "60000"),
        *a_fill(NOW + 1, an_order(flat, closes=True, price="70000", sequence=2), "60000"),
    ]

    assert report_on(entries).sums.trader_gain_usd == 0


@pytest.mark.parametrize(
    ("foreign", "expected", "beside"),
    [
        # Long 0.2 and short 0.1 with a net of 0.1 that pays: the long pays double, the short receives.
        ("0", {LONG: "-2", SHORT: "1"}, "0"),
        ("0.1", {LONG: "-1", SHORT: "0.5"}, "-0.5"),
        # The net is nothing, or too little for what was booked: nobody knows whose it was.
        ("-0.1", {}, "-1"),
        ("-0.09999", {}, "-1"),
    ],
)
def test_funding_is_shared_by_signed_quantity(foreign, expected, beside):
    entries = [
        *a_fill(NOW, an_order(), "60000"),
        *a_fill(NOW, an_order(SHORT, quantity="0.1", sequence=2), "60000"),
        Entry(NOW + 1, ForeignPositionSeen("BTCUSDT", Leg.BOTH, Decimal(foreign))),
        Entry(NOW + 20, FundingPaid("BTCUSDT", Decimal(-1), "USDT", NOW + 10, "1")),
        # Later than the booking, so that it changes nothing about that.
        Entry(NOW + 30, ForeignPositionSeen("BTCUSDT", Leg.BOTH, Decimal(7))),
        *a_fill(NOW + 40, an_order(TWIN, sequence=3), "60000"),
    ]
    report = report_on(entries)

    found = {hedge.life.key: hedge.sums.funding for market in report.markets for hedge in market.hedges}
    assert found == {
        each.key: {"USDT": Decimal(expected[each])} if each in expected else {} for each in (LONG, SHORT, TWIN)
    }
    assert sum(report.foreign_funding.values()) == Decimal(beside)


def test_funding_of_both_legs_is_one_booking():
    entries = [
        *a_fill(NOW, an_order(), "60000"),
        *a_fill(NOW, an_order(SHORT, quantity="0.1", sequence=2), "60000"),
        Entry(NOW + 20, FundingPaid("BTCUSDT", Decimal(-2), "USDT", NOW + 10, "1")),
        Entry(NOW + 20, FundingPaid("BTCUSDT", Decimal(1), "USDT", NOW + 10, "2")),
    ]

    assert [hedge.sums.funding["USDT"] for hedge in report_on(entries).markets[0].hedges] == [-2, 1]


def test_hedge_belongs_to_a_span_in_which_it_was_held():
    entries = [
        *a_fill(NOW + 10, an_order(), "60000"),
        *a_fill(NOW + 50, an_order(closes=True, sequence=2), "61000"),
        *a_fill(NOW + 60, an_order(TWIN, sequence=3), "61000"),
    ]

    def count(since: float, until: float) -> int:
        return sum(len(market.hedges) for market in report_on(entries, NOW + since, NOW + until).markets)

    assert [count(0, 10), count(0, 11), count(20, 30), count(50, 55), count(51, 60), count(0, 99)] == [0, 1, 1, 1, 0, 2]
    assert report_on(entries, NOW + 20, NOW + 30).sums == Sums()


def sort_amounts(sums: Sums) -> Sums:
    """Without the assets that come to nothing."""
    return replace(
        sums, fees={asset: it for asset, it in sums.fees.items() if it},
        funding={asset: it for asset, it in sums.funding.items() if it},
    )  # fmt: skip


def total(records: Records, since: float, until: float) -> Sums:
    return sort_amounts(build_report(records, since, until, asset_unit=UNIT).sums)


@given(stories(), st.lists(st.floats(-1, 20), max_size=4))
def test_partition_of_time_adds_up(entries: list[Entry], cuts: list[float]) -> None:
    records = build_records(entries)
    edges = sorted({NOW - 2, *(NOW + cut for cut in cuts), NOW + 200})

    parts = [total(records, since, until) for since, until in pairwise(edges)]
    assert sort_amounts(add_up(parts)) == total(records, edges[0], edges[-1])


@given(stories())
def test_hedges_add_up_to_markets_and_markets_to_all(entries: list[Entry]) -> None:
    report = report_on(entries, NOW, LATER)

    for market in report.markets:
        assert market.sums == add_up(hedge.sums for hedge in market.hedges)
        assert {hedge.life.key.market for hedge in market.hedges} == {market.market}
    assert report.sums == add_up(market.sums for market in report.markets)
    assert sort_amounts(report.sums) == sort_amounts(add_up(flow.sums for flow in report.flows))
    assert {market.market for market in report.markets} <= {BTC, ETH}


@given(stories())
def test_funding_is_all_somebodys(entries: list[Entry]) -> None:
    records = build_records(entries)
    ours, foreign = share_funding(records)

    def sum_flows(flows: list[Flow]) -> dict[str, Decimal]:
        return dict(sort_amounts(add_up(flow.sums for flow in flows)).funding)

    booked = [Flow(fact.paid_at, Sums(funding={fact.asset: fact.amount})) for fact in records.fundings]
    assert sum_flows([*foreign, *(flow for flows in ours.values() for flow in flows)]) == sum_flows(booked)


@given(stories(), st.decimals(40_000, 70_000, places=1))
def test_profit_is_what_came_in_less_what_went_out(entries: list[Entry], price: Decimal) -> None:
    for life in build_records(entries).lives:
        if any(fill.price is None for fill in life.fills):
            continue
        realized = add_up(flow.sums for flow in build_fill_flows(life, UNIT)).realized_usd
        walk = walk_through(life, UNIT)
        signs = [-1 if fill.increases else 1 for fill in life.fills]
        cash = sum(
            (fill.quantity * (fill.price or 0) * sign for fill, sign in zip(life.fills, signs, strict=True)), Decimal(0)
        )

        assert realized + walk.lot.get_unrealized(price) == (cash + walk.lot.held * price) * life.side.sign


@given(stories())
def test_gain_of_the_trader_is_its_quantity_times_the_way_of_the_price(entries: list[Entry]) -> None:
    for life in build_records(entries).lives:
        if any(fill.share is None for fill in life.fills):
            continue
        first, last = (fill.decided_at for fill in (life.fills[0], life.fills[-1]))
        position = next(each for each in (LONG, TWIN, SHORT, None) if each is None or each.key == life.key)
        if position is None:
            continue
        gain = add_up(flow.sums for flow in build_fill_flows(life, UNIT)).trader_gain_usd
        assert gain == Decimal("0.2") * (last - first) * life.side.sign
