"""The hand-written ABI equals the library's, byte for byte, and refuses what does not fit."""

from __future__ import annotations

import eth_abi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dehedge.sim.chain.abi import (
    Arguments,
    Malformed,
    encode_address,
    encode_array,
    encode_bytes,
    encode_int,
    encode_market,
    encode_position,
    encode_string,
    encode_tuple,
    encode_uint,
)
from dehedge.sim.chain.model import INT_MAX, INT_MIN, UINT_MAX, SimMarket, SimPosition

POSITION = "(address,address,string,bool,uint256,uint256,int256,uint256,uint256)"
MARKET = f"(string,string,address,{','.join(['uint256'] * 7)},bytes32,bool,bool)"

uints = st.integers(0, UINT_MAX)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
texts = st.text(max_size=70)
positions = st.builds(
    SimPosition,
    user=addresses,
    asset=addresses,
    market=texts,
    is_long=st.booleans(),
    size=uints,
    collateral=uints,
    funding_tracer=st.integers(INT_MIN, INT_MAX),
    price=uints,
    timestamp=uints,
)
markets = st.builds(
    SimMarket,
    market=texts,
    name=texts,
    category=texts,
    de_feed=addresses,
    max_leverage=uints,
    funding_factor=uints,
    feed_max_age=uints,
    pyth_feed=st.binary(min_size=32, max_size=32).map(bytes.hex),
    market_live=st.booleans(),
    is_reduce_only=st.booleans(),
)


def _spread(position: SimPosition) -> tuple[object, ...]:
    place = (position.user, position.asset, position.market, position.is_long)
    return (*place, position.size, position.collateral, position.funding_tracer, position.price, position.timestamp)


def _spread_market(market: SimMarket) -> tuple[object, ...]:
    flags = (bytes.fromhex(market.pyth_feed), market.market_live, market.is_reduce_only)
    return (market.name, market.category, market.de_feed, *market.numbers, *flags)


@given(st.lists(positions, max_size=5))
def test_positions_encode_as_the_library_does(sample: list[SimPosition]) -> None:
    own = encode_tuple(encode_array([encode_position(position) for position in sample]))

    assert own == eth_abi.encode([f"{POSITION}[]"], [[_spread(position) for position in sample]])


@given(st.lists(markets, max_size=4))
def test_markets_encode_as_the_library_does(sample: list[SimMarket]) -> None:
    own = encode_tuple(encode_array([encode_market(market) for market in sample]))

    assert own == eth_abi.encode([f"{MARKET}[]"], [[_spread_market(market) for market in sample]])


@given(uints, st.integers(INT_MIN, INT_MAX), addresses, texts, st.binary(max_size=70), st.lists(texts, max_size=4))
def test_mixed_values_encode_as_the_library_does(
    number: int, tracer: int, address: str, text: str, raw: bytes, items: list[str]
) -> None:
    strings = encode_array([encode_string(item) for item in items])
    words = (encode_uint(number), encode_string(text), encode_int(tracer), encode_address(address))

    own = encode_tuple(*words, encode_bytes(raw), strings)

    kinds = ["uint256", "string", "int256", "address", "bytes", "string[]"]
    assert own == eth_abi.encode(kinds, [number, text, tracer, address, raw, items])


@given(addresses, texts, st.booleans(), st.lists(texts, max_size=4))
def test_arguments_are_read_as_they_were_encoded(address: str, text: str, flag: bool, items: list[str]) -> None:
    data = eth_abi.encode(["address", "string", "bool", "string[]"], [address, text, flag, items])
    arguments = Arguments(b"\x01\x02\x03\x04" + data, 4)

    count, window = arguments.read_array(3)

    assert (arguments.read_address(0), arguments.read_string(1), arguments.read_bool(2)) == (address, text, flag)
    assert [window.read_string(slot) for slot in range(count)] == items


@given(st.lists(st.text(min_size=1, max_size=70), min_size=1, max_size=3), st.data())
def test_arguments_are_refused_when_cut_anywhere(items: list[str], data: st.DataObject) -> None:
    padding = -len(items[-1].encode()) % 32
    whole = eth_abi.encode(["string[]"], [items])
    cut = data.draw(st.integers(0, len(whole) - padding - 1))

    with pytest.raises(Malformed):
        _read_strings(Arguments(whole[:cut]))


@pytest.mark.parametrize("word", [1 << 160, UINT_MAX])
def test_address_is_refused_when_its_upper_bytes_are_not_zero(word: int) -> None:
    with pytest.raises(Malformed):
        Arguments(encode_uint(word)).read_address(0)


def test_bool_is_refused_when_it_is_neither_0_nor_1() -> None:
    with pytest.raises(Malformed):
        Arguments(encode_uint(2)).read_bool(0)


def test_array_is_refused_when_its_length_exceeds_the_data() -> None:
    with pytest.raises(Malformed):
        Arguments(encode_uint(32) + encode_uint(2**200)).read_array(0)


@pytest.mark.parametrize("value", [-1, UINT_MAX + 1])
def test_position_is_refused_when_an_amount_is_not_a_uint256(value: int) -> None:
    with pytest.raises(AssertionError):
        SimPosition(user="0x" + "11" * 20, market="BTC-USD", is_long=True, size=value, collateral=0, price=0)


def _read_strings(arguments: Arguments) -> list[str]:
    count, window = arguments.read_array(0)
    return [window.read_string(slot) for slot in range(count)]
