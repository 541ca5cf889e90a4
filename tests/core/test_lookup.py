"""Which position is meant, however little of its id is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from dehedge.core.lookup import check_market, find_key, show
from dehedge.core.model import HedgeKey, Position
from dehedge.errors import QuestionInvalid
from tests.core.builders import BTC, ETH, USDC, a_key, a_position

FIRST = "0xAb00000000000000000000000000000000000001"
SECOND = "0xAb00000000000000000000000000000000000002"
OTHER = "0x0000000000000000000000000000000000000A55"
BOOK = {p.key: p for p in (a_position(user=FIRST), a_position(user=SECOND), a_position(user=FIRST, market=ETH))}


class Table(dict[HedgeKey, Position]):
    """Positions that find their traders themselves."""

    asked: tuple[str, str, int] | None = None

    def find_by_user(self, market: str, digits: str, count: int) -> list[HedgeKey]:
        self.asked = (market, digits, count)
        return [key for key in self if key.market == market and key.position_id.lower().startswith(f"0x{digits}")][
            :count
        ]


def find(text: str, market: str = BTC, positions: Mapping[HedgeKey, Position] = BOOK, hedged: Iterable[HedgeKey] = ()):
    return find_key(positions, hedged, market, text)


@pytest.mark.parametrize(
    "text",
    [
        f"{FIRST}|{USDC}",
        FIRST,
        FIRST.lower(),
        FIRST.upper().replace("X", "x"),
        f" {FIRST} ",
        f"{FIRST}|{USDC.lower()}",
        f"{FIRST}|0x83",
        "0xAb00…0001",
        "0xab00…0001|0x83",
    ],
)
def test_position_is_found_by_whatever_names_it_alone(text: str) -> None:
    assert find(text) == a_key(user=FIRST)
    assert find(text, positions=Table(BOOK)) == a_key(user=FIRST)


def test_position_is_found_by_the_beginning_of_its_address_when_no_other_begins_so() -> None:
    assert find("0xa", ETH) == a_key(user=FIRST, market=ETH)


def test_hedge_is_found_although_its_position_is_gone() -> None:
    gone = a_key(user=OTHER)

    assert find(OTHER.lower(), hedged=[gone, a_key(user=OTHER, market=ETH)]) == gone
    assert find(gone.position_id, positions={}, hedged=[gone]) == gone
    assert find(FIRST, hedged=[a_key(user=FIRST)]) == a_key(user=FIRST)


def test_several_positions_are_named_when_more_is_needed() -> None:
    with pytest.raises(QuestionInvalid) as caught:
        find("0xab")

    assert str(caught.value) == (
        f"several positions in BTC-USD begin with '0xab': {FIRST}|{USDC}, {SECOND}|{USDC}; give more of one"
    )


def test_only_the_first_of_many_are_named() -> None:
    many = {key: a_position() for key in (a_key(user=f"0xab{number:038x}") for number in range(9))}
    with pytest.raises(QuestionInvalid, match=r"0{37}2\|\w+, \.\.\.; give more of one$"):
        find("0xab", positions=many)


def test_two_assets_of_one_trader_are_told_apart() -> None:
    book = Table({p.key: p for p in (a_position(user=FIRST), a_position(user=FIRST, asset=OTHER))})

    with pytest.raises(QuestionInvalid, match="several positions"):
        find(FIRST, positions=book)
    assert find(f"{FIRST}|0x00", positions=book) == a_key(user=FIRST, asset=OTHER)
    assert book.asked == (BTC, FIRST[2:].lower(), 1_000)


def test_both_ends_are_looked_for_among_all_that_begin_so() -> None:
    many = Table({key: a_position() for key in (a_key(user=f"0xab00{number:036x}") for number in range(1, 10))})

    assert find("0xab00…0009", positions=many) == a_key(user=f"0xab00{9:036x}")


def test_search_ends_where_more_would_not_be_shown() -> None:
    table = Table(BOOK)
    find(FIRST, positions=table)

    assert table.asked == (BTC, FIRST[2:].lower(), 4)


@pytest.mark.parametrize("text", ["", "0x", "ab", "0xg", "0x" + "0" * 41, "0xab|z|", "trader\n", "x" * 1_000])
def test_what_is_no_id_is_told_in_one_line(text: str) -> None:
    with pytest.raises(QuestionInvalid, match=r"^'[^\n]{0,110} is no position: give the trader's address"):
        find(text)


def test_position_that_is_not_there_is_told_with_its_market() -> None:
    with pytest.raises(
        QuestionInvalid, match=r"^no position or hedge in ETH-USD begins with '0xAb0+2'; `dehedge trips`"
    ):
        find(SECOND, ETH)


def test_market_is_one_of_the_known() -> None:
    check_market(BTC, [ETH, BTC])

    with pytest.raises(QuestionInvalid, match=r"^market 'btc' is not known; known are: BTC-USD, ETH-USD$"):
        check_market("btc", [ETH, BTC, BTC])
    with pytest.raises(QuestionInvalid, match=r"known are: none yet$"):
        check_market("btc", [])


def test_foreign_text_is_shown_in_one_short_line() -> None:
    assert show("a\nb\x1b[31m") == "'a?b?[31m'"
    assert show("x" * 101) == f"'{'x' * 100}...'"
    assert show("x" * 100) == f"'{'x' * 100}'"
