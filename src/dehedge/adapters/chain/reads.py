"""Each read of the deployment as a value: which contract, which call, how to understand the answer.

Turns an answer into what it means or into one clear line that names the contract and the variable to look at: a
contract that reverts, an address without code (which answers nothing), a reply of another shape. Does no IO;
``snapshot`` sends the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from dehedge.adapters.chain import codec
from dehedge.adapters.chain.abi import Malformed
from dehedge.adapters.chain.codec import ZERO_ADDRESS, CallResult, Function
from dehedge.adapters.chain.failures import describe_revert
from dehedge.adapters.chain.node import REGISTRY_KEYS, Call, Contracts
from dehedge.core.model import Market
from dehedge.errors import ChainUnavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """One call of one named contract."""

    contract: str
    function: Function
    call: Call
    decode: Callable[[bytes], T]

    def parse(self, result: CallResult) -> T:
        """Raises ``ChainUnavailable`` for everything that is not the answer asked for."""
        if not result.succeeded:
            raise self.build_error(f"reverted {self.function.signature}{describe_revert(result.data)}")
        if not result.data:
            raise self.build_error("is not a contract on this chain")
        try:
            return self.decode(result.data)
        except Malformed as problem:
            raise self.build_error(f"answered {self.function.signature} with something else: {problem}") from None

    def build_error(self, problem: str) -> ChainUnavailable:
        return ChainUnavailable(f"{self.contract} at {self.call.target} {problem}; check DATAREGISTRY and CHAIN_ID")


class Basics(NamedTuple):
    """What is asked for first: everything that needs no other answer but the addresses."""

    position_count: int
    markets: list[str]
    available: int
    shield: int


class BasicsReads(NamedTuple):
    """The reads behind ``Basics``, in its order."""

    position_count: Read[int]
    markets: Read[list[str]]
    available: Read[int]
    shield: Read[int]

    def parse(self, results: Sequence[CallResult]) -> Basics:
        count, markets, available, shield = results
        return Basics(
            self.position_count.parse(count),
            self.markets.parse(markets),
            self.available.parse(available),
            self.shield.parse(shield),
        )


def build_registry_reads(registry: str) -> list[Read[str]]:
    return [
        Read("DATAREGISTRY", codec.GET_ADDRESS, Call(registry, codec.encode_get_address(key)), codec.decode_address)
        for key in REGISTRY_KEYS
    ]


def parse_contracts(reads: Sequence[Read[str]], results: Sequence[CallResult]) -> Contracts:
    """Raises ``ChainUnavailable`` where the registry knows nothing: it answers zero and does not revert."""
    addresses = [read.parse(result) for read, result in zip(reads, results, strict=True)]
    for key, read, address in zip(REGISTRY_KEYS, reads, addresses, strict=True):
        if address == ZERO_ADDRESS:
            raise read.build_error(f"has no address for {key}")
    return Contracts(*addresses)


def build_basics_reads(contracts: Contracts, usdc: str) -> BasicsReads:
    return BasicsReads(
        Read(
            "Positions",
            codec.GET_POSITION_COUNT,
            Call(contracts.positions, codec.GET_POSITION_COUNT.selector),
            codec.decode_uint,
        ),
        Read(
            "TradingMarket",
            codec.GET_MARKET_LIST,
            Call(contracts.trading_market, codec.GET_MARKET_LIST.selector),
            codec.decode_strings,
        ),
        Read(
            "VaultUtils",
            codec.GET_VAULT_AVAILABLE,
            Call(contracts.vault_utils, codec.encode_get_vault_available(usdc)),
            codec.decode_uint,
        ),
        Read(
            "Vault",
            codec.GET_SHIELD_BALANCE,
            Call(contracts.vault, codec.encode_get_shield_balance(usdc)),
            codec.decode_uint,
        ),
    )


def build_page_read(contracts: Contracts, length: int, offset: int) -> Read[bytes]:
    """A page as bytes: it is decoded piece by piece elsewhere."""
    call = Call(contracts.positions, codec.encode_get_positions(length, offset))
    return Read("Positions", codec.GET_POSITIONS, call, bytes)


def build_markets_read(contracts: Contracts, names: Sequence[str]) -> Read[dict[str, Market]]:
    call = Call(contracts.trading_market, codec.encode_get_multiple_markets(names))
    return Read("TradingMarket", codec.GET_MULTIPLE_MARKETS, call, lambda data: _decode_markets(data, names))


def build_tracers_read(contracts: Contracts, pairs: Sequence[tuple[str, str]]) -> Read[dict[tuple[str, str], int]]:
    call = Call(contracts.funding_rate, codec.encode_get_funding_tracers(pairs))
    return Read("FundingRate", codec.GET_FUNDING_TRACERS, call, lambda data: _decode_tracers(data, pairs))


def _decode_markets(data: bytes, names: Sequence[str]) -> dict[str, Market]:
    """By the name in the list, which positions carry; the struct's own name is for people."""
    markets = codec.decode_markets(data)
    _check_length(len(markets), len(names))
    return {
        name: Market(name, details.pyth_feed.hex(), details.feed_max_age_s, details.is_live, details.is_reduce_only)
        for name, details in zip(names, markets, strict=True)
    }


def _decode_tracers(data: bytes, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    tracers = codec.decode_ints(data)
    _check_length(len(tracers), len(pairs))
    return dict(zip(pairs, tracers, strict=True))


def _check_length(answered: int, asked: int) -> None:
    if answered != asked:
        raise Malformed(f"{answered} answers to {asked} questions")
