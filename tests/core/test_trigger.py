"""The trigger index against the exact check: on random and odd books, at the prices where rounding would show."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dehedge.core.model import PRICE_SCALE, HedgeKey, Position
from dehedge.core.risk import Capital, RiskFactors, assess
from dehedge.core.trigger import (
    CANCELED,
    MARGIN,
    Columns,
    Ladder,
    MarketTriggers,
    Rows,
    Terms,
    TriggerIndex,
    build_index,
    read_rows,
)
from tests.core.builders import BTC, ETH, USDC, a_policy, a_position, a_user, scaled, usd

OTHER_ASSET = "0x0000000000000000000000000000000000000A55"
UINT_MAX, INT_MAX = 2**256 - 1, 2**255 - 1
ONE = RiskFactors(Fraction(1), Fraction(1), Fraction(2, 5), 10_000)
MILLION = Capital(usd(1_000_000), usd(1_000))
PLAIN = Terms(USDC, MILLION, {}, ONE)


@dataclass(frozen=True)
class World:
    """A book, the terms, and the prices to try beside those that the book itself suggests."""

    positions: tuple[Position, ...]
    terms: Terms
    prices: tuple[int, ...] = ()

    @property
    def rows(self) -> Rows:
        return read_rows({position.key: position for position in self.positions})

    @property
    def counted(self) -> dict[int, Position]:
        """By row, what the index may name."""
        return {
            row: position
            for row, position in enumerate(self.positions)
            if position.asset == self.terms.asset and position.size >= self.terms.size_min
        }

    def get_tracer(self, position: Position) -> int | None:
        return self.terms.funding.get((position.asset, position.market))

    def check_risky(self, position: Position, price: int) -> bool:
        tracer = self.get_tracer(position)
        return assess(position, price, tracer, self.terms.capital, self.terms.factors).at_risk

    def find_risky(self, market: str, price: int) -> set[int]:
        counted = self.counted.items()
        return {row for row, position in counted if position.market == market and self.check_risky(position, price)}


def get_limit(terms: Terms) -> Fraction:
    """The least pnl that fires a check, or just does not."""
    capital, factors = terms.capital, terms.factors
    limits = [Fraction(capital.shield), capital.vault + capital.shield - capital.vault * factors.vault]
    if factors.profit_limit_interest > 0:
        limits.append(capital.vault + capital.shield - capital.vault * factors.vault_profit_limit)
    return min(limits)


def get_terms_of_trigger(world: World, position: Position) -> tuple[Fraction, Fraction]:
    """The exact price at which the position turns risky, and the sum of its terms without their signs."""
    tracer, scale = world.get_tracer(position), PRICE_SCALE * world.terms.factors.bps
    gain = get_limit(world.terms) / position.size
    paid, most = Fraction(0), Fraction(0)
    if tracer is not None:
        paid = Fraction(tracer - position.funding_tracer, scale)
        most = Fraction(abs(tracer) + abs(position.funding_tracer), scale)
    moved = gain if position.is_long else -gain
    return position.entry_price * (1 + paid + moved), position.entry_price * (1 + most + abs(gain))


def get_edges(world: World, position: Position) -> Iterator[int]:
    """The exact trigger, a unit to either side, and the floats next to it."""
    if position.entry_price <= 0 or position.size <= 0:
        return
    exact, _ = get_terms_of_trigger(world, position)
    floor = math.floor(exact)
    near = float(exact)
    floats = (
        near,
        math.nextafter(near, math.inf),
        math.nextafter(near, -math.inf),
        near * (1 + MARGIN),
        near * (1 - MARGIN),
    )
    yield from (floor - 1, floor, floor + 1, floor + 2, *map(int, floats))


def get_prices(world: World) -> list[int]:
    edges = (price for position in world.positions for price in get_edges(world, position))
    return [*dict.fromkeys((*world.prices, 0, 1, UINT_MAX, *edges))]


def check_sound(world: World, index: TriggerIndex, market: str, price: int) -> None:
    exact, named = world.find_risky(market, price), index.find_risky(market, price)
    uncertain = index.find_uncertain(market, price)

    assert len(set(named)) == len(named)
    assert exact <= set(named)
    assert set(named) - exact <= set(uncertain)
    assert set(named) <= {row for row, position in world.counted.items() if position.market == market}
    assert index.count_risky(market, price) == len(set(named) - set(uncertain))


def check_changes(world: World, index: TriggerIndex, market: str, prices: tuple[int, int]) -> None:
    before, after = (world.find_risky(market, price) for price in prices)
    uncertain = {row for price in prices for row in index.find_uncertain(market, price)}
    named = index.find_changed(market, *prices)

    assert len(set(named)) == len(named)
    assert before ^ after <= set(named)
    assert set(named) - (before ^ after) <= uncertain


odd_ints = st.sampled_from((0, 1, 2, 3, 10**6, 2**53 + 1, 2**64 - 1, 2**128 + 1, UINT_MAX - 1, UINT_MAX))
unsigned = odd_ints | st.integers(0, 10**15) | st.integers(0, UINT_MAX)
entries = odd_ints | st.sampled_from((-1, scaled(50_000))) | st.integers(10**12, 10**24) | st.integers(0, UINT_MAX)
tracers = (
    st.sampled_from((0, 1, -1, 10**22, -(10**22), 10**22 + 1, INT_MAX, -INT_MAX - 1))
    | st.integers(-(10**21), 10**21)
    | st.integers(-INT_MAX - 1, INT_MAX)
)
decimals = st.integers(0, 10**27).map(lambda number: Fraction(number, 10**18))
factors = st.sampled_from(tuple(map(Fraction, ("0", "0.4", "1", "1.2", "1.000000000000000001", "1e9")))) | decimals
users = st.integers(1, 10**6).map(a_user)
positions = st.builds(
    a_position,
    user=users,
    asset=st.sampled_from((USDC, USDC, USDC, OTHER_ASSET)),
    market=st.sampled_from((BTC, BTC, ETH)),
    is_long=st.booleans(),
    size=unsigned,
    entry_price=entries,
    funding_tracer=tracers,
)
terms = st.builds(
    Terms,
    asset=st.just(USDC),
    capital=st.builds(Capital, unsigned, unsigned),
    funding=st.dictionaries(st.sampled_from(((USDC, BTC), (USDC, ETH), (OTHER_ASSET, BTC))), tracers),
    factors=st.builds(RiskFactors, factors, factors, factors, st.sampled_from((1, 10_000, 10**30))),
    size_min=st.sampled_from((0, 0, 1, 10**6, 2**53 + 1)),
)
books = st.lists(positions, max_size=8, unique_by=lambda position: position.key).map(tuple)
odd_worlds = st.builds(World, books, terms, st.tuples(entries, st.integers(0, UINT_MAX)))

usual_positions = st.builds(
    a_position,
    user=users,
    market=st.sampled_from((BTC, ETH)),
    is_long=st.booleans(),
    size=st.integers(usd(10), usd(1_000_000)),
    entry_price=st.integers(scaled(40_000), scaled(60_000)) | st.integers(400, 600).map(lambda n: scaled(100 * n)),
    funding_tracer=st.integers(-(10**20), 10**20),
)
usual_terms = st.builds(
    Terms,
    asset=st.just(USDC),
    capital=st.builds(Capital, st.integers(0, usd(10**7)), st.integers(0, usd(10**5))),
    funding=st.fixed_dictionaries({(USDC, BTC): st.integers(-(10**20), 10**20)}),
    factors=st.builds(RiskFactors, factors, factors, factors, st.just(10_000)),
    size_min=st.sampled_from((0, usd(50))),
)
usual_books = st.lists(usual_positions, max_size=8, unique_by=lambda position: position.key).map(tuple)
usual_worlds = st.builds(World, usual_books, usual_terms, st.tuples(st.integers(scaled(30_000), scaled(70_000))))
# Books in which terms cancel: shorts that are safe above a price of nearly nothing, and tracers that drown what they differ by.
cancelling_positions = st.builds(
    a_position,
    user=users,
    is_long=st.booleans(),
    size=st.integers(-(10**7), 10**9).map(lambda more: 10**15 + more),
    entry_price=st.integers(scaled(40_000), scaled(60_000)),
    funding_tracer=st.just(0)
    | st.integers(-(10**23), 10**23)
    | st.integers(-(10**23), 10**23).map(lambda more: 2**110 + more),
)
cancelling_terms = st.builds(
    Terms,
    asset=st.just(USDC),
    capital=st.builds(Capital, st.just(10**20), st.integers(10**15 - 9, 10**15)),
    funding=st.fixed_dictionaries({(USDC, BTC): st.just(0) | st.integers(2**110 - 10**23, 2**110 + 10**23)}),
    factors=st.just(ONE),
)
cancelling_books = st.lists(cancelling_positions, min_size=1, max_size=8, unique_by=lambda position: position.key).map(
    tuple
)
cancelling_worlds = st.builds(World, cancelling_books, cancelling_terms)
worlds = odd_worlds | usual_worlds | cancelling_worlds

FLAT = (
    a_position(entry_price=0),
    a_position(user=a_user(1), size=0),
    a_position(user=a_user(2), entry_price=-1, is_long=False),
)
EVEN = replace(PLAIN, capital=Capital(usd(1_000), 0))


@given(worlds)
@example(World((), PLAIN))
@example(World(FLAT, PLAIN))
@example(World(FLAT, EVEN))
@example(World(FLAT, replace(EVEN, factors=replace(ONE, profit_limit_interest=Fraction(-1)))))
@example(
    World(
        (a_position(),),
        replace(PLAIN, factors=replace(ONE, vault_profit_limit=Fraction(3), profit_limit_interest=Fraction(0))),
    )
)
def test_index_names_every_risky_row_and_else_only_what_it_calls_uncertain(world: World) -> None:
    index = build_index(world.rows, world.terms)

    for price in get_prices(world):
        check_sound(world, index, BTC, price)
        check_sound(world, index, ETH, price)


@given(worlds, st.data())
def test_index_names_every_row_whose_state_differs_between_two_prices(world: World, data: st.DataObject) -> None:
    index = build_index(world.rows, world.terms)
    prices = st.sampled_from(get_prices(world))

    for _ in range(10):
        check_changes(world, index, BTC, (data.draw(prices), data.draw(prices)))


@given(worlds)
def test_index_holds_each_trigger_within_half_of_the_margin(world: World) -> None:
    index = build_index(world.rows, world.terms)

    for market in index.markets.values():
        for sign, ladder in ((1, market.longs), (-1, market.shorts)):
            assert list(ladder.triggers) == sorted(ladder.triggers)
            for trigger, row in zip(ladder.triggers, ladder.rows, strict=True):
                if trigger > -math.inf:
                    exact, _ = get_terms_of_trigger(world, world.positions[row])
                    assert abs(sign * Fraction(trigger) - exact) <= abs(exact) * Fraction(MARGIN) / 2


@given(worlds)
def test_index_calls_a_row_irregular_only_when_its_terms_cancel(world: World) -> None:
    index = build_index(world.rows, world.terms)

    for market in index.markets.values():
        for row in market.irregular:
            exact, reach = get_terms_of_trigger(world, world.positions[row])
            assert abs(exact) <= 2 * reach * Fraction(CANCELED)


@given(worlds)
def test_index_calls_a_row_uncertain_only_when_the_price_is_within_the_margin(world: World) -> None:
    index = build_index(world.rows, world.terms)

    for price in get_prices(world):
        irregular = [row for market in index.markets.values() for row in market.irregular]
        for row in {*index.find_uncertain(BTC, price), *index.find_uncertain(ETH, price)} - {*irregular}:
            exact, _ = get_terms_of_trigger(world, world.positions[row])
            assert abs(exact - price) <= 2 * abs(price) * Fraction(MARGIN)


def test_index_names_everything_always_when_a_loss_would_be_a_risk() -> None:
    factors = RiskFactors(Fraction(1), Fraction(1), Fraction(-1), 10_000)
    world = World((a_position(), a_position(user=a_user(1), is_long=False)), replace(PLAIN, factors=factors))
    index = build_index(world.rows, world.terms)

    for price in (1, scaled(50_000), scaled(60_000)):
        check_sound(world, index, BTC, price)
        assert sorted(index.find_risky(BTC, price)) == [0, 1]


def test_index_names_what_is_too_large_for_floats_always() -> None:
    world = World((a_position(size=1, entry_price=2**1000),), replace(PLAIN, capital=Capital(0, UINT_MAX)))
    index = build_index(world.rows, world.terms)

    assert index.find_uncertain(BTC, 1) == index.find_risky(BTC, 1) == [0]


def test_index_tells_the_trigger_from_the_prices_beside_it() -> None:
    world = World((a_position(), a_position(user=a_user(1), is_long=False)), PLAIN)
    index = build_index(world.rows, world.terms)
    gap = scaled("0.0001")

    assert index.find_risky(BTC, scaled(55_000) - gap) == []
    assert index.find_uncertain(BTC, scaled(55_000)) == [0]
    assert index.count_risky(BTC, scaled(55_000)) == 0
    assert index.find_risky(BTC, scaled(55_000) + gap) == [0]
    assert index.count_risky(BTC, scaled(55_000) + gap) == 1
    assert index.find_risky(BTC, scaled(45_000) + gap) == []
    assert index.find_uncertain(BTC, scaled(45_000)) == [1]
    assert index.find_risky(BTC, scaled(45_000) - gap) == [1]
    assert index.find_changed(BTC, scaled(46_000), scaled(54_000)) == []
    assert index.find_changed(BTC, scaled(54_000), scaled(56_000)) == [0]
    assert index.find_changed(BTC, scaled(56_000), scaled(54_000)) == [0]
    assert sorted(index.find_changed(BTC, scaled(44_000), scaled(56_000))) == [0, 1]


def test_index_names_nothing_of_other_assets_small_positions_and_unknown_markets() -> None:
    world = World(
        (
            a_position(asset=OTHER_ASSET),
            a_position(user=a_user(1), size=usd(50) - 1),
            a_position(user=a_user(2), size=usd(50)),
        ),
        replace(PLAIN, size_min=usd(50)),
    )
    index = build_index(world.rows, world.terms)

    assert index.find_risky(BTC, UINT_MAX) == [2]
    assert index.find_changed(BTC, 1, UINT_MAX) == [2]
    assert index.find_risky(ETH, UINT_MAX) == index.find_changed(ETH, 1, UINT_MAX) == []
    assert index.count_risky(ETH, UINT_MAX) == 0
    assert build_index(world.rows, replace(world.terms, asset="unknown")).find_risky(BTC, UINT_MAX) == []


def test_index_keeps_positions_without_profit_or_loss_out_of_sight_when_they_are_safe() -> None:
    safe = build_index(World(FLAT, PLAIN).rows, PLAIN)
    risky = build_index(World(FLAT, EVEN).rows, EVEN)

    assert safe.find_risky(BTC, UINT_MAX) == safe.find_changed(BTC, 0, UINT_MAX) == []
    assert sorted(risky.find_risky(BTC, 1)) == [0, 1, 2]
    assert risky.count_risky(BTC, 1) == 3
    assert risky.find_changed(BTC, 0, UINT_MAX) == []


def test_index_is_of_its_rows_and_terms_and_cannot_be_written_to() -> None:
    rows = World((a_position(),), PLAIN).rows
    index = build_index(rows, PLAIN)

    assert index.rows is rows
    assert index.terms == Terms(USDC, Capital(usd(1_000_000), usd(1_000)), {}, ONE)
    assert index.terms != replace(PLAIN, funding={(USDC, BTC): 0})
    with pytest.raises(TypeError):
        index.markets[BTC].longs.triggers[0] = 0.0


def test_rows_are_read_in_the_order_of_the_mapping() -> None:
    book = {
        position.key: position for position in (a_position(), a_position(user=a_user(1), market=ETH, asset=OTHER_ASSET))
    }
    rows = read_rows(book)
    columns = rows.get_columns()

    assert [rows.get_key(row) for row in range(2)] == list(book)
    assert [columns.markets[code] for code in columns.market] == [BTC, ETH]
    assert [columns.assets[code] for code in columns.asset] == [USDC, OTHER_ASSET]


class Table(dict[HedgeKey, Position]):
    """A mapping that has its columns already: realistic positions of one market, as many as are asked for."""

    def __init__(self, count: int) -> None:
        super().__init__()
        draw = np.random.default_rng(7)
        self.columns = Columns(
            market=np.zeros(count, np.int32),
            asset=np.zeros(count, np.uint8),
            is_long=draw.random(count) < 0.5,
            size=np.floor(10 ** draw.uniform(8, 12, count)),
            entry_price=np.floor(5e22 * np.exp(draw.normal(0, 0.1, count))),
            funding_tracer=np.floor(draw.normal(0, 1e20, count)),
            collateral=np.zeros(count),
            markets=(BTC,),
            assets=(USDC,),
        )

    def get_columns(self) -> Columns:
        return self.columns

    def get_key(self, row: int) -> HedgeKey:
        return HedgeKey(BTC, f"{a_user(row)}|{USDC}")


def test_rows_are_the_mapping_itself_when_it_has_columns() -> None:
    table = Table(1)

    assert read_rows(table) is table


def test_index_is_the_same_for_columns_and_for_a_mapping() -> None:
    table = Table(500)
    columns = table.get_columns()
    book = {
        table.get_key(row): a_position(
            user=a_user(row), is_long=bool(columns.is_long[row]), size=int(columns.size[row]),
            entry_price=int(columns.entry_price[row]), funding_tracer=int(columns.funding_tracer[row]),
        )
        for row in range(500)
    }  # fmt: skip
    terms = replace(PLAIN, funding={(USDC, BTC): 10**19})

    assert build_index(read_rows(book), terms).markets == build_index(table, terms).markets


def test_index_leaves_next_to_nothing_uncertain_in_an_ordinary_book() -> None:
    index = build_index(Table(50_000), replace(PLAIN, funding={(USDC, BTC): 10**19}))
    draw = random.Random(3)
    prices = [draw.randrange(scaled(40_000), scaled(60_000)) for _ in range(200)]

    assert len(index.markets[BTC].irregular) <= 2
    assert sum(len(index.find_uncertain(BTC, price)) for price in prices) <= 2 * len(prices)
    assert all(1_000 < index.count_risky(BTC, price) < 49_000 for price in prices)


@dataclass
class Counter:
    """A sequence that counts what is looked at in it."""

    values: memoryview
    touched: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: int | slice) -> object:
        found = self.values[place]
        self.touched += len(found) if isinstance(place, slice) else 1
        return found


def count_work(index: TriggerIndex, market: str, prices: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """The most that a query looks at beside what it names, and the most that one names."""
    longs, shorts, irregular = index.markets[market]
    most, most_named = 0, 0
    for before, after in prices:
        parts = [Counter(part) for part in (*longs, *shorts, irregular)]
        counted = MarketTriggers(Ladder(*parts[:2]), Ladder(*parts[2:4]), parts[4].values)
        markets: Mapping[str, MarketTriggers] = {market: counted}
        named = replace(index, markets=markets).find_changed(market, before, after)
        most = max(most, sum(part.touched for part in parts) - len(named) + len(irregular))
        most_named = max(most_named, len(named))
    return most, most_named


def test_query_looks_at_a_few_rows_more_when_the_book_is_a_hundred_times_as_large() -> None:
    draw = random.Random(5)
    prices = [(price, price + 10**9) for price in (draw.randrange(scaled(40_000), scaled(60_000)) for _ in range(100))]
    small, _ = count_work(build_index(Table(1_000), PLAIN), BTC, prices)
    large, named = count_work(build_index(Table(100_000), PLAIN), BTC, prices)

    assert named <= 5
    # Two searches on either side halve what is left: at most 17 steps each among 50,000.
    assert large <= 4 * 17
    assert large <= small + 4 * 8


@pytest.mark.parametrize(("count", "expected"), [(0, []), (1, [3, 4, 7]), (2, [2, 3, 4, 5, 7, 8]), (9, [1, 2, 3, 4, 5, 6, 7, 8, 9])])
def test_rows_near_a_price_are_those_on_both_sides_of_it(count: int, expected: list[int]) -> None:
    longs = [a_position(user=a_user(n), entry_price=scaled(50_000 + 1_000 * n)) for n in range(1, 7)]
    shorts = [a_position(user=a_user(n), is_long=False, entry_price=scaled(50_000 + 1_000 * n)) for n in range(7, 10)]
    positions = {position.key: position for position in [*longs, *shorts]}
    index = build_index(read_rows(positions), Terms(USDC, Capital(usd(10**6), 0), {}, a_policy().factors))

    named = [row + 1 for row in index.find_near(BTC, scaled(53_500), count)]

    assert sorted(named) == expected
    assert index.find_near("SOL-USD", scaled(1), count) == []
