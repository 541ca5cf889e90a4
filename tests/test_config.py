"""Every variable with good, bad and boundary values, all sources of them, and what is told of mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from dehedge.config import (
    BINANCE_URLS,
    NodeEnvironment,
    Settings,
    read_configuration,
    read_http_address,
    read_http_token,
    read_settings,
    read_settings_alone,
)
from dehedge.core.guard_report import GUARDS
from dehedge.core.guards import GuardLimits
from dehedge.core.sizing import Sizing
from dehedge.environment import SECRETS
from dehedge.errors import ConfigError
from dehedge.markets import read_markets
from dehedge.portfolio_settings import RiskScope
from tests.fuzz.hostile import hurried

MINIMAL = {"NETWORKS": "http://127.0.0.1:8545", "CONNECTOR": "paper"}
ADDRESS = "0x" + "Ab" * 20
SECRET = "do-not-show-me-0123456789"

GOOD = {
    "NETWORKS": {"http://a, https://b:1/x ,": "http://a,https://b:1/x", "http://[::1]:8545": "http://[::1]:8545"},
    "NETWORKS_WS": {"ws://a, wss://b:1/x ,": "ws://a,wss://b:1/x"},
    "DATAREGISTRY": {ADDRESS: ADDRESS, ADDRESS.lower(): ADDRESS.lower()},
    "USDC": {ADDRESS: ADDRESS},
    "CHAIN_ID": {"1": 1, "31337": 31337},
    "KEY": {"0xabc": "0xabc"},
    "NODE_ENV": {"development": NodeEnvironment.DEVELOPMENT},
    "BPS_FACTOR": {"1": 1, "100000": 100_000},
    "PYTH_PRICE_SERVICE": {"https://h.example/x/": "https://h.example/x", "http://127.0.0.1:1": "http://127.0.0.1:1"},
    "PYTH_API_KEY": {"k": "k"},
    "CONNECTOR": {"paper": "paper"},
    "BINANCE_API_KEY": {"k": "k"},
    "BINANCE_API_SECRET": {"s": "s"},
    "BINANCE_ENVIRONMENT": {"mainnet": "mainnet", "demo": "demo"},
    "BINANCE_FUTURES_URL": {"http://127.0.0.1:9000": "http://127.0.0.1:9000"},
    "BINANCE_FUTURES_WS_URL": {"ws://127.0.0.1:9000/": "ws://127.0.0.1:9000", "wss://h": "wss://h"},
    "VAULT_FACTOR": {"0": Decimal(0), "1000000000": Decimal(10**9), "0.000000000000000001": Decimal("1e-18")},
    "VAULT_PROFIT_LIMIT_FACTOR": {"0.8": Decimal("0.8")},
    "PROFIT_LIMIT_INTEREST": {"0.4": Decimal("0.4")},
    "VAULT_AVAILABLE_INCLUDES_SHIELD": {"true": True, "false": False},
    "HEDGE_EXPIRY_SECONDS": {"0": 0.0, "60": 60.0, "0.5": 0.5},
    "HEDGE_SIZING": {"delta": Sizing.DELTA, "notional": Sizing.NOTIONAL},
    "RISK_SCOPE": {"position": RiskScope.POSITION, "portfolio": RiskScope.PORTFOLIO},
    "PORTFOLIO_EARLY": {"0": Decimal(0), "0.15": Decimal("0.15"), "100": Decimal(100)},
    "PORTFOLIO_LEAD_SECONDS": {"0": Decimal(0), "60": Decimal(60)},
    "PORTFOLIO_GATE": {"0": Decimal(0), "0.01": Decimal("0.01"), "1": Decimal(1)},
    "PORTFOLIO_SLACK": {"0": Decimal(0), "1": Decimal(1)},
    "PORTFOLIO_STEP": {"0": Decimal(0), "1": Decimal(1)},
    "LEVERAGE": {"1": 1, "125": 125},
    "MARGIN_TYPE": {"ISOLATED": "ISOLATED", "CROSSED": "CROSSED"},
    "MIN_COLLATERAL": {"0": Decimal(0), "12.5": Decimal("12.5")},
    "POLL_INTERVAL_SECONDS": {"0.1": 0.1, "3": 3.0},
    "PRICE_INTERVAL_SECONDS": {"0.5": 0.5},
    "MAX_PRICE_AGE_SECONDS": {"10": 10.0},
    "MAX_SNAPSHOT_AGE_SECONDS": {"30": 30.0},
    "MAX_CONFIDENCE_BPS": {"1": 1, "10000": 10_000},
    "MAX_ORDER_NOTIONAL_USD": {"250000": Decimal(250_000), "0.000001": Decimal("0.000001")},
    "MAX_MARKET_NOTIONAL_USD": {"1000000000000": Decimal(10**12)},
    "MAX_TOTAL_NOTIONAL_USD": {"5000000.50": Decimal("5000000.50")},
    "MAX_ORDERS_PER_MINUTE": {"1": 1, "100000": 100_000},
    "MAX_DIVERGENCE_BPS": {"1": 1, "10000": 10_000},
    "MIN_FREE_MARGIN_USD": {"1000": Decimal(1_000)},
    "MIN_LIQUIDATION_DISTANCE_BPS": {"1": 1, "10000": 10_000},
    "MAX_FEES_USD_PER_HOUR": {"50": Decimal(50)},
    "TAKER_FEE_BPS": {"0": Decimal(0), "4.5": Decimal("4.5"), "100": Decimal(100)},
    "MAX_OPENS_PER_HOUR": {"1": 1},
    "MAX_FORCED_PER_HOUR": {"1": 1},
    "RECORD_MAX_MB": {"0": 0, "100000": 100_000},
    "STATE_URL": {"sqlite:///x.db": "sqlite:///x.db", "sqlite:////tmp/x.db": "sqlite:////tmp/x.db"},
    "HTTP_HOST": {"0.0.0.0": "0.0.0.0", "::1": "::1"},
    "HTTP_PORT": {"0": 0, "65535": 65_535},
    "HTTP_TOKEN": {"t": "t"},
    "HTTP_ALLOWED_HOSTS": {"dehedge.example": "dehedge.example", " A.b , 10.0.0.1,::1,": "a.b,10.0.0.1,::1"},
    "NOTIFY_URLS": {
        "json://127.0.0.1:1/x": "json://127.0.0.1:1/x",
        "mailtos://u:p@h?to=a@b.c,d@e.f , tgram://1:2/3": "mailtos://u:p@h?to=a@b.c,d@e.f , tgram://1:2/3",
    },
    "NOTIFY_AFTER_SECONDS": {"0": 0.0, "90.5": 90.5},
    "HEARTBEAT_URL": {"https://hc.example/x/": "https://hc.example/x/", "http://127.0.0.1:1": "http://127.0.0.1:1"},
    "HEARTBEAT_SECONDS": {"1": 1.0, "60": 60.0},
    "LOG_LEVEL": {"DEBUG": "DEBUG", "ERROR": "ERROR"},
    "LOG_FORMAT": {"console": "console", "json": "json"},
}
BAD = {
    "NETWORKS": ["", ",", "a", "ftp://a", "http://", "http://a,b", "http://a:99999", "http://a:x", "http://[::1", "http://a b"],
    "NETWORKS_WS": [",", "a", "http://a", "ws://", "ws://a,b", "ws://a..b"],
    "DATAREGISTRY": ["0x", "Ab" * 20, "0x" + "g" * 40, ADDRESS + "0", ADDRESS[:-1]],
    "USDC": ["nothing"],
    "CHAIN_ID": ["0", "-1", "1.5", "base", "1e3"],
    "NODE_ENV": ["prod", "PRODUCTION"],
    "BPS_FACTOR": ["0", "-1"],
    "PYTH_PRICE_SERVICE": ["hermes.pyth.network", "ws://h", "https://"],
    "CONNECTOR": ["kraken", "Binance"],
    "BINANCE_ENVIRONMENT": ["testnet"],
    "BINANCE_FUTURES_URL": ["wss://h", "h:9000"],
    "BINANCE_FUTURES_WS_URL": ["http://h", "h"],
    "VAULT_FACTOR": ["-0.1", "x", "nan", "inf", "1e-19", "1000000001", "1e999999999", "1e-999999999"],
    "VAULT_PROFIT_LIMIT_FACTOR": ["-1", "0x1"],
    "PROFIT_LIMIT_INTEREST": ["-1", "0,4"],
    "VAULT_AVAILABLE_INCLUDES_SHIELD": ["maybe", "2"],
    "HEDGE_EXPIRY_SECONDS": ["-1", "nan", "inf", "1m"],
    "HEDGE_SIZING": ["Delta", "size"],
    "RISK_SCOPE": ["Portfolio", "all"],
    "PORTFOLIO_EARLY": ["-0.1", "101", "nan"],
    "PORTFOLIO_LEAD_SECONDS": ["-1", "60.1", "x"],
    "PORTFOLIO_GATE": ["-0.01", "1.01", "1 %"],
    "PORTFOLIO_SLACK": ["-1", "1.1"],
    "PORTFOLIO_STEP": ["-1", "0.0000000001"],
    "LEVERAGE": ["0", "126", "20x", "2.5"],
    "MARGIN_TYPE": ["isolated", "CROSS"],
    "MIN_COLLATERAL": ["-1", "nan"],
    "POLL_INTERVAL_SECONDS": ["0", "-1", "inf"],
    "PRICE_INTERVAL_SECONDS": ["0", "x"],
    "MAX_PRICE_AGE_SECONDS": ["0", "nan"],
    "MAX_SNAPSHOT_AGE_SECONDS": ["0", "-5"],
    "MAX_CONFIDENCE_BPS": ["0", "10001"],
    "MAX_ORDER_NOTIONAL_USD": ["0", "-1", "nan", "inf", "1e13", "1k", "0.0000001"],
    "MAX_MARKET_NOTIONAL_USD": ["0", "none"],
    "MAX_TOTAL_NOTIONAL_USD": ["0"],
    "MAX_ORDERS_PER_MINUTE": ["0", "-1", "1.5", "100001"],
    "MAX_DIVERGENCE_BPS": ["0", "10001", "5%"],
    "MIN_FREE_MARGIN_USD": ["0", "-100"],
    "MIN_LIQUIDATION_DISTANCE_BPS": ["0", "10001"],
    "MAX_FEES_USD_PER_HOUR": ["0", "x"],
    "TAKER_FEE_BPS": ["-1", "101", "nan"],
    "MAX_OPENS_PER_HOUR": ["0", "1.5"],
    "MAX_FORCED_PER_HOUR": ["0"],
    "RECORD_MAX_MB": ["-1", "100001", "1.5", "x"],
    "STATE_URL": ["x.db", "sqlite://x.db", "sqlite:///", "sqlite:///:memory:", "sqlite:///no/folder/x.db", "postgres://x"],
    "HTTP_HOST": ["a..b", "a" * 64],
    "HTTP_PORT": ["-1", "65536", "http"],
    "HTTP_ALLOWED_HOSTS": [",", "a b", "a:80", "[::1]", "http://a", "a/b", "*"],
    "NOTIFY_URLS": [",", "hooks.example/x", "json://a b", "json:/x"],
    "NOTIFY_AFTER_SECONDS": ["-1", "nan", "1m"],
    "HEARTBEAT_URL": ["hc.example", "ftp://h", "https://", "https://a b"],
    "HEARTBEAT_SECONDS": ["0", "0.9", "inf"],
    "LOG_LEVEL": ["info", "TRACE"],
    "LOG_FORMAT": ["text", "JSON"],
}
ANYTHING_GOES = {"KEY", "PYTH_API_KEY", "BINANCE_API_KEY", "BINANCE_API_SECRET", "HTTP_TOKEN"}

SetVariables = Callable[..., None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> SetVariables:
    def set_variables(**variables: str) -> None:
        for name, value in (MINIMAL | variables).items():
            monkeypatch.setenv(name, value)

    return set_variables


def read_problems() -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_settings()
    return list(caught.value.problems)


def get_plain(settings: Settings, name: str) -> object:
    value = getattr(settings, name.lower())
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def test_tables_of_this_file_know_every_variable():
    names = {name.upper() for name in Settings.model_fields}

    assert set(GOOD) == names
    assert set(BAD) | ANYTHING_GOES == names


@pytest.mark.parametrize(("name", "text", "value"), [(n, t, v) for n, cases in GOOD.items() for t, v in cases.items()])
def test_variable_is_accepted_when_good(given: SetVariables, name: str, text: str, value: object):
    given(**{name: text})

    found = get_plain(read_settings(), name)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts if text])
def test_variable_is_refused_by_name_when_bad(given: SetVariables, name: str, text: str):
    given(**{name: text})

    problems = read_problems()

    assert len(problems) == 1
    assert problems[0].startswith(f"{name}: ")
    assert f"accepted: {Settings.model_fields[name.lower()].description}" in problems[0]
    assert "\n" not in problems[0]


@pytest.mark.parametrize("name", sorted(set(BAD) - set(SECRETS)))
def test_mistake_repeats_what_was_given_when_it_is_no_secret(given: SetVariables, name: str):
    given(**{name: BAD[name][0]})

    assert f"got {BAD[name][0]!r}" in read_problems()[0]


def test_defaults_are_the_documented_ones(given: SetVariables):
    given()
    settings = read_settings()

    assert settings.chain_id == 8453
    assert settings.hedge_expiry_seconds == 60
    assert settings.state_path == Path("dehedge.db")
    assert settings.risk_factors.profit_limit_interest == Fraction(2, 5)
    assert settings.risk_factors.are_one_condition
    assert settings.http_token is None
    assert (settings.binance_rest, settings.binance_ws, settings.binance_spot) == BINANCE_URLS["mainnet"]


def test_limits_of_the_guards_are_the_variables(given: SetVariables):
    given()
    assert read_settings().guard_limits == GuardLimits()
    names = {
        "order_notional_usd": "MAX_ORDER_NOTIONAL_USD", "market_notional_usd": "MAX_MARKET_NOTIONAL_USD",
        "total_notional_usd": "MAX_TOTAL_NOTIONAL_USD", "orders_per_minute": "MAX_ORDERS_PER_MINUTE",
        "divergence_bps": "MAX_DIVERGENCE_BPS", "free_margin_usd": "MIN_FREE_MARGIN_USD",
        "liquidation_distance_bps": "MIN_LIQUIDATION_DISTANCE_BPS", "fees_usd_per_hour": "MAX_FEES_USD_PER_HOUR",
        "taker_fee_bps": "TAKER_FEE_BPS", "opens_per_hour": "MAX_OPENS_PER_HOUR", "forced_per_hour": "MAX_FORCED_PER_HOUR",
    }  # fmt: skip
    given(**{name: str(number) for number, name in enumerate(names.values(), start=21)})

    assert asdict(read_settings().guard_limits) == {name: number for number, name in enumerate(names, start=21)}


def test_guards_are_shown_by_names_of_variables():
    assert {name.lower() for names in GUARDS.values() for name in names.split(", ")} <= set(Settings.model_fields)


def test_exchange_urls_follow_the_environment_unless_given(given: SetVariables):
    given(BINANCE_ENVIRONMENT="demo", BINANCE_FUTURES_WS_URL="ws://127.0.0.1:1")
    settings = read_settings()

    assert (settings.binance_rest, settings.binance_spot) == (BINANCE_URLS["demo"][0], "")
    assert settings.binance_ws == "ws://127.0.0.1:1"


def test_factors_stay_exact_when_they_are_no_binary_fractions(given: SetVariables):
    given(VAULT_FACTOR="0.1")

    assert read_settings().risk_factors.vault == Fraction(1, 10)


def test_required_variable_is_named_when_missing():
    problems = read_problems()

    assert any(problem.startswith("NETWORKS: not set; accepted: one or more") for problem in problems)


@pytest.mark.parametrize("variables", [{}, {"BINANCE_API_KEY": "k"}, {"BINANCE_API_SECRET": "s"}])
def test_binance_is_refused_without_its_key_pair(given: SetVariables, variables: dict[str, str]):
    given(CONNECTOR="binance", **variables)
    missing = {"BINANCE_API_KEY", "BINANCE_API_SECRET"} - set(variables)

    problems = read_problems()

    assert {problem.split(":")[0] for problem in problems} == missing
    assert all("CONNECTOR=paper does not" in problem for problem in problems)


def test_what_neither_trades_nor_serves_wants_no_key_pair(given: SetVariables):
    given(CONNECTOR="binance")

    assert read_settings_alone().rpc_urls == ["http://127.0.0.1:8545"]
    assert read_settings_alone({"networks": "http://b"}).rpc_urls == ["http://b"]
    given(LEVERAGE="x", NETWORKS="")
    with pytest.raises(ConfigError) as caught:
        read_settings_alone({"networks": "http://b"})
    assert caught.value.problems == ("LEVERAGE: got 'x', accepted: a whole number from 1 to 125",)


def test_all_mistakes_are_told_at_once(given: SetVariables, folder: Path):
    (folder / ".env").write_text('LEVERAGE=500\n"broken\n')
    (folder / "markets.toml").write_text("[")
    given(CONNECTOR="binance", HTTP_PORT="x", STATE_URL="none", HTTP_TOKEN_FILE="/no/such/file", NODE_ENV="production")

    with pytest.raises(ConfigError) as caught:
        read_configuration()

    names = [problem.split(":")[0] for problem in caught.value.problems]
    assert sorted(names) == sorted(
        [".env", "LEVERAGE", "HTTP_PORT", "STATE_URL", "HTTP_TOKEN_FILE", "BINANCE_API_KEY", "BINANCE_API_SECRET",
         "DATAREGISTRY", "USDC", "markets.toml"]
    )  # fmt: skip


def test_configuration_holds_settings_and_markets_when_all_is_well(given: SetVariables, folder: Path):
    (folder / "markets.toml").write_text('[binance]\n"BTC-USD" = "BTCUSDT"\n')
    given()

    settings, symbols = read_configuration()

    assert settings.connector == "paper"
    assert symbols == {"BTC-USD": "BTCUSDT"}


def test_dotenv_is_read_and_the_environment_wins(given: SetVariables, folder: Path):
    (folder / ".env").write_text("LEVERAGE=5\nCHAIN_ID=1\n")
    given(LEVERAGE="7")
    settings = read_settings()

    assert (settings.leverage, settings.chain_id) == (7, 1)


def test_dotenv_alone_is_enough(folder: Path):
    (folder / ".env").write_text('export NETWORKS="http://a"\nCONNECTOR=paper # no account\n')

    assert read_settings().rpc_urls == ["http://a"]


def test_dotenv_of_windows_is_read(folder: Path):
    (folder / ".env").write_bytes("\ufeffNETWORKS=http://a\r\nCONNECTOR=paper\r\n".encode())

    assert read_settings().rpc_urls == ["http://a"]


def test_dotenv_is_refused_when_it_is_no_text(given: SetVariables, folder: Path):
    (folder / ".env").write_bytes(b"KEY=\xff\xfe\n")
    given()

    assert read_problems() == [".env: cannot be read: it is not UTF-8 text"]


def test_dotenv_is_refused_when_it_is_a_folder(given: SetVariables, folder: Path):
    (folder / ".env").mkdir()
    given()

    assert read_problems() == [".env: cannot be read: Is a directory"]


def test_dotenv_line_is_named_when_broken(given: SetVariables, folder: Path):
    (folder / ".env").write_text("LEVERAGE=5\n=5\n")
    given()

    assert read_problems() == [".env: line 2 is not NAME=value; correct or remove it"]


def test_empty_variable_counts_as_not_set(given: SetVariables, folder: Path):
    (folder / ".env").write_text("LEVERAGE=5\nHTTP_TOKEN=\n")
    given(LEVERAGE="", LOG_FORMAT="")
    settings = read_settings()

    assert (settings.leverage, settings.log_format, settings.http_token) == (5, None, None)


@pytest.mark.parametrize("name", SECRETS)
def test_secret_comes_from_its_file(given: SetVariables, monkeypatch: pytest.MonkeyPatch, folder: Path, name: str):
    text = "ws://from-file" if name == "NETWORKS_WS" else "http://from-file"
    (folder / "secret").write_text(f"{text}\n")
    given(**{f"{name}_FILE": str(folder / "secret")})
    if name == "NETWORKS":
        monkeypatch.delenv(name)

    assert get_plain(read_settings(), name) == text


def test_secret_in_the_environment_goes_before_its_file(given: SetVariables, folder: Path):
    (folder / "secret").write_text("from-file")
    given(HTTP_TOKEN="given", HTTP_TOKEN_FILE="secret")

    assert get_plain(read_settings(), "HTTP_TOKEN") == "given"


def test_secret_file_of_the_environment_goes_before_dotenv(given: SetVariables, folder: Path):
    (folder / ".env").write_text("HTTP_TOKEN=from-dotenv\n")
    (folder / "secret").write_text("from-file")
    given(HTTP_TOKEN_FILE="secret")

    assert get_plain(read_settings(), "HTTP_TOKEN") == "from-file"


def test_secret_file_may_be_named_in_dotenv(given: SetVariables, folder: Path):
    (folder / ".env").write_text("HTTP_TOKEN_FILE=secret\n")
    (folder / "secret").write_text("from-file")
    given()

    assert get_plain(read_settings(), "HTTP_TOKEN") == "from-file"


@pytest.mark.parametrize("content", [b"", b"  \n", b"\xff\xff"])
def test_secret_file_is_refused_when_it_holds_no_text(given: SetVariables, folder: Path, content: bytes):
    (folder / "secret").write_bytes(content)
    given(HTTP_TOKEN_FILE="secret")

    (problem,) = read_problems()
    assert problem.startswith("HTTP_TOKEN_FILE: ")
    assert "'secret'" in problem


def test_secret_file_is_told_once_when_it_cannot_be_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONNECTOR", "binance")
    for name in ("NETWORKS", "BINANCE_API_KEY", "BINANCE_API_SECRET"):
        monkeypatch.setenv(f"{name}_FILE", "/no/such/file")

    problems = read_problems()

    assert [problem.split(":")[0] for problem in problems] == [
        "NETWORKS_FILE", "BINANCE_API_KEY_FILE", "BINANCE_API_SECRET_FILE",
    ]  # fmt: skip
    assert all("No such file or directory" in problem for problem in problems)


def test_secrets_stay_out_of_repr_and_text(given: SetVariables):
    given(
        **dict.fromkeys(set(SECRETS) - {"NETWORKS", "NETWORKS_WS", "NOTIFY_URLS", "HEARTBEAT_URL"}, SECRET),
        NOTIFY_URLS=f"json://h/{SECRET}",
        HEARTBEAT_URL=f"https://h/{SECRET}",
        NETWORKS=f"https://a.example/v2/{SECRET}",
        NETWORKS_WS=f"wss://a.example/v2/{SECRET}",
        PYTH_PRICE_SERVICE=f"https://user:{SECRET}@b.example",
        BINANCE_FUTURES_URL=f"https://c.example/{SECRET}",
        BINANCE_FUTURES_WS_URL=f"wss://c.example/{SECRET}",
    )
    settings = read_settings()

    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)


@pytest.mark.parametrize("name", ["NETWORKS", "NETWORKS_WS", "PYTH_PRICE_SERVICE", "BINANCE_FUTURES_URL", "BINANCE_FUTURES_WS_URL"])
def test_password_in_a_url_stays_out_of_mistakes(given: SetVariables, name: str):
    given(**{name: f"ftp://user:{SECRET}@a.example"})

    (problem,) = read_problems()
    assert SECRET not in problem


def test_secret_stays_out_of_mistakes_when_another_variable_is_wrong(given: SetVariables):
    given(HTTP_TOKEN=SECRET, NETWORKS=f"nonsense {SECRET}", LEVERAGE="x")

    assert SECRET not in "".join(read_problems())


def test_mistake_is_short_when_a_long_text_was_given(given: SetVariables):
    given(LEVERAGE="9" * 5000)

    (problem,) = read_problems()
    assert len(problem) < 200


def test_number_of_the_wrong_url_is_told(given: SetVariables):
    given(NETWORKS="http://a,nonsense,http://b,more")

    assert read_problems()[0].startswith("NETWORKS: number 2, 4 of 4 is no such URL, accepted:")


def test_redaction_knows_keys_inside_urls(given: SetVariables):
    given(
        NETWORKS=f"https://a.example/v2/{SECRET}, https://user:password-1@b.example/?key=query-key-1",
        NETWORKS_WS="wss://a.example/v2/the-key-of-a-websocket",
        HTTP_TOKEN="token-1",
        PYTH_PRICE_SERVICE=f"https://h.example/{SECRET[::-1]}",
    )

    texts = read_settings().get_secret_texts()

    assert {SECRET, "the-key-of-a-websocket", "user", "password-1", "query-key-1", "token-1", SECRET[::-1]} <= set(texts)
    assert "v2" not in texts


def test_secrets_of_the_addresses_of_messages_are_known(given: SetVariables):
    given(NOTIFY_URLS=f"json://me:geheim-1@h/{SECRET},tgram://123:{SECRET[::-1]}/5", HEARTBEAT_URL="https://hc.example/ping/0123456789abcdef")
    settings = read_settings()

    assert {SECRET, SECRET[::-1], "geheim-1", "0123456789abcdef"} <= set(settings.get_secret_texts())
    assert settings.notify_list == [f"json://me:geheim-1@h/{SECRET}", f"tgram://123:{SECRET[::-1]}/5"]
    assert SECRET not in repr(settings)


PRODUCTION = {"NODE_ENV": "production", "DATAREGISTRY": ADDRESS, "USDC": ADDRESS}


def test_production_is_accepted_when_all_is_said(given: SetVariables):
    given(**PRODUCTION, HTTP_TOKEN="t" * 16, PYTH_PRICE_SERVICE="http://127.0.0.1:1", BINANCE_FUTURES_URL="http://[::1]:1",
          NETWORKS_WS="ws://localhost:1,wss://h")  # fmt: skip

    assert read_settings().is_production


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATAREGISTRY", ""),
        ("USDC", ""),
        ("HTTP_TOKEN", "t" * 15),
        ("PYTH_PRICE_SERVICE", "http://hermes.example"),
        ("BINANCE_FUTURES_URL", "http://127.evil.example"),
        ("BINANCE_FUTURES_WS_URL", "ws://10.0.0.1"),
        ("NETWORKS_WS", "ws://127.0.0.1:1, ws://10.0.0.1,wss://h"),
        ("HEARTBEAT_URL", "http://hc.example/ping/secret"),
    ],
)
def test_production_refuses_what_is_unsafe(given: SetVariables, variable: str, value: str):
    given(**(PRODUCTION | {variable: value}))

    (problem,) = read_problems()
    assert problem.startswith(f"{variable}: ")
    assert value not in problem or not value


def test_development_accepts_what_production_refuses(given: SetVariables):
    given(HTTP_TOKEN="short", PYTH_PRICE_SERVICE="http://hermes.example")

    assert not read_settings().is_production


def test_http_address_is_read_without_the_rest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PORT", "1234")

    assert read_http_address().http_port == 1234


def test_http_address_tells_only_its_own_mistakes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PORT", "x")
    monkeypatch.setenv("LEVERAGE", "x")

    with pytest.raises(ConfigError, match="^HTTP_PORT: got 'x'"):
        read_http_address()


MARKETS = '[binance]\n"BTC-USD" = "BTCUSDT"\n'


@pytest.mark.parametrize("connector", ["binance", "paper"])
def test_markets_are_read_from_the_exchanges_table(folder: Path, connector: str):
    (folder / "markets.toml").write_text(MARKETS)

    assert read_markets(connector) == {"BTC-USD": "BTCUSDT"}


def test_markets_of_paper_go_before_those_of_binance(folder: Path):
    (folder / "markets.toml").write_text(MARKETS + '[paper]\n"ETH-USD" = "ETHUSDT"\n')

    assert read_markets("paper") == {"ETH-USD": "ETHUSDT"}


def test_markets_of_binance_are_those_of_paper_when_its_own_table_is_empty(folder: Path):
    (folder / "markets.toml").write_text(MARKETS + "[paper]\n")

    assert read_markets("paper") == {"BTC-USD": "BTCUSDT"}


def test_both_tables_are_named_when_paper_has_none(folder: Path):
    (folder / "markets.toml").write_text("[paper]\n")

    with pytest.raises(ConfigError, match=r"markets\.toml: has no table \[paper\] or \[binance\] with markets"):
        read_markets("paper")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no table [binance]"),
        (b'"BTC-USD" = "BTCUSDT"\n', "no table [binance]"),
        (b'[binanse]\n"BTC-USD" = "BTCUSDT"\n', "no table [binance]"),
        (b"[binance]\n", "no table [binance] with markets"),
        (b"[[binance]]\n", "no table [binance]"),
        (b"binance = 1\n", "no table [binance]"),
        (b"[binance\n", "not valid TOML"),
        (b'[binance]\n"A" = "X"\n"A" = "Y"\n', "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        (b'[binance]\n"BTC-USD" = 1\n', '"BTC-USD" must name a symbol'),
        (b'[binance]\n"BTC-USD" = ""\n', '"BTC-USD" must name a symbol'),
        (b'[binance]\n"BTC-USD" = "BTC/USDT"\n', '"BTC-USD" must name a symbol'),
        (b'[binance]\nBTC-USD.x = "BTCUSDT"\n', '"BTC-USD" must name a symbol'),
    ],
)
def test_markets_are_refused_when_broken(folder: Path, content: bytes, told: str):
    (folder / "markets.toml").write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        read_markets("binance")

    assert caught.value.problems[0].startswith("markets.toml: ")
    assert told in caught.value.problems[0]
    assert "\n" not in caught.value.problems[0]


def test_markets_are_refused_when_the_file_is_missing(folder: Path):
    with pytest.raises(ConfigError, match=r"markets\.toml: not found in .*; write a table \[binance\]"):
        read_markets("binance")


def test_markets_are_refused_when_the_file_is_a_folder(folder: Path):
    (folder / "markets.toml").mkdir()

    with pytest.raises(ConfigError, match=r"^markets\.toml: cannot be read"):
        read_markets("binance")


def test_hosts_are_that_which_is_listened_on_and_those_that_are_allowed(given: SetVariables):
    given(HTTP_HOST="10.0.0.1", HTTP_ALLOWED_HOSTS="a.example,b.example")
    assert read_settings().http_hosts == ["10.0.0.1", "a.example", "b.example"]


def test_token_is_read_as_the_daemon_reads_it(folder: Path, given: SetVariables):
    (folder / "secret").write_text("from-file\n")
    given(HTTP_TOKEN_FILE="secret", LEVERAGE="x")

    assert read_http_token() == "from-file"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "HTTP_TOKEN: not set; the daemon obeys commands only with the token it was started with"),
        ({"HTTP_TOKEN_FILE": "nowhere"}, "HTTP_TOKEN_FILE: cannot read the file that it names: No such file or directory"),
    ],
)
def test_token_is_asked_for_in_one_line_when_there_is_none(given: SetVariables, variables: dict[str, str], told: str):
    given(**variables)

    with pytest.raises(ConfigError) as caught:
        read_http_token()
    assert caught.value.problems == (told,)


def test_every_wrong_market_is_told(folder: Path):
    (folder / "markets.toml").write_text('[binance]\n"A" = 1\n"B" = "ok"\n"C" = []\n')

    with pytest.raises(ConfigError) as caught:
        read_markets("binance")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("name", ["PYTH_PRICE_SERVICE", "BINANCE_FUTURES_URL", "BINANCE_FUTURES_WS_URL"])
@pytest.mark.parametrize("url", ["ftp://h.example/v2/{}", "h.example/?key={}", "h.example#{}", "//u:{}@h.example/x"])
def test_key_in_a_url_stays_out_of_mistakes(given: SetVariables, name: str, url: str):
    given(**{name: url.format(SECRET)})

    (problem,) = read_problems()
    assert "h.example" in problem
    assert SECRET not in problem


def test_secret_stays_out_of_mistakes_when_it_was_given_for_another_variable(given: SetVariables):
    given(HTTP_TOKEN=SECRET, LEVERAGE=f"{SECRET}", CHAIN_ID="9" * 70 + SECRET)

    assert SECRET[:12] not in "".join(read_problems())


def test_secret_stays_out_of_mistakes_when_a_quote_is_not_closed(given: SetVariables, folder: Path):
    (folder / ".env").write_text(f'CHAIN_ID="8453\nBINANCE_API_SECRET={SECRET}\n"\n')
    given()

    (problem,) = read_problems()
    assert problem.startswith("CHAIN_ID: got '8453', ")


def test_secret_stays_out_of_mistakes_when_it_was_given_for_its_file(given: SetVariables):
    given(HTTP_TOKEN_FILE=SECRET, KEY_FILE=f"no/such/folder/{SECRET}", PYTH_API_KEY_FILE="x" * 5_000)

    problems = read_problems()
    assert len(problems) == 3
    assert SECRET not in "".join(problems)
    assert max(map(len, problems)) < 200


def test_value_of_dotenv_is_what_stands_there(given: SetVariables, folder: Path):
    (folder / ".env").write_text("HTTP_TOKEN=a${HOME}b$c\n")
    given()

    assert get_plain(read_settings(), "HTTP_TOKEN") == "a${HOME}b$c"


def test_values_of_dotenv_do_not_grow_without_end(given: SetVariables, folder: Path):
    doubled = "".join(f"A{number}=${{A{number - 1}}}${{A{number - 1}}}\n" for number in range(1, 60))
    (folder / ".env").write_text(f"A0=x\n{doubled}")
    given()

    with hurried():
        read_settings()


@pytest.mark.parametrize("name", ["\0", "a\0b", "/dev/zero", "x" * 5_000])
def test_secret_file_that_is_none_is_a_mistake(given: SetVariables, folder: Path, name: str):
    (folder / ".env").write_bytes(f"HTTP_TOKEN_FILE={name}\n".encode())
    given()

    with hurried():
        (problem,) = read_problems()
    assert problem.startswith("HTTP_TOKEN_FILE: cannot read ")


def test_dotenv_without_end_is_a_mistake(given: SetVariables, folder: Path):
    (folder / ".env").symlink_to("/dev/zero")
    given()

    assert read_problems() == [".env: cannot be read: it is longer than 65536 bytes"]


@pytest.mark.parametrize("name", ["x" * 300, "y" * 5_000 + "/z", "\x85", "a\tb"])
def test_journal_that_no_file_can_be_is_a_mistake(given: SetVariables, name: str):
    given(STATE_URL=f"sqlite:///{name}")

    (problem,) = read_problems()
    assert problem.startswith("STATE_URL: got ")


def test_host_that_cannot_be_printed_is_a_mistake(given: SetVariables):
    given(HTTP_HOST="127.0.0.1\t")

    assert read_problems()[0].startswith("HTTP_HOST: got ")


HOSTILE_MARKETS = {
    "nested without end": b"a = " + b"[" * 50_000,
    "one nest on many lines": b"a = " + b"[\n" * 30_000,
    "a key of many parts": b"[binance]\na" + b".a" * 30_000 + b" = 1\n",
    "a table of many parts": b"[" + b"a." * 30_000 + b"a]\n",
    "an endless number": b"a = " + b"9" * 999 + b"\n" + b"b = 9" + b"9" * 5_000,
    "an endless file": b"#\n" * 40_000,
    "a long message": b'[binance]\n"' + b"x" * 900 + b'" = 1\n"' + b"x" * 900 + b'" = 1\n',
    "an unprintable name": b'[binance]\n"\\u001b[2J\\n" = 1\n',
}


@pytest.mark.parametrize("name", HOSTILE_MARKETS)
def test_markets_are_refused_at_once_in_one_short_line_when_hostile(folder: Path, name: str):
    (folder / "markets.toml").write_bytes(HOSTILE_MARKETS[name])

    with hurried(), pytest.raises(ConfigError) as caught:
        read_markets("binance")

    assert caught.value.problems[0].startswith("markets.toml: ")
    assert caught.value.problems[0].isprintable()
    assert len(caught.value.problems[0]) < 200


def test_markets_are_refused_when_the_working_directory_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()

    with pytest.raises(ConfigError, match="not found in a working directory that is gone"):
        read_markets("binance")


def test_mistake_is_short_when_many_urls_are_wrong(given: SetVariables):
    given(NETWORKS="x," * 2_000)

    assert read_problems()[0].startswith("NETWORKS: number 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ... of 2000 is no such URL")
