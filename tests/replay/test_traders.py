"""A book that was written is read back the same, to the base unit; a book that cannot be is refused by its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.errors import ConfigError
from dehedge.replay.chain_book import build_chain_book
from dehedge.replay.model import Trader
from dehedge.replay.traders import Book, build_user, read_book, render_book
from tests.core.builders import a_position, a_snapshot

GOOD = "market,user,side,size,collateral,entry_price,opened,closed\n"
USER = "0x" + "ab" * 20
UINT_MAX = 2**256 - 1
times = st.integers(0, 4_102_444_798)


@st.composite
def traders(draw: st.DrawFn, number: int) -> Trader:
    opened_s = draw(times)
    closed_s = draw(st.none() | st.integers(opened_s + 1, 4_102_444_799))
    amounts = draw(st.integers(1, UINT_MAX)), draw(st.integers(0, UINT_MAX))
    entry = draw(st.none() | st.integers(1, UINT_MAX))
    market = draw(st.from_regex(r"[A-Z0-9]{1,6}-USD", fullmatch=True))
    return Trader(market, build_user(number), draw(st.booleans()), *amounts, entry, opened_s, closed_s)


books = st.builds(
    Book,
    st.integers(1, 6).flatmap(lambda count: st.tuples(*map(traders, range(count)))).map(list),
    st.none() | st.integers(0, UINT_MAX), st.none() | st.integers(0, UINT_MAX),
)  # fmt: skip


@given(books)
def test_book_is_the_same_when_written_and_read(tmp_path_factory: pytest.TempPathFactory, book: Book):
    path = tmp_path_factory.mktemp("b") / "book.csv"
    path.write_text(render_book(book))

    assert read_book(path) == book


def test_book_of_a_person_needs_five_columns_alone(tmp_path: Path):
    (tmp_path / "b.csv").write_text("# my book\n# shield 1.5\nSide,Market,Collateral,Size,Opened\nLONG,BTC-USD,10,100.000001,2020-03-12\n")

    book = read_book(tmp_path / "b.csv")

    assert book == ([Trader("BTC-USD", build_user(0), True, 100_000_001, 10_000_000, None, 1_583_971_200, None)], None, 1_500_000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no traders"), (GOOD, "has no traders"), ("x,y\n", "has none of the columns"),
        ("market,side\n", ":1: the header has no column size, collateral, opened"), ("1,2\n", ":1: the header has no column market"),
        (f"{GOOD}BTC-USD,{USER},up,1,1,1,60,", ":2: side is 'up'"), (f"{GOOD}BTC-USD,0x12,long,1,1,1,60,", ":2: user is '0x12'"),
        (f"{GOOD}=cmd(),{USER},long,1,1,1,60,", ":2: market is"), (f"{GOOD}BTC-USD,{USER},long,-1,1,1,60,", ":2: size is '-1'"),
        (f"{GOOD}BTC-USD,{USER},long,0.0000001,1,1,60,", ":2: size is"), (f"{GOOD}BTC-USD,{USER},long,0,1,1,60,", ":2: size is 0"),
        (f"{GOOD}BTC-USD,{USER},long,1,1,0.00,60,", ":2: entry_price is 0; give a price above 0, or nothing for the price of then"),
        (f'{GOOD}BTC-USD,{USER},long,"400,000",1,1,60,', ":2: size is '400,000'; give USDC with .* without thousands separators"),
        (f"{GOOD}BTC-USD,{USER},long,400,000,1,1,60,", ":2: has 9 fields where the columns are 8; give numbers without thousands separators"),
        (f"{GOOD}BTC-USD,{USER},long,1,1,1,60", ":2: has 7 fields where the columns are 8"),
        (f'{GOOD}BTC-USD,{USER},long,"1,1,1,60,', ":2: has quotes that do not go around one field"),
        (f"{GOOD}BTC-USD,{USER},long,1,1,1,60,60", ":2: is closed at 1970-01-01T00:01:00Z, not after"),
        (f"{GOOD}BTC-USD,{USER},long,1,1,1,60x,", ":2: opened is '60x'"), (f"{GOOD}BTC-USD,{USER},long,1,1,1,2020-02-30,", ":2: .* not a time"),
        (f"{GOOD}BTC-USD,{USER},long,1,1,1,60,\nBTC-USD,{USER.upper().replace('X', 'x')},short,1,1,1,90,", r":3: .* already, of .*:2"),
        (f"{GOOD}BTC-USD,{USER},long,1,1,1,90,\nBTC-USD,{USER},short,1,1,1,60,91", r":2: .* already, of .*:3"),
    ],
)  # fmt: skip
def test_line_that_is_wrong_is_told_with_its_reason_when_read(tmp_path: Path, text: str, reason: str):
    (tmp_path / "b.csv").write_text(text)

    with pytest.raises(ConfigError, match=reason):
        read_book(tmp_path / "b.csv")


LINE = f"BTC-USD,{USER},long,1,1,1,60,\n"


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        ("# vault 5,000,000", ":1: vault is '5,000,000'; write it as: # vault 5000000$"), ("# vault -5000000", ":1: vault is '-5000000'"),
        ("# Vault: 5000000", ":1: vault is '5000000'; write it as"), ("#SHIELD", ":1: shield is ''"), ("# vault 5,,,", ":1: vault is '5,,,'"),
        ("# vault 1.0000001", ":1: vault is"), ("# shield=3", ":1: shield is '3'"), ("# vault 5\n# vault 6", r":2: vault is said already, in .*b\.csv:1"),
    ],
)  # fmt: skip
def test_capital_that_cannot_be_read_is_no_mere_comment(tmp_path: Path, comment: str, reason: str):
    (tmp_path / "b.csv").write_text(f"{comment}\n{GOOD}{LINE}")

    with pytest.raises(ConfigError, match=reason):
        read_book(tmp_path / "b.csv")


def test_comment_of_another_kind_stays_a_comment(tmp_path: Path):
    (tmp_path / "b.csv").write_text(f"# of the vaults, mine\n#\n# the shield 5\n# shielded\n{GOOD}{LINE}# vault 7\n")

    assert read_book(tmp_path / "b.csv")[1:] == (7_000_000, None)


def test_quoted_fields_are_read_as_every_csv_has_them(tmp_path: Path):
    (tmp_path / "b.csv").write_text(f'"note",{GOOD}"a, b","BTC-USD", "{USER}",long,"1",1,1,60,\n')

    (trader,) = read_book(tmp_path / "b.csv").traders

    assert (trader.market, trader.user, trader.size) == ("BTC-USD", USER, 1_000_000)


def test_book_of_the_chain_is_exact_and_counts_what_it_leaves_out(tmp_path: Path):
    good = a_position(market="ETH-USD")
    positions = [
        good, good._replace(asset="0x" + "12" * 20, user="0x" + "34" * 20), good._replace(size=0, user="0x" + "56" * 20),
        good._replace(market="=x|y"), good._replace(opened_at=2**60, user="0x" + "78" * 20),
        good._replace(entry_price=0, user="0x" + "9a" * 20),
    ]  # fmt: skip
    snapshot = a_snapshot(positions=positions, vault=7_000_001, shield=3)

    made = build_chain_book(snapshot, good.asset.lower())
    (tmp_path / "b.csv").write_text(render_book(made.book))

    assert sorted(made.left_out.values()) == [1, 1, 1, 2]
    assert read_book(tmp_path / "b.csv") == made.book
    assert made.book.vault == 7_000_001
    assert made.book.traders == [
        Trader("ETH-USD", good.user, good.is_long, good.size, good.collateral, good.entry_price, good.opened_at, None)
    ]
