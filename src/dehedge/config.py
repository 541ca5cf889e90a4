"""The operator's settings: the environment, ``.env``, secret files and ``markets.toml``, checked as a whole.

Everything is read once, at start. All mistakes are reported together, one line each with the variable, what was given
and what is accepted; a secret is never repeated. Imported by ``daemon`` and ``cli`` only: adapters receive plain values.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dehedge.core.risk import RiskFactors
from dehedge.core.sizing import Sizing
from dehedge.errors import ConfigError

MARKETS_FILE = Path("markets.toml")
SECRETS = ("NETWORKS", "KEY", "PYTH_API_KEY", "BINANCE_API_KEY", "BINANCE_API_SECRET", "HTTP_TOKEN")
"""Variables that may hold a secret (an RPC URL often holds a key): each may also be given as NAME_FILE."""
BINANCE_URLS = {
    "mainnet": ("https://fapi.binance.com", "wss://fstream.binance.com"),
    "demo": ("https://demo-fapi.binance.com", "wss://demo-fstream.binance.com"),
}
_OUR_PREFIXES = ("BINANCE_", "PYTH_", "HEDGE_", "VAULT_", "STATE_", "PROFIT_", "POLL_", "PRICE_", "MAX_PRICE",
                 "MAX_SNAPSHOT", "MAX_CONFIDENCE", "HTTP_HOST", "HTTP_PORT", "HTTP_TOKEN", "MIN_COLLATERAL")  # fmt: skip


class NodeEnvironment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


def _check_address(value: str) -> str:
    digits = value.removeprefix("0x")
    if len(digits) != 40 or not value.startswith("0x") or any(c not in "0123456789abcdefABCDEF" for c in digits):
        raise ValueError("not an address")
    return value


def _check_url(schemes: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError("not a URL")
        return value.rstrip("/")

    return AfterValidator(check)


def _check_networks(value: SecretStr) -> SecretStr:
    urls = [url.strip() for url in value.get_secret_value().split(",") if url.strip()]
    if not urls or any(urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname for url in urls):
        raise ValueError("not a list of URLs")
    return SecretStr(",".join(urls))


def _check_state_url(value: str) -> str:
    if not value.startswith("sqlite:///") or not value.removeprefix("sqlite:///"):
        raise ValueError("not a SQLite URL")
    if not Path(value.removeprefix("sqlite:///")).parent.is_dir():
        raise ValueError("the folder does not exist")
    return value


Address = Annotated[str, AfterValidator(_check_address)]
HttpUrl = Annotated[str, _check_url(("http", "https"))]
WebsocketUrl = Annotated[str, _check_url(("ws", "wss"))]
Factor = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_ADDRESS = "a contract address: 0x and 40 hex digits"
_FACTOR = "a number of 0 or more"
_SECONDS = "a number of seconds above 0"
_HTTP_URL = "an http:// or https:// URL"


class Settings(BaseSettings):
    """Every variable; a field's description says what is accepted."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    networks: Annotated[SecretStr, AfterValidator(_check_networks)] = Field(
        description="one or more http(s) RPC URLs, separated by commas"
    )
    dataregistry: Address = Field("0x5Dc939df0cf253873cf77B786A24d51BaA72cF75", description=_ADDRESS)
    usdc: Address = Field("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", description=_ADDRESS)
    chain_id: int = Field(8453, gt=0, description="a whole number above 0")
    key: SecretStr | None = Field(None, description="anything; never used, the daemon only reads the chain")
    node_env: NodeEnvironment = Field(NodeEnvironment.DEVELOPMENT, description="development or production")
    bps_factor: int = Field(10_000, gt=0, description="a whole number above 0")
    pyth_price_service: HttpUrl = Field("https://hermes.pyth.network", description=_HTTP_URL)
    pyth_api_key: SecretStr | None = Field(None, description="the key of your Pyth plan")
    connector: Literal["binance", "paper"] = Field("binance", description="binance or paper")
    binance_api_key: SecretStr | None = Field(None, description="the API key of the futures account")
    binance_api_secret: SecretStr | None = Field(None, description="the secret of the API key")
    binance_environment: Literal["mainnet", "demo"] = Field("mainnet", description="mainnet or demo")
    binance_futures_url: HttpUrl | None = Field(None, description=_HTTP_URL)
    binance_futures_ws_url: WebsocketUrl | None = Field(None, description="a ws:// or wss:// URL")
    vault_factor: Factor = Field(Decimal(1), description=_FACTOR)
    vault_profit_limit_factor: Factor = Field(Decimal(1), description=_FACTOR)
    profit_limit_interest: Factor = Field(Decimal("0.4"), description=_FACTOR)
    vault_available_includes_shield: bool = Field(default=False, description="true or false")
    hedge_expiry_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        60, description="a number of seconds of 0 or more"
    )
    hedge_sizing: Sizing = Field(Sizing.DELTA, description="delta or notional")
    leverage: int = Field(20, ge=1, le=125, description="a whole number from 1 to 125")
    margin_type: Literal["ISOLATED", "CROSSED"] = Field("ISOLATED", description="ISOLATED or CROSSED")
    min_collateral: Factor = Field(Decimal(50), description="an amount in USD of 0 or more")
    poll_interval_seconds: Seconds = Field(3, description=_SECONDS)
    price_interval_seconds: Seconds = Field(1, description=_SECONDS)
    max_price_age_seconds: Seconds = Field(10, description=_SECONDS)
    max_snapshot_age_seconds: Seconds = Field(30, description=_SECONDS)
    max_confidence_bps: int = Field(100, gt=0, le=10_000, description="basis points of the price, 1 to 10000")
    state_url: Annotated[str, AfterValidator(_check_state_url)] = Field(
        "sqlite:///dehedge.db", description="sqlite:///FILE in a folder that exists"
    )
    http_host: str = Field("127.0.0.1", min_length=1, description="an address or a host name to listen on")
    http_port: int = Field(8780, ge=0, le=65_535, description="a port from 0 to 65535, 0 picks a free one")
    http_token: SecretStr | None = Field(None, description="a token for everything that changes something")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Literal["console", "json"] | None = Field(None, description="console or json")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (a folder of secrets is not used)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls), dotenv_settings

    @property
    def rpc_urls(self) -> list[str]:
        return self.networks.get_secret_value().split(",")

    @property
    def is_production(self) -> bool:
        return self.node_env is NodeEnvironment.PRODUCTION

    @property
    def binance_rest(self) -> str:
        return self.binance_futures_url or BINANCE_URLS[self.binance_environment][0]

    @property
    def binance_ws(self) -> str:
        return self.binance_futures_ws_url or BINANCE_URLS[self.binance_environment][1]

    @property
    def state_path(self) -> Path:
        return Path(self.state_url.removeprefix("sqlite:///"))

    @property
    def risk_factors(self) -> RiskFactors:
        return RiskFactors(
            Fraction(self.vault_factor),
            Fraction(self.vault_profit_limit_factor),
            Fraction(self.profit_limit_interest),
            self.bps_factor,
        )

    def get_secret_texts(self) -> list[str]:
        """Every secret in clear, for the log's redaction only."""
        fields = (self.key, self.pyth_api_key, self.binance_api_key, self.binance_api_secret, self.http_token)
        return [field.get_secret_value() for field in fields if field is not None]


class _SecretFiles(PydanticBaseSettingsSource):
    """NAME_FILE=/run/secrets/x for every variable that may hold a secret."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        path = os.environ.get(f"{field_name.upper()}_FILE")
        if field_name.upper() not in SECRETS or not path:
            return None, field_name, False
        try:
            return Path(path).read_text().strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise ConfigError(f"{field_name.upper()}_FILE: cannot read {path}: {reason}") from error

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value}


def read_settings() -> Settings:
    """The settings of this process. Raises ``ConfigError`` with every mistake."""
    try:
        settings = Settings()
    except ValidationError as error:
        raise ConfigError(*(_describe(item) for item in error.errors())) from None
    except UnicodeDecodeError:
        raise ConfigError(".env: is not UTF-8 text") from None
    problems = _find_contradictions(settings)
    if problems:
        raise ConfigError(*problems)
    return settings


def _describe(item: Mapping[str, Any]) -> str:
    field = str(item["loc"][0])
    name = field.upper()
    accepted = Settings.model_fields[field].description
    if item["type"] == "missing":
        return f"{name}: not set; accepted: {accepted}"
    given = "" if name in SECRETS else f"got {os.environ.get(name, item.get('input', ''))!r}, "
    return f"{name}: {given}accepted: {accepted}"


def _find_contradictions(settings: Settings) -> list[str]:
    problems = []
    if settings.connector == "binance":
        problems += [
            f"{name.upper()}: not set; CONNECTOR=binance needs it (CONNECTOR=paper does not)"
            for name in ("binance_api_key", "binance_api_secret")
            if getattr(settings, name) is None
        ]
    if settings.is_production:
        for name in ("dataregistry", "usdc"):
            if name not in settings.model_fields_set:
                default = Settings.model_fields[name].default
                problems.append(f"{name.upper()}: not set; production wants it said, on Base it is {default}")
    return problems


def find_unknown_variables() -> list[str]:
    """Variables that begin like ours and are none: most likely typing errors."""
    known = {name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in SECRETS}
    return sorted(name for name in os.environ if name.startswith(_OUR_PREFIXES) and name not in known)


def read_markets(connector: str, path: Path = MARKETS_FILE) -> dict[str, str]:
    """The connector's table of DePerp market -> symbol; paper trades the symbols of binance."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f'{path}: not found in {Path.cwd()}; write a table [{connector}] with "BTC-USD" = "BTCUSDT"') from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    table = tables.get(connector, tables.get("binance") if connector == "paper" else None)
    if not isinstance(table, dict) or not table:
        raise ConfigError(f"{path}: has no table [{connector}] with markets")
    wrong = [name for name, symbol in table.items() if not isinstance(symbol, str) or not symbol.isalnum()]
    if wrong:
        raise ConfigError(*(f'{path}: "{name}" must name a symbol, such as "BTCUSDT"' for name in wrong))
    return dict(table)
