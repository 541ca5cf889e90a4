"""What each view function of the contracts answers, from the contents of one block.

Pure functions of stored values and call data, one per function of DePerp.sol, except for the paging of positions
(``pages``) and the batching of calls (``machine``). Called by the machine only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dehedge.sim.chain.abi import (
    Arguments,
    encode_address,
    encode_array,
    encode_int,
    encode_market,
    encode_string,
    encode_tuple,
    encode_uint,
)
from dehedge.sim.chain.model import UINT_MAX, ZERO_ADDRESS, SimMarket
from dehedge.sim.chain.reverts import OUT_OF_BOUNDS, UNDERFLOW, Reverted, build_panic
from dehedge.sim.chain.state import Contents

Read = Callable[[Contents, Arguments], bytes]

_NO_MARKET = SimMarket(
    market="",
    category="",
    max_leverage=0,
    max_price_shift=0,
    fee=0,
    liq_threshold=0,
    funding_factor=0,
    feed_max_age=0,
    pyth_feed="00" * 32,
    market_live=False,
)


def _get_address(contents: Contents, arguments: Arguments) -> bytes:
    return encode_address(contents.registry.get(arguments.read_string(0), ZERO_ADDRESS))


def _get_position_count(contents: Contents, _: Arguments) -> bytes:
    return encode_uint(len(contents.positions))


def _get_paging(contents: Contents, _: Arguments) -> bytes:
    return encode_uint(contents.paging)


def _get_balance(contents: Contents, arguments: Arguments) -> bytes:
    return encode_uint(contents.vaults.get(arguments.read_address(0), 0))


def _get_shield_balance(contents: Contents, arguments: Arguments) -> bytes:
    return encode_uint(contents.shields.get(arguments.read_address(0), 0))


def _get_vault_available(contents: Contents, arguments: Arguments) -> bytes:
    asset = arguments.read_address(0)
    shield = contents.shields.get(asset, 0) if contents.includes_shield else 0
    available = contents.vaults.get(asset, 0) + shield
    if available > UINT_MAX:
        raise Reverted(build_panic(UNDERFLOW))
    return encode_uint(available)


def _get_funding_tracers(contents: Contents, arguments: Arguments) -> bytes:
    asset_count, assets = arguments.read_array(0)
    market_count, markets = arguments.read_array(1)
    if market_count < asset_count:
        raise Reverted(build_panic(OUT_OF_BOUNDS))
    keys = [(assets.read_address(slot), markets.read_string(slot)) for slot in range(asset_count)]
    return encode_tuple(encode_array([encode_int(contents.tracers.get(key, 0)) for key in keys]))


def _get_market_list(contents: Contents, _: Arguments) -> bytes:
    return encode_tuple(encode_array([encode_string(market) for market in contents.markets]))


def _get_multiple_markets(contents: Contents, arguments: Arguments) -> bytes:
    count, markets = arguments.read_array(0)
    details = [contents.markets.get(markets.read_string(slot), _NO_MARKET) for slot in range(count)]
    return encode_tuple(encode_array([encode_market(market) for market in details]))


READS: Mapping[tuple[str, str], Read] = {
    ("DataRegistry", "getAddress"): _get_address,
    ("Positions", "getPositionCount"): _get_position_count,
    ("Positions", "paging"): _get_paging,
    ("Vault", "getBalance"): _get_balance,
    ("Vault", "getShieldBalance"): _get_shield_balance,
    ("VaultUtils", "getVaultAvailable"): _get_vault_available,
    ("FundingRate", "getFundingTracers"): _get_funding_tracers,
    ("TradingMarket", "getMarketList"): _get_market_list,
    ("TradingMarket", "getMultipleMarkets"): _get_multiple_markets,
    ("Token", "name"): lambda _contents, _arguments: encode_tuple(encode_string("USD Coin")),
    ("Token", "symbol"): lambda _contents, _arguments: encode_tuple(encode_string("USDC")),
    ("Token", "decimals"): lambda _contents, _arguments: encode_uint(6),
}
"""By contract and function name; no name is overloaded within a contract."""
