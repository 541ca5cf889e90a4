"""The decoder against eth-abi: equal on everything well-formed, and refusing exactly what eth-abi refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.hostile import hurried

from dehedge.adapters.chain import codec
from dehedge.adapters.chain.abi import Malformed
from dehedge.adapters.chain.decoder import read_entries
from dehedge.core.model import Position

POSITIONS = "(address,address,string,bool,uint256,uint256,int256,uint256,uint256)[]"
MARKETS = "(string,string,address,uint256,uint256,uint256,uint256,uint256,uint256,uint256,bytes32,bool,bool)[]"
RESULTS = "(bool,bytes)[]"

words = st.integers(0, 2**256 - 1)
signed_words = st.integers(-(2**255), 2**255 - 1)
addresses = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
positions = st.tuples(addresses, addresses, texts, st.booleans(), words, words, signed_words, words, words)
names = texts.filter(lambda text: 0 < len(text.encode()) <= 32)
even_positions = st.tuples(addresses, addresses, names, st.booleans(), words, words, signed_words, words, words)
markets = st.tuples(
    texts, texts, addresses, *[words] * 7, st.binary(min_size=32, max_size=32), st.booleans(), st.booleans()
)
results = st.tuples(st.booleans(), st.binary(max_size=70))

Decoder = Callable[[bytes], Any]



def decode_page(data: bytes) -> list[Position]:
    """As pages are read: all at once where that can be, and else one after the other."""
    entries = read_entries(data, 10**6)
    return list(codec.iterate_positions(data) if entries is None else entries.iterate())


DECODERS: dict[str, tuple[str, st.SearchStrategy[Any], Decoder]] = {
    "positions": (POSITIONS, st.lists(positions, max_size=4), lambda data: list(codec.iterate_positions(data))),
    "pages": (POSITIONS, st.lists(even_positions, min_size=1, max_size=4), decode_page),
    "markets": (MARKETS, st.lists(markets, max_size=3), codec.decode_markets),
    "results": (RESULTS, st.lists(results, max_size=4), codec.decode_aggregate3),
    "strings": ("string[]", st.lists(texts, max_size=5), codec.decode_strings),
    "ints": ("int256[]", st.lists(signed_words, max_size=5), codec.decode_ints),
}
STATIC_DECODERS: dict[str, tuple[str, st.SearchStrategy[Any], Decoder]] = {
    "uint": ("uint256", words, codec.decode_uint),
    "address": ("address", addresses, codec.decode_address),
}


def normalize(value: Any) -> Any:
    """Both sides in one shape: tuples throughout, addresses in lower case."""
    if isinstance(value, list | tuple):
        return tuple(normalize(item) for item in value)
    return value.lower() if isinstance(value, str) and value.startswith("0x") else value


def decode_or_refuse(decoder: Decoder, data: bytes) -> Any:
    try:
        return normalize(decoder(data))
    except Malformed:
        return "refused"


def decode_with_library(abi_type: str, data: bytes) -> Any:
    """eth-abi refuses with many exceptions, from its own to OverflowError; each of them is a refusal."""
    try:
        return normalize(decode([abi_type], data)[0])
    except Exception:  # noqa: BLE001
        return "refused"


@pytest.mark.parametrize("name", [*DECODERS, *STATIC_DECODERS])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_decoder_equals_the_library_when_well_formed(name: str, data: st.DataObject) -> None:
    abi_type, strategy, decoder = {**DECODERS, **STATIC_DECODERS}[name]
    value = data.draw(strategy)

    assert normalize(decoder(encode([abi_type], [value]))) == normalize(value)


@pytest.mark.parametrize("name", [*DECODERS, *STATIC_DECODERS])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_decoder_refuses_a_reply_when_truncated_at_any_length(name: str, data: st.DataObject) -> None:
    abi_type, strategy, decoder = {**DECODERS, **STATIC_DECODERS}[name]
    encoded = encode([abi_type], [data.draw(strategy)])

    for length in range(len(encoded)):
        with pytest.raises(Malformed):
            decoder(encoded[:length])


@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_decoder_refuses_what_the_library_refuses_when_words_are_replaced(name: str, data: st.DataObject) -> None:
    abi_type, strategy, decoder = DECODERS[name]
    encoded = bytearray(encode([abi_type], [data.draw(strategy)]))
    for _ in range(data.draw(st.integers(1, 3))):
        place = 32 * data.draw(st.integers(1, len(encoded) // 32 - 1))
        word = data.draw(st.one_of(st.integers(0, len(encoded) + 64), st.integers(0, 64).map(lambda n: 32 * n), words))
        encoded[place : place + 32] = word.to_bytes(32, "big")

    assert decode_or_refuse(decoder, bytes(encoded)) == decode_with_library(abi_type, bytes(encoded))


EXAMPLES: dict[str, Any] = {
    "positions": [("0x" + "ab" * 20, "0x" + "cd" * 20, "BTC-€", True, 5, 6, -7, 8, 9)] * 2,
    "pages": [("0x" + "ab" * 20, "0x" + "cd" * 20, "BTC-€", True, 5, 6, -7, 8, 9)] * 2,
    "markets": [("Bitcoin", "crypto", "0x" + "ab" * 20, 1, 2, 3, 4, 5, 6, 7, b"\x11" * 32, True, False)],
    "results": [(True, b"abc"), (False, b"")],
    "strings": ["BTC-USD", "", "€" * 11],
    "ints": [-1, 2],
}


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_refuses_what_the_library_refuses_when_any_one_word_is_replaced(name: str) -> None:
    abi_type, _, decoder = DECODERS[name]
    encoded = encode([abi_type], [EXAMPLES[name]])
    refused = 0

    for place in range(32, len(encoded), 32):
        for value in (0, 1, 2, 3, 31, 32, 33, 64, len(encoded) - 32, len(encoded), 2**63, 2**160, 2**255, 2**256 - 1):
            changed = encoded[:place] + value.to_bytes(32, "big") + encoded[place + 32 :]
            ours = decode_or_refuse(decoder, changed)
            refused += ours == "refused"
            assert ours == decode_with_library(abi_type, changed), (place, value)

    assert refused > 0


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400))
def test_decoder_refuses_noise(data: bytes) -> None:
    for abi_type, _, decoder in DECODERS.values():
        if data[:32] != (32).to_bytes(32, "big"):
            assert decode_or_refuse(decoder, data) == "refused", abi_type


def test_decoder_refuses_text_that_is_not_utf8() -> None:
    encoded = encode(["string[]"], [["é"]]).replace("é".encode(), b"\xc3\x28")

    with pytest.raises(Malformed, match="UTF-8"):
        codec.decode_strings(encoded)


def test_decoder_refuses_an_empty_reply() -> None:
    for _, _, decoder in (*DECODERS.values(), *STATIC_DECODERS.values()):
        with pytest.raises(Malformed):
            decoder(b"")


@settings(max_examples=100)
@given(raw=st.binary(min_size=20, max_size=20))
def test_address_is_checksummed(raw: bytes) -> None:
    assert codec.decode_address(bytes(12) + raw) == to_checksum_address(raw)


FUNCTIONS = [value for value in vars(codec).values() if isinstance(value, codec.Function)]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.signature)
def test_selector_is_the_hash_of_its_signature(function: codec.Function) -> None:
    assert function.selector == keccak(text=function.signature)[:4]


def test_every_function_has_a_selector() -> None:
    assert len(FUNCTIONS) == 9


def encode_with_library(function: codec.Function, *arguments: Any) -> bytes:
    inside = function.signature[function.signature.index("(") + 1 : -1]
    types = {"(address,bool,bytes)[]": [inside]}.get(inside, inside.split(","))
    return function.selector + encode(types, arguments)


@settings(max_examples=60, deadline=None)
@given(text=texts, length=words, offset=words, asset=addresses)
def test_call_data_equals_the_library(text: str, length: int, offset: int, asset: str) -> None:
    assert codec.encode_get_address(text) == encode_with_library(codec.GET_ADDRESS, text)
    assert codec.encode_get_positions(length, offset) == encode_with_library(codec.GET_POSITIONS, length, offset)
    assert codec.encode_get_shield_balance(asset) == encode_with_library(codec.GET_SHIELD_BALANCE, asset)
    assert codec.encode_get_vault_available(asset) == encode_with_library(codec.GET_VAULT_AVAILABLE, asset)


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(addresses, texts), max_size=5))
def test_call_data_of_arrays_equals_the_library(pairs: list[tuple[str, str]]) -> None:
    assets, names = [asset for asset, _ in pairs], [name for _, name in pairs]
    calls = [(asset, True, name.encode()) for asset, name in pairs]

    assert codec.encode_get_funding_tracers(pairs) == encode_with_library(codec.GET_FUNDING_TRACERS, assets, names)
    assert codec.encode_get_multiple_markets(names) == encode_with_library(codec.GET_MULTIPLE_MARKETS, names)
    assert codec.encode_aggregate3([(asset, data) for asset, _, data in calls]) == encode_with_library(
        codec.AGGREGATE3, calls
    )


def build_overlapping(items: int, tail: bytes) -> bytes:
    """An array whose offsets all lead to the same tail."""
    word = (32 * items).to_bytes(32, "big")
    return (32).to_bytes(32, "big") + items.to_bytes(32, "big") + word * items + tail


def build_long(length: int) -> bytes:
    return length.to_bytes(32, "big") + bytes(length)


BOMBS = {
    "many long texts": (codec.decode_strings, build_overlapping(9_000, build_long(2**20))),
    "many texts": (codec.decode_strings, build_overlapping(500_000, build_long(1_000))),
    "many long results": (
        codec.decode_aggregate3,
        build_overlapping(9_000, (1).to_bytes(32, "big") + (64).to_bytes(32, "big") + build_long(2**20)),
    ),
    "many results": (codec.decode_aggregate3, build_overlapping(500_000, bytes(96))),
    "many numbers": (codec.decode_ints, (32).to_bytes(32, "big") + (10**6).to_bytes(32, "big") + bytes(32 * 10**6)),
    "long names of positions": (
        lambda data: list(codec.iterate_positions(data)),
        build_overlapping(1_000, bytes(64) + (288).to_bytes(32, "big") + bytes(192) + build_long(2**20)),
    ),
    "a count without end": (codec.decode_strings, (32).to_bytes(32, "big") + b"\xff" * 32 + bytes(64)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_decoder_refuses_what_would_unfold_without_end(name: str) -> None:
    decode_all, data = BOMBS[name]

    with hurried(), pytest.raises(Malformed):
        decode_all(data)


def test_decoder_reads_results_that_share_their_bytes_when_they_are_few() -> None:
    tail = (1).to_bytes(32, "big") + (64).to_bytes(32, "big") + build_long(32)

    assert codec.decode_aggregate3(build_overlapping(3, tail)) == [(True, bytes(32))] * 3
