"""``dehedge check`` against a whole local world, and with one thing wrong at a time."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from dehedge.adapters.journal import SqliteJournal
from dehedge.check import run_checks
from dehedge.check.report import Status
from dehedge.core.book import TradingMode
from dehedge.core.events import TradingModeSet
from dehedge.sim.chain import InProcessChain, SimMarket, SimPosition
from dehedge.sim.chain.model import DATA_REGISTRY, USDC
from dehedge.sim.exchange import Ask, ExchangeSettings, SimExchange
from dehedge.sim.hermes import Fault
from dehedge.sim.world import FEEDS, World
from tests.check.kit import Check, get_endpoint, list_failed
from tests.core.builders import a_report, an_intent

ZERO = "0x" + "0" * 40


async def test_every_part_passes_when_all_is_well(world: World, check: Check):
    for symbol in ("BTCUSDT", "ETHUSDT"):
        world.exchange.set_isolated(symbol, isolated=True)

    lines = await check()

    assert {line.status for line in lines.values()} == {Status.PASS}
    assert "BTC-USD -> BTCUSDT" in lines["markets.toml"].detail
    assert "chain 8453" in get_endpoint(lines, 1).detail
    assert "Multicall3" in get_endpoint(lines, 1).detail
    assert lines["snapshot"].detail.endswith(
        "1 positions (0 not in USDC), 2 markets, vault 500000 USDC, shield 600 USDC"
    )
    assert lines["Pyth"].detail == "accepts PYTH_API_KEY"
    assert lines["price of BTC-USD"].detail.startswith("60000, ")
    assert lines["exchange"].detail == "binance, lists 2 symbols"
    assert lines["BTCUSDT"].detail.startswith("trading, step 0.001, ")
    assert lines["position mode"].detail.startswith("one-way mode")
    assert "USDT" in lines["balance"].detail
    assert lines["notifications"].detail.startswith("nobody is told")


@pytest.mark.parametrize(
    ("urls", "status", "told"),
    [
        ("", Status.WARN, "nobody is told when something is wrong (NOTIFY_URLS), and there is no dead man's switch"),
        ("json://127.0.0.1:1/", Status.PASS, "1 address, no dead man's switch (HEARTBEAT_URL); `dehedge notify`"),
        ("nonsense://x", Status.FAIL, ""),
    ],
)
async def test_whom_it_tells_is_said_and_nobody_is_told(check: Check, urls: str, status: Status, told: str):
    lines = await check(NODE_ENV="production", DATAREGISTRY=DATA_REGISTRY, USDC=USDC, NOTIFY_URLS=urls)
    line = lines["notifications" if status is not Status.FAIL else "NOTIFY_URLS"]

    assert line.status is status
    assert line.detail.startswith(told)


@pytest.mark.parametrize("connector", ["binance", "paper"])
async def test_nothing_is_written_anywhere(world: World, check: Check, tmp_path: Path, connector: str):
    await check(CONNECTOR=connector)

    assert world.exchange.api.record.requests
    assert {request.method for request in world.exchange.api.record.requests} == {"GET"}
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_paper_needs_no_account(check: Check):
    lines = await check(CONNECTOR="paper", BINANCE_API_KEY="", BINANCE_API_SECRET="")

    assert list_failed(lines) == []
    assert lines["exchange"].detail == "paper, lists 2 symbols"


@pytest.mark.parametrize(
    ("factor", "is_said"), [({}, True), ({"VAULT_FACTOR": "0.9"}, False), ({"VAULT_PROFIT_LIMIT_FACTOR": "2"}, False)]
)
async def test_factors_that_make_one_condition_of_three_are_said(check: Check, factor: dict[str, str], is_said: bool):
    line = (await check(**factor))["risk factors"]

    assert ("the three checks are one condition" in line.detail) is is_said


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"KEY": "0x" + "11" * 32}, "KEY"),
        ({"HTTP_TOKEN": ""}, "HTTP_TOKEN"),
        ({"MAX_SNAPSHOT_AGE_SECONDS": "3", "POLL_INTERVAL_SECONDS": "3"}, "MAX_SNAPSHOT_AGE_SECONDS"),
        ({"VAULT_FACTR": "1"}, "VAULT_FACTR"),
        ({"MAX_ORDER_NOTIONAL_USD": "49.99"}, "MAX_ORDER_NOTIONAL_USD"),
        ({"MAX_TOTAL_NOTIONAL_USD": "1"}, "MAX_TOTAL_NOTIONAL_USD"),
    ],
)
async def test_setting_that_may_not_be_meant_is_a_warning(check: Check, changes: dict[str, str], what: str):
    assert (await check(**changes))[what].status is Status.WARN


async def test_journal_is_read_where_there_is_one(check: Check, tmp_path: Path):
    SqliteJournal(tmp_path / "dehedge.db").close()

    line = (await check())["journal"]

    assert line.status is Status.PASS
    assert line.detail == "dehedge.db: 0 entries, 0 hedges, 0 orders in flight; whole, schema 1"


async def test_journal_that_is_gone_fails(check: Check, tmp_path: Path):
    journal = SqliteJournal(tmp_path / "dehedge.db")
    await journal.append(1.0, [TradingModeSet(TradingMode.ACTIVE, is_flattening=False)])
    journal.close()
    (tmp_path / "dehedge.db").unlink()

    line = (await check())["journal"]

    assert line.status is Status.FAIL
    assert "journal dehedge.db is gone, but it had 1 entries" in line.detail
    assert not (tmp_path / "dehedge.db").exists()


async def test_journal_of_a_paused_daemon_is_told(check: Check, tmp_path: Path):
    journal = SqliteJournal(tmp_path / "dehedge.db")
    await journal.append(1.0, [TradingModeSet(TradingMode.NO_OPENS, is_flattening=False, reason="noise")])
    journal.close()

    line = (await check())["trading mode"]

    assert str(line) == "warn  trading mode: is no-opens (noise): no hedge is opened; `dehedge resume` once it runs"


async def test_journal_that_is_altered_fails(check: Check, tmp_path: Path):
    journal = SqliteJournal(tmp_path / "dehedge.db")
    await journal.append(1.0, [TradingModeSet(TradingMode.ACTIVE, is_flattening=False)])
    journal.close()
    with closing(sqlite3.connect(tmp_path / "dehedge.db", isolation_level=None)) as database:
        database.execute("UPDATE events SET at = 2.0")

    line = (await check())["journal"]

    assert line.status is Status.FAIL
    assert "entry 1 is missing or altered" in line.detail


async def test_journal_of_a_newer_schema_fails(check: Check, tmp_path: Path):
    SqliteJournal(tmp_path / "dehedge.db").close()
    with closing(sqlite3.connect(tmp_path / "dehedge.db", isolation_level=None)) as database:
        database.execute("UPDATE meta SET value = '9' WHERE name = 'schema'")

    line = (await check())["journal"]

    assert line.status is Status.FAIL
    assert "has schema 9, this version knows 1" in line.detail


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_journal_that_cannot_be_written_fails(check: Check, tmp_path: Path):
    SqliteJournal(tmp_path / "dehedge.db").close()
    (tmp_path / "dehedge.db").chmod(0o400)

    line = (await check())["journal"]

    assert line.status is Status.FAIL
    assert line.remedy == "grant write permission or set STATE_URL"


async def test_journal_that_another_process_holds_is_a_warning(check: Check, tmp_path: Path):
    journal = SqliteJournal(tmp_path / "dehedge.db")

    line = (await check())["journal"]
    journal.close()

    assert line.status is Status.WARN
    assert "held by another daemon" in line.detail


async def test_journal_that_is_corrupt_fails(check: Check, tmp_path: Path):
    (tmp_path / "dehedge.db").write_bytes(b"no database" * 100)

    line = (await check())["journal"]

    assert line.status is Status.FAIL
    assert "restore it from a backup" in line.detail


async def test_position_that_is_not_of_the_journal_is_a_warning(world: World, check: Check):
    world.exchange.trade_manually(Ask("ETHUSDT", "SELL", Decimal("6.666")))

    line = (await check())["ETHUSDT position"]

    assert line.status is Status.WARN
    assert line.detail == "the account already holds -6.666 ETHUSDT that is not this journal's"
    assert "ETHUSDT position" not in await check({"BTC-USD": "BTCUSDT"})


@pytest.mark.parametrize("is_ended", [True, False])
async def test_position_of_the_journal_is_no_warning_and_none_is_judged_while_an_order_is_in_flight(
    world: World, check: Check, tmp_path: Path, is_ended: bool
):
    intent = an_intent()
    journal = SqliteJournal(tmp_path / "dehedge.db")
    await journal.append(1.0, [intent, a_report(intent)] if is_ended else [intent])
    journal.close()
    world.exchange.trade_manually(Ask("BTCUSDT", "BUY", intent.request.quantity))

    assert "BTCUSDT position" not in await check()
    world.exchange.trade_manually(Ask("BTCUSDT", "BUY", Decimal("0.2")))
    lines = await check()
    assert ("BTCUSDT position" in lines) is is_ended
    if is_ended:
        assert lines["BTCUSDT position"].detail.startswith("the account already holds 0.200 BTCUSDT that")


async def test_position_is_nobodys_business_when_a_daemon_holds_the_journal(world: World, check: Check, tmp_path: Path):
    journal = SqliteJournal(tmp_path / "dehedge.db")
    world.exchange.trade_manually(Ask("ETHUSDT", "SELL", Decimal("6.666")))

    lines = await check()
    journal.close()

    assert "ETHUSDT position" not in lines


async def test_port_that_something_else_holds_fails(check: Check):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = (await check(HTTP_PORT=str(taken.getsockname()[1])))["HTTP port"]

    assert line.status is Status.FAIL
    assert "Address already in use" in line.detail
    assert "free it" in line.remedy


async def test_every_endpoint_has_its_line(world: World, check: Check):
    secret = "a-very-secret-path-element"
    lines = await check(NETWORKS=f"{world.chain.url},http://127.0.0.1:1/{secret}")

    assert get_endpoint(lines, 1).status is Status.PASS
    assert get_endpoint(lines, 2).status is Status.FAIL
    assert get_endpoint(lines, 2).remedy == "check number 2 in NETWORKS"
    assert lines["snapshot"].status is Status.PASS
    assert not any(secret in str(line) for line in lines.values())


async def test_every_websocket_has_its_line_and_fails_nothing(chain: InProcessChain, check: Check):
    secret = "a-very-secret-path-element"
    lines = await check(NETWORKS_WS=f"{chain.rpc.ws_url},ws://127.0.0.1:1/{secret}")

    well, gone = lines[f"websocket 1 ({chain.rpc.ws_url})"], lines["websocket 2 (ws://127.0.0.1:1)"]
    assert (well.status, well.detail) == (Status.PASS, "takes a subscription to new blocks")
    assert (gone.status, gone.remedy) == (Status.WARN, "check number 2 in NETWORKS_WS")
    assert not any(secret in str(line) for line in lines.values())


async def test_endpoint_of_another_chain_fails(check: Check):
    lines = await check(CHAIN_ID="1")

    assert "is on chain 8453, not 1" in get_endpoint(lines, 1).detail
    assert lines["contracts"].detail == "not tried: no RPC endpoint can be used"
    assert lines["snapshot"].status is Status.WARN
    assert lines["exchange"].status is Status.PASS


async def test_registry_without_a_contract_fails(chain: InProcessChain, check: Check):
    await chain.set_address("Vault", ZERO)

    lines = await check()

    assert lines["contracts"].status is Status.FAIL
    assert "has no address for Vault" in lines["contracts"].detail
    assert "DATAREGISTRY" in lines["contracts"].remedy


async def test_contract_that_is_none_fails(chain: InProcessChain, check: Check):
    await chain.set_address("Positions", "0x" + "99" * 20)

    lines = await check()

    assert list_failed(lines) == ["contract Positions"]
    assert lines["contract Positions"].detail.endswith("is not a contract on this chain")
    assert lines["snapshot"].detail == "not tried: not every contract is there"


async def test_empty_vault_is_a_warning(world: World, check: Check):
    await world.chain.set_vault(0)

    assert (await check())["snapshot"].status is Status.WARN


async def test_position_in_another_asset_is_counted_apart(world: World, check: Check):
    await world.chain.put(
        SimPosition(
            user="0x" + "b2" * 20, asset="0x" + "c3" * 20, market="ETH-USD", is_long=True, size=1, collateral=1, price=1
        )
    )

    assert "2 positions (1 not in USDC)" in (await check())["snapshot"].detail


async def test_markets_that_only_one_side_knows_are_warnings(check: Check):
    lines = await check(symbols={"BTC-USD": "BTCUSDT", "DOGE-USD": "ETHUSDT"})

    assert str(lines["ETH-USD"]).startswith(
        "warn  ETH-USD: has no line in markets.toml: watched, never hedged; add one"
    )
    assert str(lines["DOGE-USD"]) == "warn  DOGE-USD: is not a market on chain; correct markets.toml"
    assert "price of DOGE-USD" not in lines


async def test_symbol_that_the_exchange_does_not_list_fails(check: Check):
    lines = await check(symbols={"BTC-USD": "BTCUSDT", "ETH-USD": "ETHUSDX"})

    assert str(lines["ETHUSDX"]) == "fail  ETHUSDX: the exchange does not list it; correct markets.toml"
    assert "ETHUSDX leverage" not in lines
    assert lines["balance"].status is Status.PASS


async def test_symbol_that_is_not_trading_fails(world: World, check: Check):
    world.exchange.set_status("ETHUSDT", "SETTLING")

    assert (await check())["ETHUSDT"].detail == "is not open for trading"


async def test_symbol_of_two_markets_is_a_warning(check: Check):
    lines = await check(symbols={"BTC-USD": "BTCUSDT", "ETH-USD": "BTCUSDT"})

    assert lines["BTCUSDT in markets.toml"].status is Status.WARN
    assert lines["BTCUSDT"].status is Status.PASS


async def test_wrong_key_of_the_price_service_fails_with_the_remedy(check: Check):
    line = (await check(PYTH_API_KEY="wrong"))["Pyth"]

    assert line.status is Status.FAIL
    assert "PYTH_API_KEY is wrong or expired" in line.detail
    assert "wrong" not in line.detail.replace("is wrong", "")


async def test_price_service_that_is_down_fails(world: World, check: Check):
    world.hermes.fail(Fault.SERVER_ERROR)

    line = (await check())["Pyth"]

    assert line.status is Status.FAIL
    assert "PYTH_PRICE_SERVICE" in line.remedy


async def test_market_without_a_price_fails_only_when_it_is_hedged(world: World, check: Check):
    world.hermes.remove(FEEDS["ETH-USD"])

    hedged = await check()
    watched = await check(symbols={"BTC-USD": "BTCUSDT"})

    assert hedged["price of ETH-USD"].status is Status.FAIL
    assert watched["price of ETH-USD"].status is Status.WARN
    assert hedged["price of BTC-USD"].status is Status.PASS


async def test_market_that_names_no_feed_fails(world: World, check: Check):
    await world.chain.set_market(SimMarket(market="ETH-USD", pyth_feed="0" * 64))

    assert (await check())["price of ETH-USD"].detail == "the market names no Pyth feed"


async def test_exchange_that_cannot_be_reached_fails_once(world: World, check: Check):
    await world.exchange.down()

    lines = await check()

    assert list_failed(lines) == ["exchange"]
    assert str(lines["exchange"]).startswith("fail  exchange: the exchange cannot be reached: Connect call failed (")
    assert str(lines["exchange"]).count("BINANCE_FUTURES_URL") == 1


@pytest.mark.parametrize("name", ["BINANCE_API_KEY", "BINANCE_API_SECRET"])
async def test_key_that_the_exchange_refuses_is_told_apart(check: Check, name: str):
    lines = await check(**{name: "not-the-right-one"})

    assert list_failed(lines) == ["API key"]
    assert lines["exchange"].status is Status.PASS
    assert "not-the-right-one" not in str(lines["API key"])


async def test_account_that_cannot_hedge_fails_with_the_remedy(check: Check, world: World):
    await world.exchange.stop()
    world.exchange = SimExchange(ExchangeSettings(multi_assets=True))
    await world.exchange.start()

    refused = await check()
    accepted = await check(MARGIN_TYPE="CROSSED")

    assert refused["account"].detail.startswith("MARGIN_TYPE: ISOLATED is impossible")
    assert list_failed(accepted) == []


async def test_position_mode_and_empty_account_are_told(check: Check, world: World):
    await world.exchange.stop()
    world.exchange = SimExchange(ExchangeSettings(dual_side=True, balance=Decimal(0)))
    await world.exchange.start()

    lines = await check()

    assert lines["position mode"].detail.startswith("hedge mode")
    assert lines["balance"].status is Status.WARN
    assert "margin" in lines["balance"].remedy


async def test_configuration_that_cannot_be_read_ends_with_78(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEVERAGE", "x")

    code = await run_checks(use_json=True)

    answer = json.loads(capsys.readouterr().out)
    assert code == 78
    assert any("NETWORKS: not set" in entry["detail"] for entry in answer)
    assert {(entry["name"], entry["status"]) for entry in answer} == {("configuration", "fail")}
