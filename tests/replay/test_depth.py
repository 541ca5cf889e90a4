"""A recorded book is rebuilt as the exchange says to, and what is measured on it is what its levels cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.errors import ConfigError
from dehedge.replay.depth import BOTH, Book, Slip, fit, measure, walk
from dehedge.replay.depth_feed import Change, Touch, read_feed
from dehedge.replay.depth_session import describe_depth

AT_MS = 1_700_000_000_000
Rows = Sequence[tuple[object, object]]


def levels(rows: Rows) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(str(price)), Decimal(str(quantity))) for price, quantity in rows]


def change(first: int, last: int, before: int, bids: Rows = (), asks: Rows = (), *, is_whole: bool = False, at_ms: int = AT_MS) -> Change:
    return Change("BTCUSDT", at_ms, first, last, before, levels(bids), levels(asks), is_whole)


def snapshot(last: int, bids: Rows = ((99, 1),), asks: Rows = ((101, 1),), at_ms: int = AT_MS) -> Change:
    return change(last, last, last, bids, asks, is_whole=True, at_ms=at_ms)


def write(path: Path, *messages: object) -> Path:
    path.write_text("\n".join(each if isinstance(each, str) else json.dumps(each) for each in messages) + "\n")
    return path


DIFF = {"e": "depthUpdate", "E": AT_MS, "s": "BTCUSDT", "U": 5, "u": 9, "pu": 4, "b": [["99.5", "2"]], "a": [["101", "0"], ["102", "3"]]}
TICKER = {"e": "bookTicker", "E": AT_MS, "s": "BTCUSDT", "b": "99", "B": "1", "a": "101", "A": "1"}
SNAPSHOT = {"lastUpdateId": 4, "E": AT_MS, "bids": [["99", "1"]], "asks": [["101", "1"]]}


def test_feed_is_read_in_every_wrapping(tmp_path: Path):
    trade = {"e": "trade", "p": "1"}
    wrapped = {"recv_ns": 1, "msg": {"stream": "btcusdt@depth@0ms", "data": DIFF}}
    path = write(tmp_path / "f.jsonl", {"recv_ns": 0, "msg": SNAPSHOT}, "", trade, wrapped, {"stream": "x", "data": TICKER}, DIFF)

    events = list(read_feed(path))

    diff = change(5, 9, 4, [("99.5", 2)], [(101, 0), (102, 3)])
    assert events == [snapshot(4), diff, Touch("BTCUSDT", AT_MS, Decimal(99), Decimal(101)), diff]


def test_partial_depth_is_all_that_there_is(tmp_path: Path):
    (event,) = read_feed(write(tmp_path / "f.jsonl", {"stream": "btcusdt@depth20@100ms", "data": DIFF}))

    assert isinstance(event, Change)
    assert event.is_whole


def test_snapshot_alone_is_named_by_its_file(tmp_path: Path):
    assert [event.symbol for event in read_feed(write(tmp_path / "book.jsonl", SNAPSHOT))] == ["book"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "is not JSON"), ("[" * 100_000, "is not JSON"), ("3", "is not a message: wants an object"), ('{"msg":[]}', "is not a message"),
        ({**DIFF, "s": "../x"}, "s is '../x', not a symbol"), ({**DIFF, "u": "9"}, "u is '9', not a whole number"),
        ({**DIFF, "pu": True}, "pu is True"), ({**DIFF, "E": None}, "E is None"), ({**DIFF, "b": [["1", "-1"]]}, "b has '-1', not a number"),
        ({**DIFF, "b": [["1"]]}, r"b has a level that is not \[price, quantity\]"), ({**DIFF, "a": {}}, "a is not a list"),
        ({**DIFF, "a": [[1, "1"]]}, "a has 1, not a number"), ({**TICKER, "a": "98"}, "wants 0 < bid < ask, and has 99 and 98"),
        ({**SNAPSHOT, "lastUpdateId": -1}, "lastUpdateId is -1"), ({**TICKER, "b": "NaN"}, "b has 'NaN'"),
    ],
)  # fmt: skip
def test_bad_line_is_told_with_its_number_and_the_reason(tmp_path: Path, line: object, reason: str):
    path = write(tmp_path / "f.jsonl", DIFF, "", line)

    with pytest.raises(ConfigError, match=rf"f\.jsonl:3: {reason}") as caught:
        list(read_feed(path))
    assert len(str(caught.value)) < 200


def test_file_that_is_no_text_or_not_there_is_told(tmp_path: Path):
    (tmp_path / "f").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        list(read_feed(tmp_path / "f"))
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        list(read_feed(tmp_path / "gone"))


def test_changes_follow_a_snapshot_by_their_ids():
    book = Book()
    early = change(3, 6, 2, [(98, 5)])
    stale = change(1, 2, 0, [(97, 7)])
    for each in (stale, early, snapshot(5), change(7, 8, 6, [(99, 0)], [(100, 2)])):
        book.apply(each)

    assert book.bids == {98: 5}
    assert book.asks == {101: 1, 100: 2}
    assert (book.is_whole, book.gaps, book.last_id) == (True, 0, 8)


def test_change_that_is_older_than_the_snapshot_is_left_out():
    book = Book()
    for each in (snapshot(5), change(3, 5, 2, [(98, 5)]), change(6, 6, 5, [(97, 1)])):
        book.apply(each)

    assert (book.bids, book.gaps) == ({99: 1, 97: 1}, 0)


def test_book_is_forgotten_where_changes_are_missing_until_the_next_snapshot():
    book = Book()
    for each in (snapshot(5), change(8, 9, 7, [(98, 5)])):
        book.apply(each)
    assert (book.gaps, book.is_whole, book.bids, book.asks) == (1, False, {98: 5}, {})

    book.apply(snapshot(20))
    assert (book.gaps, book.is_whole, book.bids) == (1, True, {99: 1})


def test_book_whose_sides_cross_has_no_mid():
    book = Book()
    book.apply(snapshot(5, bids=[(101, 1)]))
    assert book.get_mid() is None
    book.apply(snapshot(6))
    assert book.get_mid() == 100


def test_walk_pays_each_level_beyond_the_mid():
    asks = levels([(101, 1), (102, 2), (110, 5)])

    assert walk(asks, Decimal(100), 100) == 100
    assert walk(asks, Decimal(100), 300) == (Decimal(101 + 2 * 102) / 3 - 100) * 100
    assert walk(asks, Decimal(100), 801) is None


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 9)), min_size=2, max_size=20, unique_by=lambda row: row[0]))
def test_larger_order_never_pays_less(rows: list[tuple[int, int]]):
    asks = levels([(10_000 + price, quantity) for price, quantity in sorted(rows)])
    paid = [walk(asks, Decimal(10_000), size_usd) for size_usd in (1_000, 10_000, 50_000, 500_000)]
    known = [slip for slip in paid if slip is not None]

    assert known == sorted(known)
    assert all(slip is None for slip in paid[len(known) :])


@given(st.integers(0, 500), st.integers(1_000, 10**8))
def test_fit_finds_the_model_that_made_the_points(spread_centibps: int, depth_usd: int):
    spread = Decimal(spread_centibps) / 100
    found = fit([Slip(size, spread + Decimal(size) / depth_usd / 2, None, None, 0) for size in (10_000, 100_000, 1_000_000)])

    assert found.half_spread_bps == pytest.approx(spread, abs=Decimal("1E-9"))
    assert found.depth_usd == pytest.approx(depth_usd)
    assert all(abs(off) < Decimal("1E-9") for _, off in found.residuals)


def test_fit_asks_for_no_negative_spread_and_no_negative_depth():
    convex = fit([Slip(10, Decimal(0), None, None, 0), Slip(100, Decimal(1), None, None, 0), Slip(1_000, Decimal(90), None, None, 0)])
    falling = fit([Slip(10, Decimal(3), None, None, 0), Slip(100, Decimal(1), None, None, 0)])

    assert convex.half_spread_bps == 0
    assert convex.depth_usd > 0
    assert (falling.half_spread_bps, falling.depth_usd) == (2, 0)
    assert fit([Slip(10, None, None, None, 4)]) == (0, 0, [])


def test_measuring_looks_at_whole_books_alone_where_there_are_some():
    thin = change(1, 2, 0, [(90, 1)], [(110, 1)])
    thick = snapshot(2, [(99, 10**6)], [(101, 10**6)], AT_MS + 500)
    (depth,) = measure([thin, Touch("BTCUSDT", AT_MS + 10, Decimal(99), Decimal(101)), thick, Touch("ETHUSDT", AT_MS, Decimal(1), Decimal(2))])

    assert (depth.symbol, depth.looks, depth.is_whole, depth.touch_bps) == ("BTCUSDT", 1, True, 100)
    assert (depth.first_ms, depth.last_ms) == (AT_MS, AT_MS + 500)
    assert [slip.mean for slip in depth.slips["buy"]] == [100] * 4
    assert (depth.fits[BOTH].half_spread_bps, depth.fits[BOTH].depth_usd) == (100, 0)


def test_book_without_a_snapshot_is_said_to_be_deeper():
    (depth,) = measure([change(1, 2, 0, [(99, 9_000)], [(101, 200)]), change(4, 5, 3, [(99, 9_000)], [(101, 200)], at_ms=AT_MS + 200)])

    told = "\n".join(describe_depth(depth))
    assert "no snapshot: only levels that changed are known" in told
    assert "1 gaps: changes are missing" in told
    assert [slip.short for slip in depth.slips["buy"]] == [0, 2, 2, 2]
    assert depth.slips["buy"][1].mean is None


def test_looks_are_as_far_apart_as_asked_for():
    events = [snapshot(number, at_ms=AT_MS + number * 40) for number in range(1, 11)]

    assert [measure(events, every_ms)[0].looks for every_ms in (1, 100, 10_000)] == [10, 4, 1]
