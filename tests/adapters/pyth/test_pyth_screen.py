"""The checks between a parsed price and a tick, at their exact borders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.adapters.pyth import FeedPrice, Reply
from dehedge.adapters.pyth.screen import Flaw, PriceLimits, PriceScreen
from dehedge.core.model import Market, PriceTick

FEED = "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43"
NOW = 1_800_000_000
ONE = 10**18


def a_screen(*, bps=100, max_age_s=10.0, feed_max_age_s=(0,)):
    screen = PriceScreen(PriceLimits(max_age_s, bps))
    names = [f"M{number}-USD" for number in range(len(feed_max_age_s))]
    markets = zip(names, feed_max_age_s, strict=True)
    screen.watch({FEED: tuple(Market(name, FEED, age_s) for name, age_s in markets)})
    return screen


def a_price(price=100 * ONE, confidence=0, publish_time=NOW, slot=None):
    return FeedPrice(FEED, price, confidence, publish_time, slot)


def apply(screen, *prices, now=NOW, malformed=None):
    return screen.apply_reply(Reply(prices, malformed or {}), now=now)


def find_flaws(screening):
    return [rejection.flaw for rejection in screening.rejections]


def test_screen_gives_a_tick_when_every_check_passes():
    screening = apply(a_screen(), a_price(confidence=ONE))

    assert screening == ((PriceTick("M0-USD", 100 * ONE, ONE, NOW),), (), ())


@pytest.mark.parametrize(
    ("price", "flaw"),
    [
        (a_price(price=1), None),
        (a_price(price=0), Flaw.NOT_POSITIVE),
        (a_price(price=-1), Flaw.NOT_POSITIVE),
        (a_price(confidence=-1), Flaw.UNCERTAIN),
        (a_price(confidence=ONE), None),
        (a_price(confidence=ONE + 1), Flaw.UNCERTAIN),
        (a_price(publish_time=NOW + 5), None),
        (a_price(publish_time=NOW + 6), Flaw.IN_THE_FUTURE),
        (a_price(publish_time=NOW - 10), None),
        (a_price(publish_time=NOW - 11), Flaw.STALE),
    ],
)
def test_screen_decides_at_the_exact_border(price, flaw):
    screening = apply(a_screen(), price)

    assert find_flaws(screening) == ([flaw] if flaw else [])
    assert len(screening.ticks) == (0 if flaw else 1)


@given(st.integers(1, 10**30), st.integers(0, 10**30), st.integers(0, 20_000))
def test_screen_compares_confidence_without_rounding(price, confidence, bps):
    screening = apply(a_screen(bps=bps), a_price(price, confidence))

    assert bool(screening.ticks) == (confidence * 10_000 <= price * bps)


@pytest.mark.parametrize(
    ("feed_max_age_s", "age_s", "is_accepted"),
    [(0, 10, True), (0, 11, False), (4, 4, True), (4, 5, False), (60, 10, True), (60, 11, False)],
)
def test_screen_takes_the_tighter_age(feed_max_age_s, age_s, is_accepted):
    screening = apply(a_screen(feed_max_age_s=(feed_max_age_s,)), a_price(publish_time=NOW - age_s))

    assert bool(screening.ticks) is is_accepted


def test_screen_judges_age_per_market_when_they_share_a_feed():
    screening = apply(a_screen(feed_max_age_s=(3, 0)), a_price(publish_time=NOW - 5))

    assert [tick.market for tick in screening.ticks] == ["M1-USD"]
    assert [rejection.market for rejection in screening.rejections] == ["M0-USD"]


def test_screen_accepts_the_newest_of_one_second():
    screening = apply(a_screen(), a_price(price=ONE), a_price(price=3 * ONE), a_price(price=2 * ONE))

    assert [tick.price for tick in screening.ticks] == [ONE, 3 * ONE, 2 * ONE]


def test_screen_refuses_an_older_price_when_a_newer_was_accepted():
    screen = a_screen()
    apply(screen, a_price())

    assert find_flaws(apply(screen, a_price(publish_time=NOW - 1))) == [Flaw.OUT_OF_ORDER]
    assert find_flaws(apply(screen, a_price())) == []


@pytest.mark.parametrize(
    ("first", "second", "is_accepted"), [(5, 4, False), (5, 5, True), (5, None, True), (4, 5, True)]
)
def test_screen_orders_one_second_by_slot_when_both_are_known(first, second, is_accepted):
    screen = a_screen()
    apply(screen, a_price(slot=first))

    assert bool(apply(screen, a_price(slot=second)).ticks) is is_accepted


def test_screen_is_not_moved_by_a_price_that_it_refused():
    screen = a_screen()
    apply(screen, a_price(publish_time=NOW + 6))
    apply(screen, a_price(publish_time=NOW + 4, confidence=50 * ONE))

    assert len(apply(screen, a_price()).ticks) == 1


def test_screen_counts_every_refused_price_by_market_and_flaw():
    screen = a_screen(feed_max_age_s=(0, 0))
    for _ in range(4):
        apply(screen, a_price(price=0))

    assert screen.rejected == {("M0-USD", Flaw.NOT_POSITIVE): 4, ("M1-USD", Flaw.NOT_POSITIVE): 4}


def test_screen_reports_at_once_and_once_when_a_market_never_had_a_good_price():
    screen = a_screen()
    reports = [apply(screen, a_price(confidence=30 * ONE)).reports for _ in range(5)]

    assert reports == [("M0-USD: confidence 30 % is above 1 %",), (), (), (), ()]


def test_screen_reports_the_third_bad_price_in_a_row_when_there_were_good_ones():
    screen = a_screen()
    apply(screen, a_price())
    reports = [apply(screen, a_price(price=0)).reports for _ in range(5)]

    assert reports == [(), (), ("M0-USD: the price is not positive",), (), ()]


def test_screen_reports_again_when_a_good_price_ended_the_episode():
    screen = a_screen()
    for _ in range(2):
        apply(screen, a_price())
        assert sum(len(apply(screen, a_price(price=0)).reports) for _ in range(5)) == 1


def test_screen_reports_nothing_when_good_and_bad_prices_alternate():
    screen = a_screen()
    reports = [apply(screen, a_price(price=price)).reports for price in (ONE, 0, ONE, 0, 0, ONE, 0)]

    assert not any(reports)


@pytest.mark.parametrize(
    ("price", "bps", "reason"),
    [
        (a_price(price=1_000 * ONE, confidence=ONE), 5, "confidence 0.1 % is above 0.05 %"),
        (a_price(confidence=ONE + 1), 100, "confidence 1.01 % is above 1 %"),
        (a_price(price=1, confidence=20), 100, "confidence 2000 % is above 1 %"),
        (a_price(publish_time=NOW - 25), 100, "the price is 25 s old, above 10 s"),
    ],
)
def test_screen_says_the_figures_in_its_reason(price, bps, reason):
    assert apply(a_screen(bps=bps), price).reports == (f"M0-USD: {reason}",)


def test_screen_reports_a_malformed_entry():
    screening = apply(a_screen(), malformed={FEED: "expo 13 is outside -18 to 12"})

    assert screening.reports == ("M0-USD: expo 13 is outside -18 to 12",)
    assert find_flaws(screening) == [Flaw.MALFORMED]


def test_screen_reports_a_feed_that_did_not_come_back():
    screening = a_screen().apply_missing({FEED})

    assert screening.reports == (f"M0-USD: Hermes does not know its feed 0x{FEED}; check the market's pythFeed",)


def test_screen_passes_over_a_feed_that_nobody_watches():
    screen = a_screen()
    screen.watch({})

    assert apply(screen, a_price(), malformed={"f" * 64: "bad"}) == ((), (), ())
    assert screen.apply_missing({FEED}) == ((), (), ())
