"""The quick reading of a page against the careful one: the same values wherever it reads at all."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.chain.test_chain_codec import (
    POSITIONS,
    even_positions,
    normalize,
    positions,
    signed_words,
    words,
)

from dehedge.adapters.chain import codec
from dehedge.adapters.chain.abi import Malformed
from dehedge.adapters.chain.decoder import read_entries

USER, ASSET = "0x" + "ab" * 20, "0x" + "cd" * 20


def a_struct(**changes: Any) -> tuple[Any, ...]:
    fields = {
        "user": USER,
        "asset": ASSET,
        "market": "BTC-USD",
        "is_long": True,
        "size": 5,
        "collateral": 6,
        "tracer": -7,
        "price": 8,
        "time": 9,
    }
    return tuple({**fields, **changes}.values())


def encode_structs(structs: list[tuple[Any, ...]]) -> bytes:
    return encode([POSITIONS], [structs])


def read_carefully(data: bytes) -> list[Any] | None:
    try:
        return list(codec.iterate_positions(data))
    except Malformed:
        return None


def check_alike(data: bytes) -> bool:
    """True where the quick reading reads it; then it must have read what is there."""
    entries = read_entries(data, 1_000)
    if entries is None:
        return False
    assert list(entries.iterate()) == read_carefully(data)
    assert [entries.get(row) for row in range(entries.count)] == list(entries.iterate())
    return True


@settings(max_examples=200, deadline=None)
@given(structs=st.lists(even_positions, min_size=1, max_size=6))
def test_page_is_read_as_the_library_reads_it_when_all_names_fit_one_word(structs):
    data = encode_structs(structs)

    assert check_alike(data)
    assert normalize(list(read_entries(data, 6).iterate())) == normalize(decode([POSITIONS], data)[0])


@settings(max_examples=200, deadline=None)
@given(structs=st.lists(positions, max_size=4))
def test_page_is_read_or_left_to_the_careful_reader_whatever_the_names(structs):
    is_even = bool(structs) and all(0 < len(struct[2].encode()) <= 32 for struct in structs)

    assert check_alike(encode_structs(structs)) is is_even


@settings(max_examples=60, deadline=None)
@given(structs=st.lists(even_positions, min_size=1, max_size=3), data=st.data())
def test_page_is_not_read_otherwise_when_words_are_replaced(structs, data):
    encoded = bytearray(encode_structs(structs))
    for _ in range(data.draw(st.integers(1, 3))):
        place = 32 * data.draw(st.integers(0, len(encoded) // 32 - 1))
        encoded[place : place + 32] = data.draw(st.one_of(words, st.integers(0, 400))).to_bytes(32, "big")

    check_alike(bytes(encoded))


def test_page_is_not_read_otherwise_when_any_byte_is_changed():
    good = encode_structs([a_struct(), a_struct(market="€" * 10, is_long=False), a_struct(tracer=2**100)])
    read = left = refused = 0

    for place in range(len(good)):
        for turn in (0x01, 0x7F, 0x80, 0xFF):
            data = good[:place] + bytes([good[place] ^ turn]) + good[place + 1 :]
            if check_alike(data):
                read += 1
            else:
                left += 1
                refused += read_carefully(data) is None

    # Every bit of an address and of a number is read; padding, offsets, sides and names are what can be refused.
    assert read > 3 * 4 * (2 * 20 + 5 * 32)
    assert left > refused > 1_000


def test_page_is_not_read_when_it_is_cut_or_longer():
    good = encode_structs([a_struct()] * 2)

    assert check_alike(good)
    assert not any(check_alike(good[:length]) for length in range(len(good)))
    assert not check_alike(good + bytes(32))
    assert not check_alike(good + bytes(384))


def test_page_of_more_than_was_asked_for_is_left_to_the_careful_reader():
    good = encode_structs([a_struct()] * 3)

    assert read_entries(good, 2) is None
    assert read_entries(good, 3) is not None


EDGES = (0, 1, 2**63, 2**64 - 1, 2**64, 2**127, 2**128 - 1, 2**128, 2**192, 2**255 - 1)


@pytest.mark.parametrize("value", EDGES)
@pytest.mark.parametrize("field", ["size", "collateral", "tracer", "price", "time"])
def test_number_is_read_exactly_when_it_is_at_the_edge_of_its_column(field, value):
    values = (value, -value, -value - 1) if field == "tracer" else (value, 2 * value + 1)

    assert check_alike(encode_structs([a_struct(**{field: each}) for each in values]))


@settings(max_examples=100, deadline=None)
@given(numbers=st.tuples(words, words, signed_words, words, words))
def test_numbers_are_read_exactly_whatever_they_are(numbers):
    size, collateral, tracer, price, time = numbers

    assert check_alike(
        encode_structs([a_struct(size=size, collateral=collateral, tracer=tracer, price=price, time=time), a_struct()])
    )


def test_numbers_of_an_asset_of_18_decimals_are_columns() -> None:
    found = read_entries(encode_structs([a_struct(size=10**7 * 10**18, collateral=10**6 * 10**18)]), 1)

    assert found is not None
    assert not found.wide
    assert next(found.iterate()).size == 10**25
