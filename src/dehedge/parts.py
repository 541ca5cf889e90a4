"""The parts that are made from the settings alone, for the daemon and for whoever tries them without it.

Knows adapters and connectors; nothing here runs anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from urllib.parse import urlsplit

from web3 import Web3

from dehedge.adapters.chain.source import ChainReader
from dehedge.adapters.pyth import PythSource
from dehedge.adapters.recorder import FileRecorder, get_record_folder
from dehedge.config import BINANCE_URLS, Settings
from dehedge.connectors import CONNECTORS, ConnectorOptions
from dehedge.core.invariants import Breach
from dehedge.core.policy import HedgingPolicy
from dehedge.core.sizing import Sizing, get_size_min
from dehedge.ports import Clock, Connector
from dehedge.surfaces import TradedOn

ASSET_UNIT = 10**6
"""USDC has six decimals."""


class SystemClock:
    """The machine's wall clock."""

    def time(self) -> float:
        return time.time()


def build_policy(settings: Settings, symbols: Mapping[str, str]) -> HedgingPolicy:
    """The part of the settings that decides."""
    terms = settings.portfolio_terms
    return HedgingPolicy(
        factors=settings.risk_factors,
        # The traders' coins together are hedged by coins.
        sizing=Sizing.DELTA if terms is not None else settings.hedge_sizing,
        asset=Web3.to_checksum_address(settings.usdc),
        symbols=symbols,
        leverage=settings.leverage,
        size_min=get_size_min(settings.min_collateral, settings.leverage, ASSET_UNIT),
        asset_unit=ASSET_UNIT,
        expiry_s=settings.hedge_expiry_seconds,
        max_price_age_s=settings.max_price_age_seconds,
        max_snapshot_age_s=settings.max_snapshot_age_seconds,
        portfolio=terms,
    )


def build_connector(
    settings: Settings,
    clock: Clock,
    get_price: Callable[[str], Decimal | None] = lambda _: None,
    on_breach: Callable[[Breach], None] = lambda _: None,
) -> Connector:
    """The connector named by the settings. ``get_price`` is the price by symbol that paper falls back on."""
    key, secret = settings.binance_api_key, settings.binance_api_secret
    options = ConnectorOptions(
        api_key=key.get_secret_value() if key is not None else "",
        api_secret=secret.get_secret_value() if secret is not None else "",
        rest_url=settings.binance_rest,
        ws_url=settings.binance_ws,
        spot_url=settings.binance_spot,
        leverage=settings.leverage,
        margin_type=settings.margin_type,
        state_path=f"{settings.state_path}.paper",
        pause_path=f"{settings.state_path}.pause",
        get_price=get_price,
        on_breach=on_breach,
        clock=clock,
    )
    return CONNECTORS[settings.connector](options)


def describe_account(settings: Settings) -> TradedOn:
    """Whose account is traded on; by the address that orders go to, not by what the environment is called."""
    if settings.connector == "paper":
        return TradedOn("paper")
    names = {urls[0]: name for name, urls in BINANCE_URLS.items()}
    name = names.get(settings.binance_rest, "custom")
    given = [url for url in (settings.binance_rest, settings.binance_ws) if url not in BINANCE_URLS.get(name, ())]
    # An address may hold a password; its host does not.
    return TradedOn(name, ", ".join(dict.fromkeys(urlsplit(url).netloc.rpartition("@")[2] for url in given)))


def build_recorder(settings: Settings) -> FileRecorder | None:
    """Beside the journal; None where nothing is to be recorded."""
    folder = get_record_folder(settings.state_path)
    return FileRecorder(folder, settings.record_max_mb * 1_000_000) if settings.record_max_mb else None


def build_chain_reader(settings: Settings, clock: Clock) -> ChainReader:
    return ChainReader(
        settings.rpc_urls,
        registry=settings.dataregistry,
        usdc=settings.usdc,
        chain_id=settings.chain_id,
        head_age_max_s=settings.max_snapshot_age_seconds,
        vault_includes_shield=settings.vault_available_includes_shield,
        clock=clock,
    )


def build_price_source(settings: Settings, clock: Clock) -> PythSource:
    key = settings.pyth_api_key
    return PythSource(
        settings.pyth_price_service,
        api_key=key.get_secret_value() if key is not None else None,
        poll_interval_s=settings.price_interval_seconds,
        max_age_s=settings.max_price_age_seconds,
        max_confidence_bps=settings.max_confidence_bps,
        clock=clock,
    )
