"""What an answer means, and the line that it becomes when it is none."""

from __future__ import annotations

import pytest

from dehedge.adapters.chain.codec import CallResult
from dehedge.adapters.chain.node import REGISTRY_KEYS, Contracts
from dehedge.adapters.chain.reads import (
    build_basics_reads,
    build_markets_read,
    build_registry_reads,
    build_tracers_read,
    parse_contracts,
)
from dehedge.errors import ChainUnavailable
from dehedge.sim.chain import USDC
from dehedge.sim.chain.abi import encode_array, encode_int, encode_tuple, encode_uint

CONTRACTS = Contracts(*("0x" + f"{number:040x}" for number in range(1, 6)))
NONE = encode_tuple(encode_array([]))


def test_markets_are_refused_when_there_are_fewer_than_asked():
    read = build_markets_read(CONTRACTS, ["BTC-USD", "ETH-USD"])

    with pytest.raises(
        ChainUnavailable, match=r"TradingMarket at 0x0{39}5 .*: 0 answers to 2 questions; check DATAREG"
    ):
        read.parse(CallResult(True, NONE))


def test_tracers_are_refused_when_there_are_more_than_asked():
    read = build_tracers_read(CONTRACTS, [(USDC, "BTC-USD")])

    with pytest.raises(ChainUnavailable, match=r"FundingRate at 0x0{39}4 .*: 2 answers to 1 questions"):
        read.parse(CallResult(True, encode_tuple(encode_array([encode_int(-1), encode_int(2)]))))


def test_tracers_are_signed():
    read = build_tracers_read(CONTRACTS, [(USDC, "BTC-USD")])

    tracers = read.parse(CallResult(True, encode_tuple(encode_array([encode_int(-5)]))))

    assert tracers == {(USDC, "BTC-USD"): -5}


@pytest.mark.parametrize("length", [1, 31])
def test_count_is_refused_when_it_is_no_word(length):
    read = build_basics_reads(CONTRACTS, USDC).position_count

    with pytest.raises(ChainUnavailable, match=r"Positions at 0x0{39}1 answered getPositionCount\(\) with something"):
        read.parse(CallResult(True, bytes(length)))


def test_address_is_refused_when_it_is_longer_than_an_address():
    (read, *_) = build_registry_reads(USDC)

    with pytest.raises(ChainUnavailable, match="there is no address at byte 0"):
        read.parse(CallResult(True, encode_uint(2**160)))


def test_contracts_are_parsed_in_the_order_of_the_registry_keys():
    reads = build_registry_reads(USDC)

    contracts = parse_contracts(reads, [CallResult(True, encode_uint(number)) for number in range(1, 6)])

    assert contracts == CONTRACTS
    assert [key.lower() for key in REGISTRY_KEYS] == [field.replace("_", "") for field in Contracts._fields]
