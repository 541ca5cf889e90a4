"""DePerp's read functions and Multicall3's, as bytes: what to send, and what an answer means.

Selectors are constants beside their signatures. Every decoder is pure, refuses a truncated or otherwise malformed
reply with ``abi.Malformed``, and gives addresses as EIP-55 strings. A page of positions is read lazily, so that the
caller decides how long the event loop waits. Called by ``reads``, ``paging`` and ``endpoint``; does no IO and keeps
nothing but known checksums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from eth_hash.auto import keccak

from dehedge.adapters.chain import abi
from dehedge.adapters.chain.abi import WORD
from dehedge.core.model import Position

MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
ZERO_ADDRESS = "0x" + "00" * 20


class Function(NamedTuple):
    """A contract function: the first four bytes of its signature's hash, and the signature."""

    selector: bytes
    signature: str


GET_ADDRESS = Function(bytes.fromhex("bf40fac1"), "getAddress(string)")
GET_POSITION_COUNT = Function(bytes.fromhex("81683476"), "getPositionCount()")
GET_POSITIONS = Function(bytes.fromhex("7149d6b0"), "getPositions(uint256,uint256)")
GET_SHIELD_BALANCE = Function(bytes.fromhex("c64ff2f1"), "getShieldBalance(address)")
GET_VAULT_AVAILABLE = Function(bytes.fromhex("56765552"), "getVaultAvailable(address)")
GET_FUNDING_TRACERS = Function(bytes.fromhex("5d1338b8"), "getFundingTracers(address[],string[])")
GET_MARKET_LIST = Function(bytes.fromhex("5b9907a4"), "getMarketList()")
GET_MULTIPLE_MARKETS = Function(bytes.fromhex("786a612d"), "getMultipleMarkets(string[])")
AGGREGATE3 = Function(bytes.fromhex("82ad56cb"), "aggregate3((address,bool,bytes)[])")

_POSITION_HEADS = 9
_MARKET_HEADS = 13


class CallResult(NamedTuple):
    """The answer of one call among several: what it returned, or what it reverted with."""

    succeeded: bool
    data: bytes


class MarketDetails(NamedTuple):
    """A market's struct as stored; ``name`` is its display name, not the id that positions carry."""

    name: str
    category: str
    chainlink_feed: str
    leverage_max: int
    price_shift_max_bps: int
    fee_bps: int
    liquidation_threshold_bps: int
    funding_factor_bps: int
    order_age_min_s: int
    feed_max_age_s: int
    pyth_feed: bytes
    is_live: bool
    is_reduce_only: bool


def encode_get_address(key: str) -> bytes:
    return GET_ADDRESS.selector + abi.encode_offsets([abi.encode_string(key)])


def encode_get_positions(length: int, offset: int) -> bytes:
    return GET_POSITIONS.selector + abi.encode_uint(length) + abi.encode_uint(offset)


def encode_get_shield_balance(asset: str) -> bytes:
    return GET_SHIELD_BALANCE.selector + abi.encode_address(asset)


def encode_get_vault_available(asset: str) -> bytes:
    return GET_VAULT_AVAILABLE.selector + abi.encode_address(asset)


def encode_get_funding_tracers(pairs: Sequence[tuple[str, str]]) -> bytes:
    """The tracers of these (asset, market) pairs, in their order."""
    assets = abi.encode_static_array([abi.encode_address(asset) for asset, _ in pairs])
    markets = abi.encode_dynamic_array([abi.encode_string(market) for _, market in pairs])
    return GET_FUNDING_TRACERS.selector + abi.encode_offsets([assets, markets])


def encode_get_multiple_markets(markets: Sequence[str]) -> bytes:
    names = abi.encode_dynamic_array([abi.encode_string(market) for market in markets])
    return GET_MULTIPLE_MARKETS.selector + abi.encode_offsets([names])


def encode_aggregate3(calls: Sequence[tuple[str, bytes]]) -> bytes:
    """Several (target, data) calls as one; each may fail alone."""
    items = [
        abi.encode_address(target) + abi.encode_uint(1) + abi.encode_offsets([abi.encode_bytes(data)], 2 * WORD)
        for target, data in calls
    ]
    return AGGREGATE3.selector + abi.encode_offsets([abi.encode_dynamic_array(items)])


def decode_uint(data: bytes) -> int:
    return abi.read_uint(data, 0)


def decode_address(data: bytes) -> str:
    return build_checksum_address(abi.read_address(data, 0))


def decode_strings(data: bytes) -> list[str]:
    return [abi.read_string(data, place) for place in abi.iterate_tails(data, abi.open_list(data))]


def decode_ints(data: bytes) -> list[int]:
    return [abi.read_int(data, place) for place in abi.iterate_words(data, abi.open_list(data))]


def decode_aggregate3(data: bytes) -> list[CallResult]:
    results: list[CallResult] = []
    length = 0
    for place in abi.iterate_tails(data, abi.open_list(data)):
        results.append(CallResult(abi.read_bool(data, place), abi.read_bytes(data, abi.follow(data, place, 1, 2))))
        length += len(results[-1].data)
        if length > len(data):
            # Several offsets lead to the same bytes, which together would be any amount of memory.
            raise abi.Malformed(f"the results hold more than the {len(data)} bytes of the reply")
    return results


def decode_markets(data: bytes) -> list[MarketDetails]:
    return [_read_market(data, place) for place in abi.iterate_tails(data, abi.open_list(data))]


def iterate_positions(data: bytes) -> Iterator[Position]:
    """The entries of a page as stored, read one by one as they are asked for: ``abi.Malformed`` may come late."""
    return (read_position(data, place) for place in abi.iterate_tails(data, abi.open_reply(data)))


# A snapshot names the same few traders and assets again, and a checksum costs a hash of some 10 microseconds.
@lru_cache(maxsize=2**18)
def build_checksum_address(raw: bytes) -> str:
    """EIP-55: a letter is large where the hash of the address in small letters has an 8 or more."""
    text = raw.hex()
    mask = keccak(text.encode()).hex()
    return "0x" + "".join([sign.upper() if turn > "7" else sign for sign, turn in zip(text, mask, strict=False)])


def read_position(data: bytes, place: int) -> Position:
    return Position(
        user=build_checksum_address(abi.read_address(data, place)),
        asset=build_checksum_address(abi.read_address(data, place + WORD)),
        market=abi.read_string(data, abi.follow(data, place, 2, _POSITION_HEADS)),
        is_long=abi.read_bool(data, place + 3 * WORD),
        size=abi.read_uint(data, place + 4 * WORD),
        collateral=abi.read_uint(data, place + 5 * WORD),
        funding_tracer=abi.read_int(data, place + 6 * WORD),
        entry_price=abi.read_uint(data, place + 7 * WORD),
        opened_at=abi.read_uint(data, place + 8 * WORD),
    )


def _read_market(data: bytes, place: int) -> MarketDetails:
    leverage, shift, fee, liquidation, funding, order_age, feed_age = (
        abi.read_uint(data, place + WORD * slot) for slot in range(3, 10)
    )
    return MarketDetails(
        abi.read_string(data, abi.follow(data, place, 0, _MARKET_HEADS)),
        abi.read_string(data, abi.follow(data, place, 1, _MARKET_HEADS)),
        build_checksum_address(abi.read_address(data, place + 2 * WORD)),
        leverage,
        shift,
        fee,
        liquidation,
        funding,
        order_age,
        feed_age,
        abi.encode_uint(abi.read_uint(data, place + 10 * WORD)),
        abi.read_bool(data, place + 11 * WORD),
        abi.read_bool(data, place + 12 * WORD),
    )
