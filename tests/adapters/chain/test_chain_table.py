"""The table of positions against a plain dict of them: the same mapping, exact, whatever the numbers."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from dehedge.adapters.chain import table
from dehedge.adapters.chain.entries import build_entries, join_entries
from dehedge.adapters.chain.table import PositionTable
from dehedge.core.lookup import Searchable, find_key
from dehedge.core.model import HedgeKey, Position
from dehedge.core.risk import Capital, RiskFactors
from dehedge.core.trigger import Terms, build_index, read_rows

BYTES_MAX = 120
ASSET = to_checksum_address("0x" + "cd" * 20)

addresses = st.integers(0, 40).map(lambda n: to_checksum_address(f"0x{n * 7919 << 120:040x}"))
markets = st.sampled_from(["BTC-USD", "ETH-USD", "", "€", "A-MARKET-WITH-A-NAME-OF-MORE-THAN-ONE-WORD-USD", "\ud800"])
narrow, wide = st.integers(0, 2**64 - 1), st.integers(0, 2**256 - 1)
edges = st.sampled_from(
    [0, 1, 2**53 + 1, 2**63, 2**64 - 1, 2**64, 2**64 + 2**11 + 1, 2**127, 2**128 - 1, 2**128, 2**256 - 1]
)
uints = st.one_of(narrow, edges, st.integers(0, 2**128 - 1), wide)
ints = uints.flatmap(lambda n: st.sampled_from([n % 2**255, -(n % 2**255), -(n % 2**255) - 1]))
positions = st.builds(Position, addresses, addresses, markets, st.booleans(), uints, uints, ints, uints, uints)
books = st.lists(positions, max_size=30, unique_by=lambda position: position.key)


def a_position(trader: int, **changes: object) -> Position:
    user = to_checksum_address(f"0x{trader:040x}")
    return Position(user, ASSET, "BTC-USD", True, 5, 6, -7, 8, 9)._replace(**changes)


def a_table(*found: Position) -> PositionTable:
    return PositionTable(build_entries(found))


@settings(max_examples=200, deadline=None)
@given(book=books)
def test_table_is_the_mapping_that_a_dict_would_be(book):
    expected = {position.key: position for position in book}
    found = a_table(*book)

    assert found == expected
    assert len(found) == len(expected)
    assert list(found) == list(found.keys()) == list(expected)
    assert list(found.items()) == list(expected.items())
    assert list(found.values()) == book
    assert [found[key] for key in expected] == book
    assert all(key in found for key in expected)
    assert [found.get_key(row) for row in range(len(book))] == list(expected)
    assert [found.get_position(row) for row in range(len(book))] == book


@settings(max_examples=100, deadline=None)
@given(book=books, others=books)
def test_table_has_no_other_keys(book, others):
    expected = {position.key for position in book}
    found = a_table(*book)

    assert all((position.key in found) == (position.key in expected) for position in others)


def test_table_knows_a_key_only_as_it_is_written():
    user = to_checksum_address("0x" + "ab" * 20)
    found = a_table(a_position(0xAB)._replace(user=user))
    key = HedgeKey("BTC-USD", f"{user}|{ASSET}")

    assert key in found
    assert tuple(key) in found
    for stranger in (
        HedgeKey("BTC-USD", key.position_id.lower()),
        HedgeKey("BTC-USD", f"{user[2:]}00|{ASSET}"),
        HedgeKey("BTC-USD", f"{user}|{ASSET.lower()}"),
        HedgeKey("BTC-USD", user),
        HedgeKey("BTC-USD", ""),
        HedgeKey("BTC-USD", f"0xé|{ASSET}"),
        HedgeKey("BTC-USD", f"0x {user[2:]}|{ASSET}"),
        HedgeKey("btc-usd", key.position_id),
        (*key, 1),
        ("BTC-USD", 5),
        "BTC-USD",
        None,
    ):
        assert stranger not in found
        assert found.get(stranger) is None
    with pytest.raises(KeyError, match="btc-usd"):
        found[HedgeKey("btc-usd", key.position_id)]


@settings(max_examples=100, deadline=None)
@given(book=books, others=books)
def test_keys_of_two_tables_are_compared_as_sets(book, others):
    mine, theirs = {position.key for position in book}, {position.key for position in others}

    assert (a_table(*book).keys() == a_table(*others).keys()) is (mine == theirs)
    assert a_table(*book).keys() == a_table(*reversed(book)).keys() == mine
    assert (a_table(*book).keys() == theirs) is (mine == theirs)
    assert (a_table(*book).keys() != a_table(*others).keys()) is (mine != theirs)


@settings(max_examples=60, deadline=None)
@given(book=books, others=books)
def test_table_is_the_same_mapping_when_every_hash_is_the_same(book, others):
    mine, theirs = {position.key for position in book}, {position.key for position in others}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(table, "_MIX", 0)
        found = a_table(*book)

        assert [found[position.key] for position in book] == book
        assert all((key in found) == (key in mine) for key in theirs)
        assert (found.keys() == a_table(*others).keys()) is (mine == theirs)
        assert found.keys() == a_table(*reversed(book)).keys()
        assert PositionTable(build_entries([*book, *others])).count_distinct() == len(mine | theirs)
        assert a_table(a_position(1)).keys() != a_table(a_position(2)).keys()


@settings(max_examples=60, deadline=None)
@given(book=st.lists(positions, max_size=12))
def test_table_counts_each_key_once(book):
    doubled = PositionTable(build_entries([*book, *book[:3], *book[:1]]))

    assert doubled.count_distinct() == len({position.key for position in book})


@settings(max_examples=200, deadline=None)
@given(book=books)
def test_columns_hold_the_nearest_floats(book):
    columns = a_table(*book).get_columns()

    assert columns.size.tolist() == [float(position.size) for position in book]
    assert columns.entry_price.tolist() == [float(position.entry_price) for position in book]
    assert columns.funding_tracer.tolist() == [float(position.funding_tracer) for position in book]
    assert columns.collateral.tolist() == [float(position.collateral) for position in book]
    assert columns.is_long.tolist() == [position.is_long for position in book]
    assert [columns.markets[code] for code in columns.market] == [position.market for position in book]
    assert [columns.assets[code] for code in columns.asset] == [position.asset for position in book]


@settings(max_examples=200, deadline=None)
@given(book=books, market=markets, length=st.integers(0, 40), trader=addresses, count=st.integers(0, 40))
def test_table_finds_the_traders_that_begin_so(book, market, length, trader, count):
    digits = trader[2 : 2 + length].lower()
    expected = [p.key for p in book if p.market == market and p.user[2:].lower().startswith(digits)]

    assert a_table(*book).find_by_user(market, digits, count) == expected[:count]


def test_table_is_searched_for_a_trader_by_the_lookup():
    found = a_table(a_position(0xABC), a_position(0xDEF))

    assert isinstance(found, Searchable)
    assert find_key(found, [], "BTC-USD", f"0x{0xABC:040x}") == a_position(0xABC).key


@settings(max_examples=500, deadline=None)
@given(value=st.integers(0, 2**127 - 1), low=st.integers(0, 2**12))
def test_columns_hold_the_nearest_float_beside_a_tie(value, low):
    book = [a_position(1, entry_price=value >> 12 << 12 | low, funding_tracer=-(value >> 12 << 12 | low))]
    columns = a_table(*book).get_columns()

    assert columns.entry_price.tolist() == [float(book[0].entry_price)]
    assert columns.funding_tracer.tolist() == [float(book[0].funding_tracer)]


@settings(max_examples=100, deadline=None)
@given(book=books, cuts=st.lists(st.integers(0, 30), max_size=4))
def test_entries_are_the_same_however_they_were_cut(book, cuts):
    whole = join_entries([build_entries(book)])
    places = [0, *sorted(min(cut, len(book)) for cut in cuts), len(book)]
    runs = list(zip(places, places[1:], strict=False))

    for parts in ([whole.cut(*run) for run in runs], [build_entries(book[slice(*run)]) for run in runs]):
        joined = join_entries(parts)
        assert list(joined.iterate()) == book
        assert joined.check_same(whole)


@settings(max_examples=100, deadline=None)
@given(book=books, other=positions)
def test_entries_are_not_the_same_when_any_row_is_another(book, other):
    whole = join_entries([build_entries(book)])

    assert not join_entries([whole, build_entries([other])]).check_same(whole)
    for row in range(len(book)):
        changed = join_entries([build_entries([*book[:row], other, *book[row + 1 :]])])
        assert changed.check_same(whole) is (other == book[row])


def test_names_that_no_row_has_any_more_are_forgotten():
    whole = build_entries([a_position(1), a_position(2, market="ETH-USD")])

    assert join_entries([whole.cut(0, 1)]).market.names == ("BTC-USD",)


@settings(max_examples=100, deadline=None)
@given(book=books, data=st.data())
def test_entries_keep_the_rows_of_a_mask(book, data):
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(book), max_size=len(book))), np.bool_)
    kept = build_entries(book).keep(mask)

    assert list(kept.iterate()) == [position for position, is_kept in zip(book, mask, strict=True) if is_kept]


@settings(max_examples=100, deadline=None)
@given(book=books)
def test_entries_tell_the_open_rows_and_their_pairs(book):
    entries = build_entries(book)

    assert entries.find_open().tolist() == [position.size != 0 for position in book]
    assert entries.find_pairs() == {(position.asset, position.market) for position in book if position.size}


prices = st.one_of(st.integers(0, 2**80), edges)


@settings(max_examples=100, deadline=None)
@given(book=books, price=prices, before=prices)
def test_trigger_index_names_the_same_rows_of_a_table_as_of_a_dict(book, price, before):
    found = a_table(*book)
    factors = RiskFactors(Fraction(1), Fraction(1), Fraction(2, 5), 10_000)
    terms = Terms(ASSET, Capital(1_000, 10), {(ASSET, "BTC-USD"): 5}, factors)
    of_table = build_index(read_rows(found), terms)
    of_dict = build_index(read_rows({position.key: position for position in book}), terms)

    assert read_rows(found) is found
    assert of_table.counts == of_dict.counts
    for market in {position.market for position in book}:
        for mine, theirs in (
            (of_table.find_risky(market, price), of_dict.find_risky(market, price)),
            (of_table.find_changed(market, before, price), of_dict.find_changed(market, before, price)),
        ):
            assert {found.get_key(row) for row in mine} == {of_dict.rows.get_key(row) for row in theirs}


def test_table_cannot_be_changed():
    found = a_table(a_position(1))
    columns = found.get_columns()

    for column in (found.entries.user, found.entries.size, found.entries.entry_price, columns.market, columns.is_long):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0
    columns.size[0] = 0.0
    assert found.get_columns().size[0] == 5.0


def test_table_takes_less_memory_than_is_promised():
    book = [a_position(trader, entry_price=2**100, funding_tracer=-(2**90)) for trader in range(20_000)]
    entries = build_entries(book)
    tracemalloc.start()
    found = PositionTable(join_entries([entries.cut(begin, begin + 1_000) for begin in range(0, 20_000, 1_000)]))
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert len(found) == 20_000
    assert taken / len(found) < BYTES_MAX


def test_rows_are_read_when_there_are_more_than_are_read_at_once():
    count = table.RUN + 1_500
    book = [a_position(trader, size=trader << (trader % 90), funding_tracer=-trader << 70) for trader in range(count)]
    found = a_table(*book)

    assert list(found.values()) == book
    assert found.get_columns().funding_tracer.tolist() == [float(position.funding_tracer) for position in book]


def test_names_that_are_remembered_are_bounded_and_never_wrong(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table, "NAMED_MAX", 3)
    positions = [a_position(number) for number in range(10)]
    found = a_table(*positions)

    for _ in range(3):
        for row, position in enumerate(positions):
            assert found.get_key(row) == position.key
            assert found.find_row(position.key) == row
            assert found[position.key] == position
    assert len(found._named) == len(found._rows) <= 3
