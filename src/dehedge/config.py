"""The operator's settings: the environment, ``.env``, secret files and ``markets.toml``, checked as a whole.

Everything is read once, at start. All mistakes are reported together, one line each with the variable, what was given
and what is accepted; a secret is never repeated. Imported by the commands and ``daemon`` only: adapters receive plain
values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError

from dehedge.addresses import (
    FILE_SCHEME,
    SECRET_LENGTH_MIN,
    check_is_exposed,
    check_is_url,
    find_url_secrets,
    hide_all_but_host,
    hide_userinfo,
    parse_contract,
    parse_file_url,
    parse_hosts,
    parse_url,
    parse_urls,
)
from dehedge.core.risk import RiskFactors
from dehedge.core.sizing import Sizing
from dehedge.environment import DOTENV_FILE, SECRETS, Environment, read_environment
from dehedge.errors import ConfigError
from dehedge.guard_settings import GuardSettings
from dehedge.http_settings import HttpAddress
from dehedge.markets import read_markets
from dehedge.notify_settings import NotifySettings
from dehedge.portfolio_settings import PortfolioSettings

BINANCE_URLS = {
    "mainnet": ("https://fapi.binance.com", "wss://fstream.binance.com", "https://api.binance.com"),
    "demo": ("https://demo-fapi.binance.com", "wss://demo-fstream.binance.com", ""),
}
_TOKEN_LENGTH_MIN = 16
"""A shorter token could be guessed; production refuses it."""
_SHOWN_LENGTH_MAX = 80
_SCHEMES = ("http", "https", "ws", "wss")

T = TypeVar("T")


class NodeEnvironment(StrEnum):
    DEVELOPMENT = "development"
    PRODUCTION = "production"


def _check_url(*schemes: str) -> AfterValidator:
    return AfterValidator(lambda value: parse_url(value, schemes))


def _check_urls(*schemes: str) -> AfterValidator:
    return AfterValidator(lambda value: SecretStr(",".join(parse_urls(value.get_secret_value(), schemes))))


def _check_hosts(value: str) -> str:
    return ",".join(parse_hosts(value))


def _check_state_url(value: str) -> str:
    parse_file_url(value)
    return value


Address = Annotated[str, AfterValidator(parse_contract)]
HttpUrl = Annotated[str, _check_url("http", "https")]
WebsocketUrl = Annotated[str, _check_url("ws", "wss")]
Factor = Annotated[Decimal, Field(ge=0, le=10**9, decimal_places=18, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_ADDRESS = "a contract address: 0x and 40 hex digits"
_FACTOR = "a number from 0 to 1000000000 of at most 18 decimals"
_SECONDS = "a number of seconds above 0"
_HTTP_URL = "an http:// or https:// URL"


class Settings(GuardSettings, NotifySettings, PortfolioSettings, HttpAddress):
    """Every variable; a field's description says what is accepted."""

    networks: Annotated[SecretStr, _check_urls("http", "https")] = Field(
        description="one or more http(s) RPC URLs, separated by commas"
    )
    networks_ws: Annotated[SecretStr, _check_urls("ws", "wss")] | None = Field(
        None, description="one or more ws(s) RPC URLs, separated by commas"
    )
    dataregistry: Address = Field("0x5Dc939df0cf253873cf77B786A24d51BaA72cF75", description=_ADDRESS)
    usdc: Address = Field("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", description=_ADDRESS)
    chain_id: int = Field(8453, gt=0, description="a whole number above 0")
    key: SecretStr | None = Field(None, description="anything; never used, the daemon only reads the chain")
    node_env: NodeEnvironment = Field(NodeEnvironment.DEVELOPMENT, description="development or production")
    bps_factor: int = Field(10_000, gt=0, description="a whole number above 0")
    pyth_price_service: HttpUrl = Field("https://hermes.pyth.network", description=_HTTP_URL, repr=False)
    pyth_api_key: SecretStr | None = Field(None, description="the key of your Pyth plan")
    connector: Literal["binance", "paper"] = Field("binance", description="binance or paper")
    binance_api_key: SecretStr | None = Field(None, description="the API key of the futures account")
    binance_api_secret: SecretStr | None = Field(None, description="the secret of the API key")
    binance_environment: Literal["mainnet", "demo"] = Field("mainnet", description="mainnet or demo")
    binance_futures_url: HttpUrl | None = Field(None, description=_HTTP_URL, repr=False)
    binance_futures_ws_url: WebsocketUrl | None = Field(None, description="a ws:// or wss:// URL", repr=False)
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
    min_collateral: Factor = Field(Decimal(50), description="an amount in USD from 0 to 1000000000")
    poll_interval_seconds: Seconds = Field(3, description=_SECONDS)
    price_interval_seconds: Seconds = Field(1, description=_SECONDS)
    max_price_age_seconds: Seconds = Field(10, description=_SECONDS)
    max_snapshot_age_seconds: Seconds = Field(30, description=_SECONDS)
    max_confidence_bps: int = Field(100, gt=0, le=10_000, description="basis points of the price, 1 to 10000")
    state_url: Annotated[str, AfterValidator(_check_state_url)] = Field(
        "sqlite:///dehedge.db", description="sqlite:///FILE in a folder that exists"
    )
    record_max_mb: int = Field(64, ge=0, le=100_000, description="megabytes from 0 to 100000, 0 records nothing")
    http_allowed_hosts: Annotated[str, AfterValidator(_check_hosts)] | None = Field(
        None, description="host names or addresses without a port, separated by commas"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Literal["console", "json"] | None = Field(None, description="console or json")

    @property
    def rpc_urls(self) -> list[str]:
        return self.networks.get_secret_value().split(",")

    @property
    def head_urls(self) -> list[str]:
        return self.networks_ws.get_secret_value().split(",") if self.networks_ws is not None else []

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
    def binance_spot(self) -> str:
        """Where the exchange tells what a key may do; a key is sent to no other host than the one given."""
        return self.binance_futures_url or BINANCE_URLS[self.binance_environment][2]

    @property
    def http_hosts(self) -> list[str]:
        """The names that the daemon is called by, beside the loopback's."""
        allowed = self.http_allowed_hosts.split(",") if self.http_allowed_hosts is not None else []
        return [self.http_host, *allowed]

    @property
    def state_path(self) -> Path:
        return Path(self.state_url.removeprefix(FILE_SCHEME))

    @property
    def risk_factors(self) -> RiskFactors:
        return RiskFactors(
            Fraction(self.vault_factor),
            Fraction(self.vault_profit_limit_factor),
            Fraction(self.profit_limit_interest),
            self.bps_factor,
        )

    def get_secret_texts(self) -> list[str]:
        """Every secret in clear, for the redaction of what is printed only."""
        fields = (self.key, self.pyth_api_key, self.binance_api_key, self.binance_api_secret, self.http_token)
        urls = (*self.rpc_urls, *self.head_urls, self.pyth_price_service, self.binance_rest, self.binance_ws)
        secrets = [field.get_secret_value() for field in fields if field is not None]
        return [*secrets, *self.find_notify_secrets(), *(secret for url in urls for secret in find_url_secrets(url))]


def read_settings() -> Settings:
    """The settings of this process. Raises ``ConfigError`` with every mistake."""
    environment = read_environment()
    problems = [*environment.problems, *_find_contradictions(environment)]
    try:
        settings = Settings.model_validate({})
    except ValidationError as error:
        problems += _describe_all(error, environment)
    if problems:
        raise ConfigError(*_add_hint(problems))
    return settings


def read_settings_alone(fixed: Mapping[str, object] | None = None) -> Settings:
    """For what neither trades nor serves: each variable by itself, without what trading or production wants of them together.

    ``fixed`` stands above what is given. Raises ``ConfigError`` with every mistake.
    """
    try:
        return Settings.model_validate(fixed or {})
    except ValidationError as error:
        raise ConfigError(*_add_hint(_describe_all(error, read_environment()))) from None


def _add_hint(problems: list[str]) -> list[str]:
    is_new = any(problem.startswith("NETWORKS: not set") for problem in problems) and not DOTENV_FILE.exists()
    return [f"there is no {DOTENV_FILE} here: `dehedge init` writes one", *problems] if is_new else problems


def read_http_address() -> HttpAddress:
    """Where the daemon listens. Raises ``ConfigError``, for these two variables only."""
    try:
        return HttpAddress.model_validate({})
    except ValidationError as error:
        raise ConfigError(*_describe_all(error, read_environment())) from None


def read_http_token() -> str:
    """What the daemon obeys. Raises ``ConfigError`` where it is not set or cannot be read."""
    problems = [problem for problem in read_environment().problems if problem.startswith("HTTP_TOKEN_FILE")]
    token = read_http_address().http_token
    if token is None:
        raise ConfigError(*problems or ["HTTP_TOKEN: not set; the daemon obeys commands only with the token it was started with"])
    return token.get_secret_value()


def _describe_all(error: ValidationError, environment: Environment) -> list[str]:
    return [
        _describe(item, environment)
        for item in error.errors(include_url=False)
        if item["type"] != "missing" or not environment.check_given(str(item["loc"][0]).upper())
    ]


def _describe(item: Mapping[str, Any], environment: Environment) -> str:
    field = str(item["loc"][0])
    name = field.upper()
    accepted = f"accepted: {Settings.model_fields[field].description}"
    if item["type"] == "missing":
        return f"{name}: not set; {accepted}"
    given = [] if name in SECRETS else [f"got {_shorten(_redact(_hide(field, str(item['input'])), environment))!r}"]
    reason = [str(item["ctx"]["error"])] if item["type"] == "value_error" else []
    return f"{name}: {', '.join([*given, *reason, accepted])}"


def _hide(field: str, text: str) -> str:
    """What was given, without what may be a key: the fields that stay out of the repr may have one anywhere.

    An unclosed quote makes the lines that follow a part of the value, and secrets may be in them.
    """
    line = text.partition("\n")[0]
    return hide_userinfo(line) if Settings.model_fields[field].repr else hide_all_but_host(line)


def _redact(text: str, environment: Environment) -> str:
    """Without a secret that was given for this variable by mistake."""
    for name in SECRETS:
        secret = environment.values.get(name, "")
        text = text.replace(secret, "[secret]") if len(secret) >= SECRET_LENGTH_MIN else text
    return text


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_LENGTH_MAX else f"{text[: _SHOWN_LENGTH_MAX - 3]}..."


def _find_contradictions(environment: Environment) -> list[str]:
    """What is wrong between variables; from what is given, so that it is told together with all other mistakes."""
    given = environment.values
    problems = []
    if given.get("CONNECTOR", "binance") == "binance":
        problems += [
            f"{name}: not set; CONNECTOR=binance needs it (CONNECTOR=paper does not)"
            for name in ("BINANCE_API_KEY", "BINANCE_API_SECRET")
            if not environment.check_given(name)
        ]
    if given.get("NODE_ENV") == NodeEnvironment.PRODUCTION:
        problems += _find_unsafe(given)
    return problems


def _find_unsafe(given: Mapping[str, str]) -> list[str]:
    """What production refuses."""
    problems = [
        f"{name}: not set; production wants it said, on Base it is {Settings.model_fields[name.lower()].default}"
        for name in ("DATAREGISTRY", "USDC")
        if name not in given
    ]
    if 0 < len(given.get("HTTP_TOKEN", "")) < _TOKEN_LENGTH_MIN:
        problems.append(f"HTTP_TOKEN: too short for production; accepted: {_TOKEN_LENGTH_MIN} characters or more")
    problems += [
        f"{name}: is not encrypted; accepted in production: https:// or wss://, or this machine"
        for name in ("NETWORKS_WS", "PYTH_PRICE_SERVICE", "BINANCE_FUTURES_URL", "BINANCE_FUTURES_WS_URL", "HEARTBEAT_URL")
        if any(check_is_url(url, _SCHEMES) and check_is_exposed(url) for url in map(str.strip, given.get(name, "").split(",")))
    ]
    return problems


def read_configuration() -> tuple[Settings, dict[str, str]]:
    """Settings and markets. Raises ``ConfigError`` with every mistake of both."""
    problems: list[str] = []
    settings = _collect(problems, read_settings)
    connector = settings.connector if settings is not None else "binance"
    symbols = _collect(problems, lambda: read_markets(connector))
    if settings is None or symbols is None:
        raise ConfigError(*problems)
    return settings, symbols


def _collect(problems: list[str], read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ConfigError as error:
        problems += error.problems
        return None
